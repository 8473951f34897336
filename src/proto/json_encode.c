/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From messages to JSON text, written as it goes: there is no tree in between. Members come in the order of their
 * numbers.
 *
 * A member that is absent is left out, unless the style asks for all of them or the runtime-spec demands it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "proto/base64.h"
#include "proto/field.h"
#include "proto/json.h"
#include "proto/json_name.h"

/* From here up the numbers are ours, and no policy knows them. */
enum { FIELD_OURS = 10000 };

struct writer {
	struct buf *out; /* remembers a failed append */
	unsigned style;
	unsigned depth;
};

static void write_message(struct writer *w, const ProtobufCMessage *message);

static void write_break(struct writer *w)
{
	if (!(w->style & JSON_PRETTY))
		return;
	buf_append_char(w->out, '\n');
	for (unsigned i = 0; i < w->depth; i++)
		buf_append_string(w->out, "  ");
}

static void open_bracket(struct writer *w, char bracket)
{
	buf_append_char(w->out, bracket);
	w->depth++;
}

/* Before each element. @n counts what was written between these brackets. */
static void write_separator(struct writer *w, size_t *n)
{
	if ((*n)++)
		buf_append_char(w->out, ',');
	write_break(w);
}

static void close_bracket(struct writer *w, char bracket, size_t n)
{
	w->depth--;
	if (n)
		write_break(w);
	buf_append_char(w->out, bracket);
}

static void write_escaped(struct writer *w, const char *text, size_t length)
{
	size_t plain = 0;

	buf_append_char(w->out, '"');
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buf_append(w->out, text + plain, i - plain);
		plain = i + 1;
		if (c == '"' || c == '\\')
			buf_printf(w->out, "\\%c", c);
		else if (c == '\n')
			buf_append_string(w->out, "\\n");
		else if (c == '\t')
			buf_append_string(w->out, "\\t");
		else
			buf_printf(w->out, "\\u%04x", c);
	}
	buf_append(w->out, text + plain, length - plain);
	buf_append_char(w->out, '"');
}

/* What is not UTF-8 is replaced: the result is JSON whatever the message holds. */
static void write_text(struct writer *w, const char *text)
{
	size_t length = strlen(text);
	_cleanup_free_ char *clean = NULL;

	if (utf8_valid(text, length)) {
		write_escaped(w, text, length);
		return;
	}
	/* A byte becomes the three of U+FFFD at most. */
	clean = malloc(3 * length + 1);
	if (!clean) {
		w->out->failed = true;
		return;
	}
	write_escaped(w, clean, utf8_sanitize(text, length, clean, 3 * length + 1));
}

static void write_name(struct writer *w, const char *name, size_t *n)
{
	write_separator(w, n);
	write_text(w, name);
	buf_append_string(w->out, w->style & JSON_PRETTY ? ": " : ":");
}

static void write_bytes(struct writer *w, const ProtobufCBinaryData *bytes)
{
	size_t n = 0;

	if (!(w->style & JSON_POLICY)) {
		buf_append_char(w->out, '"');
		base64_encode(bytes->data, bytes->len, w->out);
		buf_append_char(w->out, '"');
		return;
	}
	open_bracket(w, '[');
	for (size_t i = 0; i < bytes->len; i++) {
		write_separator(w, &n);
		buf_printf(w->out, "%u", bytes->data[i]);
	}
	close_bracket(w, ']', n);
}

static void write_enum(struct writer *w, const ProtobufCEnumDescriptor *descriptor, int value)
{
	const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(descriptor, value);

	if (known && !(w->style & JSON_POLICY))
		write_text(w, known->name);
	else
		buf_printf(w->out, "%d", value);
}

static void write_value(struct writer *w, const ProtobufCFieldDescriptor *field, const void *at)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		write_text(w, str_or_empty(*(char *const *)at));
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		if (*(void *const *)at)
			write_message(w, *(void *const *)at);
		else
			buf_append_string(w->out, "null");
		break;
	case PROTOBUF_C_TYPE_BYTES:
		write_bytes(w, at);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		buf_append_string(w->out, *(const protobuf_c_boolean *)at ? "true" : "false");
		break;
	case PROTOBUF_C_TYPE_ENUM:
		write_enum(w, field->descriptor, *(const int *)at);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		buf_printf(w->out, "%" PRId64, *(const int64_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		buf_printf(w->out, "%" PRIu64, *(const uint64_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		buf_printf(w->out, "%" PRIu32, *(const uint32_t *)at);
		break;
	default:
		buf_printf(w->out, "%" PRId32, *(const int32_t *)at);
		break;
	}
}

static void write_list(struct writer *w, const ProtobufCFieldDescriptor *field, const void *message)
{
	const char *array = *(char **)field_at(message, field);
	size_t count = *field_count(message, field);
	size_t n = 0;

	open_bracket(w, '[');
	for (size_t i = 0; i < count; i++) {
		write_separator(w, &n);
		write_value(w, field, array + i * field_size(field));
	}
	close_bracket(w, ']', n);
}

static void write_map(struct writer *w, const ProtobufCFieldDescriptor *field, const void *message)
{
	void **entries = *(void ***)field_at(message, field);
	const ProtobufCFieldDescriptor *members =
		((const ProtobufCMessageDescriptor *)field->descriptor)->fields;
	size_t n = 0;

	open_bracket(w, '{');
	for (size_t i = 0; i < *field_count(message, field); i++) {
		write_name(w, str_or_empty(*(char **)field_at(entries[i], &members[0])), &n);
		write_value(w, &members[1], field_at(entries[i], &members[1]));
	}
	close_bracket(w, '}', n);
}

static bool is_present(const void *message, const ProtobufCFieldDescriptor *field)
{
	static const char zero[sizeof(ProtobufCBinaryData)];
	const void *at = field_at(message, field);

	if (field_is_repeated(field))
		return *field_count(message, field) > 0;
	if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(void *const *)at != NULL;
	if (field->type == PROTOBUF_C_TYPE_STRING)
		return field->label == PROTOBUF_C_LABEL_OPTIONAL ? *(char *const *)at != NULL
								 : !str_is_empty(*(char *const *)at);
	if (field_has_flag(field))
		return *field_flag(message, field);
	if (field->type == PROTOBUF_C_TYPE_BYTES)
		return ((const ProtobufCBinaryData *)at)->len > 0;
	return memcmp(at, zero, field_size(field)) != 0;
}

/* A member that is absent and yet written has the value null instead of its default. */
static bool is_null(const ProtobufCMessageDescriptor *descriptor, const ProtobufCFieldDescriptor *field)
{
	if (field_is_repeated(field))
		return false;
	if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		return true;
	/* For the hosts, the scalars of oci.proto have no presence, those of memagent.proto have. */
	return field->label == PROTOBUF_C_LABEL_OPTIONAL && !json_is_oci(descriptor);
}

static bool is_wanted(const struct writer *w, const ProtobufCMessageDescriptor *descriptor,
		      const ProtobufCFieldDescriptor *field)
{
	if (w->style & JSON_POLICY && field->id >= FIELD_OURS)
		return false;
	if (w->style & JSON_DEFAULTS)
		return true;
	return json_is_oci(descriptor) && json_is_required(descriptor, field);
}

/* The hosts have this one as a oneof, which shows in the policy's form. */
static bool is_errno_oneof(const struct writer *w, const ProtobufCFieldDescriptor *field)
{
	return w->style & JSON_POLICY && strcmp(field->name, "errnoret") == 0;
}

static void write_errno_oneof(struct writer *w, const ProtobufCFieldDescriptor *field, const void *message,
			      size_t *n)
{
	size_t inner = 0;

	write_name(w, "ErrnoRet", n);
	if (!is_present(message, field)) {
		buf_append_string(w->out, "null");
		return;
	}
	open_bracket(w, '{');
	write_name(w, "Errnoret", &inner);
	write_value(w, field, field_at(message, field));
	close_bracket(w, '}', inner);
}

static void write_member_name(struct writer *w, const ProtobufCMessageDescriptor *descriptor,
			      const ProtobufCFieldDescriptor *field, size_t *n)
{
	char spelling[JSON_NAME_SIZE];

	if (w->style & JSON_POLICY) {
		write_name(w, strcmp(field->name, "type") == 0 ? "type_" : field->name, n);
	} else if (json_is_oci(descriptor)) {
		json_name_oci(field->name, spelling);
		write_name(w, spelling, n);
	} else {
		write_name(w, field->name, n);
	}
}

static void write_member(struct writer *w, const ProtobufCMessage *message,
			 const ProtobufCFieldDescriptor *field, size_t *n)
{
	bool present = is_present(message, field);

	if (!present && !is_wanted(w, message->descriptor, field))
		return;
	if (is_errno_oneof(w, field)) {
		write_errno_oneof(w, field, message, n);
		return;
	}
	write_member_name(w, message->descriptor, field, n);
	if (!present && is_null(message->descriptor, field))
		buf_append_string(w->out, "null");
	else if (field_is_map(field))
		write_map(w, field, message);
	else if (field_is_repeated(field))
		write_list(w, field, message);
	else
		write_value(w, field, field_at(message, field));
}

static void write_message(struct writer *w, const ProtobufCMessage *message)
{
	size_t n = 0;

	open_bracket(w, '{');
	for (unsigned i = 0; i < message->descriptor->n_fields; i++)
		write_member(w, message, &message->descriptor->fields[i], &n);
	close_bracket(w, '}', n);
}

int json_encode(const void *message, unsigned style, struct buf *out)
{
	struct writer w = {.out = out, .style = style};

	write_message(&w, message);
	return out->failed ? -ENOMEM : 0;
}
