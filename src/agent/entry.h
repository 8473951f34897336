/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_ENTRY_H
#define AGENT_ENTRY_H

/*
 * A container's entry in the sandbox: the engine's container together with all that the agent has for it: bundle,
 * storages, tasks, watch for memory kills. It exists from the first step of its creation to the last of its removal, so
 * that an id is taken, and given free, at well-defined moments.
 *
 *     (none) → CREATING → LIVE → REMOVING → (none)
 *        ↑_______↓           ↑_______↓ an error: to be removed by another call
 *         an error: undone
 *
 * Calls see an entry only while it is LIVE or REMOVING. A CreateContainer for the id of one that is being undone or
 * removed waits for its end.
 */

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "agent/passfd.h"
#include "agent/task.h"
#include "base/arena.h"
#include "base/error.h"
#include "base/job.h"
#include "base/list.h"
#include "cgroup/cgroup.h"
#include "engine/container.h"
#include "guest/storage.h"
#include "proto/agent.pb-c.h"
#include "ttrpc/ttrpc.h"

struct sandbox;
struct sequence;

enum entry_state { ENTRY_CREATING, ENTRY_LIVE, ENTRY_REMOVING };

enum { ENTRY_NAMESPACES = 3 };

struct entry {
	struct list link; /* of sandbox->entries */
	struct sandbox *sandbox;
	char *id;
	enum entry_state state;
	time_t created; /* wall clock, for people */
	struct container *container;
	struct list tasks; /* of struct task, init first */
	struct storage_refs *storages;
	struct cgroup_oom *oom;
	unsigned operations;	   /* of the engine, under way */
	bool doomed;		   /* to be freed when there are none any more */
	struct list creators;	   /* parked CreateContainer for this id */
	struct list removals;	   /* of struct removal */
	struct sequence *sequence; /* of the creation or the removal */
	struct job *job;	   /* of the step that runs */
	struct loop_defer prune;
	bool deleting; /* the engine's container is to be deleted as soon as that is possible */
	struct loop_timer patience;

	/* During creation only. */
	struct ttrpc_call *call; /* NULL: nobody is to be told */
	bool timed_out;
	const Grpc__CreateContainerRequest *request;
	const char *source;  /* of the root filesystem */
	struct arena *arena; /* of the request; the container's once it exists */
	struct storage_add *adding;
	struct passfd_claim claim;			  /* of the init process's streams */
	struct namespace_fd namespaces[ENTRY_NAMESPACES]; /* descriptors are the entry's */
	size_t n_namespaces;
};

/* Who wants to know of the end of a removal. Embedded; unlink it to be forgotten. */
struct removal {
	struct list link;
	/* Called once, when the entry is gone (@e NULL) or its removal has failed. */
	void (*done)(struct removal *removal, const struct error *e);
};

/* NULL when unknown; in any state. */
struct entry *entry_find(struct sandbox *sandbox, const char *id);
bool entry_visible(const struct entry *entry);
/* Its id is about to be free. */
bool entry_ending(const struct entry *entry);
/* NULL when memory is out. */
struct entry *entry_new(struct sandbox *sandbox, const char *id);
/* Gone, once no operation of the engine is under way: the id is free, waiting creators are started, and the memory is
 * given back at the end of the loop's round (whoever is on the stack may be called back by what goes). */
void entry_free(struct entry *entry);
/* Gives back what entry_free() has put aside. */
void entries_bury(struct sandbox *sandbox);
/* The removal has failed: who waited for the id is told so. */
void entry_release_creators(struct entry *entry);

/* CreateContainer, from the first check to the answer (entry_create.c). */
void entry_create(struct sandbox *sandbox, struct ttrpc_call *call,
		  const Grpc__CreateContainerRequest *request);
/* Gives a creation up. */
void entry_abort(struct entry *entry, const struct error *why);
/* Removes a LIVE or REMOVING entry; @removal (may be NULL) joins those who wait for it (entry_remove.c). 0 or -errno
 * with @e set, then @removal is not called. */
int entry_remove(struct entry *entry, struct removal *removal, struct error *e);

/* task_prune(), once the loop's round is over. */
void entry_prune(struct entry *entry);

/* Its init process has exited, or an operation has ended: what waited for that goes on. */
void entry_settle(struct entry *entry);

/* Brackets an operation of the engine on the entry's container. */
void entry_begin(struct entry *entry);
void entry_end(struct entry *entry);

#endif
