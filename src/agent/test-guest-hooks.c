/* SPDX-License-Identifier: Apache-2.0 */

/* Guest hooks: what of a directory is one, and how they join those of a spec. */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/guest_hooks.h"
#include "base/fd.h"
#include "base/path.h"

static struct loop *loop;
static char directory[64];
static struct guest_hooks hooks;
static bool over;

static int setup(void **state)
{
	(void)state;
	(void)snprintf(directory, sizeof(directory), "/tmp/test-guest-hooks-XXXXXX");
	loop = loop_new();
	return loop && mkdtemp(directory) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	guest_hooks_deinit(&hooks);
	loop_free(loop);
	int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = path_remove_tree(tmp, directory + strlen("/tmp/"));
	close(tmp);
	return r;
}

static void make(const char *name, mode_t mode)
{
	char path[128];
	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	if (S_ISDIR(mode)) {
		assert_int_equal(mkdir(path, 0755), 0);
		return;
	}
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
	assert_true(fd >= 0);
	close(fd);
}

static void found(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	(void)job, (void)e, (void)data;
	assert_int_equal(r, 0);
	guest_hooks_set(&hooks, result);
	over = true;
}

static void scan(void)
{
	struct error e = ERROR_INIT;
	over = false;
	assert_non_null(guest_hooks_scan(loop, directory, found, NULL, &e));
	while (!over)
		loop_run_once(loop, 1000);
}

static void an_empty_directory_has_none(void **state)
{
	Grpc__Spec spec = GRPC__SPEC__INIT;
	(void)state;
	scan();
	assert_int_equal(guest_hooks_append(&hooks, &spec, NULL), 0);
	assert_null(spec.hooks);
}

static void executable_files_are_hooks(void **state)
{
	char path[128], target[128];
	struct arena *arena = arena_new(0);
	Grpc__Spec spec = GRPC__SPEC__INIT;
	Grpc__Hooks theirs = GRPC__HOOKS__INIT;
	Grpc__Hook one = GRPC__HOOK__INIT, *list[] = {&one};
	(void)state;
	one.path = (char *)"/theirs";
	theirs.poststop = list;
	theirs.n_poststop = 1;
	spec.hooks = &theirs;
	make("prestart", S_IFDIR);
	make("poststop", S_IFDIR);
	make("prestart/20-second", 0755);
	make("prestart/10-first", 0700);
	make("prestart/not-executable", 0644);
	make("prestart/directory", S_IFDIR);
	make("poststop/last", 0755);
	(void)snprintf(target, sizeof(target), "%s/poststop/last", directory);
	(void)snprintf(path, sizeof(path), "%s/prestart/link", directory);
	assert_int_equal(symlink(target, path), 0);
	scan();
	assert_int_equal(guest_hooks_append(&hooks, &spec, arena), 0);
	assert_ptr_equal(spec.hooks, &theirs);
	assert_int_equal(theirs.n_prestart, 2);
	assert_int_equal(theirs.n_poststart, 0);
	assert_int_equal(theirs.n_poststop, 2);
	(void)snprintf(path, sizeof(path), "%s/prestart/10-first", directory);
	assert_string_equal(theirs.prestart[0]->path, path);
	assert_int_equal(theirs.prestart[0]->n_args, 2);
	assert_string_equal(theirs.prestart[0]->args[0], "10-first");
	assert_string_equal(theirs.prestart[0]->args[1], "prestart");
	assert_string_equal(theirs.prestart[1]->args[0], "20-second");
	assert_string_equal(theirs.poststop[0]->path, "/theirs");
	assert_string_equal(theirs.poststop[1]->path, target);

	Grpc__Spec bare = GRPC__SPEC__INIT;
	assert_int_equal(guest_hooks_append(&hooks, &bare, arena), 0);
	assert_non_null(bare.hooks);
	assert_int_equal(bare.hooks->n_prestart, 2);
	arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_empty_directory_has_none, setup, teardown),
		cmocka_unit_test_setup_teardown(executable_files_are_hooks, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
