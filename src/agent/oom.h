/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_OOM_H
#define AGENT_OOM_H

/*
 * Kills for want of memory, on their way to the host's GetOOMEvent.
 *
 * An event is kept until an answer that carries it was accepted by a living connection, also when its container is gone
 * by then. Kills of one container that nobody was told of yet are one event, so what waits is bounded by the number of
 * containers; past OOM_EVENTS_MAX (containers that came and went unheard) the oldest goes.
 *
 * Calls without an event wait as long as the agent lives: hosts ask again at once after an error.
 */

#include "ttrpc/ttrpc.h"

enum { OOM_EVENTS_MAX = 1024 };

struct oom;

struct oom *oom_new(void);
/* Takes NULL. Calls that wait must be gone (the server is). */
void oom_free(struct oom *oom);
void oom_report(struct oom *oom, const char *container_id);
/* GetOOMEvent. */
void oom_wait(struct oom *oom, struct ttrpc_call *call);
size_t oom_pending(const struct oom *oom);

#endif
