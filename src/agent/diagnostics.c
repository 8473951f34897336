/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The file of a termination log is named by the host and may lie on a share that hangs: it is read in a job, at most
 * LOG_MAX bytes of it, only where it is a regular file below the run directory, and never through a link.
 */

#include "agent/diagnostics.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/entry.h"
#include "agent/parked.h"
#include "agent/rpc.h"
#include "agent/rundir.h"
#include "agent/sandbox.h"
#include "base/fd.h"
#include "base/job.h"
#include "base/path.h"
#include "base/str.h"

enum { LOG_MAX_BYTES = 4096, READ_DEADLINE_MS = 30000 };

/* --- containers --- */

static void append_quoted(struct buf *out, const char *text)
{
	buf_append_char(out, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			buf_append_char(out, '\\');
		buf_append_char(out, *text);
	}
	buf_append_char(out, '"');
}

static void append_entry(struct buf *out, struct entry *entry)
{
	struct task *task;
	struct tm tm;
	char when[32] = "";
	size_t execs = 0;
	if (gmtime_r(&entry->created, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	list_for_each_entry (task, &entry->tasks, link)
		execs += task->ready && task->exec_id[0] && !task->exited;
	buf_append_string(out, "{\"id\":");
	append_quoted(out, entry->id);
	buf_printf(out, ",\"pid\":%d,\"status\":\"%s\",\"created\":\"%s\",\"execs\":%zu}\n",
		   (int)container_init(entry->container)->pid,
		   container_status_name(container_status(entry->container)), when, execs);
}

static void list_containers(struct sandbox *sandbox, struct ttrpc_call *call)
{
	Grpc__GetDiagnosticDataResponse answer = GRPC__GET_DIAGNOSTIC_DATA_RESPONSE__INIT;
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct entry *entry;
	list_for_each_entry (entry, &sandbox->entries, link)
		if (entry_visible(entry))
			append_entry(&out, entry);
	answer.data = (char *)buf_string(&out);
	if (answer.data && !out.failed)
		rpc_respond(call, &answer);
	else
		ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory for the answer");
}

/* --- termination_log --- */

static const char *annotation(const Grpc__Spec *spec, const char *key)
{
	for (size_t i = 0; i < spec->n_annotations; i++)
		if (str_equal(spec->annotations[i]->key, key))
			return str_or_empty(spec->annotations[i]->value);
	return NULL;
}

static const char *mount_source(const Grpc__Spec *spec, const char *destination)
{
	for (size_t i = 0; i < spec->n_mounts; i++)
		if (str_equal(spec->mounts[i]->destination, destination))
			return str_or_empty(spec->mounts[i]->source);
	return NULL;
}

static int job_read(struct buf *result, void *argument, struct error *e)
{
	const char *path = argument;
	struct stat st;
	char raw[LOG_MAX_BYTES], clean[LOG_MAX_BYTES * 3 + 1];
	_cleanup_fd_ int root = open(RUNDIR_PATH, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return error_errno(e, errno, "Failed to read termination log");
	/* O_NONBLOCK: what looks like a file may be a FIFO. */
	_cleanup_fd_ int fd = path_open(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_BENEATH);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(e, fd < 0 ? -fd : errno, "Failed to read termination log");
	if (!S_ISREG(st.st_mode))
		return error_set(e, STATUS_INTERNAL, EINVAL,
				 "Failed to read termination log: not a regular file");
	ssize_t n = fd_read_all(fd, raw, sizeof(raw));
	if (n < 0)
		return error_errno(e, (int)-n, "Failed to read termination log");
	size_t length = utf8_sanitize(raw, (size_t)n, clean, sizeof(clean));
	/* A NUL cannot travel in a string. */
	for (char *nul; (nul = memchr(clean, '\0', length));)
		*nul = ' ';
	return buf_append(result, clean, length);
}

static void log_read(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct list *waiting = data;
	struct ttrpc_call *call = parked_take(waiting);
	Grpc__GetDiagnosticDataResponse answer = GRPC__GET_DIAGNOSTIC_DATA_RESPONSE__INIT;
	(void)job;
	if (call && r >= 0 && (answer.data = (char *)buf_string(result)))
		rpc_respond(call, &answer);
	else if (call)
		ttrpc_call_fail(call, e);
	free(waiting);
}

static void read_log(struct sandbox *sandbox, struct ttrpc_call *call, const char *source)
{
	struct job_options options = {.name = "Failed to read termination log",
				      .deadline_ms = READ_DEADLINE_MS};
	struct error e = ERROR_INIT;
	struct list *waiting;
	if (!str_starts_with(source, RUNDIR_PATH "/")) {
		ttrpc_call_fail_text(call, STATUS_PERMISSION_DENIED,
				     "Failed to read termination log: %s is not below %s", source,
				     RUNDIR_PATH);
		return;
	}
	waiting = malloc(sizeof(*waiting));
	if (!waiting) {
		ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory to wait");
		return;
	}
	list_init(waiting);
	if (!job_start(sandbox->loop, &options, job_read, (void *)(source + strlen(RUNDIR_PATH "/")),
		       log_read, waiting, &e)) {
		free(waiting);
		ttrpc_call_fail(call, &e);
		return;
	}
	parked_add(waiting, call);
}

static void termination_log(struct sandbox *sandbox, struct ttrpc_call *call, const char *id)
{
	struct entry *entry = entry_find(sandbox, id);
	if (!entry || !entry_visible(entry)) {
		ttrpc_call_fail_text(call, STATUS_NOT_FOUND, "Invalid container id: %s not found", id);
		return;
	}
	const Grpc__Spec *spec = container_spec(entry->container);
	const char *path = annotation(spec, "io.kubernetes.container.terminationMessagePath");
	if (!path) {
		ttrpc_call_fail_text(call, STATUS_INTERNAL, "No terminationMessagePath annotation");
		return;
	}
	const char *source = mount_source(spec, path);
	if (!source) {
		ttrpc_call_fail_text(call, STATUS_INTERNAL, "termination message mount not found for %s",
				     path);
		return;
	}
	read_log(sandbox, call, source);
}

void diagnostics_get(struct sandbox *sandbox, struct ttrpc_call *call,
		     const Grpc__GetDiagnosticDataRequest *request)
{
	if (str_equal(request->log_type, "termination_log"))
		termination_log(sandbox, call, request->container_id);
	else if (str_equal(request->log_type, "containers"))
		list_containers(sandbox, call);
	else
		ttrpc_call_fail_text(call, STATUS_INVALID_ARGUMENT, "unsupported diagnostic log_type: %s",
				     request->log_type);
}
