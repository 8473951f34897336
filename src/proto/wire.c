/* SPDX-License-Identifier: Apache-2.0 */
/* https://protobuf.dev/programming-guides/encoding/ */
#include "proto/wire.h"

bool wire_varint(struct wire *wire, uint64_t *out)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 70 && wire->at < wire->end; shift += 7) {
		uint8_t byte = *wire->at++;

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

bool wire_fixed64(struct wire *wire, uint64_t *out)
{
	uint64_t value = 0;

	if (wire->end - wire->at < 8)
		return false;
	for (unsigned i = 0; i < 8; i++)
		value |= (uint64_t)wire->at[i] << (8 * i);
	wire->at += 8;
	*out = value;
	return true;
}

bool wire_fixed32(struct wire *wire, uint32_t *out)
{
	uint32_t value = 0;

	if (wire->end - wire->at < 4)
		return false;
	for (unsigned i = 0; i < 4; i++)
		value |= (uint32_t)wire->at[i] << (8 * i);
	wire->at += 4;
	*out = value;
	return true;
}

bool wire_bytes(struct wire *wire, struct wire *out)
{
	uint64_t length;

	if (!wire_varint(wire, &length) || length > (uint64_t)(wire->end - wire->at))
		return false;
	*out = wire_of(wire->at, (size_t)length);
	wire->at += length;
	return true;
}

bool wire_tag(struct wire *wire, struct wire_tag *out)
{
	uint64_t value;

	if (!wire_varint(wire, &value) || value > UINT32_MAX || value >> 3 == 0 || (value & 7) > WIRE_32BIT)
		return false;
	*out = (struct wire_tag){(uint32_t)(value >> 3), (enum wire_type)(value & 7)};
	return true;
}

static bool skip_one(struct wire *wire, enum wire_type type)
{
	struct wire bytes;
	uint64_t number;
	uint32_t half;

	switch (type) {
	case WIRE_VARINT:
		return wire_varint(wire, &number);
	case WIRE_64BIT:
		return wire_fixed64(wire, &number);
	case WIRE_32BIT:
		return wire_fixed32(wire, &half);
	case WIRE_LENGTH:
		return wire_bytes(wire, &bytes);
	default:
		return false;
	}
}

bool wire_skip(struct wire *wire, struct wire_tag tag, unsigned depth)
{
	uint32_t open[WIRE_DEPTH_MAX];
	unsigned groups = 0;

	do {
		if (tag.type == WIRE_GROUP) {
			if (depth + groups >= WIRE_DEPTH_MAX)
				return false;
			open[groups++] = tag.number;
		} else if (tag.type == WIRE_GROUP_END) {
			if (!groups || open[--groups] != tag.number)
				return false;
		} else if (!skip_one(wire, tag.type)) {
			return false;
		}
	} while (groups && wire_tag(wire, &tag));
	return groups == 0;
}
