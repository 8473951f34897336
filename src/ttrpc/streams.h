/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TTRPC_STREAMS_H
#define TTRPC_STREAMS_H

/* Calls in flight on one connection, found by stream id. Entries are embedded in what they stand for. */

#include <stddef.h>
#include <stdint.h>

struct stream {
	uint32_t id;
	struct stream *next; /* of its bucket */
};

enum { STREAMS_INLINE = 8 };

/* Zeroed: empty. */
struct streams {
	struct stream **buckets; /* NULL: the inline ones */
	size_t n_buckets;	 /* a power of two; 0: the inline ones */
	size_t count;
	struct stream *first[STREAMS_INLINE];
};

/* Frees the table; entries are their owners'. */
void streams_deinit(struct streams *streams);
/* @stream->id is set and not in the table. Cannot fail: without memory the table only gets slower. */
void streams_add(struct streams *streams, struct stream *stream);
/* Does nothing for one that is not in the table. */
void streams_remove(struct streams *streams, struct stream *stream);
/* NULL when there is none. */
struct stream *streams_find(const struct streams *streams, uint32_t id);

#endif
