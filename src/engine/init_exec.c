/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Entering a running container, whose inhabitants may be hostile.
 *
 * The mount namespace is the one that was pinned at creation: an init that has moved itself elsewhere since is not
 * followed. The other namespaces are joined at once by init's pidfd. Nothing of the container's /proc is used, and what
 * is opened in its root is resolved there without magic links.
 */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "engine/init_private.h"

/* A container that shares our mounts has its root by chroot(2) only: init's, by its pid, which its pidfd keeps ours. */
static int enter_root_of_init(const struct child *child, struct error *e)
{
	char path[32];

	snprintf(path, sizeof(path), "%d/root", (int)child->plan->init_pid);
	_cleanup_fd_ int root = openat(child->proc, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || fchdir(root) < 0 || chroot(".") < 0)
		return error_errno(e, errno, "enter the container's root");
	return 0;
}

static int join(const struct child_plan *plan, struct error *e)
{
	int flags = plan->join_flags & ~(CLONE_NEWPID | CLONE_NEWNS);

	if (plan->namespaces.middle)
		flags &= ~CLONE_NEWUSER;
	if (plan->mount_namespace >= 0 && setns(plan->mount_namespace, CLONE_NEWNS) < 0)
		return error_errno(e, errno, "join the container's mount namespace");
	if (flags && setns(plan->init_pidfd, flags) < 0)
		return error_errno(e, errno, "join the container's namespaces");
	return 0;
}

int child_enter_container(struct child *child, struct error *e)
{
	const struct child_plan *plan = child->plan;
	int r = join(plan, e);

	if (r == 0 && plan->mount_namespace < 0)
		r = enter_root_of_init(child, e);
	if (r == 0 && (plan->join_flags & CLONE_NEWUSER))
		r = namespaces_become_root(e);
	if (r < 0)
		return r;
	if (!child->process->terminal)
		return 0;
	_cleanup_fd_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return error_errno(e, errno, "open the container's root");
	return child_open_terminal(child, root, e);
}
