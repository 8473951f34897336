/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The default specification is a text, as people know it from config.json, and read like one: it can be held against
 * `runc spec` by looking at it. What the options say is laid over it.
 */
#include "ctl/spec.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "ctl/terminal.h"
#include "ctl/units.h"
#include "proto/json.h"
#include "proto/proto.h"

enum { CONFIG_MAX = 16 << 20, CPU_PERIOD_US = 100000, HOSTNAME_MAX = 64 };

static const char default_path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static const char default_spec[] =
	"{'ociVersion': '1.2.0',"
	" 'process': {'user': {'uid': 0, 'gid': 0}, 'cwd': '/', 'noNewPrivileges': true,"
	"  'rlimits': [{'type': 'RLIMIT_NOFILE', 'hard': 1024, 'soft': 1024}]},"
	" 'root': {'readonly': false},"
	" 'mounts': ["
	"  {'destination': '/proc', 'type': 'proc', 'source': 'proc', 'options': ['nosuid', 'noexec', "
	"'nodev']},"
	"  {'destination': '/dev', 'type': 'tmpfs', 'source': 'tmpfs',"
	"   'options': ['nosuid', 'strictatime', 'mode=755', 'size=65536k']},"
	"  {'destination': '/dev/pts', 'type': 'devpts', 'source': 'devpts',"
	"   'options': ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5']},"
	"  {'destination': '/dev/shm', 'type': 'tmpfs', 'source': 'shm',"
	"   'options': ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k']},"
	"  {'destination': '/dev/mqueue', 'type': 'mqueue', 'source': 'mqueue', 'options': ['nosuid', "
	"'noexec', 'nodev']},"
	"  {'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs', 'options': ['nosuid', 'noexec', "
	"'nodev', 'ro']},"
	"  {'destination': '/sys/fs/cgroup', 'type': 'cgroup', 'source': 'cgroup',"
	"   'options': ['nosuid', 'noexec', 'nodev', 'relatime', 'ro']}],"
	" 'linux': {"
	"  'resources': {'devices': [{'allow': false, 'access': 'rwm'}]},"
	"  'namespaces': [{'type': 'pid'}, {'type': 'ipc'}, {'type': 'uts'}, {'type': 'mount'}, {'type': "
	"'cgroup'}],"
	"  'maskedPaths': ['/proc/acpi', '/proc/asound', '/proc/kcore', '/proc/keys', '/proc/latency_stats',"
	"   '/proc/timer_list', '/proc/timer_stats', '/proc/sched_debug', '/sys/firmware', '/proc/scsi'],"
	"  'readonlyPaths': ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']}}";

/* What containers get by default from the usual engines. */
static const char *const default_capabilities[] = {
	"CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FOWNER",      "CAP_FSETID",	      "CAP_KILL",
	"CAP_SETGID",  "CAP_SETUID",	   "CAP_SETPCAP",     "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
	"CAP_SETFCAP", "CAP_MKNOD",	   "CAP_AUDIT_WRITE",
};

static const char *const all_capabilities[] = {
	"CAP_AUDIT_CONTROL",   "CAP_AUDIT_READ",   "CAP_AUDIT_WRITE",
	"CAP_BLOCK_SUSPEND",   "CAP_BPF",	   "CAP_CHECKPOINT_RESTORE",
	"CAP_CHOWN",	       "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",	       "CAP_FSETID",	   "CAP_IPC_LOCK",
	"CAP_IPC_OWNER",       "CAP_KILL",	   "CAP_LEASE",
	"CAP_LINUX_IMMUTABLE", "CAP_MAC_ADMIN",	   "CAP_MAC_OVERRIDE",
	"CAP_MKNOD",	       "CAP_NET_ADMIN",	   "CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST",   "CAP_NET_RAW",	   "CAP_PERFMON",
	"CAP_SETFCAP",	       "CAP_SETGID",	   "CAP_SETPCAP",
	"CAP_SETUID",	       "CAP_SYS_ADMIN",	   "CAP_SYS_BOOT",
	"CAP_SYS_CHROOT",      "CAP_SYS_MODULE",   "CAP_SYS_NICE",
	"CAP_SYS_PACCT",       "CAP_SYS_PTRACE",   "CAP_SYS_RAWIO",
	"CAP_SYS_RESOURCE",    "CAP_SYS_TIME",	   "CAP_SYS_TTY_CONFIG",
	"CAP_SYSLOG",	       "CAP_WAKE_ALARM",
};

static int no_memory(struct error *e)
{
	return error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
}

static char *borrow(const char *text)
{
	return (char *)(uintptr_t)text;
}

/* Appends to a list of pointers that lives in an arena. False: no memory. */
static bool list_add(struct arena *arena, void ***list, size_t *count, const void *element)
{
	void **longer = arena_array(arena, *count + 1, sizeof(void *));

	if (!longer)
		return false;
	if (*count)
		memcpy(longer, *list, *count * sizeof(void *));
	longer[*count] = (void *)(uintptr_t)element;
	*list = longer;
	++*count;
	return true;
}

/* --- capabilities --- */

struct capabilities {
	const char *names[array_length(all_capabilities)];
	size_t count;
};

static const char *capability_known(const char *text)
{
	const char *name = strncasecmp(text, "CAP_", 4) == 0 ? text + 4 : text;

	for (size_t i = 0; i < array_length(all_capabilities); i++) {
		if (strcasecmp(all_capabilities[i] + 4, name) == 0)
			return all_capabilities[i];
	}
	return NULL;
}

static void capability_set(struct capabilities *set, const char *name, bool on)
{
	size_t kept = 0;

	for (size_t i = 0; i < set->count; i++) {
		if (strcmp(set->names[i], name) != 0)
			set->names[kept++] = set->names[i];
	}
	set->count = kept;
	if (on)
		set->names[set->count++] = name;
}

static int capabilities_change(struct capabilities *set, const char **words, size_t count, bool on,
			       struct error *e)
{
	for (size_t i = 0; i < count; i++) {
		const char *name = capability_known(words[i]);

		if (strcasecmp(words[i], "ALL") == 0) {
			for (size_t j = 0; j < array_length(all_capabilities); j++)
				capability_set(set, all_capabilities[j], on);
		} else if (name) {
			capability_set(set, name, on);
		} else {
			return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "unknown capability \"%s\"",
					 words[i]);
		}
	}
	return 0;
}

static int apply_capabilities(Grpc__Process *process, const struct spec_options *o, struct arena *arena,
			      struct error *e)
{
	struct capabilities set = {.count = 0};
	Grpc__LinuxCapabilities *c = process->capabilities;
	char **names;

	if (!o->n_cap_add && !o->n_cap_drop && !o->privileged)
		return 0;
	for (size_t i = 0; c && i < c->n_bounding; i++) {
		const char *name = capability_known(c->bounding[i]);

		if (name)
			capability_set(&set, name, true);
	}
	for (size_t i = 0; o->privileged && i < array_length(all_capabilities); i++)
		capability_set(&set, all_capabilities[i], true);
	/* Dropping first makes `--cap-drop ALL --cap-add KILL` say what it means. */
	if (capabilities_change(&set, o->cap_drop, o->n_cap_drop, false, e) < 0 ||
	    capabilities_change(&set, o->cap_add, o->n_cap_add, true, e) < 0)
		return error_result(e);
	c = proto_new(&grpc__linux_capabilities__descriptor, arena);
	names = arena_memdup(arena, set.names, sizeof(set.names));
	if (!c || !names)
		return no_memory(e);
	c->bounding = c->effective = c->permitted = names;
	c->n_bounding = c->n_effective = c->n_permitted = set.count;
	process->capabilities = c;
	return 0;
}

/* --- process --- */

/* One name once: the last word counts. */
static int env_set(Grpc__Process *process, const char *word, struct arena *arena, struct error *e)
{
	size_t name = strcspn(word, "=");
	const char *here;

	if (!name)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "environment \"%s\" has no name", word);
	if (!word[name]) {
		here = getenv(word);
		if (!here)
			return 0;
		word = arena_printf(arena, "%s=%s", word, here);
		if (!word)
			return no_memory(e);
	}
	for (size_t i = 0; i < process->n_env; i++) {
		if (strncmp(process->env[i], word, name + 1) == 0) {
			process->env[i] = borrow(word);
			return 0;
		}
	}
	return list_add(arena, (void ***)&process->env, &process->n_env, word) ? 0 : no_memory(e);
}

static int apply_user(Grpc__Process *process, const char *text, struct arena *arena, struct error *e)
{
	Grpc__User *user = proto_new(&grpc__user__descriptor, arena);

	if (!user)
		return no_memory(e);
	if (user_parse(text, &user->uid, &user->gid) < 0)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "user \"%s\" is not UID or UID:GID",
				 text);
	user->has_uid = user->has_gid = 1;
	process->user = user;
	return 0;
}

static int apply_terminal(Grpc__Process *process, struct arena *arena, struct error *e)
{
	Grpc__Box *size = proto_new(&grpc__box__descriptor, arena);

	if (!size)
		return no_memory(e);
	process->has_terminal = process->terminal = 1;
	if (terminal_size(0, &size->height, &size->width) || terminal_size(1, &size->height, &size->width)) {
		size->has_height = size->has_width = 1;
		process->consolesize = size;
	}
	return env_set(process, getenv("TERM") ? "TERM" : "TERM=xterm", arena, e);
}

static int apply_process(Grpc__Process *process, const struct spec_options *o, struct arena *arena,
			 struct error *e)
{
	if (o->n_args) {
		process->args = o->args;
		process->n_args = o->n_args;
	}
	if (o->cwd)
		process->cwd = borrow(o->cwd);
	if (o->user && apply_user(process, o->user, arena, e) < 0)
		return error_result(e);
	if (o->tty && apply_terminal(process, arena, e) < 0)
		return error_result(e);
	for (size_t i = 0; i < o->n_env; i++) {
		if (env_set(process, o->env[i], arena, e) < 0)
			return error_result(e);
	}
	return apply_capabilities(process, o, arena, e);
}

Grpc__Process *spec_process(const struct spec_options *options, struct arena *arena, struct error *e)
{
	Grpc__Process *process = proto_new(&grpc__process__descriptor, arena);

	if (!process) {
		no_memory(e);
		return NULL;
	}
	process->cwd = borrow("/");
	if (env_set(process, default_path, arena, e) < 0 || apply_user(process, "0:0", arena, e) < 0 ||
	    apply_process(process, options, arena, e) < 0)
		return NULL;
	return process;
}

/* --- mounts and limits --- */

static int add_volume(Grpc__Spec *spec, const char *text, struct arena *arena, struct error *e)
{
	Grpc__Mount *mount = proto_new(&grpc__mount__descriptor, arena);
	char *copy = arena_strdup(arena, text);
	char *rest = copy;
	char *word;

	if (!mount || !copy)
		return no_memory(e);
	mount->source = strsep(&rest, ":");
	mount->destination = strsep(&rest, ":");
	mount->type = borrow("bind");
	if (!mount->destination || mount->source[0] != '/' || mount->destination[0] != '/')
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "volume \"%s\" is not /SOURCE:/DESTINATION[:OPTIONS]", text);
	if (!list_add(arena, (void ***)&mount->options, &mount->n_options, "rbind"))
		return no_memory(e);
	while ((word = strsep(&rest, ","))) {
		if (*word && !list_add(arena, (void ***)&mount->options, &mount->n_options, word))
			return no_memory(e);
	}
	return list_add(arena, (void ***)&spec->mounts, &spec->n_mounts, mount) ? 0 : no_memory(e);
}

static int apply_memory(Grpc__LinuxResources *resources, const char *text, struct arena *arena,
			struct error *e)
{
	if (!resources->memory)
		resources->memory = proto_new(&grpc__linux_memory__descriptor, arena);
	if (!resources->memory)
		return no_memory(e);
	if (size_parse(text, &resources->memory->limit) < 0 || resources->memory->limit == 0)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "memory \"%s\" is not an amount", text);
	resources->memory->has_limit = 1;
	return 0;
}

static int apply_cpus(Grpc__LinuxResources *resources, const char *text, struct arena *arena, struct error *e)
{
	int64_t thousandths;

	if (!resources->cpu)
		resources->cpu = proto_new(&grpc__linux_cpu__descriptor, arena);
	if (!resources->cpu)
		return no_memory(e);
	if (cpus_parse(text, &thousandths) < 0 || thousandths > INT64_MAX / CPU_PERIOD_US)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "cpus \"%s\" is not a number above 0",
				 text);
	resources->cpu->has_period = resources->cpu->has_quota = 1;
	resources->cpu->period = CPU_PERIOD_US;
	resources->cpu->quota = thousandths * (CPU_PERIOD_US / 1000);
	return 0;
}

static int apply_pids(Grpc__LinuxResources *resources, const char *text, struct arena *arena, struct error *e)
{
	if (!resources->pids)
		resources->pids = proto_new(&grpc__linux_pids__descriptor, arena);
	if (!resources->pids)
		return no_memory(e);
	if (str_to_i64(text, 10, &resources->pids->limit) < 0)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "pids limit \"%s\" is not a number",
				 text);
	resources->pids->has_limit = 1;
	return 0;
}

static int apply_linux(Grpc__Spec *spec, const struct spec_options *o, struct arena *arena, struct error *e)
{
	Grpc__LinuxResources *resources;

	if (!spec->linux)
		spec->linux = proto_new(&grpc__linux__descriptor, arena);
	if (spec->linux && !spec->linux->resources)
		spec->linux->resources = proto_new(&grpc__linux_resources__descriptor, arena);
	if (!spec->linux || !spec->linux->resources)
		return no_memory(e);
	resources = spec->linux->resources;
	if (o->cgroup)
		spec->linux->cgroupspath = borrow(o->cgroup);
	if ((o->memory && apply_memory(resources, o->memory, arena, e) < 0) ||
	    (o->cpus && apply_cpus(resources, o->cpus, arena, e) < 0) ||
	    (o->pids && apply_pids(resources, o->pids, arena, e) < 0))
		return error_result(e);
	if (o->privileged)
		spec->linux->n_maskedpaths = spec->linux->n_readonlypaths = 0;
	return 0;
}

/* --- the whole --- */

int spec_apply(Grpc__Spec *spec, const struct spec_options *o, struct arena *arena, struct error *e)
{
	if (!spec->process)
		spec->process = proto_new(&grpc__process__descriptor, arena);
	if (!spec->root)
		spec->root = proto_new(&grpc__root__descriptor, arena);
	if (!spec->process || !spec->root)
		return no_memory(e);
	if (o->rootfs)
		spec->root->path = borrow(o->rootfs);
	if (o->readonly)
		spec->root->has_readonly = spec->root->readonly = 1;
	if (o->hostname)
		spec->hostname = borrow(o->hostname);
	if (o->privileged)
		spec->process->nonewprivileges = 0;
	for (size_t i = 0; i < o->n_volumes; i++) {
		if (add_volume(spec, o->volumes[i], arena, e) < 0)
			return error_result(e);
	}
	if (apply_linux(spec, o, arena, e) < 0)
		return error_result(e);
	return apply_process(spec->process, o, arena, e);
}

Grpc__Spec *spec_new(const char *container, const struct spec_options *options, struct arena *arena,
		     struct error *e)
{
	char *text = arena_strdup(arena, default_spec);
	Grpc__LinuxCapabilities *c = proto_new(&grpc__linux_capabilities__descriptor, arena);
	Grpc__Spec *spec;

	if (!text || !c) {
		no_memory(e);
		return NULL;
	}
	for (char *at = text; (at = strchr(at, '\''));)
		*at = '"';
	spec = json_decode(&grpc__spec__descriptor, text, strlen(text), true, arena, e);
	if (!spec || env_set(spec->process, default_path, arena, e) < 0)
		return NULL;
	c->bounding = c->effective = c->permitted =
		arena_memdup(arena, default_capabilities, sizeof(default_capabilities));
	spec->linux->cgroupspath = arena_printf(arena, "/kata-ctl-%s", container);
	/* What sethostname(2) takes. */
	spec->hostname = arena_strndup(arena, container, HOSTNAME_MAX);
	if (!c->bounding || !spec->linux->cgroupspath || !spec->hostname) {
		no_memory(e);
		return NULL;
	}
	c->n_bounding = c->n_effective = c->n_permitted = array_length(default_capabilities);
	spec->process->capabilities = c;
	return spec_apply(spec, options, arena, e) < 0 ? NULL : spec;
}

Grpc__Spec *spec_read(const char *path, struct arena *arena, struct error *e)
{
	_cleanup_free_ char *text = NULL;
	ssize_t length = file_read(AT_FDCWD, path, CONFIG_MAX, &text);
	const char *slash = strrchr(path, '/');
	Grpc__Spec *spec;

	if (length < 0) {
		error_errno(e, (int)-length, "read \"%s\"", path);
		return NULL;
	}
	spec = json_decode(&grpc__spec__descriptor, text, (size_t)length, false, arena, e);
	if (!spec) {
		error_prefix(e, "\"%s\"", path);
		return NULL;
	}
	if (spec->root && !str_is_empty(spec->root->path) && spec->root->path[0] != '/' && slash)
		spec->root->path =
			arena_printf(arena, "%.*s/%s", (int)(slash - path), path, spec->root->path);
	return spec;
}
