/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_TEST_SAMPLE_H
#define PROTO_TEST_SAMPLE_H

/*
 * For tests: a message of any descriptor with every member filled, no two values alike, and the list of all messages
 * that the services speak of.
 */

#include <stdio.h>

#include "proto/field.h"
#include "proto/proto.h"

struct sample {
	struct arena *arena;
	unsigned next;
};

static inline void *sample_message(struct sample *s, const ProtobufCMessageDescriptor *descriptor);

static inline void sample_value(struct sample *s, const ProtobufCFieldDescriptor *field, void *at)
{
	unsigned n = ++s->next;

	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		*(char **)at = arena_printf(s->arena, "text %u äöü \"\\\n\t\x01", n);
		break;
	case PROTOBUF_C_TYPE_BYTES: {
		ProtobufCBinaryData *bytes = at;

		bytes->len = n % 7 + 1;
		bytes->data = arena_alloc(s->arena, bytes->len);
		for (size_t i = 0; i < bytes->len; i++)
			bytes->data[i] = (uint8_t)(n * 31 + i * 77);
		break;
	}
	case PROTOBUF_C_TYPE_MESSAGE:
		*(void **)at = sample_message(s, field->descriptor);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)at = 1;
		break;
	case PROTOBUF_C_TYPE_ENUM:
		*(int *)at = 1;
		break;
	case PROTOBUF_C_TYPE_INT32:
		*(int32_t *)at = n & 1 ? -(int32_t)n : INT32_MIN + (int32_t)n;
		break;
	case PROTOBUF_C_TYPE_UINT32:
		*(uint32_t *)at = UINT32_MAX - n;
		break;
	case PROTOBUF_C_TYPE_INT64:
		*(int64_t *)at = n & 1 ? -(int64_t)n : INT64_MIN + (int64_t)n;
		break;
	default:
		*(uint64_t *)at = n & 1 ? n : UINT64_MAX - n;
		break;
	}
}

static inline void *sample_message(struct sample *s, const ProtobufCMessageDescriptor *descriptor)
{
	void *message = proto_new(descriptor, s->arena);

	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
		char *at = field_at(message, field);

		if (field_is_repeated(field)) {
			*field_count(message, field) = 2;
			*(void **)field_at(message, field) = at = arena_array(s->arena, 2, field_size(field));
			sample_value(s, field, at + field_size(field));
		} else if (field_has_flag(field)) {
			*field_flag(message, field) = 1;
		}
		sample_value(s, field, at);
	}
	return message;
}

static inline size_t sample_add(const ProtobufCMessageDescriptor *add, const ProtobufCMessageDescriptor **out,
				size_t count, size_t max)
{
	for (size_t i = 0; i < count; i++) {
		if (out[i] == add)
			return count;
	}
	if (count < max)
		out[count++] = add;
	for (unsigned i = 0; i < add->n_fields; i++) {
		if (add->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
			count = sample_add(add->fields[i].descriptor, out, count, max);
	}
	return count;
}

/* All messages, each once, into @out; returns how many. */
static inline size_t sample_descriptors(const ProtobufCMessageDescriptor **out, size_t max)
{
	size_t count = 0;
	size_t n_methods;
	const struct proto_method *methods = proto_methods(&n_methods);

	for (size_t i = 0; i < n_methods; i++) {
		count = sample_add(methods[i].request, out, count, max);
		count = sample_add(methods[i].response, out, count, max);
	}
	return count;
}

#endif
