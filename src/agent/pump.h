/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_PUMP_H
#define AGENT_PUMP_H

/*
 * Copies bytes from one descriptor to another, in one direction, as fast as both sides go and no faster: what the target
 * does not take is kept in one buffer, and until it is gone nothing more is read. The buffer exists only then.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/loop.h"

struct pump;

/*
 * Called once, never from pump_new(): @r 0 at the source's end (what was read has been written; EIO of a terminal's master
 * is its end), or -errno of a target that takes no more. The pump is stopped, its descriptors are still open; free it.
 */
typedef void (*pump_done)(struct pump *pump, int r, void *data);

/* @from and @to are taken and made non-blocking; they must be registered in no other place: duplicate them where needed.
 * NULL with errno (the descriptors are closed). */
struct pump *pump_new(struct loop *loop, int from, int to, pump_done done, void *data);
/* Takes NULL. Closes both descriptors; what was not written is lost. */
void pump_free(struct pump *pump);
/* True when something was read and not yet written. */
bool pump_busy(const struct pump *pump);
int pump_source(const struct pump *pump);
int pump_target(const struct pump *pump);

#endif
