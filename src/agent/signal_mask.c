/* SPDX-License-Identifier: Apache-2.0 */

/* See signal_mask.h. */

#include "agent/signal_mask.h"

#include <stdint.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"

/* The mask behind "NAME:" at the start of a line, or 0. */
static uint64_t mask_of(const char *line, const char *name)
{
	char digits[17];
	uint64_t mask;
	size_t length = strlen(name);
	if (strncmp(line, name, length) != 0 || line[length] != ':')
		return 0;
	line += length + 1;
	line += strspn(line, " \t");
	size_t n = strcspn(line, " \t\n");
	if (n == 0 || n >= sizeof(digits))
		return 0;
	memcpy(digits, line, n);
	digits[n] = '\0';
	return str_to_u64(digits, 16, &mask) == 0 ? mask : 0;
}

bool signal_mask_handles(const char *status, int signal)
{
	static const char *const names[] = {"SigBlk", "SigIgn", "SigCgt"};
	uint64_t mask = 0;
	if (signal < 1 || signal > 64)
		return false;
	for (const char *line = status; *line; line += strcspn(line, "\n"), line += *line == '\n')
		for (size_t i = 0; i < array_length(names); i++)
			mask |= mask_of(line, names[i]);
	return mask >> (signal - 1) & 1;
}
