/* SPDX-License-Identifier: Apache-2.0 */

/* The functions called job_* run in a forked child. */

#include "agent/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
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

/* --- filling --- */

static int write_config(int directory, const Grpc__Spec *spec, struct error *e)
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

static int fill(int directory, const struct bundle *bundle, struct error *e)
{
	bool linked = symlinkat(bundle->source, directory, "rootfs") == 0;
	if (!linked && errno != EEXIST)
		return error_errno(e, errno, "link root filesystem %s", bundle->source);
	int r = write_config(directory, bundle->spec, e);
	if (r == 0)
		return 0;
	if (linked)
		(void)unlinkat(directory, "rootfs", 0);
	(void)unlinkat(directory, "config.json", 0);
	return r;
}

/* -EXDEV when something is mounted on it. */
static int open_unmounted(int rundir, const char *id)
{
	const struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};
	long fd = syscall(SYS_openat2, rundir, id, &how, sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

static int job_fill(struct buf *result, void *argument, struct error *e)
{
	const struct bundle *bundle = argument;
	(void)result;
	_cleanup_free_ char *path = bundle_path(bundle->id);
	_cleanup_fd_ int directory = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (directory < 0)
		return error_errno(e, path ? errno : ENOMEM, "open bundle %s", bundle->id);
	return fill(directory, bundle, e);
}

/* --- removing --- */

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

int bundle_fill(struct loop *loop, int rundir, const char *id, const char *source, const Grpc__Spec *spec,
		job_done_fn done, void *data, struct job **job, struct error *e)
{
	struct bundle bundle = {.id = id, .source = source, .spec = spec};
	_cleanup_fd_ int directory = open_unmounted(rundir, id);
	if (directory >= 0)
		return fill(directory, &bundle, e);
	*job = start(loop, "bundle", job_fill, &bundle, done, data, e);
	return *job ? 1 : error_result(e);
}

struct job *bundle_tidy(struct loop *loop, const char *id, job_done_fn done, void *data, struct error *e)
{
	struct bundle bundle = {.id = id};
	return start(loop, "remove bundle", job_tidy, &bundle, done, data, e);
}
