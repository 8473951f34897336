/* SPDX-License-Identifier: Apache-2.0 */
/* Environment, look-up and execution, in a root of the test's own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "engine/program.h"
#include "engine/test-child.h"

static void home_lines(void **state)
{
	static const struct {
		const char *text;
		uid_t uid;
		const char *home; /* NULL: -ENOENT */
	} list[] = {
		{"root:x:0:0:root:/root:/bin/sh\n", 0, "/root"},
		{"root:x:0:0:root:/root:/bin/sh\nu:x:1000:1000::/home/u:\n", 1000, "/home/u"},
		{"u:x:1000:1000::/home/u", 1000, "/home/u"},
		{"u:x:1000:1000::/home/u", 100, NULL},
		{"u:x:01000:1::/home/u\n", 1000, "/home/u"},
		{"u:x:1000x:1::/a\nv:x:1000:1::/b\n", 1000, "/b"},
		{"u:x:1000:1::\nv:x:1000:1::/b\n", 1000, "/b"},
		{"u:x:4294967296:1::/a\n", 0, NULL},
		{"u:x::1::/a\n", 0, NULL},
		{"u:x:0\n\n::::::\n", 0, NULL},
		{"", 0, NULL},
		{"\n\n\n", 0, NULL},
	};
	char home[64];

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		int r = passwd_home(list[i].text, strlen(list[i].text), list[i].uid, home, sizeof(home));
		assert_int_equal(r, list[i].home ? 0 : -ENOENT);
		if (list[i].home)
			assert_string_equal(home, list[i].home);
	}
	assert_int_equal(passwd_home("u:x:1:1::/12345:", 16, 1, home, 6), -ENAMETOOLONG);
	assert_int_equal(passwd_home("u:x:1:1::/12345:", 16, 1, home, 7), 0);
	assert_int_equal(passwd_home("u:x:1:1::/a\0b:", 14, 1, home, sizeof(home)), -ENOENT);
}

static void environment(void **state)
{
	struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;
	struct program program;
	Grpc__Process *p = from_json(&grpc__process__descriptor,
				     "{'args':['a','b'],'env':[' A = x ','B=1','odd','HOME=','B=2']}", arena);

	assert_int_equal(program_init(&program, p, &e), 0);
	assert_string_equal(program.argv[1], "b");
	assert_null(program.argv[2]);
	/* Verbatim, the last of a key, and an empty HOME counts as set. */
	assert_string_equal(program.envp[0], " A = x ");
	assert_string_equal(program.envp[1], "odd");
	assert_string_equal(program.envp[2], "HOME=");
	assert_string_equal(program.envp[3], "B=2");
	assert_null(program.envp[4]);
	assert_string_equal(environment_get(program.envp, "B"), "2");
	assert_null(environment_get(program.envp, "C"));
	program_deinit(&program);
	p = from_json(&grpc__process__descriptor, "{'args':['a'],'user':{'uid':4123456}}", arena);
	assert_int_equal(program_init(&program, p, &e), 0);
	assert_string_equal(program.envp[0], "HOME=/");
	program_deinit(&program);
	arena_free(arena);
}

/* --- in a root of its own --- */

static char root[] = "/tmp/program-test-XXXXXX";

static void put(const char *name, mode_t mode, const char *text)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", root, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0 || fd_write_all(fd, text, strlen(text)) < 0 || fchmod(fd, mode) < 0)
		abort();
	close(fd);
}

static int set_up(void **state)
{
	char path[256];

	if (geteuid() != 0)
		return 0;
	if (!mkdtemp(root) || chmod(root, 0755) < 0)
		return -1;
	static const char *const directories[] = {"etc", "bin", "two", "bin/dir", "cwd"};
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", root, directories[i]);
		if (mkdir(path, 0755) < 0)
			return -1;
	}
	put("etc/passwd", 0644, "root:x:0:0::/the-root:\nu:x:77:77::/the-user:");
	put("bin/plain", 0644, "");
	put("two/plain", 0755, "");
	put("bin/noexec", 0644, "");
	put("bin/script", 0755, "#! /no/interpreter -x\n");
	put("bin/text", 0755, "hello\n");
	put("bin/broken", 0755, "\177ELFxxxxxxxxxxxxxxxxxxxxxxxx");
	put("bin/empty", 0755, "");
	put("cwd/here", 0755, "");
	put("bin/secret", 0750, "");
	return 0;
}

static int tear_down(void **state)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return geteuid() == 0 ? system(command) : 0;
}

struct look_up {
	const char *arg, *path_variable;
	uid_t uid;
	int r;
	const char *expected; /* path, or text of the error */
};

static int look_up_child(void *argument)
{
	const struct look_up *l = argument;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;
	struct program program;
	Grpc__Process *p = from_json(&grpc__process__descriptor,
				     arena_printf(arena, "{'args':['%s'],'env':[%s%s%s],'user':{'uid':%u}}",
						  l->arg, l->path_variable ? "'PATH=" : "",
						  l->path_variable ? l->path_variable : "",
						  l->path_variable ? "'" : "", l->uid),
				     arena);

	child_expect(chroot(root) == 0 && chdir("/cwd") == 0);
	child_expect(l->uid == 0 || (setresgid(77, 77, 77) == 0 && setresuid(77, 77, 77) == 0));
	child_expect(program_init(&program, p, &e) == 0);
	child_expect(strcmp(environment_get(program.envp, "HOME"), l->uid ? "/the-user" : "/the-root") == 0);
	int r = program_find(&program, &e);
	if (r != l->r || strcmp(r ? e.text : program.path, l->expected) != 0) {
		fprintf(stderr, "%s: %d \"%s\", expected %d \"%s\"\n", l->arg, r, r ? e.text : program.path,
			l->r, l->expected);
		return 1;
	}
	program_deinit(&program);
	return 0;
}

static void look_up(void **state)
{
	static const struct look_up list[] = {
		{"/bin/plain", NULL, 0, -EACCES, "exec: \"/bin/plain\": permission denied (/bin/plain)"},
		{"/two/plain", NULL, 0, 0, "/two/plain"},
		{"plain", "/nowhere:/bin:/two", 0, 0, "/two/plain"},
		{"noexec", "/bin:/two", 0, -EACCES, "exec: \"noexec\": permission denied (/bin/noexec)"},
		{"dir", "/bin:/two", 0, -ENOENT,
		 "the file dir was not found\nexec: \"dir\": executable file not found in $PATH"},
		{"sleep", "/bin", 0, -ENOENT,
		 "the file sleep was not found\nexec: \"sleep\": executable file not found in $PATH"},
		{"sleep", NULL, 0, -ENOENT,
		 "the file sleep was not found\nexec: \"sleep\": executable file not found in $PATH"},
		{"", "/bin", 0, -ENOENT,
		 "the file  was not found\nexec: \"\": executable file not found in $PATH"},
		{"/bin/none", "/bin", 0, -ENOENT,
		 "the file /bin/none was not found\nexec: \"/bin/none\": stat /bin/none: no such file or "
		 "directory"},
		{"/bin/plain/x", "/bin", 0, -ENOENT,
		 "the file /bin/plain/x was not found\nexec: \"/bin/plain/x\": stat /bin/plain/x: no such "
		 "file or directory"},
		{"/bin/dir", "/bin", 0, -EACCES,
		 "exec: \"/bin/dir\": is a directory: permission denied (/bin/dir)"},
		/* A bare name is not looked up in the working directory, unless PATH says so. */
		{"here", "/bin", 0, -ENOENT,
		 "the file here was not found\nexec: \"here\": executable file not found in $PATH"},
		{"here", "/bin:", 0, 0, "./here"},
		{"./here", "/bin", 0, 0, "./here"},
		{"secret", "/bin", 77, -EACCES, "exec: \"secret\": permission denied (/bin/secret)"},
	};

	if (geteuid() != 0)
		skip();
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		assert_int_equal(in_child(look_up_child, (void *)&list[i], NULL), 0);
}

static int execute_child(void *argument)
{
	const struct look_up *l = argument;
	char *argv[] = {(char *)l->arg, NULL}, *envp[] = {NULL};
	struct program program = {.path = (char *)l->arg, .argv = argv, .envp = envp};
	struct error e = ERROR_INIT;

	child_expect(chroot(root) == 0 && chdir("/") == 0);
	int r = program_exec(&program, &e);
	if (r != l->r || strcmp(e.text, l->expected) != 0) {
		fprintf(stderr, "%s: %d \"%s\"\n", l->arg, r, e.text);
		return 1;
	}
	return 0;
}

static void execution(void **state)
{
	static const struct look_up list[] = {
		{"/bin/script", NULL, 0, -ENOENT,
		 "exec /bin/script: no such file or directory (its interpreter \"/no/interpreter\" is "
		 "missing)"},
		{"/bin/text", NULL, 0, -ENOEXEC,
		 "exec /bin/text: exec format error (it is neither an ELF program nor a script that begins "
		 "with #!)"},
		{"/bin/broken", NULL, 0, -ENOEXEC,
		 "exec /bin/broken: exec format error (it is built for another architecture, or damaged)"},
		{"/bin/empty", NULL, 0, -ENOEXEC, "exec /bin/empty: exec format error (the file is empty)"},
		{"/bin/noexec", NULL, 0, -EACCES, "exec /bin/noexec: permission denied"},
		{"/bin/gone", NULL, 0, -ENOENT, "exec /bin/gone: no such file or directory"},
	};

	if (geteuid() != 0)
		skip();
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		assert_int_equal(in_child(execute_child, (void *)&list[i], NULL), 0);
}

/* A passwd "file" that would block or never end. */
static int odd_passwd_child(void *argument)
{
	struct error e = ERROR_INIT;
	Grpc__Process p = GRPC__PROCESS__INIT;
	struct program program;

	child_expect(chroot(root) == 0 && chdir("/") == 0);
	alarm(10);
	for (int i = 0; i < 2; i++) {
		child_expect(unlink("/etc/passwd") == 0);
		child_expect((i == 0 ? mkfifo("/etc/passwd", 0644) : mkdir("/etc/passwd", 0755)) == 0);
		child_expect(program_init(&program, &p, &e) == 0);
		child_expect(strcmp(program.envp[0], "HOME=/") == 0);
		program_deinit(&program);
	}
	child_expect(rmdir("/etc/passwd") == 0);
	return 0;
}

static void odd_passwd(void **state)
{
	if (geteuid() != 0)
		skip();
	assert_int_equal(in_child(odd_passwd_child, NULL, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(home_lines), cmocka_unit_test(environment), cmocka_unit_test(look_up),
		cmocka_unit_test(execution),  cmocka_unit_test(odd_passwd),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
