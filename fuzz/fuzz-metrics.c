/* SPDX-License-Identifier: Apache-2.0 */
/* Files of procfs, one after the other with a record separator between them, and the metrics that come of them. */

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guest/metrics.h"

enum { SEPARATOR = 0x1e };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool look(const char *mount, struct volume_stats *stats)
{
	*stats = (struct volume_stats){.bytes = {1, strlen(mount), 2}, .inodes = {3, 4, 5}};
	return mount[0] == '/';
}

/* Labels are closed, and a value follows. */
static void check_line(const char *line)
{
	const char *p = strpbrk(line, "{ ");

	assert(strncmp(line, "kata_", 5) == 0 && p);
	for (bool quoted = false; *p == '{' || quoted || *p != ' '; p++) {
		assert(*p && *p != '\n');
		if (quoted && *p == '\\')
			p++;
		else if (*p == '"')
			quoted = !quoted;
	}
	assert(p[1] >= '0' && p[1] <= '9');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct metrics_input input = {.page_size = 4096, .ticks = 100, .look = look};
	struct buf out = BUF_INIT;
	char *copy = malloc(size + 1), *rest = copy, *text, *line;

	if (!copy)
		return 0;
	if (size > 0)
		memcpy(copy, data, size);
	copy[size] = '\0';
	for (size_t i = 0; rest && i < METRICS_FILES; i++) {
		input.text[i] = rest;
		rest = strchr(rest, SEPARATOR);
		if (rest)
			*rest++ = '\0';
	}
	metrics_format(&input, &out);
	if (!out.failed && (text = (char *)buf_string(&out))) {
		assert(out.length > 0 && text[strlen(text) - 1] == '\n');
		while ((line = strsep(&text, "\n")) && text)
			if (line[0] != '#')
				check_line(line);
	}
	buf_deinit(&out);
	free(copy);
	return 0;
}
