/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Freezing, killing, removing.
 *
 * Killing everything in a cgroup has two forms. v2 kernels from 5.14 on do it themselves, forks and nested
 * cgroups included. Elsewhere the cgroup is frozen, so that nobody forks away meanwhile, everybody in it and
 * below gets the signal, and it is thawed, so that they die; again until nobody is left. A machine without a
 * freezer gets sweeps until one finds nobody.
 *
 * Nothing here is done to a cgroup that we refused to create over somebody else's processes, or that we are
 * in. A pid is signalled through a descriptor that was opened before the pid was seen in the list for the
 * last time, so that a number that was given to another process meanwhile is not hit.
 */
#include "cgroup/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"

enum { FREEZE_MS = 5000, KILL_MS = 5000, DELETE_MS = 10000 };

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void pause_ms(unsigned ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&ts, NULL);
}

/* --- the freezer ---------------------------------------------------------------------------------------- */

struct freezer {
	struct cgroup_dir dir;
	bool v2;
};

/* v2's where there is one (hybrid too: processes are there as well), else v1's. -ENOENT where there is
 * none. */
static int freezer_open(const struct cgroup *cg, struct freezer *out)
{
	int index = host_find(cg->host, CONTROLLER_FREEZER);

	out->v2 = false;
	out->dir = (struct cgroup_dir){.fd = -1};
	if (index >= 0 && cgroup_dir_open(cg, index, &out->dir) == 0)
		return 0;
	out->v2 = true;
	if (cgroup_dir_open(cg, host_v2(cg->host), &out->dir) == 0 && knob_exists(&out->dir, "cgroup.freeze"))
		return 0;
	cgroup_dir_close(&out->dir);
	return -ENOENT;
}

static int freezer_write(const struct freezer *f, bool freeze)
{
	if (f->v2)
		return knob_try(&f->dir, "cgroup.freeze", "%d", freeze);
	return knob_try(&f->dir, "freezer.state", "%s", freeze ? "FROZEN" : "THAWED");
}

static bool freezer_is_frozen(const struct freezer *f)
{
	_cleanup_free_ char *state = NULL;
	uint64_t frozen = 0;

	if (f->v2)
		return knob_read_key(&f->dir, "cgroup.events", "frozen", &frozen) && frozen;
	state = knob_read(&f->dir, "freezer.state");
	return str_equal(state, "FROZEN");
}

/*
 * v1 has no notification and may hang in FREEZING while somebody forks: a thaw in between lets that end. v2
 * tells in cgroup.events, but short sleeps are as quick and the same for both.
 */
static int freezer_freeze(const struct freezer *f, unsigned timeout_ms)
{
	uint64_t deadline = now_ms() + timeout_ms;
	unsigned wait = 1;
	int r = 0;

	for (unsigned round = 1; r == 0; round++) {
		if (round == 1 || !f->v2)
			r = freezer_write(f, true);
		if (r == 0 && freezer_is_frozen(f))
			return 0;
		if (now_ms() >= deadline)
			r = -ETIMEDOUT;
		if (r == 0 && !f->v2 && round % 50 == 0)
			freezer_write(f, false);
		if (r == 0)
			pause_ms(wait);
		wait = wait < 10 ? wait + 1 : 10;
	}
	freezer_write(f, false);
	return r;
}

static int freezer_error(const struct cgroup *cg, const char *verb, int r, struct error *e)
{
	if (r == -ETIMEDOUT)
		return error_set(e, STATUS_DEADLINE_EXCEEDED, ETIMEDOUT,
				 "%s cgroup \"%s\": not done after %d ms, given up", verb, cg->path,
				 FREEZE_MS);
	return error_errno(e, -r, "%s cgroup \"%s\"", verb, cg->path);
}

int cgroup_freeze(struct cgroup *cg, struct error *e)
{
	struct freezer f;
	int r = cgroup_check_ours(cg, "frozen", e);

	if (r == 0)
		r = cgroup_check_owner(cg, e);
	if (r < 0)
		return r;
	if (cg->driver == CGROUP_SYSTEMD && cg->host->layout == CGROUP_V2 &&
	    systemd_freeze(cg, true, NULL) < 0)
		log_info("cgroup", "systemd did not freeze the unit: done without it", "unit", cg->unit);
	r = freezer_open(cg, &f);
	if (r == 0)
		r = freezer_freeze(&f, FREEZE_MS);
	cgroup_dir_close(&f.dir);
	return r < 0 ? freezer_error(cg, "freeze", r, e) : 0;
}

int cgroup_thaw(struct cgroup *cg, struct error *e)
{
	struct freezer f;
	int r = cgroup_check_ours(cg, "thawed", e);

	if (r == 0)
		r = cgroup_check_owner(cg, e);
	if (r < 0)
		return r;
	if (cg->driver == CGROUP_SYSTEMD && cg->host->layout == CGROUP_V2 &&
	    systemd_freeze(cg, false, NULL) < 0)
		log_info("cgroup", "systemd did not thaw the unit: done without it", "unit", cg->unit);
	r = freezer_open(cg, &f);
	if (r == 0)
		r = freezer_write(&f, false);
	int index = r == 0 ? (int)(f.dir.hierarchy - cg->host->hierarchies) : -1;
	cgroup_dir_close(&f.dir);
	return r < 0 ? freezer_error(cg, "thaw", r, e) : hold_check_above(cg, index, e);
}

bool cgroup_frozen(const struct cgroup *cg)
{
	struct freezer f;
	bool frozen = freezer_open(cg, &f) == 0 && freezer_is_frozen(&f);

	cgroup_dir_close(&f.dir);
	return frozen;
}

/* --- signals -------------------------------------------------------------------------------------------- */

enum { SWEEP_FDS = 256 };

static bool list_has(const struct pid_list *list, pid_t pid)
{
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (list->pids[middle] == pid)
			return true;
		if (list->pids[middle] < pid)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* A batch of pids: opened, seen again, signalled. */
static int sweep_batch(const struct cgroup *cg, const pid_t *pids, size_t n, int signal)
{
	_cleanup_pids_ struct pid_list again = {.pids = NULL};
	int fds[SWEEP_FDS], r;

	for (size_t i = 0; i < n; i++)
		fds[i] = (int)syscall(SYS_pidfd_open, pids[i], 0);
	r = tree_all_pids(cg, &again);
	for (size_t i = 0; i < n; i++) {
		if (r == 0 && fds[i] >= 0 && list_has(&again, pids[i]))
			syscall(SYS_pidfd_send_signal, fds[i], signal, NULL, 0);
		fd_close(fds[i]);
	}
	return r;
}

/* Count of those that were there, or -errno. */
static ssize_t sweep(const struct cgroup *cg, int signal)
{
	_cleanup_pids_ struct pid_list list = {.pids = NULL};
	int r = tree_all_pids(cg, &list);

	for (size_t i = 0; i < list.count && r == 0; i += SWEEP_FDS) {
		size_t n = list.count - i < SWEEP_FDS ? list.count - i : SWEEP_FDS;

		r = sweep_batch(cg, list.pids + i, n, signal);
	}
	return r < 0 ? r : (ssize_t)list.count;
}

/* Freezes all v1 and v2 freezers that work on it for a sweep, and thaws after it: also what was paused
 * before. */
static int sweep_frozen(const struct cgroup *cg)
{
	struct freezer f;
	ssize_t n;

	if (freezer_open(cg, &f) < 0)
		return (int)sweep(cg, SIGKILL);
	freezer_freeze(&f, 500);
	n = sweep(cg, SIGKILL);
	freezer_write(&f, false);
	cgroup_dir_close(&f.dir);
	return (int)n;
}

static bool kill_by_kernel(const struct cgroup *cg)
{
	_cleanup_dir_of_cgroup_ struct cgroup_dir dir = {.fd = -1};

	return cgroup_dir_open(cg, host_v2(cg->host), &dir) == 0 && knob_try(&dir, "cgroup.kill", "1") == 0;
}

/* Dying takes a moment: waits for cgroup.events to say that nobody is left; false where it cannot know. */
static void wait_empty(const struct cgroup *cg, uint64_t deadline)
{
	_cleanup_dir_of_cgroup_ struct cgroup_dir dir = {.fd = -1};
	_cleanup_fd_ int fd = -1;

	if (cgroup_dir_open(cg, host_v2(cg->host), &dir) < 0)
		return;
	fd = openat(dir.fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && now_ms() < deadline) {
		struct pollfd poller = {.fd = fd, .events = POLLPRI};
		uint64_t populated = 0;
		char text[256];
		ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

		if (n < 0)
			return;
		text[n] = '\0';
		if (!text_key(text, "populated", &populated) || !populated)
			return;
		/* Those of a freezer of v1 that somebody freezes again have to be thawed again. */
		int n_ready = poll(&poller, 1, cg->host->layout == CGROUP_V2 ? 100 : 10);
		if (n_ready < 0 && errno != EINTR)
			return;
		if (n_ready == 0)
			hold_thaw(cg);
	}
}

static int kill_everybody(struct cgroup *cg, unsigned timeout_ms, struct error *e)
{
	uint64_t deadline = now_ms() + timeout_ms;
	unsigned wait = 1;
	bool by_kernel = kill_by_kernel(cg);

	hold_thaw(cg);
	if (by_kernel) {
		/* Nobody comes out of a freeze of somebody else's, however long we wait. */
		if (hold_check_all(cg, e) < 0)
			return -EBUSY;
		wait_empty(cg, deadline);
	}
	while (tree_populated(cg)) {
		if (now_ms() >= deadline)
			return error_set(e, STATUS_INTERNAL, EBUSY,
					 "kill cgroup \"%s\": processes are left after %u ms", cg->path,
					 timeout_ms);
		/* In the hybrid layout a process may have left v2's directory by itself, but not v1's. */
		sweep_frozen(cg);
		hold_thaw(cg);
		if (hold_check_all(cg, e) < 0)
			return -EBUSY;
		pause_ms(wait);
		wait = wait < 50 ? wait * 2 : 50;
	}
	return 0;
}

int cgroup_kill(struct cgroup *cg, int signal, struct error *e)
{
	ssize_t n;
	int r = cgroup_check_ours(cg, "killed", e);

	if (r < 0)
		return r;
	if (owner_is_another(cg))
		return 0;
	if (signal == SIGKILL)
		return kill_everybody(cg, KILL_MS, e);
	n = sweep(cg, signal);
	return n < 0 ? error_errno(e, (int)-n, "signal cgroup \"%s\"", cg->path) : 0;
}

/* --- removal -------------------------------------------------------------------------------------------- */

/* Tries every hierarchy; the first error counts. */
static int remove_everywhere(const struct cgroup *cg)
{
	int first = 0;

	for (size_t i = 0; i < cg->host->count; i++) {
		int r = tree_remove(cg, (int)i);

		first = first ? first : r;
	}
	return first;
}

/* Those by which processes would be stopped and killed come last, while they may be needed. */
static int remove_if_empty(const struct cgroup *cg)
{
	int freezer = host_find(cg->host, CONTROLLER_FREEZER), v2 = host_v2(cg->host);

	for (int i = 0; i < (int)cg->host->count; i++) {
		int r = i == freezer || i == v2 ? 0 : tree_remove_empty(cg, i);

		if (r < 0)
			return r;
	}
	for (int i = 0; i < (int)cg->host->count; i++) {
		int r = i == freezer || i == v2 ? tree_remove_empty(cg, i) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

int cgroup_delete_empty(struct cgroup *cg, struct error *e)
{
	int r = cgroup_check_ours(cg, "removed", e);

	if (r < 0)
		return r;
	if (owner_is_another(cg))
		return 0;
	r = cg->driver == CGROUP_CGROUPFS ? remove_if_empty(cg) : -EBUSY;
	return r < 0 ? error_errno(e, -r, "remove cgroup \"%s\"", cg->path) : 0;
}

int cgroup_delete(struct cgroup *cg, struct error *e)
{
	uint64_t deadline = now_ms() + DELETE_MS;
	unsigned wait = 1;
	int r = cgroup_check_ours(cg, "removed", e);
	int killed = 0;

	if (r < 0)
		return r;
	if (owner_is_another(cg)) {
		log_info("cgroup", "another container has taken the cgroup: left alone", "cgroup", cg->path);
		return 0;
	}
	/* The usual end: everybody has gone by himself. */
	if (cg->driver == CGROUP_CGROUPFS && remove_if_empty(cg) == 0)
		return 0;
	if (tree_populated(cg))
		killed = kill_everybody(cg, KILL_MS, e);
	if (cg->driver == CGROUP_SYSTEMD)
		systemd_stop(cg);
	/* Busy for as long as somebody is still dying, or the payload makes new directories. */
	while ((r = remove_everywhere(cg)) == -EBUSY && now_ms() < deadline && killed == 0) {
		pause_ms(wait);
		wait = wait < 100 ? wait * 2 : 100;
	}
	if (killed < 0)
		return killed;
	if (r < 0 && !(cg->rootless && (r == -EACCES || r == -EPERM || r == -EROFS)))
		return error_errno(e, -r, "remove cgroup \"%s\"", cg->path);
	for (size_t i = 0; i < cg->host->count && cg->driver == CGROUP_CGROUPFS; i++)
		tree_remove_parents(cg, (int)i);
	return 0;
}
