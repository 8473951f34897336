/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_STREAM_H
#define AGENT_STREAM_H

/*
 * What a process writes, on its way to whoever asks for it: the read end of a pipe, or a pseudo-terminal's master.
 *
 * Nothing is read ahead. When a read is there to carry bytes they are taken from the pipe, straight into the read's own
 * memory, and handed over; until its carrier says what became of them no further read of the stream is served. Bytes that
 * did not get through come back to the front of the stream. Further reads wait their turn in the order of their coming.
 *
 * The end: of a pipe when all its writers are gone; of a terminal when read(2) says EIO. And once the process has
 * exited, a stream that somebody else holds open ends whenever it was silent for STREAM_GRACE_MS. Being over is looked at
 * by each read anew, so it does not matter who asks when.
 *
 * It must never lose a byte, and never hold one back for a read that comes later.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "base/loop.h"

enum {
	STREAM_GRACE_MS = 500,
	STREAM_READ_MAX = 1 << 20, /* bytes of one read at most */
};

struct stream;

/* One read that waits or is being carried. Embedded in its owner, who keeps it until `deliver` or, when that had bytes,
 * until stream_settle(). */
struct stream_read {
	struct list link;
	struct stream *stream; /* NULL once the stream is gone */
	size_t max;	       /* bytes wanted at most */
	uint8_t *data;	       /* what is delivered, in memory from `room` */
	size_t length;
	/* Memory for @size bytes that lives until stream_settle(); NULL when there is none. */
	uint8_t *(*room)(struct stream_read *read, size_t size);
	/* Called once: `length` bytes at `data`; or the end, with length 0; or @e. May be called from stream_ask(). After
	 * bytes stream_settle() must follow, now or later. */
	void (*deliver)(struct stream_read *read, const struct error *e);
};

/* @fd, non-blocking, is taken unless it is a @terminal's master, which is borrowed. NULL when memory is out. */
struct stream *stream_new(struct loop *loop, int fd, bool terminal);
/* Takes NULL. Reads that wait are told the end; one that is being carried is let go. */
void stream_free(struct stream *stream);

/* Asks for bytes. `max` 0 is answered by nothing at once. */
void stream_ask(struct stream *stream, struct stream_read *read);
/* A read that waits is not wanted any more: it is forgotten, `deliver` is not called. */
void stream_forget(struct stream_read *read);
/* What became of the delivered bytes: got through, or back they go. */
void stream_settle(struct stream_read *read, bool arrived);
/* The process has exited. */
void stream_exited(struct stream *stream);
/* True when the end was reached and nothing is left: it costs no descriptor any more. */
bool stream_drained(const struct stream *stream);

#endif
