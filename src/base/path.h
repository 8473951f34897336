/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_PATH_H
#define BASE_PATH_H

/*
 * Paths that come from somebody else. They are resolved by the kernel below a root descriptor (openat2(2) with
 * RESOLVE_IN_ROOT, or RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS) and used as descriptors from then on. No string test stands
 * in for that.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

/* How a path is followed. PATH_IN_ROOT: links are followed but never out of the root, as after chroot(2). */
enum path_mode {
	PATH_IN_ROOT, /* RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS */
	PATH_BENEATH, /* RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS|RESOLVE_NO_MAGICLINKS: any link, "..": an error */
};

/* Opens @path below @root with open(2) @flags (O_CLOEXEC is added). Descriptor or -errno. EAGAIN is retried. */
int path_open(int root, const char *path, int flags, mode_t mode, enum path_mode how);

/* Makes the directory @path and its missing parents below @root and opens it O_PATH|O_DIRECTORY. Existing links are
 * followed as @how says; what is made is made by mkdirat(2) in a directory held open. Descriptor or -errno. */
int path_mkdirs(int root, const char *path, mode_t mode, enum path_mode how);

/*
 * Opens (O_PATH) the directory in which the last part of @path lives, making missing parents with @mode where
 * @mode is not 0, and copies that last part to @name (at least NAME_MAX + 1 bytes). -EINVAL when the last part is "",
 * "." or "..". Descriptor or -errno.
 */
int path_open_parent(int root, const char *path, mode_t mode, enum path_mode how, char *name, size_t size);

/* Makes an empty regular file if nothing is there (O_CREAT|O_EXCL, never opened for writing when it exists), parents
 * too, and opens it O_PATH. Descriptor or -errno. */
int path_touch(int root, const char *path, mode_t dir_mode, mode_t mode, enum path_mode how);

/* Removes what @name in @dirfd is, recursively, never following links and never crossing into another mount (a mount
 * point below it: -EBUSY after all else was removed). Missing is success. Bounded depth by descriptors: works for
 * trees of any depth. 0 or the first -errno. */
int path_remove_tree(int dirfd, const char *name);

/* Removes "//", "/./", trailing "/" and resolves ".." lexically (never above "/"); @path may be relative, the result
 * starts with "/". malloc'ed or NULL. */
char *path_clean(const char *path);

/* "/proc/self/fd/N" for calls that know no descriptors. */
const char *path_of_fd(char buffer[32], int fd);

#endif
