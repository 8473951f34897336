/* SPDX-License-Identifier: Apache-2.0 */

/* See storage_record.h. */

#include "guest/storage_record.h"

#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/str.h"
#include "guest/mount_table.h"
#include "guest/storage_private.h"

void storages_describe(const struct storages *storages, struct buf *out)
{
	const struct storage_entry *entry;

	list_for_each_entry (entry, &storages->entries, link) {
		if (entry->place.path[0] != '/')
			continue;
		buf_printf(out, "%u %s", entry->place.below, entry->place.path);
		buf_append_char(out, '\0');
	}
}

static unsigned detach(const char *path, unsigned below)
{
	struct mount_look look;
	unsigned count = 0;

	if (mount_table_look(path, &look) < 0)
		return 0;
	for (; look.count > below; look.count--)
		if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
			count++;
	if (below == 0)
		(void)rmdir(path);
	return count;
}

bool storage_record_take(char *record, size_t *length, const char **path, unsigned *below)
{
	/* One that was cut off has no end: it may be the front of another path. */
	while (*length > 0 && record[*length - 1] != '\0')
		--*length;
	while (*length > 0) {
		size_t start = *length - 1;
		char *blank;
		uint32_t number;

		while (start > 0 && record[start - 1] != '\0')
			start--;
		*length = start;
		blank = strchr(record + start, ' ');
		if (!blank || blank[1] != '/' || strlen(blank + 1) >= PATH_MAX)
			continue;
		*blank = '\0';
		if (str_to_u32(record + start, 10, &number) < 0)
			continue;
		*path = blank + 1;
		*below = number;
		return true;
	}
	return false;
}

unsigned storage_record_undo(char *record, size_t length)
{
	const char *path;
	unsigned count = 0, below;

	while (storage_record_take(record, &length, &path, &below))
		count += detach(path, below);
	return count;
}
