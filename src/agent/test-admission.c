/* SPDX-License-Identifier: Apache-2.0 */

/* Calls that wait for their turn: who may pass whom, and what ends the wait. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/admission.h"
#include "base/fd.h"

static struct fixture {
	struct loop *loop;
	struct ttrpc_server *server;
	struct ttrpc_client *client;
	struct admission admission;
	unsigned count; /* what is under way, as far as the admission is told */
	char begun[64], answered[64];
	uint32_t codes[256];
} f;

static void note(char *trace, const char *what)
{
	size_t length = strlen(trace);
	assert_true(length + strlen(what) < sizeof(f.begun));
	memcpy(trace + length, what, strlen(what) + 1);
}

static unsigned count(void *data)
{
	(void)data;
	return f.count;
}

/* The payload is the call's name, one letter. */
static void run(struct ttrpc_call *call, void *data)
{
	const char name[2] = {(char)call->payload[0], '\0'};
	(void)data;
	note(f.begun, name);
	f.count++;
	ttrpc_call_respond(call, name, 1);
}

static void handle(struct ttrpc_call *call, void *data)
{
	unsigned bound = strcmp(call->method, "Work") == 0   ? ADMIT_WORK
			 : strcmp(call->method, "Look") == 0 ? ADMIT_LOOKING
							     : ADMIT_ALWAYS;
	if (admission_enter(&f.admission, call, bound))
		run(call, data);
}

static const struct ttrpc_method methods[] = {{"Work", handle}, {"Look", handle}, {"End", handle}};

static int setup(void **state)
{
	struct error e = ERROR_INIT;
	char address[64];
	(void)state;
	f = (struct fixture){.loop = loop_new()};
	assert_non_null(f.loop);
	f.admission = (struct admission){.loop = f.loop, .count = count, .run = run};
	admission_init(&f.admission);
	f.server = ttrpc_server_new(f.loop);
	assert_int_equal(ttrpc_server_add_service(f.server, "test", methods, array_length(methods), NULL), 0);
	(void)snprintf(address, sizeof(address), "unix://@test-admission-%d", (int)getpid());
	assert_int_equal(ttrpc_server_listen(f.server, address, &e), 0);
	f.client = ttrpc_client_connect(f.loop, address, 5000, &e);
	assert_non_null(f.client);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ttrpc_client_free(f.client);
	ttrpc_server_free(f.server);
	admission_deinit(&f.admission);
	loop_free(f.loop);
	return 0;
}

static void replied(struct ttrpc_client *client, const struct ttrpc_reply *reply, void *data)
{
	const char *name = data;
	(void)client;
	f.codes[(uint8_t)name[0]] = reply->status.code;
	note(f.answered, name);
}

static void call(const char *method, const char *name, int64_t timeout_ns)
{
	struct error e = ERROR_INIT;
	assert_int_equal(
		ttrpc_client_call(f.client, "test", method, name, 1, timeout_ns, replied, (void *)name, &e),
		0);
}

static void settle(void)
{
	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_run_once(f.loop, 1), 0);
}

static void test_room_for_all(void **state)
{
	(void)state;
	call("Work", "a", 0);
	call("Look", "b", 0);
	call("End", "c", 0);
	settle();
	assert_string_equal(f.begun, "abc");
	assert_string_equal(f.answered, "abc");
}

static void test_order(void **state)
{
	(void)state;
	f.count = ADMIT_WORK;
	call("Work", "a", 0);
	call("Look", "b", 0);
	call("Work", "c", 0);
	call("End", "d", 0);
	settle();
	assert_string_equal(f.begun, "d");
	/* Room for one. What was there before goes first, also before what comes just then. */
	f.count = ADMIT_WORK - 1;
	call("Work", "e", 0);
	settle();
	assert_string_equal(f.begun, "da");
	f.count = ADMIT_WORK - 2;
	admission_poke(&f.admission);
	settle();
	assert_string_equal(f.begun, "dace");
	/* Who only looks has waited all the time for more room, and holds nobody up. */
	f.count = ADMIT_LOOKING;
	call("Work", "f", 0);
	call("Look", "g", 0);
	settle();
	assert_string_equal(f.begun, "dacef");
	f.count = ADMIT_LOOKING - 1;
	admission_poke(&f.admission);
	settle();
	assert_string_equal(f.begun, "dacefb");
	f.count = 0;
	admission_poke(&f.admission);
	settle();
	assert_string_equal(f.begun, "dacefbg");
	assert_string_equal(f.answered, f.begun);
}

static void test_deadline_ends_the_wait(void **state)
{
	(void)state;
	f.count = ADMIT_WORK;
	call("Work", "a", 30 * 1000000);
	call("Work", "b", 0);
	for (int i = 0; i < 100 && f.answered[0] == '\0'; i++)
		assert_int_equal(loop_run_once(f.loop, 50), 0);
	assert_string_equal(f.answered, "a");
	assert_int_equal(f.codes['a'], STATUS_DEADLINE_EXCEEDED);
	/* The client's own clock may have been the first to say so. */
	for (int i = 0; i < 100 && f.admission.waiting.next->next != &f.admission.waiting; i++)
		assert_int_equal(loop_run_once(f.loop, 50), 0);
	f.count = 0;
	admission_poke(&f.admission);
	settle();
	assert_string_equal(f.begun, "b");
}

static void test_lost_connection_ends_the_wait(void **state)
{
	(void)state;
	f.count = ADMIT_WORK;
	call("Work", "a", 0);
	settle();
	assert_false(list_empty(&f.admission.waiting));
	ttrpc_client_free(f.client);
	f.client = NULL;
	settle();
	assert_true(list_empty(&f.admission.waiting));
	f.count = 0;
	admission_poke(&f.admission);
	settle();
	assert_string_equal(f.begun, "");
	assert_int_equal(f.codes['a'], STATUS_UNAVAILABLE);
}

#define admission_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		admission_test(test_room_for_all),
		admission_test(test_order),
		admission_test(test_deadline_ends_the_wait),
		admission_test(test_lost_connection_ends_the_wait),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
