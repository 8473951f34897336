/* SPDX-License-Identifier: Apache-2.0 */

/* Images made to lead the runtime astray: links for directories, FIFOs for files, covers for /proc. */

#include "test-root.h"

/* @name in the root becomes a link to @target for one attempt. */
static void with_link(const char *name, const char *target)
{
	char path[256], saved[256];

	in_rootfs(path, name);
	in_rootfs(saved, "saved");
	assert_int_equal(rename(path, saved), 0);
	assert_int_equal(symlink(target, path), 0);
}

static void without_link(const char *name)
{
	char path[256], saved[256];

	in_rootfs(path, name);
	in_rootfs(saved, "saved");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rename(saved, path), 0);
}

static void a_linked_dev_stays_inside(void **state)
{
	NEEDS_STAGE();
	char victim[256], path[512];

	in_stage(victim, "victim");
	assert_int_equal(mkdir(victim, 0755), 0);
	/* An absolute link to the guest's directory, and one that climbs. */
	with_link("dev", victim);
	const struct part part = {.script = "true", .mounts = MOUNT_PROC};
	struct buf out = BUF_INIT;
	run_to(&part, &out);
	buf_deinit(&out);
	without_link("dev");
	assert_int_equal(rmdir(victim), 0); /* nothing was made in it */
	/* It was made below the root instead. */
	snprintf(path, sizeof(path), "%s%s/null", stage.rootfs, victim);
	assert_int_equal(access(path, F_OK), 0);
	int root = open(stage.rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/tmp", stage.rootfs);
	int tmp = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(path_remove_tree(tmp, stage.dir + strlen("/tmp/")), 0);
	fd_close(tmp);
	fd_close(root);
}

static void linked_proc_and_sys_are_refused(void **state)
{
	NEEDS_STAGE();
	const struct part proc = {.script = "true", .mounts = MOUNT_PROC};
	const struct part sys = {.script = "true", .mounts = MOUNT_PROC "," MOUNT_SYS};

	with_link("proc", "/tmp");
	expect_failure(&proc, "Mount point /proc must be ordinary directory");
	without_link("proc");
	with_link("sys", "tmp");
	expect_failure(&sys, "Mount point /sys must be ordinary directory");
	without_link("sys");
}

static void bind_targets_stay_inside_and_whole(void **state)
{
	NEEDS_STAGE();
	char victim[256], path[256], mounts[2048];

	in_stage(victim, "victim");
	write_file(victim, "untouched\n");
	make_volume();
	/* A link to a file of the guest, one into nothing, a FIFO, and a file with content. */
	in_rootfs(path, "etc/link");
	assert_int_equal(symlink(victim, path), 0);
	in_rootfs(path, "etc/climb");
	assert_int_equal(symlink("../../../../../../etc/made", path), 0);
	in_rootfs(path, "etc/fifo");
	assert_int_equal(mkfifo(path, 0644), 0);
	in_rootfs(path, "etc/content");
	write_file(path, "image\n");
	snprintf(mounts, sizeof(mounts), MOUNT_PROC);
	static const char *const names[] = {"link", "climb", "fifo", "content"};
	for (size_t i = 0; i < array_length(names); i++) {
		size_t used = strlen(mounts);
		snprintf(
			mounts + used, sizeof(mounts) - used,
			",{\"destination\":\"/etc/%s\",\"source\":\"%s/volume/file\",\"options\":[\"bind\"]}",
			names[i], stage.dir);
	}
	const struct part part = {.script = "cat /etc/link /etc/climb /etc/fifo /etc/content",
				  .mounts = mounts};
	expect_output(&part, "volume\nvolume\nvolume\nvolume\n");
	expect_file(victim, "untouched\n");
	expect_file(path, "image\n");
	remove_volume();
	unlink(victim);
	for (size_t i = 0; i < array_length(names); i++) {
		snprintf(path, sizeof(path), "%s/etc/%s", stage.rootfs, names[i]);
		assert_int_equal(unlink(path), 0);
	}
	in_rootfs(path, "etc/made");
	unlink(path);
	in_rootfs(path, "tmp");
	int tmp = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	path_remove_tree(tmp, stage.dir + strlen("/tmp/"));
	fd_close(tmp);
}

static void proc_is_not_covered(void **state)
{
	NEEDS_STAGE();
	char mounts[1024];
	static const struct {
		const char *destination, *source;
		bool allowed;
	} cases[] = {
		{"/proc", "/tmp", false},
		{"/proc/self/attr", "/tmp", false},
		{"/proc/sys/kernel", "/tmp", false},
		{"/proc/cpuinfo", "/dev/null", true},
		{"/proc/uptime", "/dev/null", true},
		{"/etc/../proc/1", "/tmp", false},
	};

	for (size_t i = 0; i < array_length(cases); i++) {
		snprintf(mounts, sizeof(mounts),
			 MOUNT_PROC ",{\"destination\":\"%s\",\"source\":\"%s\",\"options\":[\"bind\"]}",
			 cases[i].destination, cases[i].source);
		const struct part part = {.script = "true", .mounts = mounts};
		if (cases[i].allowed)
			expect_output(&part, "");
		else
			expect_failure(&part, "cannot be mounted");
	}
	const struct part other = {.script = "true", .mounts = MOUNT("/proc", "tmpfs", "tmpfs", "")};
	expect_failure(&other, "/proc");
}

/* A link of the image into /proc must not help around the check. */
static void a_link_into_proc_is_seen_through(void **state)
{
	NEEDS_STAGE();
	char path[256];

	in_rootfs(path, "way");
	assert_int_equal(symlink("/proc/sys", path), 0);
	const struct part part = {.script = "true", .mounts = MOUNT_PROC "," BIND("/way/kernel", "/tmp", "")};
	expect_failure(&part, "inside /proc");
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		stage_test(a_linked_dev_stays_inside),		stage_test(linked_proc_and_sys_are_refused),
		stage_test(bind_targets_stay_inside_and_whole), stage_test(proc_is_not_covered),
		stage_test(a_link_into_proc_is_seen_through),
	};
	return cmocka_run_group_tests(tests, stage_set_up, stage_tear_down);
}
