/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What is mounted: a clone of a source, or a new file system, detached and with its attributes; and mount(2) for what
 * these calls do not know.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "engine/idmap.h"
#include "engine/lsm.h"
#include "engine/mount_private.h"

#ifndef MS_LAZYTIME
#define MS_LAZYTIME (1 << 25)
#endif
#define SB_SILENT (1U << 15)

enum { VALUE_MAX = 255 }; /* of fsconfig(2) */

int mount_attach(int fd, int target)
{
	if (move_mount(fd, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return -errno;
	return 0;
}

int mount_clone(int dirfd, const char *path, bool recursive)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (*path ? 0 : AT_EMPTY_PATH);
	int fd = open_tree(dirfd, path, flags | (recursive ? AT_RECURSIVE : 0));

	return fd < 0 ? -errno : fd;
}

static int set_attributes(int fd, struct mount_attr *attr, bool recursive)
{
	if (mount_setattr(fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), attr, sizeof(*attr)) < 0)
		return -errno;
	return 0;
}

int mount_set(int fd, uint64_t set, uint64_t clear, bool recursive)
{
	struct mount_attr attr = {.attr_set = set, .attr_clr = clear};

	return set || clear ? set_attributes(fd, &attr, recursive) : 0;
}

int mount_propagate(int fd, unsigned long propagation)
{
	struct mount_attr attr = {.propagation = propagation & ~(unsigned long)MS_REC};

	return propagation ? set_attributes(fd, &attr, (propagation & MS_REC) != 0) : 0;
}

int mount_apply_propagation(int fd, const struct mount_options *options, struct error *e)
{
	for (size_t i = 0; i < options->n_propagation; i++) {
		int r = mount_propagate(fd, options->propagation[i]);
		if (r < 0)
			return error_errno(e, -r, "set propagation");
	}
	return 0;
}

/* --- new file systems --------------------------------------------------------------------------------------- */

/* Their read-only is the mount's alone: one superblock serves many mounts, or the flag means nothing to them. */
static bool is_kernel_filesystem(const char *type)
{
	static const char *const types[] = {"proc", "sysfs", "mqueue", "cgroup", "cgroup2", "devpts"};

	for (size_t i = 0; i < array_length(types); i++)
		if (str_equal(type, types[i]))
			return true;
	return false;
}

static int set_flag(int context, const char *name)
{
	return fsconfig(context, FSCONFIG_SET_FLAG, name, NULL, 0) < 0 ? -errno : 0;
}

static int set_string(int context, const char *key, const char *value)
{
	return fsconfig(context, FSCONFIG_SET_STRING, key, value, 0) < 0 ? -errno : 0;
}

static int set_superblock_flags(int context, const struct mount_request *request)
{
	const struct {
		unsigned flag;
		const char *name;
	} names[] = {{MS_SYNCHRONOUS, "sync"},
		     {MS_DIRSYNC, "dirsync"},
		     {MS_MANDLOCK, "mand"},
		     {MS_LAZYTIME, "lazytime"}};
	uint64_t set = request->options.top.set | request->options.below.set;
	int r = 0;

	if ((set & MOUNT_ATTR_RDONLY) && !request->hold_readonly && !is_kernel_filesystem(request->type))
		r = set_flag(context, "ro");
	for (size_t i = 0; r == 0 && i < array_length(names); i++)
		if (request->options.sb_set & names[i].flag)
			r = set_flag(context, names[i].name);
	return r;
}

/* @item is "key" or "key=value" of @length bytes. */
static int set_item(int context, const char *item, size_t length)
{
	char text[VALUE_MAX + 64];

	if (length >= sizeof(text))
		return -EINVAL;
	memcpy(text, item, length);
	text[length] = '\0';
	char *value = strchr(text, '=');
	if (!value)
		return set_flag(context, text);
	*value++ = '\0';
	return strlen(value) > VALUE_MAX ? -EINVAL : set_string(context, text, value);
}

/* Commas inside double quotes (SELinux contexts) divide nothing; the quotes are not part of the value. */
static int set_data(int context, const char *data)
{
	int r = 0;

	while (r == 0 && *data) {
		size_t length = strcspn(data, ",\"");
		if (data[length] == '"')
			return -EINVAL;
		if (length > 0)
			r = set_item(context, data, length);
		data += length;
		if (*data == ',')
			data++;
	}
	return r;
}

static int set_label(int context, const char *type, const struct rootfs *rootfs)
{
	const Grpc__Linux *linux = rootfs->spec->linux;

	if (!linux || !selinux_takes_context(type, linux->mountlabel))
		return 0;
	return set_string(context, "context", linux->mountlabel);
}

/* What the kernel had to say, for a person: the last line of the context's log. */
static void explain(int context, struct error *e)
{
	char line[256];
	ssize_t n = read(context, line, sizeof(line) - 1);

	if (n <= 2)
		return;
	line[n] = '\0';
	if (line[n - 1] == '\n')
		line[n - 1] = '\0';
	char what[sizeof(line)];
	utf8_sanitize(line + 2, strlen(line + 2), what, sizeof(what));
	error_prefix(e, "%s", what);
}

/* True when the option may well be one that only mount(2) takes. */
static bool only_classic(int r)
{
	return r == -EINVAL || r == -EOPNOTSUPP || r == -ENOSYS || r == -EUCLEAN;
}

static int configure(int context, const struct rootfs *rootfs, const struct mount_request *request)
{
	const char *source = str_is_empty(request->mount->source) ? request->type : request->mount->source;
	int r = strlen(source) > VALUE_MAX ? -EINVAL : set_string(context, "source", source);

	if (r == 0)
		r = set_superblock_flags(context, request);
	if (r == 0)
		r = set_data(context, request->options.data);
	if (r == 0)
		r = set_label(context, request->type, rootfs);
	return r;
}

static uint64_t new_attributes(const struct mount_request *request)
{
	uint64_t set = request->options.top.set | request->options.below.set;

	return request->hold_readonly ? set & ~(uint64_t)MOUNT_ATTR_RDONLY : set;
}

static int make_filesystem(const struct rootfs *rootfs, const struct mount_request *request, struct error *e)
{
	const unsigned nameless =
		request->options.sb_set &
		~(unsigned)(MS_SYNCHRONOUS | MS_DIRSYNC | MS_MANDLOCK | MS_LAZYTIME | SB_SILENT);
	_cleanup_fd_ int context = -1;
	int r;

	if (nameless)
		return -ENOTSUP;
	context = fsopen(request->type, FSOPEN_CLOEXEC);
	if (context < 0 && errno == ENOSYS)
		return -ENOTSUP;
	if (context < 0)
		return error_errno(e, errno, "file system type \"%s\"", request->type);
	r = configure(context, rootfs, request);
	if (r < 0)
		return only_classic(r) ? -ENOTSUP : error_errno(e, -r, "configure \"%s\"", request->type);
	if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
		r = -errno;
		if (only_classic(r))
			return -ENOTSUP;
		error_errno(e, -r, "make file system \"%s\"", request->type);
		explain(context, e);
		return r;
	}
	int fd = fsmount(context, FSMOUNT_CLOEXEC, (unsigned)new_attributes(request));
	return fd < 0 ? error_errno(e, errno, "mount file system \"%s\"", request->type) : fd;
}

/* Options of the file system alone: the mount's attributes, also those that nobody names here, stay. */
int mount_reconfigure(int target, const struct mount_request *request, struct error *e)
{
	const struct {
		unsigned flag;
		const char *set, *clear;
	} names[] = {{MS_SYNCHRONOUS, "sync", "async"},
		     {MS_MANDLOCK, "mand", "nomand"},
		     {MS_LAZYTIME, "lazytime", "nolazytime"},
		     {MS_DIRSYNC, "dirsync", NULL}};
	const struct mount_options *o = &request->options;
	_cleanup_fd_ int context = fspick(target, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);
	int r = context < 0 ? -errno : 0;

	for (size_t i = 0; r == 0 && i < array_length(names); i++) {
		if (o->sb_set & names[i].flag)
			r = set_flag(context, names[i].set);
		else if ((o->sb_clear & names[i].flag) && names[i].clear)
			r = set_flag(context, names[i].clear);
	}
	if (r == 0)
		r = set_data(context, o->data);
	if (r == 0 && fsconfig(context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
		r = -errno;
	return r < 0 ? error_errno(e, -r, "remount with options \"%s\"", o->data) : 0;
}

/* --- binds -------------------------------------------------------------------------------------------------- */

static int open_source(const struct rootfs *rootfs, const struct mount_request *request, struct error *e)
{
	const char *source = request->mount->source;

	if (str_is_empty(source))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "a bind mount needs a source");
	if (*source != '/')
		source = arena_printf(rootfs->arena, "%s/%s", rootfs->bundle, source);
	if (!source)
		return error_errno(e, ENOMEM, "source");
	int fd = mount_clone(AT_FDCWD, source, request->options.recursive);
	return fd < 0 ? error_errno(e, -fd, "open source \"%s\"", source) : fd;
}

/*
 * The mounts of a user namespace are no peers of the guest's: the kernel has seen to that. But out here a clone is one: what
 * the container mounts on it would appear in the guest.
 */
static int cut_off_clone(const struct rootfs *rootfs, int fd, struct error *e)
{
	int r = rootfs->outside ? mount_propagate(fd, MS_SLAVE | MS_REC) : 0;

	return r < 0 ? error_errno(e, -r, "cut off the mounts") : 0;
}

static int mapping_namespace(const struct rootfs *rootfs, const struct mount_request *request,
			     int user_namespace, struct error *e)
{
	const Grpc__Mount *mount = request->mount;

	if (mount->n_uidmappings || mount->n_gidmappings)
		return idmap_namespace(rootfs->proc, mount->uidmappings, mount->n_uidmappings,
				       mount->gidmappings, mount->n_gidmappings, e);
	if (user_namespace < 0)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "idmap without mappings needs a container with a user namespace");
	int fd = fcntl(user_namespace, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? error_errno(e, errno, "user namespace") : fd;
}

static int map_ids(const struct rootfs *rootfs, const struct mount_request *request, int fd,
		   int user_namespace, struct error *e)
{
	_cleanup_fd_ int mapping = mapping_namespace(rootfs, request, user_namespace, e);
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP};

	if (mapping < 0)
		return mapping;
	attr.userns_fd = (uint64_t)mapping;
	int r = set_attributes(fd, &attr, request->options.idmap_recursive);
	return r < 0 ? error_errno(e, -r, "map ids") : 0;
}

static bool wants_idmap(const struct mount_request *request)
{
	return request->options.idmap || request->mount->n_uidmappings || request->mount->n_gidmappings;
}

static int set_bind_attributes(int fd, const struct mount_options *options, struct error *e)
{
	int r = mount_set(fd, options->below.set, options->below.clear, true);

	if (r == 0)
		r = mount_set(fd, options->top.set, options->top.clear, false);
	return r < 0 ? error_errno(e, -r, "set attributes") : 0;
}

int mount_make(const struct rootfs *rootfs, const struct mount_request *request, int user_namespace,
	       struct error *e)
{
	_cleanup_fd_ int fd = -1;
	int r = 0;

	fd = request->bind ? open_source(rootfs, request, e) : make_filesystem(rootfs, request, e);
	if (fd < 0)
		return fd;
	if (request->bind)
		r = cut_off_clone(rootfs, fd, e);
	if (r == 0 && wants_idmap(request))
		r = map_ids(rootfs, request, fd, user_namespace, e);
	if (r == 0 && request->bind)
		r = set_bind_attributes(fd, &request->options, e);
	if (r == 0)
		r = mount_apply_propagation(fd, &request->options, e);
	return r < 0 ? r : fd_steal(&fd);
}

int mount_tmpfs(const struct rootfs *rootfs, const char *data, uint64_t attributes)
{
	_cleanup_fd_ int context = fsopen("tmpfs", FSOPEN_CLOEXEC);

	if (context < 0)
		return -errno;
	int r = set_data(context, data);
	if (r == 0)
		r = set_label(context, "tmpfs", rootfs);
	if (r < 0)
		return r;
	if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	int fd = fsmount(context, FSMOUNT_CLOEXEC, (unsigned)attributes);
	return fd < 0 ? -errno : fd;
}

/* --- mount(2) ----------------------------------------------------------------------------------------------- */

int mount_classic(const struct rootfs *rootfs, const struct mount_request *request, int target,
		  struct error *e)
{
	const Grpc__Linux *linux = rootfs->spec->linux;
	const char *source = str_is_empty(request->mount->source) ? request->type : request->mount->source;
	unsigned long flags = mount_options_flags(&request->options);
	char path[32];

	if (request->hold_readonly)
		flags &= ~(unsigned long)MS_RDONLY;
	const char *data = selinux_mount_data(request->type, request->options.data,
					      linux ? linux->mountlabel : NULL, rootfs->arena);
	if (!data)
		return error_errno(e, ENOMEM, "mount data");
	if (fchdir(rootfs->proc) < 0)
		return error_errno(e, errno, "enter procfs");
	snprintf(path, sizeof(path), "self/fd/%d", target);
	if (mount(source, path, request->type, flags, *data ? data : NULL) < 0)
		return error_errno(e, errno, "file system \"%s\" with options \"%s\"", request->type, data);
	return 0;
}
