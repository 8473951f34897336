/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The container and its processes as objects: who they are, what they own, what is under way. What is done to them is in
 * create.c, start.c, exec.c, update.c and delete.c.
 *
 * An operation is one request of the owner. Its end is always told from the loop and once; one that is refused is told in
 * the same way.
 */

#include "engine/container.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "engine/engine_private.h"
#include "engine/launch.h"

const char *container_status_name(enum container_status status)
{
	static const char *const names[] = {
		[CONTAINER_CREATING] = "creating", [CONTAINER_CREATED] = "created",
		[CONTAINER_RUNNING] = "running",   [CONTAINER_PAUSED] = "paused",
		[CONTAINER_STOPPED] = "stopped",
	};

	return names[status];
}

const char *container_id(const struct container *container)
{
	return container->id;
}

enum container_status container_status(const struct container *container)
{
	return container->status;
}

const Grpc__Spec *container_spec(const struct container *container)
{
	return container->spec;
}

const char *container_bundle(const struct container *container)
{
	return container->bundle;
}

struct process *container_init(struct container *container)
{
	return container->init;
}

struct list *container_processes(struct container *container)
{
	return &container->processes;
}

struct cgroup *container_cgroup(struct container *container)
{
	return container->cgroup;
}

struct engine *container_engine(struct container *container)
{
	return container->engine;
}

void *container_user(const struct container *container)
{
	return container->user;
}

void container_set_user(struct container *container, void *user)
{
	container->user = user;
}

struct process *container_process(struct container *container, const char *exec_id)
{
	struct process *process;

	if (str_is_empty(exec_id) || str_equal(exec_id, container->id))
		return container->init;
	list_for_each_entry (process, &container->processes, link) {
		if (str_equal(process->exec_id, exec_id))
			return process;
	}
	return NULL;
}

void container_free(struct container *container)
{
	struct process *process, *next;

	if (!container)
		return;
	list_for_each_entry_safe (process, next, &container->processes, link)
		process_free(process);
	fd_close(container->mount_namespace);
	fd_close(container->handshake);
	cgroup_free(container->cgroup);
	rdt_free(container->rdt);
	seccomp_filter_unref(container->seccomp);
	arena_free(container->arena);
	free(container->id);
	free(container->bundle);
	free(container);
}

/* --- processes ---------------------------------------------------------------------------------------------- */

struct process *process_new(struct container *container, const char *exec_id, bool init)
{
	struct process *process = calloc(1, sizeof(*process));

	if (!process || !(process->exec_id = strdup(exec_id))) {
		free(process);
		return NULL;
	}
	process->container = container;
	process->init = init;
	process->pidfd = process->master = -1;
	process->stdin_fd = process->stdout_fd = process->stderr_fd = -1;
	list_append(&container->processes, &process->link);
	return process;
}

static void close_stdio(struct process *process)
{
	process->stdin_fd = fd_close(process->stdin_fd);
	process->stdout_fd = fd_close(process->stdout_fd);
	process->stderr_fd = fd_close(process->stderr_fd);
	process->master = fd_close(process->master);
}

void process_free(struct process *process)
{
	if (!process)
		return;
	loop_child_remove(&process->child);
	loop_fd_remove(&process->watch);
	loop_defer_remove(&process->defer);
	list_remove(&process->link);
	close_stdio(process);
	fd_close(process->pidfd);
	if (process->container->init == process)
		process->container->init = NULL;
	free(process->exec_id);
	free(process);
}

static void on_child(struct loop_child *child, int status)
{
	struct process *process = container_of(child, struct process, child);

	process->exited = true;
	process->exit_code = loop_exit_code(status);
	process->pid = 0;
	process->pidfd = fd_close(process->pidfd);
	/* One that is being made: first who makes it ends, then its end is told. */
	if (process->launch)
		launch_on_exit(process->launch);
	else
		process_tell_exit(process);
}

static void tell_exit(struct loop_defer *defer)
{
	struct process *process = container_of(defer, struct process, defer);

	if (process->on_exit)
		process->on_exit(process, process->on_exit_data);
}

void process_tell_exit(struct process *process)
{
	struct container *container = process->container;

	if (process->init && container->status != CONTAINER_CREATING)
		container->status = CONTAINER_STOPPED;
	loop_defer_add(container->engine->loop, &process->defer, tell_exit);
}

int process_watch(struct process *process, pid_t pid, int pidfd)
{
	int r = loop_child_add(process->container->engine->loop, &process->child, pid, on_child);

	if (r < 0) {
		fd_close(pidfd);
		return r;
	}
	process->pid = pid;
	process->pidfd = pidfd;
	return 0;
}

int process_signal(struct process *process, int signal, struct error *e)
{
	if (process->pidfd < 0)
		return error_errno(e, ESRCH, "signal process \"%s\"", process->exec_id);
	if (syscall(SYS_pidfd_send_signal, process->pidfd, signal, NULL, 0) < 0)
		return error_errno(e, errno, "signal process \"%s\"", process->exec_id);
	return 0;
}

int process_resize(struct process *process, unsigned rows, unsigned columns, struct error *e)
{
	struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};

	if (process->master < 0)
		return error_set(e, STATUS_UNAVAILABLE, ENOTTY, "no tty");
	if (rows > UINT16_MAX || columns > UINT16_MAX)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "no terminal is %u by %u", columns,
				 rows);
	if (ioctl(process->master, TIOCSWINSZ, &size) < 0)
		return error_errno(e, errno, "resize terminal");
	return 0;
}

/* --- operations --------------------------------------------------------------------------------------------- */

static void tell(struct operation *operation)
{
	struct container *container = operation->container;

	if (operation->exclusive && container->operation == operation)
		container->operation = NULL;
	operation->done(container, operation->r, operation->r < 0 ? &operation->error : NULL,
			operation->data);
	free(operation);
}

static void on_defer(struct loop_defer *defer)
{
	tell(container_of(defer, struct operation, defer));
}

void operation_end(struct operation *operation, int r, const struct error *e)
{
	operation->r = r;
	operation->job = NULL;
	operation->hooks = NULL;
	operation->abort = NULL;
	if (r < 0 && e)
		operation->error = *e;
	loop_defer_add(operation->container->engine->loop, &operation->defer, on_defer);
}

static int may_begin(const struct container *container, const char *verb, unsigned allowed, bool exclusive,
		     struct error *e)
{
	if (exclusive && container->operation)
		return error_set(e, STATUS_FAILED_PRECONDITION, EBUSY,
				 "cannot %s container \"%s\" during its %s", verb, container->id,
				 container->operation->verb);
	if (!(allowed & 1u << container->status))
		return error_set(e, STATUS_FAILED_PRECONDITION, EINVAL,
				 "cannot %s container \"%s\": it is %s", verb, container->id,
				 container_status_name(container->status));
	return 0;
}

struct operation *operation_begin(struct container *container, const char *verb, unsigned allowed,
				  bool exclusive, container_done done, void *data)
{
	struct operation *operation = calloc(1, sizeof(*operation));

	if (!operation) {
		struct error e = ERROR_INIT;
		int r = error_errno(&e, ENOMEM, "%s container", verb);
		done(container, r, &e, data);
		return NULL;
	}
	operation->container = container;
	operation->verb = verb;
	operation->done = done;
	operation->data = data;
	operation->error = ERROR_INIT;
	int r = may_begin(container, verb, allowed, exclusive, &operation->error);
	if (r < 0) {
		operation_end(operation, r, NULL);
		return NULL;
	}
	operation->exclusive = exclusive;
	if (exclusive)
		container->operation = operation;
	return operation;
}

/* --- state -------------------------------------------------------------------------------------------------- */

int container_state_json(const struct container *container, const char *status, pid_t pid, struct buf *out)
{
	const struct oci_state state = {
		.version = container->spec->version,
		.id = container->id,
		.status = status,
		.pid = pid,
		.bundle = container->bundle,
		.annotations = container->spec->annotations,
		.n_annotations = container->spec->n_annotations,
	};

	return oci_state_json(&state, out);
}

uint64_t container_hook_timeout(const struct container *container)
{
	return container->engine->options.wire ? HOOK_TIMEOUT_MS : 0;
}

char *const *container_hook_environment(const struct container *container)
{
	/* An agent's own is of no meaning to anybody. */
	return container->engine->options.wire ? NULL : environ;
}

static int remove_cgroup(struct buf *result, void *argument, struct error *e)
{
	return cgroup_delete(argument, e);
}

int container_remove_cgroup(struct container *container, struct job **job, job_done_fn done, void *data,
			    struct error *e)
{
	const struct job_options options = {.name = "remove cgroup", .deadline_ms = 20000};
	struct error ignored = ERROR_INIT;

	/* Mostly everybody has gone; whatever else is the matter, the job says it. */
	if (!container->cgroup || cgroup_delete_empty(container->cgroup, &ignored) == 0)
		return 0;
	*job = job_start(container->engine->loop, &options, remove_cgroup, container->cgroup, done, data, e);
	return *job ? 1 : error_result(e);
}
