/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Opening the gate. One START is sent; what follows on the socket is its end or an ERROR. The end is the
 * program's execution, or the death of a child that never came to that: the kernel remembers of a process
 * that has not executed anything yet, and is asked.
 *
 * A start that fails after the gate stops the container (runtime.md, "Lifecycle", 7 and 9), and is told only
 * when it has: a state that is asked for after the error is "stopped". Destroying it is the deletion's.
 */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/log.h"
#include "engine/engine_private.h"
#include "engine/handshake.h"
#include "engine/record.h"

enum { OWN_END_MS = 1000, STOP_WAIT_MS = 10000, LOOK_MS = 2 };

struct start {
	struct operation *operation;
	struct loop_fd source;
	/* On the way to stopped. */
	struct error error;
	struct loop_timer timer;
	uint64_t give_up;
	struct job *job;
	bool hooked, killing, unexecuted;
};

static void end(struct start *start, int r, struct error *e)
{
	struct operation *operation = start->operation;
	struct container *container = operation->container;

	loop_fd_remove(&start->source);
	container->handshake = fd_close(container->handshake);
	if (r < 0)
		error_prefix(e, "start container \"%s\"", container->id);
	free(start);
	operation_end(operation, r, e);
}

/* --- failure -------------------------------------------------------------------------------------------- */

static void describe_death(struct start *start)
{
	const struct process *init = start->operation->container->init;

	if (init && init->exited && init->exit_code > 128 && init->exit_code != 255)
		error_set(&start->error, STATUS_INTERNAL, ECHILD,
			  "its process was ended by signal %d before it had executed the program",
			  init->exit_code - 128);
}

static void on_look(struct loop_timer *timer);

static int kill_job(struct buf *result, void *argument, struct error *e)
{
	return cgroup_kill(argument, SIGKILL, e);
}

static void on_killed(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct start *start = data;

	start->job = NULL;
	if (r < 0)
		log_warning("engine", "not all of a container whose start failed could be killed",
			    "container-id", start->operation->container->id, "error", e->text);
}

/* Also what it has started in a shared pid namespace. */
static void kill_all(struct start *start)
{
	const struct job_options options = {.name = "kill", .deadline_ms = STOP_WAIT_MS};
	struct container *container = start->operation->container;
	struct error ignored = ERROR_INIT;

	start->killing = true;
	start->give_up = loop_now() + STOP_WAIT_MS;
	if (container->init)
		(void)process_signal(container->init, SIGKILL, NULL);
	if (container->cgroup)
		start->job = job_start(container->engine->loop, &options, kill_job, container->cgroup,
				       on_killed, start, &ignored);
	on_look(&start->timer);
}

static void on_look(struct loop_timer *timer)
{
	struct start *start = container_of(timer, struct start, timer);
	struct container *container = start->operation->container;

	if ((start->job || container->status != CONTAINER_STOPPED) && loop_now() < start->give_up &&
	    loop_timer_set(container->engine->loop, timer, LOOK_MS, on_look) == 0)
		return;
	if (container->status != CONTAINER_STOPPED && !start->killing) {
		kill_all(start);
		return;
	}
	job_cancel(steal_pointer(start->job));
	if (start->unexecuted)
		describe_death(start);
	struct error e = start->error;
	end(start, error_result(&e), &e);
}

/* The start has failed with @e: nothing of the container is to run on. One that has told of it ends by itself, with a
 * status that says why; others are killed. */
static void stop(struct start *start, const struct error *e, bool ends_itself)
{
	loop_fd_remove(&start->source);
	start->error = *e;
	start->give_up = loop_now() + OWN_END_MS;
	if (ends_itself)
		on_look(&start->timer);
	else
		kill_all(start);
}

/* --- success -------------------------------------------------------------------------------------------- */

static void on_poststart(int r, const struct error *e, void *data)
{
	struct start *start = data;
	struct error none = ERROR_INIT;

	start->operation->hooks = NULL;
	if (r < 0)
		stop(start, e, false);
	else
		end(start, 0, &none);
}

static void run_poststart(struct start *start)
{
	struct container *container = start->operation->container;
	const Grpc__Hooks *hooks = container->spec->hooks;
	_cleanup_buf_ struct buf state = BUF_INIT;
	struct error e = ERROR_INIT;

	if (!hooks || hooks->n_poststart == 0) {
		end(start, 0, &e);
		return;
	}
	if (container_state_json(container, container_status_name(container->status), container->init->pid,
				 &state) < 0) {
		error_errno(&e, ENOMEM, "poststart hooks");
		stop(start, &e, false);
		return;
	}
	const struct hooks_params params = {
		.kind = "poststart",
		.hooks = hooks->poststart,
		.count = hooks->n_poststart,
		.state = buf_string(&state),
		.cwd = container->bundle,
		.environment = container_hook_environment(container),
		.default_timeout_ms = container_hook_timeout(container),
	};
	loop_fd_remove(&start->source);
	start->operation->hooks = hooks_start(container->engine->loop, &params, on_poststart, start, &e);
	if (!start->operation->hooks)
		stop(start, &e, false);
}

static void executed(struct start *start)
{
	struct container *container = start->operation->container;

	container->init->started = true;
	if (container->status == CONTAINER_CREATED)
		container->status = CONTAINER_RUNNING;
	log_debug("engine", "container started", "container-id", container->id);
	run_poststart(start);
}

/* One that has been collected already tells no more by itself: then it is what it has told us that counts. */
static bool is_unexecuted(const struct start *start)
{
	const struct container *container = start->operation->container;
	const struct process *init = container->init;
	const Grpc__Hooks *hooks = container->spec->hooks;
	int r = init && init->pid ? record_unexecuted(container->engine->proc, init->pid) : -ESRCH;

	if (r >= 0)
		return r;
	return hooks && hooks->n_startcontainer && !container->seccomp && !start->hooked;
}

static void on_answer(struct loop_fd *source, uint32_t events)
{
	struct start *start = container_of(source, struct start, source);
	struct handshake_message message = {.fd = -1};
	struct error e = ERROR_INIT;
	int r = handshake_receive(source->fd, &message);

	if (r == -EAGAIN)
		return;
	if (r == 1 && message.type == HANDSHAKE_HOOKED) {
		start->hooked = true;
		return;
	}
	if (r == 0 && is_unexecuted(start)) {
		start->unexecuted = true;
		error_set(&e, STATUS_INTERNAL, ECHILD,
			  "its process ended before it had executed the program");
		stop(start, &e, true);
		return;
	}
	if (r == 0) {
		executed(start);
		return;
	}
	if (r == 1 && message.type == HANDSHAKE_ERROR) {
		stop(start, &message.error, true);
		return;
	}
	error_errno(&e, EPROTO, "talk to the process");
	stop(start, &e, false);
}

void container_start(struct container *container, container_done done, void *data)
{
	struct operation *operation =
		operation_begin(container, "start", 1u << CONTAINER_CREATED, true, done, data);
	struct error e = ERROR_INIT;

	if (!operation)
		return;
	struct start *start = calloc(1, sizeof(*start));
	if (!start) {
		int r = error_errno(&e, ENOMEM, "start");
		operation_end(operation, r, &e);
		return;
	}
	start->operation = operation;
	start->error = ERROR_INIT;
	int r = container->handshake < 0 ? -ENOTCONN
					 : handshake_send(container->handshake, HANDSHAKE_START, 0, -1);
	if (r == -EPIPE || r == -ENOTCONN)
		r = error_set(&e, STATUS_FAILED_PRECONDITION, EPIPE, "its process does not wait any more");
	else if (r == 0)
		r = loop_fd_add(container->engine->loop, &start->source, container->handshake, EPOLLIN,
				on_answer);
	if (r < 0 && e.code == STATUS_OK)
		error_errno(&e, -r, "talk to the process");
	if (r < 0)
		end(start, r, &e);
}
