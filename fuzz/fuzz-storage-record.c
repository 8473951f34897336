/* SPDX-License-Identifier: Apache-2.0 */
/* The record of mounts that a dead agent left. Nothing is unmounted here. */

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guest/storage_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1);
	size_t length = size, before = size + 1;
	const char *path;
	unsigned below;

	if (!copy)
		return 0;
	if (size > 0)
		memcpy(copy, data, size);
	while (storage_record_take(copy, &length, &path, &below)) {
		assert(length < before);
		assert(path[0] == '/' && path > copy && path + strlen(path) < copy + size);
		before = length;
	}
	assert(length == 0);
	free(copy);
	return 0;
}
