/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `tmpcopyup`: what an image has at the target of a tmpfs is copied into it before it is attached. By descriptor from
 * directory to directory; links are copied as links, never followed; sockets are left out.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "engine/mount_private.h"

enum { DEPTH_MAX = 128, XATTRS_MAX = 65536 };

static int copy_directory(int from, int to, unsigned depth, struct error *e);

static int copy_bytes(int from, int to)
{
	for (;;) {
		ssize_t n = sendfile(to, from, NULL, 1 << 30);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

/* Those that the tmpfs does not take (it has no user.* on older kernels) are left out. */
static void copy_xattrs(int from, int to)
{
	_cleanup_free_ char *names = malloc(XATTRS_MAX);
	_cleanup_free_ char *value = malloc(XATTRS_MAX);
	ssize_t size = names && value ? flistxattr(from, names, XATTRS_MAX) : -1;

	for (char *name = names; size > 0 && name < names + size; name += strlen(name) + 1) {
		ssize_t n = fgetxattr(from, name, value, XATTRS_MAX);
		if (n >= 0)
			(void)fsetxattr(to, name, value, (size_t)n, 0);
	}
}

static int copy_attributes(int to, const struct stat *st)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};

	if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0 ||
	    futimens(to, times) < 0)
		return -errno;
	return 0;
}

static int copy_regular(int from_dir, int to_dir, const char *name, const struct stat *st)
{
	_cleanup_fd_ int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat now;

	if (from < 0 || fstat(from, &now) < 0)
		return -errno;
	if (!S_ISREG(now.st_mode))
		return -EAGAIN;
	_cleanup_fd_ int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0)
		return -errno;
	int r = copy_bytes(from, to);
	if (r == 0)
		r = copy_attributes(to, &now);
	/* A change of owner takes a file's capabilities away: they come after it. */
	if (r == 0)
		copy_xattrs(from, to);
	return r;
}

static int copy_link(int from_dir, int to_dir, const char *name, const struct stat *st)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from_dir, name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	if (symlinkat(target, to_dir, name) < 0 ||
	    fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int copy_node(int to_dir, const char *name, const struct stat *st)
{
	if (mknodat(to_dir, name, st->st_mode, st->st_rdev) < 0 ||
	    fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return fchmodat(to_dir, name, st->st_mode & 07777, 0) < 0 ? -errno : 0;
}

static int copy_subdirectory(int from_dir, int to_dir, const char *name, unsigned depth, struct error *e)
{
	_cleanup_fd_ int from = openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (from < 0 || mkdirat(to_dir, name, 0700) < 0)
		return error_errno(e, errno, "\"%s\"", name);
	_cleanup_fd_ int to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return error_errno(e, errno, "\"%s\"", name);
	return copy_directory(from, to, depth + 1, e);
}

static int copy_entry(int from, int to, const char *name, unsigned depth, struct error *e)
{
	struct stat st;
	int r = 0;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(e, errno, "\"%s\"", name);
	switch (st.st_mode & S_IFMT) {
	case S_IFDIR:
		return copy_subdirectory(from, to, name, depth, e);
	case S_IFREG:
		r = copy_regular(from, to, name, &st);
		break;
	case S_IFLNK:
		r = copy_link(from, to, name, &st);
		break;
	case S_IFSOCK:
		break;
	default:
		r = copy_node(to, name, &st);
		break;
	}
	return r < 0 ? error_errno(e, -r, "\"%s\"", name) : 0;
}

/* @from stays the caller's. The tmpfs's own root keeps its mode only if the options gave none: it takes the source's. */
static int copy_directory(int from, int to, unsigned depth, struct error *e)
{
	struct stat st;
	struct dirent *entry;
	int r = 0;

	if (depth > DEPTH_MAX)
		return error_errno(e, ELOOP, "directories too deep");
	int copy = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_dir_ DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	if (!dir || fstat(copy, &st) < 0) {
		r = error_errno(e, errno, "read directory");
		if (!dir)
			fd_close(copy);
		return r;
	}
	while (r == 0 && (errno = 0, entry = readdir(dir)))
		if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, ".."))
			r = copy_entry(copy, to, entry->d_name, depth, e);
	if (r == 0 && errno)
		r = error_errno(e, errno, "read directory");
	if (r == 0 && (r = copy_attributes(to, &st)) < 0)
		error_errno(e, -r, "set attributes");
	if (r == 0)
		copy_xattrs(copy, to);
	return r;
}

int mount_copy_up(int from, int to, struct error *e)
{
	_cleanup_fd_ int root = openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return error_errno(e, errno, "open the tmpfs");
	return copy_directory(from, root, 0, e);
}
