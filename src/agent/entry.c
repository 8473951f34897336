/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Entries are few (a pod's containers) and looked up by walking the list. What takes long with one, its creation and its
 * removal, has files of its own.
 */

#include "agent/entry.h"

#include <stdlib.h>
#include <string.h>

#include "agent/heap.h"
#include "agent/parked.h"
#include "agent/rpc.h"
#include "agent/sandbox.h"
#include "agent/sequence.h"
#include "base/fd.h"

struct entry *entry_find(struct sandbox *sandbox, const char *id)
{
	struct entry *entry;
	list_for_each_entry (entry, &sandbox->entries, link)
		if (strcmp(entry->id, id) == 0)
			return entry;
	return NULL;
}

bool entry_visible(const struct entry *entry)
{
	return entry->state == ENTRY_LIVE || entry->state == ENTRY_REMOVING;
}

bool entry_ending(const struct entry *entry)
{
	if (entry->doomed || entry->state == ENTRY_REMOVING)
		return true;
	return entry->state == ENTRY_CREATING && entry->sequence && sequence_undoing(entry->sequence);
}

struct entry *entry_new(struct sandbox *sandbox, const char *id)
{
	struct entry *entry = calloc(1, sizeof(*entry));
	char *copy = strdup(id);
	if (!entry || !copy) {
		free(entry);
		free(copy);
		return NULL;
	}
	entry->sandbox = sandbox;
	entry->id = copy;
	list_init(&entry->tasks);
	list_init(&entry->creators);
	list_init(&entry->removals);
	list_append(&sandbox->entries, &entry->link);
	return entry;
}

/* The id is free: those who wait for it get their turn; all but the first of the same id will be told that it exists. */
static void start_creators(struct sandbox *sandbox, struct list *creators)
{
	struct ttrpc_call *call;
	while ((call = parked_take(creators))) {
		struct error e = ERROR_INIT;
		const Grpc__CreateContainerRequest *request =
			proto_decode(&grpc__create_container_request__descriptor, call->payload,
				     call->payload_length, call->arena, &e);
		if (request)
			entry_create(sandbox, call, request);
		else
			ttrpc_call_fail(call, &e);
	}
}

void entry_release_creators(struct entry *entry)
{
	struct list creators = LIST_INIT(creators);
	parked_move(&entry->creators, &creators);
	start_creators(entry->sandbox, &creators);
}

static void prune(struct loop_defer *defer)
{
	task_prune(list_entry(defer, struct entry, prune));
}

void entry_prune(struct entry *entry)
{
	if (!entry->prune.loop)
		loop_defer_add(entry->sandbox->loop, &entry->prune, prune);
}

static void bury(struct entry *entry)
{
	struct task *task, *tmp;
	list_remove(&entry->link);
	loop_defer_remove(&entry->prune);
	loop_timer_remove(&entry->patience);
	passfd_abandon(&entry->claim);
	list_for_each_entry_safe (task, tmp, &entry->tasks, link)
		task_free(task);
	cgroup_oom_free(entry->oom);
	container_free(entry->container);
	arena_free(entry->arena);
	storage_refs_free(entry->storages);
	free(entry->id);
	free(entry);
}

void entries_bury(struct sandbox *sandbox)
{
	size_t gone = 0, left = 0;
	struct entry *entry;
	for (; !list_empty(&sandbox->graves); gone++)
		bury(list_first_entry(&sandbox->graves, struct entry, link));
	list_for_each_entry (entry, &sandbox->entries, link)
		left++;
	if (gone > 0)
		heap_settle(gone, left);
}

static void destroy(struct entry *entry)
{
	struct sandbox *sandbox = entry->sandbox;
	list_remove(&entry->link);
	list_append(&sandbox->graves, &entry->link);
	for (size_t i = 0; i < entry->n_namespaces; i++)
		fd_close(entry->namespaces[i].fd);
	entry->n_namespaces = 0;
	if (sandbox->pid_owner == entry) {
		sandbox->pid = fd_close(sandbox->pid);
		sandbox->pid_owner = NULL;
	}
	entry_release_creators(entry);
	sandbox_settle(sandbox);
}

void entry_free(struct entry *entry)
{
	entry->doomed = true;
	if (entry->operations == 0)
		destroy(entry);
}

void entry_begin(struct entry *entry)
{
	entry->operations++;
}

void entry_end(struct entry *entry)
{
	if (--entry->operations > 0)
		return;
	if (entry->doomed)
		destroy(entry);
	else
		entry_settle(entry);
}
