/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

/*
 * The wire format below messages: numbers, tags, and fields to be skipped. A cursor never leaves its bytes; a function
 * that fails says so and leaves it anywhere.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_type {
	WIRE_VARINT = 0,
	WIRE_64BIT = 1,
	WIRE_LENGTH = 2,
	WIRE_GROUP = 3,
	WIRE_GROUP_END = 4,
	WIRE_32BIT = 5,
};

/* Messages and groups within each other. */
enum { WIRE_DEPTH_MAX = 100 };

struct wire {
	const uint8_t *at;
	const uint8_t *end;
};

struct wire_tag {
	uint32_t number;
	enum wire_type type;
};

static inline struct wire wire_of(const void *data, size_t length)
{
	const uint8_t *at = data;

	return (struct wire){at, length ? at + length : at};
}

/* At most ten bytes, and no bit beyond 64. */
bool wire_varint(struct wire *wire, uint64_t *out);
/* Little endian. */
bool wire_fixed32(struct wire *wire, uint32_t *out);
bool wire_fixed64(struct wire *wire, uint64_t *out);
/* A length and that many bytes. */
bool wire_bytes(struct wire *wire, struct wire *out);
/* Numbers 1 to 2^29-1, types 0 to 5. */
bool wire_tag(struct wire *wire, struct wire_tag *out);
/* The field behind @tag, groups with all that is in them; @depth is that of the message around it. */
bool wire_skip(struct wire *wire, struct wire_tag tag, unsigned depth);

#endif
