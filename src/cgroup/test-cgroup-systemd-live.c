/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Against a systemd that runs here: a scope of our own is started, limited, frozen, updated and removed.
 * Skipped without systemd, root or v2. In a virtual machine an initrd with nothing but systemd, its libraries
 * and a unit that starts this program is enough: no bus daemon is needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup/internal.h"

#define SET(v)                                                                                               \
	{                                                                                                    \
		true, v                                                                                      \
	}

static struct cgroup_host *host;
static char name[96];

static pid_t start_process(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		alarm(60);
		for (;;)
			pause();
	}
	assert_true(pid > 0);
	return pid;
}

static void expect(const struct cgroup *cg, const char *file, const char *text)
{
	struct cgroup_dir dir;
	_cleanup_free_ char *content = NULL;

	assert_int_equal(cgroup_dir_open(cg, host_v2(host), &dir), 0);
	content = knob_read(&dir, file);
	cgroup_dir_close(&dir);
	if (!content || strcmp(content, text) != 0)
		fail_msg("%s: \"%s\", not \"%s\"", file, content ? content : "(none)", text);
}

static void succeeds(int r, const struct error *e)
{
	if (r < 0)
		fail_msg("%s", e->text);
}

static struct cgroup *new_cgroup(void)
{
	struct error e = ERROR_INIT;
	enum cgroup_driver driver =
		cgroup_choose(false, name, cgroup_systemd_running(), CGROUP_PIN_AUTO, NULL);
	struct cgroup *cg = cgroup_new(host, driver, name, "id", false, &e);

	assert_non_null(cg);
	assert_int_equal(cgroup_driver_of(cg), CGROUP_SYSTEMD);
	succeeds(cgroup_create(cg, NULL, &e), &e);
	return cg;
}

static void test_life_of_a_scope(void **state)
{
	struct cgroup_resources first = {
		.memory = {.limit = SET(64 << 20), .reservation = SET(1 << 20)},
		.cpu = {.shares = SET(512), .quota = SET(33333), .period = SET(100000), .cpus = "0"},
		.pids = SET(50),
	};
	struct cgroup_resources second = {
		.memory = {.limit = SET(128 << 20)}, .cpu = {.quota = SET(-1)}, .pids = SET(-1)};
	struct error e = ERROR_INIT;
	struct cgroup *cg = new_cgroup();
	pid_t pid = start_process(), other = start_process(), third = start_process();
	char number[16];
	int status = 0;

	(void)state;
	succeeds(cgroup_attach(cg, pid, &e), &e);
	snprintf(number, sizeof(number), "%d", (int)pid);
	expect(cg, "cgroup.procs", number);
	succeeds(cgroup_set(cg, &first, &e), &e);
	expect(cg, "memory.max", "67108864");
	expect(cg, "memory.low", "1048576");
	expect(cg, "cpu.weight", "20");
	expect(cg, "cpu.max", "33333 100000");
	expect(cg, "cpuset.cpus", "0");
	expect(cg, "pids.max", "50");
	succeeds(cgroup_attach_exec(cg, other, pid, &e), &e);
	succeeds(cgroup_freeze(cg, &e), &e);
	assert_true(cgroup_frozen(cg));
	succeeds(cgroup_thaw(cg, &e), &e);
	assert_false(cgroup_frozen(cg));
	succeeds(cgroup_set(cg, &second, &e), &e);
	expect(cg, "memory.max", "134217728");
	expect(cg, "cpu.max", "max 100000");
	expect(cg, "pids.max", "max");
	/* A second scope of that name: systemd's own words. */
	assert_true(cgroup_attach(cg, third, &e) < 0);
	assert_non_null(strstr(e.text, "org.freedesktop.systemd1.UnitExists"));
	kill(third, SIGKILL);
	waitpid(third, &status, 0);
	succeeds(cgroup_delete(cg, &e), &e);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WTERMSIG(status), SIGKILL);
	assert_int_equal(waitpid(other, &status, 0), other);
	assert_int_equal(access(cgroup_directory(cg, NULL), F_OK), -1);
	/* The name is free again. */
	pid = start_process();
	succeeds(cgroup_attach(cg, pid, &e), &e);
	succeeds(cgroup_delete(cg, &e), &e);
	waitpid(pid, &status, 0);
	cgroup_free(cg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_life_of_a_scope)};
	struct error e = ERROR_INIT;
	int failed;

	host = cgroup_host_new("/", &e);
	if (geteuid() != 0 || !host || cgroup_host_layout(host) != CGROUP_V2 || !cgroup_systemd_running()) {
		printf("skipped: not root, not v2, or systemd does not run here\n");
		cgroup_host_free(host);
		return 77;
	}
	snprintf(name, sizeof(name), "kata_c_test-pod%d.slice:test:ctr", (int)getpid());
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	cgroup_host_free(host);
	return failed;
}
