/* SPDX-License-Identifier: Apache-2.0 */

/* Input on real pipes and a real pseudo-terminal. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/input.h"
#include "base/fd.h"

struct writer {
	struct input_write write;
	int done;
	bool failed;
	char text[128];
};

static struct loop *loop;

static void done(struct input_write *write, const struct error *e)
{
	struct writer *writer = list_entry(write, struct writer, write);
	writer->done++;
	writer->failed = e != NULL;
	if (e)
		memcpy(writer->text, e->text, sizeof(writer->text) - 1);
}

static void put(struct input *input, struct writer *writer, const void *data, size_t length)
{
	*writer = (struct writer){.write = {.data = data, .length = length, .done = done}};
	input_write(input, &writer->write);
}

static struct input *pipe_input(int *reader)
{
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(fd_nonblock(fds[1], true), 0);
	assert_int_equal(fd_nonblock(fds[0], true), 0);
	assert_true(fcntl(fds[1], F_SETPIPE_SZ, 4096) >= 0);
	*reader = fds[0];
	struct input *input = input_new(loop, fds[1], false);
	assert_non_null(input);
	return input;
}

static int setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	loop = loop_new();
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	loop_free(loop);
	return 0;
}

static void a_write_is_over_when_all_was_accepted(void **state)
{
	struct writer a, b;
	char big[10000], got[20000];
	int reader;
	size_t total = 0;
	(void)state;
	struct input *input = pipe_input(&reader);
	memset(big, 'a', sizeof(big));
	put(input, &a, big, sizeof(big));
	put(input, &b, "end", 3);
	assert_int_equal(a.done + b.done, 0);
	while (total < sizeof(big) + 3) {
		ssize_t n = read(reader, got + total, sizeof(got) - total);
		total += n > 0 ? (size_t)n : 0;
		loop_run_once(loop, 10);
	}
	assert_int_equal(a.done, 1);
	assert_int_equal(b.done, 1);
	assert_false(a.failed || b.failed);
	assert_int_equal(total, sizeof(big) + 3);
	assert_memory_equal(got + sizeof(big), "end", 3);
	close(reader);
	input_free(input);
}

static void closing_comes_after_what_was_written_before(void **state)
{
	struct writer a, late;
	char big[10000], got[512];
	int reader;
	size_t total = 0;
	(void)state;
	struct input *input = pipe_input(&reader);
	memset(big, 'b', sizeof(big));
	put(input, &a, big, sizeof(big));
	input_close(input);
	put(input, &late, "x", 1);
	assert_true(late.failed);
	assert_string_equal(late.text, "Cannot get writer");
	for (ssize_t n; (n = read(reader, got, sizeof(got))) != 0;) {
		total += n > 0 ? (size_t)n : 0;
		loop_run_once(loop, 10);
	}
	assert_int_equal(total, sizeof(big));
	assert_false(a.failed);
	assert_int_equal(a.done, 1);
	input_close(input);
	close(reader);
	input_free(input);
}

static void nobody_reads_any_more(void **state)
{
	struct writer a, b;
	char big[10000] = {0};
	int reader;
	(void)state;
	struct input *input = pipe_input(&reader);
	put(input, &a, big, sizeof(big));
	put(input, &b, "x", 1);
	close(reader);
	loop_run_once(loop, 1000);
	assert_true(a.failed);
	assert_non_null(strstr(a.text, "EPIPE: Broken pipe"));
	assert_true(b.failed);
	put(input, &a, "x", 1);
	assert_true(a.failed);
	assert_non_null(strstr(a.text, "EPIPE: Broken pipe"));
	input_free(input);
}

static void a_forgotten_write_lets_the_next_one_through(void **state)
{
	struct writer a, b;
	char big[10000] = {0}, got[8192];
	int reader;
	(void)state;
	struct input *input = pipe_input(&reader);
	put(input, &a, big, sizeof(big));
	put(input, &b, "next", 4);
	input_close(input);
	input_forget(&a.write);
	assert_int_equal(read(reader, got, sizeof(got)), 4096);
	loop_run_once(loop, 1000);
	assert_int_equal(b.done, 1);
	assert_int_equal(a.done, 0);
	assert_int_equal(read(reader, got, sizeof(got)), 4);
	assert_int_equal(read(reader, got, sizeof(got)), 0);
	close(reader);
	input_free(input);
}

static void forgetting_the_last_write_lets_the_close_through(void **state)
{
	struct writer a;
	char big[10000] = {0}, got[8192];
	int reader;
	(void)state;
	struct input *input = pipe_input(&reader);
	put(input, &a, big, sizeof(big));
	input_close(input);
	input_forget(&a.write);
	assert_int_equal(read(reader, got, sizeof(got)), 4096);
	assert_int_equal(read(reader, got, sizeof(got)), 0);
	close(reader);
	input_free(input);
}

static void exited_without_readers_it_costs_no_descriptor(void **state)
{
	struct writer a;
	int reader;
	(void)state;
	struct input *input = pipe_input(&reader);
	input_exited(input);
	put(input, &a, "y", 1);
	assert_false(a.failed);
	close(reader);
	input_exited(input);
	put(input, &a, "y", 1);
	assert_true(a.failed);
	input_free(input);
}

static void freeing_it_fails_the_writes(void **state)
{
	struct writer a;
	char big[10000] = {0};
	int reader;
	(void)state;
	struct input *input = pipe_input(&reader);
	put(input, &a, big, sizeof(big));
	input_free(input);
	assert_true(a.failed);
	close(reader);
}

/* --- terminals --- */

static int open_terminal(int *slave)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	assert_true(master >= 0);
	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	*slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(*slave >= 0);
	return master;
}

/* Reads in canonical mode until an end of file; what came before goes to @got. */
static void read_to_end(int slave, char *got)
{
	size_t total = 0;
	alarm(5);
	for (ssize_t n; (n = read(slave, got + total, 64)) != 0;) {
		assert_true(n > 0);
		total += (size_t)n;
	}
	alarm(0);
	got[total] = '\0';
}

static void check_end(const char *typed, const char *expected)
{
	struct writer a;
	char got[128];
	int slave, master = open_terminal(&slave);
	struct input *input = input_new(loop, master, true);
	if (*typed)
		put(input, &a, typed, strlen(typed));
	input_close(input);
	input_close(input);
	read_to_end(slave, got);
	assert_string_equal(got, expected);
	/* One end, not two: nothing more is there to be read. */
	assert_int_equal(fd_nonblock(slave, true), 0);
	assert_int_equal(read(slave, got, sizeof(got)), -1);
	assert_int_equal(errno, EAGAIN);
	input_free(input);
	close(slave);
	close(master);
}

static void a_terminal_gets_its_end_of_file_character(void **state)
{
	(void)state;
	check_end("", "");
	check_end("line\n", "line\n");
	check_end("line\r", "line\n");
	check_end("begun", "begun");
	check_end("one\nbegun", "one\nbegun");
	check_end("killed\025", "");
}

static void a_raw_terminal_gets_nothing(void **state)
{
	struct termios raw;
	char got[8];
	int slave, master = open_terminal(&slave);
	(void)state;
	assert_int_equal(tcgetattr(slave, &raw), 0);
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
	struct input *input = input_new(loop, master, true);
	input_close(input);
	assert_int_equal(fd_nonblock(slave, true), 0);
	assert_int_equal(read(slave, got, sizeof(got)), -1);
	assert_int_equal(errno, EAGAIN);
	input_free(input);
	/* Borrowed. */
	assert_true(fcntl(master, F_GETFD) >= 0);
	close(slave);
	close(master);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_write_is_over_when_all_was_accepted),
		cmocka_unit_test(closing_comes_after_what_was_written_before),
		cmocka_unit_test(nobody_reads_any_more),
		cmocka_unit_test(a_forgotten_write_lets_the_next_one_through),
		cmocka_unit_test(forgetting_the_last_write_lets_the_close_through),
		cmocka_unit_test(exited_without_readers_it_costs_no_descriptor),
		cmocka_unit_test(freeing_it_fails_the_writes),
		cmocka_unit_test(a_terminal_gets_its_end_of_file_character),
		cmocka_unit_test(a_raw_terminal_gets_nothing),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
