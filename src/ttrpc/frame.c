/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header codec: big-endian length and stream id, type, flags. It judges nothing.
 */

#include "ttrpc/frame.h"

static uint32_t read_be32(const uint8_t *in)
{
	return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

static void write_be32(uint8_t *out, uint32_t value)
{
	out[0] = (uint8_t)(value >> 24);
	out[1] = (uint8_t)(value >> 16);
	out[2] = (uint8_t)(value >> 8);
	out[3] = (uint8_t)value;
}

void frame_header_decode(const uint8_t in[FRAME_HEADER], struct frame_header *out)
{
	out->length = read_be32(in);
	out->stream = read_be32(in + 4);
	out->type = in[8];
	out->flags = in[9];
}

void frame_header_encode(const struct frame_header *header, uint8_t out[FRAME_HEADER])
{
	write_be32(out, header->length);
	write_be32(out + 4, header->stream);
	out[8] = header->type;
	out[9] = header->flags;
}
