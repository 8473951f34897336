/* SPDX-License-Identifier: Apache-2.0 */
/* Mount options and the table of mounts. */

#include "guest/test-root.h"

#include "base/fd.h"
#include "guest/storage_options.h"
#include "guest/mount_table.h"

static int parse(struct storage_options *options, struct error *e, const char *text)
{
	_cleanup_free_ char *copy = strdup(text);
	char *words[32], *rest = copy;
	size_t count = 0;

	*options = STORAGE_OPTIONS_INIT;
	if (*text)
		while ((words[count] = strsep(&rest, " ")))
			count++;
	return storage_options_parse(words, count, options, e);
}

static void words_are_flags_and_the_rest_is_data(void **state)
{
	static const struct {
		const char *words;
		unsigned long flags, propagation;
		const char *data;
	} cases[] = {
		{"", 0, 0, ""},
		{"defaults", 0, 0, ""},
		{"rbind  ro", MS_BIND | MS_REC | MS_RDONLY, 0, ""},
		{"ro rw", 0, 0, ""},
		{"nosuid nodev noexec size=1m mode=1777", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0,
		 "size=1m,mode=1777"},
		{"nodev dev", 0, 0, ""},
		{"bind rprivate", MS_BIND, MS_PRIVATE | MS_REC, ""},
		{"shared slave", 0, MS_SLAVE, ""},
		{"remount size=64M", MS_REMOUNT, 0, "size=64M"},
		{"dax", 0, 0, "dax"},
		{"lazytime acl", 0, 0, "lazytime,acl"},
		{"io.katacontainers.fs-opt.is-layer X-kata.overlay-lower a", 0, 0, "a"},
		{"noatime strictatime relatime", MS_NOATIME | MS_STRICTATIME | MS_RELATIME, 0, ""},
	};

	for (size_t i = 0; i < array_length(cases); i++) {
		struct storage_options options;
		struct error e = ERROR_INIT;

		assert_int_equal(parse(&options, &e, cases[i].words), 0);
		assert_int_equal(options.flags, cases[i].flags);
		assert_int_equal(options.propagation, cases[i].propagation);
		assert_string_equal(buf_string(&options.data), cases[i].data);
		storage_options_deinit(&options);
	}
}

static void loop_and_too_much_are_refused(void **state)
{
	struct storage_options options;
	struct error e = ERROR_INIT;
	char *much = malloc(5000);

	assert_true(parse(&options, &e, "ro loop") < 0);
	assert_string_equal(e.text, "Invalid mount option: loop");
	storage_options_deinit(&options);
	memset(much, 'x', 4999);
	much[4999] = '\0';
	assert_true(parse(&options, &e, much) < 0);
	assert_string_equal(e.text, "Mount option exceeds 4K size");
	storage_options_deinit(&options);
	free(much);
}

static void the_last_value_counts(void **state)
{
	char a[] = "mode=0700", b[] = "modeset=1", c[] = "mode=0755", *options[] = {a, b, c};

	assert_string_equal(storage_options_value(options, 3, "mode"), "0755");
	assert_null(storage_options_value(options, 3, "fsgid"));
	assert_null(storage_options_value(options, 0, "mode"));
}

static void lines_of_the_table_are_read(void **state)
{
	char text[] = "22 1 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"
		      "bad line\n"
		      "\n"
		      "36 35 98:0 /mnt1 /a\\040b\\134c rw,noatime master:1 shared:2 - ext3 /dev/ro\\011ot "
		      "rw,errors=x\n"
		      "37 35 98:0 / /x rw - tmpfs\n"
		      "38 35 98:0 / /y rw - tmpfs none rw";
	struct mount_entry entry;
	char *rest = text;

	assert_true(mount_table_next(&rest, &entry));
	assert_string_equal(entry.mount_point, "/sys");
	assert_string_equal(entry.fstype, "sysfs");
	assert_true(mount_table_next(&rest, &entry));
	assert_string_equal(entry.mount_point, "/a b\\c");
	assert_string_equal(entry.fstype, "ext3");
	assert_string_equal(entry.source, "/dev/ro\tot");
	assert_true(mount_table_next(&rest, &entry));
	assert_string_equal(entry.mount_point, "/y");
	assert_false(mount_table_next(&rest, &entry));
}

static void stacked_mounts_are_counted(void **state)
{
	struct test_root root;
	struct mount_look look;

	if (!test_own_mounts())
		skip();
	test_root_make(&root);
	test_mkdir(&root, "a b");
	assert_int_equal(mount_table_look(test_path(&root, "a b"), &look), 0);
	assert_int_equal(look.count, 0);
	assert_string_equal(look.fstype, "");
	assert_int_equal(mount("none", test_path(&root, "a b"), "tmpfs", 0, NULL), 0);
	assert_int_equal(mount("none", test_path(&root, "a b"), "ramfs", 0, NULL), 0);
	assert_int_equal(mount_table_look(test_path(&root, "a b"), &look), 0);
	assert_int_equal(look.count, 2);
	assert_string_equal(look.fstype, "ramfs");
	assert_int_equal(umount2(test_path(&root, "a b"), 0), 0);
	assert_int_equal(umount2(test_path(&root, "a b"), 0), 0);
	test_root_remove(&root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_are_flags_and_the_rest_is_data),
		cmocka_unit_test(loop_and_too_much_are_refused),
		cmocka_unit_test(the_last_value_counts),
		cmocka_unit_test(lines_of_the_table_are_read),
		cmocka_unit_test(stacked_mounts_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
