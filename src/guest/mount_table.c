/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of mounts. Fields of a line are separated by single blanks; blanks, tabs, newlines and backslashes within
 * them are written as octal escapes (proc_pid_mountinfo(5)). "-" ends the optional fields.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "guest/mount_table.h"

enum { TABLE_MAX = 64 << 20 };

char *mount_table_read(void)
{
	char *text = NULL;
	ssize_t n = file_read(AT_FDCWD, "/proc/self/mountinfo", TABLE_MAX, &text);

	if (n < 0) {
		errno = (int)-n;
		return NULL;
	}
	return text;
}

static bool octal(const char *text)
{
	return text[0] >= '0' && text[0] <= '3' && text[1] >= '0' && text[1] <= '7' && text[2] >= '0' &&
	       text[2] <= '7';
}

static char *decode(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (*from == '\\' && octal(from + 1)) {
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
	return text;
}

static bool line_parse(char *line, struct mount_entry *entry)
{
	char *field, *rest = line;

	for (int i = 0; i < 4; i++)
		if (!strsep(&rest, " "))
			return false;
	entry->mount_point = strsep(&rest, " ");
	while ((field = strsep(&rest, " ")) && strcmp(field, "-") != 0)
		;
	entry->fstype = strsep(&rest, " ");
	entry->source = strsep(&rest, " ");
	if (!entry->mount_point || !entry->fstype || !entry->source)
		return false;
	decode(entry->mount_point);
	decode(entry->source);
	return true;
}

bool mount_table_next(char **rest, struct mount_entry *entry)
{
	char *line;

	while ((line = strsep(rest, "\n")))
		if (*line && line_parse(line, entry))
			return true;
	return false;
}

int mount_table_look(const char *path, struct mount_look *look)
{
	_cleanup_free_ char *text = mount_table_read();
	struct mount_entry entry;
	char *rest = text;

	*look = (struct mount_look){.count = 0};
	if (!text)
		return -errno;
	while (mount_table_next(&rest, &entry)) {
		size_t length = strlen(entry.fstype);

		if (strcmp(entry.mount_point, path) != 0)
			continue;
		look->count++;
		if (length >= sizeof(look->fstype))
			length = sizeof(look->fstype) - 1;
		memcpy(look->fstype, entry.fstype, length);
		look->fstype[length] = '\0';
	}
	return 0;
}
