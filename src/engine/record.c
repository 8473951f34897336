/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The record as JSON, both ways, and how a process is known again. See record.h; a container is made of a record in
 * restore.c.
 */

#include "engine/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "engine/engine_private.h"

enum { RECORD_VERSION = 1, RECORD_MAX = 1 << 20 };

/* --- processes known again ---------------------------------------------------------------------------------- */

struct stat_fields {
	char state;	/* field 3 of stat; '\0': there is no such process */
	uint64_t flags; /* 9 */
	uint64_t start; /* 22; 0: unknown */
};

/* The second field is a name in parentheses, which may contain anything. */
static struct stat_fields read_stat(int proc, pid_t pid)
{
	struct stat_fields out = {.state = '\0'};
	_cleanup_free_ char *text = NULL;
	char path[32], *save = NULL;

	snprintf(path, sizeof(path), "%d/stat", (int)pid);
	if (pid <= 0 || file_read(proc, path, 4096, &text) <= 0)
		return out;
	char *rest = strrchr(text, ')');
	char *field = rest ? strtok_r(rest + 1, " ", &save) : NULL;
	if (field)
		out.state = *field;
	for (int i = 3; field && i <= 22; i++) {
		if (i == 9 && str_to_u64(field, 10, &out.flags) < 0)
			out.flags = 0;
		if (i == 22 && str_to_u64(field, 10, &out.start) < 0)
			out.start = 0;
		field = strtok_r(NULL, " ", &save);
	}
	return out;
}

uint64_t record_start_time(int proc, pid_t pid)
{
	return read_stat(proc, pid).start;
}

int record_unexecuted(int proc, pid_t pid)
{
	const uint64_t forked_only = 0x40; /* PF_FORKNOEXEC, which proc(5) points to <linux/sched.h> for */

	const struct stat_fields stat = read_stat(proc, pid);

	return stat.state ? (stat.flags & forked_only) != 0 : -ESRCH;
}

bool container_record_alive(const struct container_record *record, int proc)
{
	const struct stat_fields stat = read_stat(proc, record->pid);

	return stat.start != 0 && stat.start == record->start_time && stat.state != 'Z' && stat.state != 'X';
}

/* --- from a container --------------------------------------------------------------------------------------- */

void container_record_deinit(struct container_record *record)
{
	free(record->id);
	free(record->bundle);
	free(record->rootfs);
	free(record->cgroup);
	free(record->extra);
	*record = (struct container_record){.id = NULL};
}

int container_record_make(const struct container *container, struct container_record *out)
{
	const Grpc__Spec *spec = container->spec;

	*out = (struct container_record){
		.id = strdup(container->id),
		.bundle = strdup(container->bundle),
		.rootfs = strdup(spec->root ? str_or_empty(spec->root->path) : ""),
		.status = container->status,
		.pid = container->init ? container->init->pid : 0,
		.start_time = container->init_start,
		.namespaces = container->namespaces,
		.cgroup = strdup(spec->linux ? str_or_empty(spec->linux->cgroupspath) : ""),
		.driver = container->cgroup ? cgroup_driver_of(container->cgroup) : CGROUP_CGROUPFS,
		.own_user = container->engine->options.rootless,
		.created = container->created_at,
	};
	if (out->id && out->bundle && out->rootfs && out->cgroup)
		return 0;
	container_record_deinit(out);
	return -ENOMEM;
}

/* --- as a file ---------------------------------------------------------------------------------------------- */

static char *encode(const struct container_record *record)
{
	json_t *object = json_pack("{s:i, s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:s, s:s, s:b, s:I}", "version",
				   RECORD_VERSION, "id", record->id, "bundle", record->bundle, "rootfs",
				   record->rootfs, "status", container_status_name(record->status), "pid",
				   (json_int_t)record->pid, "startTime", (json_int_t)record->start_time,
				   "namespaces", record->namespaces, "cgroupsPath", record->cgroup,
				   "cgroupDriver", record->driver == CGROUP_SYSTEMD ? "systemd" : "cgroupfs",
				   "ownUser", (int)record->own_user, "created", (json_int_t)record->created);

	if (object && record->extra)
		json_object_set_new(object, "extra", json_string(record->extra));
	char *text = object ? json_dumps(object, JSON_INDENT(1)) : NULL;
	json_decref(object);
	return text;
}

int container_record_save(const struct container_record *record, int dirfd, const char *name, struct error *e)
{
	_cleanup_free_ char *text = encode(record);
	char temporary[NAME_MAX + 1];

	if (!text)
		return error_errno(e, ENOMEM, "record \"%s\"", name);
	int n = snprintf(temporary, sizeof(temporary), ".%s.%d", name, (int)getpid());
	if (n < 0 || (size_t)n >= sizeof(temporary))
		return error_errno(e, ENAMETOOLONG, "record \"%s\"", name);
	_cleanup_fd_ int fd =
		openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(e, errno, "write record \"%s\"", name);
	int r = fd_write_all(fd, text, strlen(text));
	if (r == 0 && renameat(dirfd, temporary, dirfd, name) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dirfd, temporary, 0);
		return error_errno(e, -r, "write record \"%s\"", name);
	}
	return 0;
}

static bool get_text(const json_t *object, const char *key, char **out)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text && (*out = strdup(text));
}

static bool get_number(const json_t *object, const char *key, json_int_t max, json_int_t *out)
{
	const json_t *value = json_object_get(object, key);

	*out = json_integer_value(value);
	return json_is_integer(value) && *out >= 0 && *out <= max;
}

static bool get_status(const json_t *object, enum container_status *out)
{
	const char *text = json_string_value(json_object_get(object, "status"));

	for (enum container_status s = CONTAINER_CREATING; text && s <= CONTAINER_STOPPED; s++) {
		if (str_equal(text, container_status_name(s))) {
			*out = s;
			return true;
		}
	}
	return false;
}

static bool get_driver(const json_t *object, enum cgroup_driver *out)
{
	const char *text = json_string_value(json_object_get(object, "cgroupDriver"));

	*out = str_equal(text, "systemd") ? CGROUP_SYSTEMD : CGROUP_CGROUPFS;
	return str_equal(text, "systemd") || str_equal(text, "cgroupfs");
}

static bool decode(const json_t *object, struct container_record *out)
{
	const json_t *extra = json_object_get(object, "extra");
	json_int_t version, pid, start, namespaces, created;

	if (!get_number(object, "version", RECORD_VERSION, &version) || version != RECORD_VERSION)
		return false;
	if (!get_text(object, "id", &out->id) || !id_valid(out->id) ||
	    !get_text(object, "bundle", &out->bundle) || !get_text(object, "rootfs", &out->rootfs) ||
	    !get_text(object, "cgroupsPath", &out->cgroup))
		return false;
	if (!get_number(object, "pid", INT_MAX, &pid) ||
	    !get_number(object, "startTime", LLONG_MAX, &start) ||
	    !get_number(object, "namespaces", INT_MAX, &namespaces) ||
	    !get_number(object, "created", LLONG_MAX, &created))
		return false;
	out->pid = (pid_t)pid;
	out->start_time = (uint64_t)start;
	out->namespaces = (int)namespaces;
	out->created = (uint64_t)created;
	out->own_user = json_is_true(json_object_get(object, "ownUser"));
	if (extra && !get_text(object, "extra", &out->extra))
		return false;
	return get_status(object, &out->status) && get_driver(object, &out->driver);
}

int container_record_parse(const char *text, size_t length, struct container_record *out, struct error *e)
{
	json_error_t json_error;
	json_t *object = json_loadb(text, length, JSON_REJECT_DUPLICATES, &json_error);

	*out = (struct container_record){.id = NULL};
	bool good = json_is_object(object) && decode(object, out);
	json_decref(object);
	if (good)
		return 0;
	container_record_deinit(out);
	return error_set(e, STATUS_INTERNAL, EINVAL, "this is no record of a container");
}

int container_record_load(int dirfd, const char *name, struct container_record *out, struct error *e)
{
	_cleanup_free_ char *text = NULL;
	ssize_t length = file_read(dirfd, name, RECORD_MAX, &text);

	*out = (struct container_record){.id = NULL};
	if (length == -ENOENT)
		return error_set(e, STATUS_NOT_FOUND, ENOENT, "there is no record \"%s\"", name);
	if (length < 0)
		return error_errno(e, (int)-length, "read record \"%s\"", name);
	int r = container_record_parse(text, (size_t)length, out, e);
	return r < 0 ? error_prefix(e, "record \"%s\"", name) : 0;
}
