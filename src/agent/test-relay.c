/* SPDX-License-Identifier: Apache-2.0 */

/* Pass-through stdio over socket pairs, with pipes where the process would be. */

#include "agent/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"

struct fixture {
	struct loop *loop;
	int host[3];	/* the host's ends of the connections */
	int process[3]; /* the process's ends of the pipes */
	struct input *input;
	struct stream *outputs[2];
	struct relay *relay;
	unsigned drained;
};

static void on_drained(void *data)
{
	((struct fixture *)data)->drained++;
}

static int setup(void **state)
{
	static struct fixture f;
	int ours[3];
	f = (struct fixture){.loop = loop_new()};
	for (int i = 0; i < 3; i++) {
		int pair[2], ends[2];
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		f.host[i] = pair[0];
		ours[i] = pair[1];
		f.process[i] = ends[i ? 1 : 0];
		fd_nonblock(ends[i ? 0 : 1], true);
		if (i == 0)
			f.input = input_new(f.loop, ends[1], false);
		else
			f.outputs[i - 1] = stream_new(f.loop, ends[0], false);
		fd_nonblock(f.host[i], true);
	}
	struct relay_ends ends = {.input = f.input, .outputs = {f.outputs[0], f.outputs[1]}};
	f.relay = relay_new(f.loop, ours, &ends, on_drained, &f);
	assert_non_null(f.relay);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	relay_free(f->relay);
	input_free(f->input);
	stream_free(f->outputs[0]);
	stream_free(f->outputs[1]);
	for (int i = 0; i < 3; i++) {
		fd_close(f->host[i]);
		fd_close(f->process[i]);
	}
	loop_free(f->loop);
	return 0;
}

static void turn(struct fixture *f, unsigned rounds)
{
	while (rounds--)
		loop_run_once(f->loop, 5);
}

/* Reads what comes on @fd until it is silent or over. */
static size_t collect(struct fixture *f, int fd, char *out, size_t size)
{
	size_t length = 0;
	for (int quiet = 0; quiet < 20 && length < size;) {
		ssize_t n = read(fd, out + length, size - length);
		if (n > 0) {
			length += (size_t)n;
			quiet = 0;
		} else if (n == 0) {
			break;
		} else {
			quiet++;
		}
		turn(f, 1);
	}
	return length;
}

static void all_three_ways(void **state)
{
	struct fixture *f = *state;
	char got[64];
	assert_int_equal(write(f->host[0], "in", 2), 2);
	assert_int_equal(write(f->process[1], "out", 3), 3);
	assert_int_equal(write(f->process[2], "error", 5), 5);
	turn(f, 10);
	assert_int_equal(read(f->process[0], got, sizeof(got)), 2);
	assert_memory_equal(got, "in", 2);
	assert_int_equal(collect(f, f->host[1], got, sizeof(got)), 3);
	assert_memory_equal(got, "out", 3);
	assert_int_equal(collect(f, f->host[2], got, sizeof(got)), 5);
	assert_memory_equal(got, "error", 5);
	assert_int_equal(f->drained, 0);
}

static void the_end_of_input(void **state)
{
	struct fixture *f = *state;
	char got[8];
	assert_int_equal(write(f->host[0], "last", 4), 4);
	shutdown(f->host[0], SHUT_WR);
	turn(f, 10);
	assert_int_equal(read(f->process[0], got, sizeof(got)), 4);
	assert_int_equal(read(f->process[0], got, sizeof(got)), 0);
}

static void drained_when_both_outputs_ended(void **state)
{
	struct fixture *f = *state;
	char got[8];
	assert_int_equal(write(f->process[1], "tail", 4), 4);
	f->process[1] = fd_close(f->process[1]);
	turn(f, 10);
	assert_int_equal(f->drained, 0);
	assert_int_equal(collect(f, f->host[1], got, sizeof(got)), 4);
	assert_int_equal(read(f->host[1], got, sizeof(got)), 0);
	f->process[2] = fd_close(f->process[2]);
	turn(f, 10);
	assert_int_equal(f->drained, 1);
	assert_true(relay_drained(f->relay));
}

/* More than socket and pipe hold, to a host that begins to read late: nothing is lost, nothing is twice. */
static void a_slow_host(void **state)
{
	struct fixture *f = *state;
	enum { TOTAL = 3 << 20 };
	uint8_t *sent = malloc(TOTAL), *got = malloc(TOTAL);
	size_t written = 0, length = 0;
	for (size_t i = 0; i < TOTAL; i++)
		sent[i] = (uint8_t)(i * 31 + (i >> 9));
	fd_nonblock(f->process[1], true);
	for (int i = 0; i < 100; i++) {
		ssize_t n = write(f->process[1], sent + written, TOTAL - written);
		written += n > 0 ? (size_t)n : 0;
		turn(f, 1);
	}
	assert_true(written < TOTAL);
	for (int i = 0; i < 100000 && length < TOTAL; i++) {
		ssize_t n = write(f->process[1], sent + written, TOTAL - written);
		written += n > 0 ? (size_t)n : 0;
		n = read(f->host[1], got + length, TOTAL - length);
		length += n > 0 ? (size_t)n : 0;
		loop_run_once(f->loop, 0);
	}
	assert_int_equal(length, TOTAL);
	assert_memory_equal(sent, got, TOTAL);
	free(sent);
	free(got);
}

/* The process goes on, into the void, and its end is still seen. */
static void a_host_that_has_gone(void **state)
{
	struct fixture *f = *state;
	char block[4096] = {0};
	size_t written = 0;
	f->host[1] = fd_close(f->host[1]);
	fd_nonblock(f->process[1], true);
	for (int i = 0; i < 2000 && written < (1 << 20); i++) {
		ssize_t n = write(f->process[1], block, sizeof(block));
		written += n > 0 ? (size_t)n : 0;
		turn(f, n > 0 ? 0 : 1);
	}
	assert_true(written >= (1 << 20));
	f->process[1] = fd_close(f->process[1]);
	f->process[2] = fd_close(f->process[2]);
	turn(f, 20);
	assert_int_equal(f->drained, 1);
}

/* A grandchild keeps the pipe: the end comes by the stream's grace after the exit. */
static void a_pipe_that_stays_open(void **state)
{
	struct fixture *f = *state;
	stream_exited(f->outputs[0]);
	stream_exited(f->outputs[1]);
	uint64_t until = loop_now() + 20 * STREAM_GRACE_MS;
	while (!f->drained && loop_now() < until)
		turn(f, 1);
	assert_int_equal(f->drained, 1);
}

static void freed_in_the_middle(void **state)
{
	struct fixture *f = *state;
	char block[4096] = {0};
	fd_nonblock(f->process[1], true);
	for (int i = 0; i < 200; i++) {
		if (write(f->process[1], block, sizeof(block)) < 0)
			turn(f, 1);
	}
	assert_int_equal(write(f->host[0], block, sizeof(block)), sizeof(block));
	turn(f, 1);
	relay_free(f->relay);
	f->relay = NULL;
	turn(f, 2);
	assert_int_equal(f->drained, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_three_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_of_input, setup, teardown),
		cmocka_unit_test_setup_teardown(drained_when_both_outputs_ended, setup, teardown),
		cmocka_unit_test_setup_teardown(a_slow_host, setup, teardown),
		cmocka_unit_test_setup_teardown(a_host_that_has_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pipe_that_stays_open, setup, teardown),
		cmocka_unit_test_setup_teardown(freed_in_the_middle, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
