/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of job.c and job-program.c. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/job.h"
#include "base/str.h"

static int setup(void **state)
{
	*state = loop_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	loop_free(*state);
	return 0;
}

struct outcome {
	int calls;
	int r;
	struct error e;
	struct buf result;
};

static void on_done(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct outcome *outcome = data;

	outcome->calls++;
	outcome->r = r;
	outcome->e = *e;
	buf_append(&outcome->result, buf_begin(result), result->length);
	/* An owner that cleans up in its callback does no harm. */
	job_cancel(job);
}

static void outcome_deinit(struct outcome *outcome)
{
	buf_deinit(&outcome->result);
}

#define _cleanup_outcome_ __attribute__((cleanup(outcome_deinit)))

static void run(struct loop *loop, const struct job_options *options, job_fn fn, void *argument,
		struct outcome *outcome)
{
	struct error e = ERROR_INIT;
	struct job *job = job_start(loop, options, fn, argument, on_done, outcome, &e);
	uint64_t start = loop_now();

	assert_non_null(job);
	while (!outcome->calls && loop_now() < start + 20000)
		loop_run_once(loop, 100);
	assert_int_equal(outcome->calls, 1);
}

static int job_echo(struct buf *result, void *argument, struct error *e)
{
	buf_printf(result, "got %s", (const char *)argument);
	return 0;
}

static void test_result(void **state)
{
	_cleanup_outcome_ struct outcome o = {0};
	char text[] = "this";

	run(*state, &(struct job_options){.name = "echo", .deadline_ms = 10000}, job_echo, text, &o);
	assert_int_equal(o.r, 0);
	assert_int_equal(o.e.code, STATUS_OK);
	assert_string_equal(buf_string(&o.result), "got this");
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static int job_fail(struct buf *result, void *argument, struct error *e)
{
	buf_append_string(result, "half");
	return error_errno(e, ENOENT, "open \"%s\"", "x\xff");
}

static int job_fail_silently(struct buf *result, void *argument, struct error *e)
{
	return -EBUSY;
}

static void test_error(void **state)
{
	_cleanup_outcome_ struct outcome o = {0}, silent = {0};

	run(*state, &(struct job_options){.name = "fail"}, job_fail, NULL, &o);
	assert_int_equal(o.r, -ENOENT);
	assert_int_equal(o.e.errnum, ENOENT);
	assert_string_equal(o.e.text, "open \"x\xef\xbf\xbd\": ENOENT: No such file or directory");
	assert_int_equal(o.result.length, 0);

	run(*state, &(struct job_options){.name = "mute"}, job_fail_silently, NULL, &silent);
	assert_int_equal(silent.r, -EBUSY);
	assert_string_equal(silent.e.text, "mute: EBUSY: Device or resource busy");
}

static int job_crash(struct buf *result, void *argument, struct error *e)
{
	raise(SIGKILL);
	return 0;
}

static int job_leave(struct buf *result, void *argument, struct error *e)
{
	_exit(3);
}

static void test_crash(void **state)
{
	_cleanup_outcome_ struct outcome o = {0}, left = {0};

	run(*state, &(struct job_options){.name = "crash"}, job_crash, NULL, &o);
	assert_int_equal(o.r, -EIO);
	assert_string_equal(o.e.text, "crash: ended by signal 9");
	run(*state, &(struct job_options){.name = "leave"}, job_leave, NULL, &left);
	assert_int_equal(left.r, -EIO);
	assert_string_equal(left.e.text, "leave: ended without an answer, exit code 3");
}

static int job_sleep(struct buf *result, void *argument, struct error *e)
{
	while (pause() < 0)
		;
	return 0;
}

static void test_deadline(void **state)
{
	_cleanup_outcome_ struct outcome o = {0};
	uint64_t start = loop_now();

	run(*state, &(struct job_options){.name = "slow", .deadline_ms = 50}, job_sleep, NULL, &o);
	assert_true(loop_now() - start >= 50);
	assert_int_equal(o.r, -ETIMEDOUT);
	assert_int_equal(o.e.code, STATUS_DEADLINE_EXCEEDED);
	assert_string_equal(o.e.text, "slow: timed out");
	/* Killed it was, but it counts until it is gone. */
	assert_int_equal(job_count(*state), 1);
	while (job_count(*state) > 0)
		loop_run_once(*state, 1000);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static int job_leave_behind(struct buf *result, void *argument, struct error *e)
{
	if (fork() == 0) {
		usleep(2000000);
		_exit(0);
	}
	return job_sleep(result, argument, e);
}

/*
 * Neither the end of the child nor the end of its pipe, which a grandchild holds here, is waited for at the deadline:
 * one that hangs in the kernel would have neither.
 */
static void test_hung_job_is_abandoned(void **state)
{
	_cleanup_outcome_ struct outcome o = {0};
	uint64_t start = loop_now();

	run(*state, &(struct job_options){.name = "hung", .deadline_ms = 100}, job_leave_behind, NULL, &o);
	assert_true(loop_now() - start < 1500);
	assert_int_equal(o.r, -ETIMEDOUT);
	while (job_count(*state) > 0)
		loop_run_once(*state, 1000);
}

static int job_linger(struct buf *result, void *argument, struct error *e)
{
	if (fork() == 0) {
		usleep(3000000);
		_exit(0);
	}
	buf_append_string(result, "answer");
	return 0;
}

/* What a job leaves running holds a copy of the pipe; the answer does not wait for its end of file. */
static void test_answer_does_not_wait_for_grandchildren(void **state)
{
	_cleanup_outcome_ struct outcome o = {0};
	uint64_t start = loop_now();

	run(*state, &(struct job_options){.name = "linger"}, job_linger, NULL, &o);
	assert_true(loop_now() - start < 2500);
	assert_int_equal(o.r, 0);
	assert_string_equal(buf_string(&o.result), "answer");
}

static int job_big(struct buf *result, void *argument, struct error *e)
{
	size_t n = *(const size_t *)argument;
	uint8_t *to = buf_reserve(result, n);

	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)(i % 251);
	buf_commit(result, n);
	return 0;
}

static void test_large_results(void **state)
{
	size_t n = 3000000;
	_cleanup_outcome_ struct outcome o = {0}, over = {0}, exact = {0};

	run(*state, &(struct job_options){.name = "big", .max_result = n}, job_big, &n, &o);
	assert_int_equal(o.r, 0);
	assert_int_equal(o.result.length, n);
	for (size_t i = 0; i < n; i++)
		assert_true(buf_begin(&o.result)[i] == i % 251);

	n = 64 * 1024;
	run(*state, &(struct job_options){.name = "big"}, job_big, &n, &exact);
	assert_int_equal(exact.r, 0);
	assert_int_equal(exact.result.length, n);
	n++;
	run(*state, &(struct job_options){.name = "big"}, job_big, &n, &over);
	assert_int_equal(over.r, -EMSGSIZE);
	assert_int_equal(over.result.length, 0);
}

static void test_cancel(void **state)
{
	struct outcome o = {0};
	struct error e = ERROR_INIT;
	struct job_options options = {.name = "cancelled", .new_group = true};
	struct job *job = job_start(*state, &options, job_sleep, NULL, on_done, &o, &e);

	assert_non_null(job);
	pid_t pid = job_pid(job);
	assert_int_equal(getpgid(pid), pid);
	loop_run_once(*state, 0);
	job_cancel(job);
	assert_int_equal(job_count(*state), 1);
	while (job_count(*state) > 0)
		loop_run_once(*state, 1000);
	assert_int_equal(o.calls, 0);
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
	job_cancel(NULL);
}

static int job_list_fds(struct buf *result, void *argument, struct error *e)
{
	for (int fd = 3; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			buf_printf(result, "%d ", fd);
	return 0;
}

static void test_child_has_only_what_it_was_given(void **state)
{
	_cleanup_outcome_ struct outcome o = {0};
	int p[2], q[2];
	char expected[64];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(pipe2(q, O_CLOEXEC), 0);
	struct job_options options = {.name = "fds", .keep_fds = &q[1], .n_keep_fds = 1};
	run(*state, &options, job_list_fds, NULL, &o);
	/* The kept one, and the result pipe, whose number is the lowest that was free. */
	snprintf(expected, sizeof(expected), "%d ", q[1]);
	const char *text = buf_string(&o.result);
	assert_non_null(strstr(text, expected));
	int count = 0;
	for (const char *c = text; *c; c++)
		count += *c == ' ';
	assert_int_equal(count, 2);
	for (int i = 0; i < 2; i++) {
		fd_close(p[i]);
		fd_close(q[i]);
	}
}

static int job_signals(struct buf *result, void *argument, struct error *e)
{
	sigset_t mask;
	struct sigaction action;

	sigprocmask(SIG_SETMASK, NULL, &mask);
	sigaction(SIGPIPE, NULL, &action);
	return sigismember(&mask, SIGCHLD) || action.sa_handler != SIG_DFL ? -EINVAL : 0;
}

static void test_child_has_plain_signals(void **state)
{
	_cleanup_outcome_ struct outcome o = {0};

	run(*state, &(struct job_options){.name = "signals"}, job_signals, NULL, &o);
	assert_int_equal(o.r, 0);
}

static void test_many_at_once(void **state)
{
	enum { MANY = 100 };
	static struct outcome o[MANY];
	int done = 0;

	memset(o, 0, sizeof(o));
	for (int i = 0; i < MANY; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%d", i);
		assert_non_null(job_start(*state, &(struct job_options){.name = "one"}, job_echo, text,
					  on_done, &o[i], NULL));
	}
	uint64_t start = loop_now();
	while (done < MANY && loop_now() < start + 20000) {
		loop_run_once(*state, 100);
		done = 0;
		for (int i = 0; i < MANY; i++)
			done += o[i].calls;
	}
	assert_int_equal(done, MANY);
	for (int i = 0; i < MANY; i++) {
		char text[16];

		snprintf(text, sizeof(text), "got %d", i);
		assert_string_equal(buf_string(&o[i].result), text);
		buf_deinit(&o[i].result);
	}
}

static void test_too_many_kept(void **state)
{
	int fds[100];
	struct error e = ERROR_INIT;

	memset(fds, 0, sizeof(fds));
	struct job_options options = {.name = "many", .keep_fds = fds, .n_keep_fds = 100};
	assert_null(job_start(*state, &options, job_echo, NULL, on_done, NULL, &e));
	assert_int_equal(e.errnum, EINVAL);
}

/* A job must not outlive the process that started it. */
static void test_job_dies_with_its_parent(void **state)
{
	int p[2], status;
	char byte;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct loop *loop = loop_new();
		struct job_options options = {.name = "x", .keep_fds = &p[1], .n_keep_fds = 1};

		if (!loop || !job_start(loop, &options, job_sleep, NULL, on_done, NULL, NULL))
			_exit(1);
		usleep(20000);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	fd_close(p[1]);
	/* End of file comes when the job's copy is gone. */
	assert_int_equal(read(p[0], &byte, 1), 0);
	fd_close(p[0]);
}

/* --- programs --- */

struct program_case {
	const char *const *argv;
	const char *const *envp;
	const char *input;
	size_t input_length;
	size_t max;
};

/* Result: status, then a NUL, stdout, NUL, stderr. */
static int job_program(struct buf *result, void *argument, struct error *e)
{
	const struct program_case *c = argument;
	_cleanup_buf_ struct buf out = BUF_INIT;
	_cleanup_buf_ struct buf err = BUF_INIT;
	int status = 0;
	int r = job_run_program(c->argv, c->envp, c->input, c->input_length, &out, &err, c->max, &status, e);

	if (r < 0)
		return r;
	buf_printf(result, "%d|%s|%s", status, buf_string(&out), buf_string(&err));
	return 0;
}

static void run_program(struct loop *loop, struct program_case c, struct outcome *o)
{
	struct job_options options = {.name = "program", .deadline_ms = 15000, .max_result = 1 << 20};

	run(loop, &options, job_program, &c, o);
}

#define SHELL(text) ((const char *const[]){"/bin/sh", "-c", text, NULL})

static void test_program(void **state)
{
	_cleanup_outcome_ struct outcome o = {0}, in = {0}, env = {0}, sig = {0}, bare = {0};

	run_program(*state,
		    (struct program_case){.argv = SHELL("echo out; echo err >&2; exit 3"), .max = 100}, &o);
	assert_int_equal(o.r, 0);
	assert_string_equal(buf_string(&o.result), "768|out\n|err\n");

	run_program(
		*state,
		(struct program_case){.argv = SHELL("cat"), .input = "hello", .input_length = 5, .max = 9},
		&in);
	assert_string_equal(buf_string(&in.result), "0|hello|");

	const char *const envp[] = {"A=b", NULL};
	run_program(*state,
		    (struct program_case){.argv = SHELL("echo $A; cat; ls /proc/self/fd | wc -l"),
					  .envp = envp,
					  .max = 100},
		    &env);
	/* 0, 1, 2 and the directory that ls reads. */
	assert_string_equal(buf_string(&env.result), "0|b\n4\n|");

	run_program(*state, (struct program_case){.argv = SHELL("kill -9 $$"), .max = 100}, &sig);
	assert_string_equal(buf_string(&sig.result), "9||");

	run_program(*state, (struct program_case){.argv = (const char *const[]){"true", NULL}, .max = 1},
		    &bare);
	assert_string_equal(buf_string(&bare.result), "0||");
}

static void test_program_that_is_not_there(void **state)
{
	_cleanup_outcome_ struct outcome o = {0};

	run_program(*state, (struct program_case){.argv = (const char *const[]){"/no/such", NULL}, .max = 1},
		    &o);
	assert_int_equal(o.r, -ENOENT);
	assert_string_equal(o.e.text, "run \"/no/such\": ENOENT: No such file or directory");
}

static void test_program_output_is_bounded(void **state)
{
	_cleanup_outcome_ struct outcome o = {0};

	run_program(
		*state,
		(struct program_case){.argv = SHELL("head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2"),
				      .max = 1000},
		&o);
	assert_int_equal(o.r, 0);
	assert_int_equal(o.result.length, strlen("0|") + 1000 + strlen("|end\n"));
}

static void test_program_that_does_not_read(void **state)
{
	_cleanup_outcome_ struct outcome o = {0};
	static char input[300000];

	run_program(
		*state,
		(struct program_case){
			.argv = SHELL("exec true"), .input = input, .input_length = sizeof(input), .max = 10},
		&o);
	assert_int_equal(o.r, 0);
	assert_string_equal(buf_string(&o.result), "0||");
}

static void test_program_with_a_background(void **state)
{
	_cleanup_outcome_ struct outcome o = {0};
	uint64_t start = loop_now();

	run_program(*state, (struct program_case){.argv = SHELL("sleep 3 & echo x"), .max = 10}, &o);
	assert_int_equal(o.r, 0);
	assert_string_equal(buf_string(&o.result), "0|x\n|");
	assert_true(loop_now() - start < 2500);
}

/* A subreaper sees the program become its own when the job is killed, and end. */
static void test_program_dies_with_the_job(void **state)
{
	_cleanup_outcome_ struct outcome o = {0};
	struct program_case c = {.argv = SHELL("exec sleep 1000"), .max = 10};
	struct job_options options = {.name = "program", .deadline_ms = 200};

	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	run(*state, &options, job_program, &c, &o);
	uint64_t start = loop_now();
	while ((loop_orphans(*state) < 1 || job_count(*state) > 0) && loop_now() < start + 5000)
		loop_run_once(*state, 100);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	assert_int_equal(o.r, -ETIMEDOUT);
	assert_true(loop_orphans(*state) == 1);
	assert_int_equal(job_count(*state), 0);
}

static void count_calls(void *data)
{
	++*(unsigned *)data;
}

static void test_count(void **state)
{
	enum { JOBS = 3 };
	struct outcome o[JOBS] = {0};
	struct error e = ERROR_INIT;
	struct job *jobs[JOBS];
	unsigned fewer = 0;

	job_on_fewer(count_calls, &fewer);
	assert_int_equal(job_count(*state), 0);
	for (unsigned i = 0; i < JOBS; i++) {
		jobs[i] = job_start(*state, &(struct job_options){.name = "one"},
				    i == 0 ? job_echo : job_sleep, (void *)"x", on_done, &o[i], &e);
		assert_non_null(jobs[i]);
		assert_int_equal(job_count(*state), i + 1);
	}
	while (o[0].calls == 0)
		loop_run_once(*state, 1000);
	assert_int_equal(job_count(*state), 2);
	assert_int_equal(fewer, 1);
	job_cancel(jobs[1]);
	job_cancel(jobs[2]);
	assert_int_equal(job_count(*state), 2);
	while (job_count(*state) > 0)
		loop_run_once(*state, 1000);
	assert_int_equal(fewer, 3);
	job_on_fewer(NULL, NULL);
	buf_deinit(&o[0].result);
}

#define job_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		job_test(test_result),
		job_test(test_error),
		job_test(test_crash),
		job_test(test_count),
		job_test(test_deadline),
		job_test(test_hung_job_is_abandoned),
		job_test(test_answer_does_not_wait_for_grandchildren),
		job_test(test_large_results),
		job_test(test_cancel),
		job_test(test_child_has_only_what_it_was_given),
		job_test(test_child_has_plain_signals),
		job_test(test_many_at_once),
		job_test(test_too_many_kept),
		job_test(test_job_dies_with_its_parent),
		job_test(test_program),
		job_test(test_program_that_is_not_there),
		job_test(test_program_output_is_bounded),
		job_test(test_program_that_does_not_read),
		job_test(test_program_with_a_background),
		job_test(test_program_dies_with_the_job),
	};

	return cmocka_run_group_tests_name("job", tests, NULL, NULL);
}
