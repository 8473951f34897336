/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_JSON_H
#define PROTO_JSON_H

/*
 * JSON ⇄ protobuf messages, by walking the generated descriptors: no table of fields is written by hand.
 *
 * Messages of oci.proto are spelled as the OCI runtime-spec spells them (`oomScoreAdj`, `uidMappings`, `ociVersion`,
 * `hugepageLimits[].pageSize`); all others as in the proto file (`container_id`, `OCI`, `memHotplugProbeAddr`). On input
 * both the OCI spelling and the proto's name are accepted everywhere. Bytes are base64 text on output; on input base64
 * text or an array of numbers. Enumerations are numbers or names. Maps are objects. 64-bit numbers are numbers (also
 * accepted as text); all of them are exact, also above INT64_MAX. null is the same as absent, and the last of several
 * members with one name counts.
 *
 * Members that the runtime-spec demands (`uid`, `hard`, `allow`, …) are written in OCI messages also when they are
 * absent, since the hosts' wire carries no zeros.
 */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

enum json_style {
	JSON_COMPACT = 0,
	/* Indented by two blanks. */
	JSON_PRETTY = 1 << 0,
	/* Every member, also those that have default values. */
	JSON_DEFAULTS = 1 << 1,
	/*
	 * The policy's form (reference 01, 8): the proto's names everywhere, but `type` is `type_`; bytes are arrays of
	 * numbers; enumerations are numbers; `"ErrnoRet": {"Errnoret": 1}`; nothing that only we have (numbers from
	 * 10000) while it is absent. Its input needs JSON_DEFAULTS too.
	 */
	JSON_POLICY = 1 << 2,
};

/* A message of @descriptor in @arena, or NULL with @e set: INVALID_ARGUMENT, naming the member's path
 * (`process.rlimits[0].hard: expected a number`). Unknown members are skipped, or, with @strict, refused. */
void *json_decode(const ProtobufCMessageDescriptor *descriptor, const char *text, size_t length, bool strict,
		  struct arena *arena, struct error *e);
/* Appends the message as JSON text, without a newline. 0 or -ENOMEM. */
int json_encode(const void *message, unsigned style, struct buf *out);

#endif
