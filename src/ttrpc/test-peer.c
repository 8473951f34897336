/* SPDX-License-Identifier: Apache-2.0 */
/* See test-peer.h. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ttrpc/envelope.h"
#include "ttrpc/test-peer.h"

enum { PATIENCE_MS = 20000 };

static void handle_check(struct ttrpc_call *call, void *data)
{
	ttrpc_call_respond(call, "\x08\x01", 2);
}

static void handle_echo(struct ttrpc_call *call, void *data)
{
	ttrpc_call_respond(call, call->payload, call->payload_length);
}

static size_t wanted_size(const struct ttrpc_call *call)
{
	char digits[24] = "";

	assert_in_range(call->payload_length, 1, sizeof(digits) - 1);
	memcpy(digits, call->payload, call->payload_length);
	return strtoul(digits, NULL, 10);
}

static void handle_size(struct ttrpc_call *call, void *data)
{
	size_t size = wanted_size(call);
	uint8_t *answer = calloc(1, size + 1);

	ttrpc_call_respond(call, answer, size);
	free(answer);
}

static void on_sent(bool sent, void *data)
{
	struct fixture *f = data;

	assert_in_range(f->n_sent, 0, sizeof(f->sent) / sizeof(f->sent[0]) - 1);
	f->sent[f->n_sent++] = sent;
}

static void handle_notify(struct ttrpc_call *call, void *data)
{
	size_t size = wanted_size(call);
	uint8_t *answer = calloc(1, size + 1);

	ttrpc_call_respond_notify(call, answer, size, on_sent, data);
	free(answer);
}

static void handle_fail(struct ttrpc_call *call, void *data)
{
	ttrpc_call_fail_text(call, STATUS_NOT_FOUND, "not %s", "found");
}

static void on_end(struct ttrpc_call *call, enum ttrpc_end end, void *data)
{
	struct fixture *f = data;

	if (end == TTRPC_END_DEADLINE)
		f->deadlines++;
	else
		f->disconnects++;
}

static void handle_mute(struct ttrpc_call *call, void *data)
{
	struct fixture *f = data;

	assert_in_range(f->n_parked, 0, PARKED_MAX - 1);
	f->parked[f->n_parked++] = call;
}

static void handle_park(struct ttrpc_call *call, void *data)
{
	handle_mute(call, data);
	ttrpc_call_on_end(call, on_end, data);
}

static void handle_grow(struct ttrpc_call *call, void *data)
{
	assert_non_null(arena_alloc(call->arena, wanted_size(call)));
	handle_park(call, data);
}

static void handle_steal(struct ttrpc_call *call, void *data)
{
	struct arena *arena = ttrpc_call_steal_arena(call);
	const char *service = call->service;

	ttrpc_call_respond(call, NULL, 0);
	assert_string_equal(service, "test.Service");
	arena_free(arena);
}

static const struct ttrpc_method health_methods[] = {{"Check", handle_check}};
static const struct ttrpc_method test_methods[] = {
	{"Echo", handle_echo}, {"Size", handle_size}, {"Notify", handle_notify}, {"Fail", handle_fail},
	{"Park", handle_park}, {"Mute", handle_mute}, {"Grow", handle_grow},	 {"Steal", handle_steal},
};

static void on_flushed(void *data)
{
	struct fixture *f = data;

	f->flushed++;
}

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->loop = loop_new();
	assert_non_null(f->loop);
	f->server = ttrpc_server_new(f->loop);
	assert_non_null(f->server);
	assert_int_equal(0, ttrpc_server_add_service(f->server, "grpc.Health", health_methods, 1, f));
	assert_int_equal(0, ttrpc_server_add_service(f->server, "test.Service", test_methods,
						     sizeof(test_methods) / sizeof(test_methods[0]), f));
	ttrpc_server_on_flushed(f->server, on_flushed, f);
	f->fd = fixture_connect(f);
	*state = f;
	return 0;
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	ttrpc_server_free(f->server);
	loop_free(f->loop);
	if (f->fd >= 0)
		close(f->fd);
	free(f);
	return 0;
}

int fixture_connect(struct fixture *f)
{
	int pair[2];

	assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	assert_int_equal(0, ttrpc_server_adopt(f->server, pair[1], NULL));
	return pair[0];
}

void fixture_settle(struct fixture *f)
{
	for (int i = 0; i < 20; i++)
		assert_int_equal(0, loop_run_once(f->loop, 0));
}

void fixture_run(struct fixture *f, unsigned ms)
{
	uint64_t end = loop_now() + ms;

	while (loop_now() < end)
		assert_int_equal(0, loop_run_once(f->loop, (int)(end - loop_now())));
}

static int hex_digit(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

size_t hex_decode(const char *hex, uint8_t *out, size_t size)
{
	size_t n = 0;

	for (; *hex; hex++) {
		if (*hex == ' ')
			continue;
		assert_in_range(n, 0, size - 1);
		assert_true(hex[1] != '\0');
		out[n++] = (uint8_t)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
		hex++;
	}
	return n;
}

void peer_send(struct fixture *f, int fd, const void *data, size_t length)
{
	uint64_t end = loop_now() + PATIENCE_MS;

	while (length > 0) {
		ssize_t n = send(fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			data = (const char *)data + n;
			length -= (size_t)n;
			continue;
		}
		assert_int_equal(EAGAIN, errno);
		assert_true(loop_now() < end);
		assert_int_equal(0, loop_run_once(f->loop, 1));
	}
}

void peer_send_hex(struct fixture *f, int fd, const char *hex)
{
	uint8_t bytes[512];

	peer_send(f, fd, bytes, hex_decode(hex, bytes, sizeof(bytes)));
}

size_t request_make(uint8_t *out, size_t size, uint32_t stream, const char *service, const char *method,
		    const void *payload, size_t length, int64_t timeout_ns)
{
	struct envelope_request request;
	size_t total;

	assert_int_equal(
		0, envelope_encode_request(&request, stream, service, method, length, timeout_ns, NULL));
	total = request.prefix_length + length + request.suffix_length;
	assert_in_range(total, 0, size);
	memcpy(out, request.prefix, request.prefix_length);
	if (length > 0)
		memcpy(out + request.prefix_length, payload, length);
	memcpy(out + request.prefix_length + length, request.suffix, request.suffix_length);
	return total;
}

void peer_call(struct fixture *f, int fd, uint32_t stream, const char *method, const char *payload,
	       int64_t timeout_ns)
{
	uint8_t frame[512];

	peer_send(f, fd, frame,
		  request_make(frame, sizeof(frame), stream, "test.Service", method, payload, strlen(payload),
			       timeout_ns));
}

void peer_receive(struct fixture *f, int fd, void *data, size_t length)
{
	uint64_t end = loop_now() + PATIENCE_MS;

	while (length > 0) {
		ssize_t n = recv(fd, data, length, MSG_DONTWAIT);

		assert_int_not_equal(0, n);
		if (n > 0) {
			data = (char *)data + n;
			length -= (size_t)n;
			continue;
		}
		assert_int_equal(EAGAIN, errno);
		assert_true(loop_now() < end);
		assert_int_equal(0, loop_run_once(f->loop, 1));
	}
}

void peer_expect_hex(struct fixture *f, int fd, const char *hex)
{
	uint8_t want[512], got[512];
	size_t length = hex_decode(hex, want, sizeof(want));

	peer_receive(f, fd, got, length);
	assert_memory_equal(want, got, length);
}

struct frame peer_receive_frame(struct fixture *f, int fd)
{
	uint8_t head[FRAME_HEADER];
	struct frame frame;

	peer_receive(f, fd, head, sizeof(head));
	frame_header_decode(head, &frame.header);
	assert_in_range(frame.header.length, 0, TTRPC_MESSAGE_MAX);
	frame.body = malloc(frame.header.length + 1);
	peer_receive(f, fd, frame.body, frame.header.length);
	return frame;
}

static struct frame receive_response(struct fixture *f, int fd, uint32_t stream, struct ttrpc_reply *reply)
{
	struct frame frame = peer_receive_frame(f, fd);

	assert_int_equal(FRAME_RESPONSE, frame.header.type);
	assert_int_equal(0, frame.header.flags);
	assert_int_equal(stream, frame.header.stream);
	*reply = (struct ttrpc_reply){0};
	assert_int_equal(0, envelope_decode_response(frame.body, frame.header.length, reply, NULL));
	return frame;
}

void peer_expect_error(struct fixture *f, int fd, uint32_t stream, uint32_t code, const char *text)
{
	struct ttrpc_reply reply;
	struct frame frame = receive_response(f, fd, stream, &reply);

	assert_int_equal(code, reply.status.code);
	assert_string_equal(text, reply.status.text);
	assert_int_equal(0, reply.payload_length);
	free(frame.body);
}

void peer_expect_ok(struct fixture *f, int fd, uint32_t stream, const char *payload)
{
	struct ttrpc_reply reply;
	struct frame frame = receive_response(f, fd, stream, &reply);

	assert_int_equal(STATUS_OK, reply.status.code);
	assert_int_equal(strlen(payload), reply.payload_length);
	if (reply.payload_length > 0)
		assert_memory_equal(payload, reply.payload, reply.payload_length);
	free(frame.body);
}

void peer_expect_silence(struct fixture *f, int fd)
{
	char byte;

	fixture_settle(f);
	assert_int_equal(-1, recv(fd, &byte, 1, MSG_DONTWAIT));
	assert_int_equal(EAGAIN, errno);
}

void peer_expect_alive(struct fixture *f, int fd)
{
	peer_send_hex(f, fd, "00000014 7fffffff 01 00 0a0b677270632e4865616c7468 1205436865636b");
	peer_expect_hex(f, fd, "00000006 7fffffff 02 00 0a00 12020801");
}

void peer_expect_end(struct fixture *f, int fd)
{
	char byte;
	ssize_t n;

	fixture_settle(f);
	n = recv(fd, &byte, 1, MSG_DONTWAIT);
	/* The server closes with unread requests in its socket: a reset. */
	assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
}
