/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_SCHEDULING_H
#define ENGINE_SCHEDULING_H

/* How a process is scheduled, and its odd relatives: I/O priority, CPU affinity, memory policy, personality. Each takes
 * NULL for "nothing asked". All return 0 or -errno with the property named; words are checked by the *_parse functions,
 * which validation calls too. */

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "proto/oci.pb-c.h"

/* `process.scheduler` for @pid (0: the caller): sched_setattr(2). Before capabilities are dropped. */
int scheduler_apply(pid_t pid, const Grpc__Scheduler *scheduler, struct error *e);
/* `process.ioPriority`, by ioprio_set(2), for the caller. */
int io_priority_apply(const Grpc__LinuxIOPriority *priority, struct error *e);
/*
 * A list of CPUs ("0-3,7") onto @pid (0: the caller). NULL or "": nothing. For exec: `execCPUAffinity.initial` before the
 * process enters its cgroup, `final` after.
 */
int cpu_affinity_apply(pid_t pid, const char *list, struct error *e);
/* [child] An affinity that we inherited ends: all CPUs, as far as the cgroup allows. Best effort. */
void cpu_affinity_reset(void);
/* `linux.memoryPolicy`, by set_mempolicy(2), for the caller. */
int memory_policy_apply(const Grpc__LinuxMemoryPolicy *policy, struct error *e);
/* `linux.personality`, for the caller. */
int personality_apply(const Grpc__LinuxPersonality *personality, struct error *e);

/* Checks without effect; @property is put in front in errors. 0 or -EINVAL. */
int scheduler_validate(const Grpc__Scheduler *scheduler, const char *property, struct error *e);
int io_priority_validate(const Grpc__LinuxIOPriority *priority, const char *property, struct error *e);
int memory_policy_validate(const Grpc__LinuxMemoryPolicy *policy, const char *property, struct error *e);
int personality_validate(const Grpc__LinuxPersonality *personality, const char *property, struct error *e);
/* "0-3,7" into a bit mask of @words 64-bit words (zeroed first). 0, -EINVAL, or -ERANGE when a number does not fit. */
int number_list_parse(const char *list, uint64_t *mask, size_t words);

#endif
