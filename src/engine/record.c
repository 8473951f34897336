/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"

uint64_t record_start_time(int proc, pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	char path[32], *save = NULL;
	uint64_t value = 0;

	snprintf(path, sizeof(path), "%d/stat", (int)pid);
	if (pid <= 0 || file_read(proc, path, 4096, &text) <= 0)
		return 0;
	/* The second field is a name in parentheses, which may contain anything. */
	char *rest = strrchr(text, ')');
	char *field = rest ? strtok_r(rest + 1, " ", &save) : NULL;
	for (int i = 3; field && i < 22; i++)
		field = strtok_r(NULL, " ", &save);
	return field && str_to_u64(field, 10, &value) == 0 ? value : 0;
}
