/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pairs are made into JSON by the kinds of the members that they name, and then take the way of all JSON: what is wrong
 * with a value is said by the one who knows the ranges.
 */
#include "ctl/request.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/str.h"
#include "ctl/units.h"
#include "proto/json.h"

enum { TEXT_MAX = 64 << 20, STDIN_STEP = 64 << 10 };

static const struct {
	const char *word;
	const char *name;
} short_names[] = {
	{"cid", "container_id"}, {"sid", "sandbox_id"}, {"sec", "Sec"}, {"usec", "Usec"}, {"type_", "type"},
};

bool request_is_pair(const char *word)
{
	size_t name = strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

	return name && word[name] == '=';
}

const ProtobufCFieldDescriptor *request_member(const struct proto_method *method, const char *word)
{
	_cleanup_free_ char *name = strndup(word, strcspn(word, "="));

	for (size_t i = 0; name && i < array_length(short_names); i++) {
		if (strcmp(name, short_names[i].word) == 0)
			return protobuf_c_message_descriptor_get_field_by_name(method->request,
									       short_names[i].name);
	}
	return name ? protobuf_c_message_descriptor_get_field_by_name(method->request, name) : NULL;
}

/* --- pairs --- */

static void write_quoted(struct buf *out, const char *text, size_t length)
{
	buf_append_char(out, '"');
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c == '"' || c == '\\')
			buf_printf(out, "\\u%04x", c);
		else
			buf_append_char(out, (char)c);
	}
	buf_append_char(out, '"');
}

static int hex_digit(char c)
{
	if (!isxdigit((unsigned char)c))
		return -1;
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

static int write_bytes(struct buf *out, const char *text, struct error *e)
{
	bool hex = str_starts_with(text, "hex:");
	size_t length;

	text += hex ? 4 : 0;
	length = strlen(text);
	buf_append_char(out, '[');
	for (size_t i = 0; i < length; i += hex ? 2 : 1) {
		int value = (unsigned char)text[i];

		if (hex) {
			int high = hex_digit(text[i]);
			int low = high < 0 ? -1 : hex_digit(text[i + 1]);

			if (low < 0)
				return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
						 "\"%s\" are not pairs of hexadecimal digits", text);
			value = high << 4 | low;
		}
		buf_printf(out, "%s%d", i ? "," : "", value);
	}
	buf_append_char(out, ']');
	return 0;
}

static int write_number(struct buf *out, const char *text, struct error *e)
{
	uint64_t value;

	/* Addresses and modes are usual in other bases; JSON has one. */
	if (str_starts_with(text, "0x") || str_starts_with(text, "0X")) {
		if (str_to_u64(text + 2, 16, &value) < 0)
			return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "\"%s\" is not a number", text);
		buf_printf(out, "%" PRIu64, value);
		return 0;
	}
	if (!*text || text[strspn(text, "-0123456789")])
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "\"%s\" is not a number", text);
	buf_append_string(out, text);
	return 0;
}

static int write_value(struct buf *out, const ProtobufCFieldDescriptor *field, const char *text,
		       struct error *e)
{
	uint32_t number;

	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		write_quoted(out, text, strlen(text));
		return 0;
	case PROTOBUF_C_TYPE_BYTES:
		return write_bytes(out, text, e);
	case PROTOBUF_C_TYPE_MESSAGE:
		/* JSON within. */
		buf_append_string(out, text);
		return 0;
	case PROTOBUF_C_TYPE_BOOL:
		if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
			return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "\"%s\" is not true or false",
					 text);
		buf_append_string(out, text);
		return 0;
	case PROTOBUF_C_TYPE_ENUM:
		if (!isdigit((unsigned char)*text)) {
			write_quoted(out, text, strlen(text));
			return 0;
		}
		break;
	default:
		break;
	}
	if (strcmp(field->name, "signal") == 0 && signal_parse(text, &number) == 0) {
		buf_printf(out, "%" PRIu32, number);
		return 0;
	}
	return write_number(out, text, e);
}

static int write_list(struct buf *out, const ProtobufCFieldDescriptor *field, const char *text,
		      struct error *e)
{
	_cleanup_free_ char *copy = strdup(text);
	char *rest = copy;
	char *word;
	bool first = true;

	if (!copy)
		return error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
	buf_append_char(out, '[');
	while (*text && (word = strsep(&rest, ","))) {
		if (!first)
			buf_append_char(out, ',');
		first = false;
		if (write_value(out, field, word, e) < 0)
			return error_result(e);
	}
	buf_append_char(out, ']');
	return 0;
}

static int write_pair(struct buf *out, const struct proto_method *method, const char *word, struct error *e)
{
	const ProtobufCFieldDescriptor *field = request_member(method, word);
	const char *text = strchr(word, '=') + 1;
	int r;

	if (!field)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "%s has no member for \"%s\"",
				 method->request->name, word);
	write_quoted(out, field->name, strlen(field->name));
	buf_append_char(out, ':');
	if (field->label == PROTOBUF_C_LABEL_REPEATED && field->type != PROTOBUF_C_TYPE_MESSAGE)
		r = write_list(out, field, text, e);
	else
		r = write_value(out, field, text, e);
	return r < 0 ? error_prefix(e, "%s", field->name) : 0;
}

static void *read_pairs(const struct proto_method *method, char **words, size_t count, struct arena *arena,
			struct error *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT;

	buf_append_char(&text, '{');
	for (size_t i = 0; i < count; i++) {
		if (!request_is_pair(words[i])) {
			error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				  "\"%s\" is neither JSON, @FILE, - nor MEMBER=VALUE", words[i]);
			return NULL;
		}
		if (i)
			buf_append_char(&text, ',');
		if (write_pair(&text, method, words[i], e) < 0)
			return NULL;
	}
	buf_append_char(&text, '}');
	if (text.failed) {
		error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
		return NULL;
	}
	return json_decode(method->request, (char *)buf_begin(&text), text.length, true, arena, e);
}

/* --- JSON --- */

static const char *read_stdin(struct arena *arena, size_t *length, struct error *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	const char *copy;

	for (;;) {
		uint8_t *room = buf_reserve(&text, STDIN_STEP);
		ssize_t n = room && text.length < TEXT_MAX ? read(STDIN_FILENO, room, STDIN_STEP) : -1;

		if (n < 0 && errno == EINTR && room)
			continue;
		if (n < 0) {
			error_set(e, STATUS_INVALID_ARGUMENT, EIO,
				  "standard input cannot be read, or is too long");
			return NULL;
		}
		if (n == 0)
			break;
		buf_commit(&text, (size_t)n);
	}
	*length = text.length;
	copy = arena_memdup(arena, buf_string(&text), text.length + 1);
	if (!copy)
		error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
	return copy;
}

static const char *read_file(const char *path, struct arena *arena, size_t *length, struct error *e)
{
	_cleanup_free_ char *text = NULL;
	ssize_t n = file_read(AT_FDCWD, path, TEXT_MAX, &text);
	const char *copy;

	if (n < 0) {
		error_errno(e, (int)-n, "read \"%s\"", path);
		return NULL;
	}
	*length = (size_t)n;
	copy = arena_memdup(arena, text, (size_t)n + 1);
	if (!copy)
		error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
	return copy;
}

const char *request_text(const char *argument, struct arena *arena, size_t *length, struct error *e)
{
	if (strcmp(argument, "-") == 0)
		return read_stdin(arena, length, e);
	if (argument[0] == '@')
		return read_file(argument + 1, arena, length, e);
	if (str_starts_with(argument, "file://"))
		return read_file(argument + 7, arena, length, e);
	if (str_starts_with(argument, "json://"))
		argument += 7;
	*length = strlen(argument);
	return argument;
}

void *request_read(const struct proto_method *method, char **words, size_t count, bool strict,
		   struct arena *arena, struct error *e)
{
	const char *text;
	size_t length;

	if (!count || request_is_pair(words[0]))
		return read_pairs(method, words, count, arena, e);
	if (count > 1) {
		error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "\"%s\": too many arguments", words[1]);
		return NULL;
	}
	text = request_text(words[0], arena, &length, e);
	return text ? json_decode(method->request, text, length, strict, arena, e) : NULL;
}
