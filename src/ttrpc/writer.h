/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TTRPC_WRITER_H
#define TTRPC_WRITER_H

/* Frames on their way out of a non-blocking stream socket, in order. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "base/list.h"

enum { WRITER_PIECES = 3 }; /* at most, of one frame */

typedef void (*writer_sent_fn)(bool sent, void *data);

struct writer {
	struct list queue; /* of frames not yet accepted by the socket, oldest first */
	size_t queued;	   /* bytes of memory that they take */
};

void writer_init(struct writer *writer);
/* Frames that are still queued are dropped, each @sent is called with false. */
void writer_deinit(struct writer *writer);

static inline bool writer_empty(const struct writer *writer)
{
	return list_empty(&writer->queue);
}

/*
 * Sends one frame that consists of @count pieces. With @now, and nothing queued before it, it goes to the
 * socket at once; what the socket does not take, and all else, is copied and queued.
 * 1: the socket took all of it, and @sent (may be NULL) will not be called. 0: queued; @sent will be called
 * once, from writer_flush() or one of the drops. -errno: the connection is broken, or memory is out when part
 * of a frame had been written already, which comes to the same; @sent will not be called.
 */
int writer_send(struct writer *writer, int fd, const struct iovec *pieces, size_t count, bool now,
		writer_sent_fn sent, void *data);
/* Writes what is queued, many frames in one call. 1: all is gone; 0: the socket is full; -errno: it is
 * broken. @sent functions may send more meanwhile, and may not free the writer. */
int writer_flush(struct writer *writer, int fd);
/* Drops the frames that have a @sent function and of which no byte was written; it is called with false. */
void writer_drop_notified(struct writer *writer);

#endif
