/* SPDX-License-Identifier: Apache-2.0 */
/* Every file that statistics are read from, and the table of mounts, with the same arbitrary content. */

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "cgroup/internal.h"

static char root[64];

static const char *const v1_files[] = {
	"cpuacct.usage",
	"cpuacct.stat",
	"cpuacct.usage_percpu",
	"cpu.stat",
	"memory.stat",
	"memory.usage_in_bytes",
	"memory.oom_control",
	"pids.max",
	"blkio.io_serviced_recursive",
	"blkio.io_service_bytes_recursive",
	"blkio.time_recursive",
	"blkio.throttle.io_serviced",
	"cgroup.procs",
	"freezer.state",
};
static const char *const v2_files[] = {
	"cpu.stat", "memory.stat", "memory.current", "memory.max",    "memory.events",
	"io.stat",  "pids.max",	   "cgroup.procs",   "cgroup.events",
};
static const char mounts[] = "1 2 0:3 / /v1 rw - cgroup cgroup rw,cpu,cpuacct,memory,blkio,pids,freezer\n"
			     "1 2 0:4 / /v2 rw - cgroup2 cgroup2 rw\n";

static void put(const char *dir, const char *name, const void *data, size_t size)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s%s%s", root, dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0)
		fd_write_all(fd, data, size);
	fd_close(fd);
}

static void remove_root(void)
{
	_cleanup_fd_ int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	path_remove_tree(tmp, root + strlen("/tmp/"));
}

static void prepare(void)
{
	static const char *const dirs[] = {"/proc", "/proc/self", "/v1", "/v1/c", "/v2", "/v2/c"};
	char path[128];

	snprintf(root, sizeof(root), "/tmp/fuzz-cgroup-XXXXXX");
	if (!mkdtemp(root))
		abort();
	atexit(remove_root);
	for (size_t i = 0; i < array_length(dirs); i++) {
		snprintf(path, sizeof(path), "%s%s", root, dirs[i]);
		if (mkdir(path, 0700) < 0)
			abort();
	}
}

static void read_everything(void)
{
	struct cgroup_host *host = cgroup_host_new(root, NULL);
	struct cgroup *cg = host ? cgroup_new(host, CGROUP_CGROUPFS, "/c", "id", false, NULL) : NULL;
	struct arena *arena = arena_new(0);
	struct cgroup_stats stats;
	pid_t *pids = NULL;

	if (cg && arena) {
		cgroup_stats(cg, arena, &stats, NULL);
		for (size_t i = 0; i < stats.io.service_bytes.count; i++)
			if (strlen(stats.io.service_bytes.entries[i].op) >=
			    sizeof(stats.io.service_bytes.entries[i].op))
				abort();
		for (ssize_t n = cgroup_pids(cg, &pids, NULL); n > 0; n--)
			if (pids[n - 1] <= 1)
				abort();
		cgroup_frozen(cg);
		cgroup_contains_self(cg);
	}
	free(pids);
	arena_free(arena);
	cgroup_free(cg);
	cgroup_host_free(host);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool v1 = size & 1;

	if (!root[0])
		prepare();
	for (size_t i = 0; v1 && i < array_length(v1_files); i++)
		put("/v1/c/", v1_files[i], data, size);
	for (size_t i = 0; !v1 && i < array_length(v2_files); i++)
		put("/v2/c/", v2_files[i], data, size);
	put("/proc/self/", "cgroup", data, size);
	put("/v2/", "cgroup.controllers", v1 ? "" : "cpu memory io pids", v1 ? 0 : 18);
	put("/proc/self/", "mountinfo", v1 ? mounts : strchr(mounts, '\n') + 1,
	    strlen(v1 ? mounts : strchr(mounts, '\n') + 1));
	read_everything();
	put("/proc/self/", "mountinfo", data, size);
	read_everything();
	return 0;
}
