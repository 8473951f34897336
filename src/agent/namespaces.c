/* SPDX-License-Identifier: Apache-2.0 */

/* See namespaces.h. */

#include "agent/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

enum { MAKE_DEADLINE_MS = 10000 };

struct request {
	const char *hostname;
	int sender;
};

static int job_make(struct buf *result, void *argument, struct error *e)
{
	const struct request *request = argument;
	int fds[2];
	(void)result;
	if (unshare(CLONE_NEWIPC) < 0)
		return error_errno(e, errno, "setup persistent IPC namespace");
	if (unshare(CLONE_NEWUTS) < 0)
		return error_errno(e, errno, "setup persistent UTS namespace");
	if (request->hostname[0] && sethostname(request->hostname, strlen(request->hostname)) < 0)
		return error_errno(e, errno, "setup persistent UTS namespace: hostname");
	fds[0] = open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC);
	if (fds[0] < 0)
		return error_errno(e, errno, "setup persistent IPC namespace");
	fds[1] = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
	if (fds[1] < 0)
		return error_errno(e, errno, "setup persistent UTS namespace");
	ssize_t n = fd_send(request->sender, "n", 1, fds, 2);
	return n < 0 ? error_errno(e, (int)-n, "hand over the namespaces") : 0;
}

struct job *namespaces_make(struct loop *loop, const char *hostname, int *receiver, job_done_fn done,
			    void *data, struct error *e)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		error_errno(e, errno, "socketpair");
		return NULL;
	}
	struct request request = {.hostname = hostname, .sender = pair[1]};
	struct job_options options = {
		.name = "namespaces", .deadline_ms = MAKE_DEADLINE_MS, .keep_fds = &pair[1], .n_keep_fds = 1};
	struct job *job = job_start(loop, &options, job_make, &request, done, data, e);
	fd_close(pair[1]);
	if (!job)
		fd_close(pair[0]);
	else
		*receiver = pair[0];
	return job;
}

int namespaces_receive(int receiver, int *ipc, int *uts, struct error *e)
{
	char byte;
	int fds[2] = {-1, -1};
	size_t count = 2;
	ssize_t n = fd_receive(receiver, &byte, 1, fds, &count);
	if (n == 1 && count == 2) {
		*ipc = fds[0];
		*uts = fds[1];
		return 0;
	}
	if (n > 0 && count == 1)
		fd_close(fds[0]);
	return error_errno(e, n < 0 ? (int)-n : EPROTO, "receive the namespaces");
}

/* Both hosts' spellings are the same for these three. */
static int type_of(const char *name)
{
	if (str_equal(name, "ipc"))
		return CLONE_NEWIPC;
	if (str_equal(name, "uts"))
		return CLONE_NEWUTS;
	return str_equal(name, "pid") ? CLONE_NEWPID : 0;
}

static int append_pid(Grpc__Linux *linux, struct arena *arena)
{
	Grpc__LinuxNamespace *pid = arena_new_object(arena, Grpc__LinuxNamespace);
	Grpc__LinuxNamespace **list = arena_array(arena, linux->n_namespaces + 1, sizeof(*list));
	if (!pid || !list)
		return -ENOMEM;
	grpc__linux_namespace__init(pid);
	pid->type = arena_strdup(arena, "pid");
	if (!pid->type)
		return -ENOMEM;
	for (size_t i = 0; i < linux->n_namespaces; i++)
		list[i] = linux->namespaces[i];
	list[linux->n_namespaces++] = pid;
	linux->namespaces = list;
	return 0;
}

static void say(struct namespace_fd *out, size_t *count, int type, int fd)
{
	out[*count] = (struct namespace_fd){.type = type, .fd = fd};
	++*count;
}

int namespaces_rewrite(Grpc__Spec *spec, struct arena *arena, const struct shared_namespaces *shared,
		       bool join_pid, bool others, struct namespace_fd *out, size_t *count, struct error *e)
{
	int seen = 0;
	*count = 0;
	if (!spec->linux)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "Spec does not contain linux field");
	if (join_pid && shared->pid < 0 && others)
		return error_set(e, STATUS_FAILED_PRECONDITION, ENOENT,
				 "Sandbox does not have sandbox_pidns");
	for (size_t i = 0; i < spec->linux->n_namespaces; i++) {
		Grpc__LinuxNamespace *ns = spec->linux->namespaces[i];
		int type = type_of(ns->type);
		if (type == 0)
			continue;
		/* Where it is is said by descriptor. Twice the same is the engine's to refuse. */
		ns->path = NULL;
		if (seen & type)
			continue;
		seen |= type;
		if (type != CLONE_NEWPID)
			say(out, count, type, type == CLONE_NEWIPC ? shared->ipc : shared->uts);
	}
	if (!(seen & CLONE_NEWPID) && append_pid(spec->linux, arena) < 0)
		return error_errno(e, ENOMEM, "namespaces");
	say(out, count, CLONE_NEWPID, join_pid ? shared->pid : -1);
	return 0;
}
