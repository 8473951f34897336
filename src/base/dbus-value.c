/* SPDX-License-Identifier: Apache-2.0 */
/*
 * D-Bus values and messages as bytes.
 *
 * A value is aligned to its size, counted from the beginning of its message; a body begins at a multiple of
 * 8, so a body that is written or read alone has the same alignments. A reader never goes past its end: it
 * fails, and stays failed.
 */
#include "base/dbus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* --- writing -------------------------------------------------------------------------------------------- */

static void put_padding(struct buf *body, unsigned alignment)
{
	while (body->length % alignment && !body->failed)
		buf_append_char(body, '\0');
}

static void put_little_endian(struct buf *body, uint64_t value, unsigned size)
{
	uint8_t bytes[8];

	put_padding(body, size);
	for (unsigned i = 0; i < size; i++)
		bytes[i] = (uint8_t)(value >> 8 * i);
	buf_append(body, bytes, size);
}

void dbus_put_byte(struct buf *body, uint8_t value)
{
	put_little_endian(body, value, 1);
}

void dbus_put_bool(struct buf *body, bool value)
{
	put_little_endian(body, value, 4);
}

void dbus_put_u32(struct buf *body, uint32_t value)
{
	put_little_endian(body, value, 4);
}

void dbus_put_u64(struct buf *body, uint64_t value)
{
	put_little_endian(body, value, 8);
}

void dbus_put_string(struct buf *body, const char *text)
{
	size_t length = strlen(text);

	dbus_put_u32(body, (uint32_t)length);
	buf_append(body, text, length + 1);
}

void dbus_put_signature(struct buf *body, const char *signature)
{
	size_t length = strlen(signature);

	dbus_put_byte(body, (uint8_t)length);
	buf_append(body, signature, length + 1);
}

void dbus_put_struct(struct buf *body)
{
	put_padding(body, 8);
}

size_t dbus_array_begin(struct buf *body, unsigned alignment)
{
	size_t mark;

	dbus_put_u32(body, 0);
	mark = body->length;
	put_padding(body, alignment);
	return mark;
}

/* The length does not count the padding in front of the first element. */
void dbus_array_end(struct buf *body, size_t mark, unsigned alignment)
{
	size_t first = (mark + alignment - 1) / alignment * alignment;
	uint8_t *length;

	if (body->failed)
		return;
	length = buf_begin(body) + mark - 4;
	for (unsigned i = 0; i < 4; i++)
		length[i] = (uint8_t)((body->length - first) >> 8 * i);
}

/* --- reading -------------------------------------------------------------------------------------------- */

struct dbus_reader dbus_reader_of(const struct dbus_message *message)
{
	return (struct dbus_reader){
		.data = message->data + message->body,
		.length = message->body_length,
		.big_endian = message->big_endian,
	};
}

/* @size bytes at the next multiple of @alignment, or NULL. Padding must be zero. */
static const uint8_t *take(struct dbus_reader *reader, unsigned alignment, size_t size)
{
	while (!reader->failed && reader->at % alignment) {
		if (reader->at >= reader->length || reader->data[reader->at] != 0)
			reader->failed = true;
		reader->at++;
	}
	if (reader->failed || reader->length - reader->at < size) {
		reader->failed = true;
		return NULL;
	}
	reader->at += size;
	return reader->data + reader->at - size;
}

static uint64_t get_number(struct dbus_reader *reader, unsigned size)
{
	const uint8_t *bytes = take(reader, size, size);
	uint64_t value = 0;

	for (unsigned i = 0; bytes && i < size; i++)
		value |= (uint64_t)bytes[i] << 8 * (reader->big_endian ? size - 1 - i : i);
	return value;
}

uint8_t dbus_get_byte(struct dbus_reader *reader)
{
	return (uint8_t)get_number(reader, 1);
}

uint32_t dbus_get_u32(struct dbus_reader *reader)
{
	return (uint32_t)get_number(reader, 4);
}

uint64_t dbus_get_u64(struct dbus_reader *reader)
{
	return get_number(reader, 8);
}

static const char *get_text(struct dbus_reader *reader, size_t length)
{
	const uint8_t *text;

	if (reader->failed || length >= reader->length) {
		reader->failed = true;
		return "";
	}
	text = take(reader, 1, length + 1);
	if (!text || text[length] != '\0' || memchr(text, '\0', length) || !utf8_valid(text, length)) {
		reader->failed = true;
		return "";
	}
	return (const char *)text;
}

const char *dbus_get_string(struct dbus_reader *reader)
{
	return get_text(reader, dbus_get_u32(reader));
}

const char *dbus_get_signature(struct dbus_reader *reader)
{
	return get_text(reader, dbus_get_byte(reader));
}

static unsigned alignment_of(char type)
{
	switch (type) {
	case 'y':
	case 'g':
	case 'v':
		return 1;
	case 'n':
	case 'q':
		return 2;
	case 'x':
	case 't':
	case 'd':
	case '(':
	case '{':
		return 8;
	default:
		return 4;
	}
}

/* Moves over one complete type without a value. False when there is none. */
static bool skip_type(const char **signature, unsigned depth)
{
	char type = **signature;

	if (!type || depth > DBUS_DEPTH_MAX)
		return false;
	(*signature)++;
	if (type == 'a')
		return skip_type(signature, depth + 1);
	if (type != '(' && type != '{')
		return strchr("ybnqiuxtdsogvh", type) != NULL;
	do {
		if (!skip_type(signature, depth + 1))
			return false;
	} while (**signature && **signature != ')' && **signature != '}');
	if (**signature != (type == '(' ? ')' : '}'))
		return false;
	(*signature)++;
	return true;
}

static void skip_array(struct dbus_reader *reader, const char **signature, unsigned depth)
{
	const char *element = *signature;
	uint32_t length = dbus_get_u32(reader);
	size_t end;

	if (!skip_type(signature, depth + 1)) {
		reader->failed = true;
		return;
	}
	take(reader, alignment_of(*element), 0);
	if (reader->failed || length > reader->length - reader->at) {
		reader->failed = true;
		return;
	}
	end = reader->at + length;
	while (!reader->failed && reader->at < end) {
		const char *again = element;

		dbus_skip(reader, &again, depth + 1);
	}
	if (reader->at != end)
		reader->failed = true;
}

static void skip_variant(struct dbus_reader *reader, unsigned depth)
{
	const char *inner = dbus_get_signature(reader);
	const char *end = inner;

	if (reader->failed || !skip_type(&end, depth + 1) || *end) {
		reader->failed = true;
		return;
	}
	dbus_skip(reader, &inner, depth + 1);
}

static void skip_struct(struct dbus_reader *reader, const char **signature, char close, unsigned depth)
{
	take(reader, 8, 0);
	while (!reader->failed && **signature && **signature != close)
		dbus_skip(reader, signature, depth + 1);
	if (**signature != close)
		reader->failed = true;
	else
		(*signature)++;
}

void dbus_skip(struct dbus_reader *reader, const char **signature, unsigned depth)
{
	char type = **signature;

	if (reader->failed || !type || depth > DBUS_DEPTH_MAX) {
		reader->failed = true;
		return;
	}
	(*signature)++;
	switch (type) {
	case 'y':
		take(reader, 1, 1);
		break;
	case 'n':
	case 'q':
		take(reader, 2, 2);
		break;
	case 'b':
	case 'i':
	case 'u':
	case 'h':
		take(reader, 4, 4);
		break;
	case 'x':
	case 't':
	case 'd':
		take(reader, 8, 8);
		break;
	case 's':
	case 'o':
		dbus_get_string(reader);
		break;
	case 'g':
		dbus_get_signature(reader);
		break;
	case 'v':
		skip_variant(reader, depth);
		break;
	case 'a':
		skip_array(reader, signature, depth);
		break;
	case '(':
		skip_struct(reader, signature, ')', depth);
		break;
	case '{':
		skip_struct(reader, signature, '}', depth);
		break;
	default:
		reader->failed = true;
	}
}

/* --- messages ------------------------------------------------------------------------------------------- */

enum { HEADER_SIZE = 16, VERSION = 1 };

void dbus_message_deinit(struct dbus_message *message)
{
	free(message->data);
	*message = (struct dbus_message){.data = NULL};
}

static uint32_t header_u32(const uint8_t *header, size_t at)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < 4; i++)
		value |= (uint32_t)header[at + i] << 8 * (header[0] == 'B' ? 3 - i : i);
	return value;
}

ssize_t dbus_message_size(const uint8_t header[16])
{
	size_t body = header_u32(header, 4), fields = header_u32(header, 12);

	if ((header[0] != 'l' && header[0] != 'B') || header[3] != VERSION || body > DBUS_MESSAGE_MAX ||
	    fields > DBUS_MESSAGE_MAX || HEADER_SIZE + fields + body + 7 > DBUS_MESSAGE_MAX)
		return -EPROTO;
	return (ssize_t)((HEADER_SIZE + fields + 7) / 8 * 8 + body);
}

/* The codes of header fields that we know, with their types. */
static void take_field(struct dbus_reader *reader, struct dbus_message *out)
{
	static const char types[] = " osssussgu";
	uint8_t code = dbus_get_byte(reader);
	const char *signature = dbus_get_signature(reader);
	const char *text = "";
	const char **texts[] = {NULL,
				&out->path,
				&out->interface,
				&out->member,
				&out->error_name,
				NULL /* reply */,
				&out->destination,
				&out->sender,
				&out->signature};

	if (code == 0 || code >= sizeof(types) - 1) {
		const char *end = signature;

		if (!skip_type(&end, 0) || *end)
			reader->failed = true;
		else
			dbus_skip(reader, &signature, 1);
		return;
	}
	if (reader->failed || signature[0] != types[code] || signature[1] != '\0') {
		reader->failed = true;
		return;
	}
	if (types[code] == 'u') {
		uint32_t number = dbus_get_u32(reader);

		if (code == 5)
			out->reply_serial = number;
		return;
	}
	text = types[code] == 'g' ? dbus_get_signature(reader) : dbus_get_string(reader);
	*texts[code] = text;
}

/* What each type of message must have. */
static bool is_complete(const struct dbus_message *m)
{
	switch (m->type) {
	case DBUS_CALL:
		return *m->path && *m->member;
	case DBUS_RETURN:
		return m->reply_serial != 0;
	case DBUS_ERROR:
		return m->reply_serial != 0 && *m->error_name;
	case DBUS_SIGNAL:
		return *m->path && *m->interface && *m->member;
	default:
		return m->type != 0;
	}
}

/* The body has exactly what its signature says. */
static bool body_fits(const struct dbus_message *m)
{
	struct dbus_reader reader = dbus_reader_of(m);
	const char *signature = m->signature;

	while (*signature && !reader.failed)
		dbus_skip(&reader, &signature, 0);
	return !reader.failed && reader.at == reader.length;
}

int dbus_message_parse(uint8_t *data, size_t length, struct dbus_message *out)
{
	struct dbus_reader reader;
	size_t fields;

	*out = (struct dbus_message){
		.data = data,
		.path = "",
		.interface = "",
		.member = "",
		.error_name = "",
		.signature = "",
		.sender = "",
		.destination = "",
	};
	if (length < HEADER_SIZE || dbus_message_size(data) != (ssize_t)length)
		return -EPROTO;
	out->big_endian = data[0] == 'B';
	out->type = data[1];
	out->body_length = header_u32(data, 4);
	out->serial = header_u32(data, 8);
	fields = HEADER_SIZE + header_u32(data, 12);
	reader = (struct dbus_reader){
		.data = data, .length = fields, .at = HEADER_SIZE, .big_endian = out->big_endian};
	while (!reader.failed && reader.at < fields) {
		take(&reader, 8, 0);
		take_field(&reader, out);
	}
	out->body = (fields + 7) / 8 * 8;
	return reader.failed || !is_complete(out) || !body_fits(out) ? -EPROTO : 0;
}
