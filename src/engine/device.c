/* SPDX-License-Identifier: Apache-2.0 */

/* See device.h. umask is 0 while this runs. */

#include "engine/device.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "engine/mount.h"

static const struct {
	const char *name;
	unsigned major, minor;
} defaults[] = {
	{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
};

static const struct {
	const char *name, *target;
} links[] = {
	{"fd", "/proc/self/fd"},       {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"}, {"core", "/proc/kcore"},
};

mode_t device_type(const char *type)
{
	if (str_equal(type, "c") || str_equal(type, "u"))
		return S_IFCHR;
	if (str_equal(type, "b"))
		return S_IFBLK;
	return str_equal(type, "p") ? S_IFIFO : 0;
}

bool device_matches(const struct stat *st, mode_t mode, dev_t number)
{
	if ((st->st_mode & S_IFMT) != (mode & S_IFMT))
		return false;
	return S_ISFIFO(mode) || st->st_rdev == number;
}

static int mismatch(const char *name, struct error *e)
{
	return error_set(e, STATUS_FAILED_PRECONDITION, EEXIST, "something else is at \"%s\"", name);
}

/* The guest's node of the same name, if it is what is asked for, onto an empty file. */
static int bind_node(int directory, const char *name, const char *path, mode_t mode, dev_t number,
		     struct error *e)
{
	_cleanup_fd_ int fd = mount_clone(AT_FDCWD, path, false);
	struct stat st;

	if (fd < 0)
		return error_errno(e, -fd, "open the guest's \"%s\"", path);
	if (fstat(fd, &st) < 0 || !device_matches(&st, mode, number))
		return error_set(e, STATUS_FAILED_PRECONDITION, ENODEV,
				 "the guest's \"%s\" is another device", path);
	/* The guest's devtmpfs may allow what no device needs. */
	int r = mount_set(fd, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, 0, false);
	if (r < 0)
		return error_errno(e, -r, "set attributes of \"%s\"", name);
	int created = openat(directory, name, O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (created < 0 && errno != EEXIST)
		return error_errno(e, errno, "make \"%s\"", name);
	fd_close(created);
	_cleanup_fd_ int target = openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	r = target < 0 ? -errno : mount_attach(fd, target);
	return r < 0 ? error_errno(e, -r, "bind \"%s\"", name) : 0;
}

/* 1: made; 0: was there and is right; -errno. */
static int make_node(const struct rootfs *rootfs, int directory, const char *name, const char *path,
		     mode_t mode, dev_t number, struct error *e)
{
	struct stat st;

	if (mknodat(directory, name, mode, number) == 0)
		return 1;
	int errnum = errno;
	if (errnum == EEXIST || errnum == EPERM || errnum == EROFS) {
		bool there = fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
		if (there && device_matches(&st, mode, number))
			return 0;
		if (there && !(rootfs->user_namespace && S_ISREG(st.st_mode)))
			return mismatch(name, e);
	}
	if (rootfs->user_namespace && !S_ISFIFO(mode) && (errnum == EPERM || errnum == EEXIST))
		return bind_node(directory, name, path, mode, number, e);
	return error_errno(e, errnum, "make \"%s\"", name);
}

/* --- the spec's devices ------------------------------------------------------------------------------------- */

static int own_node(int directory, const char *name, const Grpc__LinuxDevice *device, struct error *e)
{
	if (!device->uid && !device->gid)
		return 0;
	if (fchownat(directory, name, device->uid, device->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(e, errno, "change the owner");
	return 0;
}

/* Hosts send 0 for "absent": then it is what the guest's node of that path has, or what one can work with. */
static mode_t permissions(const Grpc__LinuxDevice *device)
{
	struct stat st;

	if (device->has_filemode && (device->filemode & 07777))
		return device->filemode & 07777;
	if (lstat(str_or_empty(device->path), &st) == 0 && (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)))
		return st.st_mode & 0777;
	return 0666;
}

static int make_spec_device(const struct rootfs *rootfs, const Grpc__LinuxDevice *device, struct error *e)
{
	mode_t type = device_type(device->type);
	char name[NAME_MAX + 1];

	if (!type)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "type \"%s\" is none of c, b, u, p",
				 str_or_empty(device->type));
	if (device->major < 0 || device->minor < 0 || device->major > UINT_MAX || device->minor > UINT_MAX)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "no device has these numbers");
	dev_t number = makedev((unsigned)device->major, (unsigned)device->minor);
	_cleanup_fd_ int directory = path_open_parent(rootfs->fd, str_or_empty(device->path), 0755,
						      PATH_IN_ROOT, name, sizeof(name));
	if (directory < 0)
		return error_errno(e, -directory, "make its directory");
	int r = make_node(rootfs, directory, name, device->path, type | permissions(device), number, e);
	return r == 1 ? own_node(directory, name, device, e) : r;
}

/* --- /dev --------------------------------------------------------------------------------------------------- */

static int make_link(int dev, const char *target, const char *name, struct error *e)
{
	if (symlinkat(target, dev, name) < 0 && errno != EEXIST)
		return error_errno(e, errno, "link \"%s\"", name);
	return 0;
}

static int make_ptmx(int dev, struct error *e)
{
	if (symlinkat("pts/ptmx", dev, "ptmx") == 0)
		return 0;
	if (errno == EEXIST && unlinkat(dev, "ptmx", 0) == 0 && symlinkat("pts/ptmx", dev, "ptmx") == 0)
		return 0;
	return error_errno(e, errno, "link \"ptmx\"");
}

static bool in_spec(const Grpc__Linux *linux, const char *name)
{
	for (size_t i = 0; linux && i < linux->n_devices; i++) {
		const char *path = str_or_empty(linux->devices[i]->path);
		if (str_starts_with(path, "/dev/") && str_equal(path + 5, name))
			return true;
	}
	return false;
}

static int make_defaults(const struct rootfs *rootfs, int dev, struct error *e)
{
	char path[32];
	int r = 0;

	for (size_t i = 0; r >= 0 && i < array_length(defaults); i++) {
		/* What the spec says about a default device, its mode and owner, goes before. */
		if (in_spec(rootfs->spec->linux, defaults[i].name))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", defaults[i].name);
		r = make_node(rootfs, dev, defaults[i].name, path, S_IFCHR | 0666,
			      makedev(defaults[i].major, defaults[i].minor), e);
	}
	for (size_t i = 0; r >= 0 && i < array_length(links); i++)
		r = make_link(dev, links[i].target, links[i].name, e);
	return r < 0 ? r : make_ptmx(dev, e);
}

static int open_dev(const struct rootfs *rootfs, struct error *e)
{
	int dev = path_open(rootfs->fd, "/dev", O_PATH | O_DIRECTORY, 0, PATH_IN_ROOT);

	if (dev == -ENOENT)
		dev = path_mkdirs(rootfs->fd, "/dev", 0755, PATH_IN_ROOT);
	return dev < 0 ? error_errno(e, -dev, "open /dev") : dev;
}

int devices_make(struct rootfs *rootfs, struct error *e)
{
	const Grpc__Linux *linux = rootfs->spec->linux;

	if (rootfs->dev_bound)
		return 0;
	_cleanup_fd_ int dev = open_dev(rootfs, e);
	if (dev < 0)
		return dev;
	int r = make_defaults(rootfs, dev, e);
	if (r < 0)
		return error_prefix(e, "device in /dev");
	for (size_t i = 0; linux && i < linux->n_devices; i++) {
		/* The multiplexer is that of the container's own devpts, whatever is asked for. */
		if (str_equal(linux->devices[i]->path, "/dev/ptmx"))
			continue;
		if (make_spec_device(rootfs, linux->devices[i], e) < 0)
			return error_prefix(e, "device \"%s\"", str_or_empty(linux->devices[i]->path));
	}
	return 0;
}

int device_bind_console(struct rootfs *rootfs, int slave, struct error *e)
{
	_cleanup_fd_ int dev = open_dev(rootfs, e);
	if (dev < 0)
		return dev;
	int created = openat(dev, "console", O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0620);
	if (created < 0 && errno != EEXIST)
		return error_errno(e, errno, "make /dev/console");
	fd_close(created);
	_cleanup_fd_ int target = openat(dev, "console", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_fd_ int tree = mount_clone(slave, "", false);
	int r = target < 0 ? -errno
		: tree < 0 ? tree
			   : mount_set(tree, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, 0, false);
	if (r == 0)
		r = mount_attach(tree, target);
	return r < 0 ? error_errno(e, -r, "bind the terminal to /dev/console") : 0;
}
