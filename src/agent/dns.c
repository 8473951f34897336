/* SPDX-License-Identifier: Apache-2.0 */

/* See dns.h. The file is /run/kata-containers/sandbox/resolv.conf. */

#include "agent/dns.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/rundir.h"
#include "base/fd.h"

#define GUEST_FILE "/etc/resolv.conf"
#define OUR_DIRECTORY RUNDIR_PATH "/sandbox"
#define OUR_FILE OUR_DIRECTORY "/resolv.conf"

enum { DNS_DEADLINE_MS = 10000 };

struct lines {
	char *const *lines;
	size_t count;
};

/* --- in the child --- */

static void append_trimmed(struct buf *text, const char *line)
{
	size_t length = strlen(line);
	size_t from = strspn(line, " \t\r\n\v\f");
	while (length > from && strchr(" \t\r\n\v\f", line[length - 1]))
		length--;
	buf_append(text, line + from, length - from);
}

static int write_file(const struct lines *lines, struct error *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	for (size_t i = 0; i < lines->count; i++) {
		if (i > 0)
			buf_append_char(&text, '\n');
		append_trimmed(&text, lines->lines[i]);
	}
	if (mkdir(OUR_DIRECTORY, 0755) < 0 && errno != EEXIST)
		return error_errno(e, errno, "failed to setup guest DNS: mkdir %s", OUR_DIRECTORY);
	_cleanup_fd_ int fd = open(OUR_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	int r = fd < 0 ? -errno : fd_write_all(fd, buf_begin(&text), text.length);
	return r < 0 ? error_errno(e, -r, "failed to setup guest DNS: write %s", OUR_FILE) : 0;
}

static int job_set(struct buf *result, void *argument, struct error *e)
{
	struct stat st;
	if (stat(GUEST_FILE, &st) < 0) {
		if (errno == ENOENT)
			return buf_append_char(result, 0);
		return error_errno(e, errno, "failed to setup guest DNS: %s", GUEST_FILE);
	}
	if (S_ISDIR(st.st_mode))
		return error_set(e, STATUS_INTERNAL, EISDIR, "%s is a directory", GUEST_FILE);
	int r = write_file(argument, e);
	if (r < 0)
		return r;
	if (mount(OUR_FILE, GUEST_FILE, NULL, MS_BIND, NULL) < 0)
		return error_errno(e, errno, "failed to setup guest DNS: mount %s", GUEST_FILE);
	return buf_append_char(result, 1);
}

static int job_unset(struct buf *result, void *argument, struct error *e)
{
	(void)result, (void)argument;
	if (umount2(GUEST_FILE, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
		return error_errno(e, errno, "unmount %s", GUEST_FILE);
	return 0;
}

/* --- in the parent --- */

struct job *dns_set(struct loop *loop, char *const *lines, size_t count, job_done_fn done, void *data,
		    struct error *e)
{
	struct lines argument = {.lines = lines, .count = count};
	struct job_options options = {.name = "failed to setup guest DNS", .deadline_ms = DNS_DEADLINE_MS};
	return job_start(loop, &options, job_set, &argument, done, data, e);
}

struct job *dns_unset(struct loop *loop, job_done_fn done, void *data, struct error *e)
{
	struct job_options options = {.name = "unmount " GUEST_FILE, .deadline_ms = DNS_DEADLINE_MS};
	return job_start(loop, &options, job_unset, NULL, done, data, e);
}
