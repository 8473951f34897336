/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_TEST_ROOT_H
#define GUEST_TEST_ROOT_H

/* For unit tests: a temporary directory that stands for "/", and a mount namespace of the test's own. */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/path.h"

struct test_root {
	char path[64];
};

static inline void test_root_make(struct test_root *root)
{
	strcpy(root->path, "/tmp/kata-guest-test.XXXXXX");
	assert_non_null(mkdtemp(root->path));
}

static inline void test_root_remove(struct test_root *root)
{
	int tmp = open("/tmp", O_PATH | O_CLOEXEC);

	assert_int_equal(path_remove_tree(tmp, strrchr(root->path, '/') + 1), 0);
	close(tmp);
}

/* The absolute path of @name in the root; good until the fourth call after this. */
static inline const char *test_path(const struct test_root *root, const char *name)
{
	static char paths[4][4096];
	static unsigned next;
	char *path = paths[next++ % 4];

	assert_true(snprintf(path, sizeof(paths[0]), "%s/%s", root->path, name) < (int)sizeof(paths[0]));
	return path;
}

static inline void test_mkdir(const struct test_root *root, const char *name)
{
	int top = open(root->path, O_PATH | O_CLOEXEC), fd = path_mkdirs(top, name, 0755, PATH_BENEATH);

	assert_true(fd >= 0);
	close(fd);
	close(top);
}

static inline void test_file(const struct test_root *root, const char *name, const char *text)
{
	char directory[4096];
	FILE *file;

	snprintf(directory, sizeof(directory), "%s", name);
	if (strrchr(directory, '/')) {
		*strrchr(directory, '/') = '\0';
		test_mkdir(root, directory);
	}
	file = fopen(test_path(root, name), "we");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
	assert_int_equal(fclose(file), 0);
}

static inline void test_link(const struct test_root *root, const char *target, const char *name)
{
	char directory[4096];

	snprintf(directory, sizeof(directory), "%s", name);
	*strrchr(directory, '/') = '\0';
	test_mkdir(root, directory);
	assert_int_equal(symlink(target, test_path(root, name)), 0);
}

static inline void test_expect_file(const struct test_root *root, const char *name, const char *text)
{
	char found[256] = "";
	FILE *file = fopen(test_path(root, name), "re");

	assert_non_null(file);
	found[fread(found, 1, sizeof(found) - 1, file)] = '\0';
	fclose(file);
	assert_string_equal(found, text);
}

/* False where mounts cannot be made. What is mounted goes with the process. */
static inline bool test_own_mounts(void)
{
	return geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

#endif
