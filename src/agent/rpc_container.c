/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Containers: their beginning (entry_create.c) and end (entry_remove.c), and what is done with them in between. Operations
 * of the engine go on when a client leaves; their results then go nowhere.
 */

#include <errno.h>
#include <stdlib.h>

#include "agent/entry.h"
#include "agent/rpc.h"
#include "agent/sandbox.h"
#include "agent/stats.h"
#include "base/fd.h"
#include "proto/agent.pb-c.h"

/* --- operations of the engine that are answered when they are over --- */

struct operation {
	struct entry *entry;
	struct ttrpc_call *call; /* NULL: the client is gone */
	struct arena *arena;	 /* of the call, where the engine borrows from it */
};

static void operation_call_ended(struct ttrpc_call *call, enum ttrpc_end end, void *data)
{
	struct operation *operation = data;
	operation->call = NULL;
	if (end == TTRPC_END_DEADLINE)
		ttrpc_call_fail_timeout(call);
}

static struct operation *operation_begin(struct entry *entry, struct ttrpc_call *call)
{
	struct operation *operation = malloc(sizeof(*operation));
	if (!operation) {
		ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory to wait");
		return NULL;
	}
	*operation = (struct operation){.entry = entry, .call = call};
	ttrpc_call_on_end(call, operation_call_ended, operation);
	entry_begin(entry);
	return operation;
}

static void operation_over(struct container *container, int r, const struct error *e, void *data)
{
	struct operation *operation = data;
	(void)container;
	if (operation->call && r < 0)
		ttrpc_call_fail(operation->call, e);
	else if (operation->call)
		rpc_respond_empty(operation->call);
	entry_end(operation->entry);
	arena_free(operation->arena);
	free(operation);
}

/* NULL: the call was answered. */
static struct entry *find_living(struct sandbox *sandbox, struct ttrpc_call *call, const char *id)
{
	struct entry *entry = rpc_find_container(sandbox, call, id);
	if (!entry || entry->state == ENTRY_LIVE)
		return entry;
	ttrpc_call_fail_text(call, STATUS_FAILED_PRECONDITION, "container %s is being removed", id);
	return NULL;
}

static void run(struct sandbox *sandbox, struct ttrpc_call *call, const char *id,
		void (*fn)(struct container *, container_done, void *))
{
	struct entry *entry = find_living(sandbox, call, id);
	struct operation *operation = entry ? operation_begin(entry, call) : NULL;
	if (operation)
		fn(entry->container, operation_over, operation);
}

static void create_container(struct sandbox *sandbox, struct ttrpc_call *call, const void *request)
{
	entry_create(sandbox, call, request);
}

static void start_container(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__StartContainerRequest *request = data;
	run(sandbox, call, request->container_id, container_start);
}

static void pause_container(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__PauseContainerRequest *request = data;
	run(sandbox, call, request->container_id, container_pause);
}

static void resume_container(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__ResumeContainerRequest *request = data;
	run(sandbox, call, request->container_id, container_resume);
}

static void update_container(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__UpdateContainerRequest *request = data;
	struct entry *entry = find_living(sandbox, call, request->container_id);
	if (!entry)
		return;
	if (!request->resources) {
		rpc_respond_empty(call);
		return;
	}
	struct operation *operation = operation_begin(entry, call);
	if (!operation)
		return;
	operation->arena = ttrpc_call_steal_arena(call);
	container_update(entry->container, request->resources, operation_over, operation);
}

static void stats_container(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__StatsContainerRequest *request = data;
	struct entry *entry = rpc_find_container(sandbox, call, request->container_id);
	struct cgroup_stats stats = {0};
	struct error e = ERROR_INIT;
	if (!entry)
		return;
	struct cgroup *cgroup = container_cgroup(entry->container);
	if (cgroup && cgroup_stats(cgroup, call->arena, &stats, &e) < 0) {
		ttrpc_call_fail(call, &e);
		return;
	}
	Grpc__StatsContainerResponse *answer = stats_message(&stats, call->arena);
	if (answer)
		rpc_respond(call, answer);
	else
		ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory for the answer");
}

/* --- RemoveContainer --- */

struct awaited_removal {
	struct removal removal;
	struct ttrpc_call *call;
	struct loop_timer timer;
};

static void removal_over(struct removal *removal, const struct error *e)
{
	struct awaited_removal *awaited = list_entry(removal, struct awaited_removal, removal);
	loop_timer_remove(&awaited->timer);
	if (e)
		ttrpc_call_fail(awaited->call, e);
	else
		rpc_respond_empty(awaited->call);
}

static void removal_too_slow(struct loop_timer *timer)
{
	struct awaited_removal *awaited = list_entry(timer, struct awaited_removal, timer);
	list_remove(&awaited->removal.link);
	ttrpc_call_fail_text(awaited->call, STATUS_INTERNAL, "ETIME: Timer expired");
}

static void removal_call_ended(struct ttrpc_call *call, enum ttrpc_end end, void *data)
{
	struct awaited_removal *awaited = data;
	list_remove(&awaited->removal.link);
	loop_timer_remove(&awaited->timer);
	if (end == TTRPC_END_DEADLINE)
		ttrpc_call_fail_timeout(call);
}

static void remove_container(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__RemoveContainerRequest *request = data;
	struct error e = ERROR_INIT;
	struct entry *entry = rpc_find_container(sandbox, call, request->container_id);
	if (!entry)
		return;
	struct awaited_removal *awaited = arena_new_object(call->arena, struct awaited_removal);
	if (!awaited) {
		ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory to wait");
		return;
	}
	awaited->call = call;
	awaited->removal.done = removal_over;
	if (request->timeout > 0 && loop_timer_set(sandbox->loop, &awaited->timer,
						   (uint64_t)request->timeout * 1000, removal_too_slow) < 0) {
		ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory for a timer");
		return;
	}
	if (entry_remove(entry, &awaited->removal, &e) < 0) {
		loop_timer_remove(&awaited->timer);
		ttrpc_call_fail(call, &e);
		return;
	}
	ttrpc_call_on_end(call, removal_call_ended, awaited);
}

static const struct rpc_method methods[] = {
	{"CreateContainer", &grpc__create_container_request__descriptor, create_container, ADMIT_WORK},
	{"PauseContainer", &grpc__pause_container_request__descriptor, pause_container, ADMIT_WORK},
	{"RemoveContainer", &grpc__remove_container_request__descriptor, remove_container},
	{"ResumeContainer", &grpc__resume_container_request__descriptor, resume_container, ADMIT_WORK},
	{"StartContainer", &grpc__start_container_request__descriptor, start_container, ADMIT_WORK},
	{"StatsContainer", &grpc__stats_container_request__descriptor, stats_container},
	{"UpdateContainer", &grpc__update_container_request__descriptor, update_container, ADMIT_WORK},
};

const struct rpc_group rpc_container_group = {"grpc.AgentService", methods, array_length(methods)};
