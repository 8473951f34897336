/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_ADMISSION_H
#define AGENT_ADMISSION_H

/*
 * How much is begun at once: calls whose work is done by children of the agent wait here, in order, while there are too
 * many. A pod never has that many; a host that sends a thousand requests at a time gets them all served, one after another,
 * and a share that hangs does not fill the guest with processes that hang with it.
 *
 * Each method has its own bound. Calls that only look (statistics of a volume, a termination log) have a low one: when all
 * that is below it hangs, there is still room for those that begin or end something. What ends things never waits.
 */

#include <stdbool.h>

#include "base/list.h"
#include "base/loop.h"
#include "ttrpc/ttrpc.h"

enum {
	ADMIT_ALWAYS = 0,
	ADMIT_LOOKING = 16, /* children and containers in the making, in all */
	ADMIT_WORK = 64,
};

struct admission {
	struct loop *loop;
	/* How many there are now. */
	unsigned (*count)(void *data);
	/* Runs a call whose turn has come. */
	void (*run)(struct ttrpc_call *call, void *data);
	void *data;
	struct list waiting;
	struct loop_defer turn;
};

void admission_init(struct admission *admission);
/* Waiting calls are forgotten: their server has gone. */
void admission_deinit(struct admission *admission);
/* True: it may go on at once. False: it waits, or was failed for want of memory; a deadline or a lost connection takes
 * it out. */
bool admission_enter(struct admission *admission, struct ttrpc_call *call, unsigned bound);
/* There may be room: who waits is looked at when the loop's round is over. */
void admission_poke(struct admission *admission);

#endif
