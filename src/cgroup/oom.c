/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watching for kills by the kernel's OOM killer.
 *
 * The kernel counts them; what is told is the increase of that count since the last look, so nothing is told
 * twice and nothing is invented. A look is taken at each notification, and once more when the owner says that
 * the init process is gone, because the last kill of a container and its end come at the same moment.
 *
 * v2: memory.events counts the cgroup and all below (with the mount option memory_localevents only itself),
 * and is pollable. v1: an eventfd is registered for the cgroup; it is written to before the victim is chosen,
 * so the count is looked at again for a short while; the count is the sum of all nested cgroups, because v1
 * counts where the victim was. Kernels before 4.13 have no count on v1: there a notification of a cgroup that
 * still exists is a kill.
 *
 * Both notifications also come when the cgroup is removed, which ends the watch.
 */
#include "cgroup/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"

/* After a notification of v1 the count is looked at again after these milliseconds, each counted from the
 * one before. */
static const uint16_t again_ms[] = {5, 20, 100, 500, 1000};

struct cgroup_oom {
	const struct cgroup *cg;
	struct loop *loop;
	void (*fn)(uint64_t kills, void *data);
	void *data;
	struct loop_fd source;
	struct loop_timer again;
	size_t round; /* of again_ms */
	int fd;	      /* v2: memory.events; v1: the eventfd */
	int index;    /* of the hierarchy */
	bool v2;
	bool counts; /* false: a v1 kernel without a counter */
	uint64_t seen;
};

static int visit_count(int dirfd, void *data)
{
	_cleanup_free_ char *text = NULL;
	uint64_t *sum = data, kills = 0;

	if (file_read(dirfd, "memory.oom_control", 4096, &text) >= 0 && text_key(text, "oom_kill", &kills))
		*sum += kills;
	return 0;
}

/* False when the cgroup is gone. */
static bool read_count(struct cgroup_oom *watch, uint64_t *out)
{
	char text[1024];
	ssize_t n;

	*out = 0;
	if (!watch->v2)
		return tree_visit(watch->cg, watch->index, visit_count, out) == 0;
	n = pread(watch->fd, text, sizeof(text) - 1, 0);
	if (n < 0)
		return false;
	text[n] = '\0';
	text_key(text, "oom_kill", out);
	return true;
}

static void stop(struct cgroup_oom *watch)
{
	loop_fd_remove(&watch->source);
	loop_timer_remove(&watch->again);
}

/* Tells what is new. The owner may free the watch from within: nothing of it is touched afterwards. */
static bool look(struct cgroup_oom *watch)
{
	uint64_t now, before = watch->seen;

	if (!read_count(watch, &now)) {
		stop(watch);
		return false;
	}
	/* On v1 a nested cgroup that was removed takes its count along. */
	watch->seen = now;
	if (now <= before)
		return false;
	watch->fn(now - before, watch->data);
	return true;
}

static void on_again(struct loop_timer *timer)
{
	struct cgroup_oom *watch = container_of(timer, struct cgroup_oom, again);

	if (watch->round < array_length(again_ms))
		loop_timer_set(watch->loop, timer, again_ms[watch->round++], on_again);
	look(watch);
}

static bool is_there(const struct cgroup_oom *watch)
{
	_cleanup_dir_of_cgroup_ struct cgroup_dir dir;

	return cgroup_dir_open(watch->cg, watch->index, &dir) == 0;
}

static void on_event(struct loop_fd *source, uint32_t events)
{
	struct cgroup_oom *watch = container_of(source, struct cgroup_oom, source);
	uint64_t count = 0;

	(void)events;
	if (watch->v2) {
		look(watch);
		return;
	}
	if (read(watch->fd, &count, sizeof(count)) != sizeof(count))
		return;
	if (!is_there(watch)) {
		stop(watch);
		return;
	}
	if (!watch->counts) {
		watch->fn(count, watch->data);
		return;
	}
	watch->round = 0;
	on_again(&watch->again);
}

static int open_v2(struct cgroup_oom *watch, const struct cgroup_dir *dir)
{
	watch->fd = openat(dir->fd, "memory.events", O_RDONLY | O_CLOEXEC);
	if (watch->fd < 0)
		return -errno;
	watch->counts = true;
	return loop_fd_add(watch->loop, &watch->source, watch->fd, EPOLLPRI, on_event);
}

static int open_v1(struct cgroup_oom *watch, const struct cgroup_dir *dir)
{
	_cleanup_fd_ int control = openat(dir->fd, "memory.oom_control", O_RDONLY | O_CLOEXEC);
	uint64_t unused;
	int r;

	if (control < 0)
		return -errno;
	watch->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (watch->fd < 0)
		return -errno;
	watch->counts = knob_read_key(dir, "memory.oom_control", "oom_kill", &unused);
	r = knob_try(dir, "cgroup.event_control", "%d %d", watch->fd, control);
	return r < 0 ? r : loop_fd_add(watch->loop, &watch->source, watch->fd, EPOLLIN, on_event);
}

struct cgroup_oom *cgroup_oom_watch(struct cgroup *cg, struct loop *loop,
				    void (*fn)(uint64_t kills, void *data), void *data, struct error *e)
{
	_cleanup_dir_of_cgroup_ struct cgroup_dir dir = {.fd = -1};
	int index = host_find(cg->host, CONTROLLER_MEMORY);
	struct cgroup_oom *watch = calloc(1, sizeof(*watch));
	int r = watch ? cgroup_dir_open(cg, index, &dir) : -ENOMEM;

	if (r == 0) {
		*watch = (struct cgroup_oom){
			.cg = cg, .loop = loop, .fn = fn, .data = data, .fd = -1, .index = index};
		watch->v2 = dir.hierarchy->v2;
		r = watch->v2 ? open_v2(watch, &dir) : open_v1(watch, &dir);
		if (r == 0)
			read_count(watch, &watch->seen);
	} else if (watch) {
		watch->fd = -1;
	}
	if (r < 0) {
		cgroup_oom_free(watch);
		error_errno(e, -r, "watch cgroup \"%s\" for lack of memory", cg->path);
		return NULL;
	}
	return watch;
}

void cgroup_oom_check(struct cgroup_oom *watch)
{
	if (watch && watch->counts)
		look(watch);
}

void cgroup_oom_free(struct cgroup_oom *watch)
{
	if (!watch)
		return;
	stop(watch);
	fd_close(watch->fd);
	free(watch);
}
