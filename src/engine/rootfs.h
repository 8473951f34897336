/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_ROOTFS_H
#define ENGINE_ROOTFS_H

/*
 * The container's root file system, from the child's point of view: prepared in its new mount namespace while the
 * guest's root is still there, then made the root.
 *
 * Everything below it is reached from one descriptor (`fd`) with openat2(RESOLVE_IN_ROOT) and used by descriptor. The root
 * is a clone of the given directory's mount tree, so that read-only and propagation are the container's own.
 *
 * Without a mount namespace of its own nothing is mounted (validation refuses what would be), and the root is changed by
 * chroot(2).
 */

#include <stdbool.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/error.h"
#include "cgroup/cgroup.h"
#include "proto/oci.pb-c.h"

struct rootfs {
	/* given */
	const Grpc__Spec *spec;
	const char *bundle;
	const struct cgroup *cgroup;
	int proc;	     /* procfs of the engine */
	bool own_mounts;     /* a mount namespace of its own */
	bool user_namespace; /* device nodes cannot be made, only bound */
	bool cgroup_namespace;
	bool no_pivot;
	bool inherit_modes; /* a tmpfs without a mode takes that of the directory that it covers */
	int helper;	    /* socket of the mount helper (user namespaces), or -1 */
	bool outside;	    /* this is that helper, among the guest's own mounts */
	struct arena *arena;
	/* made */
	int fd;		/* its root; O_PATH or a mount's descriptor */
	bool dev_bound; /* the spec binds /dev: it is left alone */
};

/* Propagation of the old root, then the container's root as a mount. 0 or -errno. */
int rootfs_open(struct rootfs *rootfs, struct error *e);
/* process.cwd, made where it is missing (0755). 0 or -errno. */
int rootfs_make_cwd(struct rootfs *rootfs, const char *cwd, struct error *e);
/* root.readonly and rootfsPropagation, after which nothing can be made any more. 0 or -errno. */
int rootfs_seal(struct rootfs *rootfs, struct error *e);
/* It becomes "/" and the cwd; the old root is gone. 0 or -errno. */
int rootfs_enter(struct rootfs *rootfs, struct error *e);

/* MS_* of `linux.rootfsPropagation`; 0 when absent or unknown. */
unsigned long rootfs_propagation(const char *name);

#endif
