/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of path.c and path-remove.c. The program enters a mount namespace of its own (root) and works below a fresh
 * tmpfs there, so that nothing is left behind however it ends.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"

/* Below it: "root", which paths are resolved in, and "outside" with "secret", which they must not reach. */
static char base[] = "/tmp/test-path-XXXXXX";

static int group_setup(void **state)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	if (!mkdtemp(base))
		return -1;
	return mount("test-path", base, "tmpfs", 0, "mode=755");
}

static int group_teardown(void **state)
{
	if (chdir("/") < 0 || umount2(base, MNT_DETACH) < 0)
		return -1;
	return rmdir(base);
}

struct stage {
	int base;
	int root;
	int outside;
};

static void make_file(int dirfd, const char *name, const char *text)
{
	_cleanup_fd_ int fd = openat(dirfd, name, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static int setup(void **state)
{
	struct stage *stage = calloc(1, sizeof(*stage));

	if (!stage)
		return -1;
	stage->base = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mkdirat(stage->base, "root", 0755) < 0 || mkdirat(stage->base, "outside", 0755) < 0)
		return -1;
	stage->root = openat(stage->base, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	stage->outside = openat(stage->base, "outside", O_PATH | O_DIRECTORY | O_CLOEXEC);
	make_file(stage->outside, "secret", "secret");
	umask(022);
	*state = stage;
	return stage->root >= 0 && stage->outside >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
	struct stage *stage = *state;
	int r = path_remove_tree(stage->base, "root");

	if (r == 0)
		r = path_remove_tree(stage->base, "outside");
	fd_close(stage->root);
	fd_close(stage->outside);
	fd_close(stage->base);
	free(stage);
	return r;
}

static bool exists(int dirfd, const char *path)
{
	struct stat st;

	return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool same_file(int fd, int dirfd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && fstatat(dirfd, path, &b, 0) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static int count_entries(int dirfd_, const char *path)
{
	int fd = openat(dirfd_, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;
	_cleanup_dir_ DIR *dir = fdopendir(fd);

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	return n - 2;
}

static void assert_outside_is_untouched(const struct stage *stage)
{
	_cleanup_free_ char *text = NULL;

	assert_int_equal(count_entries(stage->outside, "."), 1);
	assert_int_equal(file_read(stage->outside, "secret", 100, &text), 6);
	assert_string_equal(text, "secret");
}

/* Every way that a link or a path may try to leave. */
static void make_escapes(const struct stage *stage)
{
	char absolute[PATH_MAX];

	snprintf(absolute, sizeof(absolute), "%s/outside", base);
	assert_int_equal(symlinkat("../outside", stage->root, "up"), 0);
	assert_int_equal(symlinkat(absolute, stage->root, "abs"), 0);
	assert_int_equal(symlinkat("../../../../../../../../..", stage->root, "top"), 0);
	assert_int_equal(symlinkat("/proc/self/root", stage->root, "magic"), 0);
	assert_int_equal(symlinkat("loop", stage->root, "loop"), 0);
}

static const char *const escapes[] = {
	"up", "abs", "top/outside", "../outside", "./../outside", "x/../../outside", "up/.", "magic"};

/* --- opening --- */

static void test_open(void **state)
{
	struct stage *stage = *state;

	assert_int_equal(mkdirat(stage->root, "d", 0755), 0);
	make_file(stage->root, "d/f", "x");
	assert_int_equal(symlinkat("/d", stage->root, "l"), 0);
	static const char *const inside[] = {"d/f", "/d/f", "l/f", "d/../d/./f", "../../d/f", "//d//f"};
	for (size_t i = 0; i < array_length(inside); i++) {
		_cleanup_fd_ int fd = path_open(stage->root, inside[i], O_RDONLY, 0, PATH_IN_ROOT);

		assert_true(fd >= 0);
		assert_true(same_file(fd, stage->root, "d/f"));
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	}
	_cleanup_fd_ int fd = path_open(stage->root, "d/f", O_RDONLY, 0, PATH_BENEATH);
	assert_true(fd >= 0);
	assert_int_equal(path_open(stage->root, "l/f", O_RDONLY, 0, PATH_BENEATH), -ELOOP);
	assert_int_equal(path_open(stage->root, "/d/f", O_RDONLY, 0, PATH_BENEATH), -EXDEV);
	assert_int_equal(path_open(stage->root, "d/../d/f", O_RDONLY, 0, PATH_BENEATH), -EXDEV);
	assert_int_equal(path_open(stage->root, "d/..", O_PATH, 0, PATH_BENEATH), -EXDEV);
	make_file(stage->root, "..d", "x");
	_cleanup_fd_ int dots = path_open(stage->root, "..d", O_RDONLY, 0, PATH_BENEATH);
	assert_true(dots >= 0);
	_cleanup_fd_ int made = path_open(stage->root, "new", O_CREAT | O_WRONLY, 0640, PATH_IN_ROOT);
	struct stat st;
	assert_int_equal(fstat(made, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void test_open_does_not_escape(void **state)
{
	struct stage *stage = *state;

	make_escapes(stage);
	for (size_t i = 0; i < array_length(escapes); i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/secret", escapes[i]);
		assert_true(path_open(stage->root, path, O_RDONLY, 0, PATH_IN_ROOT) < 0);
		assert_true(path_open(stage->root, path, O_RDONLY, 0, PATH_BENEATH) < 0);
		assert_true(path_open(stage->root, path, O_RDWR | O_CREAT, 0600, PATH_BENEATH) < 0);
		(void)fd_close(
			path_open(stage->root, path, O_WRONLY | O_CREAT | O_TRUNC, 0600, PATH_IN_ROOT));
	}
	assert_int_equal(path_open(stage->root, "loop", O_RDONLY, 0, PATH_IN_ROOT), -ELOOP);
	assert_outside_is_untouched(stage);
}

/* --- making --- */

static void test_mkdirs(void **state)
{
	struct stage *stage = *state;
	struct stat st;

	_cleanup_fd_ int a = path_mkdirs(stage->root, "/a/b//c/", 0700, PATH_IN_ROOT);
	assert_true(a >= 0);
	assert_true(same_file(a, stage->root, "a/b/c"));
	assert_int_equal(fstat(a, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	_cleanup_fd_ int again = path_mkdirs(stage->root, "a/b/c", 0755, PATH_BENEATH);
	assert_true(same_file(again, stage->root, "a/b/c"));
	_cleanup_fd_ int d = path_mkdirs(stage->root, "a/./d", 0755, PATH_BENEATH);
	assert_true(same_file(d, stage->root, "a/d"));
	_cleanup_fd_ int up = path_mkdirs(stage->root, "a/../e/../f", 0755, PATH_IN_ROOT);
	assert_true(same_file(up, stage->root, "f"));
	_cleanup_fd_ int whole = path_mkdirs(stage->root, "/", 0755, PATH_IN_ROOT);
	assert_true(same_file(whole, stage->base, "root"));
	make_file(stage->root, "file", "x");
	assert_int_equal(path_mkdirs(stage->root, "file/x", 0755, PATH_IN_ROOT), -ENOTDIR);
	assert_int_equal(path_mkdirs(stage->root, "file", 0755, PATH_IN_ROOT), -ENOTDIR);

	char name[400];
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(path_mkdirs(stage->root, name, 0755, PATH_IN_ROOT), -ENAMETOOLONG);
	char path[2 * PATH_MAX];
	for (size_t i = 0; i < sizeof(path); i++)
		path[i] = i % 2 ? '/' : 'p';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(path_mkdirs(stage->root, path, 0755, PATH_IN_ROOT), -ENAMETOOLONG);
}

static void test_mkdirs_follows_links_in_the_root(void **state)
{
	struct stage *stage = *state;

	/* The usual picture: /var/run -> /run, and no /run in the image. */
	assert_int_equal(mkdirat(stage->root, "var", 0755), 0);
	assert_int_equal(symlinkat("/run", stage->root, "var/run"), 0);
	_cleanup_fd_ int a = path_mkdirs(stage->root, "/var/run/secrets", 0755, PATH_IN_ROOT);
	assert_true(a >= 0);
	assert_true(same_file(a, stage->root, "run/secrets"));
	assert_int_equal(symlinkat("../lib/x", stage->root, "var/rel"), 0);
	_cleanup_fd_ int b = path_mkdirs(stage->root, "var/rel/y", 0755, PATH_IN_ROOT);
	assert_true(b >= 0);
	assert_true(same_file(b, stage->root, "lib/x/y"));
	assert_int_equal(path_mkdirs(stage->root, "var/run/z", 0755, PATH_BENEATH), -ELOOP);
	assert_int_equal(symlinkat("two", stage->root, "one"), 0);
	assert_int_equal(symlinkat("one", stage->root, "two"), 0);
	assert_int_equal(path_mkdirs(stage->root, "one/x", 0755, PATH_IN_ROOT), -ELOOP);
	/* A link that grows by itself: each step is another link to follow. */
	assert_int_equal(symlinkat("grow/x", stage->root, "grow"), 0);
	assert_int_equal(path_mkdirs(stage->root, "grow/x", 0755, PATH_IN_ROOT), -ELOOP);
}

static void test_making_does_not_escape(void **state)
{
	struct stage *stage = *state;
	char name[NAME_MAX + 1];

	make_escapes(stage);
	for (size_t i = 0; i < array_length(escapes); i++) {
		for (int how = PATH_IN_ROOT; how <= PATH_BENEATH; how++) {
			char path[PATH_MAX];

			snprintf(path, sizeof(path), "%s/new/deep", escapes[i]);
			(void)fd_close(path_mkdirs(stage->root, path, 0755, (enum path_mode)how));
			(void)fd_close(path_touch(stage->root, path, 0755, 0644, (enum path_mode)how));
			int fd = path_open_parent(stage->root, path, 0755, (enum path_mode)how, name,
						  sizeof(name));
			if (fd >= 0)
				(void)mkdirat(fd, name, 0755);
			(void)fd_close(fd);
			snprintf(path, sizeof(path), "%s/secret", escapes[i]);
			(void)fd_close(path_mkdirs(stage->root, path, 0755, (enum path_mode)how));
			(void)fd_close(path_touch(stage->root, path, 0755, 0644, (enum path_mode)how));
		}
	}
	assert_outside_is_untouched(stage);
	assert_int_equal(count_entries(stage->base, "."), 2);
}

static void test_open_parent(void **state)
{
	struct stage *stage = *state;
	char name[NAME_MAX + 1];

	assert_int_equal(path_open_parent(stage->root, "a/b", 0, PATH_IN_ROOT, name, sizeof(name)), -ENOENT);
	_cleanup_fd_ int a = path_open_parent(stage->root, "/a/b/", 0755, PATH_IN_ROOT, name, sizeof(name));
	assert_true(same_file(a, stage->root, "a"));
	assert_string_equal(name, "b");
	_cleanup_fd_ int r = path_open_parent(stage->root, "c", 0755, PATH_BENEATH, name, sizeof(name));
	assert_true(same_file(r, stage->base, "root"));
	assert_string_equal(name, "c");
	_cleanup_fd_ int s = path_open_parent(stage->root, "//c", 0, PATH_IN_ROOT, name, sizeof(name));
	assert_true(same_file(s, stage->base, "root"));
	static const char *const bad[] = {"", "/", "..", "a/..", "a/.", ".", "a/../", "//"};
	for (size_t i = 0; i < array_length(bad); i++)
		assert_int_equal(
			path_open_parent(stage->root, bad[i], 0755, PATH_IN_ROOT, name, sizeof(name)),
			-EINVAL);
	assert_int_equal(path_open_parent(stage->root, "a/long", 0755, PATH_IN_ROOT, name, 4), -ENAMETOOLONG);
}

static void test_touch(void **state)
{
	struct stage *stage = *state;
	_cleanup_free_ char *text = NULL;
	struct stat st;

	_cleanup_fd_ int a = path_touch(stage->root, "/x/y/file", 0711, 0600, PATH_IN_ROOT);
	assert_true(same_file(a, stage->root, "x/y/file"));
	assert_int_equal(fstat(a, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(fstatat(stage->root, "x", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0711);

	make_file(stage->root, "full", "content");
	_cleanup_fd_ int b = path_touch(stage->root, "full", 0755, 0644, PATH_BENEATH);
	assert_true(same_file(b, stage->root, "full"));
	assert_int_equal(file_read(stage->root, "full", 100, &text), 7);
	/* What is there stays, whatever it is. */
	_cleanup_fd_ int c = path_touch(stage->root, "x", 0755, 0644, PATH_IN_ROOT);
	assert_true(same_file(c, stage->root, "x"));
	/* A link that dangles inside the root: its target is made. */
	assert_int_equal(symlinkat("/etc/made", stage->root, "link"), 0);
	_cleanup_fd_ int d = path_touch(stage->root, "link", 0755, 0644, PATH_IN_ROOT);
	assert_true(same_file(d, stage->root, "etc/made"));
	assert_int_equal(path_touch(stage->root, "link", 0755, 0644, PATH_BENEATH), -ELOOP);
}

/* --- removing --- */

static void make_tree(int dirfd, const char *name, int depth)
{
	assert_int_equal(mkdirat(dirfd, name, 0755), 0);
	_cleanup_fd_ int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 3; i++) {
		char file[16];

		snprintf(file, sizeof(file), "file%d", i);
		make_file(fd, file, "x");
	}
	assert_int_equal(symlinkat("/nowhere", fd, "dangling"), 0);
	assert_int_equal(mkfifoat(fd, "fifo", 0600), 0);
	if (depth > 0) {
		make_tree(fd, "one", depth - 1);
		make_tree(fd, "two", depth - 1);
	}
}

static void test_remove(void **state)
{
	struct stage *stage = *state;

	assert_int_equal(path_remove_tree(stage->root, "missing"), 0);
	make_file(stage->root, "file", "x");
	assert_int_equal(path_remove_tree(stage->root, "file"), 0);
	assert_false(exists(stage->root, "file"));
	make_tree(stage->root, "tree", 5);
	assert_int_equal(path_remove_tree(stage->root, "tree"), 0);
	assert_int_equal(count_entries(stage->root, "."), 0);
	static const char *const bad[] = {"", ".", "..", "a/b", "/"};
	for (size_t i = 0; i < array_length(bad); i++)
		assert_int_equal(path_remove_tree(stage->root, bad[i]), -EINVAL);
}

static void test_remove_does_not_follow_links(void **state)
{
	struct stage *stage = *state;

	make_escapes(stage);
	assert_int_equal(path_remove_tree(stage->root, "up"), 0);
	assert_false(exists(stage->root, "up"));
	assert_int_equal(mkdirat(stage->root, "d", 0755), 0);
	assert_int_equal(symlinkat("../../outside", stage->root, "d/up"), 0);
	assert_int_equal(path_remove_tree(stage->root, "d"), 0);
	assert_outside_is_untouched(stage);
}

static void test_remove_many_entries(void **state)
{
	struct stage *stage = *state;

	assert_int_equal(mkdirat(stage->root, "d", 0755), 0);
	for (int i = 0; i < 5000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "d/%d-with-a-longer-name", i);
		if (i % 10 == 0)
			assert_int_equal(mkdirat(stage->root, name, 0755), 0);
		else
			assert_int_equal(mknodat(stage->root, name, S_IFREG | 0600, 0), 0);
	}
	assert_int_equal(path_remove_tree(stage->root, "d"), 0);
	assert_false(exists(stage->root, "d"));
}

/* Deeper than descriptors, than PATH_MAX and than a recursion on a small stack would allow. */
static void test_remove_deep_tree(void **state)
{
	enum { DEPTH = 10000 };
	struct stage *stage = *state;
	int fd = fcntl(stage->root, F_DUPFD_CLOEXEC, 3);
	struct rlimit saved, few = {64, 64};

	for (int i = 0; i < DEPTH; i++) {
		assert_int_equal(mkdirat(fd, "deep", 0755), 0);
		if (i % 100 == 0)
			make_file(fd, "zfile", "x");
		int next = openat(fd, "deep", O_PATH | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		fd_close(fd);
		fd = next;
	}
	fd_close(fd);
	getrlimit(RLIMIT_NOFILE, &saved);
	few.rlim_max = saved.rlim_max;
	setrlimit(RLIMIT_NOFILE, &few);
	int r = path_remove_tree(stage->root, "deep");
	setrlimit(RLIMIT_NOFILE, &saved);
	assert_int_equal(r, 0);
	assert_false(exists(stage->root, "deep"));
}

static void test_remove_does_not_cross_mounts(void **state)
{
	struct stage *stage = *state;
	char point[PATH_MAX], outside[PATH_MAX], file[PATH_MAX];

	make_tree(stage->root, "tree", 2);
	snprintf(outside, sizeof(outside), "%s/outside", base);
	snprintf(point, sizeof(point), "%s/root/tree/one/two", base);
	snprintf(file, sizeof(file), "%s/root/tree/file1", base);
	/* A bind mount of the same file system: the device number does not tell. */
	assert_int_equal(mount(outside, point, NULL, MS_BIND, NULL), 0);
	assert_int_equal(mount("/dev/null", file, NULL, MS_BIND, NULL), 0);
	assert_int_equal(path_remove_tree(stage->root, "tree"), -EBUSY);
	/* All else has gone. */
	assert_int_equal(count_entries(stage->root, "tree"), 2);
	assert_int_equal(count_entries(stage->root, "tree/one"), 1);
	assert_outside_is_untouched(stage);
	assert_int_equal(umount(file), 0);
	assert_int_equal(umount(point), 0);

	/* The top itself is a mount point. */
	snprintf(point, sizeof(point), "%s/root/tree", base);
	assert_int_equal(mount(outside, point, NULL, MS_BIND, NULL), 0);
	assert_int_equal(path_remove_tree(stage->root, "tree"), -EBUSY);
	assert_outside_is_untouched(stage);
	assert_int_equal(umount(point), 0);
	assert_int_equal(path_remove_tree(stage->root, "tree"), 0);
}

/* A mount below more levels than are held open: the way up is found again, and the failure is not entered twice. */
static void test_remove_deep_mount(void **state)
{
	struct stage *stage = *state;
	char path[PATH_MAX], point[PATH_MAX + 64] = "";
	size_t n = 0;

	n = (size_t)snprintf(path, sizeof(path), "d");
	for (int i = 0; i < 100; i++)
		n += (size_t)snprintf(path + n, sizeof(path) - n, "/d");
	fd_close(path_mkdirs(stage->root, path, 0755, PATH_IN_ROOT));
	fd_close(path_mkdirs(stage->root, "d/d/d/side/x/y", 0755, PATH_IN_ROOT));
	snprintf(point, sizeof(point), "%s/root/%s", base, path);
	assert_int_equal(mount("test-path", point, "tmpfs", 0, NULL), 0);
	assert_int_equal(path_remove_tree(stage->root, "d"), -EBUSY);
	assert_false(exists(stage->root, "d/d/d/side"));
	assert_true(exists(stage->root, path));
	assert_int_equal(umount(point), 0);
	assert_int_equal(path_remove_tree(stage->root, "d"), 0);
}

static void test_remove_goes_on_after_an_error(void **state)
{
	struct stage *stage = *state;
	char point[PATH_MAX];

	make_tree(stage->root, "tree", 1);
	snprintf(point, sizeof(point), "%s/root/tree", base);
	assert_int_equal(mount(point, point, NULL, MS_BIND, NULL), 0);
	assert_int_equal(mount(NULL, point, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
	_cleanup_fd_ int fd = open(point, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(path_remove_tree(fd, "one"), -EROFS);
	assert_true(exists(fd, "one/file0"));
	fd = fd_close(fd);
	assert_int_equal(umount(point), 0);
}

/* --- while somebody else is at work --- */

/* Exchanges a directory for a link to the outside, and back, as fast as it can, until killed. */
static _Noreturn void exchange_for_ever(const struct stage *stage)
{
	(void)symlinkat("../../outside", stage->root, "t/b");
	for (;;)
		(void)renameat2(stage->root, "t/a", stage->root, "t/b", RENAME_EXCHANGE);
}

static void test_races_do_not_escape(void **state)
{
	struct stage *stage = *state;
	char name[NAME_MAX + 1];

	fd_close(path_mkdirs(stage->root, "t/a", 0755, PATH_IN_ROOT));
	pid_t pid = fork();
	if (pid == 0)
		exchange_for_ever(stage);
	for (int i = 0; i < 3000; i++) {
		enum path_mode how = i % 2 ? PATH_IN_ROOT : PATH_BENEATH;

		(void)fd_close(path_open(stage->root, "t/a/secret", O_WRONLY | O_TRUNC, 0, how));
		(void)fd_close(path_mkdirs(stage->root, "t/a/x/y", 0755, how));
		(void)fd_close(path_touch(stage->root, "t/a/z/f", 0755, 0644, how));
		int fd = path_open_parent(stage->root, "t/a/w", 0755, how, name, sizeof(name));
		if (fd >= 0)
			(void)mkdirat(fd, name, 0755);
		(void)fd_close(fd);
		fd = path_open(stage->root, "t", O_RDONLY | O_DIRECTORY, 0, how);
		if (fd >= 0 && i % 20 == 0)
			(void)path_remove_tree(fd, "a");
		(void)fd_close(fd);
		if (i % 20 == 0)
			(void)fd_close(path_mkdirs(stage->root, "t/a", 0755, PATH_BENEATH));
		if (!exists(stage->root, "t/b"))
			(void)symlinkat("../../outside", stage->root, "t/b");
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_outside_is_untouched(stage);
	(void)unlinkat(stage->root, "outside", AT_REMOVEDIR);
}

static _Noreturn void fill_for_ever(const struct stage *stage)
{
	for (unsigned int i = 0;; i++) {
		char path[64];

		snprintf(path, sizeof(path), "t/%u", i % 1000);
		(void)mkdirat(stage->root, path, 0755);
		snprintf(path, sizeof(path), "t/%u/x", i % 1000);
		(void)mkdirat(stage->root, path, 0755);
	}
}

/* Against somebody who makes as fast as we remove there is either success or an error, but an end. */
static void test_remove_ends_while_being_refilled(void **state)
{
	struct stage *stage = *state;

	assert_int_equal(mkdirat(stage->root, "t", 0755), 0);
	pid_t pid = fork();
	if (pid == 0)
		fill_for_ever(stage);
	usleep(20000);
	alarm(60);
	int r = path_remove_tree(stage->root, "t");
	alarm(0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(r == 0 || r == -ENOTEMPTY);
	assert_int_equal(path_remove_tree(stage->root, "t"), 0);
}

/* --- texts --- */

static void test_clean(void **state)
{
	static const char *const cases[][2] = {
		{"", "/"},
		{"/", "/"},
		{"a", "/a"},
		{"/a/b", "/a/b"},
		{"//a///b//", "/a/b"},
		{"/a/./b/.", "/a/b"},
		{"/a/../b", "/b"},
		{"/a/b/..", "/a"},
		{"..", "/"},
		{"/../../x", "/x"},
		{"a/../..", "/"},
		{"/a/...", "/a/..."},
		{"/..a/b..", "/..a/b.."},
		{".", "/"},
		{"/a/b/../../c", "/c"},
		{"./.a", "/.a"},
	};

	for (size_t i = 0; i < array_length(cases); i++) {
		_cleanup_free_ char *clean = path_clean(cases[i][0]);

		assert_string_equal(clean, cases[i][1]);
	}
	char buffer[32];
	assert_string_equal(path_of_fd(buffer, 7), "/proc/self/fd/7");
	assert_string_equal(path_of_fd(buffer, INT_MAX), "/proc/self/fd/2147483647");
}

#define path_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		path_test(test_open),
		path_test(test_open_does_not_escape),
		path_test(test_mkdirs),
		path_test(test_mkdirs_follows_links_in_the_root),
		path_test(test_making_does_not_escape),
		path_test(test_open_parent),
		path_test(test_touch),
		path_test(test_remove),
		path_test(test_remove_does_not_follow_links),
		path_test(test_remove_many_entries),
		path_test(test_remove_deep_tree),
		path_test(test_remove_does_not_cross_mounts),
		path_test(test_remove_deep_mount),
		path_test(test_remove_goes_on_after_an_error),
		path_test(test_races_do_not_escape),
		path_test(test_remove_ends_while_being_refilled),
		cmocka_unit_test(test_clean),
	};

	if (geteuid() != 0) {
		fprintf(stderr, "needs root\n");
		return 77; /* skipped */
	}
	return cmocka_run_group_tests_name("path", tests, group_setup, group_teardown);
}
