/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The order and the targets of mounts. What is mounted is made in mount_source.c.
 *
 * Targets: a directory is made with its parents, a file is made empty (never opened for writing when it is there) for
 * a source that is no directory. proc and sysfs go only onto real directories reached without any link, since an image
 * could otherwise have the runtime's own writes below them land elsewhere. Binds below /proc hide kernel files from
 * everybody who trusts them: only the few that containers are known to need are let through.
 */

#include "engine/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "engine/lsm.h"
#include "engine/mount_private.h"

int mount_request_init(struct mount_request *request, const struct rootfs *rootfs, size_t index,
		       struct error *e)
{
	const Grpc__Mount *mount = rootfs->spec->mounts[index];
	int r = mount_options_parse(mount->options, mount->n_options, rootfs->arena, &request->options, e);

	if (r < 0)
		return r;
	request->mount = mount;
	request->index = index;
	request->bind =
		request->options.bind || str_equal(mount->type, "bind") || str_equal(mount->type, "rbind");
	if (str_equal(mount->type, "rbind"))
		request->options.recursive = true;
	request->type = request->bind ? "bind" : str_or_empty(mount->type);
	request->hold_readonly = false;
	if (!request->bind && !request->options.remount &&
	    (!*request->type || str_equal(request->type, "none")))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "no type and no \"bind\" among the options");
	if (request->options.copy_up && !str_equal(request->type, "tmpfs"))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "tmpcopyup is for tmpfs only");
	return 0;
}

/* --- targets ------------------------------------------------------------------------------------------------ */

static bool is_procfs(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

static bool bindable_below_proc(const char *destination)
{
	static const char *const files[] = {
		"/proc/cpuinfo",
		"/proc/diskstats",
		"/proc/meminfo",
		"/proc/stat",
		"/proc/swaps",
		"/proc/uptime",
		"/proc/loadavg",
		"/proc/net/dev",
		"/proc/slabinfo",
		"/proc/sys/kernel/ns_last_pid",
		"/proc/sys/crypto/fips_enabled",
	};

	for (size_t i = 0; i < array_length(files); i++)
		if (str_equal(destination, files[i]))
			return true;
	return false;
}

static int check_proc(int source, int target, const char *destination, const char *name, struct error *e)
{
	if (is_procfs(source))
		return 0;
	if (str_equal(destination, "/proc"))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "%s cannot be mounted to %s because it is not of type proc",
				 str_or_empty(name), destination);
	if (is_procfs(target) && !bindable_below_proc(destination))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "%s cannot be mounted because it is inside /proc", destination);
	return 0;
}

/* The target of proc or sysfs: no link on the way, a directory at the end. */
static int open_strict_target(const struct rootfs *rootfs, const char *destination, struct error *e)
{
	int fd = path_mkdirs(rootfs->fd, destination + strspn(destination, "/"), 0755, PATH_BENEATH);

	if (fd == -ELOOP || fd == -ENOTDIR || fd == -EXDEV)
		return error_set(e, STATUS_INVALID_ARGUMENT, -fd, "Mount point %s must be ordinary directory",
				 destination);
	return fd < 0 ? error_errno(e, -fd, "make the target") : fd;
}

/* The usual case (/dev/pts in a fresh /dev) without walking: only the last part is missing, and was not there as a link. */
static int make_in_parent(const struct rootfs *rootfs, const char *destination)
{
	char name[NAME_MAX + 1];
	_cleanup_fd_ int parent =
		path_open_parent(rootfs->fd, destination, 0, PATH_IN_ROOT, name, sizeof(name));

	if (parent < 0)
		return parent;
	if (mkdirat(parent, name, 0755) < 0)
		return -errno;
	int fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_target(const struct rootfs *rootfs, const char *destination, bool directory, struct error *e)
{
	/* Mostly it is there, as what it should be: one lookup. */
	int fd = path_open(rootfs->fd, destination, O_PATH, 0, PATH_IN_ROOT);

	if (fd >= 0)
		return fd;
	if (fd == -ENOENT && directory && (fd = make_in_parent(rootfs, destination)) >= 0)
		return fd;
	if (directory)
		fd = path_mkdirs(rootfs->fd, destination, 0755, PATH_IN_ROOT);
	else
		fd = path_touch(rootfs->fd, destination, 0755, 0644, PATH_IN_ROOT);
	return fd < 0 ? error_errno(e, -fd, "make the target") : fd;
}

static bool is_directory(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

/* --- one mount ---------------------------------------------------------------------------------------------- */

static int own_user_namespace(const struct rootfs *rootfs)
{
	return rootfs->user_namespace ? openat(rootfs->proc, "self/ns/user", O_RDONLY | O_CLOEXEC) : -1;
}

/* In a user namespace ids are mapped, kernel file systems made and closed directories opened by the helper outside. */
static int make_here_or_outside(const struct rootfs *rootfs, const struct mount_request *request,
				struct error *e)
{
	struct error here = ERROR_INIT;
	bool mapped =
		request->options.idmap || request->mount->n_uidmappings || request->mount->n_gidmappings;
	bool mapped_outside = mapped && rootfs->helper >= 0;
	int r = mapped_outside ? -EPERM : mount_make(rootfs, request, -1, &here);

	if (r >= 0 || r == -ENOTSUP)
		return r;
	if (rootfs->helper >= 0 && (r == -EPERM || r == -EACCES))
		return mount_ask_helper(rootfs, request, e);
	if (e)
		*e = here;
	return r;
}

/* After mount(2): the mount that now covers the target, which is not looked for but found where it must be. */
static int find_new_mount(const struct rootfs *rootfs, const char *destination, int target, struct error *e)
{
	struct statx before, after;
	_cleanup_fd_ int fd = path_open(rootfs->fd, destination, O_PATH, 0, PATH_IN_ROOT);

	if (fd < 0)
		return error_errno(e, -fd, "find the new mount");
	if (statx(target, "", AT_EMPTY_PATH, STATX_MNT_ID, &before) < 0 ||
	    statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &after) < 0)
		return error_errno(e, errno, "find the new mount");
	if (before.stx_mnt_id == after.stx_mnt_id || !(after.stx_attributes & STATX_ATTR_MOUNT_ROOT))
		return error_set(e, STATUS_INTERNAL, EBUSY, "the target was replaced meanwhile");
	return fd_steal(&fd);
}

static int copy_up(const struct mount_request *request, int from, int to, struct error *e)
{
	if (!request->options.copy_up)
		return 0;
	int r = mount_copy_up(from, to, e);
	return r < 0 ? error_prefix(e, "copy up") : 0;
}

static int apply_by_mount2(struct rootfs *rootfs, const struct mount_request *request, int target,
			   struct error *e)
{
	const char *destination = request->mount->destination;
	int r = mount_classic(rootfs, request, target, e);

	if (r < 0)
		return r;
	_cleanup_fd_ int fd = find_new_mount(rootfs, destination, target, e);
	if (fd < 0)
		return fd;
	r = mount_set(fd, request->options.below.set, 0, false);
	if (r < 0)
		return error_errno(e, -r, "set attributes");
	r = copy_up(request, target, fd, e);
	return r < 0 ? r : mount_apply_propagation(fd, &request->options, e);
}

static int label(const struct rootfs *rootfs, const struct mount_request *request, int fd, struct error *e)
{
	const Grpc__Linux *linux = rootfs->spec->linux;

	return linux && !str_is_empty(linux->mountlabel)
		       ? selinux_label_mount(fd, request->type, linux->mountlabel, e)
		       : 0;
}

static int apply_bind(struct rootfs *rootfs, const struct mount_request *request, const char *destination,
		      struct error *e)
{
	_cleanup_fd_ int fd = make_here_or_outside(rootfs, request, e);
	if (fd < 0)
		return fd;
	_cleanup_fd_ int target = open_target(rootfs, request->mount->destination, is_directory(fd), e);
	if (target < 0)
		return target;
	int r = check_proc(fd, target, destination, request->mount->source, e);
	if (r == 0) {
		r = mount_attach(fd, target);
		r = r < 0 ? error_errno(e, -r, "attach") : 0;
	}
	if (r == 0 && str_equal(destination, "/dev"))
		rootfs->dev_bound = true;
	if (r == 0 && str_equal(destination, "/")) {
		/* It covers the root: from here on it is the root. */
		fd_close(rootfs->fd);
		rootfs->fd = fd_steal(&fd);
	}
	return r;
}

static bool has_mode(const char *data)
{
	return str_starts_with(data, "mode=") || strstr(data, ",mode=");
}

/* As with other runtimes, though not with Kata's agent. */
static int inherit_mode(const struct rootfs *rootfs, struct mount_request *request, struct error *e)
{
	struct mount_options *options = &request->options;
	struct stat st;

	if (!rootfs->inherit_modes || !str_equal(request->type, "tmpfs") || has_mode(options->data))
		return 0;
	_cleanup_fd_ int covered =
		path_open(rootfs->fd, request->mount->destination, O_PATH | O_DIRECTORY, 0, PATH_IN_ROOT);
	if (covered < 0 || fstat(covered, &st) < 0)
		return 0;
	options->data = arena_printf(rootfs->arena, "mode=%04o%s%s", (unsigned)st.st_mode & 07777,
				     *options->data ? "," : "", options->data);
	return options->data ? 0 : error_errno(e, ENOMEM, "mount options");
}

static int apply_filesystem(struct rootfs *rootfs, const struct mount_request *request,
			    const char *destination, struct error *e)
{
	bool strict = str_equal(request->type, "proc") || str_equal(request->type, "sysfs");
	_cleanup_fd_ int target = strict ? open_strict_target(rootfs, request->mount->destination, e)
					 : open_target(rootfs, request->mount->destination, true, e);
	if (target < 0)
		return target;
	/* Also where a link of the image leads there. */
	if (!strict && (str_equal(destination, "/proc") || is_procfs(target)))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "/proc can only be of type proc");
	if (str_equal(request->type, "cgroup") || str_equal(request->type, "cgroup2"))
		return mount_cgroup(rootfs, request, target, e);

	_cleanup_fd_ int fd = make_here_or_outside(rootfs, request, e);
	if (fd == -ENOTSUP)
		return apply_by_mount2(rootfs, request, target, e);
	if (fd < 0)
		return fd;
	int r = copy_up(request, target, fd, e);
	if (r == 0) {
		r = mount_attach(fd, target);
		r = r < 0 ? error_errno(e, -r, "attach") : 0;
	}
	return r < 0 ? r : label(rootfs, request, fd, e);
}

/* `remount`: new attributes for what is there, and new options for its file system where there are any. */
static int mount_remount(const struct rootfs *rootfs, const struct mount_request *request, struct error *e)
{
	const struct mount_options *o = &request->options;
	_cleanup_fd_ int target = path_open(rootfs->fd, request->mount->destination, O_PATH, 0, PATH_IN_ROOT);

	if (target < 0)
		return error_errno(e, -target, "find the target");
	int r = mount_set(target, o->below.set, o->below.clear, true);
	if (r == 0)
		r = mount_set(target, o->top.set, o->top.clear, false);
	if (r < 0)
		return error_errno(e, -r, "remount");
	if (!request->bind && (*o->data || o->sb_set || o->sb_clear))
		r = mount_reconfigure(target, request, e);
	return r < 0 ? r : mount_apply_propagation(target, o, e);
}

static int apply_one(struct rootfs *rootfs, size_t index, const char *destination, struct error *e)
{
	struct mount_request request;
	int r = mount_request_init(&request, rootfs, index, e);

	if (r < 0)
		return r;
	request.hold_readonly = str_equal(destination, "/dev") && !request.bind;
	if (request.options.remount)
		return mount_remount(rootfs, &request, e);
	r = inherit_mode(rootfs, &request, e);
	if (r < 0)
		return r;
	return request.bind ? apply_bind(rootfs, &request, destination, e)
			    : apply_filesystem(rootfs, &request, destination, e);
}

int mounts_apply(struct rootfs *rootfs, struct error *e)
{
	for (size_t i = 0; i < rootfs->spec->n_mounts; i++) {
		const char *given = rootfs->spec->mounts[i]->destination;
		_cleanup_free_ char *destination = path_clean(str_or_empty(given));

		if (str_is_empty(given))
			return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "mounts[%zu]: no destination",
					 i);
		if (!destination)
			return error_errno(e, ENOMEM, "mounts");
		if (apply_one(rootfs, i, destination, e) < 0)
			return error_prefix(e, "mount \"%s\"", given);
	}
	return 0;
}

/* --- the helper outside ------------------------------------------------------------------------------------- */

struct helper_answer {
	int32_t r;
	struct error error;
};

int mount_ask_helper(const struct rootfs *rootfs, const struct mount_request *request, struct error *e)
{
	_cleanup_fd_ int user_namespace = own_user_namespace(rootfs);
	uint64_t index = request->index;
	struct helper_answer answer;
	int fd = -1;
	size_t count = 1;

	ssize_t n = fd_send(rootfs->helper, &index, sizeof(index), &user_namespace, user_namespace >= 0);
	if (n > 0)
		n = fd_receive(rootfs->helper, &answer, sizeof(answer), &fd, &count);
	if (n < 0)
		return error_errno(e, (int)-n, "mount helper");
	if (n != sizeof(answer) || (answer.r >= 0 && count != 1))
		return error_set(e, STATUS_INTERNAL, EPROTO, "mount helper: no answer");
	if (answer.r >= 0)
		return fd;
	if (answer.r != -ENOTSUP && e)
		*e = answer.error;
	return answer.r;
}

static int helper_serve(const struct rootfs *rootfs, uint64_t index, int user_namespace, struct error *e)
{
	struct mount_request request;
	int r;

	if (index >= rootfs->spec->n_mounts)
		return error_set(e, STATUS_INTERNAL, EPROTO, "mount helper: no such mount");
	r = mount_request_init(&request, rootfs, (size_t)index, e);
	return r < 0 ? r : mount_make(rootfs, &request, user_namespace, e);
}

_Noreturn void mount_helper_run(const struct rootfs *rootfs, int socket)
{
	for (;;) {
		uint64_t index = 0;
		int user_namespace = -1;
		size_t count = 1;
		ssize_t n = fd_receive(socket, &index, sizeof(index), &user_namespace, &count);

		if (n != sizeof(index))
			_exit(n == 0 ? 0 : 1);
		struct helper_answer answer = {.error = ERROR_INIT};
		int fd = helper_serve(rootfs, index, count ? user_namespace : -1, &answer.error);
		answer.r = fd < 0 ? fd : 0;
		fd_send(socket, &answer, sizeof(answer), &fd, fd >= 0);
		fd_close(fd);
		if (count)
			fd_close(user_namespace);
	}
}
