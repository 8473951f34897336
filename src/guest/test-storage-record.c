/* SPDX-License-Identifier: Apache-2.0 */
/* The record of what is mounted: its form, and what is taken off by it. */

#include "guest/test-root.h"

#include "base/fd.h"
#include "base/loop.h"
#include "guest/mount_table.h"
#include "guest/storage_record.h"

/* A literal with its NULs; the last one is the compiler's. */
#define RECORD(text) text, sizeof(text)

static void expect(const char *record, size_t length, const char *found)
{
	char *copy = malloc(length), all[512] = "";
	const char *path;
	unsigned below;

	memcpy(copy, record, length);
	while (storage_record_take(copy, &length, &path, &below)) {
		size_t used = strlen(all);

		snprintf(all + used, sizeof(all) - used, "[%u %s]", below, path);
	}
	assert_int_equal(length, 0);
	assert_string_equal(all, found);
	free(copy);
}

static void the_last_comes_first(void **state)
{
	expect("", 0, "");
	expect(RECORD("0 /a"), "[0 /a]");
	expect(RECORD("0 /a\0"
		      "2 /b c\0"
		      "0 /d\n"),
	       "[0 /d\n][2 /b c][0 /a]");
}

static void what_is_not_of_the_form_is_passed_over(void **state)
{
	char *longest = malloc(PATH_MAX + 16);

	expect(RECORD(""), "");
	expect(RECORD("\0\0"), "");
	expect("0 /a", 4, "");
	expect("0 /a\0001 /b", 9, "[0 /a]");
	expect(RECORD("0 a"), "");
	expect(RECORD("/a"), "");
	expect(RECORD("0"), "");
	expect(RECORD("0 "), "");
	expect(RECORD(" /a"), "");
	expect(RECORD("x /a\0"
		      "-1 /b\0"
		      "1/c\0"
		      "99999999999999 /d\0"
		      "7 /e"),
	       "[7 /e]");
	memset(longest, 'x', PATH_MAX + 16);
	memcpy(longest, "0 /", 3);
	longest[PATH_MAX + 15] = '\0';
	expect(longest, PATH_MAX + 16, "");
	free(longest);
}

static void mount_one(const struct test_root *root, const char *name)
{
	test_mkdir(root, name);
	assert_int_equal(mount("tmpfs", test_path(root, name), "tmpfs", 0, "size=64k"), 0);
}

static unsigned mounts_at(const struct test_root *root, const char *name)
{
	struct mount_look look;

	assert_int_equal(mount_table_look(test_path(root, name), &look), 0);
	return look.count;
}

static void record_line(char *record, size_t *length, const struct test_root *root, unsigned below,
			const char *name)
{
	*length += (size_t)snprintf(record + *length, 512, "%u %s/%s", below, root->path, name) + 1;
}

static void only_what_is_named_is_taken_off(void **state)
{
	struct test_root root;
	char record[4096];
	size_t length = 0;

	if (!test_own_mounts())
		skip();
	test_root_make(&root);
	mount_one(&root, "ours");
	mount_one(&root, "ours/within");
	mount_one(&root, "theirs");
	mount_one(&root, "both");
	mount_one(&root, "both");
	test_mkdir(&root, "gone");
	test_mkdir(&root, "full/file");
	record_line(record, &length, &root, 0, "ours");
	record_line(record, &length, &root, 1, "both");
	record_line(record, &length, &root, 0, "gone");
	record_line(record, &length, &root, 0, "full");
	assert_int_equal(storage_record_undo(record, length), 2);
	assert_int_equal(access(test_path(&root, "ours"), F_OK), -1);
	assert_int_equal(access(test_path(&root, "gone"), F_OK), -1);
	assert_int_equal(access(test_path(&root, "full/file"), F_OK), 0);
	assert_int_equal(mounts_at(&root, "both"), 1);
	assert_int_equal(mounts_at(&root, "theirs"), 1);
	assert_int_equal(umount2(test_path(&root, "both"), MNT_DETACH), 0);
	assert_int_equal(umount2(test_path(&root, "theirs"), MNT_DETACH), 0);
	test_root_remove(&root);
}

/* --- what storages say of themselves --------------------------------------------------------------------------- */

struct telling {
	struct loop *loop;
	char said[8][256]; /* at each change; "-" for nothing */
	unsigned count;
	int ended;
	struct storage_refs *refs;
};

static void changed(struct storages *storages, void *data)
{
	struct telling *telling = data;
	_cleanup_buf_ struct buf out = BUF_INIT;

	storages_describe(storages, &out);
	assert_false(out.failed);
	assert_true(telling->count < 8);
	snprintf(telling->said[telling->count++], 256, "%s", out.length ? (char *)buf_begin(&out) : "-");
}

static void added(int r, struct storage_refs *refs, const struct error *e, void *data)
{
	struct telling *telling = data;

	telling->ended = r < 0 ? r : 1;
	telling->refs = refs;
}

static void released(int r, const struct error *e, void *data)
{
	struct telling *telling = data;

	telling->ended = r < 0 ? r : 2;
}

static void run(struct telling *telling, int until)
{
	for (int i = 0; i < 1000 && telling->ended != until; i++)
		assert_int_equal(loop_run_once(telling->loop, 20), 0);
	assert_int_equal(telling->ended, until);
}

static void a_mount_is_told_of_before_it_is_made(void **state)
{
	struct telling telling = {.loop = loop_new()};
	struct storages *storages = NULL;
	struct test_root root;
	Grpc__Storage storage = GRPC__STORAGE__INIT, *list[] = {&storage};
	char expected[4200];

	if (!test_own_mounts()) {
		loop_free(telling.loop);
		skip();
	}
	test_root_make(&root);
	storages = storages_new(telling.loop, root.path);
	storages_on_change(storages, changed, &telling);
	storage.driver = (char *)"virtio-fs";
	storage.source = storage.fstype = (char *)"tmpfs";
	storage.mount_point = (char *)"/a//b/";
	snprintf(expected, sizeof(expected), "0 %s/a/b", root.path);
	assert_non_null(storages_add(storages, list, 1, added, &telling));
	run(&telling, 1);
	assert_int_equal(telling.count, 2);
	assert_string_equal(telling.said[0], expected);
	assert_string_equal(telling.said[1], expected);
	assert_int_equal(storages_release(storages, telling.refs, released, &telling), 0);
	run(&telling, 2);
	assert_int_equal(telling.count, 3);
	assert_string_equal(telling.said[2], "-");
	/* One that cannot be mounted is not there afterwards. */
	storage.fstype = (char *)"no-such";
	telling.count = 0;
	assert_non_null(storages_add(storages, list, 1, added, &telling));
	for (int i = 0; i < 1000 && telling.ended == 2; i++)
		assert_int_equal(loop_run_once(telling.loop, 20), 0);
	assert_true(telling.ended < 0);
	assert_string_equal(telling.said[0], expected);
	assert_string_equal(telling.said[telling.count - 1], "-");
	storages_free(storages);
	loop_free(telling.loop);
	test_root_remove(&root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_comes_first),
		cmocka_unit_test(what_is_not_of_the_form_is_passed_over),
		cmocka_unit_test(only_what_is_named_is_taken_off),
		cmocka_unit_test(a_mount_is_told_of_before_it_is_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
