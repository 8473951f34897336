/* SPDX-License-Identifier: Apache-2.0 */
/* `spec`: a config.json to begin with. A shell in a terminal, with the namespaces, mounts and masks that are usual. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "engine/oci_state.h"
#include "oci/oci.h"

static const char *const capabilities[] = {"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"};
static const char *const capability_sets[] = {"bounding", "effective", "permitted"};

static void append_process(struct buf *out)
{
	buf_append_string(out,
			  "  \"process\": {\n"
			  "    \"terminal\": true,\n"
			  "    \"user\": {\"uid\": 0, \"gid\": 0},\n"
			  "    \"args\": [\"sh\"],\n"
			  "    \"env\": [\n"
			  "      \"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\n"
			  "      \"TERM=xterm\"\n"
			  "    ],\n"
			  "    \"cwd\": \"/\",\n"
			  "    \"capabilities\": {\n");
	for (size_t i = 0; i < array_length(capability_sets); i++) {
		buf_printf(out, "      \"%s\": [", capability_sets[i]);
		for (size_t k = 0; k < array_length(capabilities); k++)
			buf_printf(out, "%s\"%s\"", k ? ", " : "", capabilities[k]);
		buf_printf(out, "]%s\n", i + 1 < array_length(capability_sets) ? "," : "");
	}
	buf_append_string(
		out, "    },\n"
		     "    \"rlimits\": [{\"type\": \"RLIMIT_NOFILE\", \"hard\": 1024, \"soft\": 1024}],\n"
		     "    \"noNewPrivileges\": true\n"
		     "  },\n");
}

struct mount_line {
	const char *destination, *type, *source, *options;
};
static const struct mount_line common[] = {
	{"/proc", "proc", "proc", "\"nosuid\", \"noexec\", \"nodev\""},
	{"/dev", "tmpfs", "tmpfs", "\"nosuid\", \"strictatime\", \"mode=755\", \"size=65536k\""},
	{"/dev/shm", "tmpfs", "shm", "\"nosuid\", \"noexec\", \"nodev\", \"mode=1777\", \"size=65536k\""},
	{"/dev/mqueue", "mqueue", "mqueue", "\"nosuid\", \"noexec\", \"nodev\""},
};
/* A user has no group 5, no sysfs of another's network namespace, and mostly no cgroups. */
static const struct mount_line privileged[] = {
	{"/dev/pts", "devpts", "devpts",
	 "\"nosuid\", \"noexec\", \"newinstance\", \"ptmxmode=0666\", \"mode=0620\", \"gid=5\""},
	{"/sys", "sysfs", "sysfs", "\"nosuid\", \"noexec\", \"nodev\", \"ro\""},
	{"/sys/fs/cgroup", "cgroup", "cgroup", "\"nosuid\", \"noexec\", \"nodev\", \"relatime\", \"ro\""},
};
static const struct mount_line rootless[] = {
	{"/dev/pts", "devpts", "devpts",
	 "\"nosuid\", \"noexec\", \"newinstance\", \"ptmxmode=0666\", \"mode=0620\""},
	{"/sys", "none", "/sys", "\"rbind\", \"nosuid\", \"noexec\", \"nodev\", \"ro\""},
};

static void append_mounts(struct buf *out, const struct mount_line *lines, size_t count, bool last)
{
	for (size_t i = 0; i < count; i++)
		buf_printf(out,
			   "    {\"destination\": \"%s\", \"type\": \"%s\", \"source\": \"%s\",\n     "
			   "\"options\": [%s]}%s\n",
			   lines[i].destination, lines[i].type, lines[i].source, lines[i].options,
			   last && i + 1 == count ? "" : ",");
}

/* On v1 programs find their cgroups by paths that are the host's, so a namespace is nothing to begin with. */
static bool cgroups_are_v2(void)
{
	struct statfs fs;

	return statfs("/sys/fs/cgroup", &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

static void append_linux(struct buf *out, bool without_root)
{
	static const char *const masked[] = {"/proc/acpi",	  "/proc/asound",	 "/proc/kcore",
					     "/proc/keys",	  "/proc/latency_stats", "/proc/timer_list",
					     "/proc/timer_stats", "/proc/sched_debug",	 "/sys/firmware",
					     "/proc/scsi"};
	static const char *const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
					       "/proc/sysrq-trigger"};

	buf_append_string(out, "  \"linux\": {\n");
	if (without_root) {
		buf_printf(out, "    \"uidMappings\": [{\"containerID\": 0, \"hostID\": %u, \"size\": 1}],\n",
			   geteuid());
		buf_printf(out, "    \"gidMappings\": [{\"containerID\": 0, \"hostID\": %u, \"size\": 1}],\n",
			   getegid());
	} else {
		buf_append_string(
			out,
			"    \"resources\": {\"devices\": [{\"allow\": false, \"access\": \"rwm\"}]},\n");
	}
	buf_printf(out,
		   "    \"namespaces\": [\n      {\"type\": \"pid\"}, {\"type\": \"ipc\"}, {\"type\": "
		   "\"uts\"}, {\"type\": \"mount\"},\n      %s{\"type\": \"%s\"}\n    ],\n",
		   cgroups_are_v2() ? "{\"type\": \"cgroup\"}, " : "", without_root ? "user" : "network");
	for (size_t i = 0; i < array_length(masked); i++)
		buf_printf(out, "%s\"%s\"", i ? ", " : "    \"maskedPaths\": [\n      ", masked[i]);
	for (size_t i = 0; i < array_length(readonly); i++)
		buf_printf(out, "%s\"%s\"", i ? ", " : "\n    ],\n    \"readonlyPaths\": [\n      ",
			   readonly[i]);
	buf_append_string(out, "\n    ]\n  }\n");
}

static void append_spec(struct buf *out, bool without_root)
{
	buf_printf(out, "{\n  \"ociVersion\": \"%s\",\n", OCI_RUNTIME_SPEC_VERSION);
	append_process(out);
	buf_append_string(
		out, "  \"root\": {\"path\": \"rootfs\", \"readonly\": true},\n  \"hostname\": \"kata\",\n"
		     "  \"mounts\": [\n");
	append_mounts(out, common, array_length(common), false);
	if (without_root)
		append_mounts(out, rootless, array_length(rootless), true);
	else
		append_mounts(out, privileged, array_length(privileged), true);
	buf_append_string(out, "  ],\n");
	append_linux(out, without_root);
	buf_append_string(out, "}\n");
}

int command_spec(struct oci *oci, int argc, char **argv)
{
	static const struct option options[] = {{"bundle", required_argument, NULL, 'b'},
						{"rootless", no_argument, NULL, 'r'},
						{NULL, 0, NULL, 0}};
	_cleanup_buf_ struct buf out = BUF_INIT;
	const char *bundle = ".";
	bool without_root = false;
	int c;

	while ((c = getopt_long(argc, argv, "+b:", options, NULL)) != -1) {
		if (c == 'b')
			bundle = optarg;
		else if (c == 'r')
			without_root = true;
		else
			return oci_usage(oci);
	}
	if (optind < argc)
		return oci_usage(oci);
	append_spec(&out, without_root);
	_cleanup_fd_ int dir = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_fd_ int fd =
		dir < 0 ? -1 : openat(dir, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 && errno == EEXIST)
		return oci_complain(oci, "file config.json exists. Remove it first");
	int r = fd < 0 ? -errno : out.failed ? -ENOMEM : fd_write_all(fd, buf_begin(&out), out.length);
	if (r < 0)
		return oci_complain(oci, "write %s/config.json: %s", bundle, error_name(-r));
	return 0;
}
