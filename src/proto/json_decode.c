/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From JSON text to messages. jansson makes the tree (and sees to UTF-8, NUL and nesting); from there on, each value must
 * be of its member's kind and in its range, and what is wrong is named by its path. The tree is gone afterwards: all
 * that the message needs is in the arena.
 *
 * As with readers written in Go: the last of several members with one name counts, and null is the same as absent.
 */
/* Before jansson.h, whose macros have one name in common with our styles. */
#include "proto/json.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "proto/base64.h"
#include "proto/field.h"
#include "proto/json_name.h"
#include "proto/json_text.h"
#include "proto/map.h"
#include "proto/proto.h"

struct reader {
	struct arena *arena;
	bool strict;
	char mark; /* a text that begins so is an integer (json_text.h); 0: there are none */
	struct error *e;
};

/* Where we are, for messages: a member or, without a name, an element. */
struct path {
	const struct path *up;
	const char *name;
	size_t index;
};

static void path_write(const struct path *path, struct buf *out)
{
	if (!path)
		return;
	path_write(path->up, out);
	if (path->name)
		buf_printf(out, "%s%s", path->up ? "." : "", path->name);
	else
		buf_printf(out, "[%zu]", path->index);
}

static int fail(struct reader *r, const struct path *path, const char *why)
{
	_cleanup_buf_ struct buf where = BUF_INIT;

	path_write(path, &where);
	return error_set(r->e, STATUS_INVALID_ARGUMENT, EINVAL, "%s%s%s", str_or_empty(buf_string(&where)),
			 path ? ": " : "", why);
}

static int fail_memory(struct reader *r)
{
	return error_set(r->e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "JSON: out of memory");
}

static void *read_message(struct reader *r, const struct path *path,
			  const ProtobufCMessageDescriptor *descriptor, json_t *value);

static bool is_marked(const struct reader *r, const char *text)
{
	return r->mark && text[0] == r->mark;
}

/* --- numbers --- */

struct range {
	int64_t min;
	uint64_t max;
	bool wide; /* 64 bits: text is understood too */
};

static struct range range_of(const ProtobufCFieldDescriptor *field)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return (struct range){0, UINT64_MAX, true};
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return (struct range){INT64_MIN, INT64_MAX, true};
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return (struct range){0, UINT32_MAX, false};
	default:
		return (struct range){INT32_MIN, INT32_MAX, false};
	}
}

static int fail_range(struct reader *r, const struct path *path, const struct range *range)
{
	char text[96];

	snprintf(text, sizeof(text), "out of range (%" PRId64 " to %" PRIu64 ")", range->min, range->max);
	return fail(r, path, text);
}

/* A number as 64 bits of two's complement. */
static int read_integer(struct reader *r, const struct path *path, struct range range, json_t *value,
			uint64_t *out)
{
	const char *text = json_string_value(value);
	int64_t number = json_integer_value(value);
	int result = 0;

	if (text && (is_marked(r, text) || range.wide)) {
		bool marked = is_marked(r, text);

		result = range.min < 0 ? str_to_i64(text + marked, 10, &number)
				       : str_to_u64(text + marked, 10, (uint64_t *)&number);
		if (result < 0 && !marked && result != -ERANGE)
			return fail(r, path, "expected a number");
		/* What is marked was beyond 64 signed bits, so only the largest of ranges can hold it. */
		if (result < 0 || (marked && !range.wide))
			return fail_range(r, path, &range);
		*out = (uint64_t)number;
		return 0;
	}
	if (json_is_real(value))
		return fail(r, path, "expected an integer");
	if (!json_is_integer(value))
		return fail(r, path, "expected a number");
	if (number < range.min || (number > 0 && (uint64_t)number > range.max))
		return fail_range(r, path, &range);
	*out = (uint64_t)number;
	return 0;
}

static int read_enum(struct reader *r, const struct path *path, const ProtobufCFieldDescriptor *field,
		     json_t *value, uint64_t *out)
{
	const char *text = json_string_value(value);
	const ProtobufCEnumValue *known;

	if (!text || is_marked(r, text))
		return read_integer(r, path, range_of(field), value, out);
	known = protobuf_c_enum_descriptor_get_value_by_name(field->descriptor, text);
	if (!known)
		return fail(r, path, "no such name");
	*out = (uint64_t)known->value;
	return 0;
}

/* --- texts and bytes --- */

static int read_text(struct reader *r, const struct path *path, json_t *value, char **out)
{
	const char *text = json_string_value(value);

	if (!text || is_marked(r, text))
		return fail(r, path, "expected a text");
	*out = arena_strdup(r->arena, text);
	return *out ? 0 : fail_memory(r);
}

static int read_base64(struct reader *r, const struct path *path, const char *text, ProtobufCBinaryData *out)
{
	size_t length = strlen(text);
	ssize_t decoded;

	out->data = arena_alloc(r->arena, length / 4 * 3 + 3);
	if (!out->data)
		return fail_memory(r);
	decoded = base64_decode(text, length, out->data);
	if (decoded < 0)
		return fail(r, path, "expected base64");
	out->len = (size_t)decoded;
	return 0;
}

static int read_bytes(struct reader *r, const struct path *path, json_t *value, ProtobufCBinaryData *out)
{
	const char *text = json_string_value(value);

	if (text && !is_marked(r, text))
		return read_base64(r, path, text, out);
	if (!json_is_array(value))
		return fail(r, path, "expected base64 or an array of numbers");
	out->len = json_array_size(value);
	out->data = arena_alloc(r->arena, out->len);
	if (!out->data)
		return fail_memory(r);
	for (size_t i = 0; i < out->len; i++) {
		struct path element = {path, NULL, i};
		uint64_t byte;
		int result = read_integer(r, &element, (struct range){0, UINT8_MAX, false},
					  json_array_get(value, i), &byte);

		if (result < 0)
			return result;
		out->data[i] = (uint8_t)byte;
	}
	return 0;
}

/* --- members --- */

static int read_value(struct reader *r, const struct path *path, const ProtobufCFieldDescriptor *field,
		      json_t *value, void *at)
{
	uint64_t number = 0;
	int result;

	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		return read_text(r, path, value, at);
	case PROTOBUF_C_TYPE_BYTES:
		return read_bytes(r, path, value, at);
	case PROTOBUF_C_TYPE_MESSAGE:
		*(void **)at = read_message(r, path, field->descriptor, value);
		return *(void **)at ? 0 : error_result(r->e);
	case PROTOBUF_C_TYPE_BOOL:
		if (!json_is_boolean(value))
			return fail(r, path, "expected true or false");
		*(protobuf_c_boolean *)at = json_is_true(value);
		return 0;
	case PROTOBUF_C_TYPE_ENUM:
		result = read_enum(r, path, field, value, &number);
		break;
	default:
		result = read_integer(r, path, range_of(field), value, &number);
		break;
	}
	if (result < 0)
		return result;
	if (field_size(field) == sizeof(uint64_t))
		*(uint64_t *)at = number;
	else
		*(uint32_t *)at = (uint32_t)number;
	return 0;
}

static int read_list(struct reader *r, const struct path *path, const ProtobufCFieldDescriptor *field,
		     json_t *value, void *message)
{
	size_t count = json_array_size(value);
	char *array;

	if (!json_is_array(value))
		return fail(r, path, "expected an array");
	*field_count(message, field) = 0;
	*(void **)field_at(message, field) = array = arena_array(r->arena, count, field_size(field));
	if (!array)
		return fail_memory(r);
	for (size_t i = 0; i < count; i++) {
		struct path element = {path, NULL, i};
		int result = read_value(r, &element, field, json_array_get(value, i),
					array + i * field_size(field));

		if (result < 0)
			return result;
		++*field_count(message, field);
	}
	return 0;
}

static void *fresh_message(const ProtobufCMessageDescriptor *descriptor, void *data)
{
	struct reader *r = data;

	return proto_new(descriptor, r->arena);
}

static int read_entry(struct reader *r, const struct path *path, const ProtobufCMessageDescriptor *descriptor,
		      const char *key, json_t *value, void **out)
{
	const ProtobufCFieldDescriptor *members = descriptor->fields;
	void *entry = proto_new(descriptor, r->arena);
	char *name = arena_strdup(r->arena, key);
	int result;

	if (!entry || !name)
		return fail_memory(r);
	*(char **)field_at(entry, &members[0]) = name;
	result = read_value(r, path, &members[1], value, field_at(entry, &members[1]));
	if (result < 0)
		return result;
	if (field_has_flag(&members[1]))
		*field_flag(entry, &members[1]) = 1;
	*out = entry;
	return map_entry_complete(entry, fresh_message, r) < 0 ? fail_memory(r) : 0;
}

static int read_map(struct reader *r, const struct path *path, const ProtobufCFieldDescriptor *field,
		    json_t *value, void *message)
{
	const char *key;
	json_t *member;
	void **entries;

	if (!json_is_object(value))
		return fail(r, path, "expected an object");
	*field_count(message, field) = 0;
	*(void **)field_at(message, field) = entries =
		arena_array(r->arena, json_object_size(value), sizeof(void *));
	if (!entries)
		return fail_memory(r);
	json_object_foreach(value, key, member)
	{
		struct path below = {path, key, 0};
		int result;

		if (json_is_null(member))
			continue;
		result = read_entry(r, &below, field->descriptor, key, member,
				    &entries[*field_count(message, field)]);
		if (result < 0)
			return result;
		++*field_count(message, field);
	}
	return 0;
}

static int read_member(struct reader *r, const struct path *path, const ProtobufCFieldDescriptor *field,
		       json_t *value, void *message)
{
	int result;

	if (field_is_map(field))
		return read_map(r, path, field, value, message);
	if (field_is_repeated(field))
		return read_list(r, path, field, value, message);
	result = read_value(r, path, field, value, field_at(message, field));
	if (result == 0 && field_has_flag(field))
		*field_flag(message, field) = 1;
	return result;
}

/* The policy's form of a oneof: `"ErrnoRet": {"Errnoret": 1}`. */
static const ProtobufCFieldDescriptor *find_errno_oneof(const ProtobufCMessageDescriptor *descriptor,
							const char *key, json_t **value)
{
	json_t *inner = strcmp(key, "ErrnoRet") == 0 ? json_object_get(*value, "Errnoret") : NULL;

	if (!inner)
		return NULL;
	*value = inner;
	return json_name_find(descriptor, "errnoret");
}

static void *read_message(struct reader *r, const struct path *path,
			  const ProtobufCMessageDescriptor *descriptor, json_t *value)
{
	void *message;
	const char *key;
	json_t *member;

	if (!json_is_object(value)) {
		fail(r, path, "expected an object");
		return NULL;
	}
	message = proto_new(descriptor, r->arena);
	if (!message) {
		fail_memory(r);
		return NULL;
	}
	json_object_foreach(value, key, member)
	{
		struct path below = {path, key, 0};
		const ProtobufCFieldDescriptor *field;

		if (json_is_null(member))
			continue;
		field = json_name_find(descriptor, key);
		if (!field)
			field = find_errno_oneof(descriptor, key, &member);
		if (!field && r->strict) {
			fail(r, &below, "unknown member");
			return NULL;
		}
		if (field && read_member(r, &below, field, member, message) < 0)
			return NULL;
	}
	return message;
}

static void json_freep(json_t **value)
{
	json_decref(*value);
}

void *json_decode(const ProtobufCMessageDescriptor *descriptor, const char *text, size_t length, bool strict,
		  struct arena *arena, struct error *e)
{
	struct error own = ERROR_INIT;
	struct reader r = {.arena = arena, .strict = strict, .e = e ? e : &own};
	_cleanup_buf_ struct buf marked = BUF_INIT;
	__attribute__((cleanup(json_freep))) json_t *tree = NULL;
	json_error_t problem;

	if (json_text_mark_integers(text, length, &marked, &r.mark, r.e) < 0)
		return NULL;
	if (r.mark)
		tree = json_loadb((const char *)buf_begin(&marked), marked.length, 0, &problem);
	else
		tree = json_loadb(length ? text : "", length, 0, &problem);
	if (!tree) {
		error_set(r.e, STATUS_INVALID_ARGUMENT, EINVAL, "JSON: line %d, column %d: %s", problem.line,
			  problem.column, problem.text);
		return NULL;
	}
	return read_message(&r, NULL, descriptor, tree);
}
