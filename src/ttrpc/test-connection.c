/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to calls when time or the peer ends: deadlines, lost connections, answers on their way. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "ttrpc/test-peer.h"

static struct ttrpc_connection *first_connection(struct fixture *f)
{
	return list_first_entry(&f->server->connections, struct ttrpc_connection, link);
}

static void test_deadline_of_a_mute_call(void **state)
{
	struct fixture *f = *state;

	peer_call(f, f->fd, 1, "Mute", "", 1);
	peer_expect_hex(f, f->fd, "0000000d 00000001 02 00 0a0b 0804 1207 74696d656f7574");
	/* The id is free; the handler's pointer is still good, and its answer goes nowhere. */
	peer_call(f, f->fd, 1, "Echo", "x", 0);
	peer_expect_ok(f, f->fd, 1, "x");
	assert_int_equal(1, ttrpc_server_calls(f->server));
	ttrpc_call_respond(f->parked[0], "late", 4);
	peer_expect_silence(f, f->fd);
	assert_int_equal(0, ttrpc_server_calls(f->server));
}

static void test_deadline_is_told(void **state)
{
	struct fixture *f = *state;

	peer_call(f, f->fd, 1, "Park", "", 2000000);
	fixture_run(f, 30);
	assert_int_equal(1, f->deadlines);
	peer_expect_silence(f, f->fd);
	ttrpc_call_fail_timeout(f->parked[0]);
	peer_expect_error(f, f->fd, 1, 4, "timeout");
	/* Told of its deadline, then of the connection's end. */
	peer_call(f, f->fd, 3, "Park", "", 1);
	fixture_run(f, 20);
	assert_int_equal(2, f->deadlines);
	close(f->fd);
	f->fd = -1;
	fixture_settle(f);
	assert_int_equal(1, f->disconnects);
	assert_int_equal(0, ttrpc_server_calls(f->server));
}

static void test_no_deadline(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[256];
	size_t length;

	peer_call(f, f->fd, 1, "Mute", "", 0);
	/* Negative, zero, and as far away as can be said. */
	length = hex_decode(
		"00000021 00000003 01 00 0a0c746573742e53657276696365 12044d757465 20ffffffffffffffffff01",
		frame, sizeof(frame));
	frame[3] = (uint8_t)(length - FRAME_HEADER);
	peer_send(f, f->fd, frame, length);
	length = hex_decode("00000000 00000005 01 00 0a0c746573742e53657276696365 12044d757465 2000", frame,
			    sizeof(frame));
	frame[3] = (uint8_t)(length - FRAME_HEADER);
	peer_send(f, f->fd, frame, length);
	peer_call(f, f->fd, 7, "Mute", "", INT64_MAX);
	fixture_run(f, 50);
	assert_int_equal(4, f->n_parked);
	peer_expect_silence(f, f->fd);
	for (size_t i = 0; i < 4; i++)
		ttrpc_call_respond(f->parked[i], "x", 1);
	for (uint32_t id = 1; id <= 7; id += 2)
		peer_expect_ok(f, f->fd, id, "x");
}

static void test_deadline_not_before_its_time(void **state)
{
	struct fixture *f = *state;
	uint64_t start = loop_now();

	peer_call(f, f->fd, 1, "Mute", "", 60000000);
	peer_expect_error(f, f->fd, 1, 4, "timeout");
	assert_true(loop_now() - start >= 59);
}

static void test_answered_in_time(void **state)
{
	struct fixture *f = *state;

	peer_call(f, f->fd, 1, "Echo", "x", 1);
	peer_call(f, f->fd, 3, "Park", "", 20000000);
	peer_expect_ok(f, f->fd, 1, "x");
	fixture_settle(f);
	ttrpc_call_respond(f->parked[0], NULL, 0);
	peer_expect_ok(f, f->fd, 3, "");
	fixture_run(f, 40);
	peer_expect_silence(f, f->fd);
	assert_int_equal(0, f->deadlines);
}

static void test_disconnect_ends_calls(void **state)
{
	struct fixture *f = *state;
	int other = fixture_connect(f);

	peer_call(f, other, 1, "Park", "", 0);
	peer_call(f, f->fd, 1, "Park", "", 0);
	peer_call(f, f->fd, 3, "Park", "", INT64_C(60000000000));
	peer_call(f, f->fd, 5, "Mute", "", INT64_C(60000000000));
	/* And one of which only a part arrives. */
	peer_send_hex(f, f->fd, "00400000 00000007 01 00 0a0c");
	fixture_settle(f);
	assert_int_equal(4, f->n_parked);
	close(f->fd);
	f->fd = -1;
	fixture_settle(f);
	assert_int_equal(2, f->disconnects);
	assert_int_equal(1, ttrpc_server_connections(f->server));
	/* The mute one does not know: it may answer yet. */
	assert_int_equal(2, ttrpc_server_calls(f->server));
	ttrpc_call_respond(f->parked[3], "x", 1);
	ttrpc_call_respond(f->parked[0], "y", 1);
	peer_expect_ok(f, other, 1, "y");
	assert_int_equal(0, ttrpc_server_calls(f->server));
	close(other);
}

static void test_end_of_the_server_ends_calls(void **state)
{
	struct fixture *f = *state;

	peer_call(f, f->fd, 1, "Park", "", 0);
	peer_call(f, f->fd, 3, "Mute", "", 0);
	peer_call(f, f->fd, 5, "Mute", "", 1);
	fixture_run(f, 20);
	ttrpc_server_free(f->server);
	assert_int_equal(1, f->disconnects);
	f->server = ttrpc_server_new(f->loop);
}

static void test_half_close_is_a_disconnect(void **state)
{
	struct fixture *f = *state;

	peer_call(f, f->fd, 1, "Park", "", 0);
	peer_call(f, f->fd, 3, "Echo", "x", 0);
	shutdown(f->fd, SHUT_WR);
	/* What came before it is done and, having been answered by then, delivered. */
	peer_expect_ok(f, f->fd, 3, "x");
	peer_expect_end(f, f->fd);
	assert_int_equal(1, f->disconnects);
	assert_int_equal(0, ttrpc_server_connections(f->server));
}

static void test_half_close_flushes_what_was_answered(void **state)
{
	struct fixture *f = *state;
	struct frame frame;

	/* More than the socket holds: the rest is queued. */
	peer_call(f, f->fd, 1, "Size", "900000", 0);
	peer_call(f, f->fd, 3, "Park", "", 0);
	fixture_settle(f);
	assert_false(ttrpc_server_flushed(f->server));
	shutdown(f->fd, SHUT_WR);
	fixture_settle(f);
	assert_int_equal(1, f->disconnects);
	frame = peer_receive_frame(f, f->fd);
	assert_int_equal(900000 + 2 + 4, frame.header.length);
	free(frame.body);
	peer_expect_end(f, f->fd);
	assert_true(ttrpc_server_flushed(f->server));
	assert_int_equal(1, f->flushed);
}

static void test_notify_at_once(void **state)
{
	struct fixture *f = *state;

	peer_call(f, f->fd, 1, "Notify", "10", 0);
	fixture_settle(f);
	assert_int_equal(1, f->n_sent);
	assert_true(f->sent[0]);
	assert_true(ttrpc_server_flushed(f->server));
}

static void test_notify_when_the_peer_reads(void **state)
{
	struct fixture *f = *state;
	struct frame frame;

	peer_call(f, f->fd, 1, "Notify", "600000", 0);
	fixture_settle(f);
	peer_call(f, f->fd, 3, "Notify", "10", 0);
	fixture_settle(f);
	assert_int_equal(0, f->n_sent);
	assert_false(ttrpc_server_flushed(f->server));
	frame = peer_receive_frame(f, f->fd);
	free(frame.body);
	frame = peer_receive_frame(f, f->fd);
	assert_int_equal(3, frame.header.stream);
	free(frame.body);
	assert_int_equal(2, f->n_sent);
	assert_true(f->sent[0] && f->sent[1]);
	assert_true(ttrpc_server_flushed(f->server));
	assert_int_equal(1, f->flushed);
}

static void test_notify_when_the_peer_dies(void **state)
{
	struct fixture *f = *state;

	peer_call(f, f->fd, 1, "Notify", "600000", 0);
	fixture_settle(f);
	peer_call(f, f->fd, 3, "Notify", "10", 0);
	fixture_settle(f);
	close(f->fd);
	f->fd = -1;
	fixture_settle(f);
	assert_int_equal(2, f->n_sent);
	assert_false(f->sent[0] || f->sent[1]);
	assert_int_equal(0, ttrpc_server_connections(f->server));
	assert_true(ttrpc_server_flushed(f->server));
}

static void test_notify_when_the_peer_is_dead_already(void **state)
{
	struct fixture *f = *state;

	peer_call(f, f->fd, 1, "Notify", "10", 0);
	close(f->fd);
	f->fd = -1;
	fixture_settle(f);
	assert_int_equal(1, f->n_sent);
	assert_false(f->sent[0]);
}

static void test_notify_on_half_close(void **state)
{
	struct fixture *f = *state;
	struct frame frame;

	peer_call(f, f->fd, 1, "Notify", "600000", 0);
	peer_call(f, f->fd, 3, "Notify", "10", 0);
	fixture_settle(f);
	shutdown(f->fd, SHUT_WR);
	fixture_settle(f);
	/* Of the second no byte has left: its owner has it back, and the peer must not get it, too. */
	assert_int_equal(1, f->n_sent);
	assert_false(f->sent[0]);
	frame = peer_receive_frame(f, f->fd);
	assert_int_equal(1, frame.header.stream);
	free(frame.body);
	peer_expect_end(f, f->fd);
	assert_int_equal(2, f->n_sent);
	assert_true(f->sent[1]);
}

static void test_notify_on_half_close_within_a_frame(void **state)
{
	struct fixture *f = *state;
	struct frame frame;

	peer_call(f, f->fd, 1, "Notify", "600000", 0);
	peer_call(f, f->fd, 3, "Notify", "600000", 0);
	frame = peer_receive_frame(f, f->fd);
	free(frame.body);
	fixture_settle(f);
	assert_int_equal(1, f->n_sent);
	/* A part of the second has left by now: it is seen through to its end. */
	shutdown(f->fd, SHUT_WR);
	fixture_settle(f);
	assert_int_equal(1, f->n_sent);
	frame = peer_receive_frame(f, f->fd);
	assert_int_equal(3, frame.header.stream);
	free(frame.body);
	peer_expect_end(f, f->fd);
	assert_int_equal(2, f->n_sent);
	assert_true(f->sent[0] && f->sent[1]);
}

static void test_peer_that_lingers_is_dropped(void **state)
{
	struct fixture *f = *state;

	peer_call(f, f->fd, 1, "Size", "900000", 0);
	fixture_settle(f);
	shutdown(f->fd, SHUT_WR);
	fixture_settle(f);
	assert_int_equal(1, ttrpc_server_connections(f->server));
	/* The wait for it to read is bounded. */
	assert_in_range(first_connection(f)->timer.due - loop_now(), 1, CONNECTION_LINGER_MS + 1);
	loop_timer_set(f->loop, &first_connection(f)->timer, 0, first_connection(f)->timer.fn);
	fixture_settle(f);
	assert_int_equal(0, ttrpc_server_connections(f->server));
	assert_true(ttrpc_server_flushed(f->server));
}

#define test(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_deadline_of_a_mute_call),
		test(test_deadline_is_told),
		test(test_no_deadline),
		test(test_deadline_not_before_its_time),
		test(test_answered_in_time),
		test(test_disconnect_ends_calls),
		test(test_end_of_the_server_ends_calls),
		test(test_half_close_is_a_disconnect),
		test(test_half_close_flushes_what_was_answered),
		test(test_notify_at_once),
		test(test_notify_when_the_peer_reads),
		test(test_notify_when_the_peer_dies),
		test(test_notify_when_the_peer_is_dead_already),
		test(test_notify_on_half_close),
		test(test_notify_on_half_close_within_a_frame),
		test(test_peer_that_lingers_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
