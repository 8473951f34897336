/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as a config.json, as two requests and in the policy's form. What was read is written, and must be read again
 * without loss.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/agent.pb-c.h"
#include "proto/json.h"
#include "proto/oci.pb-c.h"
#include "proto/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const ProtobufCMessageDescriptor *descriptor, const void *message, unsigned style,
		  struct arena *arena)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	_cleanup_buf_ struct buf second = BUF_INIT;
	const void *decoded;

	if (json_encode(message, style, &text) < 0)
		abort();
	decoded = json_decode(descriptor, (const char *)buf_begin(&text), text.length, true, arena, NULL);
	if (!decoded || json_encode(decoded, style, &second) < 0 || text.length != second.length ||
	    memcmp(buf_begin(&text), buf_begin(&second), text.length) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const ProtobufCMessageDescriptor *const descriptors[] = {
		&grpc__spec__descriptor,
		&grpc__create_container_request__descriptor,
		&grpc__copy_file_request__descriptor,
	};
	struct arena *arena = arena_new(0);

	if (!arena)
		return 0;
	for (size_t i = 0; i < sizeof(descriptors) / sizeof(descriptors[0]); i++) {
		void *message = json_decode(descriptors[i], (const char *)data, size, false, arena, NULL);

		if (!message)
			continue;
		again(descriptors[i], message, JSON_COMPACT, arena);
		again(descriptors[i], message, JSON_PRETTY | JSON_DEFAULTS, arena);
		again(descriptors[i], message, JSON_POLICY | JSON_DEFAULTS, arena);
	}
	arena_free(arena);
	return 0;
}
