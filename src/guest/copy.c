/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See copy.h. All of it runs in a job, whose umask is its own.
 *
 * The pieces of a file find each other by the name of the hidden file, which is made of a hash of the file's: it must be
 * the same for all of them, fit whatever the name's length, and not be one that a user would give. Somebody in a container
 * may have put something under it nevertheless, so the first piece makes it anew, and later ones look at what it is.
 */

#include "guest/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/job.h"
#include "base/path.h"
#include "base/str.h"

enum { COPY_DEADLINE_MS = 60000, PARENT_MODE = 0750, HIDDEN_SIZE = 40 };

/* Where the request's file belongs. */
struct place {
	const struct copy_request *request;
	int parent;
	char name[NAME_MAX + 1];
	char hidden[HIDDEN_SIZE]; /* beside it */
};

/* --- names --- */

/* The next part of a path, without "" and "."; its length in @length, 0 at the end. */
static const char *next_part(const char *path, size_t *length)
{
	for (;;) {
		path += strspn(path, "/");
		*length = strcspn(path, "/");
		if (*length != 1 || path[0] != '.')
			return path;
		path++;
	}
}

static bool is_dot_dot(const char *part, size_t length)
{
	return length == 2 && part[0] == '.' && part[1] == '.';
}

const char *copy_relative(const char *path)
{
	const char *ours = COPY_DIRECTORY, *rest;
	size_t length, ours_length;

	if (path[0] != '/')
		return NULL;
	while ((ours = next_part(ours, &ours_length)), ours_length > 0) {
		path = next_part(path, &length);
		if (length != ours_length || strncmp(path, ours, length) != 0)
			return NULL;
		path += length;
		ours += ours_length;
	}
	rest = next_part(path, &length);
	if (length == 0)
		return NULL;
	for (path = rest; length > 0; path = next_part(path + length, &length))
		if (is_dot_dot(path, length))
			return NULL;
	return rest;
}

/* FNV-1a. Names that have the same are sent by a host that wants to disturb itself. */
static void name_hidden(struct place *place)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (const char *p = place->name; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 0x100000001b3;
	(void)snprintf(place->hidden, sizeof(place->hidden), ".%016llx.kata-copy~", (unsigned long long)hash);
}

/* --- steps --- */

static int own(int fd, const struct copy_request *request)
{
	return fchownat(fd, "", (uid_t)request->uid, (gid_t)request->gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

/* Makes one parent where it is missing, and gives that to the owner of what comes into it. Descriptor or -errno. */
static int enter(int parent, const char *name, const struct copy_request *request)
{
	mode_t mode = request->dir_mode & 0777;
	bool made = false;
	int fd = path_open(parent, name, O_PATH | O_DIRECTORY, 0, PATH_BENEATH);
	int r;

	if (fd == -ENOENT) {
		made = mkdirat(parent, name, mode ? mode : PARENT_MODE) == 0;
		if (!made && errno != EEXIST)
			return -errno;
		fd = path_open(parent, name, O_PATH | O_DIRECTORY, 0, PATH_BENEATH);
	}
	if (fd < 0 || !made)
		return fd;
	r = own(fd, request);
	if (r < 0)
		fd_close(fd);
	return r < 0 ? r : fd;
}

/* Walks to the parent of @path below @share, making what is missing. 0 or -errno. */
static int place_find(struct place *place, int share, const char *path)
{
	_cleanup_fd_ int at = fcntl(share, F_DUPFD_CLOEXEC, 3);
	size_t length;

	for (path = next_part(path, &length);; path = next_part(path + length, &length)) {
		size_t after;

		if (at < 0)
			return at == -1 ? -errno : at;
		if (length > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(place->name, path, length);
		place->name[length] = '\0';
		next_part(path + length, &after);
		if (after == 0)
			break;
		int inner = enter(at, place->name, place->request);
		fd_close(at);
		at = inner;
	}
	name_hidden(place);
	place->parent = fd_steal(&at);
	return 0;
}

static int place_open(struct place *place, const char *root, struct error *e)
{
	const char *path = copy_relative(place->request->path);
	_cleanup_fd_ int top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_fd_ int share = -1;
	int r;

	if (!path)
		return error_set(e, STATUS_INTERNAL, EINVAL, "removing \"%s/\" prefix from %s",
				 COPY_DIRECTORY, place->request->path);
	if (top < 0)
		return error_errno(e, errno, "open %s", root);
	share = path_mkdirs(top, &COPY_DIRECTORY[1], 0755, PATH_IN_ROOT);
	if (share < 0)
		return error_errno(e, -share, "open %s", COPY_DIRECTORY);
	r = place_find(place, share, path);
	return r < 0 ? error_errno(e, -r, "mkdir_all parent of %s", place->request->path) : 0;
}

/* What is hidden takes its place; a directory that is there goes first, for nothing can replace it in one step. */
static int place_take(struct place *place, struct error *e)
{
	int r = renameat(place->parent, place->hidden, place->parent, place->name) < 0 ? -errno : 0;

	if (r == -EISDIR || r == -ENOTEMPTY || r == -EEXIST) {
		r = path_remove_tree(place->parent, place->name);
		if (r == 0 && renameat(place->parent, place->hidden, place->parent, place->name) < 0)
			r = -errno;
	}
	if (r == 0)
		return 0;
	(void)unlinkat(place->parent, place->hidden, 0);
	return error_errno(e, -r, "renameat %s", place->request->path);
}

/* --- the three kinds --- */

static int copy_directory(struct place *place, struct error *e)
{
	const struct copy_request *request = place->request;
	struct stat st;
	bool there = fstatat(place->parent, place->name, &st, AT_SYMLINK_NOFOLLOW) == 0;

	if (there && !S_ISDIR(st.st_mode) && unlinkat(place->parent, place->name, 0) < 0 && errno != ENOENT)
		return error_errno(e, errno, "replace %s", request->path);
	if (mkdirat(place->parent, place->name, request->mode & 0777) < 0 && errno != EEXIST)
		return error_errno(e, errno, "mkdir_all %s", request->path);
	_cleanup_fd_ int fd =
		path_open(place->parent, place->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, PATH_BENEATH);
	if (fd < 0)
		return error_errno(e, -fd, "open %s", request->path);
	/* In this order: a change of owner may take the set-id bits away. */
	int r = own(fd, request);
	if (r < 0)
		return error_errno(e, -r, "fchown %s", request->path);
	return fchmod(fd, request->mode & 07777) < 0
		       ? error_errno(e, errno, "set_permissions %s", request->path)
		       : 0;
}

/* Removes what is under the hidden name, whatever it is. */
static int clear_hidden(const struct place *place)
{
	return path_remove_tree(place->parent, place->hidden);
}

/* Of the link that we have made, and not of what somebody may have put there meanwhile. */
static int own_link(const struct place *place)
{
	_cleanup_fd_ int fd = openat(place->parent, place->hidden, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return S_ISLNK(st.st_mode) ? own(fd, place->request) : -EPERM;
}

static int copy_link(struct place *place, struct error *e)
{
	const struct copy_request *request = place->request;
	char target[PATH_MAX];
	int r;

	if (request->length == 0 || request->length >= sizeof(target) ||
	    memchr(request->data, '\0', request->length))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "create symlink %s: its target is empty, too long or has a NUL",
				 request->path);
	memcpy(target, request->data, request->length);
	target[request->length] = '\0';
	r = clear_hidden(place);
	if (r == 0 && symlinkat(target, place->parent, place->hidden) < 0)
		r = -errno;
	if (r < 0)
		return error_errno(e, -r, "create symlink %s", request->path);
	r = own_link(place);
	if (r < 0) {
		(void)unlinkat(place->parent, place->hidden, 0);
		return error_errno(e, -r, "fchownat %s", request->path);
	}
	return place_take(place, e);
}

/* The hidden file, for the piece that is there. Descriptor or -errno. */
static int open_hidden(const struct place *place)
{
	const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	struct stat st;
	int r = place->request->offset == 0 ? clear_hidden(place) : 0, fd;

	if (r < 0)
		return r;
	fd = openat(place->parent, place->hidden, flags | (place->request->offset == 0 ? O_EXCL : 0), 0600);
	if (fd < 0)
		return -errno;
	/* One with another name would be written to under that, too. */
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1) {
		fd_close(fd);
		return -EPERM;
	}
	return fd;
}

static int write_piece(int fd, const struct copy_request *request)
{
	const char *data = request->data;

	for (size_t done = 0; done < request->length;) {
		ssize_t n = pwrite(fd, data + done, request->length - done,
				   (off_t)(request->offset + (int64_t)done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

static int copy_regular(struct place *place, struct error *e)
{
	const struct copy_request *request = place->request;
	struct stat st;
	int64_t end;

	if (request->offset < 0 || request->file_size < 0 ||
	    __builtin_add_overflow(request->offset, (int64_t)request->length, &end) ||
	    end > request->file_size)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "%s: %zu bytes at %lld are not within a size of %lld", request->path,
				 request->length, (long long)request->offset, (long long)request->file_size);
	_cleanup_fd_ int fd = open_hidden(place);
	if (fd < 0)
		return error_errno(e, -fd, "create_file %s", request->path);
	int r = write_piece(fd, request);
	if (r < 0) {
		/* The rest would have no room either. */
		(void)unlinkat(place->parent, place->hidden, 0);
		return error_errno(e, -r, "write_all_at %s", request->path);
	}
	if (fstat(fd, &st) < 0)
		return error_errno(e, errno, "fstat %s", request->path);
	if (st.st_size != request->file_size)
		return 0;
	r = own(fd, request);
	if (r < 0)
		return error_errno(e, -r, "fchown %s", request->path);
	if (fchmod(fd, request->mode & 07777) < 0)
		return error_errno(e, errno, "set_permissions %s", request->path);
	return place_take(place, e);
}

int copy_file(const char *root, const struct copy_request *request, struct error *e)
{
	struct place place = {.request = request, .parent = -1};
	mode_t type = request->mode & S_IFMT, mask;
	int r;

	if (type != 0 && type != S_IFREG && type != S_IFDIR && type != S_IFLNK)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "%s: neither a file nor a directory nor a link: mode %#o", request->path,
				 request->mode);
	mask = umask(0);
	r = place_open(&place, root, e);
	if (r == 0)
		r = type == S_IFDIR   ? copy_directory(&place, e)
		    : type == S_IFLNK ? copy_link(&place, e)
				      : copy_regular(&place, e);
	fd_close(place.parent);
	(void)umask(mask);
	return r;
}

/* --- the job --- */

struct copy {
	copy_done done;
	void *data;
};

struct copy_work {
	const char *root;
	const struct copy_request *request;
};

static int copy_run(struct buf *result, void *argument, struct error *e)
{
	const struct copy_work *work = argument;

	(void)result;
	return copy_file(work->root, work->request, e);
}

static void copy_finished(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct copy *copy = data;

	(void)job, (void)result;
	copy->done(r, e, copy->data);
	free(copy);
}

int copy_start(struct loop *loop, const char *root, const struct copy_request *request, copy_done done,
	       void *data, struct error *e)
{
	const struct job_options options = {.name = "copy", .deadline_ms = COPY_DEADLINE_MS};
	struct copy_work work = {.root = root, .request = request};
	struct copy *copy = malloc(sizeof(*copy));

	if (!copy)
		return error_errno(e, ENOMEM, "copy %s", request->path);
	*copy = (struct copy){.done = done, .data = data};
	if (job_start(loop, &options, copy_run, &work, copy_finished, copy, e))
		return 0;
	free(copy);
	return error_result(e);
}
