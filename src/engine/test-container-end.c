/* SPDX-License-Identifier: Apache-2.0 */

/* Ends that somebody else is in the way of, starts that end early, and what one container's end means for another. */

#include "engine/record.h"
#include "test-root.h"

#define USER_MAPS                                                                                            \
	",\"uidMappings\":[{\"containerID\":0,\"hostID\":100000,\"size\":65536}],"                           \
	"\"gidMappings\":[{\"containerID\":0,\"hostID\":200000,\"size\":65536}]"
#define HOOK(kind, script)                                                                                   \
	",\"hooks\":{\"" kind "\":[{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"" script "\"]}]}"

/* --- freezers of v1 ----------------------------------------------------------------------------------------- */

static char freezer[160]; /* a cgroup of the test's own, "" where v1 has no freezer */

static void tell_freezer(const char *word)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/freezer.state", freezer);
	assert_int_equal(file_write(AT_FDCWD, path, word), 0);
}

/* Thaws first: what a failed test leaves frozen could not be cleared up. */
static int close_freezer(void **state)
{
	char path[200];

	if (*freezer) {
		snprintf(path, sizeof(path), "%s/freezer.state", freezer);
		(void)file_write(AT_FDCWD, path, "THAWED");
	}
	int r = stage_check(state);
	/* Nothing is left in it either. */
	if (*freezer && rmdir(freezer) < 0)
		r = -1;
	return r;
}

static int open_freezer(void **state)
{
	int r = stage_before(state);

	snprintf(freezer, sizeof(freezer), "/sys/fs/cgroup/freezer/engine-pod-%d", (int)getpid());
	if (stage_usable && mkdir(freezer, 0755) == 0)
		return r;
	freezer[0] = '\0';
	return r;
}

#define freezer_test(function) cmocka_unit_test_setup_teardown(function, open_freezer, close_freezer)
#define NEEDS_FREEZER()                                                                                      \
	do {                                                                                                 \
		if (!*freezer)                                                                               \
			skip();                                                                              \
	} while (0)

static const char *in_pod(const char *name)
{
	static char member[160];

	snprintf(member, sizeof(member), ",\"cgroupsPath\":\"/engine-pod-%d/%s\"", (int)getpid(), name);
	return member;
}

static void a_create_in_a_frozen_pod_is_refused_at_once(void **state)
{
	NEEDS_STAGE();
	NEEDS_FREEZER();
	const struct part part = {.script = "true", .linux = in_pod("ctr")};
	uint64_t begin = loop_now();

	tell_freezer("FROZEN");
	expect_failure(&part, "frozen (by \"engine-pod-");
	assert_true(loop_now() - begin < 2000);
	tell_freezer("THAWED");
	expect_output(&part, "");
}

static void a_container_in_a_frozen_pod_is_told_of_soon(void **state)
{
	NEEDS_STAGE();
	NEEDS_FREEZER();
	struct outcome outcome = {.error = ERROR_INIT};
	struct error e = ERROR_INIT;
	const struct part part = {.script = "sleep 100", .linux = in_pod("ctr")};
	struct container *container = must_create(&part);
	uint64_t begin;

	must_start(container);
	tell_freezer("FROZEN");
	begin = loop_now();
	/* Nothing can be started in it, */
	struct arena *arena = arena_new(0);
	const struct part second = {.script = "true"};
	const struct exec_params params = {
		.exec_id = "x", .process = make_process(&second, arena), .stdio = {.console_socket = -1}};
	assert_non_null(container_exec(container, &params, on_done, &outcome, &e));
	assert_true(await_outcome(&outcome) < 0);
	assert_non_null(strstr(outcome.error.text, "is frozen"));
	arena_free(arena);
	/* nothing killed, */
	outcome = (struct outcome){.error = ERROR_INIT};
	container_kill_all(container, SIGKILL, on_done, &outcome);
	assert_true(await_outcome(&outcome) < 0);
	assert_non_null(strstr(outcome.error.text, "cannot die before that is thawed"));
	/* and it cannot be deleted. */
	outcome = (struct outcome){.error = ERROR_INIT};
	container_delete(container, true, on_done, &outcome);
	assert_true(await_outcome(&outcome) < 0);
	assert_int_equal(outcome.error.code, STATUS_FAILED_PRECONDITION);
	assert_non_null(strstr(outcome.error.text, "frozen by \"engine-pod-"));
	assert_true(loop_now() - begin < 5000);
	assert_int_equal(container_status(container), CONTAINER_RUNNING);
	tell_freezer("THAWED");
	await_exit(container_init(container));
	must_delete(container);
}

/* Its own freeze, whoever made it, is no obstacle. */
static void what_is_ours_is_thawed(void **state)
{
	NEEDS_STAGE();
	NEEDS_FREEZER();
	const struct part part = {.script = "sleep 100", .linux = in_pod("ctr")};
	struct container *container = must_create(&part);
	char path[300];
	uint64_t begin;

	must_start(container);
	snprintf(path, sizeof(path), "%s/ctr/freezer.state", freezer);
	assert_int_equal(file_write(AT_FDCWD, path, "FROZEN"), 0);
	begin = loop_now();
	must_delete(container);
	assert_true(loop_now() - begin < 3000);
}

/* --- two of one cgroup -------------------------------------------------------------------------------------- */

static void the_end_of_the_first_is_not_that_of_the_second(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome = {.error = ERROR_INIT};
	char linux[160];
	const struct part first = {.script = "true", .linux = linux},
			  second = {.script = "sleep 100", .linux = linux};

	snprintf(linux, sizeof(linux), ",\"cgroupsPath\":\"/engine-test-%d-one\"", (int)getpid());
	struct container *a = must_create(&first);
	/* While the first has processes there is no second. */
	expect_failure(&second, "has processes");
	must_start(a);
	await_exit(container_init(a));
	struct container *b = must_create(&second);
	must_start(b);
	container_kill_all(a, SIGKILL, on_done, &outcome);
	assert_int_equal(await_outcome(&outcome), 0);
	must_delete(a);
	for (int i = 0; i < 5; i++)
		loop_run_once(stage.loop, 20);
	assert_int_equal(container_status(b), CONTAINER_RUNNING);
	assert_true(cgroup_holds(container_cgroup(b), container_init(b)->pid));
	must_delete(b);
}

/* --- starts that end early ---------------------------------------------------------------------------------- */

static void a_failed_start_has_stopped_the_container(void **state)
{
	NEEDS_STAGE();
	static const struct {
		const char *hooks;
		int code; /* of init */
	} cases[] = {
		{HOOK("startContainer", "exit 9"), 1},
		{HOOK("poststart", "exit 9"), 128 + SIGKILL},
	};

	for (size_t i = 0; i < array_length(cases); i++) {
		const struct part part = {.script = "setsid sleep 100 & exec sleep 100",
					  .namespaces = "{\"type\":\"mount\"},{\"type\":\"uts\"}",
					  .top = cases[i].hooks};
		struct container *container = must_create(&part);
		struct outcome outcome;
		pid_t *pids = NULL;

		assert_true(start(container, &outcome) < 0);
		assert_non_null(strstr(outcome.error.text, "exit status 9"));
		/* At once, and with all that it had started. */
		assert_int_equal(container_status(container), CONTAINER_STOPPED);
		assert_int_equal(container_init(container)->exit_code, cases[i].code);
		assert_int_equal(cgroup_pids(container_cgroup(container), &pids, NULL), 0);
		free(pids);
		must_delete(container);
	}
}

static void killed_before_its_program_is_no_start(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome = {.error = ERROR_INIT};
	/* The hook is the container's: it takes its parent, who would execute next, along. */
	const struct part part = {.script = "echo never",
				  .top = HOOK("startContainer", "kill -9 $PPID; sleep 5"),
				  .namespaces = "{\"type\":\"mount\"},{\"type\":\"uts\"}"};
	struct container *container = must_create(&part);

	assert_true(start(container, &outcome) < 0);
	assert_non_null(strstr(outcome.error.text, "signal 9 before it had executed the program"));
	assert_int_equal(container_status(container), CONTAINER_STOPPED);
	assert_false(container_init(container)->started);
	must_delete(container);
}

static void who_has_executed_is_known(void **state)
{
	NEEDS_STAGE();
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	assert_int_equal(record_unexecuted(proc, pid), 1);
	kill(pid, SIGKILL);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(record_unexecuted(proc, pid), 1);
	waitpid(pid, NULL, 0);
	assert_int_equal(record_unexecuted(proc, pid), -ESRCH);
	const struct part part = {.script = "sleep 100"};
	struct container *container = must_create(&part);
	assert_int_equal(record_unexecuted(proc, container_init(container)->pid), 1);
	must_start(container);
	assert_int_equal(record_unexecuted(proc, container_init(container)->pid), 0);
	must_delete(container);
	fd_close(proc);
}

/* --- without a cgroup --------------------------------------------------------------------------------------- */

/* An engine that sees no hierarchy, as on a machine that has none: in a child, whose /sys is empty. */
static int without_cgroups(int (*fn)(void))
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct error e = ERROR_INIT;
		const struct stage parents = stage;
		(void)parents;
		if (unshare(CLONE_NEWNS) < 0 || umount2("/sys", MNT_DETACH) < 0)
			_exit(90);
		stage.loop = loop_new();
		const struct engine_options options = {.loop = stage.loop, .create_timeout_ms = 20000};
		stage.engine = engine_new(&options, &e);
		if (!stage.engine || cgroup_host_layout(engine_cgroups(stage.engine)) != CGROUP_NONE)
			_exit(91);
		int code = fn();
		engine_free(stage.engine);
		loop_free(stage.loop);
		_exit(code);
	}
	int status = -1;
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

#define expect(condition)                                                                                    \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                              \
			return 1;                                                                            \
		}                                                                                            \
	} while (0)

static int by_pid_namespace(void)
{
	struct outcome outcome = {.error = ERROR_INIT};
	/* The shell outlives a signal that its children die of. */
	const struct part part = {
		.script = "trap 'echo got' USR1; setsid sh -c 'trap \"echo too\" USR1; echo up; "
			  "while :; do sleep 0.02; done' & "
			  "while :; do sleep 0.02; done"};
	struct container *container = must_create(&part);
	struct process *init = container_init(container);
	char text[64] = "";

	must_start(container);
	struct pollfd poller = {.fd = init->stdout_fd, .events = POLLIN};
	expect(poll(&poller, 1, 5000) == 1 && read(init->stdout_fd, text, 3) == 3);
	container_kill_all(container, SIGUSR1, on_done, &outcome);
	expect(await_outcome(&outcome) == 0);
	size_t length = 0;
	for (int i = 0; i < 50 && length < 8; i++) {
		(void)poll(&poller, 1, 100);
		ssize_t n = read(init->stdout_fd, text + length, sizeof(text) - 1 - length);
		length += n > 0 ? (size_t)n : 0;
		text[length] = '\0';
	}
	expect(strstr(text, "got") && strstr(text, "too"));
	outcome = (struct outcome){.error = ERROR_INIT};
	container_kill_all(container, SIGKILL, on_done, &outcome);
	expect(await_outcome(&outcome) == 0);
	await_exit(init);
	expect(init->exit_code == 128 + SIGKILL);
	/* Nobody is left of it. */
	outcome = (struct outcome){.error = ERROR_INIT};
	container_kill_all(container, SIGKILL, on_done, &outcome);
	expect(await_outcome(&outcome) == 0);
	must_delete(container);
	return 0;
}

static int not_by_anything(void)
{
	struct outcome outcome = {.error = ERROR_INIT};
	const struct part part = {.script = "sleep 100",
				  .namespaces = "{\"type\":\"mount\"},{\"type\":\"uts\"}"};
	struct container *container = must_create(&part);

	must_start(container);
	container_kill_all(container, SIGKILL, on_done, &outcome);
	expect(await_outcome(&outcome) < 0);
	expect(strstr(outcome.error.text, "only the processes that we have started are known"));
	/* Those have had it. */
	await_exit(container_init(container));
	must_delete(container);
	return 0;
}

static void kill_all_without_cgroups(void **state)
{
	NEEDS_STAGE();
	assert_int_equal(without_cgroups(by_pid_namespace), 0);
	assert_int_equal(without_cgroups(not_by_anything), 0);
}

/* Between the end of an init and its collection, in a pid namespace that others share. */
static void kill_all_after_a_death(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome = {.error = ERROR_INIT};
	const struct part part = {.script = "sleep 100",
				  .namespaces = "{\"type\":\"mount\"},{\"type\":\"uts\"}"};
	struct container *container = must_create(&part);
	struct process *init = container_init(container);
	struct pollfd poller = {.fd = init->pidfd, .events = POLLIN};

	must_start(container);
	assert_int_equal(process_signal(init, SIGKILL, NULL), 0);
	assert_int_equal(poll(&poller, 1, 5000), 1);
	assert_int_not_equal(init->pid, 0);
	container_kill_all(container, SIGKILL, on_done, &outcome);
	if (await_outcome(&outcome) < 0)
		fail_msg("%s", outcome.error.text);
	await_exit(init);
	must_delete(container);
}

/* --- devices ------------------------------------------------------------------------------------------------ */

static void bound_devices_have_what_devices_need(void **state)
{
	NEEDS_STAGE();
	assert_int_equal(chown(stage.rootfs, 100000, 200000), 0);
	const struct part part = {.script =
					  "for d in null zero full random urandom tty; do grep \" /dev/$d \" "
					  "/proc/self/mountinfo | grep nosuid | grep -c noexec; done; "
					  "echo x >/dev/null && echo writable",
				  .namespaces = NAMESPACES ",{\"type\":\"user\"}",
				  .linux = USER_MAPS};
	expect_output(&part, "1\n1\n1\n1\n1\n1\nwritable\n");
	assert_int_equal(chown(stage.rootfs, 0, 0), 0);
}

/* --- tasks -------------------------------------------------------------------------------------------------- */

static void pids_limits_are_what_is_written(void **state)
{
	NEEDS_STAGE();
	static const struct {
		const char *limit;
		const char *create, *update; /* in pids.max, after another limit */
	} cases[] = {{"", "max", "7"},
		     {"\"limit\":0", "1", "1"},
		     {"\"limit\":-1", "max", "max"},
		     {"\"limit\":5", "5", "5"}};
	char linux[160], path[400];

	for (size_t i = 0; i < array_length(cases); i++) {
		snprintf(linux, sizeof(linux), ",\"resources\":{\"pids\":{%s}}", cases[i].limit);
		const struct part part = {.args = "[\"sleep\",\"100\"]", .linux = linux};
		struct container *container = must_create(&part);
		const char *directory = cgroup_directory(container_cgroup(container), "pids");
		struct outcome outcome = {.error = ERROR_INIT};
		struct arena *arena = arena_new(0);
		char *text = NULL;

		directory = directory ? directory : cgroup_directory(container_cgroup(container), NULL);
		snprintf(path, sizeof(path), "%s/pids.max", directory ? directory : "/nowhere");
		if (file_read(AT_FDCWD, path, 100, &text) < 0) {
			arena_free(arena);
			must_delete(container);
			skip();
		}
		text[strcspn(text, "\n")] = '\0';
		assert_string_equal(text, cases[i].create);
		free(text);
		must_start(container);
		assert_int_equal(file_write(AT_FDCWD, path, "7"), 0);
		container_update(container, make_spec(&part, arena)->linux->resources, on_done, &outcome);
		assert_int_equal(await_outcome(&outcome), 0);
		assert_true(file_read(AT_FDCWD, path, 100, &text) > 0);
		text[strcspn(text, "\n")] = '\0';
		assert_string_equal(text, cases[i].update);
		free(text);
		arena_free(arena);
		must_delete(container);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		freezer_test(a_create_in_a_frozen_pod_is_refused_at_once),
		freezer_test(a_container_in_a_frozen_pod_is_told_of_soon),
		freezer_test(what_is_ours_is_thawed),
		stage_test(the_end_of_the_first_is_not_that_of_the_second),
		stage_test(a_failed_start_has_stopped_the_container),
		stage_test(killed_before_its_program_is_no_start),
		stage_test(who_has_executed_is_known),
		stage_test(kill_all_without_cgroups),
		stage_test(kill_all_after_a_death),
		stage_test(bound_devices_have_what_devices_need),
		stage_test(pids_limits_are_what_is_written),
	};
	return cmocka_run_group_tests(tests, stage_set_up, stage_tear_down);
}
