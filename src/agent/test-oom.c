/* SPDX-License-Identifier: Apache-2.0 */

/* Memory kills on their way: none lost with a connection, however many calls wait on it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/oom.h"
#include "base/fd.h"

enum { MANY = 8000 }; /* calls: nearly what one connection may have */

static struct fixture {
	struct loop *loop;
	struct ttrpc_server *server;
	struct oom *oom;
	char address[64];
	char answer[64]; /* the last one */
	size_t answered, failed;
} f;

static void handle(struct ttrpc_call *call, void *data)
{
	(void)data;
	oom_wait(f.oom, call);
}

static const struct ttrpc_method methods[] = {{"Get", handle}};

static int setup(void **state)
{
	struct error e = ERROR_INIT;
	(void)state;
	f = (struct fixture){.loop = loop_new(), .oom = oom_new()};
	assert_non_null(f.loop);
	assert_non_null(f.oom);
	f.server = ttrpc_server_new(f.loop);
	assert_int_equal(ttrpc_server_add_service(f.server, "test", methods, array_length(methods), NULL), 0);
	(void)snprintf(f.address, sizeof(f.address), "unix://@test-oom-%d", (int)getpid());
	assert_int_equal(ttrpc_server_listen(f.server, f.address, &e), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ttrpc_server_free(f.server);
	oom_free(f.oom);
	loop_free(f.loop);
	return 0;
}

static void replied(struct ttrpc_client *client, const struct ttrpc_reply *reply, void *data)
{
	(void)client, (void)data;
	if (reply->status.code != STATUS_OK) {
		f.failed++;
		return;
	}
	f.answered++;
	assert_true(reply->payload_length >= 2 && reply->payload_length < sizeof(f.answer));
	/* One field, a short string. */
	memcpy(f.answer, reply->payload + 2, reply->payload_length - 2);
	f.answer[reply->payload_length - 2] = '\0';
}

static struct ttrpc_client *ask(size_t calls)
{
	struct error e = ERROR_INIT;
	struct ttrpc_client *client = ttrpc_client_connect(f.loop, f.address, 5000, &e);
	size_t before = ttrpc_server_calls(f.server);
	assert_non_null(client);
	for (size_t i = 0; i < calls; i++)
		assert_int_equal(ttrpc_client_call(client, "test", "Get", NULL, 0, 0, replied, NULL, &e), 0);
	for (int i = 0; i < 5000 && ttrpc_server_calls(f.server) < before + calls; i++)
		assert_int_equal(loop_run_once(f.loop, 1), 0);
	assert_int_equal(ttrpc_server_calls(f.server), before + calls);
	return client;
}

static void await(size_t answers)
{
	for (int i = 0; i < 5000 && f.answered < answers; i++)
		assert_int_equal(loop_run_once(f.loop, 1), 0);
	assert_int_equal(f.answered, answers);
}

static void test_an_event_for_each_call(void **state)
{
	struct ttrpc_client *client = ask(2);
	(void)state;
	oom_report(f.oom, "one");
	await(1);
	assert_string_equal(f.answer, "one");
	oom_report(f.oom, "two");
	await(2);
	assert_string_equal(f.answer, "two");
	assert_int_equal(oom_pending(f.oom), 0);
	ttrpc_client_free(client);
}

/* Each answer fails at once, and what waits next is on the same connection: the stack must not grow with them. */
static void test_a_connection_that_dies_with_thousands_of_calls(void **state)
{
	struct ttrpc_client *client = ask(MANY), *other;
	struct error e = ERROR_INIT;
	(void)state;
	ttrpc_client_free(client);
	assert_int_equal(f.failed, MANY);
	/* The server has not looked at its end yet. */
	oom_report(f.oom, "one");
	for (int i = 0; i < 5000 && ttrpc_server_calls(f.server) > 0; i++)
		assert_int_equal(loop_run_once(f.loop, 1), 0);
	assert_int_equal(f.answered, 0);
	assert_int_equal(oom_pending(f.oom), 1);
	other = ttrpc_client_connect(f.loop, f.address, 5000, &e);
	assert_non_null(other);
	assert_int_equal(ttrpc_client_call(other, "test", "Get", NULL, 0, 0, replied, NULL, &e), 0);
	await(1);
	assert_string_equal(f.answer, "one");
	assert_int_equal(oom_pending(f.oom), 0);
	ttrpc_client_free(other);
}

#define oom_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	/* Far below what the main thread has, and far above what any of this needs. */
	struct rlimit stack = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
	const struct CMUnitTest tests[] = {
		oom_test(test_an_event_for_each_call),
		oom_test(test_a_connection_that_dies_with_thousands_of_calls),
	};
	if (setrlimit(RLIMIT_STACK, &stack) < 0)
		return 1;
	return cmocka_run_group_tests_name("oom", tests, NULL, NULL);
}
