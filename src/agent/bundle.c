/* SPDX-License-Identifier: Apache-2.0 */

/* Each public function starts one job; the functions called job_* run in its child. */

#include "agent/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/rundir.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "proto/json.h"

enum { BUNDLE_DEADLINE_MS = 60000 };

struct bundle {
	const char *id;
	const char *source;
	const Grpc__Spec *spec;
};

char *bundle_path(const char *id)
{
	char *path;
	return asprintf(&path, "%s/%s", RUNDIR_PATH, id) < 0 ? NULL : path;
}

char *bundle_rootfs(const char *id)
{
	char *path;
	return asprintf(&path, "%s/%s/rootfs", RUNDIR_PATH, id) < 0 ? NULL : path;
}

/* --- in the child --- */

static int job_write_config(int directory, const Grpc__Spec *spec, struct error *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	if (json_encode(spec, JSON_COMPACT, &text) < 0)
		return error_errno(e, ENOMEM, "encode config.json");
	/* It holds the environment, which may hold secrets. */
	_cleanup_fd_ int fd =
		openat(directory, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? -errno : fd_write_all(fd, buf_begin(&text), text.length);
	return r < 0 ? error_errno(e, -r, "write config.json") : 0;
}

/* 1: mounted; 0: a storage was there before. */
static int job_mount(int directory, const struct bundle *bundle, struct error *e)
{
	_cleanup_free_ char *target = bundle_rootfs(bundle->id);
	if (!target)
		return error_errno(e, ENOMEM, "root filesystem");
	if (mkdirat(directory, "rootfs", 0755) < 0) {
		if (errno == EEXIST)
			return 0;
		return error_errno(e, errno, "mkdir %s", target);
	}
	if (mount(bundle->source, target, NULL, MS_BIND | MS_REC, NULL) == 0)
		return 1;
	int r = error_errno(e, errno, "mount root filesystem %s", bundle->source);
	(void)unlinkat(directory, "rootfs", AT_REMOVEDIR);
	return r;
}

static int job_fill(struct buf *result, void *argument, struct error *e)
{
	const struct bundle *bundle = argument;
	_cleanup_free_ char *path = bundle_path(bundle->id);
	_cleanup_fd_ int directory = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (directory < 0)
		return error_errno(e, path ? errno : ENOMEM, "open bundle %s", bundle->id);
	int mounted = job_mount(directory, bundle, e);
	if (mounted < 0)
		return mounted;
	int r = job_write_config(directory, bundle->spec, e);
	if (r < 0) {
		_cleanup_free_ char *target = mounted ? bundle_rootfs(bundle->id) : NULL;
		if (target)
			(void)umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW);
		if (mounted)
			(void)unlinkat(directory, "rootfs", AT_REMOVEDIR);
		(void)unlinkat(directory, "config.json", 0);
		return r;
	}
	return buf_append_char(result, (char)mounted);
}

static int job_unmount(struct buf *result, void *argument, struct error *e)
{
	const struct bundle *bundle = argument;
	(void)result;
	_cleanup_free_ char *target = bundle_rootfs(bundle->id);
	if (!target)
		return error_errno(e, ENOMEM, "unmount root filesystem");
	if (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT)
		return 0;
	return error_errno(e, errno, "unmount %s", target);
}

static int job_tidy(struct buf *result, void *argument, struct error *e)
{
	const struct bundle *bundle = argument;
	(void)result;
	_cleanup_free_ char *path = bundle_path(bundle->id);
	if (!path)
		return error_errno(e, ENOMEM, "remove bundle");
	(void)rundir_unmount_below(path);
	_cleanup_fd_ int parent = open(RUNDIR_PATH, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (parent < 0)
		return errno == ENOENT ? 0 : error_errno(e, errno, "open %s", RUNDIR_PATH);
	int r = path_remove_tree(parent, bundle->id);
	return r < 0 ? error_errno(e, -r, "remove %s", path) : 0;
}

/* --- in the parent --- */

static struct job *start(struct loop *loop, const char *name, job_fn fn, struct bundle *bundle,
			 job_done_fn done, void *data, struct error *e)
{
	struct job_options options = {.name = name, .deadline_ms = BUNDLE_DEADLINE_MS};
	return job_start(loop, &options, fn, bundle, done, data, e);
}

struct job *bundle_fill(struct loop *loop, const char *id, const char *source, const Grpc__Spec *spec,
			job_done_fn done, void *data, struct error *e)
{
	struct bundle bundle = {.id = id, .source = source, .spec = spec};
	return start(loop, "bundle", job_fill, &bundle, done, data, e);
}

struct job *bundle_unmount(struct loop *loop, const char *id, job_done_fn done, void *data, struct error *e)
{
	struct bundle bundle = {.id = id};
	return start(loop, "unmount root filesystem", job_unmount, &bundle, done, data, e);
}

struct job *bundle_tidy(struct loop *loop, const char *id, job_done_fn done, void *data, struct error *e)
{
	struct bundle bundle = {.id = id};
	return start(loop, "remove bundle", job_tidy, &bundle, done, data, e);
}
