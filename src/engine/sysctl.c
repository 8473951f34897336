/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sysctls of a container. Only those that the kernel keeps per namespace may be set, and only in a namespace that the
 * container has: anything else would change the whole machine. The child writes them after it entered its namespaces;
 * which instance a file below /proc/sys stands for is decided by who opens it.
 */
#include "engine/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"

int sysctl_path(const char *key, char path[SYSCTL_PATH_MAX])
{
	if (str_is_empty(key))
		return -EINVAL;
	size_t length = strlen(key);
	if (length >= SYSCTL_PATH_MAX)
		return -ENAMETOOLONG;
	const char *first = strpbrk(key, "./");
	bool dots = first && *first == '.';
	for (size_t i = 0; i <= length; i++) {
		char c = key[i];
		if (dots && c == '.')
			c = '/';
		else if (dots && c == '/')
			c = '.';
		path[i] = c;
	}
	/* Parts: none empty, none that climbs. */
	for (const char *part = path;;) {
		size_t part_length = strcspn(part, "/");
		if (part_length == 0 || strspn(part, ".") == part_length)
			return -EINVAL;
		if (!part[part_length])
			return 0;
		part += part_length + 1;
	}
}

struct rule {
	const char *prefix; /* of the path; ends in "/" for a whole directory, else the whole name */
	int flag;
	bool pod; /* of the pod on the wire: needs no namespace of the container's own */
};

static const struct rule rules[] = {
	{"kernel/msgmax", CLONE_NEWIPC, false},
	{"kernel/msgmnb", CLONE_NEWIPC, false},
	{"kernel/msgmni", CLONE_NEWIPC, false},
	{"kernel/sem", CLONE_NEWIPC, false},
	{"kernel/shmall", CLONE_NEWIPC, false},
	{"kernel/shmmax", CLONE_NEWIPC, false},
	{"kernel/shmmni", CLONE_NEWIPC, false},
	{"kernel/shm_rmid_forced", CLONE_NEWIPC, false},
	{"kernel/msg_next_id", CLONE_NEWIPC, false},
	{"kernel/sem_next_id", CLONE_NEWIPC, false},
	{"kernel/shm_next_id", CLONE_NEWIPC, false},
	{"kernel/auto_msgmni", CLONE_NEWIPC, false},
	{"fs/mqueue/", CLONE_NEWIPC, false},
	{"kernel/domainname", CLONE_NEWUTS, false},
	{"kernel/hostname", CLONE_NEWUTS, false},
	{"net/", CLONE_NEWNET, true},
	{"user/", CLONE_NEWUSER, true},
};

static const struct rule *find_rule(const char *path)
{
	for (size_t i = 0; i < array_length(rules); i++) {
		if (str_ends_with(rules[i].prefix, "/") ? str_starts_with(path, rules[i].prefix)
							: strcmp(path, rules[i].prefix) == 0)
			return &rules[i];
	}
	return NULL;
}

static const char *flag_word(int flag)
{
	switch (flag) {
	case CLONE_NEWIPC:
		return "ipc";
	case CLONE_NEWUTS:
		return "uts";
	case CLONE_NEWNET:
		return "network";
	default:
		return "user";
	}
}

int sysctl_validate(const char *key, int flags, bool wire, struct error *e)
{
	char path[SYSCTL_PATH_MAX];

	if (sysctl_path(key, path) < 0)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "\"%s\" is not a sysctl's name",
				 str_or_empty(key));
	const struct rule *rule = find_rule(path);
	if (!rule)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "%s is not in a separate kernel namespace", key);
	if (!(flags & rule->flag) && !(wire && rule->pod))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "%s needs a namespace of type %s of the container's own", key,
				 flag_word(rule->flag));
	if (strcmp(path, "kernel/hostname") == 0)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "kernel.hostname conflicts with `hostname`, which is to be used");
	return 0;
}

static int write_one(int root, const char *path, const char *value)
{
	_cleanup_fd_ int fd = path_open(root, path, O_WRONLY, 0, PATH_BENEATH);
	if (fd < 0)
		return fd;
	return fd_write_all(fd, value, strlen(value));
}

int sysctl_apply(int proc, Grpc__Linux__SysctlEntry *const *entries, size_t count, bool wire, struct error *e)
{
	if (!count)
		return 0;
	_cleanup_fd_ int root = openat(proc, "sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return error_errno(e, errno, "open /proc/sys");
	for (size_t i = 0; i < count; i++) {
		const char *key = str_or_empty(entries[i]->key), *value = str_or_empty(entries[i]->value);
		char path[SYSCTL_PATH_MAX];
		int r = sysctl_path(key, path);
		if (r == 0)
			r = write_one(root, path, value);
		if (r == -ENOENT && wire) {
			log_warning("engine", "this kernel has no such sysctl", "sysctl", key);
			continue;
		}
		if (r < 0)
			return error_errno(e, -r, "linux.sysctl: set %s to \"%s\"", key, value);
	}
	return 0;
}
