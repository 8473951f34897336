/* SPDX-License-Identifier: Apache-2.0 */

/* What is done to a running container's cgroup: signals to all, pause, resume, new limits. */

#include <errno.h>
#include <signal.h>

#include "engine/engine_private.h"
#include "engine/resources.h"

enum { ALIVE = 1u << CONTAINER_CREATED | 1u << CONTAINER_RUNNING | 1u << CONTAINER_PAUSED };

static void on_job(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct operation *operation = data;

	operation_end(operation, r, e);
}

/* The argument is copied by the fork: it may live on our stack. */
static void run_job(struct operation *operation, job_fn fn, void *argument, job_done_fn done)
{
	struct container *container = operation->container;
	const struct job_options options = {.name = operation->verb, .deadline_ms = 20000};
	struct error e = ERROR_INIT;

	operation->job = job_start(container->engine->loop, &options, fn, argument, done, operation, &e);
	if (!operation->job)
		operation_end(operation, error_result(&e), &e);
}

/* --- kill --------------------------------------------------------------------------------------------------- */

struct kill_all {
	struct cgroup *cgroup;
	int signal;
};

static int kill_job(struct buf *result, void *argument, struct error *e)
{
	const struct kill_all *what = argument;

	return cgroup_kill(what->cgroup, what->signal, e);
}

void container_kill_all(struct container *container, int signal, container_done done, void *data)
{
	struct operation *operation =
		operation_begin(container, "kill", ALIVE | 1u << CONTAINER_STOPPED, false, done, data);

	if (!operation)
		return;
	struct kill_all what = {container->cgroup, signal};
	if (!what.cgroup) {
		operation_end(operation, 0, NULL);
		return;
	}
	run_job(operation, kill_job, &what, on_job);
}

/* --- pause and resume --------------------------------------------------------------------------------------- */

static int freeze_job(struct buf *result, void *argument, struct error *e)
{
	return cgroup_freeze(argument, e);
}

static int thaw_job(struct buf *result, void *argument, struct error *e)
{
	return cgroup_thaw(argument, e);
}

static void on_frozen(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct operation *operation = data;
	struct container *container = operation->container;

	if (r == 0 && container->status != CONTAINER_STOPPED) {
		container->unpaused = container->status;
		container->status = CONTAINER_PAUSED;
	}
	operation_end(operation, r, e);
}

static void on_thawed(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct operation *operation = data;
	struct container *container = operation->container;

	if (r == 0 && container->status == CONTAINER_PAUSED)
		container->status = container->unpaused;
	operation_end(operation, r, e);
}

void container_pause(struct container *container, container_done done, void *data)
{
	struct operation *operation = operation_begin(
		container, "pause", 1u << CONTAINER_CREATED | 1u << CONTAINER_RUNNING, true, done, data);
	struct error e = ERROR_INIT;

	if (!operation)
		return;
	if (list_empty(&container->launches)) {
		run_job(operation, freeze_job, container->cgroup, on_frozen);
		return;
	}
	/* Frozen on its way in it could neither arrive nor be given up. */
	int r = error_set(&e, STATUS_FAILED_PRECONDITION, EAGAIN,
			  "cannot pause container \"%s\": a process is being started in it", container->id);
	operation_end(operation, r, &e);
}

void container_resume(struct container *container, container_done done, void *data)
{
	struct operation *operation =
		operation_begin(container, "resume", 1u << CONTAINER_PAUSED, true, done, data);

	if (operation)
		run_job(operation, thaw_job, container->cgroup, on_thawed);
}

/* --- update ------------------------------------------------------------------------------------------------- */

struct update {
	struct cgroup *cgroup;
	const struct cgroup_resources *resources;
};

static int update_job(struct buf *result, void *argument, struct error *e)
{
	const struct update *update = argument;

	return cgroup_set(update->cgroup, update->resources, e);
}

void container_update(struct container *container, const Grpc__LinuxResources *resources, container_done done,
		      void *data)
{
	struct operation *operation = operation_begin(container, "update", ALIVE, true, done, data);
	struct cgroup_resources converted;
	struct error e = ERROR_INIT;

	if (!operation)
		return;
	struct arena *arena = arena_new(0);
	int r = arena ? resources_convert(resources, arena, &converted, &e)
		      : error_errno(&e, ENOMEM, "update");
	if (r == 0 && cgroup_driver_of(container->cgroup) == CGROUP_SYSTEMD) {
		struct update update = {container->cgroup, &converted};
		run_job(operation, update_job, &update, on_job);
	} else {
		if (r == 0)
			r = cgroup_set(container->cgroup, &converted, &e);
		operation_end(operation, r, &e);
	}
	arena_free(arena);
}
