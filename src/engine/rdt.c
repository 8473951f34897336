/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resctrl groups. The rules about which directory is ours are those of the runtime-spec (config-linux, intelRdt): without
 * a closID the class is the container's own, made here and removed with it; with one it belongs to whoever configured it
 * first: it may be joined, but what it is set to must be what is asked for.
 */
#include "engine/rdt.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/str.h"

#define RESCTRL_ROOT "/sys/fs/resctrl"

enum { RESCTRL_MAGIC = 0x7655821, SCHEMATA_MAX = 64 << 10 };

struct rdt {
	char *class;	  /* directory of the class */
	char *monitoring; /* directory below its mon_groups, or NULL */
	bool own_class;	  /* we made it */
	bool own_monitoring;
};

const char *rdt_root(void)
{
	struct statfs fs;
	return statfs(RESCTRL_ROOT, &fs) == 0 && fs.f_type == RESCTRL_MAGIC ? RESCTRL_ROOT : NULL;
}

static bool wants_monitoring(const Grpc__LinuxIntelRdt *in)
{
	return in->enablemonitoring || in->enablecmt || in->enablembm;
}

void rdt_free(struct rdt *rdt)
{
	if (!rdt)
		return;
	free(rdt->class);
	free(rdt->monitoring);
	free(rdt);
}

static struct rdt *rdt_name(const char *root, const Grpc__LinuxIntelRdt *in, const char *container_id)
{
	struct rdt *rdt = calloc(1, sizeof(*rdt));
	bool named = !str_is_empty(in->closid);

	if (!rdt)
		return NULL;
	if (asprintf(&rdt->class, "%s/%s", root, named ? in->closid : container_id) < 0)
		rdt->class = NULL;
	if (rdt->class && wants_monitoring(in) &&
	    asprintf(&rdt->monitoring, "%s/mon_groups/%s", rdt->class, container_id) < 0)
		rdt->monitoring = NULL;
	if (!rdt->class || (wants_monitoring(in) && !rdt->monitoring)) {
		rdt_free(rdt);
		return NULL;
	}
	return rdt;
}

struct rdt *rdt_find(const char *root, const Grpc__LinuxIntelRdt *in, const char *container_id)
{
	if (!in || !root)
		return NULL;
	struct rdt *rdt = rdt_name(root, in, container_id);
	if (rdt) {
		rdt->own_class = str_is_empty(in->closid);
		rdt->own_monitoring = rdt->monitoring != NULL;
	}
	return rdt;
}

/* --- schemata ----------------------------------------------------------------------------------------------- */

/* Appends the lines of @text; those that begin with @except (or NULL) are left out. */
static void append_lines(struct buf *out, const char *text, const char *except)
{
	for (const char *line = text; line && *line;) {
		size_t length = strcspn(line, "\n");
		if (length && !(except && strncmp(line, except, strlen(except)) == 0)) {
			buf_append(out, line, length);
			buf_append_char(out, '\n');
		}
		line += length + (line[length] == '\n');
	}
}

static int wanted_schemata(const Grpc__LinuxIntelRdt *in, struct buf *out)
{
	bool bandwidth = !str_is_empty(in->membwschema);

	append_lines(out, in->l3cacheschema, bandwidth ? "MB:" : NULL);
	append_lines(out, in->membwschema, NULL);
	for (size_t i = 0; i < in->n_schemata; i++)
		append_lines(out, in->schemata[i], NULL);
	return out->failed ? -ENOMEM : 0;
}

/* The value of domain @id in "NAME:0=f;1=ff", of @length bytes. */
static bool domain_value(const char *line, size_t length, uint64_t id, uint64_t *value)
{
	const char *end = line + length, *p = memchr(line, ':', length);

	while (p && p < end) {
		uint64_t number = 0, found = 0;
		char next = 0;
		char item[64];
		size_t item_length = strcspn(p + 1, ";\n");
		(void)snprintf(item, sizeof(item), "%.*s", (int)(item_length < 63 ? item_length : 63), p + 1);
		if (sscanf(item, "%" SCNu64 "=%" SCNx64 "%c", &number, &found, &next) >= 2 && number == id) {
			*value = found;
			return true;
		}
		p = memchr(p + 1, ';', (size_t)(end - p - 1));
	}
	return false;
}

/* Is what @line wants already so in @existing? */
static bool line_holds(const char *line, size_t length, const char *existing)
{
	const char *colon = memchr(line, ':', length);

	if (!colon)
		return false;
	for (const char *other = existing; *other; other += strcspn(other, "\n"), other += *other == '\n') {
		/* The kernel indents names. */
		other += strspn(other, " ");
		size_t name_length = (size_t)(colon - line) + 1;
		if (strncmp(other, line, name_length) != 0)
			continue;
		for (uint64_t id = 0; id < 256; id++) {
			uint64_t want, have;
			if (domain_value(line, length, id, &want) &&
			    (!domain_value(other, strcspn(other, "\n"), id, &have) || want != have))
				return false;
		}
		return true;
	}
	return false;
}

static int compare_schemata(const char *class, const char *wanted, struct error *e)
{
	_cleanup_free_ char *path = NULL, *existing = NULL;

	if (asprintf(&path, "%s/schemata", class) < 0) {
		path = NULL;
		return error_errno(e, ENOMEM, "read schemata");
	}
	ssize_t length = file_read(AT_FDCWD, path, SCHEMATA_MAX, &existing);
	if (length < 0)
		return error_errno(e, (int)-length, "read \"%s\"", path);
	for (const char *line = wanted; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		if (!line_holds(line, strcspn(line, "\n"), existing))
			return error_set(e, STATUS_FAILED_PRECONDITION, EEXIST,
					 "the class exists and its schemata do not have \"%.*s\"",
					 (int)strcspn(line, "\n"), line);
	}
	return 0;
}

/* The kernel takes several lines in one write. */
static int write_schemata(const char *class, const char *wanted, struct error *e)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/schemata", class) < 0) {
		path = NULL;
		return error_errno(e, ENOMEM, "write schemata");
	}
	int r = file_write(AT_FDCWD, path, wanted);
	return r < 0 ? error_errno(e, -r, "write \"%s\"", path) : 0;
}

/* --- life --------------------------------------------------------------------------------------------------- */

static int make_class(struct rdt *rdt, const Grpc__LinuxIntelRdt *in, const char *wanted, struct error *e)
{
	bool named = !str_is_empty(in->closid);

	if (named && !*wanted) {
		if (access(rdt->class, F_OK) == 0)
			return 0;
		return error_set(e, STATUS_FAILED_PRECONDITION, ENOENT,
				 "closID \"%s\" has no schemata here and its class does not exist",
				 in->closid);
	}
	if (mkdir(rdt->class, 0755) == 0)
		rdt->own_class = true;
	else if (errno != EEXIST)
		return error_errno(e, errno, "make \"%s\"", rdt->class);
	if (!*wanted)
		return 0;
	if (!rdt->own_class && named)
		return compare_schemata(rdt->class, wanted, e);
	return write_schemata(rdt->class, wanted, e);
}

static int make_monitoring(struct rdt *rdt, struct error *e)
{
	if (!rdt->monitoring)
		return 0;
	if (mkdir(rdt->monitoring, 0755) == 0)
		rdt->own_monitoring = true;
	else if (errno != EEXIST)
		return error_errno(e, errno, "make \"%s\"", rdt->monitoring);
	return 0;
}

int rdt_new(const char *root, const Grpc__LinuxIntelRdt *in, const char *container_id, struct rdt **out,
	    struct error *e)
{
	_cleanup_buf_ struct buf wanted = BUF_INIT;

	*out = NULL;
	if (!in)
		return 0;
	if (!root)
		return error_set(e, STATUS_FAILED_PRECONDITION, ENOENT,
				 "linux.intelRdt: resctrl is not mounted");
	struct rdt *rdt = rdt_name(root, in, container_id);
	const char *text = wanted_schemata(in, &wanted) == 0 ? buf_string(&wanted) : NULL;
	if (!rdt || !text) {
		rdt_free(rdt);
		return error_errno(e, ENOMEM, "linux.intelRdt");
	}
	int r = make_class(rdt, in, text, e);
	if (r == 0)
		r = make_monitoring(rdt, e);
	if (r < 0) {
		(void)rdt_remove(rdt, NULL);
		rdt_free(rdt);
		return error_prefix(e, "linux.intelRdt");
	}
	*out = rdt;
	return 0;
}

static int add_task(const char *directory, pid_t pid, struct error *e)
{
	_cleanup_free_ char *path = NULL;
	char text[16];

	(void)snprintf(text, sizeof(text), "%d", (int)pid);
	if (asprintf(&path, "%s/tasks", directory) < 0) {
		path = NULL;
		return error_errno(e, ENOMEM, "linux.intelRdt");
	}
	int r = file_write(AT_FDCWD, path, text);
	return r < 0 ? error_errno(e, -r, "linux.intelRdt: add %s to \"%s\"", text, path) : 0;
}

int rdt_attach(const struct rdt *rdt, pid_t pid, struct error *e)
{
	if (!rdt)
		return 0;
	int r = add_task(rdt->class, pid, e);
	if (r == 0 && rdt->monitoring)
		r = add_task(rdt->monitoring, pid, e);
	return r;
}

int rdt_remove(struct rdt *rdt, struct error *e)
{
	int r = 0;

	if (!rdt)
		return 0;
	if (rdt->own_monitoring && rmdir(rdt->monitoring) < 0 && errno != ENOENT)
		r = error_errno(e, errno, "linux.intelRdt: remove \"%s\"", rdt->monitoring);
	if (rdt->own_class && rmdir(rdt->class) < 0 && errno != ENOENT && r == 0)
		r = error_errno(e, errno, "linux.intelRdt: remove \"%s\"", rdt->class);
	rdt->own_monitoring = rdt->own_class = false;
	return r;
}

int rdt_update(const char *root, const Grpc__LinuxIntelRdt *in, const char *container_id, struct error *e)
{
	_cleanup_buf_ struct buf wanted = BUF_INIT;

	if (!root)
		return error_set(e, STATUS_FAILED_PRECONDITION, ENOENT,
				 "linux.intelRdt: resctrl is not mounted");
	struct rdt *rdt = rdt_name(root, in, container_id);
	const char *text = wanted_schemata(in, &wanted) == 0 ? buf_string(&wanted) : NULL;
	int r = rdt && text ? write_schemata(rdt->class, text, e) : error_errno(e, ENOMEM, "schemata");
	rdt_free(rdt);
	return r < 0 ? error_prefix(e, "linux.intelRdt") : 0;
}
