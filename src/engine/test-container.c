/* SPDX-License-Identifier: Apache-2.0 */

/* The life of containers: create, start, exit, signals, pause, hooks, stdio, failures that leave nothing. */

#include <sys/socket.h>

#include "test-engine.h"

/* --- life --------------------------------------------------------------------------------------------------- */

static void runs_and_tells_output_and_exit_code(void **state)
{
	NEEDS_STAGE();
	struct buf out = BUF_INIT;
	const struct part part = {.script = "echo out; echo err >&2; hostname; exit 7"};

	assert_int_equal(run_to(&part, &out), 7);
	assert_string_equal(buf_string(&out), "out\nstage\nerr\n");
	buf_deinit(&out);
}

static void waits_at_the_gate(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome;
	const struct part part = {.script = "echo started"};
	struct container *container = must_create(&part);
	struct process *init = container_init(container);
	char c;

	assert_int_equal(container_status(container), CONTAINER_CREATED);
	assert_true(init->pid > 0 && init->pidfd >= 0);
	for (int i = 0; i < 5; i++)
		loop_run_once(stage.loop, 10);
	assert_int_equal(read(init->stdout_fd, &c, 1), -1);
	assert_int_equal(errno, EAGAIN);
	must_start(container);
	assert_true(start(container, &outcome) < 0);
	assert_int_equal(outcome.error.code, STATUS_FAILED_PRECONDITION);
	await_exit(init);
	assert_int_equal(container_status(container), CONTAINER_STOPPED);
	must_delete(container);
}

static void killed_at_the_gate_cannot_start(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome;
	const struct part part = {.script = "true"};
	struct container *container = must_create(&part);

	assert_int_equal(process_signal(container_init(container), SIGKILL, NULL), 0);
	await_exit(container_init(container));
	assert_int_equal(container_init(container)->exit_code, 137);
	assert_true(start(container, &outcome) < 0);
	assert_int_equal(outcome.error.code, STATUS_FAILED_PRECONDITION);
	must_delete(container);
}

static void signals_reach_init(void **state)
{
	NEEDS_STAGE();
	struct error e = ERROR_INIT;
	const struct part part = {.script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"};
	struct container *container = must_create(&part);
	struct process *init = container_init(container);
	struct pollfd poller = {.fd = init->stdout_fd, .events = POLLIN};

	must_start(container);
	assert_int_equal(poll(&poller, 1, 5000), 1);
	assert_int_equal(process_signal(init, SIGTERM, &e), 0);
	await_exit(init);
	assert_int_equal(init->exit_code, 3);
	assert_int_equal(process_signal(init, SIGTERM, &e), -ESRCH);
	assert_non_null(strstr(e.text, "ESRCH: No such process"));
	must_delete(container);
}

static void deletion_needs_force_while_it_lives(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome = {.error = ERROR_INIT};
	const struct part part = {.script = "sleep 100 & sleep 100"};
	struct container *container = must_create(&part);

	must_start(container);
	container_delete(container, false, on_done, &outcome);
	assert_true(await_outcome(&outcome) < 0);
	assert_int_equal(outcome.error.code, STATUS_FAILED_PRECONDITION);
	must_delete(container);
}

static void kill_all_reaches_everybody(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome = {.error = ERROR_INIT};
	const struct part part = {.script = "sleep 100 & setsid sleep 100 & exec sleep 100",
				  .namespaces = "{\"type\":\"mount\"},{\"type\":\"uts\"}"};
	struct container *container = must_create(&part);
	pid_t *pids = NULL;

	must_start(container);
	for (int i = 0; i < 50 && cgroup_pids(container_cgroup(container), &pids, NULL) < 3; i++) {
		free(pids);
		pids = NULL;
		loop_run_once(stage.loop, 20);
	}
	free(pids);
	pids = NULL;
	container_kill_all(container, SIGKILL, on_done, &outcome);
	assert_int_equal(await_outcome(&outcome), 0);
	await_exit(container_init(container));
	assert_int_equal(cgroup_pids(container_cgroup(container), &pids, NULL), 0);
	free(pids);
	must_delete(container);
}

static void pauses_and_resumes(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome = {.error = ERROR_INIT};
	const struct part part = {.script = "sleep 100"};
	struct container *container = must_create(&part);

	must_start(container);
	container_pause(container, on_done, &outcome);
	assert_int_equal(await_outcome(&outcome), 0);
	assert_int_equal(container_status(container), CONTAINER_PAUSED);
	assert_true(cgroup_frozen(container_cgroup(container)));

	struct arena *arena = arena_new(0);
	const struct part command = {.script = "true"};
	const struct exec_params params = {.exec_id = "x", .process = make_process(&command, arena)};
	struct error e = ERROR_INIT;
	assert_null(container_exec(container, &params, on_done, &outcome, &e));
	assert_int_equal(e.code, STATUS_FAILED_PRECONDITION);
	arena_free(arena);

	outcome = (struct outcome){.error = ERROR_INIT};
	container_resume(container, on_done, &outcome);
	assert_int_equal(await_outcome(&outcome), 0);
	assert_int_equal(container_status(container), CONTAINER_RUNNING);
	/* A paused one can be deleted, too. */
	outcome = (struct outcome){.error = ERROR_INIT};
	container_pause(container, on_done, &outcome);
	assert_int_equal(await_outcome(&outcome), 0);
	must_delete(container);
}

static void operations_do_not_overlap(void **state)
{
	NEEDS_STAGE();
	struct outcome first = {.error = ERROR_INIT}, second = {.error = ERROR_INIT};
	const struct part part = {.script = "sleep 100"};
	struct container *container = must_create(&part);

	must_start(container);
	container_pause(container, on_done, &first);
	container_pause(container, on_done, &second);
	assert_false(first.done || second.done);
	assert_int_equal(await_outcome(&first), 0);
	assert_true(await_outcome(&second) < 0);
	assert_int_equal(second.error.code, STATUS_FAILED_PRECONDITION);
	must_delete(container);
}

/* --- hooks -------------------------------------------------------------------------------------------------- */

static void hooks_run_in_their_order(void **state)
{
	NEEDS_STAGE();
	char hooks[4096], log[128];
	char *text = NULL;
	struct buf json = BUF_INIT;
	static const char *const kinds[] = {"prestart", "createRuntime", "createContainer", "poststart",
					    "poststop"};

	snprintf(log, sizeof(log), "%s/hooks.log", stage.dir);
	buf_append_string(&json, ",\"hooks\":{");
	for (size_t i = 0; i < array_length(kinds); i++)
		buf_printf(&json,
			   "%s\"%s\":[{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"read s; case $s in "
			   "*%s*) echo %s >> "
			   "%s;; *) echo $s >> %s;; esac\"]}]",
			   i ? "," : "", kinds[i],
			   i < 3    ? "creating"
			   : i == 3 ? "running"
				    : "stopped",
			   kinds[i], log, log);
	buf_append_string(&json, ",\"startContainer\":[{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"read "
				 "s; echo $s | grep -c "
				 "created > /tmp/hook\"]}]}");
	snprintf(hooks, sizeof(hooks), "%s", buf_string(&json));
	buf_deinit(&json);
	const struct part part = {.script = "cat /tmp/hook; sleep 0.1", .top = hooks};
	expect_output(&part, "1\n");
	assert_true(file_read(AT_FDCWD, log, 65536, &text) > 0);
	assert_string_equal(text, "prestart\ncreateRuntime\ncreateContainer\npoststart\npoststop\n");
	free(text);
}

static void a_failing_hook_fails_the_container(void **state)
{
	NEEDS_STAGE();
	static const char *const early[] = {"prestart", "createRuntime", "createContainer"};
	char hooks[512];
	struct part part = {.script = "true", .top = hooks};

	for (size_t i = 0; i < array_length(early); i++) {
		snprintf(hooks, sizeof(hooks),
			 ",\"hooks\":{\"%s\":[{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"exit 9\"]}]}",
			 early[i]);
		expect_failure(&part, early[i]);
	}
	static const char *const late[] = {"startContainer", "poststart"};
	for (size_t i = 0; i < array_length(late); i++) {
		struct outcome outcome;
		snprintf(hooks, sizeof(hooks),
			 ",\"hooks\":{\"%s\":[{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"exit 9\"]}]}",
			 late[i]);
		part.script = "sleep 100";
		struct container *container = must_create(&part);
		assert_true(start(container, &outcome) < 0);
		assert_non_null(strstr(outcome.error.text, late[i]));
		await_exit(container_init(container));
		assert_int_not_equal(container_init(container)->exit_code, 0);
		must_delete(container);
	}
}

/* --- failures ----------------------------------------------------------------------------------------------- */

/* A container that failed after its hooks ran has its poststop hooks, too, and one that failed before has not. */
static void poststop_follows_a_failed_create(void **state)
{
	NEEDS_STAGE();
	char hooks[1024], log[128];
	char *text = NULL;

	snprintf(log, sizeof(log), "%s/poststop.log", stage.dir);
	snprintf(hooks, sizeof(hooks),
		 ",\"hooks\":{\"createRuntime\":[{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"exit "
		 "9\"]}],\"poststop\":[{"
		 "\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"cat >> %s\"]}]}",
		 log);
	struct part part = {.script = "true", .top = hooks};
	expect_failure(&part, "createRuntime");
	assert_true(file_read(AT_FDCWD, log, 65536, &text) > 0);
	assert_non_null(strstr(text, "stopped"));
	free(text);
	assert_int_equal(unlink(log), 0);
	part.namespaces =
		"{\"type\":\"ipc\",\"path\":\"/no/such/namespace\"},{\"type\":\"mount\"},{\"type\":\"uts\"}";
	expect_failure(&part, "/no/such/namespace");
	assert_int_equal(access(log, F_OK), -1);
}

static void failures_name_what_failed(void **state)
{
	NEEDS_STAGE();
	const struct part missing = {.args = "[\"no-such-program\"]"};
	expect_failure(&missing, "the file no-such-program was not found");
	const struct part bad_mount = {
		.mounts = MOUNT_PROC
		",{\"destination\":\"/data\",\"source\":\"/no/such/source\",\"options\":[\"bind\"]}"};
	expect_failure(&bad_mount,
		       "mount \"/data\": open source \"/no/such/source\": ENOENT: No such file or directory");
	const struct part bad_type = {
		.mounts = "{\"destination\":\"/data\",\"type\":\"nosuchfs\",\"source\":\"none\"}"};
	expect_failure(&bad_type, "nosuchfs");
	const struct part bad_option = {
		.mounts = "{\"destination\":\"/"
			  "data\",\"type\":\"tmpfs\",\"source\":\"none\",\"options\":[\"nonsense=1\"]}"};
	expect_failure(&bad_option, "nonsense=1");
	const struct part bad_namespace = {.namespaces = "{\"type\":\"pid\",\"path\":\"/proc/self/ns/"
							 "net\"},{\"type\":\"mount\"},{\"type\":\"uts\"}"};
	expect_failure(&bad_namespace, "pid namespace");
	const struct part bad_path = {.namespaces = "{\"type\":\"ipc\",\"path\":\"/no/such/"
						    "namespace\"},{\"type\":\"mount\"},{\"type\":\"uts\"}"};
	expect_failure(&bad_path, "/no/such/namespace");
	const struct part bad_limit = {
		.script = "true",
		.process = ",\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"hard\":10,\"soft\":20}]"};
	expect_failure(&bad_limit, "process.rlimits[0]");
}

static void an_abort_undoes_everything(void **state)
{
	NEEDS_STAGE();
	const struct part part = {.script = "true",
				  .top = ",\"hooks\":{\"createRuntime\":[{\"path\":\"/bin/"
					 "sh\",\"args\":[\"sh\",\"-c\",\"exec sleep 100\"]}]}"};

	/* In the hook, and at whatever point some rounds of the loop have come to. */
	for (int rounds = 0; rounds < 12; rounds++) {
		struct container_params params = {.gate = -1};
		struct outcome outcome;
		struct container *container = create_with(&part, &params, &outcome);
		for (int i = 0; i < rounds && !outcome.done; i++)
			loop_run_once(stage.loop, rounds > 8 ? 50 : 0);
		assert_false(outcome.done);
		container_abort(container);
		assert_true(await_outcome(&outcome) < 0);
		assert_int_equal(outcome.error.code, STATUS_CANCELLED);
		dispose(container);
	}
}

static void a_hanging_child_meets_its_deadline(void **state)
{
	NEEDS_STAGE();
	struct error e = ERROR_INIT;
	const struct engine_options options = {.loop = stage.loop, .create_timeout_ms = 300};
	struct engine *usual = stage.engine;
	struct outcome outcome;
	char path[160], mounts[256];

	/* Nobody writes into it: a hook in the child that waits for ever would be bounded by its own timeout, a program
	 * lookup is not; what can hang is a file system. Stopping the child stands for one. */
	snprintf(path, sizeof(path), "%s", stage.rootfs);
	snprintf(mounts, sizeof(mounts), "%s", MOUNT_PROC);
	const struct part part = {.script = "true",
				  .mounts = mounts,
				  .namespaces = "{\"type\":\"mount\"},{\"type\":\"uts\"}",
				  .top = ",\"hooks\":{\"createContainer\":[{\"path\":\"/bin/"
					 "sh\",\"args\":[\"sh\",\"-c\",\"kill -STOP $PPID; "
					 "sleep 0.1\"],\"timeout\":1}]}"};
	stage.engine = engine_new(&options, &e);
	assert_non_null(stage.engine);
	struct container *container = create(&part, &outcome);
	assert_true(outcome.r < 0);
	assert_int_equal(outcome.error.code, STATUS_DEADLINE_EXCEEDED);
	dispose(container);
	engine_free(stage.engine);
	stage.engine = usual;
}

static void death_on_the_way_is_told(void **state)
{
	NEEDS_STAGE();
	const struct part part = {.script = "true",
				  .top = ",\"hooks\":{\"createContainer\":[{\"path\":\"/bin/"
					 "sh\",\"args\":[\"sh\",\"-c\",\"kill -KILL $PPID\"]}]}",
				  .namespaces = "{\"type\":\"mount\"},{\"type\":\"uts\"}"};

	expect_failure(&part, "ended");
}

/* --- stdio -------------------------------------------------------------------------------------------------- */

static void stdin_reaches_and_ends(void **state)
{
	NEEDS_STAGE();
	struct buf out = BUF_INIT;
	const struct part part = {.script = "cat; echo end"};
	struct container *container = must_create(&part);
	struct process *init = container_init(container);

	must_start(container);
	assert_int_equal(write(init->stdin_fd, "bytes\n", 6), 6);
	init->stdin_fd = fd_close(init->stdin_fd);
	read_all(init->stdout_fd, &out);
	assert_string_equal(buf_string(&out), "bytes\nend\n");
	buf_deinit(&out);
	await_exit(init);
	must_delete(container);
}

/* A second container's child must not hold the first one's stdin open. */
static void containers_do_not_hold_each_others_pipes(void **state)
{
	NEEDS_STAGE();
	const struct part reader = {.script = "cat"}, sleeper = {.script = "sleep 100"};
	struct container *first = must_create(&reader);
	struct container *second = must_create(&sleeper); /* waits at its gate, with whatever it inherited */

	must_start(first);
	container_init(first)->stdin_fd = fd_close(container_init(first)->stdin_fd);
	await_exit(container_init(first));
	assert_int_equal(container_init(first)->exit_code, 0);
	must_delete(first);
	must_delete(second);
}

static void inherited_stdio_and_descriptors(void **state)
{
	NEEDS_STAGE();
	int pipes[2];
	struct outcome outcome;
	char text[64] = "";
	const struct part part = {.script = "echo one; echo two >&2; ls /proc/self/fd | grep -c '^[0-9]*$'"};

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	struct container_params params = {
		.gate = -1, .stdio = {.kind = STDIO_INHERIT, .fds = {pipes[0], pipes[1], pipes[1]}}};
	struct container *container = create_with(&part, &params, &outcome);
	assert_int_equal(await_outcome(&outcome), 0);
	must_start(container);
	await_exit(container_init(container));
	assert_true(read(pipes[0], text, sizeof(text) - 1) > 0);
	/* 0, 1, 2 and the directory that ls reads. */
	assert_string_equal(text, "one\ntwo\n4\n");
	must_delete(container);
	fd_close(pipes[0]);
	fd_close(pipes[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		stage_test(runs_and_tells_output_and_exit_code),
		stage_test(waits_at_the_gate),
		stage_test(killed_at_the_gate_cannot_start),
		stage_test(signals_reach_init),
		stage_test(deletion_needs_force_while_it_lives),
		stage_test(kill_all_reaches_everybody),
		stage_test(pauses_and_resumes),
		stage_test(operations_do_not_overlap),
		stage_test(hooks_run_in_their_order),
		stage_test(a_failing_hook_fails_the_container),
		stage_test(poststop_follows_a_failed_create),
		stage_test(failures_name_what_failed),
		stage_test(an_abort_undoes_everything),
		stage_test(a_hanging_child_meets_its_deadline),
		stage_test(death_on_the_way_is_told),
		stage_test(stdin_reaches_and_ends),
		stage_test(containers_do_not_hold_each_others_pipes),
		stage_test(inherited_stdio_and_descriptors),
	};
	return cmocka_run_group_tests(tests, stage_set_up, stage_tear_down);
}
