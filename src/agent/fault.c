/* SPDX-License-Identifier: Apache-2.0 */

/* The list is kept as the text that it came as; what was used is overwritten by blanks. */

#include "agent/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"

static char *faults;

void fault_init(const char *text)
{
	free(faults);
	faults = str_is_empty(text) ? NULL : strdup(text);
}

/* Length of the entry at @at. */
static size_t entry_length(const char *at)
{
	return strcspn(at, ",");
}

bool fault_take(const char *scope, const char *step, uint64_t *delay_ms)
{
	char name[128];
	*delay_ms = 0;
	if (!faults || (size_t)snprintf(name, sizeof(name), "%s.%s", scope, step) >= sizeof(name))
		return false;
	size_t length = strlen(name);
	for (char *at = faults; *at; at += entry_length(at), at += *at == ',') {
		size_t entry = entry_length(at);
		if (entry < length || memcmp(at, name, length) != 0)
			continue;
		if (entry > length && at[length] != '@')
			continue;
		if (entry > length) {
			_cleanup_free_ char *number = strndup(at + length + 1, entry - length - 1);
			if (!number || str_to_u64(number, 10, delay_ms) < 0)
				continue;
		}
		memset(at, ' ', entry);
		return true;
	}
	return false;
}
