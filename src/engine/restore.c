/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A container object for a container that another process has made.
 *
 * Its init may be our child (we were executed anew) or somebody else's. A child is reaped by the loop as any other; of
 * others the pidfd tells the end, and nobody tells us the status: 255 stands for it.
 */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "engine/engine_private.h"
#include "engine/record.h"

enum { STATUS_UNKNOWN_TO_US = 255 };

static void on_pidfd(struct loop_fd *source, uint32_t events)
{
	struct process *process = container_of(source, struct process, watch);

	loop_fd_remove(source);
	process->exited = true;
	process->exit_code = STATUS_UNKNOWN_TO_US;
	process->pid = 0;
	process->pidfd = fd_close(process->pidfd);
	process_tell_exit(process);
}

static bool is_child(int pidfd)
{
	siginfo_t info;

	return waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* The pidfd is opened before the start time is compared, so that it cannot be of a successor. */
static int find_init(struct container *container, const struct container_record *record, struct error *e)
{
	struct engine *engine = container->engine;
	struct process *init = container->init;
	_cleanup_fd_ int pidfd = record->pid > 0 ? (int)syscall(SYS_pidfd_open, record->pid, 0) : -1;
	int r;

	container->init_start = record->start_time;
	if (pidfd < 0 || !container_record_alive(record, engine->proc)) {
		init->exited = true;
		init->exit_code = STATUS_UNKNOWN_TO_US;
		container->status = CONTAINER_STOPPED;
		return 0;
	}
	if (is_child(pidfd))
		r = process_watch(init, record->pid, fcntl(pidfd, F_DUPFD_CLOEXEC, 3));
	else
		r = loop_fd_add(engine->loop, &init->watch, pidfd, EPOLLIN, on_pidfd);
	if (r < 0)
		return error_errno(e, -r, "watch the process");
	if (init->pid == 0) {
		init->pid = record->pid;
		init->pidfd = fd_steal(&pidfd);
	}
	return 0;
}

static int pin_again(struct container *container, struct error *e)
{
	char path[64];

	if (!(container->namespaces & CLONE_NEWNS) || !container->init->pid)
		return 0;
	snprintf(path, sizeof(path), "%d/ns/mnt", (int)container->init->pid);
	container->mount_namespace = openat(container->engine->proc, path, O_RDONLY | O_CLOEXEC);
	/* It may have died this moment. */
	return container->mount_namespace < 0 && errno != ENOENT && errno != ESRCH
		       ? error_errno(e, errno, "open the mount namespace")
		       : 0;
}

static int restore(struct container *container, const struct container_record *record, struct error *e)
{
	const Grpc__Linux *linux = container->spec->linux;
	struct engine *engine = container->engine;

	container->cgroup =
		cgroup_new(engine->cgroups, record->driver, record->cgroup, record->id, record->own_user, e);
	if (!container->cgroup)
		return error_result(e);
	if (cgroup_set_owner(container->cgroup, record->created) < 0)
		return error_errno(e, ENOMEM, "cgroup");
	if (linux && linux->intelrdt) {
		container->rdt = rdt_find(rdt_root(), linux->intelrdt, record->id);
		if (!container->rdt)
			return error_errno(e, ENOMEM, "RDT class");
	}
	int r = seccomp_compile(linux ? linux->seccomp : NULL, engine->options.wire, &container->seccomp, e);
	if (r == 0)
		r = find_init(container, record, e);
	if (r < 0 || container->status == CONTAINER_STOPPED)
		return r;
	if (container->status == CONTAINER_RUNNING || container->status == CONTAINER_PAUSED) {
		container->init->started = true;
		container->unpaused = CONTAINER_RUNNING;
		container->status = cgroup_frozen(container->cgroup) ? CONTAINER_PAUSED : CONTAINER_RUNNING;
	}
	return pin_again(container, e);
}

struct container *container_restore(struct engine *engine, const struct container_record *record,
				    Grpc__Spec *spec, struct arena *arena, int gate, struct error *e)
{
	struct container *container = calloc(1, sizeof(*container));

	if (!container) {
		arena_free(arena);
		fd_close(gate);
		error_errno(e, ENOMEM, "container");
		return NULL;
	}
	list_init(&container->processes);
	list_init(&container->launches);
	container->engine = engine;
	container->spec = spec;
	container->arena = arena;
	container->mount_namespace = -1;
	container->handshake = gate;
	container->status = record->status;
	container->unpaused = CONTAINER_RUNNING;
	container->namespaces = record->namespaces;
	container->created_at = record->created;
	container->id = strdup(record->id);
	container->bundle = strdup(record->bundle);
	if (container->id && container->bundle)
		container->init = process_new(container, "", true);
	int r = container->init ? restore(container, record, e) : error_errno(e, ENOMEM, "container");
	if (r == 0 && gate >= 0 && (r = fd_nonblock(gate, true)) < 0)
		error_errno(e, -r, "gate");
	if (r == 0)
		return container;
	container_free(container);
	return NULL;
}
