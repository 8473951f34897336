/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table with chains. Clients count their stream ids 1, 3, 5, …, so half the id is as good a hash as
 * any; a client that chooses ids to fall into one chain slows down its own connection only, and by no more
 * than the bound on its calls. A few buckets lie in the table itself: an ordinary connection never allocates.
 */

#include <stdlib.h>

#include "ttrpc/streams.h"

static size_t bucket_count(const struct streams *streams)
{
	return streams->buckets ? streams->n_buckets : STREAMS_INLINE;
}

static struct stream **bucket_of(struct streams *streams, uint32_t id)
{
	struct stream **buckets = streams->buckets ? streams->buckets : streams->first;

	return &buckets[(id >> 1) & (bucket_count(streams) - 1)];
}

static void put(struct streams *streams, struct stream *stream)
{
	struct stream **bucket = bucket_of(streams, stream->id);

	stream->next = *bucket;
	*bucket = stream;
}

static void grow(struct streams *streams)
{
	size_t old_count = bucket_count(streams), count = old_count * 4;
	struct stream **old = streams->buckets ? streams->buckets : streams->first;
	struct stream **old_heap = streams->buckets;
	struct stream **buckets = calloc(count, sizeof(struct stream *));

	if (!buckets)
		return;
	streams->buckets = buckets;
	streams->n_buckets = count;
	for (size_t i = 0; i < old_count; i++) {
		struct stream *stream = old[i], *next;

		for (; stream; stream = next) {
			next = stream->next;
			put(streams, stream);
		}
	}
	free(old_heap);
}

void streams_deinit(struct streams *streams)
{
	free(streams->buckets);
	*streams = (struct streams){0};
}

void streams_add(struct streams *streams, struct stream *stream)
{
	if (streams->count >= bucket_count(streams) * 2)
		grow(streams);
	put(streams, stream);
	streams->count++;
}

void streams_remove(struct streams *streams, struct stream *stream)
{
	for (struct stream **at = bucket_of(streams, stream->id); *at; at = &(*at)->next) {
		if (*at != stream)
			continue;
		*at = stream->next;
		stream->next = NULL;
		/* The table of a burst is not kept for the silence after it. */
		if (--streams->count == 0)
			streams_deinit(streams);
		return;
	}
}

struct stream *streams_find(const struct streams *streams, uint32_t id)
{
	struct stream *stream = *bucket_of((struct streams *)streams, id);

	while (stream && stream->id != id)
		stream = stream->next;
	return stream;
}
