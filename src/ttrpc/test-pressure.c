/* SPDX-License-Identifier: Apache-2.0 */
/* Peers that send too much, or do not read: what they cost, what they get, and that others are served meanwhile. */

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "ttrpc/test-peer.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Bytes of the heap in use; 0 under the sanitizer, whose allocator has other costs. */
static size_t heap_used(void)
{
	struct mallinfo2 info = mallinfo2();

	return SANITIZED ? 0 : info.uordblks + info.hblkhd;
}

static struct ttrpc_connection *first_connection(struct fixture *f)
{
	return list_first_entry(&f->server->connections, struct ttrpc_connection, link);
}

static void test_what_a_handler_keeps_is_charged(void **state)
{
	struct fixture *f = *state;

	peer_call(f, f->fd, 1, "Grow", "1000000", 0);
	fixture_settle(f);
	assert_in_range(f->server->bytes, 1000000, 1100000);
	ttrpc_call_respond(f->parked[0], NULL, 0);
	peer_expect_ok(f, f->fd, 1, "");
	assert_int_equal(0, f->server->bytes);
}

static void test_calls_are_bounded(void **state)
{
	struct fixture *f = *state;
	size_t before = heap_used();

	for (unsigned i = 0; i < CONNECTION_CALLS_MAX; i++)
		peer_call(f, f->fd, 2 * i + 1, "Park", "0123456789012345678901234567890123456789", 0);
	fixture_settle(f);
	assert_int_equal(CONNECTION_CALLS_MAX, f->n_parked);
	assert_in_range(f->server->bytes / CONNECTION_CALLS_MAX, 1, 1536);
	assert_in_range(first_connection(f)->streams.n_buckets, CONNECTION_CALLS_MAX / 2,
			CONNECTION_CALLS_MAX * 2);
	assert_in_range((heap_used() - before) / CONNECTION_CALLS_MAX, 0, 1536);
	peer_call(f, f->fd, 99999, "Echo", "x", 0);
	peer_expect_error(f, f->fd, 99999, 8, "no room for another call on this connection");
	/* Others are not concerned, and one place is enough. */
	int other = fixture_connect(f);
	peer_expect_alive(f, other);
	close(other);
	ttrpc_call_respond(f->parked[17], NULL, 0);
	peer_expect_ok(f, f->fd, 35, "");
	peer_expect_alive(f, f->fd);
	close(f->fd);
	f->fd = -1;
	fixture_settle(f);
	assert_int_equal(CONNECTION_CALLS_MAX - 1, f->disconnects);
	assert_int_equal(0, f->server->bytes);
}

/* Sends without patience: returns how many bytes the socket took until the server did not read any more. */
static size_t push(struct fixture *f, int fd, const uint8_t *data, size_t length)
{
	size_t sent = 0;

	for (unsigned idle = 0; sent < length && idle < 10; idle++) {
		ssize_t n = send(fd, data + sent, length - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			sent += (size_t)n;
			idle = 0;
		}
		fixture_settle(f);
	}
	return sent;
}

static void test_peer_that_does_not_read(void **state)
{
	enum { CALLS = 76000, ANSWER = FRAME_HEADER + 6 };
	struct fixture *f = *state;
	uint8_t *frames = malloc(CALLS * 64), answer[ANSWER];
	size_t length = 0, sent, before = heap_used();

	for (uint32_t i = 0; i < CALLS; i++)
		length += request_make(frames + length, 64, 2 * i + 1, "grpc.Health", "Check", NULL, 0, 0);
	sent = push(f, f->fd, frames, length);
	assert_in_range(sent, 1, length - 1);
	assert_in_range(first_connection(f)->writer.queued, CONNECTION_OUTPUT_MAX,
			CONNECTION_OUTPUT_MAX + 8192);
	assert_in_range(heap_used() - before, 0, 2 * CONNECTION_OUTPUT_MAX);
	assert_false(ttrpc_server_flushed(f->server));
	/* Others are served meanwhile. */
	int other = fixture_connect(f);
	peer_expect_alive(f, other);
	close(other);
	/* It begins to read: nothing was dropped. */
	for (uint32_t i = 0; i < CALLS; i++) {
		size_t part = length - sent < 4096 ? length - sent : 4096;
		ssize_t n = part > 0 ? send(f->fd, frames + sent, part, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;

		sent += n > 0 ? (size_t)n : 0;
		peer_receive(f, f->fd, answer, sizeof(answer));
		assert_int_equal(2 * i + 1, (uint32_t)answer[4] << 24 | (uint32_t)answer[5] << 16 |
						    (uint32_t)answer[6] << 8 | answer[7]);
	}
	assert_int_equal(length, sent);
	fixture_settle(f);
	assert_true(ttrpc_server_flushed(f->server));
	assert_int_equal(0, first_connection(f)->writer.queued);
	free(frames);
}

static void test_peer_that_does_not_read_and_dies(void **state)
{
	struct fixture *f = *state;
	uint8_t frames[65536];
	size_t length = 0, before = heap_used();

	for (uint32_t i = 0; i < 1000; i++)
		length += request_make(frames + length, 64, 2 * i + 1, "test.Service", "Size", "60000", 5, 0);
	push(f, f->fd, frames, length);
	/* The bound holds within a round of the loop as well: one answer beyond it. */
	assert_in_range(first_connection(f)->writer.queued, CONNECTION_OUTPUT_MAX,
			CONNECTION_OUTPUT_MAX + 61000);
	close(f->fd);
	f->fd = -1;
	fixture_settle(f);
	assert_int_equal(0, ttrpc_server_connections(f->server));
	assert_int_equal(0, f->server->bytes);
	assert_true(heap_used() <= before + 65536);
}

/* A request for @method whose payload is @size bytes long; the frame is malloc'ed. */
static uint8_t *large_request(uint32_t stream, const char *method, size_t size, size_t *length)
{
	uint8_t *payload = calloc(1, size), *frame = malloc(size + 128);

	*length = request_make(frame, size + 128, stream, "test.Service", method, payload, size, 0);
	free(payload);
	return frame;
}

static void send_large(struct fixture *f, int fd, uint32_t stream, const char *method, size_t size,
		       bool patient)
{
	size_t length, sent;
	uint8_t *frame = large_request(stream, method, size, &length);

	if (patient) {
		peer_send(f, fd, frame, length);
	} else {
		sent = push(f, fd, frame, length);
		assert_in_range(sent, 1, length - 1);
	}
	free(frame);
}

static void test_large_calls_are_bounded(void **state)
{
	struct fixture *f = *state;
	enum { SIZE = 3 << 20 };

	/* Five of three MiB are below sixteen; the next is not read. */
	for (uint32_t i = 0; i < 5; i++)
		send_large(f, f->fd, 2 * i + 1, "Park", SIZE, true);
	fixture_settle(f);
	assert_int_equal(5, f->n_parked);
	send_large(f, f->fd, 11, "Park", SIZE, false);
	assert_int_equal(5, f->n_parked);
	assert_in_range(f->server->bytes, 5 * SIZE, CONNECTION_BYTES_MAX);
	/* One answer makes room for it; the part that was not sent is left out: the connection ends. */
	ttrpc_call_respond(f->parked[0], NULL, 0);
	peer_expect_ok(f, f->fd, 1, "");
	fixture_settle(f);
	assert_in_range(f->server->bytes, 5 * SIZE, CONNECTION_BYTES_MAX);
	assert_false(first_connection(f)->held);
	close(f->fd);
	f->fd = -1;
	fixture_settle(f);
	assert_int_equal(4, f->disconnects);
	assert_int_equal(0, f->server->bytes);
}

static void test_held_back_peer_that_dies(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 0; i < 5; i++)
		send_large(f, f->fd, 2 * i + 1, "Park", 3 << 20, true);
	send_large(f, f->fd, 11, "Park", 3 << 20, false);
	assert_true(first_connection(f)->held);
	close(f->fd);
	f->fd = -1;
	fixture_settle(f);
	assert_int_equal(5, f->disconnects);
	assert_int_equal(0, ttrpc_server_connections(f->server));
	assert_int_equal(0, f->server->bytes);
}

static void test_all_connections_are_bounded(void **state)
{
	struct fixture *f = *state;
	enum { PEERS = 6 };
	int peers[PEERS];
	size_t parked;

	/* Four connections fill what all may have. */
	for (int i = 0; i < PEERS; i++)
		peers[i] = fixture_connect(f);
	for (int i = 0; i < 4; i++)
		for (uint32_t j = 0; j < 5; j++)
			send_large(f, peers[i], 2 * j + 1, "Park", 3 << 20, true);
	send_large(f, peers[4], 1, "Park", 3 << 20, true);
	fixture_settle(f);
	parked = f->n_parked;
	assert_int_equal(21, parked);
	send_large(f, peers[5], 1, "Park", 3 << 20, false);
	assert_in_range(f->server->bytes, 63 << 20, SERVER_BYTES_MAX);
	/* To the last byte: the frame is 24 bytes longer than its payload. */
	send_large(f, f->fd, 1, "Park",
		   SERVER_BYTES_MAX - f->server->bytes - call_size(1 << 20) + (1 << 20) - 24, true);
	fixture_settle(f);
	assert_int_equal(22, f->n_parked);
	assert_true(f->server->bytes >= SERVER_BYTES_MAX);
	/* Small calls are served all the same. */
	int other = fixture_connect(f);
	peer_expect_alive(f, other);
	close(other);
	/* One that leaves makes room. */
	close(peers[0]);
	fixture_settle(f);
	assert_int_equal(5, f->disconnects);
	assert_false(list_entry(f->server->connections.prev, struct ttrpc_connection, link)->held);
	for (int i = 1; i < PEERS; i++)
		close(peers[i]);
	close(f->fd);
	f->fd = -1;
	fixture_settle(f);
	assert_int_equal(0, f->server->bytes);
}

static size_t queued(const struct fixture *f)
{
	struct ttrpc_connection *connection;
	size_t sum = 0;

	list_for_each_entry (connection, &f->server->connections, link)
		sum += connection->writer.queued;
	return sum;
}

static void test_output_of_all_is_bounded(void **state)
{
	enum { PEERS = 100, ANSWER = 60000, CALLS = 40 };
	struct fixture *f = *state;
	uint8_t frames[CALLS * 64], *answer = malloc(FRAME_HEADER + ANSWER + 6);
	size_t length = 0;
	int peers[PEERS];

	for (uint32_t i = 0; i < CALLS; i++)
		length += request_make(frames + length, 64, 2 * i + 1, "test.Service", "Size", "60000", 5, 0);
	for (int i = 0; i < PEERS; i++) {
		peers[i] = fixture_connect(f);
		push(f, peers[i], frames, length);
	}
	assert_int_equal(queued(f), f->server->output);
	assert_in_range(queued(f), SERVER_OUTPUT_MAX,
			SERVER_OUTPUT_MAX + PEERS * (CONNECTION_RESERVE + ANSWER + 1000));
	/* Who reads is served, before and after, and gets all of it. */
	peer_expect_alive(f, f->fd);
	for (uint32_t i = 0; i < CALLS; i++) {
		peer_receive(f, peers[PEERS - 1], answer, FRAME_HEADER + ANSWER + 6);
		assert_int_equal(2 * i + 1, answer[7]);
	}
	for (int i = 0; i < PEERS; i++)
		close(peers[i]);
	fixture_settle(f);
	assert_int_equal(0, f->server->output);
	free(answer);
}

static void test_announced_body_costs_nothing(void **state)
{
	struct fixture *f = *state;
	size_t before = heap_used();

	for (int i = 0; i < 10; i++) {
		int fd = fixture_connect(f);

		/* Half of a header, a quarter of a connection. */
		peer_send_hex(f, fd, "00000014 00");
		fixture_settle(f);
		assert_in_range(heap_used() - before, 0, 1024);
		close(fd);
		fixture_settle(f);
	}
	assert_int_equal(0, f->server->bytes);
}

/* What is announced is charged for: the room of all, taken by peers who then say nothing. */
static void test_announced_bodies_hold_nobody_up(void **state)
{
	enum { PEERS = 15, PATIENCE = 600 };
	struct fixture *f = *state;
	int peers[PEERS];
	uint8_t part[CONNECTION_RESERVE] = {0};

	f->server->patience_ms = PATIENCE;
	for (int i = 0; i < PEERS; i++) {
		peers[i] = fixture_connect(f);
		peer_send_hex(f, peers[i], "00400000 00000001 01 00");
	}
	fixture_settle(f);
	/* Nobody else wants it: they may stay as long as they like. */
	fixture_run(f, 2 * PATIENCE);
	assert_int_equal(PEERS + 1, ttrpc_server_connections(f->server));
	assert_false(f->server->reclaim.loop);
	/* One of them goes on with it, a byte or a reserve at a time: only that is progress. */
	peer_send(f, peers[0], part, sizeof(part));
	peer_send(f, peers[1], part, 1);
	send_large(f, f->fd, 1, "Park", (4 << 20) - 1024, false);
	assert_true(first_connection(f)->held);
	fixture_run(f, PATIENCE / 2);
	assert_int_equal(2, ttrpc_server_connections(f->server));
	peer_expect_end(f, peers[1]);
	peer_send(f, peers[0], part, sizeof(part));
	/* There is room now: nobody looks any more, and the one that waited goes on. */
	assert_false(first_connection(f)->held);
	fixture_run(f, 2 * PATIENCE);
	assert_int_equal(2, ttrpc_server_connections(f->server));
	assert_false(f->server->reclaim.loop);
	for (int i = 0; i < PEERS; i++)
		close(peers[i]);
	close(f->fd);
	f->fd = -1;
	fixture_settle(f);
	assert_int_equal(0, f->server->bytes);
}

/* Waiting for what oneself holds is nobody else's fault. */
static void test_nobody_is_closed_for_one_that_holds_too_much(void **state)
{
	struct fixture *f = *state;
	int other = fixture_connect(f);

	f->server->patience_ms = 40;
	peer_send_hex(f, other, "00400000 00000001 01 00");
	for (uint32_t i = 0; i < 5; i++)
		send_large(f, f->fd, 2 * i + 1, "Park", 3 << 20, true);
	send_large(f, f->fd, 11, "Park", 3 << 20, false);
	assert_true(first_connection(f)->held);
	fixture_run(f, 200);
	assert_int_equal(2, ttrpc_server_connections(f->server));
	assert_false(f->server->reclaim.loop);
	close(other);
}

static void test_fairness(void **state)
{
	struct fixture *f = *state;
	uint8_t frames[64 * 1000];
	size_t length = 0;
	int other = fixture_connect(f);
	uint8_t answer[FRAME_HEADER + 6];

	for (uint32_t i = 0; i < 1000; i++)
		length += request_make(frames + length, 64, 2 * i + 1, "grpc.Health", "Check", NULL, 0, 0);
	/* Both are there before the loop looks; the flood came first. */
	assert_int_equal(length, send(f->fd, frames, length, MSG_DONTWAIT));
	assert_int_equal(length / 1000, send(other, frames, length / 1000, MSG_DONTWAIT));
	for (int i = 0; i < 2; i++)
		assert_int_equal(0, loop_run_once(f->loop, 0));
	assert_int_equal(sizeof(answer), recv(other, answer, sizeof(answer), MSG_DONTWAIT));
	/* The flood is not done by then. */
	assert_true(first_connection(f)->held);
	close(other);
}

static void test_flood_then_close(void **state)
{
	struct fixture *f = *state;
	uint8_t frames[64 * 300];
	size_t length = 0;

	/* Every request that came before the end is taken. */
	for (uint32_t i = 0; i < 300; i++)
		length += request_make(frames + length, 64, 2 * i + 1, "test.Service", "Park", NULL, 0, 0);
	assert_int_equal(length, send(f->fd, frames, length, MSG_DONTWAIT));
	shutdown(f->fd, SHUT_WR);
	fixture_settle(f);
	assert_int_equal(300, f->n_parked);
	assert_int_equal(300, f->disconnects);
	peer_expect_end(f, f->fd);
}

#define test(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_what_a_handler_keeps_is_charged),
		test(test_calls_are_bounded),
		test(test_peer_that_does_not_read),
		test(test_peer_that_does_not_read_and_dies),
		test(test_large_calls_are_bounded),
		test(test_held_back_peer_that_dies),
		test(test_all_connections_are_bounded),
		test(test_output_of_all_is_bounded),
		test(test_announced_body_costs_nothing),
		test(test_announced_bodies_hold_nobody_up),
		test(test_nobody_is_closed_for_one_that_holds_too_much),
		test(test_fairness),
		test(test_flood_then_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
