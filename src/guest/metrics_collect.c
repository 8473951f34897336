/* SPDX-License-Identifier: Apache-2.0 */
/* Reads what metrics.c formats, in a job: a file system that hangs takes a scrape, not the agent. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/job.h"
#include "guest/metrics.h"

enum {
	COLLECT_DEADLINE_MS = 2500, /* who asks waits for three seconds */
	FILE_MAX = 4 << 20,
	TEXT_MAX = (4 << 20) - 4096, /* what one answer carries */
};

struct collect_work {
	uint64_t scrapes;
	pid_t pid; /* the agent's: the job is another process */
};

/* The octal escapes of mountinfo. */
static bool decode(const char *text, char *out, size_t size)
{
	size_t length = 0;

	for (; *text; text++) {
		unsigned byte = (unsigned char)*text;

		if (length + 1 >= size)
			return false;
		if (byte == '\\' && strspn(text + 1, "01234567") >= 3) {
			byte = (unsigned)(text[1] - '0') << 6 | (unsigned)(text[2] - '0') << 3 |
			       (unsigned)(text[3] - '0');
			text += 3;
		}
		out[length++] = (char)byte;
	}
	out[length] = '\0';
	return true;
}

static bool look(const char *mount, struct volume_stats *stats)
{
	char path[PATH_MAX];

	return decode(mount, path, sizeof(path)) && volume_look_now(path, stats) == 0;
}

static uint64_t count_descriptors(int proc, const char *directory)
{
	int fd = openat(proc, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_dir_ DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	uint64_t count = 0;

	if (!dir)
		fd_close(fd);
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		count += entry->d_name[0] != '.';
	return count;
}

static int collect_run(struct buf *result, void *argument, struct error *e)
{
	static const char *const names[METRICS_FILES] = {
		[METRICS_SELF_STAT] = "stat",
		[METRICS_SELF_STATUS] = "status",
		[METRICS_SELF_IO] = "io",
		[METRICS_SELF_LIMITS] = "limits",
		[METRICS_LOADAVG] = "loadavg",
		[METRICS_STAT] = "stat",
		[METRICS_VMSTAT] = "vmstat",
		[METRICS_NETDEV] = "net/dev",
		[METRICS_DISKSTATS] = "diskstats",
		[METRICS_MEMINFO] = "meminfo",
		[METRICS_MOUNTINFO] = "self/mountinfo",
	};
	const struct collect_work *work = argument;
	struct metrics_input input = {.scrapes = work->scrapes, .look = look};
	_cleanup_fd_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	long page = sysconf(_SC_PAGESIZE), ticks = sysconf(_SC_CLK_TCK);
	char *texts[METRICS_FILES] = {NULL}, path[64];

	if (proc < 0)
		return error_errno(e, errno, "open /proc");
	for (size_t i = 0; i < METRICS_FILES; i++) {
		if (i <= METRICS_SELF_LIMITS)
			(void)snprintf(path, sizeof(path), "%d/%s", (int)work->pid, names[i]);
		else
			(void)snprintf(path, sizeof(path), "%s", names[i]);
		/* One that is not there leaves its metrics out. */
		if (file_read(proc, path, FILE_MAX, &texts[i]) < 0)
			texts[i] = NULL;
		input.text[i] = texts[i];
	}
	(void)snprintf(path, sizeof(path), "%d/fd", (int)work->pid);
	input.descriptors = count_descriptors(proc, path);
	input.page_size = page > 0 ? (uint64_t)page : 4096;
	input.ticks = ticks > 0 ? (uint64_t)ticks : 100;
	metrics_format(&input, result);
	for (size_t i = 0; i < METRICS_FILES; i++)
		free(texts[i]);
	return 0;
}

struct collect {
	metrics_done done;
	void *data;
};

static void collected(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct collect *collect = data;
	const char *text = r >= 0 ? buf_string(result) : NULL;

	(void)job;
	if (r >= 0 && !text)
		r = error_errno(e, ENOMEM, "metrics");
	collect->done(r, text, e, collect->data);
	free(collect);
}

int metrics_collect(struct loop *loop, uint64_t scrapes, metrics_done done, void *data, struct error *e)
{
	const struct job_options options = {
		.name = "metrics", .deadline_ms = COLLECT_DEADLINE_MS, .max_result = TEXT_MAX};
	struct collect_work work = {.scrapes = scrapes, .pid = getpid()};
	struct collect *collect = malloc(sizeof(*collect));

	if (!collect)
		return error_errno(e, ENOMEM, "metrics");
	*collect = (struct collect){.done = done, .data = data};
	if (job_start(loop, &options, collect_run, &work, collected, collect, e))
		return 0;
	free(collect);
	return error_result(e);
}
