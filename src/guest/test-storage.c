/* SPDX-License-Identifier: Apache-2.0 */
/* Storages in a mount namespace of the test's own: each driver, counting, waiting, undoing. Needs root. */

#include "guest/test-root.h"

#include <sys/statvfs.h>
#include <sys/vfs.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/str.h"
#include "guest/mount_table.h"
#include "guest/storage.h"
#include "guest/storage_driver.h"

#define SANDBOX "/run/kata-containers/sandbox/"

struct context {
	struct test_root root;
	struct loop *loop;
	struct storages *storages;
};

struct outcome {
	int ended, result;
	struct storage_refs *refs;
	char text[512];
};

static int setup(void **state)
{
	struct context *context = calloc(1, sizeof(*context));

	test_root_make(&context->root);
	context->loop = loop_new();
	assert_non_null(context->loop);
	context->storages = storages_new(context->loop, context->root.path);
	assert_non_null(context->storages);
	*state = context;
	return 0;
}

static void released(int r, const struct error *e, void *data)
{
	struct outcome *outcome = data;

	outcome->ended++;
	outcome->result = r;
	snprintf(outcome->text, sizeof(outcome->text), "%.500s", r < 0 ? e->text : "");
}

static void added(int r, struct storage_refs *refs, const struct error *e, void *data)
{
	struct outcome *outcome = data;

	released(r, e, data);
	outcome->refs = refs;
}

static void run(struct context *context, const struct outcome *outcome)
{
	for (int i = 0; i < 200 && !outcome->ended; i++)
		assert_int_equal(loop_run_once(context->loop, 100), 0);
	assert_int_equal(outcome->ended, 1);
}

static int teardown(void **state)
{
	struct context *context = *state;
	struct outcome outcome = {0};

	assert_int_equal(storages_remove_all(context->storages, released, &outcome), 0);
	run(context, &outcome);
	assert_int_equal(outcome.result, 0);
	storages_free(context->storages);
	loop_free(context->loop);
	test_root_remove(&context->root);
	free(context);
	return 0;
}

/* A storage from texts; options are split at blanks. */
struct made {
	Grpc__Storage storage;
	char *options[8];
	char words[256];
};

static void make(struct made *made, const char *driver, const char *source, const char *fstype,
		 const char *point, const char *options)
{
	char *rest = made->words;

	grpc__storage__init(&made->storage);
	made->storage.driver = (char *)driver;
	made->storage.source = (char *)source;
	made->storage.fstype = (char *)fstype;
	made->storage.mount_point = (char *)point;
	made->storage.options = made->options;
	snprintf(made->words, sizeof(made->words), "%s", options);
	while (*options && (made->options[made->storage.n_options] = strsep(&rest, " ")))
		made->storage.n_options++;
}

static struct outcome add(struct context *context, struct made *made, size_t count)
{
	Grpc__Storage *list[8];
	struct outcome outcome = {0};

	for (size_t i = 0; i < count; i++)
		list[i] = &made[i].storage;
	assert_non_null(storages_add(context->storages, list, count, added, &outcome));
	assert_int_equal(outcome.ended, 0);
	run(context, &outcome);
	return outcome;
}

static struct outcome release(struct context *context, struct storage_refs *refs)
{
	struct outcome outcome = {0};

	assert_int_equal(storages_release(context->storages, refs, released, &outcome), 0);
	assert_int_equal(outcome.ended, 0);
	run(context, &outcome);
	return outcome;
}

static unsigned mounts(struct context *context, const char *path)
{
	struct mount_look look;

	assert_int_equal(mount_table_look(test_path(&context->root, path), &look), 0);
	return look.count;
}

static mode_t mode_of(struct context *context, const char *path, gid_t *group)
{
	struct stat info;

	assert_int_equal(stat(test_path(&context->root, path), &info), 0);
	if (group)
		*group = info.st_gid;
	return info.st_mode & 07777;
}

static void tmpfs_has_what_was_asked_for(void **state)
{
	struct context *context = *state;
	struct made made;
	struct outcome outcome;
	struct statfs info;

	make(&made, "ephemeral", "shm", "tmpfs", SANDBOX "shm", "noexec nosuid nodev mode=1777 size=1048576");
	outcome = add(context, &made, 1);
	assert_int_equal(outcome.result, 0);
	assert_int_equal(storage_refs_count(outcome.refs), 1);
	assert_int_equal(mounts(context, &(SANDBOX)[1]), 0);
	assert_int_equal(mounts(context, &(SANDBOX "shm")[1]), 1);
	assert_int_equal(statfs(test_path(&context->root, &(SANDBOX "shm")[1]), &info), 0);
	assert_int_equal(info.f_blocks * (uint64_t)info.f_bsize, 1048576);
	assert_int_equal(info.f_flags & (ST_NOEXEC | ST_NOSUID | ST_NODEV), ST_NOEXEC | ST_NOSUID | ST_NODEV);
	assert_int_equal(mode_of(context, &(SANDBOX "shm")[1], NULL), 01777);
	/* Its data outlives its users. */
	assert_int_equal(release(context, outcome.refs).result, 0);
	assert_int_equal(mounts(context, &(SANDBOX "shm")[1]), 1);
}

static void tmpfs_of_a_group(void **state)
{
	struct context *context = *state;
	struct made made;
	struct outcome outcome;
	struct statfs info, half;
	gid_t group;

	make(&made, "ephemeral", "tmpfs", "tmpfs", SANDBOX "ephemeral/v", "fsgid=3000");
	outcome = add(context, &made, 1);
	assert_int_equal(outcome.result, 0);
	assert_int_equal(mode_of(context, &(SANDBOX "ephemeral/v")[1], &group), 03777);
	assert_int_equal(group, 3000);
	/* Without a size it may take all of the memory, not half. */
	assert_int_equal(
		mount("x", test_path(&context->root, "tmp"), "tmpfs", 0, NULL) < 0 && errno == ENOENT, 1);
	test_mkdir(&context->root, "tmp");
	assert_int_equal(mount("x", test_path(&context->root, "tmp"), "tmpfs", 0, NULL), 0);
	assert_int_equal(statfs(test_path(&context->root, "tmp"), &half), 0);
	assert_int_equal(umount(test_path(&context->root, "tmp")), 0);
	assert_int_equal(statfs(test_path(&context->root, &(SANDBOX "ephemeral/v")[1]), &info), 0);
	assert_true(info.f_blocks > half.f_blocks);
	storage_refs_free(outcome.refs);
}

static void tmpfs_changes_its_size(void **state)
{
	struct context *context = *state;
	struct made made, update;
	Grpc__Storage *list[] = {&update.storage};
	struct outcome outcome, updated = {0};
	struct error e = ERROR_INIT;
	struct statfs info;

	make(&made, "ephemeral", "tmpfs", "tmpfs", SANDBOX "ephemeral/v", "");
	outcome = add(context, &made, 1);
	storage_refs_free(outcome.refs);
	test_file(&context->root, &(SANDBOX "ephemeral/v/file")[1], "kept");
	make(&update, "ephemeral", "tmpfs", "tmpfs", SANDBOX "ephemeral/v", "remount size=2M fsgid=7");
	assert_int_equal(storages_update_ephemeral(context->storages, list, 1, released, &updated, &e), 0);
	run(context, &updated);
	assert_string_equal(updated.text, "");
	assert_int_equal(statfs(test_path(&context->root, &(SANDBOX "ephemeral/v")[1]), &info), 0);
	assert_int_equal(info.f_blocks * (uint64_t)info.f_bsize, 2 << 20);
	test_expect_file(&context->root, &(SANDBOX "ephemeral/v/file")[1], "kept");
	assert_int_equal(mounts(context, &(SANDBOX "ephemeral/v")[1]), 1);

	updated = (struct outcome){0};
	update.storage.driver = (char *)"local";
	assert_int_equal(storages_update_ephemeral(context->storages, list, 1, released, &updated, &e), 0);
	run(context, &updated);
	assert_string_equal(updated.text,
			    "Failed to update mounts: Unsupported storage type for syncing mounts local. "
			    "Only ephemeral storage update is supported");
}

static void local_is_a_directory(void **state)
{
	struct context *context = *state;
	struct made made;
	struct outcome outcome;
	gid_t group;

	make(&made, "local", "local", "local", "/run/kata-containers/shared/x/local/v", "mode=0777 fsgid=44");
	outcome = add(context, &made, 1);
	assert_int_equal(outcome.result, 0);
	assert_int_equal(mode_of(context, "run/kata-containers/shared/x/local/v", &group), 02777);
	assert_int_equal(group, 44);
	assert_int_equal(mounts(context, "run/kata-containers/shared/x/local/v"), 0);
	test_file(&context->root, "run/kata-containers/shared/x/local/v/data", "1");
	release(context, outcome.refs);
	test_expect_file(&context->root, "run/kata-containers/shared/x/local/v/data", "1");

	make(&made, "local", "local", "local", "/run/kata-containers/w", "mode=8");
	outcome = add(context, &made, 1);
	assert_true(outcome.result < 0);
	assert_string_equal(outcome.text, "invalid mode \"8\"");
	assert_int_equal(access(test_path(&context->root, "run/kata-containers/w"), F_OK), -1);
}

static void bind_mounts_can_be_read_only(void **state)
{
	struct context *context = *state;
	char source[128], file[128];
	struct made made[2];
	struct outcome outcome;

	snprintf(source, sizeof(source), "%s/source", context->root.path);
	snprintf(file, sizeof(file), "%s/source/file", context->root.path);
	test_file(&context->root, "source/file", "hello");
	make(&made[0], "bind", source, "bind", "/run/kata-containers/b/", "rbind ro rprivate");
	make(&made[1], "bind", file, "bind", "/run/kata-containers/f", "ro");
	outcome = add(context, made, 2);
	assert_string_equal(outcome.text, "");
	test_expect_file(&context->root, "run/kata-containers/b/file", "hello");
	test_expect_file(&context->root, "run/kata-containers/f", "hello");
	assert_int_equal(
		open(test_path(&context->root, "run/kata-containers/b/new"), O_CREAT | O_WRONLY, 0600), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(open(test_path(&context->root, "run/kata-containers/f"), O_WRONLY), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(release(context, outcome.refs).result, 0);
	assert_int_equal(mounts(context, "run/kata-containers/b"), 0);
	assert_int_equal(mounts(context, "run/kata-containers/f"), 0);
	assert_int_equal(access(test_path(&context->root, "run/kata-containers/b"), F_OK), -1);
	test_expect_file(&context->root, "source/file", "hello");
}

static void users_are_counted_by_mount_point(void **state)
{
	struct context *context = *state;
	struct outcome first, second;
	char source[128];
	struct made made;

	test_mkdir(&context->root, "source");
	snprintf(source, sizeof(source), "%s/source", context->root.path);
	make(&made, "bind", source, "bind", "/run/kata-containers/b", "");
	first = add(context, &made, 1);
	made.storage.mount_point = (char *)"/run//kata-containers/./b/";
	second = add(context, &made, 1);
	assert_int_equal(second.result, 0);
	assert_int_equal(storages_count(context->storages, "/run/kata-containers/b"), 2);
	assert_int_equal(mounts(context, "run/kata-containers/b"), 1);
	release(context, first.refs);
	assert_int_equal(mounts(context, "run/kata-containers/b"), 1);
	release(context, second.refs);
	assert_int_equal(mounts(context, "run/kata-containers/b"), 0);
	assert_int_equal(storages_count(context->storages, "/run/kata-containers/b"), 0);
}

static void a_shared_one_stays(void **state)
{
	struct context *context = *state;
	struct outcome outcome;
	char source[128];
	struct made made;

	test_mkdir(&context->root, "source");
	snprintf(source, sizeof(source), "%s/source", context->root.path);
	make(&made, "bind", source, "bind", "/run/kata-containers/b", "");
	made.storage.shared = true;
	outcome = add(context, &made, 1);
	release(context, outcome.refs);
	assert_int_equal(mounts(context, "run/kata-containers/b"), 1);
	outcome = add(context, &made, 1);
	assert_int_equal(mounts(context, "run/kata-containers/b"), 1);
	release(context, outcome.refs);
}

static void the_second_user_waits_for_the_first(void **state)
{
	struct context *context = *state;
	struct outcome first = {0}, second = {0};
	struct made made;
	Grpc__Storage *list[] = {&made.storage};

	make(&made, "ephemeral", "tmpfs", "tmpfs", "/run/kata-containers/t", "");
	assert_non_null(storages_add(context->storages, list, 1, added, &first));
	assert_non_null(storages_add(context->storages, list, 1, added, &second));
	run(context, &second);
	assert_int_equal(first.ended, 1);
	assert_int_equal(mounts(context, "run/kata-containers/t"), 1);
	assert_int_equal(storages_count(context->storages, "/run/kata-containers/t"), 2);
	storage_refs_free(first.refs);
	storage_refs_free(second.refs);
}

static void a_failed_request_leaves_nothing(void **state)
{
	struct context *context = *state;
	struct outcome outcome;
	struct made made[4];
	char source[128];

	test_mkdir(&context->root, "source");
	snprintf(source, sizeof(source), "%s/source", context->root.path);
	make(&made[0], "bind", source, "bind", "/run/kata-containers/b", "");
	make(&made[1], "ephemeral", "tmpfs", "tmpfs", "/run/kata-containers/t", "");
	make(&made[2], "local", "local", "local", "/run/kata-containers/l", "");
	make(&made[3], "9p", "kataShared", "9p", "/run/kata-containers/nine", "");
	for (int i = 0; i < 2; i++) {
		outcome = add(context, made, 4);
		assert_true(outcome.result < 0);
		assert_null(outcome.refs);
		assert_string_equal(outcome.text, "Failed to find the storage handler 9p");
		assert_int_equal(mounts(context, "run/kata-containers/b"), 0);
		assert_int_equal(mounts(context, "run/kata-containers/t"), 0);
		assert_int_equal(access(test_path(&context->root, "run/kata-containers/l"), F_OK), -1);
	}
	/* What was there before stays. */
	outcome = add(context, made, 2);
	assert_int_equal(outcome.result, 0);
	assert_true(add(context, made, 4).result < 0);
	assert_int_equal(mounts(context, "run/kata-containers/b"), 1);
	assert_int_equal(mounts(context, "run/kata-containers/t"), 1);
	assert_int_equal(storages_count(context->storages, "/run/kata-containers/t"), 1);
	release(context, outcome.refs);
}

static void what_the_kernel_refuses_is_an_error(void **state)
{
	static const struct {
		const char *driver, *source, *fstype, *point, *options, *text;
	} cases[] = {
		{"virtio-fs", "kataShared", "nosuchfs", "/run/kata-containers/x", "",
		 "failed to mount kataShared to /run/kata-containers/x, with error: ENODEV: No such device"},
		{"virtio-fs", "", "virtiofs", "/run/kata-containers/x", "", "need mount source"},
		{"virtio-fs", "kataShared", "", "/run/kata-containers/x", "", "need mount FS type"},
		{"virtio-fs", "kataShared", "virtiofs", "", "", "Invalid path: \"\""},
		{"virtio-fs", "kataShared", "virtiofs", "/", "", "Invalid path: \"/\""},
		{"virtio-fs", "kataShared", "virtiofs", "/a/..", "", "Invalid path: \"/\""},
		{"virtio-fs", "kataShared", "virtiofs", "relative", "", "Invalid path: \"relative\""},
		{"bind", "/tmp", "bind", "/run/kata-containers/x", "loop", "Invalid mount option: loop"},
		{"ephemeral", "tmpfs", "tmpfs", "/run/kata-containers/x", "fsgid=-1", "invalid fsgid \"-1\""},
		{"ephemeral", "nodev", "hugetlbfs", "/run/kata-containers/x", "size=1",
		 "no pagesize/size options found"},
		{"ephemeral", "nodev", "hugetlbfs", "/run/kata-containers/x", "pagesize=0,size=1",
		 "invalid pagesize \"0\" or size \"1\""},
	};
	struct context *context = *state;

	for (size_t i = 0; i < array_length(cases); i++) {
		struct outcome outcome;
		struct made made;

		make(&made, cases[i].driver, cases[i].source, cases[i].fstype, cases[i].point,
		     cases[i].options);
		outcome = add(context, &made, 1);
		assert_true(outcome.result < 0);
		assert_string_equal(outcome.text, cases[i].text);
		assert_int_equal(access(test_path(&context->root, "run/kata-containers/x"), F_OK), -1);
	}
}

static void an_aborted_request_is_undone(void **state)
{
	struct context *context = *state;
	struct outcome outcome = {0};
	struct storage_add *request;
	struct made made;
	Grpc__Storage *list[] = {&made.storage};

	make(&made, "ephemeral", "tmpfs", "tmpfs", "/run/kata-containers/t", "");
	request = storages_add(context->storages, list, 1, added, &outcome);
	loop_run_once(context->loop, 0);
	storage_add_abort(request);
	storage_add_abort(request);
	run(context, &outcome);
	assert_int_equal(outcome.result, -ECANCELED);
	assert_int_equal(mounts(context, "run/kata-containers/t"), 0);
	/* Nothing of it is in the way of the next. */
	outcome = add(context, &made, 1);
	assert_int_equal(outcome.result, 0);
	storage_refs_free(outcome.refs);
}

static void a_link_in_our_tree_is_not_followed(void **state)
{
	struct context *context = *state;
	struct made made;
	struct outcome outcome;

	test_mkdir(&context->root, "etc");
	test_link(&context->root, "../../etc", "run/kata-containers/evil");
	make(&made, "ephemeral", "tmpfs", "tmpfs", "/run/kata-containers/evil/x", "");
	outcome = add(context, &made, 1);
	assert_true(outcome.result < 0);
	assert_int_equal(access(test_path(&context->root, "etc/x"), F_OK), -1);
	make(&made, "ephemeral", "tmpfs", "tmpfs", "/run/kata-containers/evil", "");
	assert_true(add(context, &made, 1).result < 0);
	assert_int_equal(mounts(context, "etc"), 0);
	/* Elsewhere the image's own links hold, but lead nowhere outside. */
	test_link(&context->root, "/run", "var/run");
	make(&made, "ephemeral", "tmpfs", "tmpfs", "/var/run/elsewhere", "");
	outcome = add(context, &made, 1);
	assert_int_equal(outcome.result, 0);
	assert_int_equal(mounts(context, "run/elsewhere"), 1);
	storage_refs_free(outcome.refs);
}

static void what_was_mounted_before_us_stays(void **state)
{
	struct context *context = *state;
	struct outcome outcome;
	struct made made;

	test_mkdir(&context->root, "run/kata-containers/shared/containers");
	assert_int_equal(mount("x", test_path(&context->root, "run/kata-containers/shared/containers"),
			       "tmpfs", 0, NULL),
			 0);
	make(&made, "virtio-fs", "kataShared", "virtiofs", "/run/kata-containers/shared/containers/", "");
	outcome = add(context, &made, 1);
	assert_string_equal(outcome.text, "");
	assert_int_equal(mounts(context, "run/kata-containers/shared/containers"), 1);
	release(context, outcome.refs);
	assert_int_equal(mounts(context, "run/kata-containers/shared/containers"), 1);
	assert_int_equal(umount(test_path(&context->root, "run/kata-containers/shared/containers")), 0);
}

static void a_busy_mount_goes_all_the_same(void **state)
{
	struct context *context = *state;
	struct outcome outcome;
	struct made made;
	char source[128];
	int fd;

	test_file(&context->root, "source/file", "x");
	snprintf(source, sizeof(source), "%s/source", context->root.path);
	make(&made, "bind", source, "bind", "/run/kata-containers/b", "");
	outcome = add(context, &made, 1);
	fd = open(test_path(&context->root, "run/kata-containers/b/file"), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(release(context, outcome.refs).result, 0);
	assert_int_equal(mounts(context, "run/kata-containers/b"), 0);
	close(fd);
}

static void an_unknown_reference_is_told(void **state)
{
	struct context *context = *state;
	struct outcome outcome;
	struct made made;

	make(&made, "ephemeral", "tmpfs", "tmpfs", "/run/kata-containers/t", "");
	outcome = add(context, &made, 1);
	struct outcome all = {0};
	assert_int_equal(storages_remove_all(context->storages, released, &all), 0);
	run(context, &all);
	assert_int_equal(mounts(context, "run/kata-containers/t"), 0);
	outcome = release(context, outcome.refs);
	assert_string_equal(outcome.text, "Sandbox storage with path /run/kata-containers/t not found");
	assert_int_equal(release(context, NULL).result, 0);
}

static void the_shared_tree_is_touched(void **state)
{
	struct context *context = *state;
	struct outcome outcome = {0};
	struct error e = ERROR_INIT;

	assert_int_equal(storages_touch_shared(context->storages, released, &outcome, &e), 0);
	run(context, &outcome);
	assert_int_equal(outcome.result, 0);
}

/* --- mirrors --- */

#define WATCHED "/run/kata-containers/shared/containers/watchable"

static struct outcome add_mirror(struct context *context, const char *source, const char *name)
{
	char point[128];
	struct made made;

	snprintf(point, sizeof(point), WATCHED "/%s", name);
	make(&made, "watchable-bind", test_path(&context->root, source), "bind", point, "bind");
	return add(context, &made, 1);
}

/* Runs the loop until there is, or is no longer, a file; at most ten seconds. */
static void await(struct context *context, const char *name, bool there)
{
	for (int i = 0; i < 100 && (access(test_path(&context->root, name), F_OK) == 0) != there; i++)
		assert_int_equal(loop_run_once(context->loop, 100), 0);
	assert_int_equal(access(test_path(&context->root, name), F_OK) == 0, there);
}

static void mirrors_follow_their_source(void **state)
{
	struct context *context = *state;

	test_file(&context->root, "share/vol/key", "one");
	struct outcome outcome = add_mirror(context, "share/vol", "vol");
	assert_int_equal(outcome.result, 0);
	assert_int_equal(mounts(context, &WATCHED[1]), 1);
	assert_int_equal(mounts(context, &(WATCHED "/vol")[1]), 0);
	test_expect_file(&context->root, &(WATCHED "/vol/key")[1], "one");
	test_file(&context->root, "share/vol/key", "another");
	test_file(&context->root, "share/vol/more", "two");
	await(context, &(WATCHED "/vol/more")[1], true);
	test_expect_file(&context->root, &(WATCHED "/vol/key")[1], "another");
	/* Other containers have it without being told to the agent: it lives as long as its source. */
	assert_int_equal(release(context, outcome.refs).result, 0);
	assert_int_equal(unlink(test_path(&context->root, "share/vol/more")), 0);
	await(context, &(WATCHED "/vol/more")[1], false);
	assert_int_equal(unlink(test_path(&context->root, "share/vol/key")), 0);
	assert_int_equal(rmdir(test_path(&context->root, "share/vol")), 0);
	await(context, &(WATCHED "/vol")[1], false);
	assert_int_equal(storages_count(context->storages, WATCHED "/vol"), 0);
	assert_int_equal(mounts(context, &WATCHED[1]), 1);
}

static void large_mirrors_are_bound(void **state)
{
	struct context *context = *state;
	char name[64];

	for (int i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "share/vol/%d", i);
		test_file(&context->root, name, "x");
	}
	test_file(&context->root, "share/file", "y");
	struct outcome outcome = add_mirror(context, "share/vol", "vol");
	assert_int_equal(outcome.result, 0);
	storage_refs_free(outcome.refs);
	assert_int_equal(mounts(context, &(WATCHED "/vol")[1]), 1);
	test_expect_file(&context->root, &(WATCHED "/vol/15")[1], "x");
	/* Later, and a single file. */
	outcome = add_mirror(context, "share/file", "file");
	assert_int_equal(outcome.result, 0);
	storage_refs_free(outcome.refs);
	test_expect_file(&context->root, &(WATCHED "/file")[1], "y");
	assert_int_equal(mounts(context, &(WATCHED "/file")[1]), 0);
	assert_int_equal(truncate(test_path(&context->root, "share/file"), 2 << 20), 0);
	for (int i = 0; i < 100 && mounts(context, &(WATCHED "/file")[1]) == 0; i++)
		assert_int_equal(loop_run_once(context->loop, 100), 0);
	assert_int_equal(mounts(context, &(WATCHED "/file")[1]), 1);
	/* The sandbox's end takes nothing off the share. */
	outcome = (struct outcome){0};
	assert_int_equal(storages_remove_all(context->storages, released, &outcome), 0);
	run(context, &outcome);
	assert_int_equal(outcome.result, 0);
	assert_int_equal(mounts(context, &WATCHED[1]), 0);
	test_expect_file(&context->root, "share/vol/15", "x");
}

static void mirrors_that_cannot_be(void **state)
{
	struct context *context = *state;
	struct made made;
	struct outcome outcome;

	make(&made, "watchable-bind", "/", "bind", "/run/kata-containers/shared/containers/vol", "");
	outcome = add(context, &made, 1);
	assert_true(outcome.result < 0);
	assert_non_null(strstr(outcome.text, "invalid watchable tmpfs root"));
	make(&made, "watchable-bind", "/", "bind", "/run/user/00" WATCHED "/vol", "");
	outcome = add(context, &made, 1);
	assert_true(outcome.result < 0);
	/* What fails behind it takes it along, tmpfs and all. */
	struct made two[2];
	test_file(&context->root, "share/vol/key", "one");
	make(&two[0], "watchable-bind", test_path(&context->root, "share/vol"), "bind", WATCHED "/vol", "");
	make(&two[1], "unknown", "/", "bind", "/x", "");
	outcome = add(context, two, 2);
	assert_true(outcome.result < 0);
	assert_int_equal(mounts(context, &WATCHED[1]), 0);
	/* A source that is not there yet is no error: it may come. */
	outcome = add_mirror(context, "share/later", "later");
	assert_int_equal(outcome.result, 0);
	test_file(&context->root, "share/later/key", "late");
	await(context, &(WATCHED "/later/key")[1], true);
	assert_int_equal(release(context, outcome.refs).result, 0);
}

static void huge_pages_are_counted(void **state)
{
	struct error e = ERROR_INIT;
	uint64_t size, pages;
	struct made made;

	make(&made, "ephemeral", "nodev", "hugetlbfs", "/x", "pagesize=2097152,size=524288000");
	assert_int_equal(storage_huge_pages(&made.storage, &size, &pages, &e), 0);
	assert_int_equal(size, 2097152);
	assert_int_equal(pages, 250);
	make(&made, "ephemeral", "nodev", "hugetlbfs", "/x", "pagesize=2097152 size=");
	assert_true(storage_huge_pages(&made.storage, &size, &pages, &e) < 0);
}

static void drivers_are_sorted(void **state)
{
	size_t count;
	const char *const *names = storage_handlers(&count);

	assert_true(count >= 4);
	assert_null(names[count]);
	for (size_t i = 1; i < count; i++)
		assert_true(strcmp(names[i - 1], names[i]) < 0);
	for (size_t i = 0; i < count; i++)
		assert_non_null(storage_driver_find(names[i]));
	assert_null(storage_driver_find(""));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(tmpfs_has_what_was_asked_for),
		TEST(tmpfs_of_a_group),
		TEST(tmpfs_changes_its_size),
		TEST(local_is_a_directory),
		TEST(bind_mounts_can_be_read_only),
		TEST(users_are_counted_by_mount_point),
		TEST(a_shared_one_stays),
		TEST(the_second_user_waits_for_the_first),
		TEST(a_failed_request_leaves_nothing),
		TEST(what_the_kernel_refuses_is_an_error),
		TEST(an_aborted_request_is_undone),
		TEST(a_link_in_our_tree_is_not_followed),
		TEST(what_was_mounted_before_us_stays),
		TEST(a_busy_mount_goes_all_the_same),
		TEST(an_unknown_reference_is_told),
		TEST(the_shared_tree_is_touched),
		TEST(mirrors_follow_their_source),
		TEST(large_mirrors_are_bound),
		TEST(mirrors_that_cannot_be),
	};
	const struct CMUnitTest pure[] = {
		cmocka_unit_test(huge_pages_are_counted),
		cmocka_unit_test(drivers_are_sorted),
	};
	int failed = cmocka_run_group_tests(pure, NULL, NULL);

	if (!test_own_mounts())
		return failed ? failed : 77;
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
