/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SEQUENCE_H
#define AGENT_SEQUENCE_H

/*
 * Several asynchronous steps in a row, written down as one visible list, each with its undo.
 *
 * A step does its work at once, or waits and is told by sequence_continue() that it is over. When one fails, or the
 * sequence is given up, the steps that were done are undone in reverse order, and only then is its owner told. A step
 * that fails has left nothing behind: its own undo is not called. For removals a sequence can keep going instead: every
 * step is tried, the first error is reported, nothing is undone.
 *
 * For tests, faults are injected at a step's end: see fault.h.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/loop.h"

struct sequence;

enum { STEP_DONE = 0, STEP_WAIT = 1 };

struct step {
	const char *name; /* static; in the log and for fault.h */
	/* STEP_DONE; STEP_WAIT: sequence_continue() follows, never before this returned; or -errno with @e set. */
	int (*run)(void *object, struct error *e);
	/* May be NULL. STEP_DONE or STEP_WAIT. */
	int (*undo)(void *object);
	/* May be NULL. Makes a step that waits end soon, by sequence_continue(), with whatever result. */
	void (*abort)(void *object);
};

/* @r is 0, or the negative errno of @e. The sequence is gone when this returns. */
typedef void (*sequence_done)(void *object, int r, const struct error *e);

/* @scope names the list in fault.h ("create"). @steps and @object are borrowed. @done is called once, never before this
 * returns. NULL when memory is out. */
struct sequence *sequence_start(struct loop *loop, const char *scope, const struct step *steps, size_t count,
				bool keep_going, void *object, sequence_done done);
/* The step (or undo) that waited is over. @e may be NULL where @r is 0. */
void sequence_continue(struct sequence *sequence, int r, const struct error *e);
/* Gives up: what runs is aborted or awaited, all is undone, `done` gets @why. Too late (undoing already): nothing. */
void sequence_abort(struct sequence *sequence, const struct error *why);
/* True once it walks back, or is bound to. */
bool sequence_undoing(const struct sequence *sequence);
/* The step that runs, for the log. */
const char *sequence_step(const struct sequence *sequence);

#endif
