/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TTRPC_FRAME_H
#define TTRPC_FRAME_H

/* The ten bytes in front of every message (reference 01, 1.1). */

#include <stdint.h>

enum { FRAME_HEADER = 10 }; /* bytes */

enum frame_type {
	FRAME_REQUEST = 1,
	FRAME_RESPONSE = 2,
	FRAME_DATA = 3,
};

enum frame_flag {
	FRAME_REMOTE_CLOSED = 0x01, /* on data: the sender's direction ends */
	FRAME_REMOTE_OPEN = 0x02,
	FRAME_NO_DATA = 0x04,
};

struct frame_header {
	uint32_t length; /* bytes after the header */
	uint32_t stream; /* odd: opened by the client */
	uint8_t type;	 /* enum frame_type, or anything a peer made up */
	uint8_t flags;
};

/* Any ten bytes are a header; whether it makes sense is the reader's business. */
void frame_header_decode(const uint8_t in[FRAME_HEADER], struct frame_header *out);
void frame_header_encode(const struct frame_header *header, uint8_t out[FRAME_HEADER]);

#endif
