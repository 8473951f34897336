/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_TEST_CGROUP_TREE_H
#define CGROUP_TEST_CGROUP_TREE_H

/*
 * For tests: a directory that looks like a machine with cgroups. Files are plain, so what was written can be
 * read; a knob exists when the test made it.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "cgroup/internal.h"

struct fake {
	char root[64];
	struct cgroup_host *host;
};

#define MOUNTS_V2 "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
#define MOUNTS_V1                                                                                            \
	"20 1 0:20 / / rw - ext4 /dev/vda rw\n"                                                              \
	"31 23 0:28 / /sys/fs/cgroup rw shared:9 - tmpfs tmpfs rw,mode=755\n"                                \
	"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n"              \
	"33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"                                  \
	"34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"                                  \
	"35 31 0:32 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n"                                    \
	"36 31 0:33 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"                                      \
	"37 31 0:34 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n"                                \
	"38 31 0:35 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n"                                \
	"39 31 0:36 / /sys/fs/cgroup/net rw - cgroup cgroup rw,net_cls,net_prio\n"                           \
	"40 31 0:37 / /sys/fs/cgroup/hugetlb rw - cgroup cgroup rw,hugetlb\n"                                \
	"41 31 0:38 / /sys/fs/cgroup/rdma rw - cgroup cgroup rw,rdma\n"                                      \
	"42 31 0:39 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd\n"

static inline void fake_write(const struct fake *fake, const char *path, const char *text)
{
	char full[512];
	int fd;

	snprintf(full, sizeof(full), "%s%s", fake->root, path);
	for (char *slash = strchr(full + strlen(fake->root) + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
		*slash = '/';
	}
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	fd_close(fd);
}

/* Content of a file, in a static buffer; "(none)" when missing. */
static inline const char *fake_read(const struct fake *fake, const char *path)
{
	static char text[8192];
	char full[512];
	int fd;
	ssize_t n;

	snprintf(full, sizeof(full), "%s%s", fake->root, path);
	fd = open(full, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return "(none)";
	n = read(fd, text, sizeof(text) - 1);
	fd_close(fd);
	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static inline void fake_init(struct fake *fake, const char *mounts)
{
	snprintf(fake->root, sizeof(fake->root), "/tmp/test-cgroup-XXXXXX");
	assert_non_null(mkdtemp(fake->root));
	fake_write(fake, "/proc/self/mountinfo", mounts);
	fake_write(fake, "/proc/self/cgroup", "0::/\n");
	fake_write(fake, "/sys/devices/system/cpu/possible", "0-15\n");
	fake_write(fake, "/sys/devices/system/node/online", "0-1\n");
	fake_write(fake, "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0\n");
	fake_write(fake, "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "0\n");
}

/* After all files that the host is to see exist. */
static inline void fake_start(struct fake *fake)
{
	struct error e = ERROR_INIT;

	fake->host = cgroup_host_new(fake->root, &e);
	assert_non_null(fake->host);
}

static inline void fake_deinit(struct fake *fake)
{
	_cleanup_fd_ int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cgroup_host_free(fake->host);
	assert_int_equal(path_remove_tree(tmp, fake->root + strlen("/tmp/")), 0);
}

/* An empty file for each name in @files, in @dir. */
static inline void fake_knobs(const struct fake *fake, const char *dir, const char *const *files)
{
	char path[300];

	for (; *files; files++) {
		snprintf(path, sizeof(path), "%s/%s", dir, *files);
		fake_write(fake, path, "");
	}
}

#define V2_CTR "/sys/fs/cgroup/pod/ctr"

static inline void fake_v2(struct fake *fake)
{
	static const char *const knobs[] = {
		"cpu.weight",
		"cpu.max",
		"cpu.idle",
		"cpu.max.burst",
		"cpuset.cpus",
		"cpuset.mems",
		"memory.max",
		"memory.low",
		"memory.swap.max",
		"pids.max",
		"io.max",
		"io.bfq.weight",
		"io.weight",
		"hugetlb.2MB.max",
		"hugetlb.2MB.rsvd.max",
		"rdma.max",
		"misc.max",
		"cgroup.procs",
		NULL,
	};

	fake_init(fake, MOUNTS_V2);
	fake_write(fake, "/sys/fs/cgroup/cgroup.controllers",
		   "cpuset cpu io memory hugetlb pids rdma misc\n");
	fake_write(fake, "/sys/fs/cgroup/cgroup.subtree_control", "");
	fake_write(fake, "/sys/fs/cgroup/pod/cgroup.subtree_control", "");
	fake_knobs(fake, V2_CTR, knobs);
	fake_start(fake);
}

static inline void fake_v1(struct fake *fake)
{
	static const struct {
		const char *dir;
		const char *knobs[12];
	} all[] = {
		{"cpu,cpuacct",
		 {"cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us", "cpu.idle",
		  "cpu.rt_runtime_us", "cpu.rt_period_us", "cgroup.procs"}},
		{"memory",
		 {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes",
		  "memory.swappiness", "memory.oom_control", "memory.kmem.tcp.limit_in_bytes",
		  "memory.use_hierarchy"}},
		{"cpuset", {"cpuset.cpus", "cpuset.mems"}},
		{"blkio",
		 {"blkio.weight", "blkio.leaf_weight", "blkio.weight_device", "blkio.leaf_weight_device",
		  "blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device",
		  "blkio.throttle.read_iops_device", "blkio.throttle.write_iops_device"}},
		{"pids", {"pids.max"}},
		{"devices", {"devices.allow", "devices.deny"}},
		{"freezer", {"freezer.state"}},
		{"net", {"net_cls.classid", "net_prio.ifpriomap"}},
		{"hugetlb", {"hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.rsvd.limit_in_bytes"}},
		{"rdma", {"rdma.max"}},
		{"systemd", {"cgroup.procs"}},
	};
	char dir[128];

	fake_init(fake, MOUNTS_V1);
	for (size_t i = 0; i < array_length(all); i++) {
		snprintf(dir, sizeof(dir), "/sys/fs/cgroup/%s/pod/ctr", all[i].dir);
		fake_knobs(fake, dir, all[i].knobs);
		fake_knobs(fake, dir, (const char *const[]){"cgroup.procs", NULL});
	}
	fake_start(fake);
}

/* The container's knob on v1. */
static inline const char *fake_v1_read(const struct fake *fake, const char *hierarchy, const char *file)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/pod/ctr/%s", hierarchy, file);
	return fake_read(fake, path);
}

static inline struct cgroup *fake_cgroup(const struct fake *fake)
{
	struct error e = ERROR_INIT;
	struct cgroup *cg = cgroup_new(fake->host, CGROUP_CGROUPFS, "/pod/ctr", "id", false, &e);

	assert_non_null(cg);
	return cg;
}

#endif
