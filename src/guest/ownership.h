/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_OWNERSHIP_H
#define GUEST_OWNERSHIP_H

/* The group of a volume: Kubernetes' fsGroup (reference 06, 4.5). */

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

struct ownership {
	gid_t group;
	bool read_only;	       /* the volume is: readable is enough */
	bool on_root_mismatch; /* nothing to do when the top directory is right already */
};

/*
 * Gives everything below the directory @path, and it, to the group, with group permissions added. Links are never followed,
 * other mounts below are left alone. Blocks. A volume that cannot be changed (EROFS) is left as it is. 0 or the first
 * -errno with @e set.
 */
int ownership_apply(const char *path, const struct ownership *ownership, struct error *e);

/* Ownership and the set-group-id bit of one directory, for tmpfs and local volumes: chown to @group, mode as it is, or
 * @mode where that is not negative, with 02000 added if @setgid. 0 or -errno. */
int ownership_of_directory(int fd, gid_t group, long mode, bool setgid, struct error *e);

#endif
