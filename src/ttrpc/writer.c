/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame that the socket takes at once costs one sendmsg() and no copy. Only the rest of a frame, or a frame
 * behind another, is copied into a block of its own and queued; a flush gathers as many of those as fit into
 * one call.
 *
 * A `sent` function is called when its frame has left the queue and the queue is whole again, so that it may
 * send.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ttrpc/writer.h"

enum { FLUSH_FRAMES = 64 }; /* gathered in one call */

struct waiting {
	struct list link;
	size_t length;
	size_t done; /* bytes of this block that the socket has taken */
	bool begun;  /* a part of the frame has been written */
	writer_sent_fn sent;
	void *data;
	unsigned char bytes[];
};

static size_t waiting_cost(const struct waiting *waiting)
{
	return sizeof(*waiting) + waiting->length;
}

/* Takes it out of the queue, tells its owner. */
static void waiting_end(struct writer *writer, struct waiting *waiting, bool sent)
{
	writer_sent_fn fn = waiting->sent;
	void *data = waiting->data;

	list_remove(&waiting->link);
	writer->queued -= waiting_cost(waiting);
	free(waiting);
	if (fn)
		fn(sent, data);
}

void writer_init(struct writer *writer)
{
	list_init(&writer->queue);
	writer->queued = 0;
}

void writer_deinit(struct writer *writer)
{
	while (!list_empty(&writer->queue))
		waiting_end(writer, list_first_entry(&writer->queue, struct waiting, link), false);
}

void writer_drop_notified(struct writer *writer)
{
	struct waiting *waiting;
	bool found;

	/* From the start again each time: a notified owner may drop or send others. */
	do {
		found = false;
		list_for_each_entry (waiting, &writer->queue, link) {
			if (!waiting->sent || waiting->begun)
				continue;
			waiting_end(writer, waiting, false);
			found = true;
			break;
		}
	} while (found);
}

static ssize_t send_pieces(int fd, struct iovec *pieces, size_t count)
{
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
	ssize_t n;

	do
		n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	return n;
}

/* Queues what lies behind the first @skip bytes of the pieces. */
static int enqueue(struct writer *writer, const struct iovec *pieces, size_t count, size_t length,
		   size_t skip, writer_sent_fn sent, void *data)
{
	struct waiting *waiting = malloc(sizeof(*waiting) + length - skip);
	size_t at = 0;

	if (!waiting)
		return -ENOMEM;
	*waiting = (struct waiting){.length = length - skip, .begun = skip > 0, .sent = sent, .data = data};
	for (size_t i = 0; i < count; i++) {
		size_t omit = skip < pieces[i].iov_len ? skip : pieces[i].iov_len;

		skip -= omit;
		if (pieces[i].iov_len > omit)
			memcpy(waiting->bytes + at, (const char *)pieces[i].iov_base + omit,
			       pieces[i].iov_len - omit);
		at += pieces[i].iov_len - omit;
	}
	list_append(&writer->queue, &waiting->link);
	writer->queued += waiting_cost(waiting);
	return 0;
}

int writer_send(struct writer *writer, int fd, const struct iovec *pieces, size_t count, bool now,
		writer_sent_fn sent, void *data)
{
	struct iovec copy[WRITER_PIECES];
	size_t length = 0;
	ssize_t written = 0;

	for (size_t i = 0; i < count; i++) {
		copy[i] = pieces[i];
		length += pieces[i].iov_len;
	}
	if (now && writer_empty(writer)) {
		written = send_pieces(fd, copy, count);
		if (written < 0)
			return (int)written;
		if ((size_t)written == length)
			return 1;
	}
	return enqueue(writer, pieces, count, length, (size_t)written, sent, data);
}

static size_t gather(const struct writer *writer, struct iovec *pieces)
{
	struct waiting *waiting;
	size_t count = 0;

	list_for_each_entry (waiting, &writer->queue, link) {
		pieces[count].iov_base = waiting->bytes + waiting->done;
		pieces[count].iov_len = waiting->length - waiting->done;
		if (++count == FLUSH_FRAMES)
			break;
	}
	return count;
}

int writer_flush(struct writer *writer, int fd)
{
	while (!writer_empty(writer)) {
		struct iovec pieces[FLUSH_FRAMES];
		size_t count = gather(writer, pieces);
		ssize_t written = send_pieces(fd, pieces, count);
		struct list finished = LIST_INIT(finished);

		if (written <= 0)
			return (int)written;
		while (written > 0) {
			struct waiting *waiting = list_first_entry(&writer->queue, struct waiting, link);
			size_t rest = waiting->length - waiting->done;
			size_t part = (size_t)written < rest ? (size_t)written : rest;

			waiting->done += part;
			waiting->begun = true;
			written -= (ssize_t)part;
			if (waiting->done < waiting->length)
				break;
			list_remove(&waiting->link);
			list_append(&finished, &waiting->link);
		}
		while (!list_empty(&finished))
			waiting_end(writer, list_first_entry(&finished, struct waiting, link), true);
	}
	return 1;
}
