/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_RLIMITS_H
#define ENGINE_RLIMITS_H

/* Resource limits of a process, set late (a small RLIMIT_NOFILE must not break the set-up itself). */

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "proto/oci.pb-c.h"

/*
 * Sets @limits for @pid (0: the caller). Unknown types were refused by validation. 0 or -errno, naming the limit.
 */
int rlimits_apply(pid_t pid, Grpc__POSIXRlimit *const *limits, size_t count, struct error *e);

/*
 * [child] What an agent under systemd has for itself is not for containers: where RLIMIT_NOFILE is not in @limits and
 * ours has been raised beyond what a login gets, it becomes 1024 (soft) and at most 1048576 (hard). Best effort.
 */
void rlimits_reset(Grpc__POSIXRlimit *const *limits, size_t count);

#endif
