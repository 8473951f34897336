/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The lock is flock(2) on the directory itself: it goes with the process, leaves no file behind, and a directory that
 * somebody has removed meanwhile is made and locked anew by the next container.
 *
 * A container's directory is known by what is in it: nothing but the three names that we give, in a directory of the mode
 * that we give. (An attribute would not be set in the same moment, and not every /run has attributes.)
 */

#include "agent/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "guest/mount_table.h"
#include "guest/storage_record.h"
#include "proto/json.h"
#include "proto/oci.pb-c.h"

enum {
	DIRECTORY_MODE = 0711, /* the root of a user namespace has to get through to its root filesystem */
	CONFIG_MAX = 16 << 20,
	RECORD_MAX = 16 << 20,
	EMPTY_WAIT_MS = 2000, /* for a container that dies because its agent did */
	MOUNTS_MAX = 65536,
};

int rundir_open(struct rundir *rundir, struct error *e)
{
	rundir->fd = -1;
	rundir->locked = false;
	if (mkdir(RUNDIR_PATH, 0755) < 0 && errno != EEXIST)
		return error_errno(e, errno, "mkdir %s", RUNDIR_PATH);
	rundir->fd = open(RUNDIR_PATH, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (rundir->fd < 0)
		return error_errno(e, errno, "open %s", RUNDIR_PATH);
	rundir->locked = flock(rundir->fd, LOCK_EX | LOCK_NB) == 0;
	if (!rundir->locked)
		log_warning("sandbox", "another agent holds the run directory", "path", RUNDIR_PATH);
	return 0;
}

void rundir_close(struct rundir *rundir)
{
	rundir->fd = fd_close(rundir->fd);
	rundir->locked = false;
}

int rundir_make(struct rundir *rundir, const char *id, struct error *e)
{
	if (mkdirat(rundir->fd, id, DIRECTORY_MODE) == 0)
		return 0;
	if (errno == ENOENT) {
		/* Somebody has removed the directory under us. */
		rundir_close(rundir);
		int r = rundir_open(rundir, e);
		if (r < 0)
			return r;
		if (mkdirat(rundir->fd, id, DIRECTORY_MODE) == 0)
			return 0;
	}
	if (errno == EEXIST)
		return error_set(e, STATUS_ALREADY_EXISTS, EEXIST, "%s/%s already exists", RUNDIR_PATH, id);
	return error_errno(e, errno, "mkdir %s/%s", RUNDIR_PATH, id);
}

static const char *const names[] = {"rootfs", "config.json", "record"};

/* The usual case without looking around: nothing but what we made is in it, and nothing is mounted on it. */
static bool remove_known(const struct rundir *rundir, const char *id)
{
	const struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};
	_cleanup_fd_ int directory = (int)syscall(SYS_openat2, rundir->fd, id, &how, sizeof(how));
	for (size_t i = 0; i < array_length(names); i++)
		if (directory < 0 || (unlinkat(directory, names[i], 0) < 0 && errno != ENOENT))
			return false;
	return unlinkat(rundir->fd, id, AT_REMOVEDIR) == 0;
}

int rundir_remove(const struct rundir *rundir, const char *id, struct error *e)
{
	if (remove_known(rundir, id))
		return 0;
	int r = path_remove_tree(rundir->fd, id);
	return r < 0 ? error_errno(e, -r, "remove %s/%s", RUNDIR_PATH, id) : 0;
}

/* Field 22 of proc(5)'s stat: what tells a process from a later one of the same pid. 0: gone. */
static uint64_t start_time(pid_t pid)
{
	char path[64];
	_cleanup_free_ char *text = NULL;
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (file_read(AT_FDCWD, path, 4096, &text) < 0)
		return 0;
	char *at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

int rundir_record(const struct rundir *rundir, const char *id, pid_t init, struct error *e)
{
	char text[64], path[NAME_MAX + 16];
	(void)snprintf(path, sizeof(path), "%s/record", id);
	int length =
		snprintf(text, sizeof(text), "%d %llu\n", (int)init, (unsigned long long)start_time(init));
	_cleanup_fd_ int fd =
		openat(rundir->fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? -errno : fd_write_all(fd, text, (size_t)length);
	return r < 0 ? error_errno(e, -r, "write %s/%s", RUNDIR_PATH, path) : 0;
}

/* --- unmounting --- */

/* The mount points below @directory, in the order of the table; malloc'ed. */
static char **list_below(const char *directory, size_t *count)
{
	_cleanup_free_ char *table = mount_table_read();
	char **list = NULL, *rest = table;
	size_t length = strlen(directory);
	struct mount_entry entry;
	*count = 0;
	while (table && *count < MOUNTS_MAX && mount_table_next(&rest, &entry)) {
		if (strncmp(entry.mount_point, directory, length) != 0 || entry.mount_point[length] != '/')
			continue;
		char **grown = realloc(list, (*count + 1) * sizeof(*list));
		if (!grown)
			break;
		list = grown;
		if (!(list[*count] = strdup(entry.mount_point)))
			break;
		++*count;
	}
	return list;
}

unsigned rundir_unmount_below(const char *directory)
{
	size_t count;
	unsigned unmounted = 0;
	char **list = list_below(directory, &count);
	while (count-- > 0) {
		if (umount2(list[count], MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
			unmounted++;
		free(list[count]);
	}
	free(list);
	return unmounted;
}

/* --- what a predecessor left --- */

static void kill_recorded(const char *id, const char *record)
{
	char *end;
	long pid = strtol(record, &end, 10);
	uint64_t started = *end == ' ' ? strtoull(end + 1, NULL, 10) : 0;
	if (pid <= 1 || started == 0)
		return;
	/* The process is held before it is looked at, so that it cannot be another one afterwards. */
	_cleanup_fd_ int pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	if (pidfd < 0 || start_time((pid_t)pid) != started)
		return;
	if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0)
		log_info("sandbox", "killed a dead agent's container", "container-id", id, "pid",
			 LOG_NUMBER(pid));
}

static bool becomes_empty(struct cgroup *cg)
{
	for (int waited = 0;; waited += 20) {
		_cleanup_free_ pid_t *pids = NULL;
		if (cgroup_pids(cg, &pids, NULL) <= 0)
			return true;
		if (waited >= EMPTY_WAIT_MS)
			return false;
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	}
}

static void remove_cgroup(const char *id, const char *path, bool ours, const struct rundir_recovery *how)
{
	struct error e = ERROR_INIT;
	enum cgroup_driver driver =
		cgroup_choose(how->pid1, path, !how->pid1 && cgroup_systemd_running(), how->pin, NULL);
	struct cgroup *cg = cgroup_new(how->cgroups, driver, path, id, false, &e);
	if (!cg)
		return;
	if ((ours || becomes_empty(cg)) && cgroup_delete(cg, &e) < 0)
		log_warning("sandbox", "a dead agent's cgroup stays", "container-id", id, "error", e.text);
	cgroup_free(cg);
}

static void recover_container(const struct rundir *rundir, const char *id, const struct rundir_recovery *how)
{
	char path[NAME_MAX + 16];
	struct error e = ERROR_INIT;
	_cleanup_free_ char *record = NULL, *config = NULL;
	(void)snprintf(path, sizeof(path), "%s/record", id);
	bool ours = file_read(rundir->fd, path, 128, &record) > 0;
	if (ours)
		kill_recorded(id, record);
	(void)snprintf(path, sizeof(path), "%s/config.json", id);
	ssize_t length = file_read(rundir->fd, path, CONFIG_MAX, &config);
	struct arena *arena = length > 0 ? arena_new(0) : NULL;
	if (!arena)
		return;
	const Grpc__Spec *spec =
		json_decode(&grpc__spec__descriptor, config, (size_t)length, false, arena, &e);
	if (spec && spec->linux)
		remove_cgroup(id, str_or_empty(spec->linux->cgroupspath), ours, how);
	arena_free(arena);
}

static bool is_config_there(const struct rundir *rundir, const char *name)
{
	char path[NAME_MAX + 16];
	(void)snprintf(path, sizeof(path), "%s/config.json", name);
	return id_valid(name) && faccessat(rundir->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The bind mount of sandbox/resolv.conf on the guest's: the same file under both names. */
static void unmount_dns(const struct rundir *rundir)
{
	struct stat ours, theirs;
	if (fstatat(rundir->fd, "sandbox/resolv.conf", &ours, AT_SYMLINK_NOFOLLOW) == 0 &&
	    stat("/etc/resolv.conf", &theirs) == 0 && ours.st_dev == theirs.st_dev &&
	    ours.st_ino == theirs.st_ino)
		(void)umount2("/etc/resolv.conf", MNT_DETACH);
}

static void for_each_name(const struct rundir *rundir,
			  void (*fn)(const struct rundir *, const char *, void *), void *data)
{
	int fd = openat(rundir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_dir_ DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	if (!directory) {
		fd_close(fd);
		return;
	}
	while ((entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			fn(rundir, entry->d_name, data);
}

static bool is_name_ours(const char *name)
{
	for (size_t i = 0; i < array_length(names); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Made for a container whose agent died before it had written what would tell. */
static bool is_unfinished(const struct rundir *rundir, const char *name)
{
	struct dirent *entry;
	struct stat st;
	int fd = id_valid(name) ? openat(rundir->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
				: -1;
	_cleanup_dir_ DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
	if (!directory || fstat(fd, &st) < 0 || (st.st_mode & 07777) != DIRECTORY_MODE) {
		if (!directory)
			fd_close(fd);
		return false;
	}
	while ((entry = readdir(directory)))
		if (!is_name_ours(entry->d_name))
			return false;
	return true;
}

/* What all containers share: what hosts have copied or mounted, and the guest's resolv.conf. */
static bool is_common(const char *name)
{
	return strcmp(name, "sandbox") == 0 || strcmp(name, "shared") == 0;
}

static void remove_name(const struct rundir *rundir, const char *name, const char *whose)
{
	int r = path_remove_tree(rundir->fd, name);
	if (r == -EBUSY)
		log_info("sandbox", "something is mounted there: left alone", "directory", name);
	else if (r < 0)
		log_warning("sandbox", whose, "directory", name, "error", error_name(-r));
}

static void recover_name(const struct rundir *rundir, const char *name, void *how)
{
	if (is_config_there(rundir, name))
		recover_container(rundir, name, how);
}

static void remove_left(const struct rundir *rundir, const char *name, void *unmounted)
{
	char path[sizeof(RUNDIR_PATH) + NAME_MAX + 1];
	bool container = is_config_there(rundir, name) || is_unfinished(rundir, name);
	if (!container && !is_common(name))
		return;
	(void)snprintf(path, sizeof(path), "%s/%s", RUNDIR_PATH, name);
	if (container)
		*(unsigned *)unmounted += rundir_unmount_below(path);
	remove_name(rundir, name, "a dead agent's directory stays");
}

static const char mounts_name[] = "mounts", mounts_new[] = ".mounts";

static unsigned unmount_recorded(const struct rundir *rundir)
{
	_cleanup_free_ char *record = NULL;
	ssize_t length = file_read(rundir->fd, mounts_name, RECORD_MAX, &record);
	unsigned count = length > 0 ? storage_record_undo(record, (size_t)length) : 0;
	(void)unlinkat(rundir->fd, mounts_name, 0);
	(void)unlinkat(rundir->fd, mounts_new, 0);
	return count;
}

void rundir_recover(const struct rundir *rundir, const struct rundir_recovery *how)
{
	if (!rundir->locked)
		return;
	for_each_name(rundir, recover_name, (void *)how);
	unmount_dns(rundir);
	unsigned unmounted = unmount_recorded(rundir);
	for_each_name(rundir, remove_left, &unmounted);
	if (unmounted > 0)
		log_info("sandbox", "unmounted what a dead agent left", "mounts", LOG_NUMBER(unmounted));
}

void rundir_note_mounts(const struct rundir *rundir, const struct storages *storages)
{
	_cleanup_buf_ struct buf record = BUF_INIT;
	storages_describe(storages, &record);
	if (!rundir->locked)
		return;
	if (record.length == 0 && !record.failed) {
		(void)unlinkat(rundir->fd, mounts_name, 0);
		return;
	}
	_cleanup_fd_ int fd =
		openat(rundir->fd, mounts_new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0		? -errno
		: record.failed ? -ENOMEM
				: fd_write_all(fd, buf_begin(&record), record.length);
	if (r == 0 && renameat(rundir->fd, mounts_new, rundir->fd, mounts_name) < 0)
		r = -errno;
	if (r < 0)
		log_warning("sandbox", "what is mounted could not be noted", "error", error_name(-r));
}

static void clear_name(const struct rundir *rundir, const char *name, void *unused)
{
	(void)unused;
	/* A container's that could not be removed before is the business of the next start. */
	if (is_common(name))
		remove_name(rundir, name, "a directory of the sandbox stays");
}

void rundir_clear(const struct rundir *rundir)
{
	if (!rundir->locked)
		return;
	for_each_name(rundir, clear_name, NULL);
	(void)rmdir(RUNDIR_PATH);
}
