/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as any message. The first byte chooses the method, its lowest bit request or response. What was decoded is
 * encoded, and decoded again, which must succeed and give the same bytes: nothing that we accept is something that we
 * would not send.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json.h"
#include "proto/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t size,
		  struct arena *arena)
{
	_cleanup_buf_ struct buf first = BUF_INIT;
	_cleanup_buf_ struct buf second = BUF_INIT;
	_cleanup_buf_ struct buf text = BUF_INIT;
	void *message = proto_decode(descriptor, data, size, arena, NULL);
	void *copy;

	if (!message)
		return;
	if (proto_encode(message, &first) < 0 || json_encode(message, JSON_DEFAULTS, &text) < 0)
		abort();
	message = proto_decode(descriptor, buf_begin(&first), first.length, arena, NULL);
	copy = message ? proto_copy(message, arena) : NULL;
	if (!copy || proto_encode(copy, &second) < 0 || first.length != second.length)
		abort();
	if (first.length && memcmp(buf_begin(&first), buf_begin(&second), first.length) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t count;
	const struct proto_method *methods = proto_methods(&count);
	struct arena *arena;

	if (!size || !(arena = arena_new(0)))
		return 0;
	methods += data[0] / 2 % count;
	check(data[0] & 1 ? methods->response : methods->request, data + 1, size - 1, arena);
	arena_free(arena);
	return 0;
}
