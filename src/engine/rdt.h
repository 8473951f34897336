/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_RDT_H
#define ENGINE_RDT_H

/*
 * `linux.intelRdt`: cache and memory bandwidth by the resctrl file system (kernel: Documentation/arch/x86/resctrl.rst).
 * A class of service (closID, or the container's id) is a directory; with monitoring the container gets a group of its
 * own below `mon_groups`. The parent makes, fills and removes them; what was there before is never removed.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "proto/oci.pb-c.h"

struct rdt;

/* Where resctrl is mounted, or NULL. */
const char *rdt_root(void);

/*
 * [parent] Makes the class (or, where it is only named and has no schemata, checks that it is there), writes its schemata
 * and makes the monitoring group. @root: rdt_root(), or a directory for tests; NULL: -ENOENT ("resctrl is not mounted").
 * @in NULL: *@out is NULL. Undone on failure. 0 or -errno.
 */
int rdt_new(const char *root, const Grpc__LinuxIntelRdt *in, const char *container_id, struct rdt **out,
	    struct error *e);
/* Puts a process in. Takes NULL. 0 or -errno. */
int rdt_attach(const struct rdt *rdt, pid_t pid, struct error *e);
/* Removes what rdt_new() made. Takes NULL. 0 or -errno. */
int rdt_remove(struct rdt *rdt, struct error *e);
/* Writes the schemata of @in into a class that is there. 0 or -errno. */
int rdt_update(const char *root, const Grpc__LinuxIntelRdt *in, const char *container_id, struct error *e);
/* Takes NULL. Removes nothing. */
void rdt_free(struct rdt *rdt);
/* For a process that did not make it (a later `delete`): the same object from the spec; nothing is created. It removes the
 * class only if no closID was given, and the monitoring group. NULL when memory is out. */
struct rdt *rdt_find(const char *root, const Grpc__LinuxIntelRdt *in, const char *container_id);

#endif
