/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

enum { PIECE = 64 << 10 };

struct carrier {
	struct relay *relay;
	struct stream *stream;
	struct stream_read read;
	int fd; /* -1: takes no more */
	struct loop_fd source;
	uint8_t *memory; /* of the read that is carried */
	size_t offset;	 /* into its bytes */
	bool ended;
	struct loop_defer again;
};

struct relay {
	struct loop *loop;
	struct carrier outputs[2];
	unsigned open; /* outputs that have not ended */
	uint64_t carried;
	struct loop_defer told;
	void (*drained)(void *data);
	void *data;

	struct input *input;
	int stdin_fd;
	struct loop_fd source;
	struct input_write write;
	uint8_t *piece; /* that is being written */
};

/* --- output --- */

static void tell_drained(struct loop_defer *defer)
{
	struct relay *relay = container_of(defer, struct relay, told);
	relay->drained(relay->data);
}

static void carrier_end(struct carrier *carrier)
{
	struct relay *relay = carrier->relay;
	if (carrier->ended)
		return;
	carrier->ended = true;
	loop_fd_remove(&carrier->source);
	carrier->fd = fd_close(carrier->fd);
	if (--relay->open == 0)
		loop_defer_add(relay->loop, &relay->told, tell_drained);
}

static uint8_t *carrier_room(struct stream_read *read, size_t size)
{
	struct carrier *carrier = container_of(read, struct carrier, read);
	carrier->memory = malloc(size);
	return carrier->memory;
}

/* From the loop, not from stream_settle(): a stream that always has bytes would recurse for ever. */
static void carrier_ask(struct loop_defer *defer)
{
	struct carrier *carrier = container_of(defer, struct carrier, again);
	carrier->read.max = PIECE;
	stream_ask(carrier->stream, &carrier->read);
}

static void carrier_settle(struct carrier *carrier)
{
	stream_settle(&carrier->read, true);
	free(carrier->memory);
	carrier->memory = NULL;
	loop_fd_modify(&carrier->source, 0);
	loop_defer_add(carrier->relay->loop, &carrier->again, carrier_ask);
}

static void carrier_push(struct carrier *carrier)
{
	while (carrier->fd >= 0 && carrier->offset < carrier->read.length) {
		ssize_t n = send(carrier->fd, carrier->read.data + carrier->offset,
				 carrier->read.length - carrier->offset, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			carrier->offset += (size_t)n;
			carrier->relay->carried += (uint64_t)n;
		} else if (errno == EAGAIN) {
			loop_fd_modify(&carrier->source, EPOLLOUT);
			return;
		} else if (errno != EINTR) {
			loop_fd_remove(&carrier->source);
			carrier->fd = fd_close(carrier->fd);
		}
	}
	carrier->relay->carried += carrier->read.length - carrier->offset;
	carrier_settle(carrier);
}

static void carrier_writable(struct loop_fd *source, uint32_t events)
{
	carrier_push(container_of(source, struct carrier, source));
}

static void carrier_deliver(struct stream_read *read, const struct error *e)
{
	struct carrier *carrier = container_of(read, struct carrier, read);
	if (e || read->length == 0) {
		free(carrier->memory);
		carrier->memory = NULL;
		carrier_end(carrier);
		return;
	}
	carrier->offset = 0;
	carrier_push(carrier);
}

static int carrier_init(struct relay *relay, struct carrier *carrier, struct stream *stream, int fd)
{
	*carrier = (struct carrier){.relay = relay, .stream = stream, .fd = fd, .ended = true};
	if (fd < 0 || !stream)
		return 0;
	carrier->read.room = carrier_room;
	carrier->read.deliver = carrier_deliver;
	int r = loop_fd_add(relay->loop, &carrier->source, fd, 0, carrier_writable);
	if (r < 0)
		return r;
	carrier->ended = false;
	relay->open++;
	loop_defer_add(relay->loop, &carrier->again, carrier_ask);
	return 0;
}

static void carrier_deinit(struct carrier *carrier)
{
	loop_defer_remove(&carrier->again);
	loop_fd_remove(&carrier->source);
	if (carrier->memory)
		stream_settle(&carrier->read, true);
	else if (!carrier->ended)
		stream_forget(&carrier->read);
	free(carrier->memory);
	fd_close(carrier->fd);
}

/* --- input --- */

static void input_over(struct relay *relay)
{
	loop_fd_remove(&relay->source);
	relay->stdin_fd = fd_close(relay->stdin_fd);
	input_close(relay->input);
}

static void input_done(struct input_write *write, const struct error *e)
{
	struct relay *relay = container_of(write, struct relay, write);
	free(relay->piece);
	relay->piece = NULL;
	if (e)
		input_over(relay);
	else
		loop_fd_modify(&relay->source, EPOLLIN);
}

static void input_readable(struct loop_fd *source, uint32_t events)
{
	struct relay *relay = container_of(source, struct relay, source);
	uint8_t piece[16 << 10];
	ssize_t n = read(relay->stdin_fd, piece, sizeof(piece));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		relay->piece = malloc((size_t)n);
	if (!relay->piece) {
		input_over(relay);
		return;
	}
	memcpy(relay->piece, piece, (size_t)n);
	loop_fd_modify(source, 0);
	relay->write = (struct input_write){.data = relay->piece, .length = (size_t)n, .done = input_done};
	input_write(relay->input, &relay->write);
}

static int input_init(struct relay *relay, struct input *input, int fd)
{
	relay->input = input;
	relay->stdin_fd = fd;
	if (fd < 0 || !input)
		return 0;
	return loop_fd_add(relay->loop, &relay->source, fd, EPOLLIN, input_readable);
}

/* --- the whole --- */

struct relay *relay_new(struct loop *loop, const int fds[3], const struct relay_ends *ends,
			void (*drained)(void *data), void *data)
{
	struct relay *relay = calloc(1, sizeof(*relay));
	if (!relay) {
		for (int i = 0; i < 3; i++)
			fd_close(fds[i]);
		return NULL;
	}
	*relay = (struct relay){.loop = loop, .drained = drained, .data = data};
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			fd_nonblock(fds[i], true);
	int in = input_init(relay, ends->input, fds[0]);
	int out = carrier_init(relay, &relay->outputs[0], ends->outputs[0], fds[1]);
	int err = carrier_init(relay, &relay->outputs[1], ends->outputs[1], fds[2]);
	if (in < 0 || out < 0 || err < 0) {
		relay_free(relay);
		return NULL;
	}
	if (relay->open == 0)
		loop_defer_add(loop, &relay->told, tell_drained);
	return relay;
}

void relay_free(struct relay *relay)
{
	if (!relay)
		return;
	carrier_deinit(&relay->outputs[0]);
	carrier_deinit(&relay->outputs[1]);
	loop_defer_remove(&relay->told);
	loop_fd_remove(&relay->source);
	if (relay->piece)
		input_forget(&relay->write);
	free(relay->piece);
	fd_close(relay->stdin_fd);
	free(relay);
}

bool relay_drained(const struct relay *relay)
{
	return relay->open == 0;
}

uint64_t relay_carried(const struct relay *relay)
{
	return relay->carried;
}
