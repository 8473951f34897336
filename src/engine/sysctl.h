/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_SYSCTL_H
#define ENGINE_SYSCTL_H

/*
 * `linux.sysctl`: written by the child, in its namespaces, through a procfs of our own. Keys are spelled with dots or with
 * slashes; the first separator decides (as sysctl(8): `net.ipv4.conf.eth0/1.rp_filter` is interface eth0.1).
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "proto/oci.pb-c.h"

enum { SYSCTL_PATH_MAX = 512 };

/* The key as a path below /proc/sys: no empty part, no "..", no leading "/". 0, -EINVAL or -ENAMETOOLONG. */
int sysctl_path(const char *key, char path[SYSCTL_PATH_MAX]);

/*
 * May a container with the namespaces @flags (CLONE_NEW*) set @key? 0, or -EINVAL with the reason in @e. With @wire,
 * `net.*` and `user.*` are always allowed (struct validate_context). `kernel.hostname` never is: a spec has `hostname`.
 */
int sysctl_validate(const char *key, int flags, bool wire, struct error *e);

/* [child] Writes all. @proc: descriptor of a procfs's root. A key that this kernel does not have is an error, or, with @wire
 * (the host cannot know the guest's kernel), a warning. 0 or the first -errno, naming key and value. */
int sysctl_apply(int proc, Grpc__Linux__SysctlEntry *const *entries, size_t count, bool wire,
		 struct error *e);

#endif
