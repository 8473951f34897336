/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State directories. All access is by descriptor: the path of the root is used once. Sockets, whose addresses are short,
 * are named through /proc/self/fd.
 */
#include "oci/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "proto/proto.h"

#define RECORD "record"
#define SPEC "spec"

enum { SPEC_MAX = 16 << 20 };

static int no_such_container(const char *id, struct error *e)
{
	return error_set(e, STATUS_NOT_FOUND, ENOENT, "container \"%s\" does not exist", id);
}

/* Opens the root; with @make its missing parents are made. -ENOENT without an error's text when there is none. */
static int open_root(const char *path, bool make, struct error *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && make) {
		_cleanup_fd_ int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		int made = top < 0 ? -errno : path_mkdirs(top, path, 0700, PATH_IN_ROOT);
		if (made < 0)
			return error_errno(e, -made, "make the state root \"%s\"", path);
		fd_close(made);
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0 && errno != ENOENT)
		return error_errno(e, errno, "open the state root \"%s\"", path);
	return fd < 0 ? -ENOENT : fd;
}

static int lock_fd(int fd, int how)
{
	while (flock(fd, how) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/* Is the directory that we hold still the one of that name? It may have been removed while we waited for it. */
static bool still_there(const struct state_dir *dir)
{
	struct stat held, named;
	return fstat(dir->fd, &held) == 0 && fstatat(dir->root, dir->id, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

static int open_fd(struct state_dir *dir)
{
	dir->fd = openat(dir->root, dir->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return dir->fd < 0 ? -errno : 0;
}

static int init(struct state_dir *dir, const struct oci *oci, const char *id, bool make, struct error *e)
{
	*dir = STATE_DIR_INIT;
	if (!id_valid(id))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "invalid id format: \"%s\"", id);
	(void)snprintf(dir->id, sizeof(dir->id), "%s", id);
	dir->root = open_root(oci->root, make, e);
	if (dir->root == -ENOENT)
		return no_such_container(id, e);
	return dir->root < 0 ? dir->root : 0;
}

/* 1: ours now; 0: try again; negative: an error or somebody else's. */
static int try_create(struct state_dir *dir, struct error *e)
{
	if (mkdirat(dir->root, dir->id, 0711) < 0 && errno != EEXIST)
		return error_errno(e, errno, "make the state of \"%s\"", dir->id);
	dir->fd = fd_close(dir->fd);
	int r = open_fd(dir);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = lock_fd(dir->fd, LOCK_EX | LOCK_NB);
	if (r < 0 && r != -EWOULDBLOCK)
		return error_errno(e, -r, "open the state of \"%s\"", dir->id);
	if (r == 0 && !still_there(dir))
		return 0;
	/* Somebody who holds it is making it, or works on what is there. */
	if (r < 0 || faccessat(dir->fd, RECORD, F_OK, 0) == 0)
		return error_set(e, STATUS_ALREADY_EXISTS, EEXIST,
				 "container with given ID already exists: \"%s\"", dir->id);
	(void)path_remove_tree(dir->fd, "gate");
	(void)path_remove_tree(dir->fd, "notify");
	return 1;
}

int state_dir_create(struct state_dir *dir, const struct oci *oci, const char *id, struct error *e)
{
	int r = init(dir, oci, id, true, e);

	while (r == 0)
		r = try_create(dir, e);
	if (r < 0)
		state_dir_close(dir);
	return r < 0 ? r : 0;
}

int state_dir_open(struct state_dir *dir, const struct oci *oci, const char *id, enum state_lock lock,
		   struct error *e)
{
	int r = init(dir, oci, id, false, e);

	if (r == 0) {
		r = open_fd(dir);
		if (r == 0 && lock != STATE_UNLOCKED) {
			r = lock_fd(dir->fd, lock == STATE_SHARED ? LOCK_SH : LOCK_EX);
			if (r == 0 && !still_there(dir))
				r = -ENOENT;
		}
		if (r == -ENOENT)
			r = no_such_container(id, e);
		else if (r < 0)
			r = error_errno(e, -r, "open the state of \"%s\"", id);
	}
	if (r < 0)
		state_dir_close(dir);
	return r;
}

void state_dir_close(struct state_dir *dir)
{
	dir->fd = fd_close(dir->fd);
	dir->root = fd_close(dir->root);
}

int state_dir_remove(struct state_dir *dir, struct error *e)
{
	/* The record first: from then on there is no container. */
	(void)unlinkat(dir->fd, RECORD, 0);
	(void)unlinkat(dir->fd, SPEC, 0);
	(void)unlinkat(dir->fd, "gate", 0);
	if (unlinkat(dir->root, dir->id, AT_REMOVEDIR) == 0)
		return 0;
	int r = path_remove_tree(dir->root, dir->id);
	return r < 0 ? error_errno(e, -r, "remove the state of \"%s\"", dir->id) : 0;
}

/* --- content ------------------------------------------------------------------------------------------------ */

int state_dir_load(const struct state_dir *dir, struct container_record *record, struct error *e)
{
	int r = container_record_load(dir->fd, RECORD, record, e);
	return r == -ENOENT ? no_such_container(dir->id, e) : r;
}

int state_dir_save(const struct state_dir *dir, const struct container_record *record, struct error *e)
{
	return container_record_save(record, dir->fd, RECORD, e);
}

int state_dir_save_spec(const struct state_dir *dir, const Grpc__Spec *spec, struct error *e)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	_cleanup_fd_ int fd =
		openat(dir->fd, SPEC, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? -errno : proto_encode(spec, &out);

	if (r == 0)
		r = fd_write_all(fd, buf_begin(&out), out.length);
	return r < 0 ? error_errno(e, -r, "save the configuration") : 0;
}

Grpc__Spec *state_dir_load_spec(const struct state_dir *dir, struct arena *arena, struct error *e)
{
	_cleanup_free_ char *text = NULL;
	ssize_t length = file_read(dir->fd, SPEC, SPEC_MAX, &text);

	if (length < 0) {
		error_errno(e, (int)-length, "read the saved configuration");
		return NULL;
	}
	/* The decoder may refer to its input. */
	char *copy = arena_memdup(arena, text, (size_t)length);
	return copy ? proto_decode(&grpc__spec__descriptor, copy, (size_t)length, arena, e) : NULL;
}

static int socket_address(const struct state_dir *dir, const char *name, struct sockaddr_un *out)
{
	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	int n = snprintf(out->sun_path, sizeof(out->sun_path), "/proc/self/fd/%d/%s", dir->fd, name);
	return n < 0 || (size_t)n >= sizeof(out->sun_path) ? -ENAMETOOLONG : 0;
}

int state_dir_listen(const struct state_dir *dir, const char *name, struct error *e)
{
	struct sockaddr_un address;
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0 || socket_address(dir, name, &address) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0)
		return error_errno(e, errno, "listen on the %s of \"%s\"", name, dir->id);
	return fd_steal(&fd);
}

int state_dir_connect(const struct state_dir *dir, const char *name, struct error *e)
{
	struct sockaddr_un address;
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0 || socket_address(dir, name, &address) < 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(e, errno, "connect to the %s of \"%s\"", name, dir->id);
	return fd_steal(&fd);
}

enum container_status state_status(const struct container_record *record)
{
	if (record->status == CONTAINER_STOPPED || record->status == CONTAINER_CREATING)
		return record->status;
	_cleanup_fd_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return container_record_alive(record, proc) ? record->status : CONTAINER_STOPPED;
}
