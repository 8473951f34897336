/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The end of a container. Every step is tried, whatever became of the one before; the first error is what is told. Repeating
 * it is harmless. Only one whose process cannot die, since somebody else keeps it frozen, is left as it is.
 *
 *     kill init (and with its pid namespace all in it) → wait for it, at most KILL_WAIT_MS → poststop hooks →
 *     RDT class → cgroup, with whoever is left in it → the end of its other processes
 */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/log.h"
#include "engine/engine_private.h"
#include "engine/launch.h"

enum { KILL_WAIT_MS = 10000, POLL_MS = 100, SETTLE_MS = 2 };

struct removal {
	struct operation *operation;
	int r;
	struct error error; /* the first */
	struct loop_timer timer;
	uint64_t give_up, poll_ms;
	struct job *job;
};

static void note(struct removal *removal, int r, const struct error *e)
{
	if (r >= 0 || removal->r < 0)
		return;
	removal->r = r;
	removal->error = *e;
}

static void finish(struct removal *removal)
{
	struct operation *operation = removal->operation;
	int r = removal->r;

	if (r < 0)
		error_prefix(&removal->error, "delete container \"%s\"", operation->container->id);
	operation_end(operation, r, &removal->error);
	free(removal);
}

/* Execs that were on their way, or ran beside an init that is gone, have been told of their end. */
static bool is_settled(const struct container *container)
{
	const struct process *process;

	if (!list_empty(&container->launches))
		return false;
	list_for_each_entry (process, &container->processes, link) {
		if (process->pid)
			return false;
	}
	return true;
}

static void on_settling(struct loop_timer *timer)
{
	struct removal *removal = container_of(timer, struct removal, timer);
	struct container *container = removal->operation->container;
	struct error e = ERROR_INIT;

	if (is_settled(container)) {
		finish(removal);
		return;
	}
	if (loop_now() < removal->give_up &&
	    loop_timer_set(container->engine->loop, timer, SETTLE_MS, on_settling) == 0)
		return;
	error_set(&e, STATUS_DEADLINE_EXCEEDED, ETIMEDOUT, "a process of it does not die");
	note(removal, -ETIMEDOUT, &e);
	/* A launch refers to the container: it must be over, and its own deadline sees to that. */
	if (list_empty(&container->launches) ||
	    loop_timer_set(container->engine->loop, timer, POLL_MS, on_settling) < 0)
		finish(removal);
}

static void end(struct removal *removal)
{
	struct container *container = removal->operation->container;
	struct launch *launch, *next;
	struct error e = ERROR_INIT;

	error_set(&e, STATUS_CANCELLED, ECANCELED, "the container is deleted");
	list_for_each_entry_safe (launch, next, &container->launches, link)
		launch_fail(launch, &e);
	removal->give_up = loop_now() + KILL_WAIT_MS;
	on_settling(&removal->timer);
}

static void on_cgroup_gone(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct removal *removal = data;

	note(removal, r, e);
	end(removal);
}

static void remove_groups(struct removal *removal)
{
	struct container *container = removal->operation->container;
	struct error e = ERROR_INIT;
	int r = rdt_remove(container->rdt, &e);

	note(removal, r, &e);
	e = ERROR_INIT;
	r = container_remove_cgroup(container, &removal->job, on_cgroup_gone, removal, &e);
	if (r == 1)
		return;
	note(removal, r, &e);
	end(removal);
}

static void on_poststop(int r, const struct error *e, void *data)
{
	struct removal *removal = data;

	if (r < 0)
		note(removal, r, e);
	remove_groups(removal);
}

static void run_poststop(struct removal *removal)
{
	struct container *container = removal->operation->container;
	const Grpc__Hooks *hooks = container->spec->hooks;
	_cleanup_buf_ struct buf state = BUF_INIT;
	struct error e = ERROR_INIT;

	if (!hooks || hooks->n_poststop == 0 || container_state_json(container, "stopped", 0, &state) < 0) {
		remove_groups(removal);
		return;
	}
	const struct hooks_params params = {
		.kind = "poststop",
		.hooks = hooks->poststop,
		.count = hooks->n_poststop,
		.state = buf_string(&state),
		.cwd = container->bundle,
		.environment = container_hook_environment(container),
		.default_timeout_ms = container_hook_timeout(container),
		.keep_going = true,
	};
	if (!hooks_start(container->engine->loop, &params, on_poststop, removal, &e)) {
		note(removal, error_result(&e), &e);
		remove_groups(removal);
	}
}

/* Its exit is seen by the loop as any other; we look whether it was. */
static void on_timer(struct loop_timer *timer)
{
	struct removal *removal = container_of(timer, struct removal, timer);
	struct container *container = removal->operation->container;
	struct error e = ERROR_INIT;

	if (container->status != CONTAINER_STOPPED && loop_now() < removal->give_up) {
		removal->poll_ms = removal->poll_ms * 2 < POLL_MS ? removal->poll_ms * 2 : POLL_MS;
		if (loop_timer_set(container->engine->loop, timer, removal->poll_ms, on_timer) == 0)
			return;
	}
	if (container->status != CONTAINER_STOPPED) {
		error_set(&e, STATUS_DEADLINE_EXCEEDED, ETIMEDOUT, "its process does not die");
		note(removal, -ETIMEDOUT, &e);
	}
	run_poststop(removal);
}

static void kill_init(struct removal *removal)
{
	struct container *container = removal->operation->container;
	struct process *init = container->init;
	struct error e = ERROR_INIT;

	/* Frozen processes die only when they are thawed: v1's freezer. v2 kills them as they are, and there systemd would
	 * have to be waited for. */
	if (container->status == CONTAINER_PAUSED && container->cgroup &&
	    !(cgroup_driver_of(container->cgroup) == CGROUP_SYSTEMD &&
	      cgroup_host_layout(container->engine->cgroups) == CGROUP_V2))
		(void)cgroup_thaw(container->cgroup, NULL);
	int r = init && init->pid && container->cgroup ? cgroup_let_die(container->cgroup, init->pid, &e) : 0;
	if (init && init->pid)
		(void)process_signal(init, SIGKILL, NULL);
	if (r < 0) {
		/* It lives until somebody else lets it die: then this is asked for again. */
		note(removal, r, &e);
		finish(removal);
		return;
	}
	removal->give_up = loop_now() + KILL_WAIT_MS;
	removal->poll_ms = 1;
	if (loop_timer_set(container->engine->loop, &removal->timer, removal->poll_ms, on_timer) < 0)
		run_poststop(removal);
}

void container_delete(struct container *container, bool force, container_done done, void *data)
{
	const unsigned alive = 1u << CONTAINER_CREATED | 1u << CONTAINER_RUNNING | 1u << CONTAINER_PAUSED;
	struct operation *operation = operation_begin(
		container, "delete", 1u << CONTAINER_STOPPED | (force ? alive : 0), true, done, data);
	struct error e = ERROR_INIT;

	if (!operation)
		return;
	struct removal *removal = calloc(1, sizeof(*removal));
	if (!removal) {
		int r = error_errno(&e, ENOMEM, "delete");
		operation_end(operation, r, &e);
		return;
	}
	removal->operation = operation;
	removal->error = ERROR_INIT;
	if (container->status == CONTAINER_STOPPED)
		run_poststop(removal);
	else
		kill_init(removal);
}
