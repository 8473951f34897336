/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_MOUNT_PRIVATE_H
#define ENGINE_MOUNT_PRIVATE_H

/* Between mount.c (order, targets), mount_source.c (what is mounted) and mount_cgroup.c. */

#include "engine/mount.h"

struct mount_request {
	const Grpc__Mount *mount;
	size_t index; /* in the spec */
	const char *type;
	struct mount_options options;
	bool bind;
	bool hold_readonly; /* read-only comes later: /dev, before its nodes are made */
};

int mount_request_init(struct mount_request *request, const struct rootfs *rootfs, size_t index,
		       struct error *e);

/*
 * The detached mount with its attributes. Descriptor; -ENOTSUP (no @e) when only mount(2) can make it; or -errno.
 * @user_namespace: the container's, for `idmap` without mappings; -1.
 */
int mount_make(const struct rootfs *rootfs, const struct mount_request *request, int user_namespace,
	       struct error *e);
/* The same by the helper outside. */
int mount_ask_helper(const struct rootfs *rootfs, const struct mount_request *request, struct error *e);
/* mount(2) onto @target. 0 or -errno. */
int mount_classic(const struct rootfs *rootfs, const struct mount_request *request, int target,
		  struct error *e);
/* The options of the file system mounted at @target (a mount's root). 0 or -errno. */
int mount_reconfigure(int target, const struct mount_request *request, struct error *e);
int mount_apply_propagation(int fd, const struct mount_options *options, struct error *e);

/* Types cgroup and cgroup2. */
int mount_cgroup(struct rootfs *rootfs, const struct mount_request *request, int target, struct error *e);

/* Copies what is in the directory @from into @to (both descriptors), with owners, modes, times and xattrs. */
int mount_copy_up(int from, int to, struct error *e);

#endif
