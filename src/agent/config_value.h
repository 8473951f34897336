/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CONFIG_VALUE_H
#define AGENT_CONFIG_VALUE_H

/* Kinds of configuration values: from text, and back for people. Rules of reference 02, section 3.6. */

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

enum value_kind {
	VALUE_FLAG,	     /* bool: its mere presence, or true and false in a file */
	VALUE_SWITCH,	     /* bool: "true", "false", or a number that is 0 or not */
	VALUE_PORT,	     /* uint32_t: 1 to 2^31 - 1; 0 is off */
	VALUE_SIZE,	     /* uint32_t: 0 to 2^31 - 1 */
	VALUE_SECONDS,	     /* uint64_t: at least 1 */
	VALUE_U8,	     /* uint8_t */
	VALUE_U64,	     /* uint64_t */
	VALUE_I64,	     /* int64_t */
	VALUE_LOG_LEVEL,     /* enum log_level */
	VALUE_CGROUP_DRIVER, /* enum cgroup_pin */
	VALUE_TEXT,	     /* const char *, any */
	VALUE_URL,	     /* const char *, "" or absolute */
	VALUE_WORD,	     /* const char *, one of a list */
};

/* Writes to @member, whose type @kind says; text is copied to @arena. 0, or -EINVAL with *@why a static phrase and
 * @member as it was. @words ends with NULL. */
int value_parse(enum value_kind kind, const char *text, const char *const *words, struct arena *arena,
		void *member, const char **why);
/* The value as people write it, cut to @size. */
void value_format(enum value_kind kind, const void *member, char *out, size_t size);
/* What a configuration file holds for the kind: a string; true or false (else: a number). */
bool value_takes_text(enum value_kind kind);
bool value_takes_switch(enum value_kind kind);

#endif
