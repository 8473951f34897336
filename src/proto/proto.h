/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_PROTO_H
#define PROTO_PROTO_H

/*
 * From bytes to messages and back, generically over the descriptors that protobuf-c generates: decoding into an arena
 * with the checks that the wire format asks for, and encoding.
 *
 * oci.proto and memagent.proto are proto2 files (wire-compatible with the hosts' proto3): every scalar there has a
 * `has_` member and absent strings are NULL, so "absent" and "0" stay apart, as the runtime-spec needs. In the other files
 * absent strings are "" and absent numbers 0.
 */

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

/*
 * Decodes @data; everything lives in @arena (do not call *_free_unpacked()). Checked first: well-formed wire data,
 * valid UTF-8 and no NUL in every string, nesting at most 100. Unknown fields are skipped. NULL with @e set: UNKNOWN
 * ("ttrpc err: …", what the reference answers for an undecodable payload).
 */
void *proto_decode(const ProtobufCMessageDescriptor *descriptor, const void *data, size_t length,
		   struct arena *arena, struct error *e);
/* Appends the serialized message. 0 or -ENOMEM. */
int proto_encode(const void *message, struct buf *out);
/* A deep copy in @arena; NULL when memory is out. */
void *proto_copy(const void *message, struct arena *arena);
/* A fresh message of @descriptor in @arena, initialised to defaults. */
void *proto_new(const ProtobufCMessageDescriptor *descriptor, struct arena *arena);

/* A method of the agent's services, for generic callers (the control tool, the policy). */
struct proto_method {
	const char *service; /* "grpc.AgentService" */
	const char *name;    /* "CreateContainer" */
	const ProtobufCMessageDescriptor *request;
	const ProtobufCMessageDescriptor *response;
};
/* All methods of all services, sorted by service and name. */
const struct proto_method *proto_methods(size_t *count);
/* NULL when unknown. @service NULL: any. Case-sensitive. */
const struct proto_method *proto_method_find(const char *service, const char *name);

#endif
