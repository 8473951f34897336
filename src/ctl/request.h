/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_REQUEST_H
#define CTL_REQUEST_H

/* A request as a person writes it, behind the name of a method. */

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "proto/proto.h"

/*
 * The argument is one of
 *
 *	{…}, json://{…}		the request as JSON
 *	@FILE, file:///PATH	JSON in a file
 *	-			JSON from standard input
 *	NAME=VALUE …		its members, one a word: texts and numbers as they are, lists with commas, bytes as
 *				text or `hex:…`; cid, sid, sec and usec are short for container_id and so on
 *
 * or nothing, for an empty request. With @strict, members that it does not have are refused. NULL with @e set.
 */
void *request_read(const struct proto_method *method, char **words, size_t count, bool strict,
		   struct arena *arena, struct error *e);
/* The text behind json://, file:// and so on, in @arena; NULL with @e set. *@length is that of the text. */
const char *request_text(const char *argument, struct arena *arena, size_t *length, struct error *e);
/* True when a word is one of the NAME=VALUE form. */
bool request_is_pair(const char *word);
/* Where NAME=VALUE goes in this request; NULL where it has no such member. */
const ProtobufCFieldDescriptor *request_member(const struct proto_method *method, const char *word);

#endif
