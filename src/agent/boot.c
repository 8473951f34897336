/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "guest/link.h"
#include "guest/mount_table.h"

enum { TABLE_MAX = 64 << 10, CONTROLLERS_MAX = 32, OPEN_FILES = 1 << 20 };

struct boot_mount {
	const char *type;
	const char *target;
	unsigned long flags;
	const char *data;
};

static const struct boot_mount base_mounts[] = {
	{"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
	{"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
	{"devtmpfs", "/dev", MS_NOSUID, NULL},
	{"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, NULL},
	{"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=0620,gid=5"},
	{"mqueue", "/dev/mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
	{"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755"},
	{"tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777"},
};

static const char *const v1_controllers[] = {"cpu",	"cpuacct", "blkio",   "cpuset",	    "memory",
					     "devices", "freezer", "net_cls", "perf_event", "net_prio",
					     "hugetlb", "pids",	   "rdma"};

static const char *errno_text(int errnum)
{
	return strerrordesc_np(errnum) ?: "unknown error";
}

static void make_directories(const char *path)
{
	char part[256];
	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		mkdir(part, 0755);
	}
	mkdir(path, 0755);
}

static bool is_mounted(const char *target, const char *type)
{
	struct mount_look look;
	return mount_table_look(target, &look) == 0 && look.count > 0 && str_equal(look.fstype, type);
}

/* 0 or -errno, told. */
static int mount_one(const struct boot_mount *m)
{
	if (is_mounted(m->target, m->type))
		return 0;
	make_directories(m->target);
	if (mount(m->type, m->target, m->type, m->flags, m->data) == 0)
		return 0;
	int r = -errno;
	log_warning("baremount", "failed to mount", "target", m->target, "type", m->type, "error",
		    errno_text(-r));
	return r;
}

void boot_standard_streams(void)
{
	bool pid1 = getpid() == 1;
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* A number that stays free becomes a socket of ours, which children would have for a stream. */
		if ((!pid1 || !fd || open("/dev/console", O_RDWR | O_NOCTTY) < 0) &&
		    open("/dev/null", O_RDWR) < 0 && open("/", O_PATH) < 0)
			return;
	}
}

void boot_base(void)
{
	for (size_t i = 0; i < array_length(base_mounts); i++)
		mount_one(&base_mounts[i]);
}

/* --- cgroups ------------------------------------------------------------------------------------------------ */

static bool is_v1_controller(const char *name)
{
	for (size_t i = 0; i < array_length(v1_controllers); i++)
		if (str_equal(v1_controllers[i], name))
			return true;
	return false;
}

size_t boot_cgroup_controllers(char *text, const char **names, size_t max)
{
	size_t count = 0;
	char *line, *rest = text;
	while ((line = strsep(&rest, "\n"))) {
		char *name = strsep(&line, "\t"), *id = strsep(&line, "\t"), *cgroups = strsep(&line, "\t"),
		     *enabled = strsep(&line, "\t");
		uint64_t number, on;
		if (!enabled || name[0] == '#' || str_to_u64(id, 10, &number) < 0 ||
		    str_to_u64(cgroups, 10, &number) < 0 || str_to_u64(enabled, 10, &on) < 0)
			continue;
		if (on && is_v1_controller(name) && count < max)
			names[count++] = name;
	}
	return count;
}

static bool mount_v2(const char *root)
{
	const struct boot_mount m = {"cgroup2", root, MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME,
				     "nsdelegate"};
	return mount_one(&m) == 0;
}

static bool has(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (str_equal(names[i], name))
			return true;
	return false;
}

/* Takes down what mount_v1() has made. */
static void unmount_v1(const char *root, const char *const *names, size_t count)
{
	char path[512];
	for (size_t i = count; i-- > 0;) {
		snprintf(path, sizeof(path), "%s/%s", root, names[i]);
		umount2(path, MNT_DETACH);
	}
	umount2(root, MNT_DETACH);
}

static bool mount_v1(const char *root, const char *const *names, size_t count)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	const struct boot_mount top = {"tmpfs", root, flags, "mode=755"};
	char path[512];
	size_t mounted = 0;
	if (mount_one(&top) < 0)
		return false;
	for (size_t i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%s", root, names[i]);
		mkdir(path, 0755);
		if (is_mounted(path, "cgroup") ||
		    mount("cgroup", path, "cgroup", flags | MS_RELATIME, names[i]) == 0)
			mounted++;
		else
			log_warning("baremount", "failed to mount a cgroup hierarchy", "controller", names[i],
				    "error", errno_text(errno));
	}
	/* The list may name a controller whose v1 files the kernel was built without. */
	snprintf(path, sizeof(path), "%s/memory/memory.limit_in_bytes", root);
	if (mounted == 0 || access(path, F_OK) < 0) {
		unmount_v1(root, names, count);
		return false;
	}
	snprintf(path, sizeof(path), "%s/memory/memory.use_hierarchy", root);
	file_write(AT_FDCWD, path, "1");
	mount("tmpfs", root, "tmpfs", flags | MS_REMOUNT | MS_RDONLY, "mode=755");
	return true;
}

enum boot_cgroups boot_cgroups_mount(const char *root, const char *table, bool want_v2)
{
	const char *names[CONTROLLERS_MAX];
	_cleanup_free_ char *text = NULL;
	size_t count = 0;
	if (file_read(AT_FDCWD, table, TABLE_MAX, &text) >= 0)
		count = boot_cgroup_controllers(text, names, array_length(names));
	bool v1_complete = has(names, count, "memory") && has(names, count, "devices");
	if (want_v2 && mount_v2(root))
		return BOOT_CGROUP_V2;
	if (v1_complete && mount_v1(root, names, count))
		return BOOT_CGROUP_V1;
	if (!want_v2 && mount_v2(root))
		return BOOT_CGROUP_V2;
	log_warning("baremount", "the guest runs without control groups");
	return BOOT_CGROUP_NONE;
}

/* --- the rest ----------------------------------------------------------------------------------------------- */

static void make_ptmx(void)
{
	unlink("/dev/ptmx");
	if (symlink("/dev/pts/ptmx", "/dev/ptmx") < 0 && errno != EEXIST)
		log_warning("root", "failed to make /dev/ptmx", "error", errno_text(errno));
}

/* Device nodes that devtmpfs does not have, and links that programs expect. */
static void make_links(void)
{
	static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"},
					       {"/proc/self/fd/0", "/dev/stdin"},
					       {"/proc/self/fd/1", "/dev/stdout"},
					       {"/proc/self/fd/2", "/dev/stderr"}};
	for (size_t i = 0; i < array_length(links); i++)
		if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
			log_debug("root", "no link", "path", links[i][1]);
	/* Images have it as a link; an initramfs of nothing but the agent has not. */
	mkdir("/var", 0755);
	if (symlink("/run", "/var/run") < 0 && errno != EEXIST)
		log_debug("root", "no link", "path", "/var/run");
}

static void take_terminal(void)
{
	/* Fails where a predecessor of ours in this process has done it. */
	setsid();
	if (isatty(0))
		ioctl(0, TIOCSCTTY, 1);
}

void boot_hostname(const char *path, char *out, size_t size)
{
	_cleanup_free_ char *text = NULL;
	const char *name = file_read(AT_FDCWD, path, 4096, &text) >= 0 ? text : "";
	name += strspn(name, " \t\r\n");
	size_t length = strcspn(name, " \t\r\n");
	if (length > 64)
		length = 64;
	if (length == 0)
		snprintf(out, size, "localhost");
	else
		snprintf(out, size, "%.*s", (int)length, name);
}

static void set_hostname(void)
{
	char name[65];
	boot_hostname("/etc/hostname", name, sizeof(name));
	if (sethostname(name, strlen(name)) < 0)
		log_warning("root", "failed to set hostname", "error", errno_text(errno));
}

/* The kernel gives its first process 1024 and 4096; a hundred containers need more. */
static void raise_limits(void)
{
	struct rlimit limit = {OPEN_FILES, OPEN_FILES};
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warning("root", "failed to raise the limit of open files", "error", errno_text(errno));
}

void boot_guest(const struct config *config)
{
	static const char *const layouts[] = {"none", "v1", "v2"};
	struct error e = ERROR_INIT;
	enum boot_cgroups layout =
		boot_cgroups_mount("/sys/fs/cgroup", "/proc/cgroups", config_wants_cgroup_v2(config));
	make_ptmx();
	make_links();
	take_terminal();
	setenv("PATH", "/bin:/sbin/:/usr/bin/:/usr/sbin/", 1);
	set_hostname();
	raise_limits();
	if (link_up("lo", &e) < 0)
		log_warning("network", "failed to set the loopback link up", "error", e.text);
	log_info("root", "guest prepared", "cgroups", layouts[layout]);
}
