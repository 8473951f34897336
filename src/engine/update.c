/* SPDX-License-Identifier: Apache-2.0 */

/* What is done to a running container's cgroup: signals to all, pause, resume, new limits. */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "engine/engine_private.h"
#include "engine/resources.h"
#include "engine/validate.h"

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

/* --- kill ----------------------------------------------------------------------------------------------- */

/*
 * The cgroup has everybody in it, where there is one. An ordinary user may have none, and a machine neither:
 * then a pid namespace whose first process is ours has everybody, and who was executed is known. Beyond that
 * nobody can be found, and that is said.
 */
struct kill_all {
	struct cgroup *cgroup;
	int signal;
};

static int kill_job(struct buf *result, void *argument, struct error *e)
{
	const struct kill_all *what = argument;

	return cgroup_kill(what->cgroup, what->signal, e);
}

static bool is_in(int proc, const char *name, const char *namespace)
{
	char path[64], link[64];
	ssize_t n;

	snprintf(path, sizeof(path), "%.20s/ns/pid", name);
	n = readlinkat(proc, path, link, sizeof(link) - 1);
	link[n < 0 ? 0 : n] = '\0';
	return str_equal(link, namespace);
}

/* The namespace is looked at behind a descriptor that holds the number: it cannot be a successor's. */
static void signal_one(int proc, const char *name, const char *namespace, int signal)
{
	int64_t pid;

	if (str_to_i64(name, 10, &pid) < 0 || pid <= 1 || pid > INT32_MAX || pid == getpid())
		return;
	_cleanup_fd_ int pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	if (pidfd >= 0 && is_in(proc, name, namespace))
		(void)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

/* Everybody in the pid namespace of @init, but for those in namespaces below it, who follow their own. */
static int signal_namespace(int proc, pid_t init, int signal, struct error *e)
{
	char path[64], namespace[64];
	struct dirent *entry;

	snprintf(path, sizeof(path), "%d/ns/pid", (int)init);
	ssize_t n = readlinkat(proc, path, namespace, sizeof(namespace) - 1);
	if (n < 0)
		return errno == ENOENT ? 0 : error_errno(e, errno, "look at the pid namespace");
	namespace[n] = '\0';
	int copy = openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_dir_ DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	if (!dir) {
		fd_close(copy);
		return error_errno(e, errno, "list the processes");
	}
	while ((entry = readdir(dir))) {
		if (isdigit((unsigned char)entry->d_name[0]))
			signal_one(proc, entry->d_name, namespace, signal);
	}
	return 0;
}

/* Whether init is the first process of a pid namespace, with which all the others end: the last number of
 * its NSpid. */
static bool leads_pids(int proc, pid_t init)
{
	_cleanup_free_ char *text = NULL;
	char path[32];

	snprintf(path, sizeof(path), "%d/status", (int)init);
	if (file_read(proc, path, 1 << 16, &text) <= 0)
		return false;
	char *line = strstr(text, "\nNSpid:");
	if (!line)
		return false;
	line++;
	line[strcspn(line, "\n")] = '\0';
	const char *last = strrchr(line, '\t');
	return last && str_equal(last + 1, "1");
}

static void signal_known(const struct container *container, int signal)
{
	struct process *process;

	list_for_each_entry (process, &container->processes, link) {
		if (process->pid)
			(void)process_signal(process, signal, NULL);
	}
}

/* @init: 0 when it has ended. */
static int signal_without_cgroup(const struct container *container, pid_t init, int signal, struct error *e)
{
	int proc = container->engine->proc;

	if (init && leads_pids(proc, init) && signal == SIGKILL) {
		int r = process_signal(container->init, signal, e);
		return r == -ESRCH ? 0 : r;
	}
	if (init && leads_pids(proc, init))
		return signal_namespace(proc, init, signal, e);
	signal_known(container, signal);
	/* One that had its own has taken everybody along. */
	if (!init && namespace_find(container->spec, CLONE_NEWPID) &&
	    str_is_empty(namespace_find(container->spec, CLONE_NEWPID)->path))
		return 0;
	return error_set(
		e, STATUS_FAILED_PRECONDITION, ENOENT,
		"signal all of container \"%s\": without a cgroup and a pid namespace of its own only the "
		"processes that we have started are known",
		container->id);
}

/* What was signalled without the cgroup has had its answer already. */
static void on_killed(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct operation *operation = data;

	operation_end(operation, r < 0 ? r : operation->r, r < 0 ? e : &operation->error);
}

/* One that has ended and was not collected yet is in no list any more. */
static pid_t living_init(const struct container *container)
{
	const struct process *init = container->init;
	struct pollfd poller = {.fd = init ? init->pidfd : -1, .events = POLLIN};

	return init && init->pid && !(poll(&poller, 1, 0) == 1) ? init->pid : 0;
}

void container_kill_all(struct container *container, int signal, container_done done, void *data)
{
	struct operation *operation =
		operation_begin(container, "kill", ALIVE | 1u << CONTAINER_STOPPED, false, done, data);

	if (!operation)
		return;
	struct kill_all what = {container->cgroup, signal};
	pid_t init = living_init(container);
	if (!what.cgroup || !cgroup_holds(what.cgroup, init))
		operation->r = signal_without_cgroup(container, init, signal, &operation->error);
	if (what.cgroup && cgroup_host_layout(container->engine->cgroups) != CGROUP_NONE)
		run_job(operation, kill_job, &what, on_killed);
	else
		operation_end(operation, operation->r, &operation->error);
}

/* --- pause and resume ----------------------------------------------------------------------------------- */

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

/* --- update --------------------------------------------------------------------------------------------- */

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
	int r = arena ? resources_convert(resources, container->engine->options.wire, arena, &converted, &e)
		      : error_errno(&e, ENOMEM, "update");
	if (r == 0)
		r = cgroup_check_owner(container->cgroup, &e);
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
