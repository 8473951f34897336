/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The container's view of its cgroups.
 *
 * v2: the hierarchy, whose root is the container's own cgroup when it has a cgroup namespace; else a bind of its own
 * directory, so that it does not see others. v1: a tmpfs with one directory for each hierarchy, each a bind of the
 * container's own cgroup, and links for controllers that are mounted together.
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "engine/mount_private.h"

static int attach(int fd, int target, struct error *e)
{
	int r = mount_attach(fd, target);
	return r < 0 ? error_errno(e, -r, "attach") : 0;
}

static int bind_directory(const char *directory, const struct mount_options *options, int target,
			  struct error *e)
{
	_cleanup_fd_ int fd = mount_clone(AT_FDCWD, directory, true);

	if (fd < 0)
		return error_errno(e, -fd, "open \"%s\"", directory);
	int r = mount_set(fd, options->top.set | options->below.set, MOUNT_ATTR__ATIME, false);
	return r < 0 ? error_errno(e, -r, "set attributes") : attach(fd, target, e);
}

static int mount_v2(const struct rootfs *rootfs, const struct mount_request *request, int target,
		    struct error *e)
{
	struct mount_request v2 = *request;
	const char *directory = cgroup_directory(rootfs->cgroup, NULL);

	if (!rootfs->cgroup_namespace && directory)
		return bind_directory(directory, &request->options, target, e);
	v2.type = "cgroup2";
	v2.options.data = "";
	_cleanup_fd_ int fd = mount_make(rootfs, &v2, -1, e);
	/* Without the right to mount it (a user namespace, no cgroup namespace of its own) a bind shows the same. */
	if ((fd == -EPERM || fd == -EBUSY) && directory)
		return bind_directory(directory, &request->options, target, e);
	if (fd == -ENOTSUP)
		return error_errno(e, EOPNOTSUPP, "file system \"cgroup2\"");
	return fd < 0 ? fd : attach(fd, target, e);
}

/* "/sys/fs/cgroup/cpu,cpuacct" + "/" + path → "cpu,cpuacct". */
static int hierarchy_name(const char *directory, const char *path, char *name, size_t size)
{
	size_t length = strlen(directory), tail = strlen(path);

	if (length <= tail + 1 || !str_equal(directory + length - tail, path))
		return -EINVAL;
	length -= tail;
	while (length > 0 && directory[length - 1] == '/')
		length--;
	size_t start = length;
	while (start > 0 && directory[start - 1] != '/')
		start--;
	if (length == start || length - start >= size)
		return -EINVAL;
	memcpy(name, directory + start, length - start);
	name[length - start] = '\0';
	return 0;
}

static int link_controllers(int top, char *controllers, const char *name)
{
	char *save = NULL;

	if (str_starts_with(controllers, "name="))
		return 0;
	for (char *c = strtok_r(controllers, ",", &save); c; c = strtok_r(NULL, ",", &save))
		if (!str_equal(c, name) && symlinkat(name, top, c) < 0 && errno != EEXIST)
			return -errno;
	return 0;
}

/* @top is a tmpfs of our own, which nobody else has seen: a name in it is what we have just made. */
static int bind_hierarchy(const char *directory, const struct mount_options *options, int top,
			  const char *name, struct error *e)
{
	_cleanup_fd_ int fd = mount_clone(AT_FDCWD, directory, true);

	if (fd < 0)
		return fd == -ENOENT ? -ENOENT : error_errno(e, -fd, "open \"%s\"", directory);
	int r = mount_set(fd, options->top.set | options->below.set, MOUNT_ATTR__ATIME, false);
	if (r < 0)
		return error_errno(e, -r, "set attributes");
	if (mkdirat(top, name, 0755) < 0 && errno != EEXIST)
		return error_errno(e, errno, "make \"%s\"", name);
	if (move_mount(fd, "", top, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return error_errno(e, errno, "attach \"%s\"", name);
	return 0;
}

/* One line of /proc/self/cgroup: "4:cpu,cpuacct:/path". */
static int mount_hierarchy(const struct rootfs *rootfs, const struct mount_request *request, int top,
			   char *line, struct error *e)
{
	char name[NAME_MAX + 1], first[64];
	char *controllers = strchr(line, ':');
	char *end = controllers ? strchr(controllers + 1, ':') : NULL;

	if (!end || ++controllers == end) /* v2 has no controllers here */
		return 0;
	*end = '\0';
	size_t length = strcspn(controllers, ",");
	if (length >= sizeof(first))
		return 0;
	memcpy(first, controllers, length);
	first[length] = '\0';
	const char *directory = cgroup_directory(rootfs->cgroup, first);
	if (!directory || hierarchy_name(directory, cgroup_path(rootfs->cgroup), name, sizeof(name)) < 0)
		return 0;
	int r = bind_hierarchy(directory, &request->options, top, name, e);
	if (r == -ENOENT)
		return 0;
	if (r == 0) {
		r = link_controllers(top, controllers, name);
		r = r < 0 ? error_errno(e, -r, "link controllers of \"%s\"", name) : 0;
	}
	return r;
}

static int mount_v1(const struct rootfs *rootfs, const struct mount_request *request, int target,
		    struct error *e)
{
	const uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
	_cleanup_free_ char *table = NULL;
	_cleanup_fd_ int top = mount_tmpfs(rootfs, "mode=755", attributes);
	char *save = NULL;
	int r;

	if (top < 0)
		return error_errno(e, -top, "make tmpfs");
	/* Mounts go only onto what is attached. */
	r = attach(top, target, e);
	if (r < 0)
		return r;
	if (file_read(rootfs->proc, "self/cgroup", 1 << 16, &table) < 0)
		return error_errno(e, EIO, "read the cgroup hierarchies");
	for (char *line = strtok_r(table, "\n", &save); r == 0 && line; line = strtok_r(NULL, "\n", &save))
		r = mount_hierarchy(rootfs, request, top, line, e);
	if (r == 0) {
		r = mount_set(top, request->options.top.set & MOUNT_ATTR_RDONLY, 0, false);
		r = r < 0 ? error_errno(e, -r, "set attributes") : 0;
	}
	return r;
}

int mount_cgroup(struct rootfs *rootfs, const struct mount_request *request, int target, struct error *e)
{
	bool v1 = cgroup_directory(rootfs->cgroup, "memory") || cgroup_directory(rootfs->cgroup, "cpu") ||
		  cgroup_directory(rootfs->cgroup, "pids") || cgroup_directory(rootfs->cgroup, "devices");
	const char *unified = cgroup_directory(rootfs->cgroup, NULL);

	/* On v2 all controllers have one directory. */
	if (v1 && unified && str_equal(unified, cgroup_directory(rootfs->cgroup, "memory")))
		v1 = false;
	if (str_equal(request->type, "cgroup2") || (!v1 && unified))
		return mount_v2(rootfs, request, target, e);
	return mount_v1(rootfs, request, target, e);
}
