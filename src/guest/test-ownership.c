/* SPDX-License-Identifier: Apache-2.0 */
/* The group of a volume, and what a hostile volume cannot do with it. Needs root. */

#include "guest/test-root.h"

#include "base/fd.h"
#include "guest/ownership.h"

static struct test_root root;

static int setup(void **state)
{
	test_root_make(&root);
	return 0;
}

static int teardown(void **state)
{
	test_root_remove(&root);
	return 0;
}

static void expect(const char *name, gid_t group, mode_t mode)
{
	struct stat info;

	assert_int_equal(lstat(test_path(&root, name), &info), 0);
	assert_int_equal(info.st_gid, group);
	assert_int_equal(info.st_mode & 07777, mode);
}

static int apply(const char *name, bool read_only, bool on_mismatch)
{
	const struct ownership ownership = {
		.group = 3000, .read_only = read_only, .on_root_mismatch = on_mismatch};
	struct error e = ERROR_INIT;

	return ownership_apply(test_path(&root, name), &ownership, &e);
}

static void files_and_directories_get_the_group(void **state)
{
	test_file(&root, "v/sub/file", "x");
	assert_int_equal(chmod(test_path(&root, "v/sub/file"), 0600), 0);
	assert_int_equal(chmod(test_path(&root, "v/sub"), 0700), 0);
	assert_int_equal(apply("v", false, false), 0);
	expect("v", 3000, 02775);
	expect("v/sub", 3000, 02770);
	expect("v/sub/file", 3000, 0660);
}

static void read_only_volumes_are_made_readable(void **state)
{
	test_file(&root, "v/file", "x");
	assert_int_equal(chmod(test_path(&root, "v/file"), 0400), 0);
	assert_int_equal(chmod(test_path(&root, "v"), 0500), 0);
	assert_int_equal(apply("v", true, false), 0);
	expect("v", 3000, 02550);
	expect("v/file", 3000, 0440);
}

static void a_right_top_is_enough_on_mismatch(void **state)
{
	test_file(&root, "v/file", "x");
	assert_int_equal(chown(test_path(&root, "v"), 0, 3000), 0);
	assert_int_equal(chmod(test_path(&root, "v"), 02775), 0);
	assert_int_equal(apply("v", false, true), 0);
	expect("v/file", 0, 0644);
	assert_int_equal(chmod(test_path(&root, "v"), 0755), 0);
	assert_int_equal(apply("v", false, true), 0);
	expect("v/file", 3000, 0664);
}

static void links_lead_nowhere(void **state)
{
	test_file(&root, "outside/file", "x");
	test_mkdir(&root, "v");
	test_link(&root, "../outside", "v/directory");
	test_link(&root, "../outside/file", "v/file");
	test_link(&root, ".", "v/self");
	test_link(&root, "nothing", "v/dangling");
	assert_int_equal(apply("v", false, false), 0);
	expect("outside", 0, 0755);
	expect("outside/file", 0, 0644);
}

static void another_mount_is_left_alone(void **state)
{
	test_mkdir(&root, "v/mount");
	assert_int_equal(mount("x", test_path(&root, "v/mount"), "tmpfs", 0, "mode=0700"), 0);
	test_file(&root, "v/mount/file", "x");
	assert_int_equal(apply("v", false, false), 0);
	expect("v/mount", 0, 0700);
	expect("v/mount/file", 0, 0644);
	assert_int_equal(umount(test_path(&root, "v/mount")), 0);
}

static void what_cannot_be_changed_stays(void **state)
{
	test_file(&root, "v/file", "x");
	assert_int_equal(mount(test_path(&root, "v"), test_path(&root, "v"), NULL, MS_BIND, NULL), 0);
	assert_int_equal(mount(NULL, test_path(&root, "v"), NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
	assert_int_equal(apply("v", true, false), 0);
	expect("v/file", 0, 0644);
	assert_int_equal(umount(test_path(&root, "v")), 0);
}

static void too_deep_a_tree_is_refused_in_time(void **state)
{
	int at, next;

	test_mkdir(&root, "v");
	at = open(test_path(&root, "v"), O_PATH | O_CLOEXEC);
	for (int i = 0; i < 600; i++) {
		assert_int_equal(mkdirat(at, "d", 0755), 0);
		next = openat(at, "d", O_PATH | O_CLOEXEC);
		close(at);
		at = next;
	}
	close(at);
	assert_int_equal(apply("v", false, false), -ELOOP);
}

static void a_missing_volume_is_an_error(void **state)
{
	assert_int_equal(apply("nothing", false, false), -ENOENT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(files_and_directories_get_the_group), TEST(read_only_volumes_are_made_readable),
		TEST(a_right_top_is_enough_on_mismatch),   TEST(links_lead_nowhere),
		TEST(another_mount_is_left_alone),	   TEST(what_cannot_be_changed_stays),
		TEST(too_deep_a_tree_is_refused_in_time),  TEST(a_missing_volume_is_an_error),
	};

	umask(022);
	if (!test_own_mounts())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
