/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_MOUNT_TABLE_H
#define GUEST_MOUNT_TABLE_H

/* What is mounted, from /proc/self/mountinfo. */

#include <stdbool.h>
#include <stddef.h>

/* Malloc'ed text of the table, or NULL with errno. Reading it never waits for a file system. */
char *mount_table_read(void);

struct mount_entry {
	char *mount_point; /* escapes decoded */
	char *fstype;
	char *source; /* escapes decoded */
};
/*
 * Takes the next line off *@rest (the text of mount_table_read(), which is written into), in the order of mounting. False
 * at the end. Lines that are not of the table's form are passed over.
 */
bool mount_table_next(char **rest, struct mount_entry *entry);

struct mount_look {
	unsigned count;	 /* mounts stacked at the path */
	char fstype[64]; /* of the topmost; "" where there is none */
};
/* 0 or -errno. @path is absolute and free of links, "." and "..". */
int mount_table_look(const char *path, struct mount_look *look);

#endif
