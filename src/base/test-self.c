/* SPDX-License-Identifier: Apache-2.0 */

/* The test executes itself: with an argument it is the one that is to run protected. */

#include "base/self.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"

extern char **environ;

enum { UNPROTECTED = 51, WRONG_ARGUMENTS = 52, FINE = 53 };

/* Says when it runs from where it is to stay, and waits to be let go. */
static int child_main(int argc, char **argv)
{
	struct error e = ERROR_INIT;
	char byte = 0;
	if (self_protect(argv, environ, &e) < 0)
		return UNPROTECTED;
	if (argc != 3 || strcmp(argv[2], "two words") != 0)
		return WRONG_ARGUMENTS;
	return write(1, &byte, 1) == 1 && read(0, &byte, 1) == 0 ? FINE : 1;
}

/* A copy, because this program keeps its own file busy. */
static char program[64];

static int copy_program(void **state)
{
	_cleanup_free_ char *bytes = NULL;
	ssize_t length = file_read(AT_FDCWD, "/proc/self/exe", 64 << 20, &bytes);
	(void)snprintf(program, sizeof(program), "/tmp/test-self.XXXXXX");
	_cleanup_fd_ int fd = mkostemp(program, O_CLOEXEC);
	if (length < 0 || fd < 0 || fd_write_all(fd, bytes, (size_t)length) < 0)
		return -1;
	return fchmod(fd, 0755);
}

static int remove_program(void **state)
{
	return unlink(program);
}

static pid_t start_child(bool as_ordinary_user, int *in, int *out)
{
	int to[2], from[2];
	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		if (as_ordinary_user && (setgid(65534) < 0 || setuid(65534) < 0))
			_exit(1);
		execl(program, "test-self", "child", "two words", (char *)NULL);
		_exit(1);
	}
	close(to[0]);
	close(from[1]);
	*in = to[1];
	*out = from[0];
	return pid;
}

/* What a container does: holds the door open until nobody runs the file, and then tries to write. */
static void assert_kept(bool as_ordinary_user)
{
	char path[64], byte;
	int in, out, status;
	pid_t pid = start_child(as_ordinary_user, &in, &out);
	assert_int_equal(read(out, &byte, 1), 1);
	(void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	_cleanup_fd_ int door = open(path, O_PATH | O_CLOEXEC);
	assert_true(door >= 0);
	close(in);
	close(out);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), FINE);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", door);
	_cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		assert_int_equal(errno, EROFS);
	else
		assert_true(fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE);
}

static void root_runs_from_a_readonly_mount(void **state)
{
	if (geteuid() != 0)
		skip();
	assert_kept(false);
}

static void others_run_from_a_sealed_copy(void **state)
{
	if (geteuid() != 0)
		skip();
	assert_kept(true);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return child_main(argc, argv);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(root_runs_from_a_readonly_mount),
		cmocka_unit_test(others_run_from_a_sealed_copy),
	};
	return cmocka_run_group_tests(tests, copy_program, remove_program);
}
