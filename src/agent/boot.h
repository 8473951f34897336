/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_BOOT_H
#define AGENT_BOOT_H

/*
 * What the agent does because it is PID 1 and nobody has done it before: mounts, cgroup hierarchies, terminal, host name,
 * loopback, limits (reference 02, section 4.2; 05, section 1).
 *
 * Nothing here is fatal. What fails is told, and the guest goes on with what it has: a guest that answers and says what
 * is missing serves its host better than a kernel panic.
 */

#include <stdbool.h>
#include <stddef.h>

#include "agent/config.h"

/* /proc, /sys, /dev, /dev/shm, /dev/pts, /run, /tmp: before the configuration is read. What is mounted already is left
 * alone. */
void boot_base(void);
/* Opens those of 0, 1 and 2 that are closed, as an initramfs may start its init, or a script its daemon: the console as
 * PID 1, else /dev/null. To be called in any case, before a descriptor is opened to stay. */
void boot_standard_streams(void);
/* The rest, after it: cgroups, /dev/ptmx, session and terminal, PATH, host name, limits, `lo`. */
void boot_guest(const struct config *config);

enum boot_cgroups { BOOT_CGROUP_NONE, BOOT_CGROUP_V1, BOOT_CGROUP_V2 };

/*
 * Mounts the cgroup hierarchies at @root ("/sys/fs/cgroup"): v2 where @want_v2, or where the kernel has no v1 memory or
 * devices controller; else v1, one hierarchy a controller. Falls back to the other one. @table is the kernel's list
 * ("/proc/cgroups"). Exported for tests in a mount namespace of their own.
 */
enum boot_cgroups boot_cgroups_mount(const char *root, const char *table, bool want_v2);

/* Known v1 controllers that a table of /proc/cgroups says are enabled, in its order; names point into @text, which is
 * written into. Lines that are malformed are passed over. Returns the count (at most @max). */
size_t boot_cgroup_controllers(char *text, const char **names, size_t max);

/* Host name of /etc/hostname: up to the first blank, at most 64 bytes; "localhost" where there is none. */
void boot_hostname(const char *path, char *out, size_t size);

#endif
