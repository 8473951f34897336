/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_MAP_H
#define PROTO_MAP_H

/*
 * Maps, which on the wire and in memory are lists of entries. After decoding, keys are texts and different from each
 * other, and no value is missing, whatever the peer sent: an absent key or value is the default one, and the last of
 * several entries with one key counts.
 */

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

/* Fills what is NULL in an entry. @fresh makes a value that is a message; NULL from it is -ENOMEM. 0 or -ENOMEM. */
int map_entry_complete(void *entry, void *(*fresh)(const ProtobufCMessageDescriptor *, void *data),
		       void *data);
/* Leaves the last of each key, in their order. *@count is updated. 0 or -ENOMEM. Keys must be texts. */
int map_unique(void **entries, size_t *count);

#endif
