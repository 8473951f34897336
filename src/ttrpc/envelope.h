/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TTRPC_ENVELOPE_H
#define TTRPC_ENVELOPE_H

/*
 * The messages inside of frames: Request, Response, Status (reference 01, 1.3), coded by hand.
 *
 * Decoding copies nothing: what comes out points into the frame's body. Encoding makes what stands before and
 * behind the payload; the payload itself goes from the caller's memory to the socket.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "ttrpc/ttrpc.h"

enum {
	ENVELOPE_METADATA_MAX = 1024,		  /* entries in one request */
	ENVELOPE_NAME_MAX = 255,		  /* bytes of a service's or method's name that we send */
	ENVELOPE_OK_MAX = 32,			  /* bytes in front of the payload of an answer */
	ENVELOPE_ERROR_MAX = ERROR_TEXT_MAX + 48, /* bytes of an error answer */
	ENVELOPE_PREFIX_MAX = 2 * ENVELOPE_NAME_MAX + 48,
	ENVELOPE_SUFFIX_MAX = 16,
};

/*
 * Decodes a Request into the fields of @call. @body has @length bytes and one more that may be written:
 * strings are terminated in place, so the body is spoilt for a second decoding. Metadata's array comes from
 * @arena. Strings must be UTF-8 without NUL. 0, -EINVAL or -ENOMEM with @e set (code 3, code 8).
 */
int envelope_decode_request(uint8_t *body, size_t length, struct arena *arena, struct ttrpc_call *call,
			    struct error *e);

/*
 * Decodes a Response. A status with a code other than OK goes to @reply->status with its text made valid;
 * @reply's payload points into @body. 0 or -EPROTO with @e set.
 */
int envelope_decode_response(const uint8_t *body, size_t length, struct ttrpc_reply *reply, struct error *e);

/* Bytes of the Response message that carries OK and a payload of @payload_length bytes. */
size_t envelope_ok_size(size_t payload_length);
/* Frame header and all of an OK answer that stands in front of its payload. Returns the length written. */
size_t envelope_encode_ok(uint8_t out[ENVELOPE_OK_MAX], uint32_t stream, size_t payload_length);
/* A whole error answer with its frame header. @text is made valid UTF-8 and cut to ERROR_TEXT_MAX. */
size_t envelope_encode_error(uint8_t out[ENVELOPE_ERROR_MAX], uint32_t stream, uint32_t code,
			     const char *text);

/* A request's frame, but for the payload, which goes between @prefix and @suffix. */
struct envelope_request {
	size_t prefix_length;
	size_t suffix_length;
	uint8_t prefix[ENVELOPE_PREFIX_MAX];
	uint8_t suffix[ENVELOPE_SUFFIX_MAX];
};
/* 0; -EINVAL for names that are too long; -EMSGSIZE (code 8) for a message above TTRPC_MESSAGE_MAX. */
int envelope_encode_request(struct envelope_request *out, uint32_t stream, const char *service,
			    const char *method, size_t payload_length, int64_t timeout_ns, struct error *e);

#endif
