/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of boot.c, as far as a machine that runs already can have them. */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/boot.h"

static void test_controllers(void **state)
{
	char text[] = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n"
		      "cpuset\t6\t1\t1\n"
		      "memory\t0\t1\t0\n"
		      "devices\t2\t40\t1\n"
		      "unheard\t3\t1\t1\n"
		      "pids 3 1 1\n"
		      "\n"
		      "freezer\tx\t1\t1\n"
		      "hugetlb\t9\t1\n"
		      "pids\t3\t1\t1";
	const char *names[8];

	assert_int_equal(3, boot_cgroup_controllers(text, names, 8));
	assert_string_equal("cpuset", names[0]);
	assert_string_equal("devices", names[1]);
	assert_string_equal("pids", names[2]);
}

static void test_more_controllers_than_room(void **state)
{
	char text[] = "cpu\t1\t1\t1\nmemory\t1\t1\t1\npids\t1\t1\t1\n";
	const char *names[2];

	assert_int_equal(2, boot_cgroup_controllers(text, names, 2));
	assert_string_equal("memory", names[1]);
}

static void expect_hostname(const char *content, const char *expected)
{
	char path[] = "/tmp/test-boot-XXXXXX", name[65];
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	ssize_t n = write(fd, content, strlen(content));
	close(fd);
	boot_hostname(path, name, sizeof(name));
	unlink(path);
	assert_int_equal(strlen(content), n);
	assert_string_equal(expected, name);
}

static void test_hostname(void **state)
{
	char name[65], longest[65];

	memset(longest, 'a', 64);
	longest[64] = '\0';
	boot_hostname("/nonexistent/hostname", name, sizeof(name));
	assert_string_equal("localhost", name);
	expect_hostname("", "localhost");
	expect_hostname(" \n\n", "localhost");
	expect_hostname("guest\n", "guest");
	expect_hostname("\n  guest second\nthird", "guest");
	expect_hostname("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
			longest);
}

/* The exit code of a child in which the descriptors of @closed (bits) are closed: 0 where all three are in use then and
 * those that were open are what they were. */
static int open_streams(unsigned closed, const char *root)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct stat before[3], after;

		if (root && (chroot(root) < 0 || chdir("/") < 0))
			_exit(77);
		for (int fd = 0; fd < 3; fd++) {
			if (closed & 1U << fd)
				close(fd);
			else if (fstat(fd, &before[fd]) < 0)
				_exit(1);
		}
		boot_standard_streams();
		for (int fd = 0; fd < 3; fd++) {
			if (fstat(fd, &after) < 0)
				_exit(2);
			if (!(closed & 1U << fd) && after.st_ino != before[fd].st_ino)
				_exit(3);
			if (closed & 1U << fd && !root && !S_ISCHR(after.st_mode))
				_exit(4);
		}
		_exit(0);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_closed_streams_are_opened(void **state)
{
	for (unsigned closed = 0; closed < 8; closed++)
		assert_int_equal(0, open_streams(closed, NULL));
}

/* Their numbers are taken all the same: the next descriptor to be opened may be the server's. */
static void test_closed_streams_without_devices(void **state)
{
	char root[] = "/tmp/test-boot-XXXXXX";

	assert_non_null(mkdtemp(root));
	int code = open_streams(7, root);
	rmdir(root);
	if (code == 77)
		skip();
	assert_int_equal(0, code);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_controllers),
		cmocka_unit_test(test_more_controllers_than_room),
		cmocka_unit_test(test_hostname),
		cmocka_unit_test(test_closed_streams_are_opened),
		cmocka_unit_test(test_closed_streams_without_devices),
	};

	return cmocka_run_group_tests_name("boot", tests, NULL, NULL);
}
