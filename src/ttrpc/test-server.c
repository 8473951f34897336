/* SPDX-License-Identifier: Apache-2.0 */
/* Calls and answers: golden frames, every abnormal input of reference 01, 1.5, fragments, order, sizes. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ttrpc/envelope.h"
#include "ttrpc/test-peer.h"

#define CHECK "0a0b677270632e4865616c7468 1205436865636b"

static void test_golden(void **state)
{
	struct fixture *f = *state;

	peer_send_hex(f, f->fd, "00000014 00000001 01 00" CHECK);
	peer_expect_hex(f, f->fd, "00000006 00000001 02 00 0a00 12020801");
	peer_send_hex(f, f->fd, "0000001a 00000003 01 00" CHECK "2080d88ee16f");
	peer_expect_hex(f, f->fd, "00000006 00000003 02 00 0a00 12020801");
	peer_call(f, f->fd, 5, "Echo", "", 0);
	peer_expect_hex(f, f->fd, "00000002 00000005 02 00 0a00");
	peer_call(f, f->fd, 7, "Echo", "\x08\x89\x01", 0);
	peer_expect_hex(f, f->fd, "00000007 00000007 02 00 0a00 1203088901");
	peer_call(f, f->fd, 9, "Fail", "", 0);
	peer_expect_hex(f, f->fd, "0000000f 00000009 02 00 0a0d 0805 1209 6e6f7420666f756e64");
	assert_int_equal(0, ttrpc_server_calls(f->server));
	assert_int_equal(1, ttrpc_server_connections(f->server));
}

static void test_even_ids(void **state)
{
	struct fixture *f = *state;

	peer_send_hex(f, f->fd, "00000014 00000000 01 00" CHECK);
	peer_expect_error(f, f->fd, 0, 3, "stream id must be odd");
	peer_send_hex(f, f->fd, "00000014 00000002 01 00" CHECK);
	peer_expect_error(f, f->fd, 2, 3, "stream id must be odd");
	peer_send_hex(f, f->fd, "00000001 fffffffe 02 00 00 00000000 00000004 03 00");
	peer_expect_error(f, f->fd, 0xfffffffe, 3, "stream id must be odd");
	peer_expect_error(f, f->fd, 4, 3, "stream id must be odd");
	peer_expect_alive(f, f->fd);
}

static void test_invalid_requests(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[256];

	peer_send_hex(f, f->fd, "00000001 00000001 01 00 0a");
	peer_expect_error(f, f->fd, 1, 3, "invalid request: not a protobuf message");
	peer_send_hex(f, f->fd, "00000003 00000003 01 00 0a01ff");
	peer_expect_error(f, f->fd, 3, 3, "invalid request: the service is not UTF-8");
	peer_send_hex(f, f->fd, "00000000 00000005 01 00");
	peer_expect_error(f, f->fd, 5, 3, " service does not exist");
	peer_send(f, f->fd, frame, request_make(frame, sizeof(frame), 7, "grpc.Nothing", "Check", "", 0, 0));
	peer_expect_error(f, f->fd, 7, 3, "grpc.Nothing service does not exist");
	peer_send(f, f->fd, frame, request_make(frame, sizeof(frame), 9, "grpc.Health", "Chec", "", 0, 0));
	peer_expect_error(f, f->fd, 9, 12, "Chec method");
	peer_expect_alive(f, f->fd);
}

static void test_long_name_in_an_error(void **state)
{
	struct fixture *f = *state;
	size_t length = 100000;
	uint8_t *frame = malloc(FRAME_HEADER + 4 + length);
	struct ttrpc_reply reply = {0};
	struct frame answer;

	/* Three-byte characters, so that the cut must find a boundary. */
	hex_decode("000186a4 00000001 01 00 0aa08d06", frame, FRAME_HEADER + 4);
	for (size_t i = 0; i + 3 <= length; i += 3)
		memcpy(frame + FRAME_HEADER + 4 + i, "\xe2\x82\xac", 3);
	frame[FRAME_HEADER + 4 + length - 1] = 'x';
	peer_send(f, f->fd, frame, FRAME_HEADER + 4 + length);
	answer = peer_receive_frame(f, f->fd);
	assert_int_equal(0, envelope_decode_response(answer.body, answer.header.length, &reply, NULL));
	assert_int_equal(3, reply.status.code);
	assert_memory_equal("\xe2\x82\xac", reply.status.text, 3);
	free(answer.body);
	free(frame);
	peer_expect_alive(f, f->fd);
}

static void test_stream_flags_are_ignored(void **state)
{
	struct fixture *f = *state;

	peer_send_hex(f, f->fd, "00000014 00000001 01 01" CHECK "00000014 00000003 01 02" CHECK);
	peer_expect_hex(f, f->fd,
			"00000006 00000001 02 00 0a00 12020801 00000006 00000003 02 00 0a00 12020801");
}

static void test_data_frames(void **state)
{
	struct fixture *f = *state;

	peer_send_hex(f, f->fd, "00000000 00000001 03 00 00000002 00000003 03 00 ffff");
	peer_expect_error(f, f->fd, 1, 3, "Stream is no longer active");
	peer_expect_error(f, f->fd, 3, 3, "Stream is no longer active");
	peer_send_hex(f, f->fd, "00000000 00000005 03 01 00000001 00000007 03 01 ff");
	peer_expect_error(f, f->fd, 5, 3, "Stream is no longer active");
	peer_expect_error(f, f->fd, 7, 3, "Stream id 7: data close message connot include data");
	peer_expect_alive(f, f->fd);
}

static void test_other_types_are_ignored(void **state)
{
	struct fixture *f = *state;

	peer_send_hex(f, f->fd,
		      "00000002 00000001 02 00 0a00 00000000 00000001 00 00"
		      "00000001 00000001 04 00 00 00000000 00000001 ff ff");
	peer_expect_silence(f, f->fd);
	peer_expect_alive(f, f->fd);
}

static void test_id_in_flight_is_refused(void **state)
{
	struct fixture *f = *state;

	peer_call(f, f->fd, 5, "Park", "", 0);
	peer_call(f, f->fd, 5, "Echo", "a", 0);
	peer_expect_error(f, f->fd, 5, 3, "stream id 5 is in use");
	/* The first one is not harmed; its id is free afterwards; lower ids than before are welcome. */
	ttrpc_call_respond(f->parked[0], "b", 1);
	peer_expect_ok(f, f->fd, 5, "b");
	peer_call(f, f->fd, 5, "Echo", "c", 0);
	peer_expect_ok(f, f->fd, 5, "c");
	peer_call(f, f->fd, 3, "Echo", "d", 0);
	peer_expect_ok(f, f->fd, 3, "d");
}

/* A frame with a header length of its own, then a good one. */
static void send_oversize(struct fixture *f, uint32_t stream, uint8_t type, uint32_t length)
{
	struct frame_header header = {.length = length, .stream = stream, .type = type};
	uint8_t head[FRAME_HEADER];
	uint8_t *body = calloc(1, length);

	frame_header_encode(&header, head);
	peer_send(f, f->fd, head, sizeof(head));
	peer_send(f, f->fd, body, length);
	free(body);
}

static void test_oversize_in(void **state)
{
	struct fixture *f = *state;

	send_oversize(f, 1, FRAME_REQUEST, 4194305);
	peer_expect_error(f, f->fd, 1, 3, "message length 4194305 exceed maximum message size of 4194304");
	peer_expect_alive(f, f->fd);
	/* Before the rule of odd ids, and for any type. */
	send_oversize(f, 2, FRAME_DATA, 5000000);
	peer_expect_error(f, f->fd, 2, 3, "message length 5000000 exceed maximum message size of 4194304");
	peer_expect_alive(f, f->fd);
}

static void test_largest_in(void **state)
{
	struct fixture *f = *state;
	size_t overhead = 2 + strlen("test.Service") + 2 + strlen("Echo") + 5;
	size_t length = TTRPC_MESSAGE_MAX - overhead, total;
	char *payload = malloc(length);
	uint8_t *frame = malloc(TTRPC_MESSAGE_MAX + FRAME_HEADER);
	uint8_t head[FRAME_HEADER];

	memset(payload, 'p', length);
	total = request_make(frame, TTRPC_MESSAGE_MAX + FRAME_HEADER, 1, "test.Service", "Echo", payload,
			     length, 0);
	assert_int_equal(TTRPC_MESSAGE_MAX + FRAME_HEADER, total);
	peer_send(f, f->fd, frame, total);
	peer_receive(f, f->fd, head, sizeof(head));
	assert_memory_equal("\x00\x3f\xff", head, 3);
	peer_receive(f, f->fd, frame, 2 + 5 + length);
	assert_memory_equal(payload, frame + 7, length);
	peer_expect_alive(f, f->fd);
	free(frame);
	free(payload);
}

static void test_largest_out(void **state)
{
	struct fixture *f = *state;
	/* Status 2 bytes, payload's head 5. */
	struct frame frame;

	peer_call(f, f->fd, 1, "Size", "4194297", 0);
	frame = peer_receive_frame(f, f->fd);
	assert_int_equal(TTRPC_MESSAGE_MAX, frame.header.length);
	free(frame.body);
	peer_call(f, f->fd, 3, "Size", "4194298", 0);
	peer_expect_error(f, f->fd, 3, 3, "message length 4194305 exceed maximum message size of 4194304");
	peer_call(f, f->fd, 5, "Notify", "4194298", 0);
	peer_expect_error(f, f->fd, 5, 3, "message length 4194305 exceed maximum message size of 4194304");
	assert_int_equal(1, f->n_sent);
	assert_false(f->sent[0]);
	peer_expect_alive(f, f->fd);
}

static void test_fragments_at_each_offset(void **state)
{
	struct fixture *f = *state;
	uint8_t frames[256];
	size_t length = request_make(frames, sizeof(frames), 1, "test.Service", "Echo", "one", 3, 0);

	length += request_make(frames + length, sizeof(frames) - length, 3, "test.Service", "Echo", "two", 3,
			       1);
	for (size_t cut = 0; cut <= length; cut++) {
		peer_send(f, f->fd, frames, cut);
		fixture_settle(f);
		peer_send(f, f->fd, frames + cut, length - cut);
		peer_expect_ok(f, f->fd, 1, "one");
		peer_expect_ok(f, f->fd, 3, "two");
	}
}

static void test_fragments_of_one_byte(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[256];
	size_t length = request_make(frame, sizeof(frame), 1, "test.Service", "Echo", "payload", 7, 0);

	for (size_t i = 0; i < length; i++) {
		peer_send(f, f->fd, frame + i, 1);
		fixture_settle(f);
	}
	peer_expect_ok(f, f->fd, 1, "payload");
}

static void test_many_frames_in_one_write(void **state)
{
	struct fixture *f = *state;
	uint8_t frames[16384];
	size_t length = 0;
	char payload[16];

	/* More than a round takes, so that the rest waits in the connection. */
	for (unsigned i = 0; i < 300; i++) {
		snprintf(payload, sizeof(payload), "call %u", i);
		length += request_make(frames + length, sizeof(frames) - length, 2 * i + 1, "test.Service",
				       "Echo", payload, strlen(payload), 0);
	}
	peer_send(f, f->fd, frames, length);
	for (unsigned i = 0; i < 300; i++) {
		snprintf(payload, sizeof(payload), "call %u", i);
		peer_expect_ok(f, f->fd, 2 * i + 1, payload);
	}
}

static void test_answers_of_one_read_leave_together(void **state)
{
	struct fixture *f = *state;
	uint8_t frames[1024], answers[1024];
	size_t length = 0;

	for (unsigned i = 0; i < 10; i++)
		length += request_make(frames + length, sizeof(frames) - length, 2 * i + 1, "test.Service",
				       "Echo", "x", 1, 0);
	/* Packets keep the server's writes apart. */
	int pair[2];
	assert_int_equal(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	assert_int_equal(0, ttrpc_server_adopt(f->server, pair[1], NULL));
	assert_int_equal(length, send(pair[0], frames, length, 0));
	fixture_settle(f);
	/* Nine were gathered; the tenth found nothing behind it, and the queue in front of it. */
	assert_int_equal(10 * (FRAME_HEADER + 5), recv(pair[0], answers, sizeof(answers), MSG_DONTWAIT));
	close(pair[0]);
}

static void test_parked_in_any_order(void **state)
{
	struct fixture *f = *state;
	enum { CALLS = 1000 };
	unsigned order[CALLS];
	char payload[16];

	for (unsigned i = 0; i < CALLS; i++) {
		order[i] = i;
		peer_call(f, f->fd, 2 * i + 1, "Park", "", 0);
	}
	fixture_settle(f);
	assert_int_equal(CALLS, f->n_parked);
	assert_int_equal(CALLS, ttrpc_server_calls(f->server));
	srand(1);
	for (unsigned i = CALLS - 1; i > 0; i--) {
		unsigned other = (unsigned)rand() % (i + 1), swap = order[i];

		order[i] = order[other];
		order[other] = swap;
	}
	for (unsigned i = 0; i < CALLS; i++) {
		snprintf(payload, sizeof(payload), "%u", order[i]);
		ttrpc_call_respond(f->parked[order[i]], payload, strlen(payload));
	}
	for (unsigned i = 0; i < CALLS; i++) {
		snprintf(payload, sizeof(payload), "%u", order[i]);
		peer_expect_ok(f, f->fd, 2 * order[i] + 1, payload);
	}
	assert_int_equal(0, ttrpc_server_calls(f->server));
}

static void test_ids_out_of_order(void **state)
{
	struct fixture *f = *state;
	static const uint32_t ids[] = {7, 3, 0xffffffff, 1, 5, 0x80000001};

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		peer_call(f, f->fd, ids[i], "Echo", "x", 0);
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		peer_expect_ok(f, f->fd, ids[i], "x");
}

static void test_payload_lasts_as_long_as_the_call(void **state)
{
	struct fixture *f = *state;
	struct ttrpc_call *call;

	peer_call(f, f->fd, 1, "Park", "first", INT64_C(3600000000000));
	for (unsigned i = 0; i < 200; i++) {
		peer_call(f, f->fd, 3, "Echo", "other", 0);
		peer_expect_ok(f, f->fd, 3, "other");
	}
	call = f->parked[0];
	assert_string_equal("test.Service", call->service);
	assert_string_equal("Park", call->method);
	assert_int_equal(5, call->payload_length);
	assert_memory_equal("first", call->payload, 5);
	assert_true(call->timeout_ns == INT64_C(3600000000000));
	ttrpc_call_respond(call, call->payload, call->payload_length);
	peer_expect_ok(f, f->fd, 1, "first");
}

static void test_stolen_arena(void **state)
{
	struct fixture *f = *state;

	peer_call(f, f->fd, 1, "Steal", "x", 0);
	peer_expect_ok(f, f->fd, 1, "");
	/* Stolen, then the connection is lost: the arena stays its new owner's. */
	peer_call(f, f->fd, 3, "Park", "x", 0);
	fixture_settle(f);
	struct arena *arena = ttrpc_call_steal_arena(f->parked[0]);
	close(f->fd);
	f->fd = -1;
	fixture_settle(f);
	assert_int_equal(1, f->disconnects);
	assert_int_equal(0, ttrpc_server_calls(f->server));
	assert_non_null(arena_strdup(arena, "still good"));
	arena_free(arena);
}

static void test_fail_without_code_is_internal(void **state)
{
	struct fixture *f = *state;
	struct error e = ERROR_INIT;

	peer_call(f, f->fd, 1, "Park", "", 0);
	peer_call(f, f->fd, 3, "Park", "", 0);
	fixture_settle(f);
	ttrpc_call_fail(f->parked[0], &e);
	peer_expect_error(f, f->fd, 1, 13, "");
	error_set(&e, STATUS_PERMISSION_DENIED, 0, "denied");
	ttrpc_call_fail(f->parked[1], &e);
	peer_expect_error(f, f->fd, 3, 7, "denied");
}

#define test(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_golden),
		test(test_even_ids),
		test(test_invalid_requests),
		test(test_long_name_in_an_error),
		test(test_stream_flags_are_ignored),
		test(test_data_frames),
		test(test_other_types_are_ignored),
		test(test_id_in_flight_is_refused),
		test(test_oversize_in),
		test(test_largest_in),
		test(test_largest_out),
		test(test_fragments_at_each_offset),
		test(test_fragments_of_one_byte),
		test(test_many_frames_in_one_write),
		test(test_answers_of_one_read_leave_together),
		test(test_parked_in_any_order),
		test(test_ids_out_of_order),
		test(test_payload_lasts_as_long_as_the_call),
		test(test_stolen_arena),
		test(test_fail_without_code_is_internal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
