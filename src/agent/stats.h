/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_STATS_H
#define AGENT_STATS_H

/* What a cgroup tells of itself, in the words of StatsContainerResponse (reference 03, 6.8). */

#include "base/arena.h"
#include "cgroup/cgroup.h"
#include "proto/agent.pb-c.h"

/* Lives in @arena; @stats is borrowed by it. A part that is not present is absent. NULL when memory is out. */
Grpc__StatsContainerResponse *stats_message(const struct cgroup_stats *stats, struct arena *arena);

#endif
