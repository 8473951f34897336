/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes are a message or -EPROTO; what was accepted encodes to the same bytes again. */

#include <assert.h>
#include <string.h>

#include "engine/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct handshake_message message = {.fd = -1};
	uint8_t again[HANDSHAKE_MAX];

	if (handshake_decode(data, size, &message) < 0)
		return 0;
	assert(handshake_encode(&message, again) == size);
	assert(memcmp(again, data, size) == 0);
	return 0;
}
