/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What all containers share: the cgroup hierarchies as they were found, a procfs of our own, and the way back into our own
 * pid namespace.
 *
 * The procfs is a detached mount where the kernel makes one: whatever happens to /proc later, this is it. Where it does
 * not (we are not root), /proc is taken after a look at what it is. It is the one way by which the engine and the
 * children on their way to a container read or write anything below /proc: the container's own /proc is never believed.
 */

#include "engine/engine_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

static int open_procfs(struct error *e)
{
	_cleanup_fd_ int context = fsopen("proc", FSOPEN_CLOEXEC);
	struct statfs fs;

	if (context >= 0 && fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0) {
		int fd = fsmount(context, FSMOUNT_CLOEXEC,
				 MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
		if (fd >= 0)
			return fd;
	}
	_cleanup_fd_ int fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstatfs(fd, &fs) < 0)
		return error_errno(e, errno, "open /proc");
	if (fs.f_type != PROC_SUPER_MAGIC)
		return error_set(e, STATUS_FAILED_PRECONDITION, ENODEV, "/proc is no proc file system");
	return fd_steal(&fd);
}

static int64_t read_number(int proc, const char *path)
{
	_cleanup_free_ char *text = NULL;
	int64_t value = 0;
	ssize_t n = file_read(proc, path, 64, &text);

	if (n > 0 && text[n - 1] == '\n')
		text[n - 1] = '\0';
	return n > 0 && str_to_i64(text, 10, &value) == 0 ? value : 0;
}

static int engine_open(struct engine *engine, struct error *e)
{
	engine->proc = open_procfs(e);
	if (engine->proc < 0)
		return engine->proc;
	engine->own_pidns = openat(engine->proc, "self/ns/pid", O_RDONLY | O_CLOEXEC);
	if (engine->own_pidns < 0)
		return error_errno(e, errno, "open our pid namespace");
	engine->privileged = geteuid() == 0 && !engine->options.rootless;
	engine->oom_score_adj = read_number(engine->proc, "self/oom_score_adj");
	engine->cgroups = cgroup_host_new("/", e);
	return engine->cgroups ? 0 : -ENOMEM;
}

struct engine *engine_new(const struct engine_options *options, struct error *e)
{
	struct engine *engine = calloc(1, sizeof(*engine));

	if (!engine) {
		error_errno(e, ENOMEM, "engine");
		return NULL;
	}
	engine->options = *options;
	engine->loop = options->loop;
	engine->proc = engine->own_pidns = -1;
	if (engine_open(engine, e) < 0) {
		engine_free(engine);
		return NULL;
	}
	return engine;
}

void engine_free(struct engine *engine)
{
	if (!engine)
		return;
	fd_close(engine->proc);
	fd_close(engine->own_pidns);
	cgroup_host_free(engine->cgroups);
	seccomp_cache_clear();
	free(engine);
}

const struct cgroup_host *engine_cgroups(const struct engine *engine)
{
	return engine->cgroups;
}
