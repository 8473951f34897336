/* SPDX-License-Identifier: Apache-2.0 */

/* See admission.h. A waiting call costs a few bytes of its own arena, as a parked one does. */

#include "agent/admission.h"

struct waiting_call {
	struct list link;
	struct ttrpc_call *call;
	unsigned bound;
};

void admission_init(struct admission *admission)
{
	list_init(&admission->waiting);
}

void admission_deinit(struct admission *admission)
{
	loop_defer_remove(&admission->turn);
	while (!list_empty(&admission->waiting))
		list_remove(admission->waiting.next);
}

static void ended(struct ttrpc_call *call, enum ttrpc_end end, void *data)
{
	struct waiting_call *waiting = data;
	list_remove(&waiting->link);
	if (end == TTRPC_END_DEADLINE)
		ttrpc_call_fail_timeout(call);
}

/* Who came before and may not yet, may not be passed by one that asks for no less. */
static bool must_wait(const struct admission *admission, unsigned bound)
{
	const struct waiting_call *waiting;
	if (admission->count(admission->data) >= bound)
		return true;
	list_for_each_entry (waiting, &admission->waiting, link)
		if (waiting->bound >= bound)
			return true;
	return false;
}

bool admission_enter(struct admission *admission, struct ttrpc_call *call, unsigned bound)
{
	struct waiting_call *waiting;
	if (bound == ADMIT_ALWAYS || !must_wait(admission, bound))
		return true;
	waiting = arena_new_object(call->arena, struct waiting_call);
	if (!waiting) {
		ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory to wait");
		return false;
	}
	waiting->call = call;
	waiting->bound = bound;
	list_append(&admission->waiting, &waiting->link);
	ttrpc_call_on_end(call, ended, waiting);
	admission_poke(admission);
	return false;
}

static struct waiting_call *next(struct admission *admission)
{
	struct waiting_call *waiting;
	unsigned count = admission->count(admission->data);
	list_for_each_entry (waiting, &admission->waiting, link)
		if (count < waiting->bound)
			return waiting;
	return NULL;
}

static void on_turn(struct loop_defer *defer)
{
	struct admission *admission = list_entry(defer, struct admission, turn);
	struct waiting_call *waiting;
	while ((waiting = next(admission))) {
		list_remove(&waiting->link);
		ttrpc_call_on_end(waiting->call, NULL, NULL);
		admission->run(waiting->call, admission->data);
	}
}

void admission_poke(struct admission *admission)
{
	if (!list_empty(&admission->waiting) && !admission->turn.loop)
		loop_defer_add(admission->loop, &admission->turn, on_turn);
}
