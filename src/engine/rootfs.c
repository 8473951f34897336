/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The way of the root: the new mount namespace is cut off from its parent, the container's tree is cloned and attached,
 * filled by mount.c, device.c and masked.c, sealed, and entered.
 *
 * Entering has three forms. pivot_root(2), after which the old tree is detached. On an initramfs, which cannot be pivoted
 * away: the clone is attached over "/" from the beginning, everything else that is mounted is detached, and chroot(2)
 * climbs onto it. Without a mount namespace: chroot(2) alone.
 */

#include "engine/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "engine/mount.h"

unsigned long rootfs_propagation(const char *name)
{
	static const struct {
		const char *name;
		unsigned long value;
	} names[] = {
		{"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE | MS_REC},
		{"shared", MS_SHARED},	       {"rshared", MS_SHARED | MS_REC},
		{"slave", MS_SLAVE},	       {"rslave", MS_SLAVE | MS_REC},
		{"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE | MS_REC},
	};

	for (size_t i = 0; i < array_length(names); i++)
		if (str_equal(name, names[i].name))
			return names[i].value;
	return 0;
}

static unsigned long propagation(const struct rootfs *rootfs)
{
	return rootfs->spec->linux ? rootfs_propagation(rootfs->spec->linux->rootfspropagation) : 0;
}

/* Mounts are to travel out of the container: the old root's peer groups must stay. */
static bool wants_peers(const struct rootfs *rootfs)
{
	return (propagation(rootfs) & MS_SHARED) != 0;
}

static int open_directory(const char *path, struct error *e)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? error_errno(e, errno, "open root \"%s\"", path) : fd;
}

/* --- the mount table ---------------------------------------------------------------------------------------- */

struct table_line {
	uint64_t id, parent;
	char *mount_point; /* escaped as the kernel does; in the line's own memory */
};

/* One line of mountinfo: "ID PARENT MAJ:MIN ROOT MOUNTPOINT …". False for what is none. */
static bool parse_line(char *line, struct table_line *out)
{
	char *fields[5], *save = NULL;

	for (size_t i = 0; i < 5; i++) {
		fields[i] = strtok_r(i ? NULL : line, " ", &save);
		if (!fields[i])
			return false;
	}
	out->mount_point = fields[4];
	return str_to_u64(fields[0], 10, &out->id) == 0 && str_to_u64(fields[1], 10, &out->parent) == 0;
}

/* Blanks and the like are "\040" there. In place. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' && from[2] <= '7' &&
		    from[3] >= '0' && from[3] <= '7') {
			*to++ = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 3;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
}

static ssize_t read_table(int proc, char **table)
{
	return file_read(proc, "self/mountinfo", 64 << 20, table);
}

/* A mount that is shared takes no pivot_root(2) below it, and what we attach there would be seen outside. */
static int make_parent_private(const struct rootfs *rootfs, const char *path, struct error *e)
{
	_cleanup_fd_ int directory = open_directory(path, e);
	_cleanup_free_ char *table = NULL;
	struct table_line line;
	struct statx st;
	char *save = NULL;

	if (directory < 0)
		return directory;
	if (statx(directory, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0)
		return error_errno(e, errno, "find the mount of the root");
	ssize_t n = read_table(rootfs->proc, &table);
	if (n < 0)
		return error_errno(e, (int)-n, "read the mount table");
	for (char *text = strtok_r(table, "\n", &save); text; text = strtok_r(NULL, "\n", &save)) {
		if (!parse_line(text, &line) || line.id != st.stx_mnt_id)
			continue;
		unescape(line.mount_point);
		if (mount(NULL, line.mount_point, NULL, MS_PRIVATE, NULL) < 0)
			return error_errno(e, errno, "make \"%s\" private", line.mount_point);
		return 0;
	}
	return 0;
}

/* --- open --------------------------------------------------------------------------------------------------- */

static int cut_off(struct error *e)
{
	struct mount_attr attr = {.propagation = MS_SLAVE};

	if (mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return error_errno(e, errno, "cut off the mounts");
	return 0;
}

static int attach_root(struct rootfs *rootfs, const char *path, struct error *e)
{
	if (rootfs->no_pivot) {
		if (move_mount(rootfs->fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
			return error_errno(e, errno, "attach root \"%s\"", path);
		return 0;
	}
	if (move_mount(rootfs->fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) < 0)
		return error_errno(e, errno, "attach root \"%s\"", path);
	return 0;
}

static const char *root_path(const struct rootfs *rootfs, struct error *e)
{
	const char *path = rootfs->spec->root ? rootfs->spec->root->path : NULL;

	if (str_is_empty(path)) {
		error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "root.path is missing");
		return NULL;
	}
	if (*path == '/')
		return path;
	path = arena_printf(rootfs->arena, "%s/%s", rootfs->bundle, path);
	if (!path)
		error_errno(e, ENOMEM, "root");
	return path;
}

static int clone_root(struct rootfs *rootfs, const char *path, struct error *e)
{
	rootfs->fd = mount_clone(AT_FDCWD, path, true);
	return rootfs->fd < 0 ? error_errno(e, -rootfs->fd, "open root \"%s\"", path) : 0;
}

/*
 * The container's mounts are peers of ours. Where the root is attached to "/", and all else detached from it, this must
 * not be seen outside: then only what is mounted in the root keeps its peers.
 */
static int clone_root_with_peers(struct rootfs *rootfs, const char *path, struct error *e)
{
	int r = rootfs->no_pivot ? 0 : make_parent_private(rootfs, path, e);

	if (r == 0)
		r = clone_root(rootfs, path, e);
	if (r < 0)
		return r;
	r = mount_propagate(rootfs->fd, MS_PRIVATE);
	if (r < 0)
		return error_errno(e, -r, "make the root private");
	return rootfs->no_pivot ? cut_off(e) : 0;
}

int rootfs_open(struct rootfs *rootfs, struct error *e)
{
	const char *path = root_path(rootfs, e);
	int r;

	if (!path)
		return error_result(e);
	if (!rootfs->own_mounts) {
		rootfs->fd = open_directory(path, e);
		return rootfs->fd < 0 ? rootfs->fd : 0;
	}
	if (wants_peers(rootfs)) {
		r = clone_root_with_peers(rootfs, path, e);
	} else {
		r = cut_off(e);
		if (r == 0)
			r = clone_root(rootfs, path, e);
	}
	return r < 0 ? r : attach_root(rootfs, path, e);
}

/* --- fill and seal ------------------------------------------------------------------------------------------ */

int rootfs_make_cwd(struct rootfs *rootfs, const char *cwd, struct error *e)
{
	if (str_is_empty(cwd) || str_equal(cwd, "/"))
		return 0;
	/* A cwd that cannot be made (a read-only or foreign file system) is an error only if it cannot be entered later. */
	_cleanup_fd_ int fd = path_mkdirs(rootfs->fd, cwd, 0755, PATH_IN_ROOT);
	if (fd == -ENOTDIR || fd == -EEXIST)
		return error_errno(e, ENOTDIR, "process.cwd \"%s\"", cwd);
	return 0;
}

static int seal_dev(struct rootfs *rootfs, struct error *e)
{
	for (size_t i = 0; i < rootfs->spec->n_mounts && !rootfs->dev_bound; i++) {
		const Grpc__Mount *mount = rootfs->spec->mounts[i];
		bool readonly = false;

		if (!str_equal(mount->destination, "/dev") && !str_equal(mount->destination, "/dev/"))
			continue;
		for (size_t k = 0; k < mount->n_options; k++) {
			if (str_equal(mount->options[k], "ro") || str_equal(mount->options[k], "rro"))
				readonly = true;
			else if (str_equal(mount->options[k], "rw") || str_equal(mount->options[k], "rrw"))
				readonly = false;
		}
		if (!readonly)
			continue;
		_cleanup_fd_ int fd = path_open(rootfs->fd, "/dev", O_PATH, 0, PATH_IN_ROOT);
		int r = fd < 0 ? fd : mount_set(fd, MOUNT_ATTR_RDONLY, 0, false);
		if (r < 0)
			return error_errno(e, -r, "make /dev read-only");
	}
	return 0;
}

int rootfs_seal(struct rootfs *rootfs, struct error *e)
{
	int r = rootfs->own_mounts ? seal_dev(rootfs, e) : 0;

	if (r < 0 || !rootfs->own_mounts)
		return r;
	if (rootfs->spec->root->readonly) {
		r = mount_set(rootfs->fd, MOUNT_ATTR_RDONLY, 0, false);
		if (r < 0)
			return error_errno(e, -r, "make the root read-only");
	}
	return 0;
}

/* --- enter -------------------------------------------------------------------------------------------------- */

static int pivot(struct rootfs *rootfs, struct error *e)
{
	_cleanup_fd_ int old = -1;

	if (wants_peers(rootfs)) {
		/* What is detached here must not be detached outside, too. */
		old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		int r = old < 0 ? -errno : mount_propagate(old, MS_SLAVE | MS_REC);
		if (r < 0)
			return error_errno(e, -r, "cut off the old root");
	}
	if (fchdir(rootfs->fd) < 0)
		return error_errno(e, errno, "enter the root");
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return error_errno(e, errno, "pivot_root");
	if (umount2(".", MNT_DETACH) < 0)
		return error_errno(e, errno, "detach the old root");
	return 0;
}

/* Everything mounted on the initramfs but our root, which covers it: nothing of it is to be reached any more. */
static int detach_all_others(struct rootfs *rootfs, struct error *e)
{
	_cleanup_free_ char *table = NULL;
	_cleanup_free_ struct table_line *lines = NULL;
	struct statx ours, first;
	size_t count = 0, room = 0;
	char *save = NULL;

	if (statx(rootfs->fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &ours) < 0 ||
	    statx(AT_FDCWD, "/.", 0, STATX_MNT_ID, &first) < 0 || read_table(rootfs->proc, &table) < 0)
		return error_errno(e, EIO, "read the mount table");
	for (char *text = strtok_r(table, "\n", &save); text; text = strtok_r(NULL, "\n", &save)) {
		if (count == room) {
			struct table_line *more = realloc(lines, (room + 64) * sizeof(*lines));
			if (!more)
				return error_errno(e, ENOMEM, "read the mount table");
			lines = more;
			room += 64;
		}
		if (parse_line(text, &lines[count]))
			count++;
	}
	for (size_t i = count; i-- > 0;) {
		/* A child of the initramfs's own root takes all below it along. */
		if (lines[i].id == ours.stx_mnt_id || lines[i].id == first.stx_mnt_id ||
		    lines[i].parent != first.stx_mnt_id)
			continue;
		unescape(lines[i].mount_point);
		/* Again for each that is stacked at the same place. */
		while (umount2(lines[i].mount_point, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
			;
		if (errno != EINVAL && errno != ENOENT)
			return error_errno(e, errno, "detach \"%s\"", lines[i].mount_point);
	}
	return 0;
}

static int change_root(struct rootfs *rootfs, struct error *e)
{
	if (fchdir(rootfs->fd) < 0 || chroot(".") < 0)
		return error_errno(e, errno, "change the root");
	return 0;
}

int rootfs_enter(struct rootfs *rootfs, struct error *e)
{
	unsigned long mode = propagation(rootfs);
	int r;

	if (!rootfs->own_mounts)
		r = change_root(rootfs, e);
	else if (!rootfs->no_pivot)
		r = pivot(rootfs, e);
	else if ((r = detach_all_others(rootfs, e)) == 0)
		r = change_root(rootfs, e);
	if (r < 0)
		return r;
	if (chdir("/") < 0)
		return error_errno(e, errno, "enter the new root");
	if (rootfs->own_mounts && mode && mount(NULL, "/", NULL, mode, NULL) < 0)
		return error_errno(e, errno, "set linux.rootfsPropagation");
	return 0;
}
