/* SPDX-License-Identifier: Apache-2.0 */
/* Mirrors: what is copied, what is left alone, what is removed, what is too much; and a hostile other side. */

#include "guest/test-root.h"

#include <time.h>

#include "base/fd.h"
#include "guest/mirror.h"

struct context {
	struct test_root root;
	int to;
};

static int setup(void **state)
{
	struct context *context = calloc(1, sizeof(*context));

	test_root_make(&context->root);
	test_mkdir(&context->root, "from");
	test_mkdir(&context->root, "to");
	context->to = open(test_path(&context->root, "to"), O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(context->to >= 0);
	*state = context;
	return 0;
}

static int teardown(void **state)
{
	struct context *context = *state;

	fd_close(context->to);
	test_root_remove(&context->root);
	free(context);
	return 0;
}

static int update(struct context *context, const char *source)
{
	_cleanup_fd_ int fd = open(test_path(&context->root, source), O_PATH | O_CLOEXEC);
	struct error e = ERROR_INIT;
	int r = mirror_update(fd, context->to, "m", &e);

	assert_true(fd >= 0);
	if (r < 0)
		print_message("%s\n", e.text);
	return r;
}

static struct stat look(const struct context *context, const char *name)
{
	struct stat info = {0};

	(void)lstat(test_path(&context->root, name), &info);
	return info;
}

static void expect_link(const struct context *context, const char *name, const char *target)
{
	char found[64] = "";

	assert_true(readlink(test_path(&context->root, name), found, sizeof(found) - 1) > 0);
	assert_string_equal(found, target);
}

/* A volume as Kubernetes lays it out. */
static void volume(const struct context *context, const char *version, const char *text)
{
	char name[64];

	snprintf(name, sizeof(name), "from/..%s/key", version);
	test_file(&context->root, name, text);
	snprintf(name, sizeof(name), "..%s", version);
	unlink(test_path(&context->root, "from/..data_tmp"));
	test_link(&context->root, name, "from/..data_tmp");
	assert_int_equal(rename(test_path(&context->root, "from/..data_tmp"),
				test_path(&context->root, "from/..data")),
			 0);
}

static void test_an_update_of_kubernetes(void **state)
{
	struct context *context = *state;
	int top;

	volume(context, "1", "one");
	test_link(&context->root, "..data/key", "from/key");
	assert_int_equal(chmod(test_path(&context->root, "from/..1/key"), 0440), 0);
	assert_int_equal(chmod(test_path(&context->root, "from"), 01777), 0);
	assert_int_equal(update(context, "from"), 0);
	test_expect_file(&context->root, "to/m/key", "one");
	expect_link(context, "to/m/key", "..data/key");
	expect_link(context, "to/m/..data", "..1");
	assert_int_equal(look(context, "to/m/..1/key").st_mode & 07777, 0440);
	assert_int_equal(look(context, "to/m").st_mode & 07777, 01777);

	volume(context, "2", "two");
	top = open(test_path(&context->root, "from"), O_PATH | O_CLOEXEC);
	assert_int_equal(path_remove_tree(top, "..1"), 0);
	fd_close(top);
	assert_int_equal(update(context, "from"), 0);
	test_expect_file(&context->root, "to/m/key", "two");
	expect_link(context, "to/m/..data", "..2");
	assert_int_equal(look(context, "to/m/..1").st_mode, 0);
}

static void test_only_what_changed_is_written(void **state)
{
	struct context *context = *state;
	const struct timespec past[2] = {{.tv_sec = 1000}, {.tv_sec = 1000, .tv_nsec = 7}};

	test_file(&context->root, "from/a", "aaa");
	test_file(&context->root, "from/b", "bbb");
	assert_int_equal(utimensat(AT_FDCWD, test_path(&context->root, "from/b"), past, 0), 0);
	assert_int_equal(update(context, "from"), 0);
	struct stat a = look(context, "to/m/a"), b = look(context, "to/m/b");
	assert_int_equal(b.st_mtim.tv_sec, 1000);
	assert_int_equal(b.st_mtim.tv_nsec, 7);
	/* A change of the mirror is not seen, so this one tells whether it is written again. */
	int fd = open(test_path(&context->root, "to/m/a"), O_WRONLY | O_CLOEXEC);
	const struct timespec times[2] = {a.st_atim, a.st_mtim};
	assert_int_equal(write(fd, "xxx", 3), 3);
	assert_int_equal(futimens(fd, times), 0);
	fd_close(fd);
	test_file(&context->root, "from/b", "bbbb");
	assert_int_equal(update(context, "from"), 0);
	test_expect_file(&context->root, "to/m/a", "xxx");
	test_expect_file(&context->root, "to/m/b", "bbbb");
	/* In place: who has it mounted sees it, too. */
	assert_int_equal(look(context, "to/m/b").st_ino, b.st_ino);
	assert_int_equal(unlink(test_path(&context->root, "from/a")), 0);
	assert_int_equal(update(context, "from"), 0);
	assert_int_equal(look(context, "to/m/a").st_mode, 0);
}

static void test_a_single_file(void **state)
{
	struct context *context = *state;

	test_file(&context->root, "from/f", "one");
	assert_int_equal(update(context, "from/f"), 0);
	test_expect_file(&context->root, "to/m", "one");
	ino_t inode = look(context, "to/m").st_ino;
	test_file(&context->root, "from/f", "two!");
	assert_int_equal(update(context, "from/f"), 0);
	test_expect_file(&context->root, "to/m", "two!");
	assert_int_equal(look(context, "to/m").st_ino, inode);
}

static void test_kinds_that_change(void **state)
{
	struct context *context = *state;

	test_file(&context->root, "from/a/b", "file in a directory");
	test_file(&context->root, "from/c", "file");
	test_link(&context->root, "c", "from/d");
	assert_int_equal(update(context, "from"), 0);
	assert_int_equal(unlink(test_path(&context->root, "from/a/b")), 0);
	assert_int_equal(rmdir(test_path(&context->root, "from/a")), 0);
	assert_int_equal(unlink(test_path(&context->root, "from/c")), 0);
	assert_int_equal(unlink(test_path(&context->root, "from/d")), 0);
	test_link(&context->root, "to/nowhere", "from/a");
	test_file(&context->root, "from/c/x", "below");
	test_file(&context->root, "from/d", "now a file");
	assert_int_equal(update(context, "from"), 0);
	expect_link(context, "to/m/a", "to/nowhere");
	test_expect_file(&context->root, "to/m/c/x", "below");
	assert_true(S_ISREG(look(context, "to/m/d").st_mode));
	test_expect_file(&context->root, "to/m/d", "now a file");
}

static void test_too_much(void **state)
{
	struct context *context = *state;
	char name[32];

	for (int i = 0; i < MIRROR_PATHS_MAX - 1; i++) {
		snprintf(name, sizeof(name), "from/%d", i);
		test_file(&context->root, name, "x");
	}
	assert_int_equal(update(context, "from"), 0);
	test_file(&context->root, "from/more", "x");
	assert_int_equal(update(context, "from"), 1);
	assert_int_equal(look(context, "to/m/more").st_mode, 0);
	assert_int_equal(unlink(test_path(&context->root, "from/more")), 0);
	assert_int_equal(truncate(test_path(&context->root, "from/1"), MIRROR_BYTES_MAX), 0);
	assert_int_equal(update(context, "from"), 1);
	assert_int_equal(update(context, "from/1"), 0);
	assert_int_equal(truncate(test_path(&context->root, "from/1"), MIRROR_BYTES_MAX + 1), 0);
	assert_int_equal(update(context, "from/1"), 1);
	/* Deep instead of wide. */
	test_mkdir(&context->root, "deep/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17");
	assert_int_equal(update(context, "deep"), 1);
}

/* What a container did to its copy leads nowhere. */
static void test_a_hostile_mirror(void **state)
{
	struct context *context = *state;

	test_file(&context->root, "precious/key", "precious");
	test_file(&context->root, "from/d/key", "one");
	test_file(&context->root, "from/key", "one");
	assert_int_equal(update(context, "from"), 0);
	/* The directory is now a link, and so is the file; a FIFO where one is to come, a directory for the new link. */
	assert_int_equal(unlink(test_path(&context->root, "to/m/d/key")), 0);
	assert_int_equal(rmdir(test_path(&context->root, "to/m/d")), 0);
	test_link(&context->root, test_path(&context->root, "precious"), "to/m/d");
	assert_int_equal(unlink(test_path(&context->root, "to/m/key")), 0);
	test_link(&context->root, test_path(&context->root, "precious/key"), "to/m/key");
	assert_int_equal(mkfifo(test_path(&context->root, "to/m/fifo"), 0600), 0);
	test_file(&context->root, "to/m/.kata-mirror~/x", "in the way");
	test_file(&context->root, "from/fifo", "no fifo");
	test_link(&context->root, "key", "from/link");
	assert_int_equal(update(context, "from"), 0);
	test_expect_file(&context->root, "precious/key", "precious");
	test_expect_file(&context->root, "to/m/d/key", "one");
	test_expect_file(&context->root, "to/m/fifo", "no fifo");
	expect_link(context, "to/m/link", "key");
	assert_int_equal(look(context, "to/m/.kata-mirror~").st_mode, 0);
	/* The root of the mirror, too. */
	int fd = context->to;
	assert_int_equal(path_remove_tree(fd, "m"), 0);
	assert_int_equal(symlinkat(test_path(&context->root, "precious"), fd, "m"), 0);
	assert_int_equal(update(context, "from"), 0);
	assert_true(S_ISDIR(look(context, "to/m").st_mode));
	test_expect_file(&context->root, "precious/key", "precious");
}

/* Sockets, FIFOs and devices of the host are no files to be copied, and none is waited for. */
static void test_a_hostile_source(void **state)
{
	struct context *context = *state;

	assert_int_equal(mkfifo(test_path(&context->root, "from/fifo"), 0600), 0);
	test_link(&context->root, "/etc/shadow", "from/link");
	test_file(&context->root, "from/key", "one");
	assert_int_equal(update(context, "from"), 0);
	test_expect_file(&context->root, "to/m/key", "one");
	expect_link(context, "to/m/link", "/etc/shadow");
	assert_int_equal(look(context, "to/m/fifo").st_mode, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_an_update_of_kubernetes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_what_changed_is_written, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_single_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kinds_that_change, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_much, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_hostile_mirror, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_hostile_source, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
