/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_MASKED_H
#define ENGINE_MASKED_H

/*
 * Masked and read-only paths.
 *
 * A masked directory is covered by an empty read-only one, shared by all masked directories of the container; anything
 * else by the guest's null device, which is verified to be one. A read-only path becomes a recursive clone of itself,
 * read-only as a whole, with all other attributes kept. A path that is not there needs nothing.
 */

#include "base/error.h"
#include "engine/rootfs.h"

/* 0, or -errno naming the path. */
int masked_apply(struct rootfs *rootfs, struct error *e);
int readonly_apply(struct rootfs *rootfs, struct error *e);

#endif
