/* SPDX-License-Identifier: Apache-2.0 */
/* toml_parse(): any bytes give a tree of sound texts, or an error with a place, within a bounded amount of memory. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/toml.h"

static void check(const struct toml_value *value, int depth)
{
	if (depth > 2 * TOML_DEPTH_MAX)
		abort();
	if (value->type == TOML_STRING || value->type == TOML_DATETIME) {
		if (!utf8_valid(value->string.text, value->string.length) ||
		    value->string.text[value->string.length])
			abort();
		return;
	}
	if (value->type != TOML_TABLE && value->type != TOML_ARRAY)
		return;
	for (size_t i = 0; i < value->count; i++) {
		const struct toml_item *item = &value->items[i];

		if ((item->key != NULL) != (value->type == TOML_TABLE))
			abort();
		if (item->key && toml_get(value, item->key) != &item->value)
			abort();
		check(&item->value, depth + 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;

	if (!arena)
		return 0;
	const struct toml_value *root = toml_parse((const char *)data, size, arena, &e);
	if (root)
		check(root, 0);
	else if (e.code == STATUS_OK || !utf8_valid(e.text, strlen(e.text)))
		abort();
	if (arena_footprint(arena) > 64 * size + 200 * TOML_VALUES_MAX)
		abort();
	arena_free(arena);
	return 0;
}
