/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_JSON_NAME_H
#define PROTO_JSON_NAME_H

/* How members are spelled in JSON. Room-private. */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

enum { JSON_NAME_SIZE = 64 };

/* A message of oci.proto: one that a Spec is made of. */
bool json_is_oci(const ProtobufCMessageDescriptor *descriptor);
/* The runtime-spec's spelling, into @out: `OOMScoreAdj` becomes `oomScoreAdj`. */
void json_name_oci(const char *name, char out[static JSON_NAME_SIZE]);
/* The member that is meant by @key: in the proto's spelling, the runtime-spec's or the policy's (`type_`); or NULL. */
const ProtobufCFieldDescriptor *json_name_find(const ProtobufCMessageDescriptor *descriptor, const char *key);
/*
 * The runtime-spec demands the member, so a config.json has it even where the wire, which carries no zeros, did not:
 * `uid`, `hard`, `allow`, …
 */
bool json_is_required(const ProtobufCMessageDescriptor *descriptor, const ProtobufCFieldDescriptor *field);

#endif
