/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_FIELD_H
#define PROTO_FIELD_H

/*
 * A member of a generated message, seen through its descriptor. Room-private: what decoding, copying and the JSON
 * mapping have in common. There are no oneofs in our files, so none are known here.
 */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* More than any message of ours has; counters by member are arrays of this length. */
enum { FIELD_MAX = 64 };

/* Where the member lies; for a repeated one, the pointer to its array. */
static inline void *field_at(const void *message, const ProtobufCFieldDescriptor *field)
{
	return (char *)(uintptr_t)message + field->offset;
}

/* How many elements a repeated member has. */
static inline size_t *field_count(const void *message, const ProtobufCFieldDescriptor *field)
{
	return (size_t *)(void *)((char *)(uintptr_t)message + field->quantifier_offset);
}

static inline bool field_is_repeated(const ProtobufCFieldDescriptor *field)
{
	return field->label == PROTOBUF_C_LABEL_REPEATED;
}

/* Has a `has_` beside it: a number, boolean or bytes of a proto2 file. */
static inline bool field_has_flag(const ProtobufCFieldDescriptor *field)
{
	return field->label == PROTOBUF_C_LABEL_OPTIONAL && field->type != PROTOBUF_C_TYPE_STRING &&
	       field->type != PROTOBUF_C_TYPE_MESSAGE;
}

static inline protobuf_c_boolean *field_flag(const void *message, const ProtobufCFieldDescriptor *field)
{
	return (protobuf_c_boolean *)(void *)((char *)(uintptr_t)message + field->quantifier_offset);
}

/* Bytes of one value in memory. */
static inline size_t field_size(const ProtobufCFieldDescriptor *field)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	default:
		return 4;
	}
}

/* A map is a repeated message of `key` and `value`, which the compiler names …Entry. */
static inline bool field_is_map(const ProtobufCFieldDescriptor *field)
{
	const ProtobufCMessageDescriptor *entry = field->descriptor;
	size_t length;

	if (!field_is_repeated(field) || field->type != PROTOBUF_C_TYPE_MESSAGE || entry->n_fields != 2)
		return false;
	length = strlen(entry->short_name);
	return length > 5 && strcmp(entry->short_name + length - 5, "Entry") == 0 &&
	       strcmp(entry->fields[0].name, "key") == 0 && strcmp(entry->fields[1].name, "value") == 0;
}

#endif
