/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The change of identity in the child. The order is the whole point:
 *
 * The bounding set is cut while CAP_SETPCAP is there. Groups go before gid, gid before uid, because each step takes the
 * right to make the one before. PR_SET_KEEPCAPS carries the permitted set over the uid change and is cleared by the
 * next execve(2); the effective set, which the kernel empties with the uid change, is raised again, for seccomp(2). What
 * is given up at the end is given up for good.
 *
 * Only raw results of the kernel count here; a failure is always an error, never a warning.
 */
#include "engine/credentials.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

enum { DEFAULT_UMASK = 022, UMASK_BITS = 0777 };

void credentials_init(struct credentials *out, const Grpc__Process *process, const Grpc__Process *fallback)
{
	const Grpc__User *user = process->user;

	*out = (struct credentials){.umask = DEFAULT_UMASK};
	if (user) {
		out->uid = user->uid;
		out->gid = user->gid;
		out->groups = user->additionalgids;
		out->n_groups = user->n_additionalgids;
		if (user->has_umask)
			out->umask = user->umask & UMASK_BITS;
	}
	if (process->has_nonewprivileges)
		out->no_new_privs = process->nonewprivileges;
	else if (fallback && fallback->has_nonewprivileges)
		out->no_new_privs = fallback->nonewprivileges;
	const Grpc__LinuxCapabilities *capabilities = process->capabilities;
	if (!capabilities && fallback)
		capabilities = fallback->capabilities;
	capabilities_resolve(capabilities, &out->capabilities);
}

static int switch_groups(const struct credentials *credentials, struct error *e)
{
	if (credentials->keep_groups)
		return 0;
	if (syscall(SYS_setgroups, credentials->n_groups, credentials->groups) < 0)
		return error_errno(e, errno, "setgroups failed");
	return 0;
}

int credentials_switch(const struct credentials *credentials, struct error *e)
{
	int r = capabilities_limit_bounding(&credentials->capabilities, e);
	if (r < 0)
		return r;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return error_errno(e, errno, "keep capabilities");
	r = switch_groups(credentials, e);
	if (r < 0)
		return r;
	if (syscall(SYS_setresgid, credentials->gid, credentials->gid, credentials->gid) < 0)
		return error_errno(e, errno, "change to gid %" PRIu32, credentials->gid);
	if (syscall(SYS_setresuid, credentials->uid, credentials->uid, credentials->uid) < 0)
		return error_errno(e, errno, "change to uid %" PRIu32, credentials->uid);
	if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		return error_errno(e, errno, "keep no more capabilities");
	umask(credentials->umask);
	return capabilities_raise_effective(e);
}

int credentials_drop(const struct credentials *credentials, struct error *e)
{
	int r = capabilities_apply(&credentials->capabilities, e);
	if (r < 0)
		return r;
	if (credentials->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_errno(e, errno, "set no_new_privs");
	return 0;
}

int keyring_join(const char *container_id, struct error *e)
{
	char name[NAME_MAX + 8];

	if (snprintf(name, sizeof(name), "_ses.%s", container_id) >= (int)sizeof(name))
		return error_set(e, STATUS_INVALID_ARGUMENT, ENAMETOOLONG,
				 "session keyring: the container's id is too long");
	long keyring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name, 0, 0, 0);
	if (keyring < 0) {
		/* No keyrings in this kernel, or seccomp of a container around us: nothing of ours to hide then. */
		if (errno == ENOSYS || errno == EPERM)
			return 0;
		return error_errno(e, errno, "join a new session keyring");
	}
	/* The user may view and search it also from a session of its own (keyctl_setperm(3): user view and search). */
	const unsigned long possessor_all = 0x3f000000, user_view_read_search = 0x000b0000;
	if (syscall(SYS_keyctl, KEYCTL_SETPERM, keyring, possessor_all | user_view_read_search, 0, 0) < 0)
		log_debug("engine", "permissions of the session keyring are left as they are", "errno",
			  error_name(errno));
	return 0;
}

int oom_score_adj_write(int proc, int64_t value, bool best_effort, struct error *e)
{
	char text[24];

	if (snprintf(text, sizeof(text), "%" PRId64, value) >= (int)sizeof(text))
		return error_set(e, STATUS_INVALID_ARGUMENT, ERANGE, "process.oomScoreAdj: out of range");
	int r = file_write(proc, "self/oom_score_adj", text);
	if (r == 0 || (best_effort && (r == -EACCES || r == -EPERM)))
		return 0;
	return error_errno(e, -r, "write oom_score_adj %s", text);
}

static bool is_null_device(const struct stat *status)
{
	return S_ISCHR(status->st_mode) && status->st_rdev == makedev(1, 3);
}

int stdio_own(uid_t uid, struct error *e)
{
	for (int fd = 0; fd <= 2; fd++) {
		struct stat status;
		if (fstat(fd, &status) < 0) {
			if (errno == EBADF)
				continue;
			return error_errno(e, errno, "stat descriptor %d", fd);
		}
		if (status.st_uid == uid || is_null_device(&status))
			continue;
		if (fchown(fd, uid, (gid_t)-1) == 0)
			continue;
		/* Unmapped owners, read-only file systems, sockets and the like: the program can still use what it has. */
		if (errno != EINVAL && errno != EPERM && errno != EROFS && errno != ENOSYS &&
		    errno != EOPNOTSUPP)
			return error_errno(e, errno, "change the owner of descriptor %d", fd);
	}
	return 0;
}
