/* SPDX-License-Identifier: Apache-2.0 */

/* What becomes of the namespaces of a spec, and the making of shared ones (the latter needs root). */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/namespaces.h"
#include "base/fd.h"
#include "base/str.h"

enum { IPC = 101, UTS = 102, PID = 103 };

struct row {
	const char *what;
	const char *types[6]; /* of the request; a '=' after the type gives it a path */
	bool join, others, shared;
	const char *after; /* types afterwards */
	struct namespace_fd out[3];
	size_t count;
	const char *error;
};

static const struct row table[] = {
	{"own pid, shared ipc and uts",
	 {"ipc=/x", "uts", "mount"},
	 false,
	 true,
	 true,
	 "ipc uts mount pid",
	 {{CLONE_NEWIPC, IPC}, {CLONE_NEWUTS, UTS}, {CLONE_NEWPID, -1}},
	 3,
	 NULL},
	{"all shared",
	 {"mount", "uts", "ipc"},
	 true,
	 true,
	 true,
	 "mount uts ipc pid",
	 {{CLONE_NEWUTS, UTS}, {CLONE_NEWIPC, IPC}, {CLONE_NEWPID, PID}},
	 3,
	 NULL},
	{"no namespaces at all", {NULL}, false, false, true, "pid", {{CLONE_NEWPID, -1}}, 1, NULL},
	{"no namespaces at all, shared", {NULL}, true, false, true, "pid", {{CLONE_NEWPID, PID}}, 1, NULL},
	{"the host's own pid entry",
	 {"pid=/proc/7/ns/pid", "mount"},
	 false,
	 false,
	 true,
	 "pid mount",
	 {{CLONE_NEWPID, -1}},
	 1,
	 NULL},
	{"no sandbox",
	 {"ipc=/x", "uts=/y"},
	 false,
	 false,
	 false,
	 "ipc uts pid",
	 {{CLONE_NEWIPC, -1}, {CLONE_NEWUTS, -1}, {CLONE_NEWPID, -1}},
	 3,
	 NULL},
	{"the first container of the sandbox",
	 {"mount"},
	 true,
	 false,
	 false,
	 "mount pid",
	 {{CLONE_NEWPID, -1}},
	 1,
	 NULL},
	{"nothing to join",
	 {"mount"},
	 true,
	 true,
	 false,
	 NULL,
	 {{0}},
	 0,
	 "Sandbox does not have sandbox_pidns"},
};

static void make_spec(const struct row *row, struct arena *arena, Grpc__Spec *spec, Grpc__Linux *linux)
{
	grpc__spec__init(spec);
	grpc__linux__init(linux);
	spec->linux = linux;
	linux->namespaces = arena_array(arena, 6, sizeof(*linux->namespaces));
	for (size_t i = 0; i < 6 && row->types[i]; i++) {
		Grpc__LinuxNamespace *ns = arena_new_object(arena, Grpc__LinuxNamespace);
		const char *path = strchr(row->types[i], '=');
		grpc__linux_namespace__init(ns);
		ns->type = arena_strndup(arena, row->types[i], strcspn(row->types[i], "="));
		ns->path = path ? arena_strdup(arena, path + 1) : NULL;
		linux->namespaces[linux->n_namespaces++] = ns;
	}
}

static void check_row(const struct row *row)
{
	struct arena *arena = arena_new(0);
	Grpc__Spec spec;
	Grpc__Linux linux;
	struct shared_namespaces shared = {.ipc = IPC, .uts = UTS, .pid = PID}, none = {-1, -1, -1};
	struct namespace_fd out[3];
	size_t count;
	struct error e = ERROR_INIT;
	char after[128] = "";
	make_spec(row, arena, &spec, &linux);
	int r = namespaces_rewrite(&spec, arena, row->shared ? &shared : &none, row->join, row->others, out,
				   &count, &e);
	if (row->error) {
		assert_true(r < 0);
		assert_string_equal(e.text, row->error);
		arena_free(arena);
		return;
	}
	assert_int_equal(r, 0);
	assert_int_equal(count, row->count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(out[i].type, row->out[i].type);
		assert_int_equal(out[i].fd, row->out[i].fd);
	}
	for (size_t i = 0; i < linux.n_namespaces; i++) {
		strncat(after, i ? " " : "", sizeof(after) - strlen(after) - 1);
		strncat(after, linux.namespaces[i]->type, sizeof(after) - strlen(after) - 1);
		assert_true(str_is_empty(linux.namespaces[i]->path));
	}
	assert_string_equal(after, row->after);
	arena_free(arena);
}

static void rewriting(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(table); i++) {
		print_message("  %s\n", table[i].what);
		check_row(&table[i]);
	}
}

static void other_paths_stay(void **state)
{
	struct arena *arena = arena_new(0);
	struct row row = {.types = {"network=/var/run/netns/x", "cgroup"}};
	Grpc__Spec spec;
	Grpc__Linux linux;
	struct shared_namespaces none = {-1, -1, -1};
	struct namespace_fd out[3];
	size_t count;
	struct error e = ERROR_INIT;
	(void)state;
	make_spec(&row, arena, &spec, &linux);
	assert_int_equal(namespaces_rewrite(&spec, arena, &none, false, false, out, &count, &e), 0);
	assert_string_equal(linux.namespaces[0]->path, "/var/run/netns/x");
	arena_free(arena);
}

static void a_spec_without_linux(void **state)
{
	Grpc__Spec spec;
	struct shared_namespaces none = {-1, -1, -1};
	struct namespace_fd out[3];
	size_t count;
	struct error e = ERROR_INIT;
	(void)state;
	grpc__spec__init(&spec);
	assert_true(namespaces_rewrite(&spec, NULL, &none, false, false, out, &count, &e) < 0);
	assert_string_equal(e.text, "Spec does not contain linux field");
}

/* --- making them --- */

struct making {
	bool over;
	int r;
};

static void made(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct making *making = data;
	(void)job, (void)result;
	making->over = true;
	making->r = r;
	if (r < 0)
		print_error("%s\n", e->text);
}

/* What a process in @uts sees as its host name. */
static void hostname_in(int uts, char *name, size_t size)
{
	int pipe[2], status;
	assert_int_equal(pipe2(pipe, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct utsname u;
		if (setns(uts, CLONE_NEWUTS) < 0 || uname(&u) < 0)
			_exit(1);
		_exit(write(pipe[1], u.nodename, strlen(u.nodename)) < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	ssize_t n = read(pipe[0], name, size - 1);
	name[n > 0 ? n : 0] = '\0';
	close(pipe[0]);
	close(pipe[1]);
}

static void new_ones_are_new(void **state)
{
	struct making making = {0};
	struct error e = ERROR_INIT;
	struct stat ours, theirs;
	char name[128];
	int receiver, ipc, uts;
	(void)state;
	if (geteuid() != 0)
		skip();
	struct loop *loop = loop_new();
	assert_non_null(namespaces_make(loop, "a-pod", &receiver, made, &making, &e));
	while (!making.over)
		loop_run_once(loop, 1000);
	assert_int_equal(making.r, 0);
	assert_int_equal(namespaces_receive(receiver, &ipc, &uts, &e), 0);
	close(receiver);
	assert_int_equal(fcntl(ipc, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(uts, F_GETFD), FD_CLOEXEC);
	assert_int_equal(stat("/proc/self/ns/ipc", &ours), 0);
	assert_int_equal(fstat(ipc, &theirs), 0);
	assert_true(ours.st_ino != theirs.st_ino);
	assert_int_equal(stat("/proc/self/ns/uts", &ours), 0);
	assert_int_equal(fstat(uts, &theirs), 0);
	assert_true(ours.st_ino != theirs.st_ino);
	hostname_in(uts, name, sizeof(name));
	assert_string_equal(name, "a-pod");
	close(ipc);
	close(uts);
	loop_free(loop);
}

static void a_host_name_that_is_none(void **state)
{
	struct making making = {0};
	struct error e = ERROR_INIT;
	char name[200];
	int receiver, ipc = -1, uts = -1;
	(void)state;
	if (geteuid() != 0)
		skip();
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	struct loop *loop = loop_new();
	assert_non_null(namespaces_make(loop, name, &receiver, made, &making, &e));
	while (!making.over)
		loop_run_once(loop, 1000);
	assert_int_equal(making.r, -EINVAL);
	assert_true(namespaces_receive(receiver, &ipc, &uts, &e) < 0);
	assert_int_equal(ipc, -1);
	close(receiver);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rewriting),
		cmocka_unit_test(other_paths_stay),
		cmocka_unit_test(a_spec_without_linux),
		cmocka_unit_test(new_ones_are_new),
		cmocka_unit_test(a_host_name_that_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
