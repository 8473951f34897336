/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One readv() a run, into two places: the body that is being received, straight, and a chunk on the stack for
 * what follows it. So a large body is not copied, many small frames cost one system call, and a connection at
 * rest owns no buffer: half a header lies in the reader, half a body in its call. Only when a frame may not
 * begin yet is the rest of the chunk kept in a buffer of the connection's, which is at most one chunk long
 * and freed when it is used up.
 */

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ttrpc/reader.h"

enum { CHUNK = 64 << 10 }; /* bytes */

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool held(const struct reader *reader)
{
	return reader->head_length == FRAME_HEADER && !reader->in_body;
}

/* Completes the header. False while it is not complete. */
static bool take_header(struct reader *reader, const uint8_t *data, size_t length, size_t *used)
{
	size_t part = smaller(FRAME_HEADER - (size_t)reader->head_length, length - *used);

	if (part > 0)
		memcpy(reader->head + reader->head_length, data + *used, part);
	reader->head_length = (uint8_t)(reader->head_length + part);
	*used += part;
	if (reader->head_length < FRAME_HEADER)
		return false;
	frame_header_decode(reader->head, &reader->header);
	return true;
}

static void take_body(struct reader *reader, const uint8_t *data, size_t length, size_t *used)
{
	size_t part = smaller(reader->left, length - *used);

	if (part > 0 && reader->body) {
		memcpy(reader->body, data + *used, part);
		reader->body += part;
	}
	reader->left -= part;
	*used += part;
}

/* Feeds bytes through; returns how many were used. Less than @length only when held. */
static size_t take(struct reader *reader, const uint8_t *data, size_t length, unsigned *budget)
{
	size_t used = 0;

	for (;;) {
		if (!reader->in_body) {
			if (!held(reader) && !take_header(reader, data, length, &used))
				return used;
			reader->body = NULL;
			if (*budget == 0 || !reader->ops->begin(reader))
				return used;
			reader->left = reader->header.length;
			reader->in_body = true;
		}
		take_body(reader, data, length, &used);
		if (reader->left > 0)
			return used;
		(*budget)--;
		reader->in_body = false;
		reader->head_length = 0;
		reader->more = used < length;
		reader->ops->end(reader);
		reader->more = false;
	}
}

void reader_deinit(struct reader *reader)
{
	buf_deinit(&reader->rest);
}

static int take_rest(struct reader *reader, unsigned *budget)
{
	buf_consume(&reader->rest, take(reader, buf_begin(&reader->rest), reader->rest.length, budget));
	if (held(reader))
		return READER_HELD;
	buf_deinit(&reader->rest);
	reader->rest = BUF_INIT;
	return READER_IDLE;
}

int reader_run(struct reader *reader, int fd, unsigned budget)
{
	uint8_t chunk[CHUNK];
	struct iovec into[2] = {{.iov_base = reader->body}, {.iov_base = chunk, .iov_len = sizeof(chunk)}};
	size_t straight, got, used;
	ssize_t n;

	if (held(reader) || reader->rest.length > 0)
		return take_rest(reader, &budget);
	if (reader->in_body && reader->body)
		into[0].iov_len = reader->left;
	do
		n = readv(fd, into, 2);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? READER_IDLE : -errno;
	if (n == 0)
		return READER_EOF;
	straight = smaller(into[0].iov_len, (size_t)n);
	if (straight > 0) {
		reader->body += straight;
		reader->left -= straight;
	}
	got = (size_t)n - straight;
	used = take(reader, chunk, got, &budget);
	if (used < got && buf_append(&reader->rest, chunk + used, got - used) < 0)
		return -ENOMEM;
	return held(reader) ? READER_HELD : READER_IDLE;
}
