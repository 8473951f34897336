/* SPDX-License-Identifier: Apache-2.0 */

/* Any text is a record or refused; what was accepted has all its texts and numbers in range. */

#include <assert.h>
#include <stdint.h>

#include "base/str.h"
#include "engine/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct container_record record;

	if (container_record_parse((const char *)data, size, &record, NULL) < 0) {
		assert(!record.id);
		return 0;
	}
	assert(id_valid(record.id) && record.bundle && record.rootfs && record.cgroup);
	assert(record.pid >= 0 && record.namespaces >= 0);
	assert(record.status <= CONTAINER_STOPPED);
	container_record_deinit(&record);
	return 0;
}
