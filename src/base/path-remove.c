/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing a tree that somebody else may be changing at the same time.
 *
 * A walk without recursion: a stack of levels, of which at most OPEN_MAX have their directory open. Deeper down the
 * upper ones are closed, and opened again by ".." from below; that the directory found there is the one that was left is
 * verified by device and inode. Directories are entered with openat2(2) RESOLVE_NO_XDEV and O_NOFOLLOW, so neither a
 * link nor a mount leads out. What is removed is always a name in a directory held open.
 *
 * A directory that cannot be removed is remembered by name in its parent, so that reading the parent once more does not
 * enter it again.
 */

#include "base/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

enum {
	OPEN_MAX_LEVELS = 32,
	PASSES_MAX = 64,     /* times that one directory is read while it is refilled */
	FAILURES_MAX = 1024, /* directories left behind, until giving up */
	RESTARTS_MAX = 16,   /* walks begun again because directories were moved */
};

struct level {
	char *name; /* in the level above */
	DIR *dir;   /* NULL while closed */
	dev_t device;
	ino_t inode;
	int passes;
	bool progress; /* something was removed in this pass */
	char **failed; /* names of directories to leave alone */
	size_t n_failed;
};

struct tree {
	struct level *levels;
	size_t depth;
	size_t size;
	size_t failures;
	int error; /* the first one, negative */
};

static void note_error(struct tree *tree, int error)
{
	if (tree->error == 0)
		tree->error = error == -EXDEV ? -EBUSY : error;
}

static void level_deinit(struct level *level)
{
	if (level->dir)
		(void)closedir(level->dir);
	for (size_t i = 0; i < level->n_failed; i++)
		free(level->failed[i]);
	free(level->failed);
	free(level->name);
}

static void tree_deinit(struct tree *tree)
{
	while (tree->depth > 0)
		level_deinit(&tree->levels[--tree->depth]);
	free(tree->levels);
}

#define _cleanup_tree_ __attribute__((cleanup(tree_deinit)))

static bool level_has_failed(const struct level *level, const char *name)
{
	for (size_t i = 0; i < level->n_failed; i++)
		if (str_equal(level->failed[i], name))
			return true;
	return false;
}

/* A directory stays behind. 0, or -errno when the walk must end. */
static int level_leave(struct tree *tree, struct level *level, const char *name, int error)
{
	note_error(tree, error);
	if (++tree->failures > FAILURES_MAX)
		return error;
	char **failed = reallocarray(level->failed, level->n_failed + 1, sizeof(*failed));
	if (!failed)
		return -ENOMEM;
	level->failed = failed;
	level->failed[level->n_failed] = strdup(name);
	if (!level->failed[level->n_failed])
		return -ENOMEM;
	level->n_failed++;
	return 0;
}

/* Removes @name unless it is a directory with content: 1. 0: gone. -errno. */
static int remove_entry(int fd, const char *name, bool directory)
{
	if (!directory && unlinkat(fd, name, 0) == 0)
		return 0;
	if (!directory && errno != EISDIR)
		return errno == ENOENT ? 0 : -errno;
	if (unlinkat(fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno == ENOTDIR)
		return unlinkat(fd, name, 0) == 0 || errno == ENOENT ? 0 : -errno;
	return errno == ENOTEMPTY || errno == EEXIST ? 1 : -errno;
}

static int open_directory(int fd, const char *name)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK,
		.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH,
	};
	long child = syscall(SYS_openat2, fd, name, &how, sizeof(how));

	return child < 0 ? -errno : (int)child;
}

/* Keeps the number of open directories down: closes the one that is OPEN_MAX_LEVELS above the new one. */
static void close_upper(struct tree *tree)
{
	if (tree->depth < OPEN_MAX_LEVELS)
		return;
	struct level *upper = &tree->levels[tree->depth - OPEN_MAX_LEVELS];
	if (upper->dir)
		(void)closedir(upper->dir);
	upper->dir = NULL;
}

/* Goes down into @name of @fd. 0 or -errno. */
static int tree_enter(struct tree *tree, int fd, const char *name)
{
	_cleanup_fd_ int child = open_directory(fd, name);
	struct stat st;

	if (child < 0)
		return child;
	if (fstat(child, &st) < 0)
		return -errno;
	if (tree->depth == tree->size) {
		size_t size = tree->size ? tree->size * 2 : 16;
		struct level *levels = reallocarray(tree->levels, size, sizeof(*levels));

		if (!levels)
			return -ENOMEM;
		tree->levels = levels;
		tree->size = size;
	}
	struct level level = {.name = strdup(name), .device = st.st_dev, .inode = st.st_ino};
	level.dir = level.name ? fdopendir(child) : NULL;
	if (!level.dir) {
		free(level.name);
		return -ENOMEM;
	}
	(void)fd_steal(&child);
	tree->levels[tree->depth++] = level;
	close_upper(tree);
	return 0;
}

/* Opens the level above the innermost again, where it was closed. -ESTALE: it is not there any more. */
static int reopen_upper(struct tree *tree)
{
	struct level *level = &tree->levels[tree->depth - 1], *upper = level - 1;
	struct stat st;

	if (upper->dir)
		return 0;
	_cleanup_fd_ int fd =
		openat(dirfd(level->dir), "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_dev != upper->device || st.st_ino != upper->inode)
		return -ESTALE;
	upper->dir = fdopendir(fd);
	if (!upper->dir)
		return -ENOMEM;
	(void)fd_steal(&fd);
	return 0;
}

/* The innermost directory has been read: removes it from the one above and goes up. @top: the directory of the walk. */
static int tree_leave(struct tree *tree, int top)
{
	struct level *level = &tree->levels[tree->depth - 1];
	struct level *upper = tree->depth > 1 ? level - 1 : NULL;
	int r = upper ? reopen_upper(tree) : 0;

	if (r < 0)
		return r;
	r = remove_entry(upper ? dirfd(upper->dir) : top, level->name, true);
	/* Refilled, or its entries were shifted while it was read. */
	if (r == 1 && level->n_failed == 0 && level->progress && ++level->passes < PASSES_MAX) {
		level->progress = false;
		rewinddir(level->dir);
		return 0;
	}
	if (r == 1)
		r = -ENOTEMPTY;
	if (r < 0 && upper)
		r = level_leave(tree, upper, level->name, r);
	else if (r < 0)
		note_error(tree, r);
	else if (upper)
		upper->progress = true;
	level_deinit(level);
	tree->depth--;
	return upper ? r : 0;
}

/* The next entry of the innermost directory. */
static int tree_step(struct tree *tree, int top)
{
	struct level *level = &tree->levels[tree->depth - 1];

	errno = 0;
	struct dirent *entry = readdir(level->dir);
	if (!entry && errno == 0)
		return tree_leave(tree, top);
	if (!entry) {
		note_error(tree, -errno);
		return tree_leave(tree, top);
	}
	const char *name = entry->d_name;
	if (str_equal(name, ".") || str_equal(name, "..") || level_has_failed(level, name))
		return 0;

	int r = remove_entry(dirfd(level->dir), name, entry->d_type == DT_DIR);
	if (r == 0) {
		level->progress = true;
		return 0;
	}
	if (r < 0) {
		note_error(tree, r);
		return 0;
	}
	r = tree_enter(tree, dirfd(level->dir), name);
	if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP) {
		/* Exchanged since: whatever it is now is seen in the next pass. */
		level->progress = true;
		return 0;
	}
	return r < 0 ? level_leave(tree, level, name, r) : 0;
}

static int remove_once(int top, const char *name)
{
	_cleanup_tree_ struct tree tree = {0};
	int r = remove_entry(top, name, false);

	if (r == 1)
		r = tree_enter(&tree, top, name);
	if (r < 0)
		return r == -EXDEV ? -EBUSY : r;
	while (r == 0 && tree.depth > 0)
		r = tree_step(&tree, top);
	if (r == -ESTALE)
		return r;
	return tree.error ? tree.error : r;
}

int path_remove_tree(int top, const char *name)
{
	int r = -ESTALE;

	if (str_is_empty(name) || strchr(name, '/') || str_equal(name, ".") || str_equal(name, ".."))
		return -EINVAL;
	for (int i = 0; i < RESTARTS_MAX && r == -ESTALE; i++)
		r = remove_once(top, name);
	return r;
}
