/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime-spec's rules, one function per part of the configuration, in the order of config.json. The first broken
 * rule ends it. Nothing here touches the system but to ask what it is; paths are judged by their form only, because what
 * they point to may change until it is used.
 */
#include "engine/validate.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/fd.h"
#include "base/str.h"
#include "engine/lsm.h"
#include "engine/netdevice.h"
#include "engine/scheduling.h"
#include "engine/seccomp_filter.h"
#include "engine/sysctl.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

#define invalid(e, ...) error_set((e), STATUS_INVALID_ARGUMENT, EINVAL, __VA_ARGS__)

/* --- words -------------------------------------------------------------------------------------------------- */

static const struct namespace_word {
	const char *name;   /* the runtime-spec's */
	const char *short_; /* the kernel's, and runtime-rs's */
	int flag;
} namespaces[] = {
	{"pid", "pid", CLONE_NEWPID},	       {"network", "net", CLONE_NEWNET},
	{"mount", "mnt", CLONE_NEWNS},	       {"ipc", "ipc", CLONE_NEWIPC},
	{"uts", "uts", CLONE_NEWUTS},	       {"user", "user", CLONE_NEWUSER},
	{"cgroup", "cgroup", CLONE_NEWCGROUP}, {"time", "time", CLONE_NEWTIME},
};

int namespace_flag(const char *type)
{
	for (size_t i = 0; type && i < array_length(namespaces); i++) {
		if (strcmp(namespaces[i].name, type) == 0 || strcmp(namespaces[i].short_, type) == 0)
			return namespaces[i].flag;
	}
	return 0;
}

const char *namespace_name(int flag)
{
	for (size_t i = 0; i < array_length(namespaces); i++) {
		if (namespaces[i].flag == flag)
			return namespaces[i].name;
	}
	return NULL;
}

const char *namespace_file(int flag)
{
	for (size_t i = 0; i < array_length(namespaces); i++) {
		if (namespaces[i].flag == flag)
			return namespaces[i].short_;
	}
	return NULL;
}

const Grpc__LinuxNamespace *namespace_find(const Grpc__Spec *spec, int flag)
{
	for (size_t i = 0; spec && spec->linux && i < spec->linux->n_namespaces; i++) {
		if (namespace_flag(spec->linux->namespaces[i]->type) == flag)
			return spec->linux->namespaces[i];
	}
	return NULL;
}

int rlimit_resource(const char *type)
{
	static const struct {
		const char *name;
		int resource;
	} limits[] = {
		{"AS", RLIMIT_AS},	     {"CORE", RLIMIT_CORE},	    {"CPU", RLIMIT_CPU},
		{"DATA", RLIMIT_DATA},	     {"FSIZE", RLIMIT_FSIZE},	    {"LOCKS", RLIMIT_LOCKS},
		{"MEMLOCK", RLIMIT_MEMLOCK}, {"MSGQUEUE", RLIMIT_MSGQUEUE}, {"NICE", RLIMIT_NICE},
		{"NOFILE", RLIMIT_NOFILE},   {"NPROC", RLIMIT_NPROC},	    {"RSS", RLIMIT_RSS},
		{"RTPRIO", RLIMIT_RTPRIO},   {"RTTIME", RLIMIT_RTTIME},	    {"SIGPENDING", RLIMIT_SIGPENDING},
		{"STACK", RLIMIT_STACK},
	};

	if (!type || !str_starts_with(type, "RLIMIT_"))
		return -1;
	for (size_t i = 0; i < array_length(limits); i++) {
		if (strcmp(limits[i].name, type + strlen("RLIMIT_")) == 0)
			return limits[i].resource;
	}
	return -1;
}

/* --- process ------------------------------------------------------------------------------------------------ */

static int check_rlimits(const Grpc__Process *process, const char *prefix, struct error *e)
{
	uint32_t seen = 0;

	for (size_t i = 0; i < process->n_rlimits; i++) {
		const Grpc__POSIXRlimit *limit = process->rlimits[i];
		int resource = rlimit_resource(limit->type);
		if (resource < 0)
			return invalid(e, "%s.rlimits[%zu].type: unknown limit \"%s\"", prefix, i,
				       str_or_empty(limit->type));
		if (seen & (1U << resource))
			return invalid(e, "%s.rlimits[%zu].type: %s is listed twice", prefix, i, limit->type);
		seen |= 1U << resource;
		if (limit->soft > limit->hard)
			return invalid(e,
				       "%s.rlimits[%zu].soft: %" PRIu64 " is above the hard limit %" PRIu64,
				       prefix, i, limit->soft, limit->hard);
	}
	return 0;
}

static bool id_mapped(Grpc__LinuxIDMapping *const *mappings, size_t count, uint32_t id)
{
	for (size_t i = 0; i < count; i++) {
		const Grpc__LinuxIDMapping *m = mappings[i];
		if (id >= m->containerid && id - m->containerid < m->size)
			return true;
	}
	return false;
}

/* Ids of the process exist in its user namespace. */
static int check_user(const Grpc__User *user, const Grpc__Spec *spec, const char *prefix, struct error *e)
{
	static const Grpc__User root = GRPC__USER__INIT;
	const Grpc__Linux *linux = spec ? spec->linux : NULL;

	if (!user)
		user = &root;
	if (user->has_umask && user->umask > 0777)
		return invalid(e, "%s.user.umask: %#o is more than 0777", prefix, user->umask);
	if (!linux || !linux->n_uidmappings || !linux->n_gidmappings)
		return 0;
	if (!id_mapped(linux->uidmappings, linux->n_uidmappings, user->uid))
		return invalid(e, "%s.user.uid: %" PRIu32 " is not in linux.uidMappings", prefix, user->uid);
	if (!id_mapped(linux->gidmappings, linux->n_gidmappings, user->gid))
		return invalid(e, "%s.user.gid: %" PRIu32 " is not in linux.gidMappings", prefix, user->gid);
	for (size_t i = 0; i < user->n_additionalgids; i++) {
		if (!id_mapped(linux->gidmappings, linux->n_gidmappings, user->additionalgids[i]))
			return invalid(e,
				       "%s.user.additionalGids[%zu]: %" PRIu32 " is not in linux.gidMappings",
				       prefix, i, user->additionalgids[i]);
	}
	return 0;
}

static int check_affinity(const char *list, const char *prefix, const char *member, struct error *e)
{
	uint64_t mask[8192 / 64];

	if (!str_is_empty(list) && number_list_parse(list, mask, array_length(mask)) < 0)
		return invalid(e, "%s.execCPUAffinity.%s: \"%s\" is no list of CPUs", prefix, member, list);
	return 0;
}

static int check_priorities(const Grpc__Process *process, const char *prefix, struct error *e)
{
	char property[64];

	if (process->has_oomscoreadj && (process->oomscoreadj < -1000 || process->oomscoreadj > 1000))
		return invalid(e, "%s.oomScoreAdj: %" PRId64 " is not within -1000 … 1000", prefix,
			       process->oomscoreadj);
	(void)snprintf(property, sizeof(property), "%.40s.scheduler", prefix);
	int r = scheduler_validate(process->scheduler, property, e);
	if (r < 0)
		return r;
	(void)snprintf(property, sizeof(property), "%.40s.ioPriority", prefix);
	r = io_priority_validate(process->iopriority, property, e);
	if (r < 0 || !process->execcpuaffinity)
		return r;
	r = check_affinity(process->execcpuaffinity->initial, prefix, "initial", e);
	return r < 0 ? r : check_affinity(process->execcpuaffinity->final, prefix, "final", e);
}

int process_validate(const Grpc__Process *process, const Grpc__Spec *spec, const char *prefix,
		     struct error *e)
{
	if (!process)
		return invalid(e, "%s: is missing", prefix);
	if (!process->n_args)
		return invalid(e, "%s.args: must not be empty", prefix);
	if (str_is_empty(process->cwd))
		return invalid(e, "%s.cwd: must not be empty", prefix);
	if (process->cwd[0] != '/')
		return invalid(e, "%s.cwd: \"%s\" is not an absolute path", prefix, process->cwd);
	if (!str_is_empty(process->selinuxlabel) && !selinux_label_valid(process->selinuxlabel))
		return invalid(e, "%s.selinuxLabel: SELinux label for the process is invalid format: %s",
			       prefix, process->selinuxlabel);
	int r = check_user(process->user, spec, prefix, e);
	if (r == 0)
		r = check_rlimits(process, prefix, e);
	if (r == 0)
		r = check_priorities(process, prefix, e);
	return r;
}

/* --- mounts and hooks --------------------------------------------------------------------------------------- */

static bool has_option(const Grpc__Mount *mount, const char *name)
{
	for (size_t i = 0; i < mount->n_options; i++) {
		if (strcmp(mount->options[i], name) == 0)
			return true;
	}
	return false;
}

static int check_mount(const Grpc__Mount *mount, size_t i, const Grpc__Spec *spec, bool user_namespace,
		       struct error *e)
{
	bool idmap = has_option(mount, "idmap") || has_option(mount, "ridmap");

	if (str_is_empty(mount->destination))
		return invalid(e, "mounts[%zu].destination: must not be empty", i);
	if (!mount->n_uidmappings != !mount->n_gidmappings)
		return invalid(e, "mounts[%zu]: uidMappings and gidMappings must be given together", i);
	if (!idmap && !mount->n_uidmappings)
		return 0;
	bool bind = str_equal(mount->type, "bind") || has_option(mount, "bind") || has_option(mount, "rbind");
	if (!bind)
		return invalid(e, "mounts[%zu].uidMappings: only bind mounts can be idmapped", i);
	if (mount->n_uidmappings)
		return 0;
	if (!user_namespace || !spec->linux)
		return invalid(
			e,
			"mounts[%zu].options: idmap needs uidMappings and gidMappings, or a user namespace",
			i);
	return 0;
}

static int check_mounts(const Grpc__Spec *spec, int flags, struct error *e)
{
	for (size_t i = 0; i < spec->n_mounts; i++) {
		int r = check_mount(spec->mounts[i], i, spec, flags & CLONE_NEWUSER, e);
		if (r < 0)
			return r;
	}
	if (spec->n_mounts && !(flags & CLONE_NEWNS))
		return invalid(e, "mounts: need a namespace of type mount of the container's own");
	return 0;
}

static int check_hooks(Grpc__Hook *const *hooks, size_t count, const char *kind, bool wire, struct error *e)
{
	for (size_t i = 0; i < count; i++) {
		if (str_is_empty(hooks[i]->path) || hooks[i]->path[0] != '/')
			return invalid(e, "hooks.%s[%zu].path: \"%s\" is not an absolute path", kind, i,
				       str_or_empty(hooks[i]->path));
		/* A host's zero is none. */
		if (hooks[i]->has_timeout && hooks[i]->timeout <= 0 && !(wire && hooks[i]->timeout == 0))
			return invalid(e, "hooks.%s[%zu].timeout: must be greater than zero", kind, i);
	}
	return 0;
}

static int check_all_hooks(const Grpc__Hooks *hooks, bool wire, struct error *e)
{
	if (!hooks)
		return 0;
	const struct {
		Grpc__Hook *const *list;
		size_t count;
		const char *kind;
	} lists[] = {
		{hooks->prestart, hooks->n_prestart, "prestart"},
		{hooks->createruntime, hooks->n_createruntime, "createRuntime"},
		{hooks->createcontainer, hooks->n_createcontainer, "createContainer"},
		{hooks->startcontainer, hooks->n_startcontainer, "startContainer"},
		{hooks->poststart, hooks->n_poststart, "poststart"},
		{hooks->poststop, hooks->n_poststop, "poststop"},
	};
	for (size_t i = 0; i < array_length(lists); i++) {
		int r = check_hooks(lists[i].list, lists[i].count, lists[i].kind, wire, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- linux -------------------------------------------------------------------------------------------------- */

static int collect_namespaces(const Grpc__Linux *linux, int *flags, struct error *e)
{
	int seen = 0;

	for (size_t i = 0; i < linux->n_namespaces; i++) {
		const Grpc__LinuxNamespace *ns = linux->namespaces[i];
		int flag = namespace_flag(ns->type);
		if (!flag)
			return invalid(e, "linux.namespaces[%zu].type: unknown namespace \"%s\"", i,
				       str_or_empty(ns->type));
		if (seen & flag)
			return invalid(e, "linux.namespaces[%zu].type: %s is listed twice", i, ns->type);
		if (!str_is_empty(ns->path) && ns->path[0] != '/')
			return invalid(e, "linux.namespaces[%zu].path: \"%s\" is not an absolute path", i,
				       ns->path);
		seen |= flag;
	}
	*flags |= seen;
	return 0;
}

static int check_mappings(Grpc__LinuxIDMapping *const *mappings, size_t count, const char *name,
			  struct error *e)
{
	for (size_t i = 0; i < count; i++) {
		const Grpc__LinuxIDMapping *m = mappings[i];
		uint32_t end;
		if (m->size == 0)
			return invalid(e, "linux.%s[%zu].size: must not be 0", name, i);
		if (__builtin_add_overflow(m->containerid, m->size - 1, &end) ||
		    __builtin_add_overflow(m->hostid, m->size - 1, &end))
			return invalid(e, "linux.%s[%zu].size: the range ends beyond the last id", name, i);
	}
	return 0;
}

static int check_user_namespace(const Grpc__Spec *spec, const struct validate_context *context, int flags,
				struct error *e)
{
	const Grpc__Linux *linux = spec->linux;
	const Grpc__LinuxNamespace *user = namespace_find(spec, CLONE_NEWUSER);
	bool joins = (context->joined & CLONE_NEWUSER) || (user && !str_is_empty(user->path));

	if (!(flags & CLONE_NEWUSER)) {
		if (linux->n_uidmappings || linux->n_gidmappings)
			return invalid(e, "linux.%s: needs a namespace of type user",
				       linux->n_uidmappings ? "uidMappings" : "gidMappings");
		if (context->rootless)
			return invalid(e,
				       "linux.namespaces: rootless containers need a namespace of type user");
		return 0;
	}
	int r = check_mappings(linux->uidmappings, linux->n_uidmappings, "uidMappings", e);
	if (r == 0)
		r = check_mappings(linux->gidmappings, linux->n_gidmappings, "gidMappings", e);
	if (r < 0 || joins)
		return r;
	if (!linux->n_uidmappings || !linux->n_gidmappings)
		return invalid(e, "linux.%s: a new user namespace needs it",
			       linux->n_uidmappings ? "gidMappings" : "uidMappings");
	return 0;
}

static int check_devices(const Grpc__Linux *linux, struct error *e)
{
	for (size_t i = 0; i < linux->n_devices; i++) {
		const Grpc__LinuxDevice *device = linux->devices[i];
		const char *type = str_or_empty(device->type);
		if (strlen(type) != 1 || !strchr("cubp", *type))
			return invalid(e, "linux.devices[%zu].type: unknown type \"%s\"", i, type);
		if (str_is_empty(device->path) || device->path[0] != '/')
			return invalid(e, "linux.devices[%zu].path: \"%s\" is not an absolute path", i,
				       str_or_empty(device->path));
		if (*type != 'p' && (device->major < 0 || device->minor < 0 || device->major > 0xfff ||
				     device->minor > 0xfffff))
			return invalid(e, "linux.devices[%zu]: %" PRId64 ":%" PRId64 " is no device number",
				       i, device->major, device->minor);
	}
	return 0;
}

/* A namespace that is joined is somebody else's view too: what covers its paths for us would cover them there. */
static bool has_new_mounts(const Grpc__Spec *spec, const struct validate_context *context)
{
	const Grpc__LinuxNamespace *mount = namespace_find(spec, CLONE_NEWNS);

	return mount && str_is_empty(mount->path) && !(context->joined & CLONE_NEWNS);
}

static int check_root(const Grpc__Spec *spec, const struct validate_context *context, struct error *e)
{
	if (spec->root->readonly && !has_new_mounts(spec, context))
		return invalid(e, "root.readonly: needs a namespace of type mount of the container's own");
	return 0;
}

static int check_paths(char *const *paths, size_t count, const char *name, bool own, struct error *e)
{
	if (count && !own)
		return invalid(e, "linux.%s: needs a namespace of type mount of the container's own", name);
	for (size_t i = 0; i < count; i++) {
		if (paths[i][0] != '/')
			return invalid(e, "linux.%s[%zu]: \"%s\" is not an absolute path", name, i, paths[i]);
	}
	return 0;
}

static int check_sysctls(const Grpc__Spec *spec, const struct validate_context *context, int flags,
			 struct error *e)
{
	for (size_t i = 0; i < spec->linux->n_sysctl; i++) {
		const Grpc__Linux__SysctlEntry *entry = spec->linux->sysctl[i];
		char path[SYSCTL_PATH_MAX];
		int r = sysctl_validate(entry->key, flags, context->wire, e);
		if (r < 0)
			return error_prefix(e, "linux.sysctl");
		if (!str_is_empty(spec->domainname) && sysctl_path(entry->key, path) == 0 &&
		    str_equal(path, "kernel/domainname") && !str_equal(spec->domainname, entry->value))
			return invalid(e, "linux.sysctl: kernel.domainname conflicts with `domainname`");
	}
	return 0;
}

static int check_seccomp_syscall(const Grpc__LinuxSyscall *syscall, size_t i, bool wire, struct error *e)
{
	if (!seccomp_action_known(syscall->action))
		return invalid(e, "linux.seccomp.syscalls[%zu].action: unknown action \"%s\"", i,
			       str_or_empty(syscall->action));
	if (syscall->has_errnoret && !seccomp_action_has_errno(syscall->action) &&
	    !(wire && syscall->errnoret == 0))
		return invalid(e, "linux.seccomp.syscalls[%zu].errnoRet: %s takes no errno", i,
			       syscall->action);
	if (!syscall->n_names)
		return invalid(e, "linux.seccomp.syscalls[%zu].names: must not be empty", i);
	for (size_t k = 0; k < syscall->n_args; k++) {
		const Grpc__LinuxSeccompArg *arg = syscall->args[k];
		if (!seccomp_operator_known(arg->op))
			return invalid(e, "linux.seccomp.syscalls[%zu].args[%zu].op: unknown operator \"%s\"",
				       i, k, str_or_empty(arg->op));
		if (arg->index > 5)
			return invalid(e,
				       "linux.seccomp.syscalls[%zu].args[%zu].index: %" PRIu64
				       " is not within 0 … 5",
				       i, k, arg->index);
	}
	return 0;
}

static int check_seccomp(const Grpc__LinuxSeccomp *seccomp, bool wire, struct error *e)
{
	bool notifies = false;

	if (!seccomp)
		return 0;
	/* The hosts' messages can be there and empty; config.json cannot. */
	if (str_is_empty(seccomp->defaultaction) && wire && !seccomp->n_syscalls && !seccomp->n_architectures)
		return 0;
	if (!seccomp_action_known(seccomp->defaultaction))
		return invalid(e, "linux.seccomp.defaultAction: unknown action \"%s\"",
			       str_or_empty(seccomp->defaultaction));
	if (seccomp->has_defaulterrnoret && !seccomp_action_has_errno(seccomp->defaultaction))
		return invalid(e, "linux.seccomp.defaultErrnoRet: %s takes no errno", seccomp->defaultaction);
	for (size_t i = 0; i < seccomp->n_architectures; i++) {
		if (!seccomp_architecture_known(seccomp->architectures[i]))
			return invalid(e, "linux.seccomp.architectures[%zu]: unknown architecture \"%s\"", i,
				       seccomp->architectures[i]);
	}
	for (size_t i = 0; i < seccomp->n_flags; i++) {
		if (!seccomp_flag_known(seccomp->flags[i]))
			return invalid(e, "linux.seccomp.flags[%zu]: unknown flag \"%s\"", i,
				       seccomp->flags[i]);
	}
	for (size_t i = 0; i < seccomp->n_syscalls; i++) {
		int r = check_seccomp_syscall(seccomp->syscalls[i], i, wire, e);
		if (r < 0)
			return r;
		notifies = notifies || str_equal(seccomp->syscalls[i]->action, "SCMP_ACT_NOTIFY");
	}
	if (str_equal(seccomp->defaultaction, "SCMP_ACT_NOTIFY"))
		return invalid(e, "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default");
	if (notifies && str_is_empty(seccomp->listenerpath))
		return invalid(e, "linux.seccomp.listenerPath: SCMP_ACT_NOTIFY is used, so it must be set");
	if (!notifies && !str_is_empty(seccomp->listenermetadata) && str_is_empty(seccomp->listenerpath))
		return invalid(e, "linux.seccomp.listenerMetadata: must not be set without listenerPath");
	return 0;
}

static int check_time_offsets(const Grpc__Linux *linux, int flags, struct error *e)
{
	if (linux->n_timeoffsets && !(flags & CLONE_NEWTIME))
		return invalid(e, "linux.timeOffsets: needs a namespace of type time");
	for (size_t i = 0; i < linux->n_timeoffsets; i++) {
		const Grpc__Linux__TimeOffsetsEntry *entry = linux->timeoffsets[i];
		if (!str_equal(entry->key, "monotonic") && !str_equal(entry->key, "boottime"))
			return invalid(e, "linux.timeOffsets: unknown clock \"%s\"",
				       str_or_empty(entry->key));
		if (entry->value && entry->value->nanosecs > 999999999)
			return invalid(e, "linux.timeOffsets.%s.nanosecs: %" PRIu32 " is more than a second",
				       entry->key, entry->value->nanosecs);
	}
	return 0;
}

static int check_net_devices(const Grpc__Linux *linux, int flags, struct error *e)
{
	if (linux->n_netdevices && !(flags & CLONE_NEWNET))
		return invalid(e,
			       "linux.netDevices: needs a namespace of type network of the container's own");
	for (size_t i = 0; i < linux->n_netdevices; i++) {
		const Grpc__Linux__NetDevicesEntry *entry = linux->netdevices[i];
		const char *name = entry->value ? entry->value->name : NULL;
		if (!netdevice_name_valid(entry->key))
			return invalid(e, "linux.netDevices: \"%s\" is no interface's name",
				       str_or_empty(entry->key));
		if (!str_is_empty(name) && !netdevice_name_valid(name))
			return invalid(e, "linux.netDevices.%s.name: \"%s\" is no interface's name",
				       entry->key, name);
	}
	return 0;
}

static int check_rdt(const Grpc__LinuxIntelRdt *rdt, struct error *e)
{
	if (!rdt || !rdt->closid)
		return 0;
	const char *id = rdt->closid;
	if (!*id || strchr(id, '/') || strcmp(id, ".") == 0 || strcmp(id, "..") == 0)
		return invalid(e, "linux.intelRdt.closID: \"%s\" is no name of a directory", id);
	return 0;
}

static int check_propagation(const char *word, struct error *e)
{
	static const char *const words[] = {"private", "rprivate", "shared",	 "rshared",
					    "slave",   "rslave",   "unbindable", "runbindable"};

	for (size_t i = 0; i < array_length(words); i++) {
		if (str_is_empty(word) || strcmp(words[i], word) == 0)
			return 0;
	}
	return invalid(e, "linux.rootfsPropagation: unknown value \"%s\"", word);
}

static int check_linux(const Grpc__Spec *spec, const struct validate_context *context, int flags,
		       struct error *e)
{
	const Grpc__Linux *linux = spec->linux;
	bool own = has_new_mounts(spec, context);
	int r;

	if ((r = check_root(spec, context, e)) < 0 || (r = check_devices(linux, e)) < 0 ||
	    (r = check_propagation(linux->rootfspropagation, e)) < 0 ||
	    (r = check_paths(linux->maskedpaths, linux->n_maskedpaths, "maskedPaths", own, e)) < 0 ||
	    (r = check_paths(linux->readonlypaths, linux->n_readonlypaths, "readonlyPaths", own, e)) < 0 ||
	    (r = check_sysctls(spec, context, flags, e)) < 0 ||
	    (r = check_seccomp(linux->seccomp, context->wire, e)) < 0 ||
	    (r = check_time_offsets(linux, flags, e)) < 0 || (r = check_net_devices(linux, flags, e)) < 0 ||
	    (r = check_rdt(linux->intelrdt, e)) < 0 ||
	    (r = memory_policy_validate(linux->memorypolicy, "linux.memoryPolicy", e)) < 0 ||
	    (r = personality_validate(linux->personality, "linux.personality", e)) < 0)
		return r;
	if (!str_is_empty(linux->mountlabel) && !selinux_label_valid(linux->mountlabel))
		return invalid(e, "linux.mountLabel: SELinux label for the mount is invalid format: %s",
			       linux->mountlabel);
	return 0;
}

/* --- the whole ---------------------------------------------------------------------------------------------- */

/* SemVer 2 of a version that we know: 1.x.y, with what may stand behind. */
static int check_version(const char *version, bool wire, struct error *e)
{
	if (str_is_empty(version))
		return wire ? 0 : invalid(e, "ociVersion: is missing");
	const char *p = version;
	for (int part = 0; part < 3; part++) {
		if (!isdigit((unsigned char)*p))
			return invalid(e, "ociVersion: \"%s\" is no semantic version", version);
		p += strspn(p, "0123456789");
		if (part < 2 && *p++ != '.')
			return invalid(e, "ociVersion: \"%s\" is no semantic version", version);
	}
	if (*p && *p != '-' && *p != '+')
		return invalid(e, "ociVersion: \"%s\" is no semantic version", version);
	if (strncmp(version, "1.", 2) != 0)
		return invalid(e, "ociVersion: version %s is not supported, only 1.x", version);
	return 0;
}

static int check_names(const Grpc__Spec *spec, int flags, struct error *e)
{
	if (!str_is_empty(spec->hostname) && !(flags & CLONE_NEWUTS))
		return invalid(e, "hostname: needs a namespace of type uts of the container's own");
	if (!str_is_empty(spec->domainname) && !(flags & CLONE_NEWUTS))
		return invalid(e, "domainname: needs a namespace of type uts of the container's own");
	if (strlen(str_or_empty(spec->hostname)) > 64)
		return invalid(e, "hostname: is longer than 64 bytes");
	if (strlen(str_or_empty(spec->domainname)) > 64)
		return invalid(e, "domainname: is longer than 64 bytes");
	return 0;
}

int spec_validate(const Grpc__Spec *spec, const struct validate_context *context, struct error *e)
{
	int flags = context->joined, r;

	if (!spec)
		return invalid(e, "Invalid config spec");
	if ((r = check_version(spec->version, context->wire, e)) < 0)
		return r;
	if (!spec->root)
		return invalid(e, "root: oci root is none");
	if (str_is_empty(spec->root->path))
		return invalid(e, "root.path: must not be empty");
	if (!spec->linux)
		return invalid(e, "linux: oci Linux is none");
	if ((r = collect_namespaces(spec->linux, &flags, e)) < 0 ||
	    (r = check_user_namespace(spec, context, flags, e)) < 0 ||
	    (r = check_names(spec, flags, e)) < 0 ||
	    (r = process_validate(spec->process, spec, "process", e)) < 0 ||
	    (r = check_mounts(spec, flags, e)) < 0 ||
	    (r = check_all_hooks(spec->hooks, context->wire, e)) < 0)
		return r;
	return check_linux(spec, context, flags, e);
}
