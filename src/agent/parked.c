/* SPDX-License-Identifier: Apache-2.0 */

/* See parked.h. */

#include "agent/parked.h"

static void ended(struct ttrpc_call *call, enum ttrpc_end end, void *data)
{
	struct parked *parked = data;
	list_remove(&parked->link);
	if (end == TTRPC_END_DEADLINE)
		ttrpc_call_fail_timeout(call);
}

void parked_add(struct list *list, struct ttrpc_call *call)
{
	struct parked *parked = arena_new_object(call->arena, struct parked);
	if (!parked) {
		ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory to wait");
		return;
	}
	parked->call = call;
	list_append(list, &parked->link);
	ttrpc_call_on_end(call, ended, parked);
}

struct ttrpc_call *parked_take(struct list *list)
{
	if (list_empty(list))
		return NULL;
	struct parked *parked = list_first_entry(list, struct parked, link);
	list_remove(&parked->link);
	return parked->call;
}

void parked_move(struct list *from, struct list *to)
{
	while (!list_empty(from)) {
		struct list *first = from->next;
		list_remove(first);
		list_append(to, first);
	}
}

void parked_fail_all(struct list *list, const struct error *e)
{
	struct ttrpc_call *call;
	while ((call = parked_take(list)))
		ttrpc_call_fail(call, e);
}

void parked_respond_all(struct list *list)
{
	struct ttrpc_call *call;
	while ((call = parked_take(list)))
		ttrpc_call_respond(call, NULL, 0);
}
