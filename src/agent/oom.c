/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Events wait in one list, calls in another; one of the two is empty. Several calls at once get an event each. An answer that
 * fails at once gives its event back from within deliver(), which is told so by `delivering`: thousands of calls may wait
 * on one dead connection.
 */

#include "agent/oom.h"

#include <stdlib.h>
#include <string.h>

#include "agent/parked.h"
#include "base/buf.h"
#include "base/log.h"
#include "proto/agent.pb-c.h"
#include "proto/proto.h"

struct oom {
	struct list events;
	size_t count;
	struct list calls;
	bool delivering;
};

struct event {
	struct list link; /* not in the list while an answer carries it */
	struct oom *oom;
	char id[]; /* the container's */
};

struct oom *oom_new(void)
{
	struct oom *oom = calloc(1, sizeof(*oom));
	if (!oom)
		return NULL;
	list_init(&oom->events);
	list_init(&oom->calls);
	return oom;
}

static void drop(struct oom *oom, struct event *event)
{
	list_remove(&event->link);
	oom->count--;
	free(event);
}

void oom_free(struct oom *oom)
{
	if (!oom)
		return;
	while (!list_empty(&oom->events))
		drop(oom, list_first_entry(&oom->events, struct event, link));
	free(oom);
}

static void deliver(struct oom *oom);

static void sent(bool arrived, void *data)
{
	struct event *event = data;
	struct oom *oom = event->oom;
	if (arrived) {
		free(event);
		return;
	}
	list_prepend(&oom->events, &event->link);
	oom->count++;
	deliver(oom);
}

static void carry(struct event *event, struct ttrpc_call *call)
{
	Grpc__OOMEvent answer = GRPC__OOMEVENT__INIT;
	_cleanup_buf_ struct buf out = BUF_INIT;
	answer.container_id = event->id;
	if (proto_encode(&answer, &out) < 0) {
		ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory for the answer");
		sent(false, event);
		return;
	}
	ttrpc_call_respond_notify(call, buf_begin(&out), out.length, sent, event);
}

static void deliver(struct oom *oom)
{
	struct ttrpc_call *call;
	if (oom->delivering)
		return;
	oom->delivering = true;
	while (!list_empty(&oom->events) && (call = parked_take(&oom->calls))) {
		struct event *event = list_first_entry(&oom->events, struct event, link);
		list_remove(&event->link);
		oom->count--;
		carry(event, call);
	}
	oom->delivering = false;
}

void oom_report(struct oom *oom, const char *id)
{
	struct event *event;
	list_for_each_entry (event, &oom->events, link)
		if (strcmp(event->id, id) == 0)
			return;
	if (oom->count >= OOM_EVENTS_MAX)
		drop(oom, list_first_entry(&oom->events, struct event, link));
	event = malloc(sizeof(*event) + strlen(id) + 1);
	if (!event) {
		log_error("oom", "event lost: no memory to keep it", "container-id", id);
		return;
	}
	event->oom = oom;
	memcpy(event->id, id, strlen(id) + 1);
	list_append(&oom->events, &event->link);
	oom->count++;
	deliver(oom);
}

void oom_wait(struct oom *oom, struct ttrpc_call *call)
{
	parked_add(&oom->calls, call);
	deliver(oom);
}

size_t oom_pending(const struct oom *oom)
{
	return oom->count;
}
