/* SPDX-License-Identifier: Apache-2.0 */
/* Paths of CopyFile: what is let through is relative, within the path, and has no "..". */

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guest/copy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *path = malloc(size + 1);
	const char *rest;

	if (!path)
		return 0;
	if (size > 0)
		memcpy(path, data, size);
	path[size] = '\0';
	rest = copy_relative(path);
	if (rest) {
		char *copy = strdup(rest), *at = copy, *part;

		assert(rest >= path + strlen(COPY_DIRECTORY) && *rest && *rest != '/');
		while ((part = strsep(&at, "/")))
			assert(strcmp(part, "..") != 0);
		free(copy);
	}
	free(path);
	return 0;
}
