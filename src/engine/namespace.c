/* SPDX-License-Identifier: Apache-2.0 */

/* See namespace.h for who does what. */

#include "engine/namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "engine/validate.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

/* In the order in which they are joined by who is root outside: once in the user namespace there is no way to others. */
static const int types[NAMESPACE_TYPES] = {
	CLONE_NEWIPC,	 CLONE_NEWUTS,	CLONE_NEWNET, CLONE_NEWPID,
	CLONE_NEWCGROUP, CLONE_NEWTIME, CLONE_NEWNS,  CLONE_NEWUSER,
};

static size_t namespace_index(int flag)
{
	for (size_t i = 0; i < NAMESPACE_TYPES; i++)
		if (types[i] == flag)
			return i;
	return NAMESPACE_TYPES;
}

int namespaces_fd(const struct namespaces *ns, int flag)
{
	size_t index = namespace_index(flag);
	return index < NAMESPACE_TYPES ? ns->fds[index] : -1;
}

void namespaces_deinit(struct namespaces *ns)
{
	for (size_t i = 0; i < NAMESPACE_TYPES; i++) {
		if (ns->owned[i])
			fd_close(ns->fds[i]);
		ns->fds[i] = -1;
		ns->owned[i] = false;
	}
}

/* Joining one's own user namespace is refused by the kernel, and nothing has to be done for it. */
static bool is_own_user_namespace(int fd)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat("/proc/self/ns/user", &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static int check_type(int fd, int flag, const char *what, struct error *e)
{
	int type = ioctl(fd, NS_GET_NSTYPE);

	if (type == flag)
		return 0;
	return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "%s namespace: %s is not one",
			 namespace_name(flag), what);
}

static int plan_joined(struct namespaces *ns, int flag, int fd, bool owned, const char *what, struct error *e)
{
	size_t index = namespace_index(flag);

	ns->fds[index] = fd;
	ns->owned[index] = owned;
	int r = check_type(fd, flag, what, e);
	if (r < 0)
		return r;
	if (flag == CLONE_NEWUSER && is_own_user_namespace(fd))
		return 0;
	ns->joined |= flag;
	return 0;
}

static int plan_spec_entry(struct namespaces *ns, const Grpc__LinuxNamespace *entry, struct error *e)
{
	int flag = namespace_flag(entry->type);

	if (flag == 0)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "invalid namespace type \"%s\"",
				 str_or_empty(entry->type));
	if (str_is_empty(entry->path)) {
		ns->created |= flag;
		return 0;
	}
	int fd = open(entry->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return error_errno(e, errno, "open %s namespace \"%s\"", namespace_name(flag), entry->path);
	return plan_joined(ns, flag, fd, true, entry->path, e);
}

static const struct namespace_fd *given(const struct namespace_fd *fds, size_t count, int flag)
{
	for (size_t i = 0; i < count; i++)
		if (fds[i].type == flag)
			return &fds[i];
	return NULL;
}

static void decide_who(struct namespaces *ns)
{
	const int user = CLONE_NEWUSER;

	ns->at_clone = ns->created & ~(CLONE_NEWCGROUP | CLONE_NEWTIME);
	ns->middle = (ns->created & CLONE_NEWTIME) != 0 || ((ns->created & user) && ns->joined) ||
		     ((ns->joined & user) && (ns->created & ~CLONE_NEWCGROUP)) ||
		     (!ns->privileged && (ns->joined & CLONE_NEWPID));
}

int namespaces_plan(struct namespaces *ns, const Grpc__Spec *spec, const struct namespace_fd *fds,
		    size_t count, bool privileged, struct error *e)
{
	const Grpc__Linux *linux = spec->linux;
	int r = 0;

	*ns = NAMESPACES_INIT;
	ns->privileged = privileged;
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (fds[i].fd < 0)
			ns->created |= fds[i].type;
		else
			r = plan_joined(ns, fds[i].type, fds[i].fd, false, "the descriptor", e);
	}
	for (size_t i = 0; r == 0 && linux && i < linux->n_namespaces; i++)
		if (!given(fds, count, namespace_flag(linux->namespaces[i]->type)))
			r = plan_spec_entry(ns, linux->namespaces[i], e);
	if (r < 0) {
		namespaces_deinit(ns);
		return r;
	}
	decide_who(ns);
	return 0;
}

static int join(const struct namespaces *ns, size_t index, struct error *e)
{
	if (setns(ns->fds[index], types[index]) == 0)
		return 0;
	return error_errno(e, errno, "join %s namespace", namespace_name(types[index]));
}

int namespaces_join(const struct namespaces *ns, int flags, struct error *e)
{
	int r = 0;

	flags &= ns->joined;
	/* Without privilege outside, it is the user namespace that gives the right to join the others. */
	if (!ns->privileged && (flags & CLONE_NEWUSER)) {
		r = join(ns, namespace_index(CLONE_NEWUSER), e);
		flags &= ~CLONE_NEWUSER;
	}
	for (size_t i = 0; r == 0 && i < NAMESPACE_TYPES; i++)
		if (flags & types[i])
			r = join(ns, i, e);
	return r;
}

static int write_offset(int fd, const Grpc__Linux__TimeOffsetsEntry *entry, struct error *e)
{
	const Grpc__LinuxTimeOffset *offset = entry->value;
	char line[128];

	if (!offset)
		return 0;
	int length =
		snprintf(line, sizeof(line), "%s %" PRId64 " %" PRIu32 "\n", str_or_empty(entry->key),
			 offset->has_secs ? offset->secs : 0, offset->has_nanosecs ? offset->nanosecs : 0);
	if (length < 0 || (size_t)length >= sizeof(line))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "linux.timeOffsets: name too long");
	if (write(fd, line, (size_t)length) != length)
		return error_errno(e, errno, "linux.timeOffsets[%s]", entry->key);
	return 0;
}

int namespaces_unshare_time(int proc, const Grpc__Linux *linux, struct error *e)
{
	if (unshare(CLONE_NEWTIME) < 0)
		return error_errno(e, errno, "new time namespace");
	if (!linux || linux->n_timeoffsets == 0)
		return 0;
	_cleanup_fd_ int fd = openat(proc, "self/timens_offsets", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, errno, "open timens_offsets");
	for (size_t i = 0; i < linux->n_timeoffsets; i++) {
		int r = write_offset(fd, linux->timeoffsets[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}

int namespaces_become_root(struct error *e)
{
	/* The C library's wrappers would do the same, since there is one thread; EINVAL: 0 is not mapped here. */
	if (syscall(SYS_setresgid, 0, 0, 0) < 0 && errno != EINVAL)
		return error_errno(e, errno, "become group 0 of the user namespace");
	if (syscall(SYS_setresuid, 0, 0, 0) < 0 && errno != EINVAL)
		return error_errno(e, errno, "become user 0 of the user namespace");
	return 0;
}
