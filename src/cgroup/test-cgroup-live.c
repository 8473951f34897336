/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On the real kernel, in whatever layout this machine has: every limit is written and read back, processes
 * are placed, frozen, counted, starved and killed, and nothing is left behind. What this kernel lacks is
 * skipped, with the reason.
 *
 * The program puts itself into a pid namespace of its own first, so that a wrong pid hits nobody; all cgroups
 * are below one that bears the program's name and pid. To run it inside a virtual machine take it there with
 * its libraries, or:
 *     cc -static … test-cgroup-live.c -lcmocka
 * It does nothing without root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/bpf.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "cgroup/internal.h"

#define SET(v)                                                                                               \
	{                                                                                                    \
		true, v                                                                                      \
	}
#define SKIP(...)                                                                                            \
	do {                                                                                                 \
		print_message("skipped: " __VA_ARGS__);                                                      \
		print_message("\n");                                                                         \
		skip();                                                                                      \
	} while (0)

static struct cgroup_host *host;
static char parent[64]; /* "kata-c-test-123" */

static bool is_v2(void)
{
	return cgroup_host_layout(host) == CGROUP_V2;
}

static struct cgroup *make_cgroup(const char *name, const struct cgroup_resources *r)
{
	struct error e = ERROR_INIT;
	char path[256];
	struct cgroup *cg;

	snprintf(path, sizeof(path), "/%s/%s", parent, name);
	cg = cgroup_new(host, CGROUP_CGROUPFS, path, "id", false, &e);
	if (!cg || cgroup_create(cg, r, &e) < 0 || (r && cgroup_set(cg, r, &e) < 0))
		fail_msg("%s", e.text);
	return cg;
}

static void drop_cgroup(struct cgroup *cg)
{
	struct error e = ERROR_INIT;

	if (cgroup_delete(cg, &e) < 0)
		fail_msg("%s", e.text);
	for (size_t i = 0; i < host->count; i++)
		assert_int_equal(access(cg->dirs[i], F_OK), -1);
	cgroup_free(cg);
}

/* Content of the cgroup's file, newline cut; "(none)" when missing. */
static const char *knob(const struct cgroup *cg, const char *controller, const char *file)
{
	static char text[4096];
	char path[512];
	const char *dir = cgroup_directory(cg, controller);
	_cleanup_fd_ int fd = -1;
	ssize_t n;

	if (!dir)
		return "(none)";
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return "(none)";
	while (n > 0 && text[n - 1] == '\n')
		n--;
	text[n] = '\0';
	return text;
}

static void attach(struct cgroup *cg, pid_t pid)
{
	struct error e = ERROR_INIT;

	if (cgroup_attach(cg, pid, &e) < 0)
		fail_msg("%s", e.text);
}

/* A child that waits for a byte on its pipe, then runs @fn and exits with what that returns. */
struct helper {
	pid_t pid;
	int gate;
};

static struct helper start(int (*fn)(void *), void *argument)
{
	int pipes[2];
	struct helper h;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	h.gate = pipes[1];
	h.pid = fork();
	assert_true(h.pid >= 0);
	if (h.pid == 0) {
		char c;

		close(pipes[1]);
		if (read(pipes[0], &c, 1) != 1)
			_exit(99);
		_exit(fn(argument));
	}
	close(pipes[0]);
	return h;
}

static void release(struct helper *h)
{
	assert_int_equal(write(h->gate, "x", 1), 1);
	h->gate = fd_close(h->gate);
}

static int await(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int run_in(struct cgroup *cg, int (*fn)(void *), void *argument)
{
	struct helper h = start(fn, argument);

	attach(cg, h.pid);
	release(&h);
	return await(h.pid);
}

static int sleep_long(void *argument)
{
	(void)argument;
	sleep(60);
	return 0;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* --- making and removing -------------------------------------------------------------------------------- */

static void test_create_everywhere_and_delete(void **state)
{
	struct cgroup *cg = make_cgroup("a.slice/p/ctr", NULL);

	(void)state;
	for (size_t i = 0; i < host->count; i++)
		assert_int_equal(access(cg->dirs[i], F_OK), 0);
	if (cgroup_directory(cg, "cpuset") && !is_v2()) {
		assert_true(*knob(cg, "cpuset", "cpuset.cpus") != '\0');
		assert_true(*knob(cg, "cpuset", "cpuset.mems") != '\0');
	}
	drop_cgroup(cg);
}

static void test_w10_nothing_is_left_but_what_is_not_ours(void **state)
{
	struct cgroup *cg = make_cgroup("pod/ctr", NULL);
	struct cgroup *other = make_cgroup("pod/other", NULL);
	char path[512], pod[512];

	(void)state;
	/* A payload's own directories, with a name that a careless walk overlooks. */
	for (size_t i = 0; i < host->count; i++) {
		snprintf(path, sizeof(path), "%s/.hidden", cg->dirs[i]);
		assert_int_equal(mkdir(path, 0755), 0);
		snprintf(path, sizeof(path), "%s/.hidden/deep", cg->dirs[i]);
		assert_int_equal(mkdir(path, 0755), 0);
	}
	drop_cgroup(cg);
	snprintf(pod, sizeof(pod), "%s/..", other->dirs[0]);
	assert_int_equal(access(pod, F_OK), 0);
	snprintf(pod, sizeof(pod), "%s/%s/pod", host->hierarchies[0].mount, parent);
	assert_int_equal(access(pod, F_OK), 0);
	drop_cgroup(other);
	/* The last one takes the pod's along. */
	assert_int_equal(access(pod, F_OK), -1);

	/* A directory of somebody else's stays, however empty. */
	snprintf(path, sizeof(path), "%s/%s", host->hierarchies[0].mount, parent);
	assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
	removexattr(path, CGROUP_MARK);
	drop_cgroup(make_cgroup("x", NULL));
	assert_int_equal(rmdir(path), 0);
}

/* The kernel's own files are in the way of such a path, or a limit of depth is. */
static void test_w10_a_creation_that_fails_on_its_way_leaves_no_level(void **state)
{
	static const char *const ends[] = {"middle/cgroup.procs/below/leaf", "cgroup.procs/leaf",
					   "cgroup.procs"};
	struct error e = ERROR_INIT;
	char path[512];

	(void)state;
	for (size_t end = 0; end < array_length(ends); end++) {
		struct cgroup *cg;

		snprintf(path, sizeof(path), "/%s/upper/%s", parent, ends[end]);
		cg = cgroup_new(host, CGROUP_CGROUPFS, path, "id", false, &e);
		assert_non_null(cg);
		assert_int_equal(cgroup_create(cg, NULL, &e), -ENOTDIR);
		for (size_t i = 0; i < host->count; i++) {
			snprintf(path, sizeof(path), "%s/%s/upper", host->hierarchies[i].mount, parent);
			assert_int_equal(access(path, F_OK), -1);
		}
		cgroup_free(cg);
	}
}

static void test_w01_a_cgroup_in_use_is_refused_and_survives(void **state)
{
	struct cgroup *cg = make_cgroup("used", NULL);
	struct helper h = start(sleep_long, NULL);
	struct error e = ERROR_INIT;
	char path[128];
	struct cgroup *again;

	(void)state;
	attach(cg, h.pid);
	release(&h);
	snprintf(path, sizeof(path), "/%s/used", parent);
	again = cgroup_new(host, CGROUP_CGROUPFS, path, "id", false, &e);
	assert_int_equal(cgroup_create(again, NULL, &e), -EBUSY);
	assert_int_equal(cgroup_delete(again, &e), -EPERM);
	assert_int_equal(kill(h.pid, 0), 0);
	cgroup_free(again);
	assert_int_equal(cgroup_kill(cg, SIGKILL, &e), 0);
	await(h.pid);
	drop_cgroup(cg);
}

/* A forked job has closed the kept roots, and may have other files under their numbers. */
static void test_a_forked_child_does_not_trust_kept_roots(void **state)
{
	struct cgroup *cg = make_cgroup("forked/one", NULL);
	char path[128];
	pid_t pid = fork();

	(void)state;
	snprintf(path, sizeof(path), "/%s/forked/two", parent);
	if (pid == 0) {
		struct error e = ERROR_INIT;
		struct cgroup *two = cgroup_new(host, CGROUP_CGROUPFS, path, "id", false, &e);
		bool fine = two != NULL;

		fd_close_all_but(NULL, 0);
		for (int i = 0; i < 40; i++)
			fine = fine && open("/tmp", O_RDONLY | O_CLOEXEC) >= 0;
		fine = fine && cgroup_create(two, NULL, &e) == 0 && cgroup_delete_empty(cg, &e) == 0;
		for (size_t i = 0; fine && i < host->count; i++)
			fine = access(two->dirs[i], F_OK) == 0 && access(cg->dirs[i], F_OK) < 0;
		fine = fine && cgroup_delete(two, &e) == 0;
		_exit(!fine);
	}
	assert_int_equal(await(pid), 0);
	drop_cgroup(cg);
}

static void test_only_what_is_empty_is_removed_at_once(void **state)
{
	struct cgroup *cg = make_cgroup("empty/ctr", NULL);
	struct helper h = start(sleep_long, NULL);
	struct error e = ERROR_INIT;
	char pod[512];

	(void)state;
	attach(cg, h.pid);
	release(&h);
	assert_int_equal(cgroup_delete_empty(cg, &e), -EBUSY);
	assert_int_equal(kill(h.pid, 0), 0);
	for (size_t i = 0; i < host->count; i++)
		assert_int_equal(access(cg->dirs[i], F_OK), 0);
	assert_int_equal(cgroup_kill(cg, SIGKILL, &e), 0);
	await(h.pid);
	assert_int_equal(cgroup_delete_empty(cg, &e), 0);
	for (size_t i = 0; i < host->count; i++) {
		snprintf(pod, sizeof(pod), "%s/..", cg->dirs[i]);
		assert_int_equal(access(pod, F_OK), -1);
	}
	cgroup_free(cg);
}

/* --- freezes of others ---------------------------------------------------------------------------------- */

/* Tells a freezer's directory @index to freeze or thaw, behind our back. */
static bool tell_freezer(const struct cgroup *cg, int index, const char *below, bool freeze)
{
	bool v2 = host->hierarchies[index].v2;
	char path[512];
	_cleanup_fd_ int fd = -1;

	snprintf(path, sizeof(path), "%s/%s/%s", cg->dirs[index], below,
		 v2 ? "cgroup.freeze" : "freezer.state");
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	return v2 ? write(fd, freeze ? "1" : "0", 1) == 1 : write(fd, freeze ? "FROZEN" : "THAWED", 6) == 6;
}

static void frozen_is_refused(int index, const char *below, const char *what)
{
	struct cgroup *above = make_cgroup("cold/above", NULL), *cg;
	struct error e = ERROR_INIT;
	char path[256], named[300];

	assert_true(tell_freezer(above, index, below, true));
	snprintf(path, sizeof(path), "/%s/%s", parent, what);
	cg = cgroup_new(host, CGROUP_CGROUPFS, path, "id", false, &e);
	assert_int_equal(cgroup_create(cg, NULL, &e), -EBUSY);
	assert_int_equal(e.code, STATUS_FAILED_PRECONDITION);
	snprintf(named, sizeof(named), "frozen (by \"%s/cold%s\")", parent, *below ? "" : "/above");
	if (!strstr(e.text, named))
		fail_msg("%s is not in %s", named, e.text);
	/* Systemd's are looked at before they are there. */
	e = (struct error)ERROR_INIT;
	cg->driver = CGROUP_SYSTEMD;
	assert_int_equal(cgroup_create(cg, NULL, &e), -EBUSY);
	assert_non_null(strstr(e.text, named));
	cg->driver = CGROUP_CGROUPFS;
	/* It has frozen nothing and thawed nothing of theirs, and what it made is gone. */
	assert_int_equal(access(above->dirs[index], F_OK), 0);
	if (strcmp(what, "cold/above") != 0)
		assert_int_equal(access(cg->dirs[index], F_OK), -1);
	assert_true(tell_freezer(above, index, below, false));
	e = (struct error)ERROR_INIT;
	assert_int_equal(cgroup_create(cg, NULL, &e), 0);
	assert_int_equal(cgroup_delete(cg, &e), 0);
	cgroup_free(cg);
	cgroup_delete(above, &e);
	cgroup_free(above);
}

static void test_what_is_frozen_is_refused_by_name(void **state)
{
	const int freezers[] = {host_find(host, CONTROLLER_FREEZER), host_v2(host)};

	(void)state;
	for (size_t i = 0; i < array_length(freezers); i++) {
		if (freezers[i] < 0 || (i == 1 && freezers[0] == freezers[1]))
			continue;
		frozen_is_refused(freezers[i], "", "cold/above");
		frozen_is_refused(freezers[i], "..", "cold/ctr");
		frozen_is_refused(freezers[i], "..", "cold/new/pod/ctr");
	}
}

static void test_who_is_frozen_by_others_is_told_of_soon(void **state)
{
	struct cgroup *cg, *above;
	struct error e = ERROR_INIT;
	struct helper h;
	int index = host_find(host, CONTROLLER_FREEZER);
	uint64_t begin;

	(void)state;
	if (index < 0 || host->hierarchies[index].v2)
		SKIP("no freezer of v1");
	above = make_cgroup("theirs/other", NULL);
	cg = make_cgroup("theirs/ctr", NULL);
	h = start(sleep_long, NULL);
	attach(cg, h.pid);
	release(&h);
	/* Ours is thawed. */
	assert_true(tell_freezer(cg, index, "", true));
	assert_int_equal(cgroup_let_die(cg, h.pid, &e), 0);
	assert_string_equal(knob(cg, "freezer", "freezer.state"), "THAWED");
	/* That of those above is not, and nobody waits for it. */
	assert_true(tell_freezer(cg, index, "..", true));
	assert_int_equal(cgroup_let_die(cg, h.pid, &e), -EBUSY);
	assert_non_null(strstr(e.text, "/theirs\")"));
	e = (struct error)ERROR_INIT;
	assert_int_equal(cgroup_thaw(cg, &e), -EBUSY);
	assert_non_null(strstr(e.text, "stays frozen by"));
	begin = now_ms();
	assert_int_equal(cgroup_kill(cg, SIGKILL, &e), -EBUSY);
	assert_non_null(strstr(e.text, "cannot die before that is thawed"));
	assert_int_equal(cgroup_delete(cg, &e), -EBUSY);
	assert_true(now_ms() - begin < 2500);
	assert_string_equal(knob(above, "freezer", "freezer.state"), "FROZEN");
	assert_true(tell_freezer(cg, index, "..", false));
	assert_int_equal(WTERMSIG(await(h.pid)), SIGKILL);
	drop_cgroup(cg);
	/* The process is ours, the freezer where somebody has put it is not. */
	cg = make_cgroup("ours", NULL);
	h = start(sleep_long, NULL);
	attach(cg, h.pid);
	release(&h);
	{
		char path[512];
		_cleanup_fd_ int fd = -1;

		snprintf(path, sizeof(path), "%s/cgroup.procs", above->dirs[index]);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		assert_true(fd >= 0 && dprintf(fd, "%d", (int)h.pid) > 0);
	}
	assert_true(tell_freezer(above, index, "", true));
	begin = now_ms();
	e = (struct error)ERROR_INIT;
	assert_int_equal(cgroup_kill(cg, SIGKILL, &e), -EBUSY);
	assert_non_null(strstr(e.text, "theirs/other"));
	assert_true(now_ms() - begin < 2500);
	assert_true(tell_freezer(above, index, "", false));
	assert_int_equal(WTERMSIG(await(h.pid)), SIGKILL);
	drop_cgroup(cg);
	drop_cgroup(above);
}

/* Freezes a cgroup again and again, as a payload may that has two. */
static int freeze_again(void *argument)
{
	const struct cgroup *cg = argument;
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/freezer.state", cgroup_directory(cg, "freezer"));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	while (fd >= 0) {
		(void)!write(fd, "FROZEN", 6);
		usleep(2000);
	}
	return 1;
}

static void test_one_that_is_frozen_again_dies_all_the_same(void **state)
{
	struct cgroup *cg;
	struct error e = ERROR_INIT;
	struct helper inside, outside;
	int index = host_find(host, CONTROLLER_FREEZER);

	(void)state;
	if (index < 0 || host->hierarchies[index].v2)
		SKIP("no freezer of v1");
	cg = make_cgroup("stubborn", NULL);
	inside = start(sleep_long, NULL);
	assert_true(cgroup_holds(cg, 0));
	assert_false(cgroup_holds(cg, inside.pid));
	attach(cg, inside.pid);
	assert_true(cgroup_holds(cg, inside.pid));
	release(&inside);
	outside = start(freeze_again, cg);
	release(&outside);
	usleep(20000);
	int r = cgroup_kill(cg, SIGKILL, &e);
	kill(outside.pid, SIGKILL);
	await(outside.pid);
	if (r < 0)
		fail_msg("%s", e.text);
	assert_int_equal(WTERMSIG(await(inside.pid)), SIGKILL);
	drop_cgroup(cg);
}

/* --- two of one path ------------------------------------------------------------------------------------ */

static struct cgroup *owned(const char *id, uint64_t born)
{
	struct error e = ERROR_INIT;
	char path[256];
	struct cgroup *cg;

	snprintf(path, sizeof(path), "/%s/shared", parent);
	cg = cgroup_new(host, CGROUP_CGROUPFS, path, id, false, &e);
	assert_non_null(cg);
	assert_int_equal(cgroup_set_owner(cg, born), 0);
	return cg;
}

static void test_the_end_of_the_first_is_not_that_of_the_second(void **state)
{
	/* Also of the same id. */
	static const struct {
		const char *id;
		uint64_t born;
	} seconds[] = {{"b", 1}, {"a", 2}};
	struct error e = ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < array_length(seconds); i++) {
		struct cgroup *a = owned("a", 1), *b = owned(seconds[i].id, seconds[i].born);
		struct helper h = start(sleep_long, NULL);

		assert_int_equal(cgroup_create(a, NULL, &e), 0);
		assert_int_equal(cgroup_check_owner(a, &e), 0);
		/* The first has nobody in it. */
		assert_int_equal(cgroup_create(b, NULL, &e), 0);
		attach(b, h.pid);
		release(&h);
		assert_int_equal(cgroup_check_owner(b, &e), 0);
		assert_int_equal(cgroup_check_owner(a, &e), -EBUSY);
		assert_non_null(strstr(e.text, seconds[i].id));
		assert_true(cgroup_freeze(a, &e) < 0);
		assert_int_equal(cgroup_kill(a, SIGKILL, &e), 0);
		assert_int_equal(cgroup_delete_empty(a, &e), 0);
		assert_int_equal(cgroup_delete(a, &e), 0);
		usleep(50000);
		assert_int_equal(waitpid(h.pid, NULL, WNOHANG), 0);
		for (size_t k = 0; k < host->count; k++)
			assert_int_equal(access(b->dirs[k], F_OK), 0);
		/* One that came too late leaves the name as it was. */
		e = (struct error)ERROR_INIT;
		assert_int_equal(cgroup_create(a, NULL, &e), -EBUSY);
		assert_int_equal(cgroup_check_owner(b, &e), 0);
		drop_cgroup(b);
		assert_int_equal(WTERMSIG(await(h.pid)), SIGKILL);
		cgroup_free(a);
	}
}

/* --- limits --------------------------------------------------------------------------------------------- */

struct expected {
	const char *v1_controller, *v1_file, *v1_text;
	const char *v2_file, *v2_text;
};

static void read_back(const struct cgroup *cg, const struct expected *x)
{
	const char *file = is_v2() ? x->v2_file : x->v1_file;
	const char *wanted = is_v2() ? x->v2_text : x->v1_text;
	const char *controller = is_v2() ? NULL : x->v1_controller;

	if (!file)
		return;
	if (strcmp(knob(cg, controller, file), wanted) != 0)
		fail_msg("%s: \"%s\", not \"%s\"", file, knob(cg, controller, file), wanted);
}

static void need(const char *controller)
{
	if (!cgroup_host_has(host, controller))
		SKIP("no controller %s", controller);
}

static void test_cpu_is_read_back(void **state)
{
	struct cgroup_resources r = {.cpu = {.shares = SET(512), .quota = SET(50000), .period = SET(100000)}};
	static const struct expected x[] = {
		{"cpu", "cpu.shares", "512", "cpu.weight", "20"},
		{"cpu", "cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000"},
		{"cpu", "cpu.cfs_period_us", "100000", NULL, NULL},
	};
	struct cgroup *cg;
	struct error e = ERROR_INIT;

	(void)state;
	need("cpu");
	cg = make_cgroup("cpu", &r);
	for (size_t i = 0; i < array_length(x); i++)
		read_back(cg, &x[i]);
	/* Burst needs a quota that is there; both at once, in either direction. */
	if (*knob(cg, is_v2() ? NULL : "cpu", is_v2() ? "cpu.max.burst" : "cpu.cfs_burst_us") != '(') {
		struct cgroup_resources up = {.cpu = {.quota = SET(80000), .burst = SET(70000)}};
		struct cgroup_resources down = {.cpu = {.quota = SET(20000), .burst = SET(10000)}};

		assert_int_equal(cgroup_set(cg, &up, &e), 0);
		read_back(cg,
			  &(struct expected){"cpu", "cpu.cfs_burst_us", "70000", "cpu.max.burst", "70000"});
		assert_int_equal(cgroup_set(cg, &down, &e), 0);
		read_back(cg,
			  &(struct expected){"cpu", "cpu.cfs_burst_us", "10000", "cpu.max.burst", "10000"});
		assert_int_equal(cgroup_set(cg, &(struct cgroup_resources){.cpu = {.burst = SET(0)}}, &e), 0);
	}
	/* Quota and period lowered together, where the old period would make the new quota too small. */
	assert_int_equal(
		cgroup_set(cg, &(struct cgroup_resources){.cpu = {.quota = SET(1000), .period = SET(2000)}},
			   &e),
		0);
	read_back(cg, &(struct expected){"cpu", "cpu.cfs_quota_us", "1000", "cpu.max", "1000 2000"});
	assert_int_equal(cgroup_set(cg, &(struct cgroup_resources){.cpu = {.quota = SET(-1)}}, &e), 0);
	read_back(cg, &(struct expected){"cpu", "cpu.cfs_quota_us", "-1", "cpu.max", "max 2000"});
	assert_true(cgroup_set(cg, &(struct cgroup_resources){.cpu = {.period = SET(5)}}, &e) < 0);
	assert_non_null(strstr(e.text, "EINVAL"));
	drop_cgroup(cg);
}

static void test_w16_shares_are_clamped(void **state)
{
	struct cgroup *cg;
	struct error e = ERROR_INIT;

	(void)state;
	need("cpu");
	cg = make_cgroup("shares", &(struct cgroup_resources){.cpu = {.shares = SET(1)}});
	read_back(cg, &(struct expected){"cpu", "cpu.shares", "2", "cpu.weight", "1"});
	assert_int_equal(cgroup_set(cg, &(struct cgroup_resources){.cpu = {.shares = SET(1u << 30)}}, &e), 0);
	read_back(cg, &(struct expected){"cpu", "cpu.shares", "262144", "cpu.weight", "10000"});
	drop_cgroup(cg);
}

static void test_cpu_idle_is_read_back(void **state)
{
	struct cgroup *cg;
	struct error e = ERROR_INIT;
	const char *controller = is_v2() ? NULL : "cpu";

	(void)state;
	need("cpu");
	cg = make_cgroup("idle", NULL);
	if (*knob(cg, controller, "cpu.idle") == '(') {
		drop_cgroup(cg);
		SKIP("no cpu.idle");
	}
	assert_int_equal(
		cgroup_set(cg, &(struct cgroup_resources){.cpu = {.idle = SET(1), .shares = SET(99)}}, &e),
		0);
	assert_string_equal(knob(cg, controller, "cpu.idle"), "1");
	assert_int_equal(
		cgroup_set(cg, &(struct cgroup_resources){.cpu = {.idle = SET(0), .shares = SET(512)}}, &e),
		0);
	assert_string_equal(knob(cg, controller, "cpu.idle"), "0");
	read_back(cg, &(struct expected){"cpu", "cpu.shares", "512", "cpu.weight", "20"});
	drop_cgroup(cg);
}

static void test_realtime_is_read_back(void **state)
{
	struct cgroup *cg;
	struct error e = ERROR_INIT;
	char path[512];
	_cleanup_fd_ int dir = -1;

	(void)state;
	need("cpu");
	if (is_v2())
		SKIP("v2 has no real-time limits");
	cg = make_cgroup("rt", NULL);
	if (*knob(cg, "cpu", "cpu.rt_runtime_us") == '(') {
		drop_cgroup(cg);
		SKIP("a kernel without real-time groups");
	}
	/* The share of the level above is the administrator's to give. */
	snprintf(path, sizeof(path), "%s/..", cgroup_directory(cg, "cpu"));
	dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (file_write(dir, "cpu.rt_runtime_us", "20000") < 0) {
		drop_cgroup(cg);
		SKIP("no real-time left to give");
	}
	assert_int_equal(cgroup_set(cg,
				    &(struct cgroup_resources){.cpu = {.realtime_runtime = SET(5000),
								       .realtime_period = SET(500000)}},
				    &e),
			 0);
	assert_string_equal(knob(cg, "cpu", "cpu.rt_runtime_us"), "5000");
	assert_string_equal(knob(cg, "cpu", "cpu.rt_period_us"), "500000");
	drop_cgroup(cg);
}

static void test_cpuset_is_read_back(void **state)
{
	struct cgroup *cg;
	struct error e = ERROR_INIT;

	(void)state;
	need("cpuset");
	cg = make_cgroup("cpuset", &(struct cgroup_resources){.cpu = {.cpus = "0", .mems = "0"}});
	read_back(cg, &(struct expected){"cpuset", "cpuset.cpus", "0", "cpuset.cpus", "0"});
	read_back(cg, &(struct expected){"cpuset", "cpuset.mems", "0", "cpuset.mems", "0"});
	/* What does not exist is told, not swallowed. */
	assert_true(cgroup_set(cg, &(struct cgroup_resources){.cpu = {.cpus = "4000"}}, &e) < 0);
	assert_int_equal(cgroup_set(cg, &(struct cgroup_resources){.cpu = {.mems = "0-9"}}, &e), 0);
	assert_int_equal(cgroup_refresh_cpuset(cg, &e), 0);
	read_back(cg, &(struct expected){"cpuset", "cpuset.cpus", "0", "cpuset.cpus", "0"});
	drop_cgroup(cg);
}

static void test_memory_is_read_back(void **state)
{
	struct cgroup *cg;
	struct error e = ERROR_INIT;
	bool swap;

	(void)state;
	need("memory");
	cg = make_cgroup("memory", &(struct cgroup_resources){
					   .memory = {.limit = SET(64 << 20), .reservation = SET(32 << 20)}});
	swap = *knob(cg, is_v2() ? NULL : "memory",
		     is_v2() ? "memory.swap.max" : "memory.memsw.limit_in_bytes") != '(';
	read_back(cg, &(struct expected){"memory", "memory.limit_in_bytes", "67108864", "memory.max",
					 "67108864"});
	read_back(cg, &(struct expected){"memory", "memory.soft_limit_in_bytes", "33554432", "memory.low",
					 "33554432"});
	if (swap) {
		struct cgroup_resources up = {.memory = {.limit = SET(128 << 20), .swap = SET(192 << 20)}};
		struct cgroup_resources down = {.memory = {.limit = SET(16 << 20), .swap = SET(16 << 20)}};
		struct cgroup_resources only_limit = {.memory = {.limit = SET(32 << 20)}};
		struct cgroup_resources lifted = {.memory = {.limit = SET(-1)}};

		assert_int_equal(cgroup_set(cg, &up, &e), 0);
		read_back(cg, &(struct expected){"memory", "memory.memsw.limit_in_bytes", "201326592",
						 "memory.swap.max", "67108864"});
		assert_int_equal(cgroup_set(cg, &down, &e), 0);
		read_back(cg, &(struct expected){"memory", "memory.limit_in_bytes", "16777216", "memory.max",
						 "16777216"});
		read_back(cg, &(struct expected){"memory", "memory.memsw.limit_in_bytes", "16777216",
						 "memory.swap.max", "0"});
		/* Raised above the old memory+swap, which v1 refuses in one step. */
		assert_int_equal(cgroup_set(cg, &only_limit, &e), 0);
		read_back(cg, &(struct expected){"memory", "memory.memsw.limit_in_bytes", "33554432",
						 "memory.swap.max", "0"});
		assert_int_equal(cgroup_set(cg, &lifted, &e), 0);
		read_back(cg, &(struct expected){"memory", "memory.limit_in_bytes", "9223372036854771712",
						 "memory.max", "max"});
		read_back(cg, &(struct expected){"memory", "memory.memsw.limit_in_bytes",
						 "9223372036854771712", "memory.swap.max", "max"});
	} else {
		print_message("no swap accounting on this kernel\n");
	}
	assert_int_equal(cgroup_set(cg, &(struct cgroup_resources){.memory = {.swappiness = SET(150)}}, &e),
			 0);
	read_back(cg, &(struct expected){"memory", "memory.swappiness", "150", NULL, NULL});
	assert_int_equal(
		cgroup_set(cg, &(struct cgroup_resources){.memory = {.kernel_tcp = SET(1 << 20)}}, &e), 0);
	assert_int_equal(
		cgroup_set(cg, &(struct cgroup_resources){.memory = {.disable_oom_killer = true}}, &e), 0);
	if (!is_v2())
		assert_non_null(strstr(knob(cg, "memory", "memory.oom_control"), "oom_kill_disable 1"));
	drop_cgroup(cg);
}

static int fork_often(void *argument)
{
	int n = 0;

	(void)argument;
	for (; n < 40; n++) {
		pid_t pid = fork();

		if (pid < 0)
			break;
		if (pid == 0) {
			sleep(20);
			_exit(0);
		}
	}
	return n;
}

static void test_pids_is_read_back_and_holds(void **state)
{
	struct cgroup *cg;
	struct error e = ERROR_INIT;
	int status;

	(void)state;
	need("pids");
	cg = make_cgroup("pids", &(struct cgroup_resources){.pids = SET(10)});
	read_back(cg, &(struct expected){"pids", "pids.max", "10", "pids.max", "10"});
	status = run_in(cg, fork_often, NULL);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 9);
	assert_int_equal(cgroup_set(cg, &(struct cgroup_resources){.pids = SET(-1)}, &e), 0);
	read_back(cg, &(struct expected){"pids", "pids.max", "max", "pids.max", "max"});
	drop_cgroup(cg);
}

/* "8:0" of some disk of this machine. */
static bool some_disk(struct cgroup_device_u64 *out)
{
	_cleanup_dir_ DIR *dir = opendir("/sys/block");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char path[300], text[32] = "";
		_cleanup_fd_ int fd = -1;

		if (entry->d_name[0] == '.' || str_starts_with(entry->d_name, "loop"))
			continue;
		snprintf(path, sizeof(path), "/sys/block/%s/dev", entry->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 &&
		    sscanf(text, "%" SCNd64 ":%" SCNd64, &out->major, &out->minor) == 2)
			return true;
	}
	return false;
}

static void test_block_io_is_read_back(void **state)
{
	struct cgroup_device_u64 rate = {0, 0, 1 << 20}, nowhere = {250, 77, 5};
	struct cgroup_resources r = {.io = {.read_bps = &rate,
					    .n_read_bps = 1,
					    .write_iops = &rate,
					    .n_write_iops = 1,
					    .weight = SET(500)}};
	struct cgroup *cg;
	struct error e = ERROR_INIT;
	char text[64];

	(void)state;
	need("io");
	if (!some_disk(&rate))
		SKIP("no disk");
	cg = make_cgroup("io", NULL);
	if (*knob(cg, is_v2() ? NULL : "io", is_v2() ? "io.max" : "blkio.throttle.read_bps_device") == '(') {
		drop_cgroup(cg);
		SKIP("a kernel without block I/O throttling");
	}
	if (cgroup_set(cg, &r, &e) < 0)
		fail_msg("%s", e.text);
	snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " 1048576", rate.major, rate.minor);
	if (is_v2()) {
		assert_non_null(strstr(knob(cg, NULL, "io.max"), "rbps=1048576"));
		assert_non_null(strstr(knob(cg, NULL, "io.max"), "wiops=1048576"));
	} else {
		assert_string_equal(knob(cg, "io", "blkio.throttle.read_bps_device"), text);
		assert_string_equal(knob(cg, "io", "blkio.throttle.write_iops_device"), text);
	}
	/* A disk of the host's, which is not here. */
	r = (struct cgroup_resources){.io = {.read_bps = &nowhere, .n_read_bps = 1}};
	assert_int_equal(cgroup_set(cg, &r, &e), 0);
	drop_cgroup(cg);
}

static void test_hugepages_are_read_back(void **state)
{
	struct cgroup_named_u64 limit = {"2MB", 4 << 20};
	struct cgroup_resources r = {.hugepages = &limit, .n_hugepages = 1};
	struct cgroup *cg;
	int index = host_find(host, CONTROLLER_HUGETLB);
	struct cgroup_dir dir;
	char *text;

	(void)state;
	need("hugetlb");
	if (host->n_hugepages == 0)
		SKIP("no huge pages");
	limit.name = host->hugepages[0];
	cg = make_cgroup("hugetlb", &r);
	assert_int_equal(cgroup_dir_open(cg, index, &dir), 0);
	{
		char file[64];
		uint64_t size = strstr(limit.name, "GB") ? 0 : 4 << 20, got = 1;

		snprintf(file, sizeof(file), "hugetlb.%s.%s", limit.name,
			 host->hierarchies[index].v2 ? "max" : "limit_in_bytes");
		text = knob_read(&dir, file);
		assert_non_null(text);
		assert_int_equal(str_to_u64(text, 10, &got), 0);
		assert_int_equal(got, size);
		free(text);
	}
	cgroup_dir_close(&dir);
	drop_cgroup(cg);
}

static void test_net_cls_is_read_back(void **state)
{
	struct cgroup *cg;

	(void)state;
	need("net_cls");
	cg = make_cgroup("net", &(struct cgroup_resources){.net_class = SET(0x100001)});
	assert_string_equal(knob(cg, "net_cls", "net_cls.classid"), "1048577");
	drop_cgroup(cg);
}

static void test_unified_is_read_back(void **state)
{
	struct cgroup_text text = {"cgroup.max.depth", "7"};
	struct cgroup *cg;
	struct error e = ERROR_INIT;

	(void)state;
	if (host_v2(host) < 0)
		SKIP("no v2 here");
	cg = make_cgroup("unified", &(struct cgroup_resources){.unified = &text, .n_unified = 1});
	assert_string_equal(knob(cg, NULL, "cgroup.max.depth"), "7");
	text = (struct cgroup_text){"memory.nonsense", "7"};
	assert_true(cgroup_set(cg, &(struct cgroup_resources){.unified = &text, .n_unified = 1}, &e) < 0);
	assert_non_null(strstr(e.text, "memory.nonsense"));
	drop_cgroup(cg);
}

/* --- devices -------------------------------------------------------------------------------------------- */

/* Bits: 1 /dev/null opens, 2 /dev/zero opens, 4 a node of /dev/zero's kind can be made. */
static int try_devices(void *argument)
{
	int result = 0;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)argument;
	result |= fd >= 0 ? 1 : 0;
	fd_close(fd);
	fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	result |= fd >= 0 ? 2 : 0;
	fd_close(fd);
	if (mknod("/tmp/test-cgroup-node", S_IFCHR | 0600, 1 << 8 | 5) == 0) {
		result |= 4;
		unlink("/tmp/test-cgroup-node");
	}
	return result;
}

static int devices_of(struct cgroup *cg)
{
	int status = run_in(cg, try_devices, NULL);

	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static unsigned programs_attached(const struct cgroup *cg)
{
	union bpf_attr attr;
	_cleanup_fd_ int fd = open(cgroup_directory(cg, NULL), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	memset(&attr, 0, sizeof(attr));
	attr.query.target_fd = (uint32_t)fd;
	attr.query.attach_type = BPF_CGROUP_DEVICE;
	return syscall(SYS_bpf, BPF_PROG_QUERY, &attr, sizeof(attr)) < 0 ? 99 : attr.query.prog_cnt;
}

static const struct cgroup_device_rule only_null[] = {
	{false, 'a', -1, -1, "rwm"},
	{true, 'c', 1, 3, "rwm"},
};
static const struct cgroup_device_rule all_but_mknod[] = {
	{false, 'a', -1, -1, "rwm"},
	{true, 'c', 1, -1, "rwm"},
	{false, 'c', -1, -1, "m"},
};

static void test_w06_devices_by_program(void **state)
{
	struct cgroup_resources r = {.devices = only_null, .n_devices = 2, .devices_set = true};
	struct cgroup_dir dir;
	struct cgroup *cg;
	struct error e = ERROR_INIT;
	int result;

	(void)state;
	if (host_v2(host) < 0)
		SKIP("no v2 here");
	cg = make_cgroup("bpf", NULL);
	assert_int_equal(devices_of(cg), 7);
	assert_int_equal(cgroup_dir_open(cg, host_v2(host), &dir), 0);
	result = v2_set_devices(&dir, &r, &e);
	if (result == -EPERM || result == -ENOSYS || result == -EINVAL) {
		cgroup_dir_close(&dir);
		drop_cgroup(cg);
		SKIP("%s", e.text);
	}
	assert_int_equal(result, 0);
	assert_int_equal(devices_of(cg), 1);
	assert_int_equal(programs_attached(cg), 1);
	/* An update takes the old one's place. */
	r.devices = all_but_mknod;
	r.n_devices = 3;
	assert_int_equal(v2_set_devices(&dir, &r, &e), 0);
	assert_int_equal(devices_of(cg), 3);
	assert_int_equal(programs_attached(cg), 1);
	/* No list: nothing is touched. */
	assert_int_equal(v2_set_devices(&dir, &(struct cgroup_resources){.devices_set = false}, &e), 0);
	assert_int_equal(devices_of(cg), 3);
	cgroup_dir_close(&dir);
	drop_cgroup(cg);
}

static void test_devices_of_v1(void **state)
{
	struct cgroup_resources r = {.devices = only_null, .n_devices = 2, .devices_set = true};
	struct cgroup *cg;
	struct error e = ERROR_INIT;

	(void)state;
	if (is_v2() || !cgroup_host_has(host, "devices"))
		SKIP("no devices controller of v1");
	cg = make_cgroup("devices", &r);
	assert_string_equal(knob(cg, "devices", "devices.list"), "c 1:3 rwm");
	assert_int_equal(devices_of(cg), 1);
	r.devices = all_but_mknod;
	r.n_devices = 2;
	assert_int_equal(cgroup_set(cg, &r, &e), 0);
	assert_int_equal(devices_of(cg), 7);
	drop_cgroup(cg);
}

/* --- processes ------------------------------------------------------------------------------------------ */

static void test_attach_is_everywhere(void **state)
{
	struct cgroup *cg = make_cgroup("attach", NULL);
	struct helper h = start(sleep_long, NULL);
	char number[32];
	pid_t *pids = NULL;
	struct error e = ERROR_INIT;

	(void)state;
	attach(cg, h.pid);
	release(&h);
	snprintf(number, sizeof(number), "%d", (int)h.pid);
	for (size_t i = 0; i < host->count; i++) {
		_cleanup_fd_ int fd = open(cg->dirs[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		_cleanup_free_ char *text = NULL;

		assert_true(file_read(fd, "cgroup.procs", 4096, &text) > 0);
		text[strcspn(text, "\n")] = '\0';
		assert_string_equal(text, number);
	}
	assert_int_equal(cgroup_pids(cg, &pids, &e), 1);
	assert_int_equal(pids[0], h.pid);
	free(pids);
	/* Removal kills what is left. */
	drop_cgroup(cg);
	assert_int_equal(WTERMSIG(await(h.pid)), SIGKILL);
}

static void test_w21_born_in_the_cgroup(void **state)
{
	struct cgroup *cg = make_cgroup("born", NULL);
	int fd = cgroup_open(cg);
	struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)fd};
	pid_t *pids = NULL;
	struct error e = ERROR_INIT;
	pid_t pid;

	(void)state;
	if (fd < 0) {
		assert_false(is_v2());
		drop_cgroup(cg);
		SKIP("not v2: processes are moved");
	}
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0) {
		sleep(30);
		_exit(0);
	}
	fd_close(fd);
	assert_true(pid > 0);
	assert_int_equal(cgroup_pids(cg, &pids, &e), 1);
	assert_int_equal(pids[0], pid);
	free(pids);
	drop_cgroup(cg);
	await(pid);
}

static void test_w20_exec_goes_where_init_is(void **state)
{
	struct cgroup *cg, *inner;
	struct helper init, exec;
	struct error e = ERROR_INIT;
	_cleanup_fd_ int dir = -1;
	const char *delegated;
	char *place;
	int fd;

	(void)state;
	if (!is_v2())
		SKIP("only v2 refuses processes in inner directories");
	delegated = cgroup_host_has(host, "pids") ? "+pids" : "+hugetlb";
	cg = make_cgroup("dind", NULL);
	inner = make_cgroup("dind/any-name", NULL);
	init = start(sleep_long, NULL);
	exec = start(sleep_long, NULL);
	attach(inner, init.pid);
	dir = open(cgroup_directory(cg, NULL), O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(file_write(dir, "cgroup.subtree_control", delegated), 0);
	assert_true(cgroup_attach(cg, exec.pid, &e) < 0);
	if (cgroup_attach_exec(cg, exec.pid, init.pid, &e) < 0)
		fail_msg("%s", e.text);
	place = cgroup_place_of(cg, host_v2(host), exec.pid);
	assert_string_equal(place, inner->path);
	free(place);
	fd = cgroup_open_exec(cg, init.pid);
	assert_true(fd >= 0);
	assert_int_equal(file_write(fd, "cgroup.max.depth", "3"), 0);
	assert_string_equal(knob(inner, NULL, "cgroup.max.depth"), "3");
	fd_close(fd);
	release(&init);
	release(&exec);
	drop_cgroup(cg);
	cgroup_free(inner);
	await(init.pid);
	await(exec.pid);
}

/* Counts in shared memory for as long as it runs. */
static int count_up(void *argument)
{
	volatile uint64_t *counter = argument;

	for (;;)
		++*counter;
	return 0;
}

static void test_w22_frozen_means_frozen(void **state)
{
	struct cgroup *cg = make_cgroup("freeze", NULL);
	struct error e = ERROR_INIT;
	uint64_t *counter = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), seen;
	struct helper h;

	(void)state;
	assert_ptr_not_equal(counter, MAP_FAILED);
	h = start(count_up, counter);
	attach(cg, h.pid);
	release(&h);
	for (int round = 0; round < 3; round++) {
		if (cgroup_freeze(cg, &e) < 0)
			fail_msg("%s", e.text);
		assert_true(cgroup_frozen(cg));
		seen = *(volatile uint64_t *)counter;
		usleep(20000);
		assert_int_equal(*(volatile uint64_t *)counter, seen);
		assert_int_equal(cgroup_thaw(cg, &e), 0);
		usleep(20000);
		assert_true(*(volatile uint64_t *)counter > seen || round == 0);
		assert_false(cgroup_frozen(cg));
	}
	/* A paused container is removed at once. */
	assert_int_equal(cgroup_freeze(cg, &e), 0);
	seen = now_ms();
	drop_cgroup(cg);
	assert_true(now_ms() - seen < 4000);
	await(h.pid);
	munmap(counter, 4096);
}

static int catch_term(void *argument)
{
	sigset_t set;
	int caught = 0;

	(void)argument;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigwait(&set, &caught);
	return caught == SIGTERM ? 42 : 1;
}

static void test_w11_signals_reach_nested_cgroups(void **state)
{
	struct cgroup *cg = make_cgroup("signal", NULL);
	struct cgroup *inner;
	struct helper one = start(catch_term, NULL), two = start(catch_term, NULL);
	struct error e = ERROR_INIT;

	(void)state;
	/* v2 does not hand controllers down past a process: the directory below is made all the same. */
	attach(cg, one.pid);
	inner = make_cgroup("signal/a/b", NULL);
	attach(inner, two.pid);
	release(&one);
	release(&two);
	usleep(50000);
	assert_int_equal(cgroup_kill(cg, SIGTERM, &e), 0);
	assert_int_equal(WEXITSTATUS(await(one.pid)), 42);
	assert_int_equal(WEXITSTATUS(await(two.pid)), 42);
	drop_cgroup(cg);
	cgroup_free(inner);
}

/* Forks without end, each child lives for a moment; orphans go on to fork. */
static int fork_for_ever(void *argument)
{
	(void)argument;
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		pid_t pid = fork();

		if (pid == 0 && fork() == 0)
			usleep(2000);
		usleep(1000);
		if (pid == 0)
			_exit(0);
	}
	return 0;
}

static void test_fifty_forking_processes_die_by_one_call(void **state)
{
	struct cgroup_resources r = {.pids = SET(300)};
	struct cgroup *cg, *nested[5];
	struct helper helpers[50];
	struct error e = ERROR_INIT;
	uint64_t started;

	(void)state;
	cg = make_cgroup("storm", cgroup_host_has(host, "pids") ? &r : NULL);
	for (size_t i = 0; i < array_length(nested); i++) {
		char name[64];

		snprintf(name, sizeof(name), "storm/n%zu/m", i);
		nested[i] = make_cgroup(name, NULL);
	}
	for (size_t i = 0; i < array_length(helpers); i++) {
		helpers[i] = start(fork_for_ever, NULL);
		attach(nested[i % array_length(nested)], helpers[i].pid);
	}
	for (size_t i = 0; i < array_length(helpers); i++)
		release(&helpers[i]);
	usleep(200000);
	started = now_ms();
	if (cgroup_kill(cg, SIGKILL, &e) < 0)
		fail_msg("%s", e.text);
	print_message("killed within %" PRIu64 " ms\n", now_ms() - started);
	assert_false(tree_populated(cg));
	drop_cgroup(cg);
	for (size_t i = 0; i < array_length(nested); i++)
		cgroup_free(nested[i]);
	for (size_t i = 0; i < array_length(helpers); i++)
		assert_int_equal(WTERMSIG(await(helpers[i].pid)), SIGKILL);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

/* --- statistics and lack of memory ---------------------------------------------------------------------- */

/* 60 ms of a CPU, however long a busy machine takes to give them. */
static int work(void *argument)
{
	const clock_t end = CLOCKS_PER_SEC / 1000 * 60;
	volatile char *memory = malloc(8 << 20);

	(void)argument;
	for (size_t i = 0; memory && i < 8 << 20; i += 1024)
		memory[i] = 1;
	while (clock() < end)
		;
	sleep(30);
	return 0;
}

static void test_statistics(void **state)
{
	struct cgroup_resources r = {.memory = {.limit = SET(64 << 20)}, .pids = SET(20)};
	struct cgroup *cg;
	struct arena *arena;
	struct cgroup_stats stats;
	struct error e = ERROR_INIT;
	struct helper h;
	uint64_t started;

	(void)state;
	need("memory");
	need("pids");
	arena = arena_new(0);
	cg = make_cgroup("stats", &r);
	h = start(work, NULL);
	attach(cg, h.pid);
	release(&h);
	/* A busy machine takes its time. */
	for (int tries = 0; tries < 100; tries++) {
		usleep(100000);
		assert_int_equal(cgroup_stats(cg, arena, &stats, &e), 0);
		if (stats.memory.usage.usage > 4 << 20 && stats.cpu.total_ns > 20 * 1000 * 1000)
			break;
	}
	assert_true(stats.cpu.present && stats.memory.present && stats.pids.present);
	assert_true(stats.cpu.total_ns > 20 * 1000 * 1000);
	assert_true(stats.cpu.total_ns < 60ull * 1000 * 1000 * 1000);
	assert_true(stats.memory.usage.present);
	assert_true(stats.memory.usage.usage > 4 << 20);
	assert_true(stats.memory.usage.usage < 64 << 20);
	assert_int_equal(stats.memory.usage.limit, 64 << 20);
	assert_true(stats.memory.n_stats > 10);
	assert_int_equal(stats.pids.current, 1);
	assert_int_equal(stats.pids.limit, 20);
	started = now_ms();
	for (int i = 0; i < 100; i++)
		assert_int_equal(cgroup_stats(cg, arena, &stats, &e), 0);
	print_message("100 reads: %" PRIu64 " ms\n", now_ms() - started);
	drop_cgroup(cg);
	await(h.pid);
	arena_free(arena);
}

static int eat(void *argument)
{
	size_t size = 96 << 20;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)argument;
	for (size_t i = 0; memory != MAP_FAILED && i < size; i += 4096)
		memory[i] = 1;
	return 0;
}

static void count_kills(uint64_t kills, void *data)
{
	*(uint64_t *)data += kills;
}

static void spin(struct loop *loop, const uint64_t *kills, uint64_t wanted, unsigned timeout_ms)
{
	uint64_t deadline = now_ms() + timeout_ms;

	while (*kills < wanted && now_ms() < deadline)
		assert_int_equal(loop_run_once(loop, 20), 0);
}

static void test_w07_every_kill_is_told_and_none_invented(void **state)
{
	struct cgroup_resources r = {.memory = {.limit = SET(24 << 20), .swap = SET(24 << 20)}};
	struct loop *loop;
	struct cgroup *one, *two;
	struct cgroup_oom *watch_one, *watch_two;
	uint64_t kills_one = 0, kills_two = 0;
	struct error e = ERROR_INIT;
	struct helper a, b;

	(void)state;
	need("memory");
	loop = loop_new();
	assert_non_null(loop);
	one = make_cgroup("oom-1", &r);
	two = make_cgroup("oom-2", &r);
	watch_one = cgroup_oom_watch(one, loop, count_kills, &kills_one, &e);
	watch_two = cgroup_oom_watch(two, loop, count_kills, &kills_two, &e);
	if (!watch_one || !watch_two)
		fail_msg("%s", e.text);
	/* Two at once. */
	a = start(eat, NULL);
	b = start(eat, NULL);
	attach(one, a.pid);
	attach(two, b.pid);
	release(&a);
	release(&b);
	assert_int_equal(WTERMSIG(await(a.pid)), SIGKILL);
	assert_int_equal(WTERMSIG(await(b.pid)), SIGKILL);
	/* The exit is known: a look must be enough, before any event was taken. */
	cgroup_oom_check(watch_one);
	assert_int_equal(kills_one, 1);
	spin(loop, &kills_two, 1, 3000);
	assert_int_equal(kills_two, 1);
	/* And again, in the same container. */
	a = start(eat, NULL);
	attach(two, a.pid);
	release(&a);
	assert_int_equal(WTERMSIG(await(a.pid)), SIGKILL);
	spin(loop, &kills_two, 2, 3000);
	assert_int_equal(kills_two, 2);
	/* A kill that is nobody's lack of memory. */
	a = start(sleep_long, NULL);
	attach(one, a.pid);
	assert_int_equal(cgroup_kill(one, SIGKILL, &e), 0);
	fd_close(a.gate);
	await(a.pid);
	cgroup_oom_check(watch_one);
	assert_int_equal(cgroup_delete(one, &e), 0);
	assert_int_equal(cgroup_delete(two, &e), 0);
	/* Removal wakes the watches; they end without a word and do not spin. */
	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_run_once(loop, 10), 0);
	assert_int_equal(kills_one, 1);
	assert_int_equal(kills_two, 2);
	cgroup_oom_free(watch_one);
	cgroup_oom_free(watch_two);
	cgroup_free(one);
	cgroup_free(two);
	loop_free(loop);
}

static void test_w07_kills_in_nested_cgroups_count(void **state)
{
	struct cgroup_resources r = {.memory = {.limit = SET(24 << 20), .swap = SET(24 << 20)}};
	struct loop *loop;
	struct cgroup *cg, *inner;
	struct cgroup_oom *watch;
	uint64_t kills = 0;
	struct error e = ERROR_INIT;
	struct helper h;

	(void)state;
	need("memory");
	loop = loop_new();
	cg = make_cgroup("oom-n", &r);
	inner = make_cgroup("oom-n/inner", NULL);
	watch = cgroup_oom_watch(cg, loop, count_kills, &kills, &e);
	assert_non_null(watch);
	h = start(eat, NULL);
	attach(inner, h.pid);
	release(&h);
	assert_int_equal(WTERMSIG(await(h.pid)), SIGKILL);
	spin(loop, &kills, 1, 3000);
	assert_int_equal(kills, 1);
	cgroup_oom_free(watch);
	drop_cgroup(cg);
	cgroup_free(inner);
	loop_free(loop);
}

/* --- main ----------------------------------------------------------------------------------------------- */

/* Whatever a failed test left: only below our own parent. */
static int clean_up(void **state)
{
	struct error e = ERROR_INIT;
	struct cgroup *cg = cgroup_new(host, CGROUP_CGROUPFS, parent, "id", false, &e);

	(void)state;
	if (cg)
		cgroup_delete(cg, &e);
	cgroup_free(cg);
	return 0;
}

static int run_all(void)
{
	static const char *const names[] = {"none", "v1", "hybrid", "v2"};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create_everywhere_and_delete),
		cmocka_unit_test(test_w10_nothing_is_left_but_what_is_not_ours),
		cmocka_unit_test(test_w10_a_creation_that_fails_on_its_way_leaves_no_level),
		cmocka_unit_test(test_w01_a_cgroup_in_use_is_refused_and_survives),
		cmocka_unit_test(test_a_forked_child_does_not_trust_kept_roots),
		cmocka_unit_test(test_only_what_is_empty_is_removed_at_once),
		cmocka_unit_test(test_what_is_frozen_is_refused_by_name),
		cmocka_unit_test(test_who_is_frozen_by_others_is_told_of_soon),
		cmocka_unit_test(test_one_that_is_frozen_again_dies_all_the_same),
		cmocka_unit_test(test_the_end_of_the_first_is_not_that_of_the_second),
		cmocka_unit_test(test_cpu_is_read_back),
		cmocka_unit_test(test_w16_shares_are_clamped),
		cmocka_unit_test(test_cpu_idle_is_read_back),
		cmocka_unit_test(test_realtime_is_read_back),
		cmocka_unit_test(test_cpuset_is_read_back),
		cmocka_unit_test(test_memory_is_read_back),
		cmocka_unit_test(test_pids_is_read_back_and_holds),
		cmocka_unit_test(test_block_io_is_read_back),
		cmocka_unit_test(test_hugepages_are_read_back),
		cmocka_unit_test(test_net_cls_is_read_back),
		cmocka_unit_test(test_unified_is_read_back),
		cmocka_unit_test(test_w06_devices_by_program),
		cmocka_unit_test(test_devices_of_v1),
		cmocka_unit_test(test_attach_is_everywhere),
		cmocka_unit_test(test_w21_born_in_the_cgroup),
		cmocka_unit_test(test_w20_exec_goes_where_init_is),
		cmocka_unit_test(test_w22_frozen_means_frozen),
		cmocka_unit_test(test_w11_signals_reach_nested_cgroups),
		cmocka_unit_test(test_fifty_forking_processes_die_by_one_call),
		cmocka_unit_test(test_statistics),
		cmocka_unit_test(test_w07_every_kill_is_told_and_none_invented),
		cmocka_unit_test(test_w07_kills_in_nested_cgroups_count),
	};

	printf("layout: %s\n", names[cgroup_host_layout(host)]);
	return cmocka_run_group_tests(tests, NULL, clean_up);
}

/* A hybrid machine can stand for the two others: each half of it alone, v2 then with few controllers. */
static int run_as(enum cgroup_layout layout, size_t first, size_t count)
{
	struct cgroup_host *whole = host;
	struct cgroup_host half = *host;
	int failed;

	half.layout = layout;
	half.hierarchies += first;
	half.count = count;
	host = &half;
	failed = run_all();
	host = whole;
	return failed;
}

static int run_layouts(void)
{
	struct error e = ERROR_INIT;
	int failed;

	host = cgroup_host_new("/", &e);
	if (!host || cgroup_host_layout(host) == CGROUP_NONE ||
	    access(host->hierarchies[0].mount, W_OK) < 0) {
		printf("skipped: no cgroups here\n");
		cgroup_host_free(host);
		return 77;
	}
	failed = run_all();
	if (cgroup_host_layout(host) == CGROUP_HYBRID) {
		failed += run_as(CGROUP_V1, 0, host->count - 1);
		failed += run_as(CGROUP_V2, host->count - 1, 1);
	}
	cgroup_host_free(host);
	return failed;
}

int main(void)
{
	int status = 0;
	pid_t pid;

	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(parent, sizeof(parent), "kata-c-test-%d", (int)getpid());
	if (geteuid() != 0 || unshare(CLONE_NEWPID | CLONE_NEWNS) < 0) {
		printf("skipped: not root, or no pid namespaces\n");
		return 77;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("proc", "/proc", "proc", 0, NULL) < 0)
			_exit(77);
		exit(run_layouts());
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 1;
	/* Nothing can be forked any more, which exit handlers of a sanitizer would do. */
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}
