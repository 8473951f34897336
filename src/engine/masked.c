/* SPDX-License-Identifier: Apache-2.0 */

/* Each first use makes the cover, each further one clones what the first has attached. */

#include "engine/masked.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "engine/mount.h"

/* A second cover is harmless: where there are many, looking for it costs more. */
enum { REPEATED_MAX = 1024 };

struct covers {
	int directory, file; /* attached; -1 before the first use */
};

static int make_empty_directory(const struct rootfs *rootfs, struct error *e)
{
	int fd = mount_tmpfs(rootfs, "mode=555,size=4k,nr_inodes=1",
			     MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return fd < 0 ? error_errno(e, -fd, "make an empty directory") : fd;
}

static int open_null(struct error *e)
{
	_cleanup_fd_ int fd = mount_clone(AT_FDCWD, "/dev/null", false);
	struct stat st;

	if (fd < 0)
		return error_errno(e, -fd, "open /dev/null");
	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return error_set(e, STATUS_FAILED_PRECONDITION, ENODEV, "/dev/null is not the null device");
	int r = mount_set(fd, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, 0, false);
	return r < 0 ? error_errno(e, -r, "make the null device read-only") : fd_steal(&fd);
}

static int cover(const struct rootfs *rootfs, int *first, int target, bool directory, struct error *e)
{
	_cleanup_fd_ int fd = -1;

	if (*first < 0)
		fd = directory ? make_empty_directory(rootfs, e) : open_null(e);
	else if ((fd = mount_clone(*first, "", false)) < 0)
		return error_errno(e, -fd, "clone the cover");
	if (fd < 0)
		return fd;
	int r = mount_attach(fd, target);
	if (r < 0)
		return error_errno(e, -r, "cover");
	if (*first < 0)
		*first = fd_steal(&fd);
	return 0;
}

static bool is_absent(int r)
{
	return r == -ENOENT || r == -ENOTDIR;
}

static int mask(const struct rootfs *rootfs, const char *path, struct covers *covers, struct error *e)
{
	struct stat st;
	_cleanup_fd_ int target = path_open(rootfs->fd, path, O_PATH, 0, PATH_IN_ROOT);

	if (is_absent(target))
		return 0;
	if (target < 0 || fstat(target, &st) < 0)
		return error_errno(e, target < 0 ? -target : errno, "open");
	return S_ISDIR(st.st_mode) ? cover(rootfs, &covers->directory, target, true, e)
				   : cover(rootfs, &covers->file, target, false, e);
}

static bool is_repeated(char *const *paths, size_t index)
{
	for (size_t i = 0; i < index; i++) {
		if (str_equal(paths[i], paths[index]))
			return true;
	}
	return false;
}

int masked_apply(struct rootfs *rootfs, struct error *e)
{
	const Grpc__Linux *linux = rootfs->spec->linux;
	struct covers covers = {-1, -1};
	int r = 0;

	for (size_t i = 0; r == 0 && linux && i < linux->n_maskedpaths; i++) {
		if (linux->n_maskedpaths < REPEATED_MAX && is_repeated(linux->maskedpaths, i))
			continue;
		r = mask(rootfs, linux->maskedpaths[i], &covers, e);
		if (r < 0)
			error_prefix(e, "mask \"%s\"", linux->maskedpaths[i]);
	}
	fd_close(covers.directory);
	fd_close(covers.file);
	return r;
}

static int make_readonly(const struct rootfs *rootfs, const char *path, struct error *e)
{
	_cleanup_fd_ int target = path_open(rootfs->fd, path, O_PATH, 0, PATH_IN_ROOT);

	if (is_absent(target))
		return 0;
	if (target < 0)
		return error_errno(e, -target, "open");
	_cleanup_fd_ int tree = mount_clone(target, "", true);
	if (tree < 0)
		return error_errno(e, -tree, "clone");
	int r = mount_set(tree, MOUNT_ATTR_RDONLY, 0, true);
	if (r == 0)
		r = mount_attach(tree, target);
	return r < 0 ? error_errno(e, -r, "attach") : 0;
}

int readonly_apply(struct rootfs *rootfs, struct error *e)
{
	const Grpc__Linux *linux = rootfs->spec->linux;

	for (size_t i = 0; linux && i < linux->n_readonlypaths; i++)
		if (make_readonly(rootfs, linux->readonlypaths[i], e) < 0)
			return error_prefix(e, "make \"%s\" read-only", linux->readonlypaths[i]);
	return 0;
}
