/* SPDX-License-Identifier: Apache-2.0 */

/* Sequences: the order of steps and undos, whatever fails or is given up when; and injected faults. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/fault.h"
#include "agent/sequence.h"
#include "base/fd.h"

struct object {
	char trace[256];
	struct sequence *sequence;
	const char *fail_at;
	const char *wait_at; /* runs (upper case) or undos (lower case) that wait */
	const char *abort_at;
	bool done;
	int r;
	struct error e;
	struct loop_timer timer;
	int result; /* of what waits */
};

static struct loop *loop;

static void note(struct object *o, const char *what)
{
	size_t length = strlen(o->trace);
	(void)snprintf(o->trace + length, sizeof(o->trace) - length, "%s", what);
}

static void waited(struct loop_timer *timer)
{
	struct object *o = list_entry(timer, struct object, timer);
	struct error e = ERROR_INIT;
	if (o->result < 0)
		error_errno(&e, -o->result, "waited");
	note(o, ".");
	sequence_continue(o->sequence, o->result, &e);
}

static int step_run(struct object *o, const char *name, struct error *e)
{
	struct error why = ERROR_INIT;
	note(o, name);
	if (o->abort_at && strcmp(o->abort_at, name) == 0) {
		error_set(&why, STATUS_CANCELLED, 0, "given up");
		sequence_abort(o->sequence, &why);
	}
	if (o->fail_at && strcmp(o->fail_at, name) == 0)
		return error_set(e, STATUS_NOT_FOUND, ENOENT, "no %s", name);
	if (o->wait_at && strstr(o->wait_at, name)) {
		loop_timer_set(loop, &o->timer, 1, waited);
		return STEP_WAIT;
	}
	return STEP_DONE;
}

static int step_undo(struct object *o, const char *name)
{
	note(o, name);
	if (o->wait_at && strstr(o->wait_at, name)) {
		o->result = 0;
		loop_timer_set(loop, &o->timer, 1, waited);
		return STEP_WAIT;
	}
	return STEP_DONE;
}

#define STEP(upper, lower)                                                                                   \
	static int run_##lower(void *object, struct error *e)                                                \
	{                                                                                                    \
		return step_run(object, upper, e);                                                           \
	}                                                                                                    \
	static int undo_##lower(void *object)                                                                \
	{                                                                                                    \
		return step_undo(object, #lower);                                                            \
	}

STEP("A", a)
STEP("B", b)
STEP("C", c)

static void abort_b(void *object)
{
	struct object *o = object;
	note(o, "!");
	loop_timer_set(loop, &o->timer, 0, waited);
}

static const struct step steps[] = {
	{"a", run_a, undo_a, NULL},
	{"b", run_b, undo_b, abort_b},
	{"c", run_c, undo_c, NULL},
};

static void over(void *object, int r, const struct error *e)
{
	struct object *o = object;
	o->done = true;
	o->r = r;
	if (e)
		o->e = *e;
}

static void begin(struct object *o, bool keep_going)
{
	o->sequence = sequence_start(loop, "test", steps, array_length(steps), keep_going, o, over);
	assert_non_null(o->sequence);
	assert_false(o->done);
}

static void finish(struct object *o)
{
	for (int i = 0; i < 1000 && !o->done; i++)
		loop_run_once(loop, 20);
	assert_true(o->done);
}

static void go(struct object *o, bool keep_going)
{
	begin(o, keep_going);
	finish(o);
}

static int setup(void **state)
{
	(void)state;
	loop = loop_new();
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	loop_free(loop);
	return 0;
}

static void all_goes_well(void **state)
{
	struct object o = {.wait_at = "B"};
	(void)state;
	go(&o, false);
	assert_string_equal(o.trace, "AB.C");
	assert_int_equal(o.r, 0);
}

static void a_failure_undoes_what_was_done_and_no_more(void **state)
{
	struct object o = {.fail_at = "C", .wait_at = "b"};
	(void)state;
	go(&o, false);
	assert_string_equal(o.trace, "ABCb.a");
	assert_int_equal(o.r, -ENOENT);
	assert_int_equal(o.e.code, STATUS_NOT_FOUND);
	assert_string_equal(o.e.text, "no C");
}

static void the_first_step_fails(void **state)
{
	struct object o = {.fail_at = "A"};
	(void)state;
	go(&o, false);
	assert_string_equal(o.trace, "A");
}

static void what_waited_may_fail(void **state)
{
	struct object o = {.wait_at = "B", .result = -EIO};
	(void)state;
	go(&o, false);
	assert_string_equal(o.trace, "AB.a");
	assert_string_equal(o.e.text, "waited: EIO: Input/output error");
}

static void given_up_before_it_began(void **state)
{
	struct object o = {0};
	struct error why = ERROR_INIT;
	(void)state;
	error_set(&why, STATUS_CANCELLED, 0, "given up");
	begin(&o, false);
	sequence_abort(o.sequence, &why);
	assert_true(sequence_undoing(o.sequence));
	finish(&o);
	assert_string_equal(o.trace, "");
	assert_int_equal(o.e.code, STATUS_CANCELLED);
}

static void given_up_while_a_step_waits(void **state)
{
	struct object o = {.wait_at = "B"};
	struct error why = ERROR_INIT;
	(void)state;
	error_set(&why, STATUS_CANCELLED, 0, "given up");
	begin(&o, false);
	loop_run_once(loop, 0);
	assert_string_equal(o.trace, "AB");
	o.result = -ECANCELED;
	sequence_abort(o.sequence, &why);
	sequence_abort(o.sequence, &why);
	finish(&o);
	/* The step's own failure leaves nothing of its own to be undone. */
	assert_string_equal(o.trace, "AB!.a");
	assert_string_equal(o.e.text, "given up");
}

static void given_up_too_late_for_the_step(void **state)
{
	struct object o = {.wait_at = "B"};
	struct error why = ERROR_INIT;
	(void)state;
	error_set(&why, STATUS_CANCELLED, 0, "given up");
	begin(&o, false);
	loop_run_once(loop, 0);
	sequence_abort(o.sequence, &why);
	finish(&o);
	assert_string_equal(o.trace, "AB!.ba");
	assert_string_equal(o.e.text, "given up");
}

static void given_up_from_within_a_step(void **state)
{
	struct object o = {.abort_at = "C", .wait_at = "a"};
	(void)state;
	go(&o, false);
	assert_string_equal(o.trace, "ABCcba.");
	assert_string_equal(o.e.text, "given up");
}

static void a_removal_goes_on_and_reports_the_first(void **state)
{
	struct object o = {.fail_at = "B"};
	(void)state;
	go(&o, true);
	assert_string_equal(o.trace, "ABC");
	assert_int_equal(o.r, -ENOENT);
	assert_string_equal(o.e.text, "no B");
}

static void an_injected_failure_comes_after_the_work(void **state)
{
	static const struct {
		const char *fault;
		const char *trace;
	} table[] = {{"test.a", "Aa"}, {"test.b", "AB.ba"}, {"test.c", "AB.Ccba"}};
	(void)state;
	for (size_t i = 0; i < array_length(table); i++) {
		struct object o = {.wait_at = "B"};
		fault_init(table[i].fault);
		go(&o, false);
		assert_string_equal(o.trace, table[i].trace);
		assert_non_null(strstr(o.e.text, "injected failure at test."));
		/* Once. */
		struct object again = {.wait_at = "B"};
		go(&again, false);
		assert_int_equal(again.r, 0);
	}
	fault_init(NULL);
}

static void an_injected_delay_can_be_given_up(void **state)
{
	struct object o = {0};
	struct error why = ERROR_INIT;
	(void)state;
	fault_init("other.b,test.b@60000");
	error_set(&why, STATUS_CANCELLED, 0, "given up");
	begin(&o, false);
	loop_run_once(loop, 0);
	assert_string_equal(o.trace, "AB");
	sequence_abort(o.sequence, &why);
	finish(&o);
	assert_string_equal(o.trace, "ABba");
	fault_init(NULL);
}

static void faults_are_found_by_their_whole_name(void **state)
{
	uint64_t delay;
	(void)state;
	fault_init("create.bundle@5,create.bundles,create.x@,create.y@12x");
	assert_false(fault_take("create", "bund", &delay));
	assert_true(fault_take("create", "bundle", &delay));
	assert_int_equal(delay, 5);
	assert_false(fault_take("create", "bundle", &delay));
	assert_true(fault_take("create", "bundles", &delay));
	assert_int_equal(delay, 0);
	assert_false(fault_take("create", "x", &delay));
	assert_false(fault_take("create", "y", &delay));
	fault_init(NULL);
	assert_false(fault_take("create", "bundle", &delay));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_goes_well),
		cmocka_unit_test(a_failure_undoes_what_was_done_and_no_more),
		cmocka_unit_test(the_first_step_fails),
		cmocka_unit_test(what_waited_may_fail),
		cmocka_unit_test(given_up_before_it_began),
		cmocka_unit_test(given_up_while_a_step_waits),
		cmocka_unit_test(given_up_too_late_for_the_step),
		cmocka_unit_test(given_up_from_within_a_step),
		cmocka_unit_test(a_removal_goes_on_and_reports_the_first),
		cmocka_unit_test(an_injected_failure_comes_after_the_work),
		cmocka_unit_test(an_injected_delay_can_be_given_up),
		cmocka_unit_test(faults_are_found_by_their_whole_name),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
