/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_TOML_H
#define BASE_TOML_H

/*
 * TOML 1.0, read into a tree that lives in an arena. Strict; nesting and size are bounded, so that a hostile file costs
 * little. Dates and times are checked in form and kept as text. A key holds no NUL character.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

enum toml_type { TOML_STRING, TOML_INTEGER, TOML_FLOAT, TOML_BOOLEAN, TOML_DATETIME, TOML_ARRAY, TOML_TABLE };

enum { TOML_DEPTH_MAX = 32, TOML_SIZE_MAX = 1024 * 1024, TOML_VALUES_MAX = 16384 };

struct toml_item;

struct toml_value {
	enum toml_type type;
	union {
		struct {
			const char *text; /* valid UTF-8, NUL-terminated; may hold NULs: see length */
			size_t length;
		} string; /* TOML_STRING, TOML_DATETIME */
		int64_t integer;
		double number;
		bool boolean;
		struct {
			struct toml_item *items; /* in the file's order */
			size_t count;
		}; /* TOML_ARRAY (keys are NULL), TOML_TABLE */
	};
};

struct toml_item {
	const char *key;
	struct toml_value value;
};

/* The root table, or NULL with @e set (INVALID_ARGUMENT, "line L, column C: …"). @text need not end with a NUL. */
const struct toml_value *toml_parse(const char *text, size_t length, struct arena *arena, struct error *e);
/* The member @key of a table; NULL when there is none or @table is no table. */
const struct toml_value *toml_get(const struct toml_value *table, const char *key);

#endif
