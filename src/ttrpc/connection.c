/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of the server: frames in, answers out.
 *
 * Only requests get memory. A frame that will be refused whatever it says (too long, even stream id, not a
 * request, one call too many) is thrown away as it arrives and answered when its end is there, so that the
 * stream stays in step (reference 01, 1.5).
 *
 * It is not read while too much is queued for it, or its next frame does not fit into what calls may hold.
 * Its peer's going away is noticed meanwhile by EPOLLRDHUP. Answers made while further requests of the same
 * read are at hand leave together, after the last.
 *
 * Death comes in two steps: what finds the socket broken may lie deep inside of a handler, so it only marks
 * the connection and unhooks it from the loop; calls are ended and memory is freed at the end of the loop's
 * round. The peer's closing, also of its sending side only, ends all calls; what had been answered before is
 * still written, for a while.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "ttrpc/envelope.h"
#include "ttrpc/server.h"

/* An answer as large as this is written from the handler's memory even if others could be gathered with it.
 * */
enum { WORTH_A_WRITE = 8192 };

/* One that is held back by what all have queued has something queued itself: that it leaves is noticed. */
static bool output_full(const struct ttrpc_connection *connection)
{
	size_t queued = connection->writer.queued;

	return queued > CONNECTION_OUTPUT_MAX ||
	       (queued > CONNECTION_RESERVE && connection->server->output > SERVER_OUTPUT_MAX);
}

/* Tells the server what the queue has become, and when it has become empty, or is no more. */
static void connection_count(struct ttrpc_connection *connection)
{
	bool unflushed = !writer_empty(&connection->writer);

	connection->server->output += connection->writer.queued - connection->output;
	connection->output = connection->writer.queued;
	if (unflushed == connection->unflushed)
		return;
	connection->unflushed = unflushed;
	server_count_unflushed(connection->server, unflushed ? 1 : -1);
}

static void end_calls(struct ttrpc_connection *connection)
{
	if (connection->incoming)
		call_discard(steal_pointer(connection->incoming));
	while (!list_empty(&connection->calls))
		call_disconnect(list_first_entry(&connection->calls, struct call, link));
}

void connection_free(struct ttrpc_connection *connection)
{
	int fd = connection->source.fd;

	connection->dead = true;
	loop_fd_remove(&connection->source);
	loop_timer_remove(&connection->timer);
	loop_defer_remove(&connection->burial);
	end_calls(connection);
	writer_deinit(&connection->writer);
	connection_count(connection);
	reader_deinit(&connection->reader);
	streams_deinit(&connection->streams);
	list_remove(&connection->waiting);
	list_remove(&connection->link);
	connection->server->n_connections--;
	fd_close(fd);
	free(connection);
}

static void on_burial(struct loop_defer *defer)
{
	struct ttrpc_connection *connection = container_of(defer, struct ttrpc_connection, burial);

	/* Whoever is still taking frames from it comes back to this. */
	if (connection->taking == 0)
		connection_free(connection);
}

static void bury(struct ttrpc_connection *connection)
{
	loop_defer_remove(&connection->burial);
	loop_defer_add(connection->server->loop, &connection->burial, on_burial);
}

static void connection_kill(struct ttrpc_connection *connection)
{
	int fd = connection->source.fd;

	if (connection->dead)
		return;
	connection->dead = true;
	loop_fd_remove(&connection->source);
	connection->source.fd = fd;
	loop_timer_remove(&connection->timer);
	list_remove(&connection->waiting);
	bury(connection);
}

/* Held by its budget of frames alone: nothing else would call it again. */
static bool wants_turn(const struct ttrpc_connection *connection)
{
	return connection->held && !output_full(connection) && list_empty(&connection->waiting);
}

/* Reads, listens for a hang-up only, or waits for room in the socket, as things stand. Between two turns not
 * even a hang-up is looked for: what lies in front of it is wanted first. */
static void connection_watch(struct ttrpc_connection *connection)
{
	uint32_t events = 0;

	if (connection->dead)
		return;
	if (!connection->closed)
		events |= !connection->held && !output_full(connection) ? EPOLLIN : EPOLLRDHUP;
	if (wants_turn(connection))
		events &= ~(uint32_t)EPOLLRDHUP;
	if (!writer_empty(&connection->writer))
		events |= EPOLLOUT;
	if (events != connection->source.events && loop_fd_modify(&connection->source, events) < 0)
		connection_kill(connection);
}

static void connection_flush(struct ttrpc_connection *connection)
{
	int r = writer_flush(&connection->writer, connection->source.fd);

	if (r < 0)
		connection_kill(connection);
	connection_count(connection);
	if (connection->closed && writer_empty(&connection->writer))
		connection_kill(connection);
}

int connection_send(struct ttrpc_connection *connection, const struct iovec *pieces, size_t count,
		    writer_sent_fn sent, void *data)
{
	bool gather = connection->taking > 0 && connection->reader.more;
	size_t length = 0;
	int r;

	if (connection->dead || connection->closed)
		return -EPIPE;
	for (size_t i = 0; i < count; i++)
		length += pieces[i].iov_len;
	r = writer_send(&connection->writer, connection->source.fd, pieces, count,
			!gather || length >= WORTH_A_WRITE, sent, data);
	if (r < 0)
		connection_kill(connection);
	connection_count(connection);
	if (connection->taking == 0)
		connection_watch(connection);
	return r;
}

void connection_send_error(struct ttrpc_connection *connection, uint32_t stream, enum status_code code,
			   const char *text)
{
	uint8_t frame[ENVELOPE_ERROR_MAX];
	struct iovec piece = {.iov_base = frame};

	piece.iov_len = envelope_encode_error(frame, stream, code, text);
	connection_send(connection, &piece, 1, NULL, NULL);
}

static bool is_call(const struct frame_header *header)
{
	return header->length <= TTRPC_MESSAGE_MAX && header->stream % 2 == 1 &&
	       header->type == FRAME_REQUEST;
}

/* Whether a call that takes @size bytes fits in. Small ones do whatever other connections hold: nobody
 * starves. */
static bool has_room(const struct ttrpc_connection *connection, size_t size)
{
	if (connection->bytes + size <= CONNECTION_RESERVE)
		return true;
	return connection->bytes + size <= CONNECTION_BYTES_MAX &&
	       connection->server->bytes + size <= SERVER_BYTES_MAX;
}

bool connection_starves(const struct ttrpc_connection *connection)
{
	size_t size = call_size(connection->reader.header.length);

	return !has_room(connection, size) && connection->bytes + size <= CONNECTION_BYTES_MAX;
}

/* Progress of a byte now and then would not be one: a frame of the largest size may take half an hour. */
static void note_progress(struct ttrpc_connection *connection)
{
	if (!connection->incoming || connection->incoming->length < CONNECTION_RESERVE ||
	    connection->progress_left - connection->reader.left < CONNECTION_RESERVE)
		return;
	connection->progress = loop_now();
	connection->progress_left = connection->reader.left;
}

void connection_reclaim(struct ttrpc_connection *connection, uint64_t before)
{
	/* Where it is not read because it has not read its answers, the fault is its own. */
	if (connection->dead || !connection->incoming || connection->incoming->length < CONNECTION_RESERVE ||
	    connection->progress > before)
		return;
	log_warning("ttrpc", "closed a connection that does not end its frame", "missing",
		    LOG_NUMBER(connection->reader.left));
	connection_kill(connection);
}

static bool frame_begin(struct reader *reader)
{
	struct ttrpc_connection *connection = container_of(reader, struct ttrpc_connection, reader);
	const struct frame_header *header = &reader->header;

	if (connection->dead || output_full(connection))
		return false;
	if (!is_call(header) || connection->n_calls >= CONNECTION_CALLS_MAX)
		return true;
	if (!has_room(connection, call_size(header->length))) {
		server_wait(connection->server, connection);
		return false;
	}
	connection->incoming = call_new(connection, header);
	if (connection->incoming) {
		reader->body = connection->incoming->body;
		connection->progress = loop_now();
		connection->progress_left = header->length;
	}
	return true;
}

/* Answers a frame whose body was thrown away. */
static void frame_refuse(struct ttrpc_connection *connection, const struct frame_header *header)
{
	struct error e = ERROR_INIT;

	if (header->length > TTRPC_MESSAGE_MAX)
		error_set(&e, STATUS_INVALID_ARGUMENT, 0,
			  "message length %u exceed maximum message size of %d", header->length,
			  TTRPC_MESSAGE_MAX);
	else if (header->stream % 2 == 0)
		error_set(&e, STATUS_INVALID_ARGUMENT, 0, "stream id must be odd");
	else if (header->type == FRAME_REQUEST)
		error_set(&e, STATUS_RESOURCE_EXHAUSTED, 0, "no room for another call on this connection");
	else if (header->type == FRAME_DATA && header->flags & FRAME_REMOTE_CLOSED && header->length > 0)
		/* Spelled as by the reference. */
		error_set(&e, STATUS_INVALID_ARGUMENT, 0,
			  "Stream id %u: data close message connot include data", header->stream);
	else if (header->type == FRAME_DATA)
		error_set(&e, STATUS_INVALID_ARGUMENT, 0, "Stream is no longer active");
	else {
		log_debug("ttrpc", "ignored a frame", "type", LOG_NUMBER(header->type), "stream",
			  LOG_NUMBER(header->stream));
		return;
	}
	connection_send_error(connection, header->stream, (enum status_code)e.code, e.text);
}

static void frame_end(struct reader *reader)
{
	struct ttrpc_connection *connection = container_of(reader, struct ttrpc_connection, reader);

	if (connection->incoming)
		call_dispatch(steal_pointer(connection->incoming));
	else
		frame_refuse(connection, &reader->header);
}

static void on_linger_end(struct loop_timer *timer)
{
	connection_kill(container_of(timer, struct ttrpc_connection, timer));
}

/* The peer has closed its side, which ends everything but the writing of answers that were given before. */
static void connection_close(struct ttrpc_connection *connection)
{
	connection->closed = true;
	list_remove(&connection->waiting);
	loop_timer_remove(&connection->timer);
	end_calls(connection);
	/* Their owners take the bytes back, so the peer must not have them, too. */
	writer_drop_notified(&connection->writer);
	connection_count(connection);
	if (writer_empty(&connection->writer))
		connection_kill(connection);
	else if (!connection->dead)
		loop_timer_set(connection->server->loop, &connection->timer, CONNECTION_LINGER_MS,
			       on_linger_end);
}

static void connection_take(struct ttrpc_connection *connection);

static void on_turn(struct loop_timer *timer)
{
	struct ttrpc_connection *connection = container_of(timer, struct ttrpc_connection, timer);

	connection_take(connection);
	connection_watch(connection);
}

static void connection_take(struct ttrpc_connection *connection)
{
	int r;

	/* A handler that runs the loop must not make its own connection go on under it. */
	if (connection->taking > 0 || connection->dead || connection->closed)
		return;
	list_remove(&connection->waiting);
	connection->taking++;
	r = reader_run(&connection->reader, connection->source.fd, CONNECTION_FRAMES_PER_ROUND);
	connection->held = r == READER_HELD;
	note_progress(connection);
	if (!connection->dead && !writer_empty(&connection->writer))
		connection_flush(connection);
	connection->taking--;
	if (connection->dead)
		bury(connection);
	else if (r == READER_EOF)
		connection_close(connection);
	else if (r < 0)
		connection_kill(connection);
	else if (wants_turn(connection))
		loop_timer_set(connection->server->loop, &connection->timer, 0, on_turn);
}

static void on_socket(struct loop_fd *source, uint32_t events)
{
	struct ttrpc_connection *connection = container_of(source, struct ttrpc_connection, source);
	bool reading = source->events & EPOLLIN;

	if (events & EPOLLOUT)
		connection_flush(connection);
	if (connection->dead)
		return;
	if (connection->taking > 0) {
		connection_watch(connection);
		return;
	}
	if (reading && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		connection_take(connection);
	else if (events & (EPOLLHUP | EPOLLERR))
		connection_kill(connection);
	else if (events & EPOLLRDHUP && !connection->closed)
		connection_close(connection);
	else if (wants_turn(connection))
		connection_take(connection);
	connection_watch(connection);
}

void connection_wake(struct ttrpc_connection *connection)
{
	connection_take(connection);
	connection_watch(connection);
}

static const struct reader_ops reader_ops = {.begin = frame_begin, .end = frame_end};

int connection_new(struct ttrpc_server *server, int fd)
{
	struct ttrpc_connection *connection = calloc(1, sizeof(*connection));
	int r = -ENOMEM;

	if (connection) {
		connection->server = server;
		connection->reader.ops = &reader_ops;
		writer_init(&connection->writer);
		list_init(&connection->calls);
		list_init(&connection->waiting);
		r = loop_fd_add(server->loop, &connection->source, fd, EPOLLIN, on_socket);
	}
	if (r < 0) {
		free(connection);
		fd_close(fd);
		return r;
	}
	connection->source.fd = fd;
	list_append(&server->connections, &connection->link);
	server->n_connections++;
	return 0;
}
