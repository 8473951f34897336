/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The drivers of storages.
 *
 * Mount points that lie below Kata's own directory are resolved without following any link, because part of that tree is
 * shared with the host or written by containers; the mount is made on the descriptor that this gives. Elsewhere the image's
 * own links (/var/run) are followed.
 *
 * Differences from the reference, all wanted: flags, size and mode of a tmpfs are honoured, and without a size it may take the
 * whole memory of the sandbox; `ro` of a bind mount works; huge pages are added to those that other volumes need instead of
 * replacing them.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "guest/mirror.h"
#include "guest/mount_table.h"
#include "guest/ownership.h"
#include "guest/storage_driver.h"
#include "guest/storage_options.h"

enum { BUSY_TRIES = 20, BUSY_MS = 50 };

static const char own_directory[] = "/run/kata-containers/";
static const char shared_source[] = "kataShared";

/* --- where ---------------------------------------------------------------------------------------------------- */

/* A place to resolve from: a descriptor, the rest of the path, and how. */
struct base {
	int fd;
	const char *rest;
	enum path_mode how;
};

static int base_open(const char *root, const char *path, struct base *base, struct error *e)
{
	_cleanup_fd_ int top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (top < 0)
		return error_errno(e, errno, "open \"%s\"", root);
	if (strncmp(path, own_directory, sizeof(own_directory) - 1) == 0) {
		base->fd = path_mkdirs(top, own_directory, 0755, PATH_IN_ROOT);
		base->rest = path + sizeof(own_directory) - 1;
		base->how = PATH_BENEATH;
		if (base->fd < 0)
			return error_errno(e, -base->fd, "make \"%s\"", own_directory);
		return 0;
	}
	base->fd = fd_steal(&top);
	base->rest = path;
	base->how = PATH_IN_ROOT;
	return 0;
}

/* Opens what is at the mount point, the topmost mount if there are. */
static int point_open(const char *root, const char *path, int flags, struct error *e)
{
	struct base base;
	int r = base_open(root, path, &base, e), fd;

	if (r < 0)
		return r;
	fd = path_open(base.fd, base.rest, flags, 0, base.how);
	fd_close(base.fd);
	return fd < 0 ? error_errno(e, -fd, "open \"%s\"", path) : fd;
}

/* Makes the mount point (a directory, or a file for @file), opens it O_PATH. */
static int point_make(const char *root, const char *path, bool file, mode_t mode, struct error *e)
{
	struct base base;
	int r = base_open(root, path, &base, e), fd;

	if (r < 0)
		return r;
	if (file)
		fd = path_touch(base.fd, base.rest, 0755, 0644, base.how);
	else
		fd = path_mkdirs(base.fd, base.rest, mode, base.how);
	/* A shared file system may refuse to make (ENOSYS, EROFS) what is there already. */
	if (fd == -ENOSYS || fd == -EROFS || fd == -EEXIST) {
		int found = path_open(base.fd, base.rest, O_PATH | (file ? 0 : O_DIRECTORY), 0, base.how);

		fd = found < 0 ? fd : found;
	}
	fd_close(base.fd);
	return fd < 0 ? error_errno(e, -fd, "Could not create mountpoint \"%s\"", path) : fd;
}

/* The path of @fd free of links, and what is mounted there now. */
static int place_complete(int fd, struct storage_place *place, struct mount_look *look, struct error *e)
{
	char link[32];
	ssize_t n = readlink(path_of_fd(link, fd), place->path, sizeof(place->path) - 1);
	int r;

	if (n < 0 || n == sizeof(place->path) - 1)
		return error_errno(e, n < 0 ? errno : ENAMETOOLONG, "name the mount point");
	place->path[n] = '\0';
	r = mount_table_look(place->path, look);
	if (r < 0)
		return error_errno(e, -r, "read the table of mounts");
	place->below = look->count;
	return 0;
}

/* --- mounting ------------------------------------------------------------------------------------------------- */

static int need(const char *value, const char *what, struct error *e)
{
	if (str_is_empty(value))
		return error_set(e, STATUS_INTERNAL, EINVAL, "need mount %s", what);
	return 0;
}

/* What a bind mount shows: opened as the kernel resolves it, but never through a link of procfs into a process. */
static int source_open(const char *path, bool *directory, struct error *e)
{
	_cleanup_fd_ int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_fd_ int fd = top < 0 ? -errno : path_open(top, path, O_PATH, 0, PATH_IN_ROOT);
	struct stat info;

	if (fd < 0)
		return error_errno(e, -fd, "open the source \"%s\"", path);
	if (fstat(fd, &info) < 0)
		return error_errno(e, errno, "look at the source \"%s\"", path);
	*directory = S_ISDIR(info.st_mode);
	return fd_steal(&fd);
}

/* A mount may not be made read-only, nosuid, … and bound in one call: those flags come in a second one. */
static int mount_flags(const char *root, const char *path, const struct storage_options *options,
		       struct error *e)
{
	_cleanup_fd_ int fd = -1;
	unsigned long flags = options->flags & ~(unsigned long)(MS_REC | MS_BIND | MS_REMOUNT | MS_SILENT);
	char link[32];

	if (!(options->flags & MS_BIND))
		flags = 0;
	if (flags == 0 && options->propagation == 0)
		return 0;
	fd = point_open(root, path, O_PATH, e);
	if (fd < 0)
		return fd;
	if (flags && mount(NULL, path_of_fd(link, fd), NULL, MS_BIND | MS_REMOUNT | flags, NULL) < 0)
		return error_errno(e, errno, "set the flags of mount \"%s\"", path);
	if (options->propagation && mount(NULL, path_of_fd(link, fd), NULL, options->propagation, NULL) < 0)
		return error_errno(e, errno, "set the propagation of mount \"%s\"", path);
	return 0;
}

/* One mount(2) of the storage's source, or of what is open as @bound, onto @fd, the opened mount point. */
static int mount_on(int fd, int bound, const Grpc__Storage *storage, struct storage_options *options,
		    struct error *e)
{
	const char *data = buf_string(&options->data);
	char link[32], from[32];

	if (!data)
		return error_errno(e, ENOMEM, "mount options");
	if (mount(bound >= 0 ? path_of_fd(from, bound) : storage->source, path_of_fd(link, fd),
		  storage->fstype, options->flags, data) < 0)
		return error_errno(e, errno, "failed to mount %s to %s, with error", storage->source,
				   storage->mount_point);
	return 0;
}

/* True when the mount point holds already what is asked for. */
static bool mounted_already(const Grpc__Storage *storage, const struct storage_options *options,
			    const struct mount_look *look)
{
	if (look->count == 0 || (options->flags & MS_REMOUNT))
		return false;
	/* An image may have mounted the shared file system itself, by whatever means. */
	if (str_equal(storage->source, shared_source))
		return true;
	return !(options->flags & MS_BIND) && str_equal(storage->fstype, look->fstype);
}

static int mount_with(const char *root, const Grpc__Storage *storage, struct storage_options *options,
		      struct storage_place *place, struct error *e)
{
	_cleanup_fd_ int fd = -1, bound = -1;
	struct mount_look look;
	bool directory = true;
	int r;

	if ((r = need(storage->source, "source", e)) < 0 ||
	    (r = need(storage->mount_point, "destination", e)) < 0 ||
	    (r = need(storage->fstype, "FS type", e)) < 0)
		return r;
	if (str_equal(storage->fstype, "bind"))
		options->flags |= MS_BIND;
	if ((options->flags & MS_BIND) && !(options->flags & MS_REMOUNT)) {
		bound = source_open(storage->source, &directory, e);
		if (bound < 0)
			return bound;
	}
	fd = point_make(root, storage->mount_point, !directory, 0755, e);
	if (fd < 0)
		return fd;
	if (options->flags & MS_REMOUNT) {
		/* What was made before a mount existed there is below it: look again. */
		fd = fd_close(fd);
		fd = point_open(root, storage->mount_point, O_PATH, e);
		if (fd < 0)
			return fd;
	}
	r = place_complete(fd, place, &look, e);
	if (r < 0)
		return r;
	if (mounted_already(storage, options, &look)) {
		log_info("storage", "already mounted", "mount-point", storage->mount_point);
		return 0;
	}
	r = mount_on(fd, bound, storage, options, e);
	return r < 0 ? r : mount_flags(root, storage->mount_point, options, e);
}

static int group_apply(const char *root, const Grpc__Storage *storage, struct error *e)
{
	_cleanup_fd_ int fd = -1;
	struct ownership ownership;
	char link[32];

	if (!storage->fs_group)
		return 0;
	ownership = (struct ownership){
		.group = storage->fs_group->group_id,
		.on_root_mismatch = storage->fs_group->group_change_policy ==
				    TYPES__FSGROUP_CHANGE_POLICY__OnRootMismatch,
	};
	for (size_t i = 0; i < storage->n_options; i++)
		ownership.read_only |= str_equal(storage->options[i], "ro");
	fd = point_open(root, storage->mount_point, O_PATH, e);
	return fd < 0 ? fd : ownership_apply(path_of_fd(link, fd), &ownership, e);
}

/* --- the drivers ---------------------------------------------------------------------------------------------- */

/* virtio-fs, bind: what is asked for, as it is asked for. */
static int common_mount(const char *root, const Grpc__Storage *storage, struct storage_place *place,
			struct error *e)
{
	struct storage_options options = STORAGE_OPTIONS_INIT;
	int r = storage_options_parse(storage->options, storage->n_options, &options, e);

	if (r == 0)
		r = mount_with(root, storage, &options, place, e);
	if (r == 0)
		r = group_apply(root, storage, e);
	storage_options_deinit(&options);
	return r;
}

static int number_option(const Grpc__Storage *storage, const char *key, int base, long *out, struct error *e)
{
	const char *text = storage_options_value(storage->options, storage->n_options, key);
	uint32_t value;

	*out = -1;
	if (!text)
		return 0;
	if (str_to_u32(text, base, &value) < 0)
		return error_set(e, STATUS_INTERNAL, EINVAL, "invalid %s \"%s\"", key, text);
	*out = (long)value;
	return 0;
}

/* The options of a tmpfs but `fsgid`, which is ours. */
static int tmpfs_options(const Grpc__Storage *storage, bool fresh, struct storage_options *options,
			 struct error *e)
{
	bool sized = false;

	for (size_t i = 0; i < storage->n_options; i++) {
		char *option = storage->options[i];
		int r;

		if (str_starts_with(option, "fsgid="))
			continue;
		sized |= str_starts_with(option, "size=") || str_starts_with(option, "nr_blocks=");
		r = storage_options_parse(&option, 1, options, e);
		if (r < 0)
			return r;
	}
	/* The kernel's own default is half of the memory. */
	return fresh && !sized && str_equal(storage->fstype, "tmpfs")
		       ? storage_options_add(options, "size=100%", e)
		       : 0;
}

static int tmpfs_mount(const char *root, const Grpc__Storage *storage, struct storage_place *place,
		       struct error *e)
{
	struct storage_options options = STORAGE_OPTIONS_INIT;
	_cleanup_fd_ int fd = -1;
	long group;
	int r = number_option(storage, "fsgid", 10, &group, e);

	if (r == 0)
		r = tmpfs_options(storage, true, &options, e);
	if (r == 0)
		r = mount_with(root, storage, &options, place, e);
	storage_options_deinit(&options);
	if (r == 0 && group >= 0) {
		fd = point_open(root, storage->mount_point, O_PATH | O_DIRECTORY, e);
		r = fd < 0 ? fd : ownership_of_directory(fd, (gid_t)group, -1, true, e);
	}
	return r < 0 ? r : group_apply(root, storage, e);
}

static int huge_pool(uint64_t page_size, char path[80])
{
	int n = snprintf(path, 80, "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/nr_hugepages",
			 page_size / 1024);

	return n > 0 && n < 80 ? 0 : -EINVAL;
}

static int huge_read(const char *path, uint64_t *pages)
{
	_cleanup_free_ char *text = NULL;
	ssize_t n = file_read(AT_FDCWD, path, 64, &text);

	if (n < 0)
		return (int)n;
	text[strcspn(text, "\n")] = '\0';
	return str_to_u64(text, 10, pages);
}

static int huge_write(const char *path, uint64_t pages)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, pages);
	return file_write(AT_FDCWD, path, text);
}

int storage_huge_pages(const Grpc__Storage *storage, uint64_t *page_size, uint64_t *pages, struct error *e)
{
	const char *found_page = NULL, *found_size = NULL;
	uint64_t size = 0;
	_cleanup_free_ char *joined = NULL;
	struct buf text = BUF_INIT;
	char *word, *rest;

	/* Hosts send both in one option, joined by a comma. */
	for (size_t i = 0; i < storage->n_options; i++)
		buf_printf(&text, "%s,", storage->options[i]);
	joined = strdup(str_or_empty(buf_string(&text)));
	buf_deinit(&text);
	if (!joined)
		return error_errno(e, ENOMEM, "huge pages");
	rest = joined;
	while ((word = strsep(&rest, ","))) {
		word += strspn(word, " \t");
		if (str_starts_with(word, "pagesize="))
			found_page = word + strlen("pagesize=");
		else if (str_starts_with(word, "size="))
			found_size = word + strlen("size=");
	}
	if (!found_page || !found_size)
		return error_set(e, STATUS_INTERNAL, EINVAL, "no pagesize/size options found");
	if (str_to_u64(found_page, 10, page_size) < 0 || str_to_u64(found_size, 10, &size) < 0 ||
	    *page_size == 0)
		return error_set(e, STATUS_INTERNAL, EINVAL, "invalid pagesize \"%s\" or size \"%s\"",
				 found_page, found_size);
	*pages = size / *page_size;
	return 0;
}

/*
 * Enlarges the kernel's pool so that all volumes of this page size fit: @place->huge_pages comes as what they need
 * together. A pool that was large enough at boot is left alone.
 */
static int huge_reserve(struct storage_place *place, uint64_t wanted, struct error *e)
{
	uint64_t before, after;
	char path[80];
	int r = huge_pool(place->huge_size, path);

	if (r == 0)
		r = huge_read(path, &before);
	if (r < 0)
		return error_errno(e, -r, "huge pages of %" PRIu64 " bytes", place->huge_size);
	if (before >= wanted)
		return 0;
	r = huge_write(path, wanted);
	if (r == 0)
		r = huge_read(path, &after);
	if (r < 0)
		return error_errno(e, -r, "allocate huge pages");
	place->huge_raised = after > before ? after - before : 0;
	if (after < wanted)
		return error_set(e, STATUS_INTERNAL, ENOMEM,
				 "Only allocated %" PRIu64 " of %" PRIu64 " hugepages of size %" PRIu64,
				 after, wanted, place->huge_size);
	return 0;
}

static void huge_release(const struct storage_place *place)
{
	uint64_t now;
	char path[80];

	if (place->huge_raised == 0 || huge_pool(place->huge_size, path) < 0 || huge_read(path, &now) < 0)
		return;
	huge_write(path, now > place->huge_raised ? now - place->huge_raised : 0);
}

static int huge_mount(const char *root, const Grpc__Storage *storage, struct storage_place *place,
		      struct error *e)
{
	int r = huge_reserve(place, place->huge_pages, e);

	if (r == 0)
		r = common_mount(root, storage, place, e);
	/* Here and not by storage_unmount(): what a failed job raised is known to nobody else. */
	if (r < 0)
		huge_release(place);
	return r;
}

static int ephemeral_mount(const char *root, const Grpc__Storage *storage, struct storage_place *place,
			   struct error *e)
{
	return str_equal(storage->fstype, "hugetlbfs") ? huge_mount(root, storage, place, e)
						       : tmpfs_mount(root, storage, place, e);
}

/* A directory of the guest's own, or on the shared file system; nothing is mounted. */
static int local_mount(const char *root, const Grpc__Storage *storage, struct storage_place *place,
		       struct error *e)
{
	_cleanup_fd_ int fd = -1;
	struct mount_look look;
	long group, mode;
	int r;

	if ((r = number_option(storage, "fsgid", 10, &group, e)) < 0 ||
	    (r = number_option(storage, "mode", 8, &mode, e)) < 0)
		return r;
	fd = point_make(root, storage->mount_point, false, 0777, e);
	if (fd < 0)
		return fd;
	r = place_complete(fd, place, &look, e);
	if (r < 0)
		return r;
	return ownership_of_directory(fd, group < 0 ? (gid_t)-1 : (gid_t)group, mode, group >= 0 && mode >= 0,
				      e);
}

/* Too much for a mirror: its place shows the source itself. */
static int mirror_bind(int source, int parent, const char *name, struct error *e)
{
	_cleanup_fd_ int target = -1;
	char from[32], to[32];
	struct stat info;

	if (fstat(source, &info) < 0)
		return error_errno(e, errno, "bind \"%s\"", name);
	target = S_ISDIR(info.st_mode) ? path_mkdirs(parent, name, 0755, PATH_BENEATH)
				       : path_touch(parent, name, 0755, 0644, PATH_BENEATH);
	if (target < 0)
		return error_errno(e, -target, "bind \"%s\"", name);
	if (mount(path_of_fd(from, source), path_of_fd(to, target), NULL, MS_BIND, NULL) < 0)
		return error_errno(e, errno, "bind \"%s\"", name);
	log_info("storage", "a volume is too large to be watched, it is bound instead", "path", name);
	return STORAGE_BOUND;
}

/* The directory of a mirror, whose name is then in *@name. Never one on the shared file system: that is the host's. */
static int mirror_parent(const char *path, const char **name, struct error *e)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *directory = strndup(path, (size_t)(slash - path));
	_cleanup_fd_ int fd = directory ? open(directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	struct statfs info;

	if (fd < 0 || fstatfs(fd, &info) < 0)
		return error_errno(e, directory ? errno : ENOMEM, "open the directory of mirror \"%s\"",
				   path);
	if (info.f_type != TMPFS_MAGIC)
		return error_set(e, STATUS_INTERNAL, EINVAL, "\"%s\" is not in a tmpfs", path);
	*name = slash + 1;
	return fd_steal(&fd);
}

int storage_mirror(const char *source, const struct storage_place *place, struct error *e)
{
	_cleanup_fd_ int from = -1, parent = -1;
	bool is_directory;
	const char *name;
	int r;

	from = source_open(source, &is_directory, e);
	if (from < 0)
		return from == -ENOENT ? STORAGE_SOURCE_GONE : from;
	parent = mirror_parent(place->path, &name, e);
	if (parent < 0)
		return parent;
	r = mirror_update(from, parent, name, e);
	return r > 0 ? mirror_bind(from, parent, name, e) : r;
}

/* A mirror in the tmpfs that is there for mirrors. What cannot be copied is told of and tried again later. */
static int watch_mount(const char *root, const Grpc__Storage *storage, struct storage_place *place,
		       struct error *e)
{
	_cleanup_fd_ int parent = -1;
	struct error own = ERROR_INIT;
	const char *name;
	int r = need(storage->source, "source", e);

	if (r < 0)
		return r;
	/* What must be there, before all else that is only told of. */
	parent = mirror_parent(place->path, &name, e);
	if (parent < 0)
		return parent;
	r = storage_mirror(storage->source, place, &own);
	if (r < 0 || r == STORAGE_SOURCE_GONE)
		log_warning("storage", "cannot mirror a volume", "path", storage->source, "error",
			    r < 0 ? own.text : "it is not there");
	place->bound = r == STORAGE_BOUND;
	return 0;
}

/* Sorted by name. */
static const struct storage_driver drivers[] = {
	{"bind", .mount = common_mount},
	{"ephemeral", .keeps = true, .mount = ephemeral_mount},
	{"local", .keeps = true, .mount = local_mount},
	{"virtio-fs", .mount = common_mount},
	{"watchable-bind", .keeps = true, .mirrors = true, .mount = watch_mount},
};

const struct storage_driver *storage_drivers(size_t *count)
{
	*count = array_length(drivers);
	return drivers;
}

const struct storage_driver *storage_driver_find(const char *name)
{
	for (size_t i = 0; i < array_length(drivers); i++)
		if (str_equal(drivers[i].name, name))
			return &drivers[i];
	return NULL;
}

/* --- removal and change --------------------------------------------------------------------------------------- */

static int unmount_busy(const char *path)
{
	const struct timespec pause = {.tv_nsec = BUSY_MS * 1000000L};
	_cleanup_fd_ int fd = -1;

	for (int i = 0; i < BUSY_TRIES; i++) {
		if (umount2(path, UMOUNT_NOFOLLOW) == 0)
			return 0;
		if (errno != EBUSY)
			return -errno;
		nanosleep(&pause, NULL);
	}
	/* Somebody still has it open. What was written must be out before the host takes the device away. */
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && syncfs(fd) < 0)
		log_warning("storage", "a busy volume was not written out", "path", path);
	log_warning("storage", "a busy volume is detached", "path", path);
	return umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) < 0 ? -errno : 0;
}

static void mirror_remove(const char *path)
{
	struct error e = ERROR_INIT;
	const char *name;
	_cleanup_fd_ int parent = mirror_parent(path, &name, &e);
	int r = parent < 0 ? parent : path_remove_tree(parent, name);

	if (r < 0)
		log_warning("storage", "cannot remove a mirror", "path", path, "error", error_name(-r));
}

int storage_unmount(const struct storage_place *place, struct error *e)
{
	struct mount_look look;
	int r = mount_table_look(place->path, &look);

	for (unsigned i = look.count; r == 0 && i > place->below; i--)
		r = unmount_busy(place->path);
	if (r < 0)
		return error_errno(e, -r, "failed to umount mountpoint \"%s\"", place->path);
	huge_release(place);
	if (place->mirror)
		mirror_remove(place->path);
	/* Not empty, or on a file system that is not ours to change: it stays. */
	if (place->below == 0)
		(void)rmdir(place->path);
	return 0;
}

int storage_update_ephemeral(const char *root, const Grpc__Storage *storage, struct error *e)
{
	struct storage_options options = STORAGE_OPTIONS_INIT;
	struct storage_place place = {.below = 0};
	int r = 0, fd;

	if (!str_equal(storage->driver, "ephemeral"))
		return error_set(
			e, STATUS_INTERNAL, EINVAL,
			"Failed to update mounts: Unsupported storage type for syncing mounts %s. Only "
			"ephemeral storage update is supported",
			storage->driver);
	if (storage->n_options == 0) {
		fd = point_make(root, storage->mount_point, false, 0755, e);
		if (fd < 0)
			return fd;
		fd_close(fd);
		return 0;
	}
	r = tmpfs_options(storage, false, &options, e);
	if (r == 0)
		r = mount_with(root, storage, &options, &place, e);
	storage_options_deinit(&options);
	return r;
}
