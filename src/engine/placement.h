/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_PLACEMENT_H
#define ENGINE_PLACEMENT_H

/*
 * Where a new process belongs: id mappings, cgroup, RDT class, oom_score_adj, network devices. All are steps of a launch
 * (0, LAUNCH_WAIT, or -errno with @e set) between clone and GO.
 */

#include "engine/launch.h"

/* Into its new user namespace, if it has one. */
int placement_map_ids(struct launch *launch, struct error *e);
/* [create] Into its own cgroup, unless it was born there; with systemd the limits come now, too. */
int placement_enter_cgroup(struct launch *launch, struct error *e);
/* [exec] Into the cgroup of the container, or where its init is. */
int placement_join_cgroup(struct launch *launch, struct error *e);
/* oom_score_adj (by us, since a child in a user namespace may not), then the RDT class. */
int placement_enter_rdt(struct launch *launch, struct error *e);
int placement_move_netdevices(struct launch *launch, struct error *e);

#endif
