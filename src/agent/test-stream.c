/* SPDX-License-Identifier: Apache-2.0 */

/* Streams on real pipes and a real pseudo-terminal, carried by reads that the test settles as it likes. */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/stream.h"
#include "base/fd.h"

struct reader {
	struct stream_read read;
	uint8_t memory[256];
	char got[300];
	int delivered;
	bool ended;
	uint32_t code;
	bool keep; /* not to be settled at once */
};

static struct loop *loop;

static uint8_t *room(struct stream_read *read, size_t size)
{
	struct reader *reader = list_entry(read, struct reader, read);
	return size <= sizeof(reader->memory) ? reader->memory : NULL;
}

static void deliver(struct stream_read *read, const struct error *e)
{
	struct reader *reader = list_entry(read, struct reader, read);
	reader->delivered++;
	if (e)
		reader->code = e->code;
	reader->ended = !e && read->length == 0;
	if (read->length == 0)
		return;
	memcpy(reader->got, read->data, read->length);
	reader->got[read->length] = '\0';
	if (!reader->keep)
		stream_settle(read, true);
}

static void ask(struct stream *stream, struct reader *reader, size_t max)
{
	*reader = (struct reader){.keep = reader->keep};
	reader->read.max = max;
	reader->read.room = room;
	reader->read.deliver = deliver;
	stream_ask(stream, &reader->read);
}

static struct stream *pipe_stream(int *writer)
{
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(fd_nonblock(fds[0], true), 0);
	*writer = fds[1];
	struct stream *stream = stream_new(loop, fds[0], false);
	assert_non_null(stream);
	return stream;
}

static void put(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static int setup(void **state)
{
	(void)state;
	loop = loop_new();
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	loop_free(loop);
	return 0;
}

static void gives_what_is_there_and_no_more(void **state)
{
	struct reader a = {0};
	int writer;
	(void)state;
	struct stream *stream = pipe_stream(&writer);
	put(writer, "hello");
	ask(stream, &a, 100);
	assert_string_equal(a.got, "hello");
	put(writer, "world");
	ask(stream, &a, 2);
	assert_string_equal(a.got, "wo");
	ask(stream, &a, 100);
	assert_string_equal(a.got, "rld");
	close(writer);
	stream_free(stream);
}

static void parks_until_there_is_something(void **state)
{
	struct reader a = {0}, b = {0};
	int writer;
	(void)state;
	struct stream *stream = pipe_stream(&writer);
	ask(stream, &a, 3);
	ask(stream, &b, 3);
	loop_run_once(loop, 0);
	assert_int_equal(a.delivered + b.delivered, 0);
	put(writer, "abcde");
	loop_run_once(loop, 1000);
	assert_string_equal(a.got, "abc");
	assert_string_equal(b.got, "de");
	close(writer);
	stream_free(stream);
}

static void end_of_file_is_told_every_time(void **state)
{
	struct reader a = {0};
	int writer;
	(void)state;
	struct stream *stream = pipe_stream(&writer);
	put(writer, "x");
	close(writer);
	ask(stream, &a, 10);
	assert_string_equal(a.got, "x");
	for (int i = 0; i < 3; i++) {
		ask(stream, &a, 10);
		assert_true(a.ended);
	}
	assert_true(stream_drained(stream));
	stream_free(stream);
}

static void asking_for_nothing_gets_nothing_at_once(void **state)
{
	struct reader a = {0};
	int writer;
	(void)state;
	struct stream *stream = pipe_stream(&writer);
	ask(stream, &a, 0);
	assert_true(a.ended);
	put(writer, "kept");
	ask(stream, &a, 10);
	assert_string_equal(a.got, "kept");
	close(writer);
	stream_free(stream);
}

static void what_did_not_arrive_comes_back_in_front(void **state)
{
	struct reader a = {.keep = true}, b = {0};
	int writer;
	(void)state;
	struct stream *stream = pipe_stream(&writer);
	put(writer, "first");
	ask(stream, &a, 100);
	assert_string_equal(a.got, "first");
	put(writer, "second");
	ask(stream, &b, 100);
	/* One is carried: the other waits, although there is something. */
	loop_run_once(loop, 0);
	assert_int_equal(b.delivered, 0);
	stream_settle(&a.read, false);
	assert_string_equal(b.got, "first");
	ask(stream, &b, 100);
	assert_string_equal(b.got, "second");
	close(writer);
	stream_free(stream);
}

static void a_part_of_what_came_back_is_served_in_pieces(void **state)
{
	struct reader a = {.keep = true}, b = {0};
	int writer;
	(void)state;
	struct stream *stream = pipe_stream(&writer);
	put(writer, "abcdef");
	close(writer);
	ask(stream, &a, 100);
	stream_settle(&a.read, false);
	stream_exited(stream);
	assert_false(stream_drained(stream));
	ask(stream, &b, 4);
	assert_string_equal(b.got, "abcd");
	ask(stream, &b, 4);
	assert_string_equal(b.got, "ef");
	ask(stream, &b, 4);
	assert_true(b.ended);
	stream_free(stream);
}

static void a_forgotten_read_takes_nothing(void **state)
{
	struct reader a = {0}, b = {0};
	int writer;
	(void)state;
	struct stream *stream = pipe_stream(&writer);
	ask(stream, &a, 100);
	stream_forget(&a.read);
	put(writer, "data");
	loop_run_once(loop, 0);
	assert_int_equal(a.delivered, 0);
	ask(stream, &b, 100);
	assert_string_equal(b.got, "data");
	close(writer);
	stream_free(stream);
}

static void held_open_after_the_exit_it_ends_by_silence(void **state)
{
	struct reader a = {0};
	int writer;
	(void)state;
	struct stream *stream = pipe_stream(&writer);
	ask(stream, &a, 100);
	stream_exited(stream);
	uint64_t begin = loop_now();
	assert_int_equal(a.delivered, 0);
	while (a.delivered == 0)
		loop_run_once(loop, 5000);
	assert_true(a.ended);
	assert_in_range(loop_now() - begin, STREAM_GRACE_MS - 20, STREAM_GRACE_MS + 2000);
	/* Over is over, for each read anew and at once … */
	ask(stream, &a, 100);
	assert_true(a.ended);
	/* … but what comes after all is not thrown away. */
	put(writer, "late");
	ask(stream, &a, 100);
	assert_string_equal(a.got, "late");
	close(writer);
	stream_free(stream);
}

static void a_read_that_comes_after_the_exit_ends_too(void **state)
{
	struct reader a = {0};
	int writer;
	(void)state;
	struct stream *stream = pipe_stream(&writer);
	put(writer, "rest");
	stream_exited(stream);
	ask(stream, &a, 100);
	assert_string_equal(a.got, "rest");
	ask(stream, &a, 100);
	while (a.delivered == 0)
		loop_run_once(loop, 5000);
	assert_true(a.ended);
	close(writer);
	stream_free(stream);
}

static void noise_after_the_exit_prolongs_it(void **state)
{
	struct reader a = {0};
	int writer;
	(void)state;
	struct stream *stream = pipe_stream(&writer);
	stream_exited(stream);
	for (int i = 0; i < 4; i++) {
		ask(stream, &a, 100);
		uint64_t begin = loop_now();
		while (loop_now() - begin < STREAM_GRACE_MS * 3 / 5)
			loop_run_once(loop, 20);
		assert_int_equal(a.delivered, 0);
		put(writer, "tick");
		while (a.delivered == 0)
			loop_run_once(loop, 1000);
		assert_string_equal(a.got, "tick");
	}
	close(writer);
	stream_free(stream);
}

static void exited_and_read_it_costs_no_descriptor(void **state)
{
	int writer;
	(void)state;
	struct stream *stream = pipe_stream(&writer);
	close(writer);
	stream_exited(stream);
	assert_true(stream_drained(stream));
	stream_free(stream);
}

static void thousands_of_reads_cost_no_stack(void **state)
{
	enum { MANY = 20000 };
	struct reader *readers = calloc(MANY, sizeof(*readers));
	char *bytes = malloc(MANY);
	int writer;
	(void)state;
	struct rlimit limit = {.rlim_cur = 256 << 10, .rlim_max = RLIM_INFINITY}, old;
	assert_int_equal(getrlimit(RLIMIT_STACK, &old), 0);
	limit.rlim_max = old.rlim_max;
	struct stream *stream = pipe_stream(&writer);
	for (int i = 0; i < MANY; i++)
		ask(stream, &readers[i], 1);
	memset(bytes, 'x', MANY);
	assert_int_equal(setrlimit(RLIMIT_STACK, &limit), 0);
	assert_int_equal(write(writer, bytes, MANY), MANY);
	loop_run_once(loop, 1000);
	assert_int_equal(setrlimit(RLIMIT_STACK, &old), 0);
	for (int i = 0; i < MANY; i++)
		assert_string_equal(readers[i].got, "x");
	close(writer);
	stream_free(stream);
	free(readers);
	free(bytes);
}

static void freeing_it_ends_the_reads(void **state)
{
	struct reader a = {0}, b = {.keep = true};
	int writer;
	(void)state;
	struct stream *stream = pipe_stream(&writer);
	put(writer, "x");
	ask(stream, &b, 10);
	ask(stream, &a, 10);
	stream_free(stream);
	assert_true(a.ended);
	/* What was being carried may still be settled, into nothing. */
	stream_settle(&b.read, false);
	close(writer);
}

static void a_terminal_that_hung_up_has_ended(void **state)
{
	struct reader a = {0};
	struct termios raw;
	(void)state;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	assert_true(master >= 0);
	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(slave >= 0);
	assert_int_equal(tcgetattr(slave, &raw), 0);
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
	struct stream *stream = stream_new(loop, master, true);
	ask(stream, &a, 100);
	put(slave, "tty");
	while (a.delivered == 0)
		loop_run_once(loop, 1000);
	assert_string_equal(a.got, "tty");
	close(slave);
	/* While the process lives somebody may open it again: the end is not for ever. */
	ask(stream, &a, 100);
	while (a.delivered == 0)
		loop_run_once(loop, 1000);
	assert_true(a.ended);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	put(slave, "again");
	ask(stream, &a, 100);
	while (a.delivered == 0)
		loop_run_once(loop, 1000);
	assert_string_equal(a.got, "again");
	close(slave);
	stream_exited(stream);
	assert_true(stream_drained(stream));
	stream_free(stream);
	/* The master was only borrowed. */
	assert_int_equal(fcntl(master, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	close(master);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_what_is_there_and_no_more),
		cmocka_unit_test(parks_until_there_is_something),
		cmocka_unit_test(end_of_file_is_told_every_time),
		cmocka_unit_test(asking_for_nothing_gets_nothing_at_once),
		cmocka_unit_test(what_did_not_arrive_comes_back_in_front),
		cmocka_unit_test(a_part_of_what_came_back_is_served_in_pieces),
		cmocka_unit_test(a_forgotten_read_takes_nothing),
		cmocka_unit_test(held_open_after_the_exit_it_ends_by_silence),
		cmocka_unit_test(a_read_that_comes_after_the_exit_ends_too),
		cmocka_unit_test(noise_after_the_exit_prolongs_it),
		cmocka_unit_test(exited_and_read_it_costs_no_descriptor),
		cmocka_unit_test(thousands_of_reads_cost_no_stack),
		cmocka_unit_test(freeing_it_ends_the_reads),
		cmocka_unit_test(a_terminal_that_hung_up_has_ended),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
