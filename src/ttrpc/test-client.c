/* SPDX-License-Identifier: Apache-2.0 */
/* The client: against the server of this library, against a bare socket that answers what it wants, against a
 * VMM. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "ttrpc/test-peer.h"

/* What a call came to. */
struct outcome {
	unsigned count;
	uint32_t code;
	char text[ERROR_TEXT_MAX];
	char payload[64];
	size_t length;
};

/* A virtual machine monitor in a child process. */
struct vmm {
	pid_t pid;
	char path[64];
	char address[96];
};

struct both {
	struct fixture *fixture;
	struct ttrpc_client *client;
	char address[128]; /* of a bare listener */
	int listener;
	int peer; /* the bare end of the client's connection, or -1 */
	unsigned closed;
	struct vmm vmm;
};

static void on_reply(struct ttrpc_client *client, const struct ttrpc_reply *reply, void *data)
{
	struct outcome *outcome = data;

	outcome->count++;
	outcome->code = reply->status.code;
	snprintf(outcome->text, sizeof(outcome->text), "%s", reply->status.text);
	outcome->length = reply->payload_length;
	memset(outcome->payload, 0, sizeof(outcome->payload));
	if (reply->payload_length > 0 && reply->payload_length < sizeof(outcome->payload))
		memcpy(outcome->payload, reply->payload, reply->payload_length);
}

static void on_close(struct ttrpc_client *client, void *data)
{
	struct both *both = data;

	both->closed++;
}

static int both_setup(void **state)
{
	struct both *both = calloc(1, sizeof(*both));
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int length;

	fixture_setup((void **)&both->fixture);
	both->peer = -1;
	both->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	length = snprintf(sun.sun_path + 1, sizeof(sun.sun_path) - 1, "test-ttrpc-bare-%d", (int)getpid());
	snprintf(both->address, sizeof(both->address), "unix://@%s", sun.sun_path + 1);
	assert_int_equal(0, bind(both->listener, (struct sockaddr *)&sun,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)));
	assert_int_equal(0, listen(both->listener, 8));
	*state = both;
	return 0;
}

static void vmm_stop(struct vmm *vmm)
{
	if (vmm->pid <= 0)
		return;
	unlink(vmm->path);
	kill(vmm->pid, SIGKILL);
	waitpid(vmm->pid, NULL, 0);
	vmm->pid = 0;
}

static int both_teardown(void **state)
{
	struct both *both = *state;
	void *fixture = both->fixture;

	vmm_stop(&both->vmm);
	ttrpc_client_free(both->client);
	fd_close(both->peer);
	fd_close(both->listener);
	fixture_teardown(&fixture);
	free(both);
	return 0;
}

/* Connects to the fixture's server. */
static void connect_to_server(struct both *both)
{
	struct fixture *f = both->fixture;
	char address[64];

	snprintf(address, sizeof(address), "unix://@test-ttrpc-server-%d", (int)getpid());
	assert_int_equal(0, ttrpc_server_listen(f->server, address, NULL));
	both->client = ttrpc_client_connect(f->loop, address, 1000, NULL);
	assert_non_null(both->client);
	ttrpc_client_on_close(both->client, on_close, both);
}

/* Connects to the bare listener. */
static void connect_to_bare(struct both *both)
{
	both->client = ttrpc_client_connect(both->fixture->loop, both->address, 1000, NULL);
	assert_non_null(both->client);
	ttrpc_client_on_close(both->client, on_close, both);
	both->peer = accept(both->listener, NULL, NULL);
	assert_true(both->peer >= 0);
}

static void call(struct both *both, const char *method, const char *payload, int64_t timeout_ns,
		 struct outcome *outcome)
{
	assert_int_equal(0, ttrpc_client_call(both->client, "test.Service", method, payload, strlen(payload),
					      timeout_ns, on_reply, outcome, NULL));
}

static void wait_for(struct both *both, const struct outcome *outcome)
{
	uint64_t end = loop_now() + 20000;

	while (outcome->count == 0) {
		assert_true(loop_now() < end);
		assert_int_equal(0, loop_run_once(both->fixture->loop, 100));
	}
}

static void test_call(void **state)
{
	struct both *both = *state;
	struct outcome first = {0}, second = {0}, third = {0};

	connect_to_server(both);
	call(both, "Echo", "one", 0, &first);
	call(both, "Fail", "", 1000000000, &second);
	call(both, "Echo", "", 0, &third);
	assert_int_equal(0, first.count);
	wait_for(both, &third);
	assert_int_equal(1, first.count);
	assert_int_equal(STATUS_OK, first.code);
	assert_string_equal("one", first.payload);
	assert_int_equal(STATUS_NOT_FOUND, second.code);
	assert_string_equal("not found", second.text);
	assert_int_equal(STATUS_OK, third.code);
	assert_int_equal(0, third.length);
}

static void test_ids_and_frames(void **state)
{
	struct both *both = *state;
	struct outcome outcome[3] = {0};

	connect_to_bare(both);
	for (int i = 0; i < 3; i++)
		assert_int_equal(0, ttrpc_client_call(both->client, "grpc.Health", "Check", NULL, 0,
						      i == 1 ? INT64_C(30000000000) : 0, on_reply,
						      &outcome[i], NULL));
	peer_expect_hex(both->fixture, both->peer,
			"00000014 00000001 01 00 0a0b677270632e4865616c7468 1205436865636b"
			"0000001a 00000003 01 00 0a0b677270632e4865616c7468 1205436865636b 2080d88ee16f"
			"00000014 00000005 01 00 0a0b677270632e4865616c7468 1205436865636b");
	/* Answers in another order, one without status, one in pieces. */
	peer_send_hex(both->fixture, both->peer, "00000004 00000005 02 00 12020805 00000006 00000001 02");
	fixture_settle(both->fixture);
	peer_send_hex(both->fixture, both->peer, "00 0a001202");
	fixture_settle(both->fixture);
	assert_int_equal(1, outcome[2].count);
	assert_int_equal(0, outcome[0].count);
	peer_send_hex(both->fixture, both->peer, "0801 00000004 00000003 02 00 0a020805");
	wait_for(both, &outcome[1]);
	assert_int_equal(STATUS_OK, outcome[0].code);
	assert_memory_equal("\x08\x01", outcome[0].payload, 2);
	assert_int_equal(STATUS_NOT_FOUND, outcome[1].code);
	assert_memory_equal("\x08\x05", outcome[2].payload, 2);
}

static void test_unknown_and_malformed_answers(void **state)
{
	struct both *both = *state;
	struct outcome outcome[4] = {0};

	connect_to_bare(both);
	for (int i = 0; i < 4; i++)
		call(both, "Echo", "", 0, &outcome[i]);
	/* Nobody's, twice the same, not a message, not a response, then a good one. */
	peer_send_hex(both->fixture, both->peer,
		      "00000002 00000063 02 00 0a00 00000002 00000002 02 00 0a00"
		      "00000002 00000001 02 00 0a00 00000002 00000001 02 00 0a00"
		      "00000001 00000003 02 00 0a"
		      "00000002 00000005 03 00 0a00"
		      "00000002 00000007 02 00 0a00");
	wait_for(both, &outcome[3]);
	assert_int_equal(1, outcome[0].count);
	assert_int_equal(STATUS_OK, outcome[0].code);
	assert_int_equal(STATUS_INTERNAL, outcome[1].code);
	assert_string_equal("invalid response: not a protobuf message", outcome[1].text);
	assert_int_equal(STATUS_INTERNAL, outcome[2].code);
	assert_string_equal("answered by a message of type 3", outcome[2].text);
	assert_int_equal(STATUS_OK, outcome[3].code);
}

static void test_oversize_answer(void **state)
{
	struct both *both = *state;
	struct outcome first = {0}, second = {0};
	uint8_t *body = calloc(1, 4194305);

	connect_to_bare(both);
	call(both, "Echo", "", 0, &first);
	call(both, "Echo", "", 0, &second);
	peer_send_hex(both->fixture, both->peer, "00400001 00000001 02 00");
	peer_send(both->fixture, both->peer, body, 4194305);
	wait_for(both, &first);
	assert_int_equal(STATUS_RESOURCE_EXHAUSTED, first.code);
	assert_string_equal("message length 4194305 exceed maximum message size of 4194304", first.text);
	/* That call only. */
	assert_int_equal(0, second.count);
	memcpy(body, "\x0a\x00\x12\xf9\xff\xff\x01", 7);
	peer_send_hex(both->fixture, both->peer, "00400000 00000003 02 00");
	peer_send(both->fixture, both->peer, body, 4194304);
	wait_for(both, &second);
	assert_int_equal(STATUS_OK, second.code);
	assert_int_equal(4194304 - 7, second.length);
	free(body);
}

static void test_oversize_request(void **state)
{
	struct both *both = *state;
	struct outcome outcome = {0};
	struct error e = ERROR_INIT;
	size_t most = TTRPC_MESSAGE_MAX - 14 - 6 - 5;
	char *payload = calloc(1, most + 1);

	connect_to_server(both);
	assert_int_equal(-EMSGSIZE, ttrpc_client_call(both->client, "test.Service", "Echo", payload, most + 1,
						      0, on_reply, &outcome, &e));
	assert_int_equal(STATUS_RESOURCE_EXHAUSTED, e.code);
	assert_int_equal(0, ttrpc_client_call(both->client, "test.Service", "Echo", payload, most, 0,
					      on_reply, &outcome, &e));
	wait_for(both, &outcome);
	assert_int_equal(STATUS_OK, outcome.code);
	assert_int_equal(most, outcome.length);
	free(payload);
}

static void test_timeout(void **state)
{
	struct both *both = *state;
	struct outcome late = {0}, good = {0};
	uint64_t start;

	connect_to_bare(both);
	start = loop_now();
	call(both, "Echo", "", 30000000, &late);
	wait_for(both, &late);
	assert_true(loop_now() - start >= 29);
	assert_int_equal(STATUS_DEADLINE_EXCEEDED, late.code);
	assert_string_equal("timeout", late.text);
	/* The answer that comes after all is dropped. */
	call(both, "Echo", "", 0, &good);
	peer_send_hex(both->fixture, both->peer, "00000002 00000001 02 00 0a00 00000002 00000003 02 00 0a00");
	wait_for(both, &good);
	assert_int_equal(1, late.count);
	assert_int_equal(STATUS_OK, good.code);
}

static void test_connection_lost(void **state)
{
	struct both *both = *state;
	struct outcome first = {0}, second = {0};
	struct error e = ERROR_INIT;

	connect_to_bare(both);
	call(both, "Echo", "", 0, &first);
	call(both, "Echo", "", INT64_C(60000000000), &second);
	peer_send_hex(both->fixture, both->peer, "00000002 00000001 02");
	fixture_settle(both->fixture);
	both->peer = fd_close(both->peer);
	wait_for(both, &second);
	fixture_settle(both->fixture);
	assert_int_equal(STATUS_UNAVAILABLE, first.code);
	assert_string_equal("ttrpc: closed", first.text);
	assert_int_equal(STATUS_UNAVAILABLE, second.code);
	assert_int_equal(1, both->closed);
	assert_true(ttrpc_client_call(both->client, "s", "m", NULL, 0, 0, on_reply, &first, &e) < 0);
	assert_int_equal(STATUS_UNAVAILABLE, e.code);
	assert_string_equal("ttrpc: closed", e.text);
	assert_int_equal(1, first.count);
}

static void test_free_with_pending_calls(void **state)
{
	struct both *both = *state;
	struct outcome first = {0}, second = {0};

	connect_to_server(both);
	call(both, "Park", "", 0, &first);
	call(both, "Park", "", INT64_C(60000000000), &second);
	fixture_settle(both->fixture);
	ttrpc_client_free(both->client);
	both->client = NULL;
	assert_int_equal(1, first.count);
	assert_int_equal(STATUS_UNAVAILABLE, first.code);
	assert_int_equal(STATUS_UNAVAILABLE, second.code);
	fixture_settle(both->fixture);
	assert_int_equal(2, both->fixture->disconnects);
	assert_int_equal(0, both->closed);
}

static void free_on_reply(struct ttrpc_client *client, const struct ttrpc_reply *reply, void *data)
{
	struct both *both = data;

	both->client = NULL;
	ttrpc_client_free(client);
}

static void test_free_within_a_reply(void **state)
{
	struct both *both = *state;
	struct outcome other = {0};

	connect_to_server(both);
	assert_int_equal(0, ttrpc_client_call(both->client, "test.Service", "Echo", "x", 1, 0, free_on_reply,
					      both, NULL));
	call(both, "Echo", "", 0, &other);
	wait_for(both, &other);
	assert_null(both->client);
	assert_int_equal(STATUS_UNAVAILABLE, other.code);
}

static void call_again(struct ttrpc_client *client, const struct ttrpc_reply *reply, void *data)
{
	const uint8_t *answer;
	size_t length;
	struct error e = ERROR_INIT;

	assert_int_equal(
		0, ttrpc_client_call(client, "test.Service", "Echo", "again", 5, 0, on_reply, data, NULL));
	/* Would wait for ever: refused. */
	assert_int_equal(-EDEADLK, ttrpc_client_call_sync(client, "test.Service", "Echo", "", 0, 0, NULL,
							  &answer, &length, &e));
}

static void test_call_within_a_reply(void **state)
{
	struct both *both = *state;
	struct outcome outcome = {0};

	connect_to_server(both);
	assert_int_equal(0, ttrpc_client_call(both->client, "test.Service", "Echo", "x", 1, 0, call_again,
					      &outcome, NULL));
	wait_for(both, &outcome);
	assert_string_equal("again", outcome.payload);
}

static void test_sync(void **state)
{
	struct both *both = *state;
	struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;
	const uint8_t *answer;
	size_t length;

	connect_to_server(both);
	assert_int_equal(0, ttrpc_client_call_sync(both->client, "test.Service", "Echo", "sync", 4, 0, arena,
						   &answer, &length, &e));
	assert_int_equal(4, length);
	assert_memory_equal("sync", answer, 4);
	assert_int_equal(-ENOENT, ttrpc_client_call_sync(both->client, "test.Service", "Fail", NULL, 0, 0,
							 arena, &answer, &length, &e));
	assert_int_equal(STATUS_NOT_FOUND, e.code);
	assert_string_equal("not found", e.text);
	assert_true(ttrpc_client_call_sync(both->client, "test.Service", "Park", NULL, 0, 20000000, arena,
					   &answer, &length, &e) < 0);
	assert_int_equal(STATUS_DEADLINE_EXCEEDED, e.code);
	assert_string_equal("timeout", e.text);
	arena_free(arena);
}

static void test_large_requests_are_queued(void **state)
{
	struct both *both = *state;
	struct outcome outcome[8] = {0};
	char *payload = calloc(1, 1000000);

	connect_to_server(both);
	for (int i = 0; i < 8; i++)
		assert_int_equal(0, ttrpc_client_call(both->client, "test.Service", "Echo", payload, 1000000,
						      0, on_reply, &outcome[i], NULL));
	free(payload);
	for (int i = 0; i < 8; i++) {
		wait_for(both, &outcome[i]);
		assert_int_equal(1000000, outcome[i].length);
	}
}

static void test_many_calls(void **state)
{
	struct both *both = *state;
	enum { CALLS = 3000 };
	struct outcome *outcome = calloc(CALLS, sizeof(*outcome));
	char payload[16];

	connect_to_server(both);
	for (int i = 0; i < CALLS; i++) {
		snprintf(payload, sizeof(payload), "%d", i);
		call(both, "Echo", payload, INT64_C(60000000000), &outcome[i]);
	}
	for (int i = 0; i < CALLS; i++) {
		snprintf(payload, sizeof(payload), "%d", i);
		wait_for(both, &outcome[i]);
		assert_int_equal(1, outcome[i].count);
		assert_string_equal(payload, outcome[i].payload);
	}
	free(outcome);
}

static void test_connect_errors(void **state)
{
	struct both *both = *state;
	struct error e = ERROR_INIT;

	assert_null(ttrpc_client_connect(both->fixture->loop, "unix:///nonexistent/s", 100, &e));
	assert_int_equal(STATUS_UNAVAILABLE, e.code);
	assert_string_equal("connect to \"unix:///nonexistent/s\": ENOENT: No such file or directory",
			    e.text);
	assert_null(ttrpc_client_connect(both->fixture->loop, "foo", 100, &e));
	assert_string_equal("Scheme of \"foo\" is not supported", e.text);
	assert_int_equal(STATUS_INVALID_ARGUMENT, e.code);
}

/* --- hybrid vsock: a VMM in a child process --- */

/* Accepts one connection, expects "CONNECT 1024\n", writes @answer, and holds the connection until it is
 * told. */
static void vmm_start(struct vmm *vmm, const void *answer, size_t length, bool hang_up)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char line[16] = "";

	snprintf(vmm->path, sizeof(vmm->path), "/tmp/test-ttrpc-vmm-%d", (int)getpid());
	snprintf(vmm->address, sizeof(vmm->address), "hvsock://%s:1024", vmm->path);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", vmm->path);
	unlink(vmm->path);
	assert_int_equal(0, bind(listener, (struct sockaddr *)&sun, sizeof(sun)));
	assert_int_equal(0, listen(listener, 1));
	vmm->pid = fork();
	assert_true(vmm->pid >= 0);
	if (vmm->pid == 0) {
		int fd = accept(listener, NULL, NULL);

		alarm(60);
		if (recv(fd, line, 13, MSG_WAITALL) != 13 || memcmp(line, "CONNECT 1024\n", 13) != 0)
			_exit(1);
		if (length > 0 && send(fd, answer, length, MSG_NOSIGNAL) != (ssize_t)length)
			_exit(2);
		while (!hang_up && recv(fd, line, sizeof(line), 0) > 0)
			continue;
		_exit(0);
	}
	close(listener);
}

static void test_hybrid_swallows_nothing(void **state)
{
	struct both *both = *state;
	struct outcome outcome = {0};
	uint8_t bytes[64] = "OK 1073741824\n";
	size_t length = 14;

	/* The answer to the first call stands right behind the line. */
	length += hex_decode("00000006 00000001 02 00 0a00 12020801", bytes + length, sizeof(bytes) - length);
	vmm_start(&both->vmm, bytes, length, false);
	both->client = ttrpc_client_connect(both->fixture->loop, both->vmm.address, 5000, NULL);
	assert_non_null(both->client);
	call(both, "Echo", "", 0, &outcome);
	wait_for(both, &outcome);
	assert_int_equal(STATUS_OK, outcome.code);
	assert_memory_equal("\x08\x01", outcome.payload, 2);
	vmm_stop(&both->vmm);
}

static void expect_handshake_error(struct both *both, const void *answer, size_t length, bool hang_up,
				   const char *text)
{
	struct error e = ERROR_INIT;

	vmm_start(&both->vmm, answer, length, hang_up);
	both->client = ttrpc_client_connect(both->fixture->loop, both->vmm.address, hang_up ? 5000 : 100, &e);
	vmm_stop(&both->vmm);
	assert_null(both->client);
	assert_int_equal(STATUS_UNAVAILABLE, e.code);
	if (!strstr(e.text, text))
		fail_msg("\"%s\" without \"%s\"", e.text, text);
}

static void test_hybrid_errors(void **state)
{
	struct both *both = *state;
	char endless[200];

	memset(endless, 'O', sizeof(endless));
	expect_handshake_error(both, "", 0, true, "hybrid vsock: no answer to CONNECT 1024: ECONNRESET");
	expect_handshake_error(both, "OK", 2, false, "hybrid vsock: no answer to CONNECT 1024: ETIMEDOUT");
	expect_handshake_error(both, "NO\n", 3, true, "hybrid vsock: CONNECT 1024 was refused");
	expect_handshake_error(both, endless, sizeof(endless), true, "EMSGSIZE");
}

#define test(name) cmocka_unit_test_setup_teardown(name, both_setup, both_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_call),
		test(test_ids_and_frames),
		test(test_unknown_and_malformed_answers),
		test(test_oversize_answer),
		test(test_oversize_request),
		test(test_timeout),
		test(test_connection_lost),
		test(test_free_with_pending_calls),
		test(test_free_within_a_reply),
		test(test_call_within_a_reply),
		test(test_sync),
		test(test_large_requests_are_queued),
		test(test_many_calls),
		test(test_connect_errors),
		test(test_hybrid_swallows_nothing),
		test(test_hybrid_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
