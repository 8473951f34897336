/* SPDX-License-Identifier: Apache-2.0 */
/* See iptables.h. */

#include "guest/iptables.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/job.h"
#include "base/str.h"

enum {
	IPTABLES_DEADLINE_MS = 30000,
	OUTPUT_MAX = (4 << 20) - 4096, /* what one answer carries, less what goes around it */
	COMPLAINT_MAX = 512,
};

struct iptables_work {
	const char *const *directories;
	bool ipv6, set;
	const void *rules;
	size_t length;
};

static int find_program(const struct iptables_work *work, char path[PATH_MAX], struct error *e)
{
	static const char *const usual[] = {"/usr/sbin", "/sbin", NULL};
	const char *const *at = work->directories ? work->directories : usual;
	const char *name = work->set ? (work->ipv6 ? "ip6tables-restore" : "iptables-restore")
				     : (work->ipv6 ? "ip6tables-save" : "iptables-save");

	for (; *at; at++) {
		int n = snprintf(path, PATH_MAX, "%s/%s", *at, name);

		if (n > 0 && n < PATH_MAX && access(path, X_OK) == 0)
			return 0;
	}
	return error_errno(e, ENOENT, "%s", name);
}

/* The first of its words, in a line. */
static void complaint(struct buf *err, char *text, size_t size)
{
	(void)utf8_sanitize(buf_begin(err), err->length, text, size);
	for (char *p = text; *p; p++)
		if (*p == '\n' || *p == '\t')
			*p = ' ';
	for (size_t n = strlen(text); n > 0 && text[n - 1] == ' '; n--)
		text[n - 1] = '\0';
}

static int iptables_run(struct buf *result, void *argument, struct error *e)
{
	static const char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	const struct iptables_work *work = argument;
	_cleanup_buf_ struct buf err = BUF_INIT;
	char path[PATH_MAX], words[COMPLAINT_MAX];
	/* "--wait 5": for the lock on the tables. */
	const char *argv[] = {path, work->set ? "--wait" : NULL, "5", NULL};
	int status, r = find_program(work, path, e);

	if (r == 0)
		r = job_run_program(argv, environment, work->rules, work->length, result, &err,
				    OUTPUT_MAX + 1, &status, e);
	if (r < 0)
		return r;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return result->length > OUTPUT_MAX ? error_errno(e, EMSGSIZE, "%s", path) : 0;
	complaint(&err, words, sizeof(words));
	return error_set(e, STATUS_INTERNAL, EIO, "%s failed: \"%s\"", path, words);
}

struct iptables {
	iptables_done done;
	void *data;
};

static void iptables_finished(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct iptables *iptables = data;

	(void)job;
	iptables->done(r, result, e, iptables->data);
	free(iptables);
}

static int start(struct loop *loop, const struct iptables_work *work, iptables_done done, void *data,
		 struct error *e)
{
	const struct job_options options = {.name = "iptables",
					    .deadline_ms = IPTABLES_DEADLINE_MS,
					    .max_result = OUTPUT_MAX,
					    .new_group = true};
	struct iptables *iptables = malloc(sizeof(*iptables));

	if (!iptables)
		return error_errno(e, ENOMEM, "iptables");
	*iptables = (struct iptables){.done = done, .data = data};
	if (job_start(loop, &options, iptables_run, (void *)work, iptables_finished, iptables, e))
		return 0;
	free(iptables);
	return error_result(e);
}

int iptables_get(struct loop *loop, const char *const *directories, bool ipv6, iptables_done done, void *data,
		 struct error *e)
{
	const struct iptables_work work = {.directories = directories, .ipv6 = ipv6};

	return start(loop, &work, done, data, e);
}

int iptables_set(struct loop *loop, const char *const *directories, bool ipv6, const void *rules,
		 size_t length, iptables_done done, void *data, struct error *e)
{
	const struct iptables_work work = {.directories = directories,
					   .ipv6 = ipv6,
					   .set = true,
					   /* Nothing is an input, too. */
					   .rules = rules ? rules : "",
					   .length = length};

	return start(loop, &work, done, data, e);
}
