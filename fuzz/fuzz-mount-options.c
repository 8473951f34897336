/* SPDX-License-Identifier: Apache-2.0 */

/* Lines of the input are options: they parse or are refused, set and cleared attributes never overlap, and what is left
 * for the file system is no longer than what came in. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "engine/mount_options.h"

enum { OPTIONS_MAX = 256 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *options[OPTIONS_MAX];
	size_t count = 0;
	struct mount_options out;
	char *text = malloc(size + 1);
	struct arena *arena = arena_new(0);

	if (text && arena) {
		memcpy(text, data, size);
		text[size] = '\0';
		char *save = NULL;
		for (char *line = strtok_r(text, "\n", &save); line && count < OPTIONS_MAX;
		     line = strtok_r(NULL, "\n", &save))
			options[count++] = line;
		if (mount_options_parse(options, count, arena, &out, NULL) == 0) {
			uint64_t field = MOUNT_ATTR__ATIME;
			assert((out.top.set & out.top.clear & ~field) == 0);
			assert((out.below.set & out.below.clear & ~field) == 0);
			assert((out.sb_set & out.sb_clear) == 0);
			assert(strlen(out.data) <= size);
			mount_options_flags(&out);
		}
	}
	arena_free(arena);
	free(text);
	return 0;
}
