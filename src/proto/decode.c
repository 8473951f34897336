/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding into an arena. protobuf-c's own decoder is not used: it refuses groups, keeps unknown fields, checks no
 * text, and takes its memory in pieces that an arena could not give back.
 *
 * Each message is walked twice: the first walk checks that it is well-formed and counts what is repeated, the second
 * fills arrays of just that size. All texts and bytes go behind each other into one piece of memory as long as the input,
 * which is enough, because a text's NUL needs no more than its tag and length did. A singular message that comes
 * several times is decoded once, from its pieces put together: the wire format is made so that this is merging.
 *
 * A few bytes can be a whole message ({} is two), so the memory for messages and arrays has a budget that grows with
 * the input.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/str.h"
#include "proto/field.h"
#include "proto/map.h"
#include "proto/proto.h"
#include "proto/wire.h"

/* The budget in bytes: generous for what is small, 33 MiB for the largest message that ttRPC carries. */
enum { BUDGET_BASE = 1 << 20, BUDGET_FACTOR = 8 };

struct decoder {
	struct arena *arena;
	uint8_t *text; /* where the next text goes */
	size_t budget;
	struct error *e;
};

typedef const ProtobufCMessageDescriptor descriptor_t;
typedef const ProtobufCFieldDescriptor field_t;

static int refuse(struct decoder *d, descriptor_t *message, field_t *field, const char *why)
{
	return error_set(d->e, STATUS_UNKNOWN, EBADMSG, "ttrpc err: %s%s%s: %s", message->name,
			 field ? "." : "", field ? field->name : "", why);
}

static void *take(struct decoder *d, descriptor_t *message, size_t count, size_t size)
{
	size_t bytes;
	void *memory;

	if (__builtin_mul_overflow(count, size, &bytes) || bytes > d->budget) {
		refuse(d, message, NULL, "too many elements for a message of its length");
		return NULL;
	}
	d->budget -= bytes;
	memory = arena_alloc(d->arena, bytes);
	if (!memory)
		error_set(d->e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "ttrpc err: %s: out of memory",
			  message->name);
	return memory;
}

static void *take_message(descriptor_t *descriptor, void *data)
{
	void *message = take(data, descriptor, 1, descriptor->sizeof_message);

	if (message)
		descriptor->message_init(message);
	return message;
}

static enum wire_type wire_type_of(field_t *field)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE:
		return WIRE_LENGTH;
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return WIRE_64BIT;
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return WIRE_32BIT;
	default:
		return WIRE_VARINT;
	}
}

/* The member that @tag means, or NULL: unknown number, or a type that does not fit, which is as good as unknown. */
static field_t *field_of(descriptor_t *descriptor, struct wire_tag tag, bool *packed)
{
	field_t *field = protobuf_c_message_descriptor_get_field(descriptor, tag.number);

	*packed = false;
	if (!field || tag.type == wire_type_of(field))
		return field;
	*packed = field_is_repeated(field) && tag.type == WIRE_LENGTH;
	return *packed ? field : NULL;
}

static bool read_scalar(struct wire *wire, field_t *field, void *at)
{
	uint64_t value;
	uint32_t half;

	switch (wire_type_of(field)) {
	case WIRE_64BIT:
		if (!wire_fixed64(wire, &value))
			return false;
		memcpy(at, &value, sizeof(value));
		return true;
	case WIRE_32BIT:
		if (!wire_fixed32(wire, &half))
			return false;
		memcpy(at, &half, sizeof(half));
		return true;
	default:
		break;
	}
	if (!wire_varint(wire, &value))
		return false;
	switch (field->type) {
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)at = value != 0;
		break;
	case PROTOBUF_C_TYPE_SINT64:
		*(int64_t *)at = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
		break;
	case PROTOBUF_C_TYPE_SINT32:
		*(int32_t *)at = (int32_t)((uint32_t)value >> 1) ^ -(int32_t)(value & 1);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_UINT64:
		*(uint64_t *)at = value;
		break;
	default:
		/* Negative numbers of 32 bits are sent as 64. */
		*(uint32_t *)at = (uint32_t)value;
		break;
	}
	return true;
}

static const char *walk_once(descriptor_t *descriptor, struct wire *wire, unsigned depth, size_t *counts)
{
	struct wire_tag tag;
	struct wire bytes;
	field_t *field;
	bool packed;

	if (!wire_tag(wire, &tag))
		return "bad tag";
	field = field_of(descriptor, tag, &packed);
	if (!field || !field_is_repeated(field) || !packed) {
		if (!wire_skip(wire, tag, depth))
			return "bad or truncated field";
		if (field)
			counts[field - descriptor->fields]++;
		return NULL;
	}
	if (!wire_bytes(wire, &bytes))
		return "truncated";
	while (bytes.at < bytes.end) {
		uint64_t element;

		if (!read_scalar(&bytes, field, &element))
			return "bad packed numbers";
		counts[field - descriptor->fields]++;
	}
	return NULL;
}

/* The first walk. */
static int survey(struct decoder *d, descriptor_t *descriptor, struct wire wire, unsigned depth,
		  size_t *counts)
{
	while (wire.at < wire.end) {
		const char *why = walk_once(descriptor, &wire, depth, counts);

		if (why)
			return refuse(d, descriptor, NULL, why);
	}
	return 0;
}

static int make_arrays(struct decoder *d, void *message, const size_t *counts)
{
	descriptor_t *descriptor = ((ProtobufCMessage *)message)->descriptor;

	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		field_t *field = &descriptor->fields[i];

		if (!field_is_repeated(field) || !counts[i])
			continue;
		*(void **)field_at(message, field) = take(d, descriptor, counts[i], field_size(field));
		if (!*(void **)field_at(message, field))
			return error_result(d->e);
	}
	return 0;
}

static void *decode_message(struct decoder *d, descriptor_t *descriptor, struct wire wire, unsigned depth);

/* What all occurrences of @field in @whole say together. */
static void *decode_merged(struct decoder *d, descriptor_t *descriptor, field_t *field, struct wire whole,
			   unsigned depth)
{
	_cleanup_free_ uint8_t *joined = malloc((size_t)(whole.end - whole.at));
	size_t length = 0;
	bool packed;

	if (!joined) {
		error_set(d->e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "ttrpc err: %s: out of memory",
			  descriptor->name);
		return NULL;
	}
	while (whole.at < whole.end) {
		struct wire_tag tag;
		struct wire piece;

		if (!wire_tag(&whole, &tag))
			break;
		if (field_of(descriptor, tag, &packed) != field) {
			if (!wire_skip(&whole, tag, depth))
				break;
			continue;
		}
		if (!wire_bytes(&whole, &piece))
			break;
		if (piece.at < piece.end)
			memcpy(joined + length, piece.at, (size_t)(piece.end - piece.at));
		length += (size_t)(piece.end - piece.at);
	}
	return decode_message(d, field->descriptor, wire_of(joined, length), depth + 1);
}

static int read_text(struct decoder *d, descriptor_t *descriptor, field_t *field, struct wire bytes, void *at)
{
	size_t length = (size_t)(bytes.end - bytes.at);
	uint8_t *text = d->text;

	if (field->type == PROTOBUF_C_TYPE_STRING) {
		if (length && memchr(bytes.at, 0, length))
			return refuse(d, descriptor, field, "NUL in a string");
		if (!utf8_valid(bytes.at, length))
			return refuse(d, descriptor, field, "invalid UTF-8 in a string");
		*(char **)at = (char *)text;
	} else {
		*(ProtobufCBinaryData *)at = (ProtobufCBinaryData){length, length ? text : NULL};
	}
	if (length)
		memcpy(text, bytes.at, length);
	text[length] = 0;
	d->text += length + 1;
	return 0;
}

static int read_message(struct decoder *d, descriptor_t *descriptor, field_t *field, struct wire bytes,
			unsigned depth, void **at)
{
	*at = decode_message(d, field->descriptor, bytes, depth + 1);
	if (!*at)
		return error_result(d->e);
	if (field_is_map(field) && map_entry_complete(*at, take_message, d) < 0)
		return error_result(d->e);
	return 0;
}

static int read_packed(void *message, field_t *field, struct wire bytes)
{
	size_t *count = field_count(message, field);
	char *array = *(char **)field_at(message, field);

	while (bytes.at < bytes.end) {
		if (!read_scalar(&bytes, field, array + *count * field_size(field)))
			return -EBADMSG;
		++*count;
	}
	return 0;
}

static int read_value(struct decoder *d, void *message, field_t *field, struct wire *wire, unsigned depth,
		      void *at)
{
	descriptor_t *descriptor = ((ProtobufCMessage *)message)->descriptor;
	struct wire bytes;

	if (wire_type_of(field) != WIRE_LENGTH)
		return read_scalar(wire, field, at) ? 0 : refuse(d, descriptor, field, "bad number");
	if (!wire_bytes(wire, &bytes))
		return refuse(d, descriptor, field, "truncated");
	if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		return read_message(d, descriptor, field, bytes, depth, at);
	return read_text(d, descriptor, field, bytes, at);
}

/* One field of the second walk; @whole is the message's bytes. */
static int read_field(struct decoder *d, void *message, struct wire *wire, struct wire whole, unsigned depth,
		      const size_t *counts)
{
	descriptor_t *descriptor = ((ProtobufCMessage *)message)->descriptor;
	struct wire_tag tag;
	struct wire bytes;
	field_t *field;
	bool packed;
	void *at;
	int r;

	if (!wire_tag(wire, &tag))
		return refuse(d, descriptor, NULL, "bad tag");
	field = field_of(descriptor, tag, &packed);
	if (!field)
		return wire_skip(wire, tag, depth) ? 0
						   : refuse(d, descriptor, NULL, "bad or truncated field");
	if (packed)
		return wire_bytes(wire, &bytes) ? read_packed(message, field, bytes)
						: refuse(d, descriptor, field, "truncated");
	at = field_at(message, field);
	if (field_is_repeated(field)) {
		r = read_value(d, message, field, wire, depth,
			       *(char **)at + *field_count(message, field) * field_size(field));
		++*field_count(message, field);
		return r;
	}
	if (field->type == PROTOBUF_C_TYPE_MESSAGE && counts[field - descriptor->fields] > 1) {
		if (!*(void **)at)
			*(void **)at = decode_merged(d, descriptor, field, whole, depth);
		if (!*(void **)at)
			return error_result(d->e);
		return wire_skip(wire, tag, depth) ? 0 : refuse(d, descriptor, field, "truncated");
	}
	if (field_has_flag(field))
		*field_flag(message, field) = 1;
	return read_value(d, message, field, wire, depth, at);
}

static int make_maps_unique(struct decoder *d, void *message)
{
	descriptor_t *descriptor = ((ProtobufCMessage *)message)->descriptor;

	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		field_t *field = &descriptor->fields[i];

		if (field_is_map(field) &&
		    map_unique(*(void ***)field_at(message, field), field_count(message, field)) < 0)
			return error_set(d->e, STATUS_RESOURCE_EXHAUSTED, ENOMEM,
					 "ttrpc err: %s: out of memory", descriptor->name);
	}
	return 0;
}

/* @depth is that of this message; the outermost has 1. */
static void *decode_message(struct decoder *d, descriptor_t *descriptor, struct wire wire, unsigned depth)
{
	size_t counts[FIELD_MAX] = {0};
	struct wire whole = wire;
	void *message;

	if (depth > WIRE_DEPTH_MAX || descriptor->n_fields > FIELD_MAX) {
		refuse(d, descriptor, NULL, "nested too deeply");
		return NULL;
	}
	if (survey(d, descriptor, wire, depth, counts) < 0)
		return NULL;
	message = take_message(descriptor, d);
	if (!message || make_arrays(d, message, counts) < 0)
		return NULL;
	while (wire.at < wire.end) {
		if (read_field(d, message, &wire, whole, depth, counts) < 0)
			return NULL;
	}
	return make_maps_unique(d, message) < 0 ? NULL : message;
}

void *proto_decode(const ProtobufCMessageDescriptor *descriptor, const void *data, size_t length,
		   struct arena *arena, struct error *e)
{
	struct error own = ERROR_INIT;
	struct decoder d = {.arena = arena, .e = e ? e : &own};

	if (__builtin_mul_overflow(length, (size_t)BUDGET_FACTOR, &d.budget) ||
	    __builtin_add_overflow(d.budget, (size_t)BUDGET_BASE, &d.budget)) {
		refuse(&d, descriptor, NULL, "too long");
		return NULL;
	}
	d.text = arena_alloc_raw(arena, length);
	if (!d.text) {
		error_set(d.e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "ttrpc err: %s: out of memory",
			  descriptor->name);
		return NULL;
	}
	return decode_message(&d, descriptor, wire_of(data, length), 1);
}
