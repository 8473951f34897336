/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SELinux and AppArmor by their kernel files. Whether a module is there is asked from the kernel, from its own file system
 * (SELinux) or its module parameter (AppArmor), not from a mount table; on-exec labels go to the attr files of the calling
 * process below a procfs that is ours.
 */
#include "engine/lsm.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"

#define SELINUX_ROOT "/sys/fs/selinux"
#define APPARMOR_ENABLED "/sys/module/apparmor/parameters/enabled"
#define APPARMOR_PROFILES "/sys/kernel/security/apparmor/profiles"

#define SELINUXFS_MAGIC 0xf97cff8cU

enum { PROFILES_MAX = 4 << 20 };

bool selinux_enabled(void)
{
	struct statfs fs;
	return statfs(SELINUX_ROOT, &fs) == 0 && (uint32_t)fs.f_type == SELINUXFS_MAGIC;
}

bool apparmor_enabled(void)
{
	_cleanup_free_ char *text = NULL;
	return file_read(AT_FDCWD, APPARMOR_ENABLED, 16, &text) > 0 && text[0] == 'Y';
}

/* A run of the characters that a label's part may have; what stands behind it. */
static const char *skip_part(const char *p, const char *more)
{
	while (*p && (isalnum((unsigned char)*p) || strchr("_.-", *p) || strchr(more, *p)))
		p++;
	return p;
}

bool selinux_label_valid(const char *label)
{
	const char *p = label;

	for (int part = 0; part < 3; part++) {
		const char *end = skip_part(p, "");
		if (end == p)
			return false;
		if (part == 2 && !*end)
			return true;
		if (*end != ':')
			return false;
		p = end + 1;
	}
	return *p && !*skip_part(p, ":,");
}

/* "NAME (mode)" lines; a name may hold blanks. */
static bool profile_listed(const char *list, const char *profile)
{
	size_t length = strlen(profile);

	for (const char *line = list; line && *line;) {
		if (strncmp(line, profile, length) == 0 && strncmp(line + length, " (", 2) == 0)
			return true;
		line = strchr(line, '\n');
		if (line)
			line++;
	}
	return false;
}

/* Stacks ("a//&b") and what is in a policy namespace (":ns:a") are no lines of that list. */
static bool profile_is_plain(const char *profile)
{
	return profile[0] != ':' && profile[0] != '&' && !strstr(profile, "//&");
}

static int check_apparmor(const char *profile, struct error *e)
{
	_cleanup_free_ char *list = NULL;

	if (str_is_empty(profile))
		return 0;
	bool unconfined = strcmp(profile, "unconfined") == 0;
	if (!apparmor_enabled()) {
		if (unconfined)
			return 0;
		return error_set(e, STATUS_FAILED_PRECONDITION, EOPNOTSUPP,
				 "process.apparmorProfile: \"%s\" is asked for but AppArmor is not enabled "
				 "on the host",
				 profile);
	}
	if (unconfined || !profile_is_plain(profile))
		return 0;
	/* Without securityfs the profile cannot be looked up, and the write in the child decides. */
	if (file_read(AT_FDCWD, APPARMOR_PROFILES, PROFILES_MAX, &list) < 0 || profile_listed(list, profile))
		return 0;
	return error_set(e, STATUS_FAILED_PRECONDITION, ENOENT,
			 "process.apparmorProfile: the profile \"%s\" is not loaded", profile);
}

int lsm_check(const Grpc__Process *process, const Grpc__Linux *linux, struct error *e)
{
	const char *label = process ? process->selinuxlabel : NULL;

	if (!str_is_empty(label) && !selinux_enabled())
		return error_set(e, STATUS_FAILED_PRECONDITION, EOPNOTSUPP,
				 "SELinux label for the process is provided but SELinux is not enabled on "
				 "the running kernel");
	if (!str_is_empty(label) && !selinux_label_valid(label))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "process.selinuxLabel: SELinux label for the process is invalid format: %s",
				 label);
	const char *mount_label = linux ? linux->mountlabel : NULL;
	if (!str_is_empty(mount_label) && !selinux_label_valid(mount_label))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "linux.mountLabel: SELinux label for the mount is invalid format: %s",
				 mount_label);
	return check_apparmor(process ? process->apparmorprofile : NULL, e);
}

static bool profile_is_loaded(const char *profile)
{
	_cleanup_free_ char *list = NULL;

	if (strcmp(profile, "unconfined") == 0)
		return true;
	/* Without securityfs nobody can have loaded one. */
	return apparmor_enabled() && file_read(AT_FDCWD, APPARMOR_PROFILES, PROFILES_MAX, &list) >= 0 &&
	       (!profile_is_plain(profile) || profile_listed(list, profile));
}

void lsm_drop_profile(Grpc__Process *process, const char *id)
{
	if (!process || str_is_empty(process->apparmorprofile) || profile_is_loaded(process->apparmorprofile))
		return;
	log_warning("engine", "the guest does not have the host's AppArmor profile", "container-id", id,
		    "profile", process->apparmorprofile);
	process->apparmorprofile = NULL;
}

/*
 * The child is in the container's root, so it must not ask a path whether there is AppArmor: an image without that file, or
 * with another one, would be without its profile. lsm_check() has asked, outside.
 */
static int set_apparmor(int proc, const char *profile, struct error *e)
{
	_cleanup_free_ char *text = NULL;

	if (str_is_empty(profile))
		return 0;
	if (asprintf(&text, "exec %s", profile) < 0) {
		text = NULL;
		return error_errno(e, ENOMEM, "apply AppArmor profile");
	}
	/* Kernels before 5.1, or with AppArmor as the only big module, have the shared file alone. */
	int r = file_write(proc, "self/attr/apparmor/exec", text);
	if (r == -ENOENT)
		r = file_write(proc, "self/attr/exec", text);
	/* Who has no AppArmor is unconfined. */
	if ((r == -ENOENT || r == -EINVAL) && str_equal(profile, "unconfined"))
		return 0;
	return r < 0 ? error_errno(e, -r, "apply AppArmor profile \"%s\"", profile) : 0;
}

int lsm_set_exec(int proc, const char *apparmor_profile, const char *selinux_label, struct error *e)
{
	if (!str_is_empty(selinux_label)) {
		int r = file_write(proc, "self/attr/exec", selinux_label);
		if (r < 0)
			return error_errno(e, -r, "failed to apply SELinux label \"%s\"", selinux_label);
	}
	return set_apparmor(proc, apparmor_profile, e);
}

int selinux_key_label(int proc, const char *label, struct error *e)
{
	if (!selinux_enabled())
		return 0;
	int r = file_write(proc, "self/attr/keycreate", str_or_empty(label));
	return r < 0 ? error_errno(e, -r, "set the label of new keys to \"%s\"", str_or_empty(label)) : 0;
}

static bool takes_no_context(const char *type)
{
	static const char *const types[] = {"proc",    "sysfs", "mqueue", "cgroup",
					    "cgroup2", "bind",	"",	  "none"};

	for (size_t i = 0; i < array_length(types); i++) {
		if (str_equal(type, types[i]))
			return true;
	}
	return false;
}

bool selinux_takes_context(const char *type, const char *label)
{
	return !str_is_empty(label) && !takes_no_context(type) && selinux_enabled();
}

const char *selinux_mount_data(const char *type, const char *data, const char *label, struct arena *arena)
{
	data = str_or_empty(data);
	if (!selinux_takes_context(type, label))
		return data;
	return arena_printf(arena, "%s%scontext=\"%s\"", data, *data ? "," : "", label);
}

int selinux_label_mount(int fd, const char *type, const char *label, struct error *e)
{
	char path[32];

	if (str_is_empty(label) || !str_equal(type, "mqueue") || !selinux_enabled())
		return 0;
	/* fsetxattr(2) does not take O_PATH descriptors. */
	if (setxattr(path_of_fd(path, fd), "security.selinux", label, strlen(label) + 1, 0) < 0)
		return error_errno(e, errno, "label the mount \"%s\"", label);
	return 0;
}
