/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resolving and making paths that others chose, with the kernel as the judge: openat2(2) below a root descriptor. What
 * is missing is made one part at a time in a directory held open, so that exchanging directories for links meanwhile
 * can at worst put a new directory elsewhere below the same root.
 */

#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

enum {
	/* openat2(2) gives EAGAIN when a rename runs beside a ".."; who renames without end gets an error. */
	AGAIN_MAX = 128,
	LINKS_MAX = 40, /* as the kernel's own limit */
};

static bool has_dot_dot(const char *path)
{
	for (const char *p = path; *p; p += strcspn(p, "/")) {
		p += strspn(p, "/");
		if (p[0] == '.' && p[1] == '.' && (p[2] == '/' || p[2] == '\0'))
			return true;
	}
	return false;
}

int path_open(int root, const char *path, int flags, mode_t mode, enum path_mode how)
{
	struct open_how request = {
		.flags = (uint64_t)(unsigned int)(flags | O_CLOEXEC),
		.resolve = RESOLVE_NO_MAGICLINKS,
	};

	request.resolve |= how == PATH_BENEATH ? RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS : RESOLVE_IN_ROOT;
	if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE)
		request.mode = mode & 07777;
	/* RESOLVE_BENEATH lets ".." pass that stays below. */
	if (how == PATH_BENEATH && has_dot_dot(path))
		return -EXDEV;
	for (int i = 0; i < AGAIN_MAX; i++) {
		long fd = syscall(SYS_openat2, root, path, &request, sizeof(request));

		if (fd >= 0)
			return (int)fd;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	return -EAGAIN;
}

/* --- making what is missing --- */

/* A walk along @path, which dangling links are replaced in as they are met. */
struct walk {
	int root;
	enum path_mode how;
	mode_t dir_mode;
	bool file; /* the last part is a file, of @file_mode */
	mode_t file_mode;
	int links;
	char path[PATH_MAX];
};

/* Puts the target of a link in the place of the part of the path from @from to @to. */
static int splice_link(struct walk *walk, const char *target, size_t from, size_t to)
{
	char joined[PATH_MAX];

	if (++walk->links > LINKS_MAX)
		return -ELOOP;
	int n = snprintf(joined, sizeof(joined), "%.*s%s%s", target[0] == '/' ? 0 : (int)from, walk->path,
			 target, walk->path + to);
	if (n < 0 || (size_t)n >= sizeof(joined))
		return -ENAMETOOLONG;
	memcpy(walk->path, joined, (size_t)n + 1);
	return 0;
}

static int make_part(const struct walk *walk, int parent, const char *name, bool last)
{
	if (!last || !walk->file)
		return mkdirat(parent, name, walk->dir_mode) < 0 ? -errno : 0;

	int fd = openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, walk->file_mode);
	if (fd < 0)
		return -errno;
	fd_close(fd);
	return 0;
}

/*
 * One part of the path, from @from to @to, in @parent. Its descriptor; -EAGAIN: the path was changed, begin again; or
 * -errno.
 */
static int walk_part(struct walk *walk, int parent, size_t from, size_t to, bool last)
{
	int flags = O_PATH | (last && walk->file ? 0 : O_DIRECTORY);
	char name[NAME_MAX + 1], target[PATH_MAX];
	char saved = walk->path[to];

	walk->path[to] = '\0';
	int fd = path_open(walk->root, walk->path, flags, 0, walk->how);
	walk->path[to] = saved;
	if (fd != -ENOENT)
		return fd;

	if (to - from > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(name, walk->path + from, to - from);
	name[to - from] = '\0';
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -ENOENT;
	int r = make_part(walk, parent, name, last);
	if (r == -EEXIST) {
		ssize_t n = readlinkat(parent, name, target, sizeof(target) - 1);

		if (n >= 0 && walk->how == PATH_IN_ROOT) {
			target[n] = '\0';
			r = splice_link(walk, target, from, to);
			return r < 0 ? r : -EAGAIN;
		}
		/* Somebody else has just made it. */
		r = n >= 0 ? -ELOOP : 0;
	}
	if (r < 0)
		return r;
	return path_open(parent, name, flags | O_NOFOLLOW, 0, PATH_BENEATH);
}

/* From the root along the whole path. As walk_part(). */
static int walk_once(struct walk *walk)
{
	_cleanup_fd_ int parent = path_open(walk->root, ".", O_PATH | O_DIRECTORY, 0, walk->how);
	size_t to = 0;

	while (parent >= 0) {
		size_t from = to + strspn(walk->path + to, "/");

		if (!walk->path[from])
			break;
		to = from + strcspn(walk->path + from, "/");
		bool last = !walk->path[to + strspn(walk->path + to, "/")];
		int fd = walk_part(walk, parent, from, to, last);
		fd_close(parent);
		parent = fd;
	}
	return fd_steal(&parent);
}

static int walk_path(struct walk *walk, const char *path)
{
	int again = 0, r;

	if (strlen(path) >= sizeof(walk->path))
		return -ENAMETOOLONG;
	r = path_open(walk->root, *path ? path : ".", O_PATH | (walk->file ? 0 : O_DIRECTORY), 0, walk->how);
	if (r != -ENOENT)
		return r;
	memcpy(walk->path, path, strlen(path) + 1);
	do
		r = walk_once(walk);
	while (r == -EAGAIN && again++ < LINKS_MAX + 1);
	return r;
}

int path_mkdirs(int root, const char *path, mode_t mode, enum path_mode how)
{
	struct walk walk = {.root = root, .how = how, .dir_mode = mode};

	return walk_path(&walk, path);
}

int path_touch(int root, const char *path, mode_t dir_mode, mode_t mode, enum path_mode how)
{
	struct walk walk = {.root = root, .how = how, .dir_mode = dir_mode, .file = true, .file_mode = mode};

	return walk_path(&walk, path);
}

int path_open_parent(int root, const char *path, mode_t mode, enum path_mode how, char *name, size_t size)
{
	char parent[PATH_MAX];
	size_t end = strlen(path);

	while (end > 0 && path[end - 1] == '/')
		end--;
	size_t start = end;
	while (start > 0 && path[start - 1] != '/')
		start--;
	size_t length = end - start;
	if (length == 0 || (length <= 2 && strncmp(path + start, "..", length) == 0))
		return -EINVAL;
	if (length >= size || start >= sizeof(parent))
		return -ENAMETOOLONG;
	memcpy(name, path + start, length);
	name[length] = '\0';

	/* A leading "/" alone stays: the root. */
	while (start > 1 && path[start - 1] == '/')
		start--;
	memcpy(parent, path, start);
	parent[start] = '\0';
	if (start == 0)
		return path_open(root, ".", O_PATH | O_DIRECTORY, 0, how);
	if (mode != 0)
		return path_mkdirs(root, parent, mode, how);
	return path_open(root, parent, O_PATH | O_DIRECTORY, 0, how);
}

/* --- texts --- */

char *path_clean(const char *path)
{
	size_t length = 0;
	char *out = malloc(strlen(path) + 2);

	if (!out)
		return NULL;
	while (*path) {
		path += strspn(path, "/");
		size_t n = strcspn(path, "/");

		if (n == 2 && path[0] == '.' && path[1] == '.') {
			while (length > 0 && out[--length] != '/')
				;
		} else if (n > 0 && !(n == 1 && path[0] == '.')) {
			out[length++] = '/';
			memcpy(out + length, path, n);
			length += n;
		}
		path += n;
	}
	if (length == 0)
		out[length++] = '/';
	out[length] = '\0';
	return out;
}

const char *path_of_fd(char buffer[32], int fd)
{
	(void)snprintf(buffer, 32, "/proc/self/fd/%d", fd);
	return buffer;
}
