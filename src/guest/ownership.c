/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ownership of a volume's files.
 *
 * The walk goes by descriptors and with O_NOFOLLOW, so that a link inside the volume (which its user may have made)
 * leads nowhere, and it stays on the volume's own mount. It keeps a stack of open directories, one for each level. A tree
 * deeper than that is refused with ELOOP: half done in silence would be worse.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "guest/ownership.h"

enum {
	READ_WRITE = 0660,
	READ_ONLY = 0440,
	SEARCH = 0110,
	SET_GROUP = 02000,
	DEPTH_MAX = 512,
};

struct walk {
	const struct ownership *ownership;
	uint64_t mount; /* id of the volume's mount */
	DIR *stack[DEPTH_MAX];
	unsigned depth;
};

static mode_t mask_of(const struct ownership *ownership, bool directory)
{
	mode_t mask = ownership->read_only ? READ_ONLY : READ_WRITE;

	return directory ? mask | SEARCH | SET_GROUP : mask;
}

/* What is open as @fd (O_PATH is enough): group, then mode, since chown(2) may take the set-group-id bit away. */
static int change(int fd, const struct statx *info, const struct ownership *ownership)
{
	mode_t mode = info->stx_mode & 07777, wanted = mode | mask_of(ownership, S_ISDIR(info->stx_mode));
	char path[32];

	if (info->stx_gid != ownership->group &&
	    fchownat(fd, "", (uid_t)-1, ownership->group, AT_EMPTY_PATH) < 0)
		return -errno;
	if (info->stx_gid == ownership->group && wanted == mode)
		return 0;
	return chmod(path_of_fd(path, fd), wanted) < 0 ? -errno : 0;
}

static int look(int dirfd, const char *name, int flags, struct statx *info)
{
	return statx(dirfd, name, flags | AT_NO_AUTOMOUNT, STATX_BASIC_STATS | STATX_MNT_ID, info) < 0
		       ? -errno
		       : 0;
}

/* A kernel before 5.8 tells no mount ids; the device's number is the next best. */
static uint64_t mount_of(const struct statx *info)
{
	if (info->stx_mask & STATX_MNT_ID)
		return info->stx_mnt_id;
	return makedev(info->stx_dev_major, info->stx_dev_minor);
}

static int push(struct walk *walk, int fd)
{
	DIR *dir;

	if (walk->depth == DEPTH_MAX) {
		fd_close(fd);
		return -ELOOP;
	}
	dir = fdopendir(fd);
	if (!dir) {
		int r = -errno;

		fd_close(fd);
		return r;
	}
	walk->stack[walk->depth++] = dir;
	return 0;
}

/* One entry: a directory is gone into (and changed when it is left), all else is changed at once. */
static int visit(struct walk *walk, int dirfd, const char *name)
{
	_cleanup_fd_ int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct statx info;
	int r, inner;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	r = look(fd, "", AT_EMPTY_PATH, &info);
	if (r < 0)
		return r;
	if (S_ISLNK(info.stx_mode) || mount_of(&info) != walk->mount)
		return 0;
	if (!S_ISDIR(info.stx_mode))
		return change(fd, &info, walk->ownership);
	inner = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return inner < 0 ? -errno : push(walk, inner);
}

static int leave(struct walk *walk)
{
	DIR *dir = walk->stack[--walk->depth];
	struct statx info;
	int r = look(dirfd(dir), "", AT_EMPTY_PATH, &info);

	if (r == 0)
		r = change(dirfd(dir), &info, walk->ownership);
	closedir(dir);
	return r;
}

static int step(struct walk *walk)
{
	DIR *dir = walk->stack[walk->depth - 1];
	struct dirent *entry;

	errno = 0;
	entry = readdir(dir);
	if (!entry)
		return errno ? -errno : leave(walk);
	if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
		return 0;
	return visit(walk, dirfd(dir), entry->d_name);
}

static bool top_is_right(const struct statx *info, const struct ownership *ownership)
{
	mode_t mask = mask_of(ownership, true);

	return info->stx_gid == ownership->group && (info->stx_mode & mask) == mask;
}

int ownership_apply(const char *path, const struct ownership *ownership, struct error *e)
{
	struct walk walk = {.ownership = ownership};
	struct statx info;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	if (fd < 0)
		return error_errno(e, errno, "group of \"%s\"", path);
	r = look(fd, "", AT_EMPTY_PATH, &info);
	if (r < 0 || (ownership->on_root_mismatch && top_is_right(&info, ownership))) {
		fd_close(fd);
		return r < 0 ? error_errno(e, -r, "group of \"%s\"", path) : 0;
	}
	walk.mount = mount_of(&info);
	r = push(&walk, fd);
	while (r == 0 && walk.depth > 0)
		r = step(&walk);
	while (walk.depth > 0)
		closedir(walk.stack[--walk.depth]);
	if (r == -EROFS) {
		log_warning("storage", "a read-only volume keeps its group", "path", path);
		return 0;
	}
	return r < 0 ? error_errno(e, -r, "group of \"%s\"", path) : 0;
}

int ownership_of_directory(int fd, gid_t group, long mode, bool setgid, struct error *e)
{
	struct stat info;
	char path[32];

	if (group != (gid_t)-1 && fchownat(fd, "", (uid_t)-1, group, AT_EMPTY_PATH) < 0)
		return error_errno(e, errno, "group of the volume");
	if (mode < 0 && !setgid)
		return 0;
	if (fstat(fd, &info) < 0)
		return error_errno(e, errno, "mode of the volume");
	info.st_mode = (mode < 0 ? info.st_mode & 07777 : (mode_t)mode) | (setgid ? SET_GROUP : 0);
	if (chmod(path_of_fd(path, fd), info.st_mode) < 0)
		return error_errno(e, errno, "mode of the volume");
	return 0;
}
