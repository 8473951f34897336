/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_IDMAP_H
#define ENGINE_IDMAP_H

/*
 * Id mappings of user namespaces: as text, into a process's uid_map and gid_map, and as a user namespace of their own
 * for idmapped mounts.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"
#include "proto/oci.pb-c.h"

/* Lines "container host size"; entries of size 0 are left out. 0 or -ENOMEM. */
int idmap_text(Grpc__LinuxIDMapping *const *mappings, size_t count, struct buf *out);

/* Only helpers with privileges (newuidmap, newgidmap) can write these maps for us: we are not root, and more than our own
 * id is mapped. */
bool idmap_needs_helper(const Grpc__Linux *linux);

/*
 * Writes both maps of @pid below the procfs @proc. As root at once. Otherwise setgroups(2) is denied in the namespace
 * first when @deny_setgroups, and with @helper the maps are written by newuidmap(1) and newgidmap(1) [blocks: in a job].
 * 0 or -errno.
 */
int idmap_write(int proc, pid_t pid, const Grpc__Linux *linux, bool helper, bool deny_setgroups,
		struct error *e);

/*
 * A descriptor of a new user namespace with these mappings, made with a short-lived child. Needs privilege over the ids.
 * @proc: a procfs in which the caller's children are seen. Blocks for the child's moment. Descriptor or -errno.
 */
int idmap_namespace(int proc, Grpc__LinuxIDMapping *const *uids, size_t n_uids,
		    Grpc__LinuxIDMapping *const *gids, size_t n_gids, struct error *e);

#endif
