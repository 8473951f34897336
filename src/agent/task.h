/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_TASK_H
#define AGENT_TASK_H

/*
 * A process as the host knows it: a name inside a container, three streams, and an exit code that is kept.
 *
 * The engine's `struct process` is what runs; a task is what is left to be asked about: it takes the engine's pipe ends
 * over, parks those who wait for the end, and remembers the code, of the init process until the container is removed, of
 * the others for a bounded while: finished ones that somebody has waited for make room for newer ones (TASKS_KEPT).
 * An id may be used again once the process that had it was waited for.
 *
 * Streams that the host passes through (passfd.h) are carried by a relay and are absent for calls. The end of such a process
 * is told only when all that it wrote was carried, because the host then closes its side; of a host that takes nothing
 * for RELAY_PATIENCE_MS it is told nevertheless, and the relay goes on until the process is forgotten.
 */

#include <stdbool.h>
#include <stddef.h>

#include "agent/input.h"
#include "agent/relay.h"
#include "agent/stream.h"
#include "base/error.h"
#include "base/list.h"
#include "engine/container.h"
#include "ttrpc/ttrpc.h"

struct entry;

enum {
	TASKS_KEPT = 32,       /* finished and waited for, per container */
	TASKS_UNCLAIMED = 256, /* finished and never waited for */
	RELAY_PATIENCE_MS = 5000,
};

struct task {
	struct list link; /* of entry->tasks, init first */
	struct entry *entry;
	char *exec_id;		 /* "" for init */
	struct process *process; /* the engine's; NULL when it is gone */
	bool ready;		 /* the host was told that it exists */
	bool abandoned;		 /* the host was not told: it is killed and forgotten */
	bool exited;
	bool told;	/* those who wait were answered, and whoever comes is at once */
	bool collected; /* somebody was told the exit code */
	int exit_code;
	struct list waits;	     /* parked WaitProcess */
	struct input *input;	     /* NULL where there is none */
	struct stream *output;	     /* stdout, or the terminal */
	struct stream *error_output; /* stderr; NULL with a terminal */

	int passed[3];	     /* connections for stdin, stdout, stderr, until task_open(); -1 */
	bool through[3];     /* the host passes it through */
	struct relay *relay; /* NULL where it passes none */
	uint64_t carried;    /* by the relay when it was last looked at */
	struct loop_timer patience;
};

/* A new task of @entry, found by its id only once `ready`. NULL when memory is out. */
struct task *task_new(struct entry *entry, const char *exec_id);
/* Takes NULL. Who waits is told that the process is gone; streams end. The engine's process is left to the engine. */
void task_free(struct task *task);
/* "" and the container's id name init. NULL when unknown, or not ready. */
struct task *task_find(struct entry *entry, const char *exec_id);
/* Also one that is not ready yet. */
struct task *task_find_any(struct entry *entry, const char *exec_id);

/* From now on @process's end is this task's. Right after the engine made it. */
void task_bind(struct task *task, struct process *process);
/* Gives it the connections for its streams, each -1 where there is none; they are taken. Before task_open(). */
void task_pass(struct task *task, const int fds[3]);
/* Takes the streams over from the process; from now on the task is there to be found. 0 or -ENOMEM. */
int task_open(struct task *task);
/* Parks @call until the exit code is known, or answers it. */
void task_wait(struct task *task, struct ttrpc_call *call);
/* Forgets it together with the engine's process, which has exited. Not for init. */
void task_forget(struct task *task);
/* Forgets finished processes beyond what is kept. */
void task_prune(struct entry *entry);

#endif
