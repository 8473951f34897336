/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of fd.c. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void test_close_keeps_errno(void **state)
{
	errno = ENOTTY;
	assert_int_equal(fd_close(-1), -1);
	assert_int_equal(fd_close(99999), -1);
	assert_int_equal(errno, ENOTTY);
}

static void test_flags(void **state)
{
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(fd_nonblock(p[0], true), 0);
	assert_true(fcntl(p[0], F_GETFL) & O_NONBLOCK);
	assert_int_equal(fd_nonblock(p[0], false), 0);
	assert_false(fcntl(p[0], F_GETFL) & O_NONBLOCK);
	assert_int_equal(fd_cloexec(p[0], false), 0);
	assert_false(fcntl(p[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(fd_nonblock(99999, true), -EBADF);
	int copy = p[0];
	assert_int_equal(fd_steal(&copy), p[0]);
	assert_int_equal(copy, -1);
	fd_close(p[0]);
	fd_close(p[1]);
}

/* A full, non-blocking pipe that a child drains slowly: all arrives, and end of file ends the reading. */
static void test_write_and_read_all(void **state)
{
	enum { SIZE = 300000 };
	static uint8_t sent[SIZE], got[SIZE + 10];
	int p[2];

	for (size_t i = 0; i < SIZE; i++)
		sent[i] = (uint8_t)(i * 7 + i / 251);
	assert_int_equal(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	pid_t pid = fork();
	if (pid == 0) {
		close(p[0]);
		_exit(fd_write_all(p[1], sent, SIZE) == 0 ? 0 : 1);
	}
	fd_close(p[1]);
	assert_int_equal(fd_read_all(p[0], got, sizeof(got)), SIZE);
	assert_memory_equal(sent, got, SIZE);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	fd_close(p[0]);
}

static void test_file_read(void **state)
{
	char *text = NULL, path[] = "/tmp/test-fd-XXXXXX";
	_cleanup_fd_ int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(file_read(AT_FDCWD, path, 10, &text), 0);
	assert_string_equal(text, "");
	free(text);
	assert_int_equal(fd_write_all(fd, "0123456789", 10), 0);
	assert_int_equal(file_read(AT_FDCWD, path, 10, &text), 10);
	assert_string_equal(text, "0123456789");
	free(text);
	text = NULL;
	assert_int_equal(file_read(AT_FDCWD, path, 9, &text), -EFBIG);
	assert_int_equal(file_read(AT_FDCWD, path, 0, &text), -EFBIG);
	assert_null(text);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(file_read(AT_FDCWD, path, 9, &text), -ENOENT);

	assert_true(file_read(AT_FDCWD, "/proc/self/status", 1 << 20, &text) > 100);
	assert_non_null(strstr(text, "Name:"));
	free(text);
	text = NULL;
	assert_int_equal(file_read(AT_FDCWD, "/", 10, &text), -EISDIR);

	/* A FIFO without a writer must not stop us. */
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(file_read(AT_FDCWD, path, 10, &text), 0);
	free(text);
	unlink(path);
}

static void test_file_read_large(void **state)
{
	char *text = NULL, path[] = "/tmp/test-fd-XXXXXX";
	_cleanup_fd_ int fd = mkstemp(path);
	static char bytes[100001];

	memset(bytes, 'y', sizeof(bytes));
	assert_int_equal(fd_write_all(fd, bytes, sizeof(bytes)), 0);
	ssize_t n = file_read(AT_FDCWD, path, SIZE_MAX, &text);
	unlink(path);
	assert_int_equal(n, sizeof(bytes));
	assert_memory_equal(text, bytes, sizeof(bytes));
	free(text);
}

static void test_file_write(void **state)
{
	char *text = NULL, directory[] = "/tmp/test-fd-XXXXXX";

	assert_non_null(mkdtemp(directory));
	_cleanup_fd_ int at = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int missing = file_write(at, "file", "x");
	fd_close(openat(at, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	int written = file_write(at, "file", "hello");
	ssize_t length = file_read(at, "file", 10, &text);
	int made = symlinkat("file", at, "link");
	int followed = file_write(at, "link", "x");

	(void)unlinkat(at, "link", 0);
	(void)unlinkat(at, "file", 0);
	assert_int_equal(rmdir(directory), 0);
	assert_int_equal(missing, -ENOENT);
	assert_int_equal(written, 0);
	assert_int_equal(length, 5);
	assert_string_equal(text, "hello");
	free(text);
	assert_int_equal(made, 0);
	assert_int_equal(followed, -ELOOP);
	assert_int_equal(file_write(AT_FDCWD, "/dev/full", "x"), -ENOSPC);
}

static void test_descriptors_travel(void **state)
{
	int s[2], p[2], got[4] = {-1, -1, -1, -1};
	size_t count = 4;
	char bytes[8] = {0};

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(fd_send(s[0], "hey", 3, p, 2), 3);
	assert_int_equal(fd_receive(s[1], bytes, sizeof(bytes), got, &count), 3);
	assert_string_equal(bytes, "hey");
	assert_int_equal(count, 2);
	assert_true(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(fd_write_all(got[1], "!", 1), 0);
	assert_int_equal(fd_read_all(p[0], bytes, 1), 1);
	fd_close(got[0]);
	fd_close(got[1]);

	assert_int_equal(fd_send(s[0], "x", 1, NULL, 0), 1);
	count = 0;
	assert_int_equal(fd_receive(s[1], bytes, sizeof(bytes), NULL, &count), 1);
	fd_close(s[0]);
	count = 4;
	assert_int_equal(fd_receive(s[1], bytes, sizeof(bytes), got, &count), 0);
	assert_int_equal(count, 0);
	fd_close(s[1]);
	fd_close(p[0]);
	fd_close(p[1]);
}

static int count_open(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += is_open(fd);
	return n;
}

static void test_too_many_descriptors_leak_none(void **state)
{
	int s[2], many[16], got[3];
	char byte;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	for (size_t i = 0; i < 16; i++)
		many[i] = s[0];
	int before = count_open();
	for (size_t room = 0; room <= 3; room++) {
		size_t count = room;

		assert_int_equal(fd_send(s[0], "x", 1, many, 16), 1);
		ssize_t n = fd_receive(s[1], &byte, 1, got, &count);
		assert_int_equal(n, room ? -EMSGSIZE : 1);
		assert_int_equal(count, 0);
		assert_int_equal(count_open(), before);
	}
	int *lots = calloc(300, sizeof(int));
	assert_int_equal(fd_send(s[0], "x", 1, lots, 300), -EINVAL);
	free(lots);
	fd_close(s[0]);
	fd_close(s[1]);
}

static int close_all_in_child(void)
{
	int fds[20];

	for (size_t i = 0; i < 20; i++)
		fds[i] = dup(0);
	int high = fcntl(0, F_DUPFD, 500);
	int keep[] = {fds[7], -1, fds[3], 1, fds[7], high, fds[19]};
	fd_close_all_but(keep, array_length(keep));
	for (int fd = 3; fd < 1024; fd++) {
		bool kept = fd == fds[7] || fd == fds[3] || fd == high || fd == fds[19];

		if (is_open(fd) != kept)
			return 1;
	}
	fd_close_all_but(NULL, 0);
	for (int fd = 3; fd < 1024; fd++)
		if (is_open(fd))
			return 2;
	return is_open(0) && is_open(1) && is_open(2) ? 0 : 3;
}

static void test_close_all_but(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(close_all_in_child());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_close_keeps_errno),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_write_and_read_all),
		cmocka_unit_test(test_file_read),
		cmocka_unit_test(test_file_read_large),
		cmocka_unit_test(test_file_write),
		cmocka_unit_test(test_descriptors_travel),
		cmocka_unit_test(test_too_many_descriptors_leak_none),
		cmocka_unit_test(test_close_all_but),
	};

	return cmocka_run_group_tests_name("fd", tests, NULL, NULL);
}
