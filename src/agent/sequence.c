/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A sequence walks up its list (FORWARD), and down again (BACKWARD) once something went wrong. `next` is the step that runs
 * or comes next; going down, the steps below it are still to be undone. The walk itself is one loop, which is left when
 * a step waits, so that a long list of steps that never wait costs no stack.
 */

#include "agent/sequence.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/fault.h"
#include "base/log.h"

enum direction { FORWARD, BACKWARD };

struct sequence {
	struct loop *loop;
	const char *scope;
	const struct step *steps;
	size_t count;
	size_t next;
	enum direction direction;
	bool keep_going;
	bool waiting; /* for sequence_continue() */
	bool failed;
	bool given_up;
	void *object;
	sequence_done done;
	struct loop_defer begin;
	struct loop_timer late; /* an injected delay */
	struct error
		*first; /* allocated when there is one: an error is large, and a pod makes many at once */
};

/* For an error that there was no memory to keep. */
static const struct error no_memory = {
	.code = STATUS_RESOURCE_EXHAUSTED,
	.errnum = ENOMEM,
	.text = "no memory",
};

static void remember(struct sequence *s, const struct error *e)
{
	if (s->failed)
		return;
	s->failed = true;
	s->first = malloc(sizeof(*s->first));
	if (!s->first)
		return;
	if (e && e->code != STATUS_OK)
		*s->first = *e;
	else
		error_set(s->first, STATUS_INTERNAL, 0, "%s failed", s->steps[s->next].name);
}

static void walk(struct sequence *s);

static void fail(struct sequence *s, const struct error *e)
{
	remember(s, e);
	if (!s->keep_going)
		s->direction = BACKWARD;
}

/* Step `next` has ended well or not; moves on. */
static void step_ended(struct sequence *s, int r, const struct error *e)
{
	if (r >= 0) {
		s->next++;
		if (s->given_up)
			s->direction = BACKWARD;
		return;
	}
	if (log_enabled(LOG_DEBUG))
		log_debug("sequence", "step failed", "scope", s->scope, "step", s->steps[s->next].name,
			  "error", e ? e->text : NULL);
	fail(s, e);
	if (s->keep_going)
		s->next++;
}

static void late_is_over(struct loop_timer *timer)
{
	struct sequence *s = list_entry(timer, struct sequence, late);
	s->waiting = false;
	step_ended(s, 0, NULL);
	walk(s);
}

/* True when an injected fault has taken the step's end over. */
static bool injected(struct sequence *s)
{
	uint64_t delay;
	struct error e = ERROR_INIT;
	if (!fault_take(s->scope, s->steps[s->next].name, &delay))
		return false;
	if (delay > 0) {
		s->waiting = true;
		return loop_timer_set(s->loop, &s->late, delay, late_is_over) == 0 ? true
										   : (s->waiting = false);
	}
	error_set(&e, STATUS_INTERNAL, EIO, "injected failure at %s.%s", s->scope, s->steps[s->next].name);
	/* The step's work is done: its undo has to be part of what follows. */
	remember(s, &e);
	s->next++;
	if (!s->keep_going)
		s->direction = BACKWARD;
	return true;
}

/* One step up. False: it waits. */
static bool go_up(struct sequence *s)
{
	struct error e = ERROR_INIT;
	s->waiting = true;
	int r = s->steps[s->next].run(s->object, &e);
	if (r == STEP_WAIT)
		return false;
	s->waiting = false;
	if (r == STEP_DONE && injected(s))
		return !s->waiting;
	step_ended(s, r, &e);
	return true;
}

static bool go_down(struct sequence *s)
{
	s->next--;
	const struct step *step = &s->steps[s->next];
	if (!step->undo)
		return true;
	s->waiting = true;
	if (step->undo(s->object) == STEP_WAIT)
		return false;
	s->waiting = false;
	return true;
}

static bool is_over(const struct sequence *s)
{
	return s->direction == FORWARD ? s->next == s->count : s->next == 0;
}

static void walk(struct sequence *s)
{
	while (!is_over(s))
		if (!(s->direction == FORWARD ? go_up(s) : go_down(s)))
			return;
	loop_timer_remove(&s->late);
	loop_defer_remove(&s->begin);
	const struct error *e = s->first ? s->first : &no_memory;
	s->done(s->object, s->failed ? error_result(e) : 0, s->failed ? e : NULL);
	free(s->first);
	free(s);
}

static void begin(struct loop_defer *defer)
{
	walk(list_entry(defer, struct sequence, begin));
}

struct sequence *sequence_start(struct loop *loop, const char *scope, const struct step *steps, size_t count,
				bool keep_going, void *object, sequence_done done)
{
	struct sequence *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->loop = loop;
	s->scope = scope;
	s->steps = steps;
	s->count = count;
	s->keep_going = keep_going;
	s->object = object;
	s->done = done;
	loop_defer_add(loop, &s->begin, begin);
	return s;
}

void sequence_continue(struct sequence *s, int r, const struct error *e)
{
	s->waiting = false;
	if (s->direction == FORWARD) {
		if (r >= 0 && injected(s)) {
			if (s->waiting)
				return;
		} else {
			step_ended(s, r, e);
		}
	}
	walk(s);
}

void sequence_abort(struct sequence *s, const struct error *why)
{
	if (s->direction == BACKWARD || s->given_up)
		return;
	s->given_up = true;
	remember(s, why);
	if (!s->waiting) {
		/* Not begun, or called from within a step that will return: the walk sees it. */
		if (s->begin.loop)
			s->direction = BACKWARD;
		return;
	}
	if (s->late.loop) {
		loop_timer_remove(&s->late);
		late_is_over(&s->late);
	} else if (s->steps[s->next].abort) {
		s->steps[s->next].abort(s->object);
	}
}

bool sequence_undoing(const struct sequence *s)
{
	return s->direction == BACKWARD || s->given_up;
}

const char *sequence_step(const struct sequence *s)
{
	return s->next < s->count ? s->steps[s->next].name : "end";
}
