/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_MOUNT_H
#define ENGINE_MOUNT_H

/*
 * The spec's `mounts`, in the container's new mount namespace.
 *
 * Each is made detached (fsopen, or open_tree of its source), gets its attributes while nobody can see it, and is moved
 * onto a target that was resolved below the container's root and is held by descriptor. So read-only is read-only from the
 * first moment, attributes that a source has stay, and no path is looked up twice.
 *
 * Where the descriptor calls do not know an option (old parsers of file systems, values of more than 255 bytes,
 * superblock flags that have no name) the same mount is made by mount(2) onto "self/fd/N" of our own procfs. Needs
 * mount_setattr(2): Linux 5.12.
 *
 * What a new user namespace may not open itself is asked from a helper outside, which makes the detached mount
 * and sends its descriptor (mount_helper_run()).
 */

#include "base/error.h"
#include "engine/mount_options.h"
#include "engine/rootfs.h"

/* All of the spec's mounts, in order. 0, or -errno naming the destination. */
int mounts_apply(struct rootfs *rootfs, struct error *e);

/* Moves the detached mount @fd onto @target (O_PATH). 0 or -errno. */
int mount_attach(int fd, int target);
/* A detached clone of what is at @path below @dirfd (AT_FDCWD; "" is @dirfd itself). Descriptor or -errno. */
int mount_clone(int dirfd, const char *path, bool recursive);
/* Attributes of a mount (of the whole tree when @recursive). 0 or -errno. */
int mount_set(int fd, uint64_t set, uint64_t clear, bool recursive);
int mount_propagate(int fd, unsigned long propagation);
/* A detached tmpfs with these options ("mode=755,size=64k") and the container's mountLabel. Descriptor or -errno. */
int mount_tmpfs(const struct rootfs *rootfs, const char *data, uint64_t attributes);

/* [helper process] Serves requests until the end of file of @socket. Never returns. */
_Noreturn void mount_helper_run(const struct rootfs *rootfs, int socket);

#endif
