/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call, from the arrival of its frame to its answer.
 *
 * It lies at the start of its own arena, with the frame behind it, so that a parked call is one small
 * allocation. Its deadline is armed only when the handler has returned without an answer: most calls never
 * see the timer.
 *
 * The handler's pointer stays good until the handler answers, or was told that the call is gone. So a call
 * that the library had to answer itself (deadline), or whose connection died, without a handler that wants to
 * be told, is kept, answered or orphaned, until the handler comes with its answer, which then goes nowhere.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "ttrpc/envelope.h"
#include "ttrpc/server.h"

/* Room for what the handler decodes, so that a small call needs no second block: a multiple of its frame. */
enum { DECODE_ROOM_MIN = 128, DECODE_ROOM_MAX = 768 };

static struct call *call_of(struct ttrpc_call *public)
{
	return container_of(public, struct call, public);
}

size_t call_size(uint32_t length)
{
	size_t room = (size_t)length * 3;

	if (room < DECODE_ROOM_MIN)
		room = DECODE_ROOM_MIN;
	if (room > DECODE_ROOM_MAX)
		room = DECODE_ROOM_MAX;
	return sizeof(struct call) + length + 1 + room;
}

static void charge(struct call *call, size_t bytes)
{
	struct ttrpc_connection *connection = call->public.connection;

	connection->bytes += bytes;
	server_charge(call->server, bytes);
	call->bytes += bytes;
}

static void discharge(struct call *call)
{
	if (call->public.connection)
		call->public.connection->bytes -= call->bytes;
	server_discharge(call->server, call->bytes);
	call->bytes = 0;
}

struct call *call_new(struct ttrpc_connection *connection, const struct frame_header *header)
{
	struct arena *arena = arena_new(call_size(header->length));
	struct call *call = arena ? arena_alloc_raw(arena, sizeof(*call) + header->length + 1) : NULL;

	if (!call) {
		arena_free(arena);
		return NULL;
	}
	/* Not the body: four million bytes that nobody sends cost nothing as long as they are not touched. */
	memset(call, 0, sizeof(*call));
	call->public.service = call->public.method = "";
	call->public.arena = arena;
	call->public.connection = connection;
	call->server = connection->server;
	call->stream.id = header->stream;
	call->length = header->length;
	charge(call, call_size(header->length));
	return call;
}

static void call_destroy(struct call *call)
{
	if (call->gone)
		*call->gone = true;
	loop_timer_remove(&call->timer);
	if (!call->stolen)
		arena_free(call->public.arena);
}

void call_discard(struct call *call)
{
	discharge(call);
	call_destroy(call);
}

static void call_begin(struct call *call)
{
	struct ttrpc_connection *connection = call->public.connection;

	streams_add(&connection->streams, &call->stream);
	list_append(&connection->calls, &call->link);
	connection->n_calls++;
	call->server->n_calls++;
}

/* Takes it off its connection. It still counts as a call of the server. */
static void call_detach(struct call *call)
{
	struct ttrpc_connection *connection = call->public.connection;

	discharge(call);
	list_remove(&call->link);
	loop_timer_remove(&call->timer);
	if (!connection)
		return;
	if (!call->answered)
		streams_remove(&connection->streams, &call->stream);
	connection->n_calls--;
	call->public.connection = NULL;
}

static void call_free(struct call *call)
{
	call_detach(call);
	call->server->n_calls--;
	call_destroy(call);
}

void call_free_orphan(struct call *call)
{
	call_free(call);
}

void call_disconnect(struct call *call)
{
	call_detach(call);
	if (!call->ended) {
		list_append(&call->server->orphans, &call->link);
		return;
	}
	call->ending = true;
	call->ended(&call->public, TTRPC_END_DISCONNECT, call->ended_data);
	call->server->n_calls--;
	call_destroy(call);
}

/* Sends the answer, if there is still somebody to have it, and ends the call. The pieces may lie in its
 * arena. */
static void call_answer(struct call *call, const struct iovec *pieces, size_t count, writer_sent_fn sent,
			void *data)
{
	struct ttrpc_connection *connection = call->public.connection;
	int r = -EPIPE;

	if (!call->ending) {
		if (connection && !call->answered)
			r = connection_send(connection, pieces, count, sent, data);
		call_free(call);
	}
	if (r != 0 && sent)
		sent(r > 0, data);
}

static void call_answer_error(struct call *call, uint32_t code, const char *text)
{
	uint8_t frame[ENVELOPE_ERROR_MAX];
	struct iovec piece = {.iov_base = frame};

	piece.iov_len = envelope_encode_error(frame, call->stream.id, code, text);
	call_answer(call, &piece, 1, NULL, NULL);
}

static void on_deadline(struct loop_timer *timer)
{
	struct call *call = container_of(timer, struct call, timer);
	struct ttrpc_connection *connection = call->public.connection;

	if (call->ended) {
		call->ended(&call->public, TTRPC_END_DEADLINE, call->ended_data);
		return;
	}
	streams_remove(&connection->streams, &call->stream);
	call->answered = true;
	connection_send_error(connection, call->stream.id, STATUS_DEADLINE_EXCEEDED, "timeout");
}

static void arm_deadline(struct call *call)
{
	int64_t ns = call->public.timeout_ns;

	/* Negative is none, as 0 is (reference 01, 1.8). */
	if (ns > 0)
		loop_timer_set(call->server->loop, &call->timer,
			       (uint64_t)ns / 1000000 + ((uint64_t)ns % 1000000 != 0), on_deadline);
}

static void call_run(struct call *call, const struct ttrpc_method *method, void *data)
{
	bool gone = false;
	size_t held;

	call->gone = &gone;
	method->handler(&call->public, data);
	if (gone)
		return;
	call->gone = NULL;
	/* Orphaned meanwhile, by a handler that ran the loop. */
	if (!call->public.connection)
		return;
	held = arena_footprint(call->public.arena);
	if (held > call->bytes)
		charge(call, held - call->bytes);
	arm_deadline(call);
}

static void refuse(struct call *call, enum status_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Answers a call that is not in flight yet. */
static void refuse(struct call *call, enum status_code code, const char *format, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list arguments;

	va_start(arguments, format);
	/* What does not fit is cut: a name may be four million bytes long. */
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	connection_send_error(call->public.connection, call->stream.id, code, text);
	call_discard(call);
}

void call_dispatch(struct call *call)
{
	struct ttrpc_connection *connection = call->public.connection;
	const struct ttrpc_method *method;
	const struct service *service;
	struct error e = ERROR_INIT;

	if (streams_find(&connection->streams, call->stream.id)) {
		refuse(call, STATUS_INVALID_ARGUMENT, "stream id %u is in use", call->stream.id);
		return;
	}
	if (envelope_decode_request(call->body, call->length, call->public.arena, &call->public, &e) < 0) {
		refuse(call, (enum status_code)e.code, "%s", e.text);
		return;
	}
	service = server_find_service(call->server, call->public.service);
	if (!service) {
		refuse(call, STATUS_INVALID_ARGUMENT, "%s service does not exist", call->public.service);
		return;
	}
	method = service_find_method(service, call->public.method);
	if (!method) {
		refuse(call, STATUS_UNIMPLEMENTED, "%s method", call->public.method);
		return;
	}
	call_begin(call);
	call_run(call, method, service->data);
}

void ttrpc_call_respond_notify(struct ttrpc_call *public, const void *payload, size_t length,
			       void (*sent)(bool sent, void *data), void *data)
{
	struct call *call = call_of(public);
	uint8_t head[ENVELOPE_OK_MAX];
	struct iovec pieces[2] = {{.iov_base = head}, {.iov_base = (void *)payload, .iov_len = length}};
	size_t size = length > TTRPC_MESSAGE_MAX ? length : envelope_ok_size(length);

	if (size > TTRPC_MESSAGE_MAX) {
		ttrpc_call_fail_text(public, STATUS_INVALID_ARGUMENT,
				     "message length %zu exceed maximum message size of %d", size,
				     TTRPC_MESSAGE_MAX);
		if (sent)
			sent(false, data);
		return;
	}
	pieces[0].iov_len = envelope_encode_ok(head, call->stream.id, length);
	call_answer(call, pieces, length > 0 ? 2 : 1, sent, data);
}

void ttrpc_call_respond(struct ttrpc_call *call, const void *payload, size_t length)
{
	ttrpc_call_respond_notify(call, payload, length, NULL, NULL);
}

void ttrpc_call_fail(struct ttrpc_call *call, const struct error *e)
{
	call_answer_error(call_of(call), e->code == STATUS_OK ? STATUS_INTERNAL : e->code, e->text);
}

void ttrpc_call_fail_text(struct ttrpc_call *call, enum status_code code, const char *format, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	call_answer_error(call_of(call), code == STATUS_OK ? STATUS_INTERNAL : code, text);
}

void ttrpc_call_fail_timeout(struct ttrpc_call *call)
{
	call_answer_error(call_of(call), STATUS_DEADLINE_EXCEEDED, "timeout");
}

void ttrpc_call_on_end(struct ttrpc_call *public,
		       void (*ended)(struct ttrpc_call *, enum ttrpc_end, void *data), void *data)
{
	struct call *call = call_of(public);

	call->ended = ended;
	call->ended_data = data;
}

struct arena *ttrpc_call_steal_arena(struct ttrpc_call *public)
{
	call_of(public)->stolen = true;
	return public->arena;
}
