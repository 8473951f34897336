/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_DEVICE_H
#define ENGINE_DEVICE_H

/*
 * Device nodes and the links of /dev, made in the container's root by descriptor.
 *
 * A node that is there already and is what it should be stays; one that is something else is an error (runtime-spec,
 * config-linux.md, "Devices"). In a user namespace nodes cannot be made: the guest's own node of the same path is bound
 * there, after a look at its numbers.
 */

#include <sys/stat.h>

#include "base/error.h"
#include "engine/rootfs.h"

/* Links, default devices, the spec's devices. Nothing at all when /dev is a bind. 0 or -errno. */
int devices_make(struct rootfs *rootfs, struct error *e);
/* Binds the terminal @slave onto /dev/console. 0 or -errno. */
int device_bind_console(struct rootfs *rootfs, int slave, struct error *e);

/* S_IFCHR, S_IFBLK or S_IFIFO for the spec's type ("c", "u", "b", "p"); 0 for others. */
mode_t device_type(const char *type);
/* Is what @st says the device of @mode's type and @number? */
bool device_matches(const struct stat *st, mode_t mode, dev_t number);

#endif
