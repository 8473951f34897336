/* SPDX-License-Identifier: Apache-2.0 */
/* `state`, `list`, `ps`, `features`: what is told and changes nothing. None of them takes a lock. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/job.h"
#include "base/str.h"
#include "engine/oci_features.h"
#include "engine/oci_state.h"
#include "oci/session.h"

#ifndef OCI_VERSION
#define OCI_VERSION "unknown"
#endif

static int print_buf(struct buf *out)
{
	buf_append_char(out, '\n');
	return out->failed || fd_write_all(1, buf_begin(out), out->length) < 0 ? 1 : 0;
}

static void append_created(struct buf *out, uint64_t nanoseconds)
{
	time_t seconds = (time_t)(nanoseconds / 1000000000);
	struct tm tm;
	char text[32];

	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_printf(out, "%s.%09uZ", text, (unsigned)(nanoseconds % 1000000000));
}

/* "NAME": on a line of its own, or on the one line that everything is on where @indent is NULL. */
static void append_name(struct buf *out, const char *indent, const char *name)
{
	if (indent)
		buf_printf(out, "\n%s", indent);
	json_append_quoted(out, name);
	buf_append_string(out, indent ? ": " : ":");
}

static void append_text(struct buf *out, const char *indent, const char *name, const char *value)
{
	append_name(out, indent, name);
	json_append_quoted(out, str_or_empty(value));
	buf_append_char(out, ',');
}

/* --- state -------------------------------------------------------------------------------------------------- */

static void append_annotations(struct buf *out, bool lines, const Grpc__Spec *spec)
{
	if (!spec || !spec->n_annotations)
		return;
	buf_append_char(out, ',');
	append_name(out, lines ? "  " : NULL, "annotations");
	for (size_t i = 0; i < spec->n_annotations; i++) {
		buf_append_char(out, i ? ',' : '{');
		append_name(out, lines ? "    " : NULL, str_or_empty(spec->annotations[i]->key));
		json_append_quoted(out, str_or_empty(spec->annotations[i]->value));
	}
	buf_append_string(out, lines ? "\n  }" : "}");
}

static void append_state(struct buf *out, bool lines, const struct container_record *record,
			 const Grpc__Spec *spec, const char *owner)
{
	const char *indent = lines ? "  " : NULL;
	enum container_status status = state_status(record);

	buf_append_char(out, '{');
	append_text(out, indent, "ociVersion",
		    spec && !str_is_empty(spec->version) ? spec->version : OCI_RUNTIME_SPEC_VERSION);
	append_text(out, indent, "id", record->id);
	append_name(out, indent, "pid");
	buf_printf(out, "%d,", status == CONTAINER_STOPPED ? 0 : (int)record->pid);
	append_text(out, indent, "status", container_status_name(status));
	append_text(out, indent, "bundle", record->bundle);
	append_text(out, indent, "rootfs", record->rootfs);
	append_name(out, indent, "created");
	buf_append_char(out, '"');
	append_created(out, record->created);
	buf_append_string(out, "\",");
	append_name(out, indent, "owner");
	json_append_quoted(out, owner);
	append_annotations(out, lines, spec);
	buf_append_string(out, lines ? "\n}" : "}");
}

/* By the C library: this is the host's, not the container's. A static program has /etc/passwd alone. */
static void owner_of(const struct state_dir *dir, char *out, size_t size)
{
	struct stat status;
	_cleanup_file_ FILE *file = fopen("/etc/passwd", "re");
	const struct passwd *entry = NULL;

	*out = '\0';
	if (fstat(dir->fd, &status) < 0)
		return;
	if (status.st_uid == 0) {
		(void)snprintf(out, size, "root");
		return;
	}
	while (file && (entry = fgetpwent(file)) && entry->pw_uid != status.st_uid)
		;
	if (entry)
		(void)snprintf(out, size, "%s", entry->pw_name);
	else
		(void)snprintf(out, size, "#%u", status.st_uid);
}

int command_state(struct oci *oci, int argc, char **argv)
{
	static const struct option none[] = {{NULL, 0, NULL, 0}};
	struct state_dir dir = STATE_DIR_INIT;
	struct container_record record;
	struct error e = ERROR_INIT, ignored = ERROR_INIT;
	_cleanup_buf_ struct buf out = BUF_INIT;
	char owner[64];

	if (getopt_long(argc, argv, "+", none, NULL) != -1)
		return oci_usage(oci);
	const char *id = oci_only_id(oci, argc, argv, optind);
	if (!id)
		return 1;
	int r = state_dir_open(&dir, oci, id, STATE_UNLOCKED, &e);
	if (r == 0)
		r = state_dir_load(&dir, &record, &e);
	if (r < 0) {
		state_dir_close(&dir);
		return oci_fail(oci, &e);
	}
	struct arena *arena = arena_new(0);
	owner_of(&dir, owner, sizeof(owner));
	append_state(&out, true, &record, arena ? state_dir_load_spec(&dir, arena, &ignored) : NULL, owner);
	arena_free(arena);
	container_record_deinit(&record);
	state_dir_close(&dir);
	return print_buf(&out);
}

/* --- list --------------------------------------------------------------------------------------------------- */

enum list_format { LIST_TABLE, LIST_JSON, LIST_QUIET };

static void append_listed(struct buf *out, enum list_format format, const struct state_dir *dir,
			  const struct container_record *record, bool first)
{
	struct error ignored = ERROR_INIT;
	enum container_status status = state_status(record);
	char owner[64];

	owner_of(dir, owner, sizeof(owner));
	if (format == LIST_QUIET) {
		buf_printf(out, "%s\n", record->id);
	} else if (format == LIST_JSON) {
		struct arena *arena = arena_new(0);
		if (!first)
			buf_append_char(out, ',');
		append_state(out, false, record, arena ? state_dir_load_spec(dir, arena, &ignored) : NULL,
			     owner);
		arena_free(arena);
	} else {
		buf_printf(out, "%-24s %-8d %-8s %-40s ", record->id,
			   status == CONTAINER_STOPPED ? 0 : (int)record->pid, container_status_name(status),
			   record->bundle);
		append_created(out, record->created);
		buf_printf(out, " %s\n", owner);
	}
}

static int is_id(const struct dirent *entry)
{
	return id_valid(entry->d_name);
}

/* By name. A root that is given must be there; the usual one is made by the first container. */
static int append_all(const struct oci *oci, enum list_format format, struct buf *out)
{
	struct dirent **entries = NULL;
	int count = scandir(oci->root, &entries, is_id, alphasort);
	bool first = true;

	if (count < 0 && (errno != ENOENT || oci->root_given))
		return oci_complain(oci, "open %s: %s", oci->root, error_name(errno));
	for (int i = 0; i < count; i++) {
		struct state_dir dir = STATE_DIR_INIT;
		struct container_record record;
		struct error e = ERROR_INIT;
		int r = state_dir_open(&dir, oci, entries[i]->d_name, STATE_UNLOCKED, &e);
		if (r == 0 && state_dir_load(&dir, &record, &e) == 0) {
			append_listed(out, format, &dir, &record, first);
			container_record_deinit(&record);
			first = false;
		}
		state_dir_close(&dir);
		free(entries[i]);
	}
	free(entries);
	return 0;
}

/* "table" or "json" into *@json. 0, or the exit status. */
static int parse_format(const struct oci *oci, const char *text, bool *json)
{
	*json = strcmp(text, "json") == 0;
	return *json || strcmp(text, "table") == 0 ? 0
						   : oci_complain(oci, "invalid format option \"%s\"", text);
}

int command_list(struct oci *oci, int argc, char **argv)
{
	static const struct option options[] = {{"quiet", no_argument, NULL, 'q'},
						{"format", required_argument, NULL, 'f'},
						{NULL, 0, NULL, 0}};
	_cleanup_buf_ struct buf out = BUF_INIT;
	bool quiet = false, json = false;
	int c;

	while ((c = getopt_long(argc, argv, "+qf:", options, NULL)) != -1) {
		if (c == 'q')
			quiet = true;
		else if (c != 'f')
			return oci_usage(oci);
		else if (parse_format(oci, optarg, &json))
			return 1;
	}
	if (optind < argc)
		return oci_usage(oci);
	if (json)
		buf_append_char(&out, '[');
	else if (!quiet)
		buf_printf(&out, "%-24s %-8s %-8s %-40s %-30s %s\n", "ID", "PID", "STATUS", "BUNDLE",
			   "CREATED", "OWNER");
	if (append_all(oci, quiet ? LIST_QUIET : json ? LIST_JSON : LIST_TABLE, &out))
		return 1;
	if (json)
		buf_append_string(&out, "]\n");
	return out.failed || fd_write_all(1, buf_begin(&out), out.length) < 0 ? 1 : 0;
}

/* --- ps ----------------------------------------------------------------------------------------------------- */

static bool is_ours(const pid_t *pids, size_t count, const char *text)
{
	int64_t pid = strtol(text, NULL, 10);

	for (size_t i = 0; i < count; i++) {
		if (pids[i] == pid)
			return true;
	}
	return false;
}

/* Start of the @column'th word of @line. */
static const char *word(const char *line, size_t column)
{
	for (;;) {
		line += strspn(line, " \t");
		if (column-- == 0)
			return line;
		line += strcspn(line, " \t\n");
	}
}

/* Which word of the header is "PID"; -1. */
static int pid_column(const char *header)
{
	for (int i = 0;; i++) {
		const char *text = word(header, (size_t)i);
		size_t length = strcspn(text, " \t\n");
		if (length == 0)
			return -1;
		if (length == 3 && strncmp(text, "PID", 3) == 0)
			return i;
	}
}

/* ps(1) lists all processes, with whatever columns it was asked for; ours remain. */
static int print_table(const struct oci *oci, const pid_t *pids, size_t count, int argc, char **argv)
{
	_cleanup_buf_ struct buf text = BUF_INIT, err = BUF_INIT, out = BUF_INIT;
	_cleanup_free_ const char **args = calloc((size_t)argc + 3, sizeof(*args));
	const char *const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", NULL};
	struct error e = ERROR_INIT;
	int status;

	if (!args)
		return 1;
	args[0] = access("/usr/bin/ps", X_OK) == 0 ? "/usr/bin/ps" : "/bin/ps";
	args[1] = "-ef";
	for (int i = 0; i < argc; i++)
		args[i + 1] = argv[i];
	if (job_run_program(args, environment, NULL, 0, &text, &err, 4 << 20, &status, &e) < 0)
		return oci_fail(oci, &e);
	const char *line = str_or_empty(buf_string(&text));
	int column = pid_column(line);
	if (column < 0)
		return oci_complain(oci, "couldn't find PID field in ps output");
	for (bool header = true; *line; header = false) {
		size_t length = strcspn(line, "\n");
		_cleanup_free_ char *one = strndup(line, length);
		if (one && (header || is_ours(pids, count, word(one, (size_t)column))))
			buf_printf(&out, "%s\n", one);
		line += length + (line[length] == '\n');
	}
	return fd_write_all(1, buf_begin(&out), out.length) < 0 ? 1 : 0;
}

static int print_pids(const pid_t *pids, size_t count)
{
	_cleanup_buf_ struct buf out = BUF_INIT;

	buf_append_char(&out, '[');
	for (size_t i = 0; i < count; i++)
		buf_printf(&out, "%s%d", i ? "," : "", (int)pids[i]);
	buf_append_char(&out, ']');
	return print_buf(&out);
}

int command_ps(struct oci *oci, int argc, char **argv)
{
	static const struct option options[] = {{"format", required_argument, NULL, 'f'}, {NULL, 0, NULL, 0}};
	struct session s = SESSION_INIT;
	struct error e = ERROR_INIT;
	_cleanup_free_ pid_t *pids = NULL;
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "+f:", options, NULL)) != -1) {
		if (c != 'f')
			return oci_usage(oci);
		if (parse_format(oci, optarg, &json))
			return 1;
	}
	if (optind >= argc)
		return oci_usage(oci);
	int r = session_open(&s, oci, argv[optind], STATE_UNLOCKED, false, &e);
	struct cgroup *cgroup = r == 0 ? container_cgroup(s.container) : NULL;
	ssize_t count = cgroup ? cgroup_pids(cgroup, &pids, &e) : r;
	/* Without a cgroup (rootless) at least its first process is known. */
	pid_t init = s.loaded && s.record.status != CONTAINER_STOPPED ? s.record.pid : 0;
	int status;
	if (r < 0)
		status = oci_fail(oci, &e);
	else if (count <= 0 && init)
		status = json ? print_pids(&init, 1)
			      : print_table(oci, &init, 1, argc - optind - 1, argv + optind + 1);
	else if (count < 0)
		status = oci_fail(oci, &e);
	else
		status = json ? print_pids(pids, (size_t)count)
			      : print_table(oci, pids, (size_t)count, argc - optind - 1, argv + optind + 1);
	session_close(&s);
	return status;
}

/* --- features ----------------------------------------------------------------------------------------------- */

int command_features(struct oci *oci, int argc, char **argv)
{
	const struct features_context context = {
		.version = OCI_VERSION,
		.cgroup_v1 = true,
		.cgroup_v2 = true,
		.systemd = true,
	};
	_cleanup_buf_ struct buf out = BUF_INIT;

	if (argc > 1)
		return oci_usage(oci);
	return features_json(&context, &out) < 0 ? 1 : print_buf(&out);
}
