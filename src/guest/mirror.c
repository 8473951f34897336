/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mirror itself is all the memory that there is: a copied file gets the time of its source, and one whose time or size
 * is another is copied again.
 *
 * Kubernetes writes a volume anew in a directory of its own, and swaps one link. So directories and files come first, then
 * links, each in one step, and what is gone from the source goes last: who follows the links finds all of the old or all
 * of the new.
 *
 * The host may change the source at any moment, and a container whatever it was given: each name is opened below an open
 * directory, without links, and looked at afterwards.
 */

#include "guest/mirror.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"

static const char new_link[] = ".kata-mirror~";

struct mirror {
	unsigned paths;
	uint64_t bytes;
	/* The first failure. */
	int r;
	struct error error;
};

static void failed(struct mirror *mirror, int r, const char *name)
{
	if (mirror->r == 0)
		mirror->r = error_errno(&mirror->error, -r, "mirror \"%s\"", name);
}

static bool is_entry(const char *name)
{
	return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* The names in @fd, from the first. NULL with errno. */
static DIR *list_open(int fd)
{
	int own = path_open(fd, ".", O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
	DIR *list = own < 0 ? NULL : fdopendir(own);

	if (own < 0)
		errno = -own;
	else if (!list)
		fd_close(own);
	return list;
}

/* --- is it too much? --- */

static bool survey(struct mirror *mirror, int fd, const struct stat *info)
{
	struct dirent *entry;
	bool fits;
	DIR *list;

	mirror->paths++;
	if (S_ISREG(info->st_mode))
		mirror->bytes += (uint64_t)info->st_size;
	fits = mirror->paths <= MIRROR_PATHS_MAX && mirror->bytes <= MIRROR_BYTES_MAX;
	if (!fits || !S_ISDIR(info->st_mode))
		return fits;
	list = list_open(fd);
	if (!list)
		return true;
	while (fits && (entry = readdir(list))) {
		_cleanup_fd_ int inner = -1;
		struct stat inner_info;

		if (!is_entry(entry->d_name))
			continue;
		inner = openat(dirfd(list), entry->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (inner >= 0 && fstat(inner, &inner_info) == 0)
			fits = survey(mirror, inner, &inner_info);
	}
	closedir(list);
	return fits;
}

/* --- one of each kind --- */

static int own(int fd, const struct stat *info)
{
	if (fchown(fd, info->st_uid, info->st_gid) < 0 || fchmod(fd, info->st_mode & 07777) < 0)
		return -errno;
	return 0;
}

static bool same_time(const struct stat *a, const struct stat *b)
{
	return a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int copy_bytes(int from, int to)
{
	char chunk[16384];
	size_t total = 0;

	for (;;) {
		ssize_t n = read(from, chunk, sizeof(chunk));
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		/* It has grown meanwhile; the next survey sees that. */
		total += (size_t)n;
		if (total > MIRROR_BYTES_MAX)
			return -EFBIG;
		r = fd_write_all(to, chunk, (size_t)n);
		if (r < 0)
			return r;
	}
}

/* The file @name to be written: the one that is there, or a new one in the place of whatever is. */
static int target_open(int parent, const char *name)
{
	struct stat info;
	int fd = openat(parent, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), r;

	if (fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
		if (ftruncate(fd, 0) == 0)
			return fd;
		r = -errno;
		fd_close(fd);
		return r;
	}
	fd_close(fd);
	r = path_remove_tree(parent, name);
	if (r < 0)
		return r;
	fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

static int mirror_file(int source, const struct stat *info, int parent, const char *name)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, info->st_mtim};
	_cleanup_fd_ int from = -1, to = -1;
	struct stat there;
	char link[32];
	int r;

	if (fstatat(parent, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(there.st_mode) &&
	    there.st_size == info->st_size && same_time(&there, info))
		return 0;
	from = open(path_of_fd(link, source), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (from < 0)
		return -errno;
	to = target_open(parent, name);
	if (to < 0)
		return to;
	r = copy_bytes(from, to);
	if (r == 0)
		r = own(to, info);
	/* Last: what was interrupted is not taken for whole. */
	if (r == 0 && futimens(to, times) < 0)
		r = -errno;
	return r;
}

static int mirror_link(int source, const struct stat *info, int parent, const char *name)
{
	char wanted[PATH_MAX], there[PATH_MAX];
	ssize_t n = readlinkat(source, "", wanted, sizeof(wanted) - 1);
	ssize_t m = readlinkat(parent, name, there, sizeof(there) - 1);
	struct stat at;
	int r;

	if (n < 0)
		return -errno;
	wanted[n] = '\0';
	if (m == n && memcmp(wanted, there, (size_t)n) == 0)
		return 0;
	r = path_remove_tree(parent, new_link);
	/* A link takes the place of a file or link in one step, but not of a directory. */
	if (r == 0 && fstatat(parent, name, &at, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(at.st_mode))
		r = path_remove_tree(parent, name);
	if (r < 0)
		return r;
	if (symlinkat(wanted, parent, new_link) < 0 ||
	    fchownat(parent, new_link, info->st_uid, info->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    renameat(parent, new_link, parent, name) < 0)
		return -errno;
	return 0;
}

static int target_directory(const struct stat *info, int parent, const char *name)
{
	_cleanup_fd_ int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat there;
	int r;

	if (fd < 0) {
		r = path_remove_tree(parent, name);
		if (r < 0)
			return r;
		if (mkdirat(parent, name, 0700) < 0)
			return -errno;
		fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	}
	if (fd < 0 || fstat(fd, &there) < 0)
		return -errno;
	if (there.st_mode != info->st_mode || there.st_uid != info->st_uid || there.st_gid != info->st_gid) {
		r = own(fd, info);
		if (r < 0)
			return r;
	}
	return fd_steal(&fd);
}

/* --- the tree --- */

static int mirror_one(struct mirror *mirror, int source, const struct stat *info, int parent,
		      const char *name);

/* All that is in @list and is, or is not, a link. */
static void mirror_entries(struct mirror *mirror, DIR *list, int target, bool links)
{
	struct dirent *entry;

	rewinddir(list);
	while ((entry = readdir(list))) {
		_cleanup_fd_ int inner = -1;
		struct stat info;
		int r;

		if (!is_entry(entry->d_name))
			continue;
		inner = openat(dirfd(list), entry->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		/* It has gone since the list was made. */
		if (inner < 0 || fstat(inner, &info) < 0 || S_ISLNK(info.st_mode) != links)
			continue;
		r = mirror_one(mirror, inner, &info, target, entry->d_name);
		if (r < 0)
			failed(mirror, r, entry->d_name);
	}
}

static void remove_gone(struct mirror *mirror, int source, int target)
{
	DIR *list = list_open(target);
	struct dirent *entry;
	struct stat info;
	int r;

	if (!list)
		return;
	while ((entry = readdir(list))) {
		if (!is_entry(entry->d_name) ||
		    fstatat(source, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
			continue;
		r = path_remove_tree(target, entry->d_name);
		if (r < 0)
			failed(mirror, r, entry->d_name);
	}
	closedir(list);
}

static int mirror_directory(struct mirror *mirror, int source, const struct stat *info, int parent,
			    const char *name)
{
	_cleanup_fd_ int target = target_directory(info, parent, name);
	DIR *list;

	if (target < 0)
		return target;
	list = list_open(source);
	if (!list)
		return -errno;
	mirror_entries(mirror, list, target, false);
	mirror_entries(mirror, list, target, true);
	remove_gone(mirror, dirfd(list), target);
	closedir(list);
	return 0;
}

static int mirror_one(struct mirror *mirror, int source, const struct stat *info, int parent,
		      const char *name)
{
	/* The source may have grown since it was surveyed, as deep as it likes. */
	if (++mirror->paths > 2 * MIRROR_PATHS_MAX)
		return -EFBIG;
	if (S_ISDIR(info->st_mode))
		return mirror_directory(mirror, source, info, parent, name);
	if (S_ISREG(info->st_mode))
		return mirror_file(source, info, parent, name);
	if (S_ISLNK(info->st_mode))
		return mirror_link(source, info, parent, name);
	/* A socket or the like: nothing that could be copied. */
	return 0;
}

int mirror_update(int source, int parent, const char *name, struct error *e)
{
	struct mirror mirror = {.error = ERROR_INIT};
	struct stat info;
	int r;

	if (fstat(source, &info) < 0)
		return error_errno(e, errno, "look at what is to be mirrored as \"%s\"", name);
	if (!survey(&mirror, source, &info))
		return 1;
	mirror.paths = 0;
	r = mirror_one(&mirror, source, &info, parent, name);
	if (r < 0)
		failed(&mirror, r, name);
	if (mirror.r < 0)
		*e = mirror.error;
	return mirror.r;
}
