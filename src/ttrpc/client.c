/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side of one connection: numbers its calls 1, 3, 5, …, matches answers by number.
 *
 * Answers for calls that nobody waits for any more (their time was over) are thrown away unread, as are those
 * that are longer than a message may be, which fail their own call only. A call's time is sent to the server
 * and kept here as well.
 *
 * A reply function may make calls and may free the client: whoever has a reply function below him on the
 * stack is counted, and the memory goes when the last has returned.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "ttrpc/dial.h"
#include "ttrpc/envelope.h"
#include "ttrpc/reader.h"
#include "ttrpc/streams.h"
#include "ttrpc/ttrpc.h"
#include "ttrpc/writer.h"

enum { FRAMES_PER_ROUND = 64 };

struct pending {
	struct stream stream;
	struct list link; /* of client->pending, oldest first */
	struct loop_timer timer;
	struct ttrpc_client *client;
	ttrpc_reply_fn reply;
	void *data;
};

struct ttrpc_client {
	struct loop *loop;
	struct loop_fd source;
	struct loop_timer turn; /* frames that were read and not taken yet */
	struct loop_defer closing;
	struct reader reader;
	struct writer writer;
	struct streams streams;
	struct list pending;
	uint32_t next_stream;
	uint8_t *body; /* the answer that is being received */
	unsigned busy;
	bool taking; /* answers: a reply function may be below on the stack */
	bool closed; /* the connection has ended */
	bool freed;
	void (*on_close)(struct ttrpc_client *, void *);
	void *on_close_data;
};

static void client_enter(struct ttrpc_client *client)
{
	client->busy++;
}

static void client_destroy(struct ttrpc_client *client)
{
	free(client->body);
	reader_deinit(&client->reader);
	writer_deinit(&client->writer);
	streams_deinit(&client->streams);
	free(client);
}

static void client_leave(struct ttrpc_client *client)
{
	if (--client->busy == 0 && client->freed)
		client_destroy(client);
}

static void pending_forget(struct pending *pending)
{
	streams_remove(&pending->client->streams, &pending->stream);
	loop_timer_remove(&pending->timer);
	list_remove(&pending->link);
	free(pending);
}

static void pending_reply(struct pending *pending, const struct ttrpc_reply *reply)
{
	struct ttrpc_client *client = pending->client;
	ttrpc_reply_fn fn = pending->reply;
	void *data = pending->data;

	pending_forget(pending);
	fn(client, reply, data);
}

static void pending_fail(struct pending *pending, enum status_code code, int errnum, const char *text)
{
	struct ttrpc_reply reply = {.status = ERROR_INIT};

	error_set(&reply.status, code, errnum, "%s", text);
	pending_reply(pending, &reply);
}

/* Unhooks it; from now on calls are refused, and those that wait are answered in the next turn of the loop.
 * */
static void client_disconnect(struct ttrpc_client *client)
{
	int fd = client->source.fd;

	client->closed = true;
	loop_timer_remove(&client->turn);
	loop_fd_remove(&client->source);
	client->source.fd = -1;
	fd_close(fd);
}

static void fail_all(struct ttrpc_client *client)
{
	while (!list_empty(&client->pending))
		pending_fail(list_first_entry(&client->pending, struct pending, link), STATUS_UNAVAILABLE,
			     EPIPE, "ttrpc: closed");
}

static void on_closing(struct loop_defer *defer)
{
	struct ttrpc_client *client = container_of(defer, struct ttrpc_client, closing);

	client_enter(client);
	fail_all(client);
	if (!client->freed && client->on_close)
		client->on_close(client, client->on_close_data);
	client_leave(client);
}

static void client_lost(struct ttrpc_client *client)
{
	if (client->closed)
		return;
	client_disconnect(client);
	loop_defer_add(client->loop, &client->closing, on_closing);
}

static void client_watch(struct ttrpc_client *client)
{
	uint32_t events = EPOLLIN | (writer_empty(&client->writer) ? 0 : EPOLLOUT);

	if (!client->closed && events != client->source.events && loop_fd_modify(&client->source, events) < 0)
		client_lost(client);
}

static struct pending *find_pending(const struct ttrpc_client *client, uint32_t id)
{
	struct stream *stream = streams_find(&client->streams, id);

	return stream ? container_of(stream, struct pending, stream) : NULL;
}

static bool answer_begin(struct reader *reader)
{
	struct ttrpc_client *client = container_of(reader, struct ttrpc_client, reader);
	const struct frame_header *header = &reader->header;

	if (client->closed)
		return false;
	if (header->type == FRAME_RESPONSE && header->length <= TTRPC_MESSAGE_MAX && header->length > 0 &&
	    find_pending(client, header->stream))
		client->body = malloc(header->length);
	reader->body = client->body;
	return true;
}

static void answer_take(struct pending *pending, const struct frame_header *header, const uint8_t *body)
{
	struct ttrpc_reply reply = {.status = ERROR_INIT};
	struct error e = ERROR_INIT;

	if (header->type != FRAME_RESPONSE) {
		error_set(&reply.status, STATUS_INTERNAL, EPROTO, "answered by a message of type %u",
			  header->type);
	} else if (header->length > TTRPC_MESSAGE_MAX) {
		error_set(&reply.status, STATUS_RESOURCE_EXHAUSTED, EMSGSIZE,
			  "message length %u exceed maximum message size of %d", header->length,
			  TTRPC_MESSAGE_MAX);
	} else if (header->length > 0 && !body) {
		error_set(&reply.status, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
	} else if (envelope_decode_response(body, header->length, &reply, &e) < 0) {
		reply = (struct ttrpc_reply){.status = e};
	}
	pending_reply(pending, &reply);
}

static void answer_end(struct reader *reader)
{
	struct ttrpc_client *client = container_of(reader, struct ttrpc_client, reader);
	struct pending *pending = find_pending(client, reader->header.stream);
	_cleanup_free_ uint8_t *body = steal_pointer(client->body);

	if (pending)
		answer_take(pending, &reader->header, body);
}

static const struct reader_ops reader_ops = {.begin = answer_begin, .end = answer_end};

static void client_take(struct ttrpc_client *client);

static void on_turn(struct loop_timer *timer)
{
	client_take(container_of(timer, struct ttrpc_client, turn));
}

static void client_take(struct ttrpc_client *client)
{
	int r;

	client_enter(client);
	client->taking = true;
	r = reader_run(&client->reader, client->source.fd, FRAMES_PER_ROUND);
	client->taking = false;
	if (r == READER_EOF || r < 0)
		client_lost(client);
	else if (r == READER_HELD && !client->closed)
		loop_timer_set(client->loop, &client->turn, 0, on_turn);
	client_leave(client);
}

static void on_socket(struct loop_fd *source, uint32_t events)
{
	struct ttrpc_client *client = container_of(source, struct ttrpc_client, source);

	client_enter(client);
	if (events & EPOLLOUT && writer_flush(&client->writer, source->fd) < 0)
		client_lost(client);
	/* One that is being read already, further down the stack, has its place in the stream there. */
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !client->closed && !client->taking)
		client_take(client);
	client_watch(client);
	client_leave(client);
}

struct ttrpc_client *ttrpc_client_connect(struct loop *loop, const char *address, int timeout_ms,
					  struct error *e)
{
	_cleanup_fd_ int fd = dial(address, timeout_ms, e);
	struct ttrpc_client *client;
	int r;

	if (fd < 0)
		return NULL;
	client = calloc(1, sizeof(*client));
	if (!client) {
		error_errno(e, ENOMEM, "connect to \"%s\"", address);
		return NULL;
	}
	client->loop = loop;
	client->reader.ops = &reader_ops;
	client->next_stream = 1;
	writer_init(&client->writer);
	list_init(&client->pending);
	r = loop_fd_add(loop, &client->source, fd, EPOLLIN, on_socket);
	if (r < 0) {
		free(client);
		error_errno(e, -r, "connect to \"%s\"", address);
		return NULL;
	}
	client->source.fd = fd_steal(&fd);
	return client;
}

void ttrpc_client_free(struct ttrpc_client *client)
{
	if (!client || client->freed)
		return;
	client->freed = true;
	client_enter(client);
	if (!client->closed)
		client_disconnect(client);
	loop_defer_remove(&client->closing);
	fail_all(client);
	client_leave(client);
}

void ttrpc_client_on_close(struct ttrpc_client *client, void (*fn)(struct ttrpc_client *, void *), void *data)
{
	client->on_close = fn;
	client->on_close_data = data;
}

static void on_timeout(struct loop_timer *timer)
{
	struct pending *pending = container_of(timer, struct pending, timer);
	struct ttrpc_client *client = pending->client;

	client_enter(client);
	pending_fail(pending, STATUS_DEADLINE_EXCEEDED, ETIMEDOUT, "timeout");
	client_leave(client);
}

static struct pending *pending_new(struct ttrpc_client *client, ttrpc_reply_fn reply, void *data)
{
	struct pending *pending = calloc(1, sizeof(*pending));

	if (!pending)
		return NULL;
	while (streams_find(&client->streams, client->next_stream))
		client->next_stream += 2;
	pending->stream.id = client->next_stream;
	client->next_stream += 2;
	pending->client = client;
	pending->reply = reply;
	pending->data = data;
	streams_add(&client->streams, &pending->stream);
	list_append(&client->pending, &pending->link);
	return pending;
}

static int closed_error(struct error *e)
{
	return error_set(e, STATUS_UNAVAILABLE, EPIPE, "ttrpc: closed");
}

static int send_request(struct ttrpc_client *client, const struct envelope_request *request,
			const void *payload, size_t length)
{
	struct iovec pieces[3] = {
		{.iov_base = (void *)request->prefix, .iov_len = request->prefix_length},
		{.iov_base = (void *)payload, .iov_len = length},
		{.iov_base = (void *)request->suffix, .iov_len = request->suffix_length},
	};

	return writer_send(&client->writer, client->source.fd, pieces, 3, true, NULL, NULL);
}

static int client_call(struct ttrpc_client *client, const char *service, const char *method,
		       const void *payload, size_t length, int64_t timeout_ns, ttrpc_reply_fn reply,
		       void *data, struct pending **out, struct error *e)
{
	struct envelope_request request;
	struct pending *pending;
	int r;

	if (client->closed)
		return closed_error(e);
	pending = pending_new(client, reply, data);
	if (!pending)
		return error_errno(e, ENOMEM, "call %s", method);
	r = envelope_encode_request(&request, pending->stream.id, service, method, length, timeout_ns, e);
	if (r < 0) {
		pending_forget(pending);
		return r;
	}
	if (send_request(client, &request, payload, length) < 0) {
		pending_forget(pending);
		client_lost(client);
		return closed_error(e);
	}
	client_watch(client);
	if (timeout_ns > 0)
		loop_timer_set(client->loop, &pending->timer,
			       (uint64_t)timeout_ns / 1000000 + ((uint64_t)timeout_ns % 1000000 != 0),
			       on_timeout);
	*out = pending;
	return 0;
}

int ttrpc_client_call(struct ttrpc_client *client, const char *service, const char *method,
		      const void *payload, size_t length, int64_t timeout_ns, ttrpc_reply_fn reply,
		      void *data, struct error *e)
{
	struct pending *pending;

	return client_call(client, service, method, payload, length, timeout_ns, reply, data, &pending, e);
}

struct waiter {
	struct arena *arena;
	const uint8_t *answer;
	size_t answer_length;
	struct error status;
	bool done;
};

static void on_waited(struct ttrpc_client *client, const struct ttrpc_reply *reply, void *data)
{
	struct waiter *waiter = data;

	waiter->done = true;
	waiter->status = reply->status;
	if (reply->status.code != STATUS_OK)
		return;
	waiter->answer = arena_memdup(waiter->arena, reply->payload, reply->payload_length);
	waiter->answer_length = reply->payload_length;
	if (!waiter->answer)
		error_set(&waiter->status, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
}

int ttrpc_client_call_sync(struct ttrpc_client *client, const char *service, const char *method,
			   const void *payload, size_t length, int64_t timeout_ns, struct arena *arena,
			   const uint8_t **answer, size_t *answer_length, struct error *e)
{
	struct waiter waiter = {.arena = arena};
	struct loop *loop = client->loop;
	struct pending *pending;
	int r;

	if (client->taking)
		return error_errno(e, EDEADLK, "call %s from within a reply", method);
	r = client_call(client, service, method, payload, length, timeout_ns, on_waited, &waiter, &pending,
			e);
	if (r < 0)
		return r;
	while (!waiter.done) {
		r = loop_run_once(loop, -1);
		if (r < 0 && !waiter.done) {
			/* The waiter goes with this stack frame. */
			pending_forget(pending);
			return error_errno(e, -r, "wait for the answer");
		}
	}
	if (waiter.status.code != STATUS_OK) {
		if (e)
			*e = waiter.status;
		return error_result(&waiter.status);
	}
	*answer = waiter.answer;
	*answer_length = waiter.answer_length;
	return 0;
}
