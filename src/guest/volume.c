/* SPDX-License-Identifier: Apache-2.0 */
/* See volume.h. */

#include "guest/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/job.h"

enum { LOOK_DEADLINE_MS = 10000 };

/* Nonsense that a file system of the host's may tell is not made worse. */
static struct volume_usage usage(uint64_t total, uint64_t available, uint64_t unit)
{
	struct volume_usage result = {.used = available < total ? total - available : 0};

	if (__builtin_mul_overflow(total, unit, &result.total))
		result.total = UINT64_MAX;
	if (__builtin_mul_overflow(available, unit, &result.available))
		result.available = UINT64_MAX;
	if (__builtin_mul_overflow(result.used, unit, &result.used))
		result.used = UINT64_MAX;
	return result;
}

int volume_look_now(const char *path, struct volume_stats *stats)
{
	_cleanup_fd_ int fd = open(path, O_PATH | O_CLOEXEC);
	struct statvfs fs;

	if (fd < 0 || fstatvfs(fd, &fs) < 0)
		return -errno;
	*stats = (struct volume_stats){
		.bytes = usage(fs.f_blocks, fs.f_bfree, fs.f_frsize ? fs.f_frsize : fs.f_bsize),
		.inodes = usage(fs.f_files, fs.f_ffree, 1),
	};
	return 0;
}

static int look_run(struct buf *result, void *argument, struct error *e)
{
	const char *path = argument;
	struct volume_stats stats;
	int r = volume_look_now(path, &stats);

	return r < 0 ? error_errno(e, -r, "statfs %s", path) : buf_append(result, &stats, sizeof(stats));
}

struct look {
	volume_done done;
	void *data;
};

static void look_finished(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct look *look = data;
	struct volume_stats stats = {0};

	(void)job;
	if (r >= 0 && result->length != sizeof(stats))
		r = error_set(e, STATUS_INTERNAL, EIO, "the job's result is damaged");
	if (r >= 0)
		memcpy(&stats, buf_begin(result), sizeof(stats));
	look->done(r, &stats, e, look->data);
	free(look);
}

int volume_look(struct loop *loop, const char *path, volume_done done, void *data, struct error *e)
{
	const struct job_options options = {.name = "statfs", .deadline_ms = LOOK_DEADLINE_MS};
	struct look *look = malloc(sizeof(*look));

	if (!look)
		return error_errno(e, ENOMEM, "statfs %s", path);
	*look = (struct look){.done = done, .data = data};
	if (job_start(loop, &options, look_run, (void *)path, look_finished, look, e))
		return 0;
	free(look);
	return error_result(e);
}
