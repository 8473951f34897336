/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TTRPC_READER_H
#define TTRPC_READER_H

/* Frames on their way in, put together from whatever pieces a non-blocking stream socket delivers. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "ttrpc/frame.h"

struct reader;

struct reader_ops {
	/*
	 * reader->header is known. Says where the body goes, by setting reader->body to header.length bytes,
	 * or to NULL to have it thrown away. False: not now; it is asked again by the next reader_run().
	 */
	bool (*begin)(struct reader *reader);
	/* All of the body is there (reader->header still stands). */
	void (*end)(struct reader *reader);
};

/* Zeroed but for ops: at the start of a stream. */
struct reader {
	const struct reader_ops *ops;
	struct frame_header header;
	uint8_t *body;	 /* where the next byte goes; NULL: nowhere */
	size_t left;	 /* bytes of the body still to come */
	struct buf rest; /* bytes that were read but could not be taken yet */
	uint8_t head[FRAME_HEADER];
	uint8_t head_length;
	bool in_body;
	bool more; /* within end(): further bytes have been read already */
};

enum reader_result {
	READER_IDLE, /* nothing to do until the socket has more */
	READER_HELD, /* stopped by begin() or the budget: run it again when that has changed */
	READER_EOF,
};

void reader_deinit(struct reader *reader);
/* Reads once from @fd and takes at most @budget frames out of that. enum reader_result or -errno; an empty
 * socket is READER_IDLE. */
int reader_run(struct reader *reader, int fd, unsigned budget);

#endif
