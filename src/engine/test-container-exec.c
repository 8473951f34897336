/* SPDX-License-Identifier: Apache-2.0 */

/* Further processes in running containers, hostile ones among them, and terminals. */

#include "test-engine.h"

/* --- exec --------------------------------------------------------------------------------------------------- */

static void exec_output(struct container *container, const char *id, const char *script, const char *expected)
{
	struct outcome outcome;
	struct buf out = BUF_INIT;
	const struct part part = {.script = script, .process = ""};
	struct process *process = exec_part(container, id, &part, &outcome);

	if (outcome.r < 0)
		fail_msg("%s", outcome.error.text);
	read_all(process->stdout_fd, &out);
	read_all(process->stderr_fd, &out);
	await_exit(process);
	assert_string_equal(buf_string(&out), expected);
	buf_deinit(&out);
	process_free(process);
}

static void executes_beside_init(void **state)
{
	NEEDS_STAGE();
	const struct part part = {.script = "echo $$ > /tmp/pid; exec sleep 100",
				  .process = ",\"noNewPrivileges\":true," CAPS("\"CAP_KILL\"")};
	struct container *container = must_create(&part);

	must_start(container);
	exec_output(container, "one", "hostname; cat /tmp/pid", "stage\n1\n");
	/* What the request leaves out is the container's. */
	exec_output(container, "two", "grep -E 'CapEff|NoNewPrivs' /proc/self/status",
		    "CapEff:\t0000000000000020\nNoNewPrivs:\t1\n");
	exec_output(container, "three",
		    "for n in mnt pid ipc uts; do test $(readlink /proc/1/ns/$n) = "
		    "$(readlink /proc/self/ns/$n) && echo same; done",
		    "same\nsame\nsame\nsame\n");
	assert_null(container_process(container, "one"));
	must_delete(container);
}

static void exec_tells_its_exit_code(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome;
	const struct part part = {.script = "sleep 100"};
	const struct part command = {.script = "exit 42", .process = ""};
	struct container *container = must_create(&part);

	must_start(container);
	struct process *process = exec_part(container, "x", &command, &outcome);
	assert_int_equal(outcome.r, 0);
	await_exit(process);
	assert_int_equal(process->exit_code, 42);
	process_free(process);
	must_delete(container);
}

static void exec_failures_are_told(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome;
	const struct part part = {.script = "sleep 100"};
	struct container *container = must_create(&part);
	size_t fds;

	must_start(container);
	fds = count_fds();
	const struct part missing = {.args = "[\"no-such-program\"]", .process = ""};
	exec_part(container, "x", &missing, &outcome);
	assert_true(outcome.r < 0);
	assert_non_null(strstr(outcome.error.text, "the file no-such-program was not found"));
	assert_null(container_process(container, "x"));
	const struct part directory = {.args = "[\"/tmp\"]", .process = ""};
	exec_part(container, "x", &directory, &outcome);
	assert_true(outcome.r < 0);
	assert_int_equal(count_fds(), fds);
	assert_int_equal(container_status(container), CONTAINER_RUNNING);
	must_delete(container);
}

/* GHSA-like: the working directory of an exec through a link of procfs that leads out of the root. */
static void exec_cwd_cannot_lead_out(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome;
	const struct part part = {.script = "ln -s /proc/self/fd/3 /tmp/out; exec sleep 100"};
	const char *const paths[] = {"/proc/self/fd/3",	   "/proc/self/fd/4", "/proc/self/fd/7",
				     "/proc/1/root/../..", "/proc/self/cwd",  "/tmp/out"};
	struct container *container = must_create(&part);

	must_start(container);
	for (size_t i = 0; i < array_length(paths); i++) {
		struct arena *arena = arena_new(0);
		struct error e = ERROR_INIT;
		const struct part command = {.script = "pwd", .process = ""};
		Grpc__Process *process = make_process(&command, arena);
		process->cwd = arena_strdup(arena, paths[i]);
		const struct exec_params params = {
			.exec_id = "x", .process = process, .stdio = {.console_socket = -1}};
		outcome = (struct outcome){.error = ERROR_INIT};
		assert_non_null(container_exec(container, &params, on_done, &outcome, &e));
		assert_true(await_outcome(&outcome) < 0);
		arena_free(arena);
	}
	must_delete(container);
}

/* An init that moved itself to another mount namespace is not followed there. */
static void exec_goes_to_the_pinned_mount_namespace(void **state)
{
	NEEDS_STAGE();
	const struct part part = {.script = "mkdir -p /tmp/fake; exec unshare -m sh -c 'mount -t tmpfs fake "
					    "/tmp; echo gone; exec sleep 100'"};
	struct container *container = must_create(&part);
	struct pollfd poller = {.fd = container_init(container)->stdout_fd, .events = POLLIN};

	must_start(container);
	assert_int_equal(poll(&poller, 1, 5000), 1);
	exec_output(container, "x",
		    "grep -c ' /tmp ' /proc/self/mountinfo; test -d /tmp/fake && echo original",
		    "0\noriginal\n");
	must_delete(container);
}

static void exec_into_a_stopped_container_is_refused(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome = {.error = ERROR_INIT};
	struct error e = ERROR_INIT;
	const struct part part = {.script = "true"};
	struct container *container = must_create(&part);
	struct arena *arena = arena_new(0);
	const struct exec_params params = {.exec_id = "x", .process = make_process(&part, arena)};

	/* One that waits for its start has all that an exec joins. */
	exec_output(container, "early", "echo early", "early\n");
	must_start(container);
	await_exit(container_init(container));
	assert_null(container_exec(container, &params, on_done, &outcome, &e));
	assert_int_equal(e.code, STATUS_FAILED_PRECONDITION);
	arena_free(arena);
	must_delete(container);
}

/* An exec that outlives init in a shared pid namespace, and one on its way, end with the container and are told. */
static void deletion_ends_execs(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome, cut = {.error = ERROR_INIT};
	struct error e = ERROR_INIT;
	const struct part part = {.script = "sleep 100",
				  .namespaces = "{\"type\":\"mount\"},{\"type\":\"uts\"}"};
	const struct part command = {.script = "exec sleep 100", .process = ""};
	struct container *container = must_create(&part);

	must_start(container);
	struct process *process = exec_part(container, "x", &command, &outcome);
	assert_int_equal(outcome.r, 0);
	struct arena *arena = arena_new(0);
	const struct exec_params params = {
		.exec_id = "y", .process = make_process(&command, arena), .stdio = {.console_socket = -1}};
	assert_non_null(container_exec(container, &params, on_done, &cut, &e));
	outcome = (struct outcome){.error = ERROR_INIT};
	container_delete(container, true, on_done, &outcome);
	assert_int_equal(await_outcome(&outcome), 0);
	assert_true(cut.done);
	assert_true(process->exited);
	assert_int_equal(process->exit_code, 137);
	arena_free(arena);
	must_delete(container);
}

/* What we log between fork and execve is no output of the program. */
static void the_log_does_not_become_output(void **state)
{
	NEEDS_STAGE();
	int saved = dup(2), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	const struct part part = {.script = "echo only", .process = "," CAPS("\"CAP_NO_SUCH_THING\"")};

	/* A warning is due: the child cannot give what there is not. */
	log_set_level(LOG_TRACE);
	fflush(stderr);
	dup2(null, 2);
	struct buf out = BUF_INIT;
	run_to(&part, &out);
	dup2(saved, 2);
	log_set_level(LOG_ERROR);
	assert_string_equal(buf_string(&out), "only\n");
	buf_deinit(&out);
	fd_close(saved);
	fd_close(null);
}

/* --- terminals ---------------------------------------------------------------------------------------------- */

static void a_terminal_is_the_containers_own(void **state)
{
	NEEDS_STAGE();
	const struct part part = {
		.script = "tty; stty size; test -c /dev/console && stat -c %t:%T /dev/console; test -t 0 "
			  "&& test -t 1 && test -t 2 && echo all",
		.terminal = true,
		.process = ",\"consoleSize\":{\"height\":33,\"width\":121}"};

	expect_output(&part, "/dev/pts/0\r\n33 121\r\n88:0\r\nall\r\n");
}

static void a_terminal_can_be_resized(void **state)
{
	NEEDS_STAGE();
	struct error e = ERROR_INIT;
	struct buf out = BUF_INIT;
	const struct part part = {.script = "stty size", .terminal = true};
	struct container *container = must_create(&part);

	assert_int_equal(process_resize(container_init(container), 50, 132, &e), 0);
	must_start(container);
	read_all(container_init(container)->master, &out);
	assert_string_equal(buf_string(&out), "50 132\r\n");
	buf_deinit(&out);
	await_exit(container_init(container));
	must_delete(container);

	const struct part plain = {.script = "true"};
	container = must_create(&plain);
	assert_true(process_resize(container_init(container), 1, 1, &e) < 0);
	assert_string_equal(e.text, "no tty");
	must_delete(container);
}

static void exec_gets_a_terminal_inside(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome;
	struct buf out = BUF_INIT;
	const struct part part = {.script = "sleep 100"};
	const struct part command = {.script = "tty", .terminal = true, .process = ""};
	struct container *container = must_create(&part);

	must_start(container);
	struct process *process = exec_part(container, "x", &command, &outcome);
	assert_int_equal(outcome.r, 0);
	read_all(process->master, &out);
	assert_string_equal(buf_string(&out), "/dev/pts/0\r\n");
	buf_deinit(&out);
	await_exit(process);
	must_delete(container);
}

/* A FIFO where the multiplexer should be must neither be opened nor hang anybody: the guest's terminals serve. */
static void exec_survives_a_forged_multiplexer(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome;
	const struct part part = {
		.script = "umount /dev/pts; mkfifo /dev/pts/ptmx; echo ready; exec sleep 100"};
	const struct part command = {.script = "test -t 0 && echo terminal", .terminal = true, .process = ""};
	struct container *container = must_create(&part);
	struct pollfd poller = {.fd = container_init(container)->stdout_fd, .events = POLLIN};

	must_start(container);
	assert_int_equal(poll(&poller, 1, 5000), 1);
	struct process *process = exec_part(container, "x", &command, &outcome);
	/* There is no other multiplexer in this root: an error, but an answer. */
	if (outcome.r == 0)
		await_exit(process);
	must_delete(container);
}

/* Also the usual name is the container's: what is there may be the door to anything, and is not opened to see. */
static void exec_does_not_open_what_is_called_ptmx(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome;
	const struct part part = {.script = "umount /dev/pts; rm -f /dev/ptmx; mkfifo /dev/ptmx; echo ready; "
					    "cat /dev/ptmx; echo opened; exec sleep 100"};
	const struct part command = {.script = "true", .terminal = true, .process = ""};
	struct container *container = must_create(&part);
	struct pollfd poller = {.fd = container_init(container)->stdout_fd, .events = POLLIN};
	char line[16] = "";

	must_start(container);
	assert_int_equal(poll(&poller, 1, 5000), 1);
	assert_true(read(poller.fd, line, sizeof(line) - 1) > 0);
	assert_string_equal(line, "ready\n");
	usleep(100000);
	exec_part(container, "x", &command, &outcome);
	assert_true(outcome.r < 0);
	assert_int_equal(poll(&poller, 1, 300), 0);
	must_delete(container);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		stage_test(executes_beside_init),
		stage_test(exec_tells_its_exit_code),
		stage_test(exec_failures_are_told),
		stage_test(exec_cwd_cannot_lead_out),
		stage_test(exec_goes_to_the_pinned_mount_namespace),
		stage_test(exec_into_a_stopped_container_is_refused),
		stage_test(deletion_ends_execs),
		stage_test(the_log_does_not_become_output),
		stage_test(a_terminal_is_the_containers_own),
		stage_test(a_terminal_can_be_resized),
		stage_test(exec_gets_a_terminal_inside),
		stage_test(exec_survives_a_forged_multiplexer),
		stage_test(exec_does_not_open_what_is_called_ptmx),
	};
	return cmocka_run_group_tests(tests, stage_set_up, stage_tear_down);
}
