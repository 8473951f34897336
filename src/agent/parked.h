/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_PARKED_H
#define AGENT_PARKED_H

/*
 * A call that waits in a list of the object that it waits for. It costs a few bytes of the call's own arena. A deadline
 * or a lost connection takes it out of the list by itself.
 */

#include "base/list.h"
#include "ttrpc/ttrpc.h"

struct parked {
	struct list link;
	struct ttrpc_call *call;
};

/* At the list's end. When memory is out the call is failed. The list must outlive its parked calls. */
void parked_add(struct list *list, struct ttrpc_call *call);
/* The first call of the list, no longer in it, to be answered; NULL when there is none. */
struct ttrpc_call *parked_take(struct list *list);
/* Moves all to the end of @to. */
void parked_move(struct list *from, struct list *to);
/* Fails all with @e, answers all with an empty message. */
void parked_fail_all(struct list *list, const struct error *e);
void parked_respond_all(struct list *list);

#endif
