/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request, Response and Status by hand.
 *
 * A field is read by field_next(), which knows all of protobuf's wire format: it hands out scalars and the
 * range of length-delimited ones, and steps over groups. Whoever decodes picks the numbers it knows with the
 * wire type it expects; everything else, a known number of another wire type included, is an unknown field
 * and passed by. Of a singular field the last one wins; a repeated Status is merged.
 *
 * It must never read outside of the body, and never look at the payload.
 */

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/str.h"
#include "ttrpc/envelope.h"
#include "ttrpc/frame.h"

enum wire {
	WIRE_VARINT = 0,
	WIRE_FIXED64 = 1,
	WIRE_BYTES = 2,
	WIRE_GROUP = 3,
	WIRE_GROUP_END = 4,
	WIRE_FIXED32 = 5,
};

enum { GROUP_DEPTH_MAX = 100 };

/* What is left to read of a message. */
struct cursor {
	const uint8_t *at;
	const uint8_t *end;
};

/* An empty message may have no bytes at all: nothing is ever added to a null pointer. */
static struct cursor cursor_over(const uint8_t *bytes, size_t length)
{
	return (struct cursor){bytes, length > 0 ? bytes + length : bytes};
}

struct field {
	uint32_t number;
	enum wire wire;
	uint64_t value;	     /* WIRE_VARINT */
	const uint8_t *data; /* WIRE_BYTES */
	size_t length;
};

static bool read_varint(struct cursor *c, uint64_t *out)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t byte;

		if (c->at == c->end)
			return false;
		byte = *c->at++;
		if (shift == 63 && byte > 1)
			return false;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*out = value;
			return true;
		}
	}
	return false;
}

static bool read_tag(struct cursor *c, struct field *field)
{
	uint64_t tag;

	if (!read_varint(c, &tag) || tag > UINT32_MAX || tag >> 3 == 0)
		return false;
	field->number = (uint32_t)(tag >> 3);
	field->wire = (enum wire)(tag & 7);
	return true;
}

static bool skip_bytes(struct cursor *c, uint64_t count)
{
	if (count > (uint64_t)(c->end - c->at))
		return false;
	c->at += count;
	return true;
}

/* Reads what follows a tag, but for groups. */
static bool read_value(struct cursor *c, struct field *field)
{
	uint64_t length;

	switch (field->wire) {
	case WIRE_VARINT:
		return read_varint(c, &field->value);
	case WIRE_FIXED64:
		return skip_bytes(c, 8);
	case WIRE_FIXED32:
		return skip_bytes(c, 4);
	case WIRE_BYTES:
		if (!read_varint(c, &length))
			return false;
		field->data = c->at;
		field->length = (size_t)length;
		return skip_bytes(c, length);
	default:
		return false;
	}
}

/* Steps over a group whose start tag was read: each end must be that of the group which was opened last. */
static bool skip_group(struct cursor *c, uint32_t number)
{
	uint32_t open[GROUP_DEPTH_MAX];
	unsigned depth = 1;

	open[0] = number;
	while (depth > 0) {
		struct field field;

		if (!read_tag(c, &field))
			return false;
		if (field.wire == WIRE_GROUP) {
			if (depth == GROUP_DEPTH_MAX)
				return false;
			open[depth++] = field.number;
		} else if (field.wire == WIRE_GROUP_END) {
			if (open[--depth] != field.number)
				return false;
		} else if (!read_value(c, &field)) {
			return false;
		}
	}
	return true;
}

/* 1 with the next field, 0 at the end, -1 where the bytes are no message. A group comes out once, without
 * content. */
static int field_next(struct cursor *c, struct field *field)
{
	if (c->at == c->end)
		return 0;
	if (!read_tag(c, field))
		return -1;
	if (field->wire == WIRE_GROUP)
		return skip_group(c, field->number) ? 1 : -1;
	return read_value(c, field) ? 1 : -1;
}

static bool field_is(const struct field *field, uint32_t number, enum wire wire)
{
	return field->number == number && field->wire == wire;
}

/* A string as it lies in the body; it is terminated when all of the body has been read. */
struct text {
	uint8_t *data; /* NULL: absent */
	size_t length;
};

static int take_text(const struct field *field, uint8_t *body, const uint8_t *base, const char *name,
		     struct text *out, struct error *e)
{
	if (!utf8_valid(field->data, field->length))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "invalid request: %s is not UTF-8",
				 name);
	if (memchr(field->data, 0, field->length))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "invalid request: %s holds a NUL", name);
	out->data = body + (field->data - base);
	out->length = field->length;
	return 0;
}

/* The byte behind a string is a tag that has been read, or the spare byte behind the body: it can be
 * overwritten. */
static const char *end_text(struct text text)
{
	if (!text.data)
		return "";
	text.data[text.length] = '\0';
	return (const char *)text.data;
}

static int malformed(struct error *e)
{
	return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "invalid request: not a protobuf message");
}

struct key_value {
	struct text key;
	struct text value;
};

static int decode_key_value(const struct field *entry, uint8_t *body, const uint8_t *base,
			    struct key_value *out, struct error *e)
{
	struct cursor c = cursor_over(entry->data, entry->length);
	struct field field;
	int r;

	*out = (struct key_value){0};
	while ((r = field_next(&c, &field)) > 0) {
		if (field_is(&field, 1, WIRE_BYTES))
			r = take_text(&field, body, base, "a metadata key", &out->key, e);
		else if (field_is(&field, 2, WIRE_BYTES))
			r = take_text(&field, body, base, "a metadata value", &out->value, e);
		if (r < 0)
			return r;
	}
	return r < 0 ? malformed(e) : 0;
}

/* The fields of a request, with the entries of its metadata counted but not yet kept. */
struct request {
	struct text service;
	struct text method;
	size_t n_metadata;
};

static int decode_fields(uint8_t *body, size_t length, struct request *request, struct ttrpc_call *call,
			 struct error *e)
{
	struct cursor c = cursor_over(body, length);
	struct key_value pair;
	struct field field;
	int r;

	while ((r = field_next(&c, &field)) > 0) {
		r = 0;
		if (field_is(&field, 1, WIRE_BYTES)) {
			r = take_text(&field, body, body, "the service", &request->service, e);
		} else if (field_is(&field, 2, WIRE_BYTES)) {
			r = take_text(&field, body, body, "the method", &request->method, e);
		} else if (field_is(&field, 3, WIRE_BYTES)) {
			call->payload = field.data;
			call->payload_length = field.length;
		} else if (field_is(&field, 4, WIRE_VARINT)) {
			call->timeout_ns = (int64_t)field.value;
		} else if (field_is(&field, 5, WIRE_BYTES)) {
			if (request->n_metadata++ == ENVELOPE_METADATA_MAX)
				return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
						 "invalid request: more than %d metadata entries",
						 ENVELOPE_METADATA_MAX);
			r = decode_key_value(&field, body, body, &pair, e);
		}
		if (r < 0)
			return r;
	}
	return r < 0 ? malformed(e) : 0;
}

/* A second walk, when the number of entries is known. The body was found valid: nothing here can fail. */
static void keep_metadata(uint8_t *body, size_t length, struct key_value *pairs)
{
	struct cursor c = cursor_over(body, length);
	struct field field;
	size_t n = 0;

	while (field_next(&c, &field) > 0)
		if (field_is(&field, 5, WIRE_BYTES))
			decode_key_value(&field, body, body, &pairs[n++], NULL);
}

int envelope_decode_request(uint8_t *body, size_t length, struct arena *arena, struct ttrpc_call *call,
			    struct error *e)
{
	struct request request = {0};
	struct ttrpc_metadata *metadata;
	struct key_value *pairs;
	int r = decode_fields(body, length, &request, call, e);

	if (r < 0)
		return r;
	if (request.n_metadata > 0) {
		pairs = arena_array(arena, request.n_metadata, sizeof(*pairs));
		metadata = arena_array(arena, request.n_metadata, sizeof(*metadata));
		if (!pairs || !metadata)
			return error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
		keep_metadata(body, length, pairs);
		for (size_t i = 0; i < request.n_metadata; i++) {
			metadata[i].key = end_text(pairs[i].key);
			metadata[i].value = end_text(pairs[i].value);
		}
		call->metadata = metadata;
		call->n_metadata = request.n_metadata;
	}
	call->service = end_text(request.service);
	call->method = end_text(request.method);
	return 0;
}

static bool decode_status(const struct field *status, struct ttrpc_reply *reply)
{
	struct cursor c = cursor_over(status->data, status->length);
	struct field field;
	int r;

	while ((r = field_next(&c, &field)) > 0) {
		if (field_is(&field, 1, WIRE_VARINT))
			reply->status.code = (uint32_t)field.value;
		else if (field_is(&field, 2, WIRE_BYTES))
			utf8_sanitize(field.data, field.length, reply->status.text,
				      sizeof(reply->status.text));
	}
	return r == 0;
}

int envelope_decode_response(const uint8_t *body, size_t length, struct ttrpc_reply *reply, struct error *e)
{
	struct cursor c = cursor_over(body, length);
	struct field field;
	int r;

	while ((r = field_next(&c, &field)) > 0) {
		if (field_is(&field, 1, WIRE_BYTES)) {
			if (!decode_status(&field, reply))
				break;
		} else if (field_is(&field, 2, WIRE_BYTES)) {
			reply->payload = field.data;
			reply->payload_length = field.length;
		}
	}
	if (r != 0)
		return error_set(e, STATUS_INTERNAL, EPROTO, "invalid response: not a protobuf message");
	return 0;
}

static size_t varint_size(uint64_t value)
{
	size_t n = 1;

	while (value >>= 7)
		n++;
	return n;
}

static uint8_t *put_varint(uint8_t *out, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		*out++ = (uint8_t)(value | 0x80);
	*out++ = (uint8_t)value;
	return out;
}

/* Tag and length of a length-delimited field with a number below 16. */
static uint8_t *put_bytes_head(uint8_t *out, unsigned number, size_t length)
{
	*out++ = (uint8_t)(number << 3 | WIRE_BYTES);
	return put_varint(out, length);
}

static uint8_t *put_text(uint8_t *out, unsigned number, const char *text, size_t length)
{
	out = put_bytes_head(out, number, length);
	memcpy(out, text, length);
	return out + length;
}

static size_t bytes_size(size_t length)
{
	return length > 0 ? 1 + varint_size(length) + length : 0;
}

size_t envelope_ok_size(size_t payload_length)
{
	return 2 + bytes_size(payload_length);
}

size_t envelope_encode_ok(uint8_t out[ENVELOPE_OK_MAX], uint32_t stream, size_t payload_length)
{
	struct frame_header header = {
		.length = (uint32_t)envelope_ok_size(payload_length),
		.stream = stream,
		.type = FRAME_RESPONSE,
	};
	uint8_t *at = out + FRAME_HEADER;

	frame_header_encode(&header, out);
	/* Present but empty: the one form of OK that no peer misreads (reference 01, 1.3). */
	at = put_bytes_head(at, 1, 0);
	if (payload_length > 0)
		at = put_bytes_head(at, 2, payload_length);
	return (size_t)(at - out);
}

size_t envelope_encode_error(uint8_t out[ENVELOPE_ERROR_MAX], uint32_t stream, uint32_t code,
			     const char *text)
{
	char clean[ERROR_TEXT_MAX];
	size_t length = utf8_sanitize(text, strlen(text), clean, sizeof(clean));
	size_t status = 1 + varint_size(code) + bytes_size(length);
	struct frame_header header = {
		.length = (uint32_t)bytes_size(status),
		.stream = stream,
		.type = FRAME_RESPONSE,
	};
	uint8_t *at = out + FRAME_HEADER;

	frame_header_encode(&header, out);
	at = put_bytes_head(at, 1, status);
	*at++ = 1 << 3 | WIRE_VARINT;
	at = put_varint(at, code);
	if (length > 0)
		at = put_text(at, 2, clean, length);
	return (size_t)(at - out);
}

int envelope_encode_request(struct envelope_request *out, uint32_t stream, const char *service,
			    const char *method, size_t payload_length, int64_t timeout_ns, struct error *e)
{
	size_t service_length = strlen(service), method_length = strlen(method), length;
	struct frame_header header = {.stream = stream, .type = FRAME_REQUEST};
	uint8_t *at = out->prefix + FRAME_HEADER;

	if (service_length > ENVELOPE_NAME_MAX || method_length > ENVELOPE_NAME_MAX)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "name of service or method is too long");
	if (payload_length > TTRPC_MESSAGE_MAX)
		length = payload_length;
	else
		length = bytes_size(service_length) + bytes_size(method_length) + bytes_size(payload_length) +
			 (timeout_ns > 0 ? 1 + varint_size((uint64_t)timeout_ns) : 0);
	if (length > TTRPC_MESSAGE_MAX)
		return error_set(e, STATUS_RESOURCE_EXHAUSTED, EMSGSIZE,
				 "message length %zu exceed maximum message size of %d", length,
				 TTRPC_MESSAGE_MAX);
	header.length = (uint32_t)length;
	frame_header_encode(&header, out->prefix);
	if (service_length > 0)
		at = put_text(at, 1, service, service_length);
	if (method_length > 0)
		at = put_text(at, 2, method, method_length);
	if (payload_length > 0)
		at = put_bytes_head(at, 3, payload_length);
	out->prefix_length = (size_t)(at - out->prefix);
	at = out->suffix;
	if (timeout_ns > 0) {
		*at++ = 4 << 3 | WIRE_VARINT;
		at = put_varint(at, (uint64_t)timeout_ns);
	}
	out->suffix_length = (size_t)(at - out->suffix);
	return 0;
}
