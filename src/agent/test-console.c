/* SPDX-License-Identifier: Apache-2.0 */

/* The debug console through a UNIX socket: sessions, half-closed and vanished clients, shutdown. */

#include "agent/console.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"

static const char *const shells[] = {"/nonexistent/sh", "/bin/sh", NULL};

struct fixture {
	struct loop *loop;
	struct console *console;
	struct sockaddr_un address;
	socklen_t length;
};

static int setup(void **state)
{
	static struct fixture f;
	struct error e = ERROR_INIT;
	f = (struct fixture){.loop = loop_new(), .address.sun_family = AF_UNIX};
	/* Abstract, named by the kernel. */
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&f.address, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(listener, 8), 0);
	f.length = sizeof(f.address);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&f.address, &f.length), 0);
	f.console = console_adopt(f.loop, listener, shells, &e);
	assert_non_null(f.console);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	console_free(f->console);
	/* Killed shells are reaped here. */
	for (int i = 0; i < 20; i++)
		loop_run_once(f->loop, 5);
	loop_free(f->loop);
	return 0;
}

static int dial(struct fixture *f)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&f->address, f->length), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

/* Runs the loop until @wanted came on @fd (true) or the connection ended (false); fails after 10 s. */
static bool hear(struct fixture *f, int fd, const char *wanted)
{
	static char text[1 << 16];
	size_t length = 0;
	uint64_t until = loop_now() + 10000;
	while (loop_now() < until) {
		ssize_t n = read(fd, text + length, sizeof(text) - 1 - length);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return false;
		if (n > 0) {
			length += (size_t)n;
			text[length] = '\0';
			if (wanted && strstr(text, wanted))
				return true;
			continue;
		}
		loop_run_once(f->loop, 10);
	}
	fail_msg("heard only \"%.500s\"", text);
	return false;
}

static void runs_commands(void **state)
{
	struct fixture *f = *state;
	_cleanup_fd_ int fd = dial(f);
	say(fd, "stty size; tty; echo a$((40 + 2))\n");
	assert_true(hear(f, fd, "24 80"));
	assert_true(hear(f, fd, "a42"));
	say(fd, "exit\n");
	assert_false(hear(f, fd, NULL));
}

static void sessions_are_apart(void **state)
{
	struct fixture *f = *state;
	_cleanup_fd_ int one = dial(f), two = dial(f);
	say(one, "x=first\n");
	say(two, "x=second\n");
	say(two, "echo [$x]\n");
	assert_true(hear(f, two, "[second]"));
	say(one, "echo [$x]\n");
	assert_true(hear(f, one, "[first]"));
}

static void output_survives_a_half_close(void **state)
{
	struct fixture *f = *state;
	_cleanup_fd_ int fd = dial(f);
	say(fd, "sleep 0.2; echo late$((1 + 1))\n");
	shutdown(fd, SHUT_WR);
	assert_true(hear(f, fd, "late2"));
	assert_false(hear(f, fd, NULL));
}

/* Whoever edits lines has the terminal in raw mode, and was perhaps not there yet when the input ended. */
static void a_reader_in_raw_mode_is_told_the_end(void **state)
{
	struct fixture *f = *state;
	_cleanup_fd_ int fd = dial(f);
	say(fd, "stty raw -echo; sleep 0.7; while c=$(dd bs=1 count=1 2>/dev/null | od -An -c); do "
		"case $c in *004*) echo to''ld; exit;; esac; done\n");
	shutdown(fd, SHUT_WR);
	assert_true(hear(f, fd, "told"));
	assert_false(hear(f, fd, NULL));
}

static void a_vanished_client_takes_its_shell_along(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);
	char *text, pid_text[16];
	static char seen[4096];
	say(fd, "echo pid=$$=\n");
	size_t length = 0;
	pid_t pid = 0;
	for (uint64_t until = loop_now() + 10000; !pid && loop_now() < until; loop_run_once(f->loop, 10)) {
		ssize_t n = read(fd, seen + length, sizeof(seen) - 1 - length);
		if (n > 0)
			length += (size_t)n;
		/* The line as it was typed comes back first: "pid=$$=". */
		for (text = seen; !pid && (text = strstr(text, "pid=")); text++)
			if (sscanf(text, "pid=%15[0-9]=", pid_text) == 1)
				pid = (pid_t)atoi(pid_text);
	}
	assert_true(pid > 1);
	/* It does not read its terminal: only a hang-up can end it. */
	say(fd, "trap '' HUP; while :; do sleep 0.05; done\n");
	for (int i = 0; i < 20; i++)
		loop_run_once(f->loop, 10);
	close(fd);
	for (uint64_t until = loop_now() + 10000; kill(pid, 0) == 0 && loop_now() < until;)
		loop_run_once(f->loop, 20);
	assert_int_equal(kill(pid, 0), -1);
}

static void shutdown_ends_sessions(void **state)
{
	struct fixture *f = *state;
	_cleanup_fd_ int fd = dial(f);
	say(fd, "echo here\n");
	assert_true(hear(f, fd, "here"));
	console_free(f->console);
	f->console = NULL;
	assert_false(hear(f, fd, NULL));
}

static void no_shell_is_told(void **state)
{
	static const char *const none[] = {"/nonexistent/a", "/nonexistent/b", NULL};
	struct error e = ERROR_INIT;
	struct loop *loop = loop_new();
	assert_null(console_new(loop, 1026, none, &e));
	assert_string_equal(e.text, "no shell found to launch debug console");
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(runs_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(sessions_are_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(output_survives_a_half_close, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reader_in_raw_mode_is_told_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(a_vanished_client_takes_its_shell_along, setup, teardown),
		cmocka_unit_test_setup_teardown(shutdown_ends_sessions, setup, teardown),
		cmocka_unit_test(no_shell_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
