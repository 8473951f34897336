/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The streams of a process: what stream.c and input.c say, carried by calls.
 *
 * A read's bytes go from the pipe into the memory of its call, behind room for the few bytes that make them a
 * ReadStreamResponse, and from there to the socket. The memory stays until the transport says what became of it, so that the
 * bytes can go back to the stream.
 */

#include <string.h>

#include "agent/entry.h"
#include "agent/rpc.h"
#include "agent/sandbox.h"
#include "base/fd.h"
#include "proto/agent.pb-c.h"

enum { HEADER_MAX = 8 }; /* tag and length of the one field */

/* --- ReadStdout, ReadStderr --- */

struct carried_read {
	struct stream_read read;
	struct ttrpc_call *call;
	struct arena *arena; /* ours, once there are bytes in it */
};

static uint8_t *read_room(struct stream_read *read, size_t size)
{
	struct carried_read *carried = list_entry(read, struct carried_read, read);
	uint8_t *memory = arena_alloc_raw(carried->call->arena, size + HEADER_MAX);
	return memory ? memory + HEADER_MAX : NULL;
}

/* Writes tag and length right in front of the data. The start of the message. */
static uint8_t *put_header(uint8_t *data, size_t length)
{
	uint8_t header[HEADER_MAX];
	size_t n = 0;
	header[n++] = 1 << 3 | 2; /* field 1, length-delimited */
	for (; length >= 0x80; length >>= 7)
		header[n++] = (uint8_t)(length | 0x80);
	header[n++] = (uint8_t)length;
	return memcpy(data - n, header, n);
}

static void read_sent(bool sent, void *data)
{
	struct carried_read *carried = data;
	struct arena *arena = carried->arena;
	stream_settle(&carried->read, sent);
	arena_free(arena);
}

static void read_deliver(struct stream_read *read, const struct error *e)
{
	struct carried_read *carried = list_entry(read, struct carried_read, read);
	struct ttrpc_call *call = carried->call;
	if (e) {
		ttrpc_call_fail(call, e);
		return;
	}
	if (read->length == 0) {
		ttrpc_call_respond(call, NULL, 0);
		return;
	}
	uint8_t *message = put_header(read->data, read->length);
	carried->arena = ttrpc_call_steal_arena(call);
	ttrpc_call_respond_notify(call, message, (size_t)(read->data - message) + read->length, read_sent,
				  carried);
}

static void read_call_ended(struct ttrpc_call *call, enum ttrpc_end end, void *data)
{
	struct carried_read *carried = data;
	stream_forget(&carried->read);
	if (end == TTRPC_END_DEADLINE)
		ttrpc_call_fail_timeout(call);
}

static void read_stream(struct ttrpc_call *call, const struct task *task, struct stream *stream,
			uint32_t length)
{
	if (!stream && task->exited) {
		ttrpc_call_respond(call, NULL, 0);
		return;
	}
	if (!stream) {
		ttrpc_call_fail_text(call, STATUS_INTERNAL, "cannot get stream reader");
		return;
	}
	struct carried_read *carried = arena_new_object(call->arena, struct carried_read);
	if (!carried) {
		ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory to wait");
		return;
	}
	carried->call = call;
	carried->read.max = length;
	carried->read.room = read_room;
	carried->read.deliver = read_deliver;
	ttrpc_call_on_end(call, read_call_ended, carried);
	stream_ask(stream, &carried->read);
}

static void read_stdout(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__ReadStreamRequest *request = data;
	struct task *task = rpc_find_process(sandbox, call, request->container_id, request->exec_id);
	if (task)
		read_stream(call, task, task->through[1] ? NULL : task->output, request->len);
}

/* A terminal has one stream, whichever name it is asked for by. */
static void read_stderr(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__ReadStreamRequest *request = data;
	struct task *task = rpc_find_process(sandbox, call, request->container_id, request->exec_id);
	if (!task)
		return;
	bool terminal = task->process && task->process->terminal;
	struct stream *stream = terminal ? task->output : task->error_output;
	read_stream(call, task, task->through[terminal ? 1 : 2] ? NULL : stream, request->len);
}

/* --- WriteStdin, CloseStdin --- */

struct carried_write {
	struct input_write write;
	struct ttrpc_call *call;
};

static void write_done(struct input_write *write, const struct error *e)
{
	struct carried_write *carried = list_entry(write, struct carried_write, write);
	Grpc__WriteStreamResponse answer = GRPC__WRITE_STREAM_RESPONSE__INIT;
	if (e) {
		ttrpc_call_fail(carried->call, e);
		return;
	}
	answer.len = (uint32_t)write->length;
	rpc_respond(carried->call, &answer);
}

static void write_call_ended(struct ttrpc_call *call, enum ttrpc_end end, void *data)
{
	struct carried_write *carried = data;
	input_forget(&carried->write);
	if (end == TTRPC_END_DEADLINE)
		ttrpc_call_fail_timeout(call);
}

static void write_stdin(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__WriteStreamRequest *request = data;
	struct task *task = rpc_find_process(sandbox, call, request->container_id, request->exec_id);
	if (!task)
		return;
	if (request->data.len == 0) {
		if (task->input)
			input_close(task->input);
		ttrpc_call_respond(call, NULL, 0);
		return;
	}
	if (!task->input || task->through[0]) {
		ttrpc_call_fail_text(call, STATUS_INTERNAL,
				     task->exited ? "write: EPIPE: Broken pipe" : "Cannot get writer");
		return;
	}
	struct carried_write *carried = arena_new_object(call->arena, struct carried_write);
	if (!carried) {
		ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory to wait");
		return;
	}
	carried->call = call;
	carried->write.data = request->data.data;
	carried->write.length = request->data.len;
	carried->write.done = write_done;
	ttrpc_call_on_end(call, write_call_ended, carried);
	input_write(task->input, &carried->write);
}

static void close_stdin(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__CloseStdinRequest *request = data;
	struct task *task = rpc_find_process(sandbox, call, request->container_id, request->exec_id);
	if (!task)
		return;
	if (task->input)
		input_close(task->input);
	rpc_respond_empty(call);
}

static const struct rpc_method methods[] = {
	{"CloseStdin", &grpc__close_stdin_request__descriptor, close_stdin},
	{"ReadStderr", &grpc__read_stream_request__descriptor, read_stderr},
	{"ReadStdout", &grpc__read_stream_request__descriptor, read_stdout},
	{"WriteStdin", &grpc__write_stream_request__descriptor, write_stdin},
};

const struct rpc_group rpc_stdio_group = {"grpc.AgentService", methods, array_length(methods)};
