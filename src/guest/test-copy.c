/* SPDX-License-Identifier: Apache-2.0 */
/* Files that the host sends: where they end up, and where they never do. */

#include "guest/test-root.h"

#include "base/fd.h"
#include "guest/copy.h"
#include "guest/volume.h"

#define SHARE "run/kata-containers/shared/containers"

struct context {
	struct test_root root;
	struct loop *loop;
	struct error e;
	int ended, result;
	struct volume_stats stats;
};

static int setup(void **state)
{
	struct context *context = calloc(1, sizeof(*context));

	test_root_make(&context->root);
	context->loop = loop_new();
	assert_non_null(context->loop);
	*state = context;
	return 0;
}

static int teardown(void **state)
{
	struct context *context = *state;

	loop_free(context->loop);
	test_root_remove(&context->root);
	free(context);
	return 0;
}

static int copy(struct context *context, struct copy_request request)
{
	char path[PATH_MAX];

	if (request.path[0] != '/') {
		snprintf(path, sizeof(path), "/%s/%s", SHARE, request.path);
		request.path = path;
	}
	if (!request.uid && !request.gid)
		request.uid = request.gid = -1;
	context->e = (struct error)ERROR_INIT;
	return copy_file(context->root.path, &request, &context->e);
}

static int send_text(struct context *context, const char *path, uint32_t mode, const char *text)
{
	return copy(context, (struct copy_request){.path = path,
						   .mode = mode,
						   .dir_mode = 0755,
						   .file_size = (int64_t)strlen(text),
						   .data = text,
						   .length = strlen(text)});
}

static int send_link(struct context *context, const char *path, const char *target)
{
	return copy(context, (struct copy_request){.path = path,
						   .mode = S_IFLNK | 0777,
						   .dir_mode = 0755,
						   .data = target,
						   .length = strlen(target)});
}

static int send_directory(struct context *context, const char *path, uint32_t mode)
{
	return copy(context, (struct copy_request){.path = path, .mode = S_IFDIR | mode, .dir_mode = 0755});
}

static const char *shared(struct context *context, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", SHARE, name);
	return test_path(&context->root, path);
}

static struct stat look(struct context *context, const char *name)
{
	struct stat st;

	if (lstat(shared(context, name), &st) < 0)
		fail_msg("%s: %s", name, strerror(errno));
	return st;
}

static bool there(struct context *context, const char *name)
{
	return faccessat(AT_FDCWD, shared(context, name), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void expect_text(struct context *context, const char *name, const char *text)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", SHARE, name);
	test_expect_file(&context->root, path, text);
}

/* Entries of the share itself. */
static unsigned entries(struct context *context)
{
	_cleanup_dir_ DIR *dir = opendir(shared(context, "."));
	unsigned count = 0;

	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	return count;
}

static void only_what_is_below_counts(void **state)
{
	static const struct {
		const char *path, *relative;
	} cases[] = {
		{"/run/kata-containers/shared/containers/a", "a"},
		{"/run/kata-containers/shared/containers/a/b", "a/b"},
		{"//run/./kata-containers//shared/containers/.//a/", "a/"},
		{"/run/kata-containers/shared/containers/..data", "..data"},
		{"/run/kata-containers/shared/containers/..2024/...", "..2024/..."},
		{"/run/kata-containers/shared/containers", NULL},
		{"/run/kata-containers/shared/containers/", NULL},
		{"/run/kata-containers/shared/containers/.", NULL},
		{"/run/kata-containers/shared/containersx/a", NULL},
		{"/run/kata-containers/shared/container/a", NULL},
		{"/run/kata-containers/shared/foo", NULL},
		{"/run/kata-containers/shared/containers/../a", NULL},
		{"/run/kata-containers/shared/containers/a/..", NULL},
		{"/run/kata-containers/shared/containers/a/../../../b", NULL},
		{"/run/x/../kata-containers/shared/containers/a", NULL},
		{"run/kata-containers/shared/containers/a", NULL},
		{"/tmp/foo", NULL},
		{"/", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < array_length(cases); i++) {
		const char *found = copy_relative(cases[i].path);

		if (!cases[i].relative != !found || (found && strcmp(found, cases[i].relative) != 0))
			fail_msg("%s: %s", cases[i].path, found ? found : "(none)");
	}
}

static void files(void **state)
{
	struct context *c = *state;

	assert_int_equal(send_text(c, "top", S_IFREG | 0644, "one"), 0);
	expect_text(c, "top", "one");
	assert_int_equal(look(c, "top").st_mode, S_IFREG | 0644);
	/* Again, shorter and with another mode. */
	assert_int_equal(send_text(c, "top", S_IFREG | 0600, "2"), 0);
	expect_text(c, "top", "2");
	assert_int_equal(look(c, "top").st_mode, S_IFREG | 0600);
	/* Parents that are missing; an umask changes nothing. */
	umask(077);
	assert_int_equal(send_text(c, "a/b/file", 0621, "three"), 0);
	umask(022);
	expect_text(c, "a/b/file", "three");
	assert_int_equal(look(c, "a/b/file").st_mode, S_IFREG | 0621);
	assert_int_equal(look(c, "a").st_mode, S_IFDIR | 0755);
	assert_int_equal(look(c, "a/b").st_mode, S_IFDIR | 0755);
	/* One that is there keeps its mode. */
	assert_int_equal(send_directory(c, "a", 0711), 0);
	assert_int_equal(send_text(c, "a/empty", S_IFREG | 04755, ""), 0);
	assert_int_equal(look(c, "a/empty").st_mode, S_IFREG | 04755);
	assert_int_equal(look(c, "a/empty").st_size, 0);
	assert_int_equal(look(c, "a").st_mode, S_IFDIR | 0711);
	/* The Go shim's flag of a directory is not the kernel's; runtime-rs sends none at all. */
	assert_int_equal(copy(c, (struct copy_request){.path = "go/f", .mode = 0644, .dir_mode = 0x800001e8}),
			 0);
	assert_int_equal(look(c, "go").st_mode, S_IFDIR | 0750);
	assert_int_equal(copy(c, (struct copy_request){.path = "rs/f", .mode = 0644}), 0);
	assert_int_equal(look(c, "rs").st_mode, S_IFDIR | 0750);
	/* Nothing else is there. */
	assert_int_equal(entries(c), 4);
}

static void owners(void **state)
{
	struct context *c = *state;
	const char *const names[] = {"p", "p/q", "p/q/f", "d", "l"};
	struct copy_request request = {.mode = S_IFREG | 06755, .dir_mode = 0700, .uid = 1000, .gid = 2000};

	if (geteuid() != 0)
		skip();
	request.path = "p/q/f";
	assert_int_equal(copy(c, request), 0);
	assert_int_equal(look(c, "p/q/f").st_mode, S_IFREG | 06755);
	request.path = "d";
	request.mode = S_IFDIR | 02770;
	assert_int_equal(copy(c, request), 0);
	assert_int_equal(look(c, "d").st_mode, S_IFDIR | 02770);
	request.path = "l";
	request.mode = S_IFLNK | 0777;
	request.data = "/etc/passwd";
	request.length = 11;
	assert_int_equal(copy(c, request), 0);
	for (size_t i = 0; i < array_length(names); i++) {
		assert_int_equal(look(c, names[i]).st_uid, 1000);
		assert_int_equal(look(c, names[i]).st_gid, 2000);
	}
	/* What was there before belongs to whom it belonged: the share above all. */
	assert_int_equal(look(c, ".").st_uid, 0);
	request = (struct copy_request){.path = "d/f", .mode = 0600, .uid = 5, .gid = -1};
	assert_int_equal(copy(c, request), 0);
	assert_int_equal(look(c, "d").st_uid, 1000);
	assert_int_equal(look(c, "d/f").st_uid, 5);
}

static void directories_and_links(void **state)
{
	struct context *c = *state;
	char target[64] = "";

	assert_int_equal(send_directory(c, "x/d", 03770), 0);
	assert_int_equal(look(c, "x/d").st_mode, S_IFDIR | 03770);
	assert_int_equal(look(c, "x").st_mode, S_IFDIR | 0755);
	/* Again: its contents stay. */
	assert_int_equal(send_text(c, "x/d/f", 0644, "kept"), 0);
	assert_int_equal(send_directory(c, "x/d", 0700), 0);
	expect_text(c, "x/d/f", "kept");
	assert_int_equal(look(c, "x/d").st_mode, S_IFDIR | 0700);
	/* Each in the place of each. */
	assert_int_equal(send_text(c, "x/d", 0644, "file over directory"), 0);
	expect_text(c, "x/d", "file over directory");
	assert_int_equal(send_link(c, "x/d", "link over file"), 0);
	assert_int_equal(send_directory(c, "x/d", 0755), 0);
	assert_true(S_ISDIR(look(c, "x/d").st_mode));
	assert_int_equal(send_text(c, "x/d/f", 0644, "in it"), 0);
	assert_int_equal(send_link(c, "x/d", "link over directory"), 0);
	assert_int_equal(send_link(c, "x/d", "..2024/data"), 0);
	assert_int_equal(readlink(shared(c, "x/d"), target, sizeof(target) - 1), 11);
	assert_string_equal(target, "..2024/data");
	assert_int_equal(send_text(c, "x/d", 0644, "file over link"), 0);
	expect_text(c, "x/d", "file over link");
	/* A link that the kernel would not make. */
	assert_int_equal(send_link(c, "x/l", ""), -EINVAL);
	assert_int_equal(
		copy(c, (struct copy_request){.path = "x/l", .mode = S_IFLNK, .data = "a\0b", .length = 3}),
		-EINVAL);
	assert_false(there(c, "x/l"));
}

static int send_piece(struct context *c, const char *path, int64_t size, int64_t offset, const char *text)
{
	return copy(c, (struct copy_request){.path = path,
					     .mode = S_IFREG | 0640,
					     .file_size = size,
					     .offset = offset,
					     .data = text,
					     .length = strlen(text)});
}

static void pieces(void **state)
{
	struct context *c = *state;

	assert_int_equal(send_text(c, "f", 0644, "old"), 0);
	assert_int_equal(send_piece(c, "f", 9, 0, "abc"), 0);
	/* What was there is there until the last. */
	expect_text(c, "f", "old");
	assert_int_equal(send_piece(c, "g", 6, 0, "123"), 0);
	assert_false(there(c, "g"));
	assert_int_equal(send_piece(c, "f", 9, 3, "def"), 0);
	assert_int_equal(send_piece(c, "g", 6, 3, "456"), 0);
	assert_int_equal(send_piece(c, "f", 9, 6, "ghi"), 0);
	expect_text(c, "f", "abcdefghi");
	expect_text(c, "g", "123456");
	assert_int_equal(look(c, "f").st_mode, S_IFREG | 0640);
	/* Begun anew, what came of it before is forgotten. */
	assert_int_equal(send_piece(c, "h", 6, 0, "xxxx"), 0);
	assert_int_equal(send_piece(c, "h", 6, 0, "abc"), 0);
	assert_int_equal(send_piece(c, "h", 6, 3, "def"), 0);
	expect_text(c, "h", "abcdef");
	assert_int_equal(entries(c), 3);
	/* Names that others give for what is under way do not meet. */
	assert_int_equal(send_text(c, "a.tmp", 0644, "mine"), 0);
	assert_int_equal(send_piece(c, "a.txt", 4, 0, "ab"), 0);
	assert_int_equal(send_piece(c, "a.md", 4, 0, "AB"), 0);
	assert_int_equal(send_piece(c, "a.txt", 4, 2, "cd"), 0);
	assert_int_equal(send_piece(c, "a.md", 4, 2, "CD"), 0);
	expect_text(c, "a.tmp", "mine");
	expect_text(c, "a.txt", "abcd");
	expect_text(c, "a.md", "ABCD");
	assert_int_equal(entries(c), 6);
}

static void sizes_that_cannot_be(void **state)
{
	struct context *c = *state;

	assert_int_equal(send_piece(c, "f", 2, 0, "abc"), -EINVAL);
	assert_int_equal(send_piece(c, "f", -1, 0, ""), -EINVAL);
	assert_int_equal(send_piece(c, "f", 9, -1, "abc"), -EINVAL);
	assert_int_equal(send_piece(c, "f", INT64_MAX, INT64_MAX, "abc"), -EINVAL);
	assert_int_equal(c->e.code, STATUS_INVALID_ARGUMENT);
	assert_int_equal(entries(c), 0);
	/* More than a file can be: an error, and nothing is left. */
	assert_true(send_piece(c, "f", INT64_MAX, INT64_MAX - 3, "abc") < 0);
	assert_int_equal(entries(c), 0);
}

static void kinds_that_are_not_sent(void **state)
{
	static const uint32_t types[] = {S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK, 0150000};
	struct context *c = *state;

	for (size_t i = 0; i < array_length(types); i++) {
		assert_int_equal(send_text(c, "f", types[i] | 0666, "x"), -EINVAL);
		assert_int_equal(c->e.code, STATUS_INVALID_ARGUMENT);
	}
	assert_int_equal(access(test_path(&c->root, SHARE), F_OK), -1);
}

static void nothing_is_written_elsewhere(void **state)
{
	struct context *c = *state;
	char *outside;

	test_file(&c->root, "etc/passwd", "root");
	outside = strdup(test_path(&c->root, "etc"));
	assert_int_equal(send_text(c, "/run/kata-containers/shared/foo", 0644, "x"), -EINVAL);
	assert_non_null(strstr(c->e.text, "removing \"/run/kata-containers/shared/containers/\" prefix from "
					  "/run/kata-containers/shared/foo"));
	assert_int_equal(c->e.code, STATUS_INTERNAL);
	assert_int_equal(send_text(c, "../x", 0644, "x"), -EINVAL);
	assert_int_equal(send_text(c, "a/../../x", 0644, "x"), -EINVAL);
	assert_int_equal(access(test_path(&c->root, "run/kata-containers/shared/x"), F_OK), -1);
	/* Through links: that the host has sent, to a directory and to a file; and their last part. */
	assert_int_equal(send_link(c, "out", outside), 0);
	assert_int_equal(send_link(c, "up", "../../../../etc"), 0);
	assert_int_equal(send_link(c, "in", "real"), 0);
	assert_int_equal(send_directory(c, "real", 0755), 0);
	assert_int_equal(send_text(c, "out/new", 0644, "x"), -ELOOP);
	assert_int_equal(send_text(c, "out/passwd", 0644, "x"), -ELOOP);
	assert_int_equal(send_text(c, "up/passwd", 0644, "x"), -ELOOP);
	assert_int_equal(send_text(c, "in/f", 0644, "x"), -ELOOP);
	assert_int_equal(send_link(c, "out/link", "x"), -ELOOP);
	assert_int_equal(send_directory(c, "out/sub", 0755), -ELOOP);
	assert_int_equal(send_directory(c, "out/sub/more", 0755), -ELOOP);
	test_expect_file(&c->root, "etc/passwd", "root");
	assert_int_equal(access(test_path(&c->root, "etc/new"), F_OK), -1);
	assert_int_equal(access(test_path(&c->root, "etc/sub"), F_OK), -1);
	/* A link in the last part is replaced, whatever it names. */
	assert_int_equal(send_text(c, "out", 0600, "x"), 0);
	expect_text(c, "out", "x");
	assert_int_equal(send_directory(c, "up", 0700), 0);
	assert_true(S_ISDIR(look(c, "up").st_mode));
	test_expect_file(&c->root, "etc/passwd", "root");
	/* A parent that is a file. */
	assert_int_equal(send_text(c, "out/f", 0644, "x"), -ENOTDIR);
	free(outside);
}

/* The name of the hidden file is no secret: a container may make something of it. */
static void what_lies_under_the_hidden_name(void **state)
{
	struct context *c = *state;
	char hidden[NAME_MAX + 1] = "", *outside = NULL, *path;
	_cleanup_dir_ DIR *dir = NULL;

	test_file(&c->root, "etc/passwd", "root");
	outside = strdup(test_path(&c->root, "etc/passwd"));
	assert_int_equal(send_piece(c, "f", 6, 0, "abc"), 0);
	dir = opendir(shared(c, "."));
	for (struct dirent *entry; (entry = readdir(dir));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			snprintf(hidden, sizeof(hidden), "%s", entry->d_name);
	assert_true(hidden[0] == '.');
	path = strdup(shared(c, hidden));
	/* A link, for a later piece and for the first. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(outside, path), 0);
	assert_int_equal(send_piece(c, "f", 6, 3, "def"), -ELOOP);
	assert_int_equal(send_piece(c, "f", 3, 0, "abc"), 0);
	expect_text(c, "f", "abc");
	/* Another name of a file. */
	assert_int_equal(link(outside, path), 0);
	assert_int_equal(send_piece(c, "f", 6, 3, "def"), -EPERM);
	assert_int_equal(send_piece(c, "f", 4, 0, "abcd"), 0);
	expect_text(c, "f", "abcd");
	/* A FIFO that nobody reads, a directory. */
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(send_piece(c, "f", 6, 3, "def"), -ENXIO);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(send_piece(c, "f", 6, 3, "def"), -EISDIR);
	assert_int_equal(send_link(c, "f", "x"), 0);
	test_expect_file(&c->root, "etc/passwd", "root");
	assert_int_equal(entries(c), 1);
	free(path);
	free(outside);
}

static void names_and_depths(void **state)
{
	struct context *c = *state;
	char longest[NAME_MAX + 2], deep[PATH_MAX] = "";

	memset(longest, 'n', NAME_MAX);
	longest[NAME_MAX] = '\0';
	assert_int_equal(send_piece(c, longest, 4, 0, "ab"), 0);
	assert_int_equal(send_piece(c, longest, 4, 2, "cd"), 0);
	expect_text(c, longest, "abcd");
	longest[NAME_MAX] = 'n';
	longest[NAME_MAX + 1] = '\0';
	assert_int_equal(send_text(c, longest, 0644, "x"), -ENAMETOOLONG);
	/* As deep as a path goes. */
	for (int i = 0; i < 1900; i++)
		memcpy(deep + 2 * i, "d/", 3);
	memcpy(deep + 3800, "f", 2);
	assert_int_equal(send_text(c, deep, 0644, "deep"), 0);
	assert_int_equal(send_text(c, "d", 0644, "x"), 0);
	expect_text(c, "d", "x");
}

static void a_volume_in_the_way(void **state)
{
	struct context *c = *state;

	if (!test_own_mounts())
		skip();
	test_mkdir(&c->root, SHARE "/vol");
	assert_int_equal(mount("tmpfs", shared(c, "vol"), "tmpfs", 0, "size=64k"), 0);
	assert_int_equal(send_text(c, "vol/f", 0644, "x"), 0);
	assert_int_equal(send_text(c, "vol", 0644, "x"), -EBUSY);
	expect_text(c, "vol/f", "x");
	assert_int_equal(entries(c), 1);
	/* Full: an error, and the half is gone. */
	char *much = malloc(1 << 20);
	memset(much, 'x', 1 << 20);
	assert_int_equal(copy(c, (struct copy_request){.path = "vol/g",
						       .mode = 0644,
						       .file_size = 1 << 20,
						       .data = much,
						       .length = 1 << 20}),
			 -ENOSPC);
	assert_int_equal(send_text(c, "vol/h", 0644, "room"), 0);
	free(much);
	assert_int_equal(umount2(shared(c, "vol"), MNT_DETACH), 0);
}

static void ended(int r, const struct error *e, void *data)
{
	struct context *c = data;

	c->ended++;
	c->result = r;
	if (r < 0)
		c->e = *e;
}

static void run(struct context *c)
{
	for (int i = 0; i < 1000 && !c->ended; i++)
		assert_int_equal(loop_run_once(c->loop, 20), 0);
	assert_int_equal(c->ended, 1);
	c->ended = 0;
}

static void in_a_job(void **state)
{
	struct context *c = *state;
	struct copy_request request = {.path = "/" SHARE "/f",
				       .file_size = 3,
				       .data = "abc",
				       .length = 3,
				       .mode = 0644,
				       .uid = -1,
				       .gid = -1};

	assert_int_equal(copy_start(c->loop, c->root.path, &request, ended, c, &c->e), 0);
	run(c);
	assert_int_equal(c->result, 0);
	expect_text(c, "f", "abc");
	request.path = "/tmp/foo";
	assert_int_equal(copy_start(c->loop, c->root.path, &request, ended, c, &c->e), 0);
	run(c);
	assert_int_equal(c->result, -EINVAL);
	assert_string_equal(c->e.text,
			    "removing \"/run/kata-containers/shared/containers/\" prefix from /tmp/foo");
}

static void looked(int r, const struct volume_stats *stats, const struct error *e, void *data)
{
	struct context *c = data;

	c->stats = *stats;
	ended(r, e, c);
}

static void volumes_are_looked_at(void **state)
{
	struct context *c = *state;

	if (!test_own_mounts())
		skip();
	test_mkdir(&c->root, "vol");
	assert_int_equal(mount("tmpfs", test_path(&c->root, "vol"), "tmpfs", 0, "size=1m,nr_inodes=100"), 0);
	test_file(&c->root, "vol/f", "x");
	assert_int_equal(volume_look(c->loop, test_path(&c->root, "vol"), looked, c, &c->e), 0);
	run(c);
	assert_int_equal(c->result, 0);
	assert_int_equal(c->stats.bytes.total, 1 << 20);
	assert_int_equal(c->stats.bytes.used, sysconf(_SC_PAGESIZE));
	assert_int_equal(c->stats.bytes.available, (1 << 20) - sysconf(_SC_PAGESIZE));
	assert_int_equal(c->stats.inodes.total, 100);
	assert_int_equal(c->stats.inodes.used, 2);
	assert_int_equal(c->stats.inodes.available, 98);
	assert_int_equal(umount2(test_path(&c->root, "vol"), MNT_DETACH), 0);
	assert_int_equal(volume_look(c->loop, "/no/such", looked, c, &c->e), 0);
	run(c);
	assert_int_equal(c->result, -ENOENT);
	assert_string_equal(c->e.text, "statfs /no/such: ENOENT: No such file or directory");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_is_below_counts),
		TEST(files),
		TEST(owners),
		TEST(directories_and_links),
		TEST(pieces),
		TEST(sizes_that_cannot_be),
		TEST(kinds_that_are_not_sent),
		TEST(nothing_is_written_elsewhere),
		TEST(what_lies_under_the_hidden_name),
		TEST(names_and_depths),
		TEST(a_volume_in_the_way),
		TEST(in_a_job),
		TEST(volumes_are_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
