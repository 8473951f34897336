/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Duplicates are found by sorting and not by comparing each with each: a peer may send half a million entries in one
 * message.
 */
#include "proto/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "proto/field.h"

struct place {
	const char *key;
	size_t index;
};

/* All entries begin alike: the base, then the key. */
static const char *entry_key(const void *entry)
{
	const ProtobufCMessage *message = entry;

	return *(char **)field_at(entry, &message->descriptor->fields[0]);
}

int map_entry_complete(void *entry, void *(*fresh)(const ProtobufCMessageDescriptor *, void *data),
		       void *data)
{
	const ProtobufCMessage *message = entry;

	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		void **at = field_at(entry, field);

		if (field->type == PROTOBUF_C_TYPE_STRING && !*at)
			*at = (char *)(uintptr_t) "";
		if (field->type == PROTOBUF_C_TYPE_MESSAGE && !*at) {
			*at = fresh(field->descriptor, data);
			if (!*at)
				return -ENOMEM;
		}
	}
	return 0;
}

static int place_compare(const void *a, const void *b)
{
	const struct place *left = a;
	const struct place *right = b;
	int order = strcmp(left->key, right->key);

	if (order)
		return order;
	return left->index < right->index ? -1 : left->index > right->index;
}

int map_unique(void **entries, size_t *count)
{
	_cleanup_free_ struct place *places = NULL;
	size_t kept = 0;

	if (*count < 2)
		return 0;
	places = calloc(*count, sizeof(*places));
	if (!places)
		return -ENOMEM;
	for (size_t i = 0; i < *count; i++)
		places[i] = (struct place){entry_key(entries[i]), i};
	qsort(places, *count, sizeof(*places), place_compare);
	for (size_t i = 0; i + 1 < *count; i++) {
		if (strcmp(places[i].key, places[i + 1].key) == 0)
			entries[places[i].index] = NULL;
	}
	for (size_t i = 0; i < *count; i++) {
		if (entries[i])
			entries[kept++] = entries[i];
	}
	*count = kept;
	return 0;
}
