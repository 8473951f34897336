/* SPDX-License-Identifier: Apache-2.0 */

/* The kernel takes a map in one write(2), once, from outside the namespace (user_namespaces(7)). */

#include "engine/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/job.h"
#include "base/str.h"

int idmap_text(Grpc__LinuxIDMapping *const *mappings, size_t count, struct buf *out)
{
	for (size_t i = 0; i < count; i++) {
		const Grpc__LinuxIDMapping *m = mappings[i];
		if (m->size == 0)
			continue;
		int r = buf_printf(out, "%" PRIu32 " %" PRIu32 " %" PRIu32 "\n", m->containerid, m->hostid,
				   m->size);
		if (r < 0)
			return r;
	}
	return buf_string(out) ? 0 : -ENOMEM;
}

static bool only_own(Grpc__LinuxIDMapping *const *mappings, size_t count, uint32_t own)
{
	size_t seen = 0;

	for (size_t i = 0; i < count; i++) {
		if (mappings[i]->size == 0)
			continue;
		if (mappings[i]->size != 1 || mappings[i]->hostid != own)
			return false;
		seen++;
	}
	return seen <= 1;
}

bool idmap_needs_helper(const Grpc__Linux *linux)
{
	if (geteuid() == 0)
		return false;
	return !only_own(linux->uidmappings, linux->n_uidmappings, geteuid()) ||
	       !only_own(linux->gidmappings, linux->n_gidmappings, getegid());
}

static int write_file(int proc, pid_t pid, const char *name, const char *text, struct error *e)
{
	char path[64];

	snprintf(path, sizeof(path), "%d/%s", (int)pid, name);
	int r = file_write(proc, path, text);
	if (r < 0)
		return error_errno(e, -r, "write %s of the user namespace", name);
	return 0;
}

static int run_helper(const char *program, pid_t pid, Grpc__LinuxIDMapping *const *mappings, size_t count,
		      struct error *e)
{
	enum { NUMBER = 16 };
	const char *const environment[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	_cleanup_free_ const char **argv = calloc(3 + 3 * count + 2, sizeof(*argv));
	_cleanup_free_ char *numbers = calloc(1 + 3 * count, NUMBER);
	_cleanup_buf_ struct buf out = BUF_INIT, err = BUF_INIT;
	size_t n = 0, used = 0;
	int status = 0;

	if (!argv || !numbers)
		return error_errno(e, ENOMEM, "%s", program);
	argv[n++] = "/usr/bin/env";
	argv[n++] = program;
	snprintf(numbers, NUMBER, "%d", (int)pid);
	argv[n++] = numbers;
	for (size_t i = 0; i < count; i++) {
		const uint32_t values[3] = {mappings[i]->containerid, mappings[i]->hostid, mappings[i]->size};
		if (mappings[i]->size == 0)
			continue;
		for (size_t k = 0; k < 3; k++) {
			char *text = numbers + ++used * NUMBER;
			snprintf(text, NUMBER, "%" PRIu32, values[k]);
			argv[n++] = text;
		}
	}
	argv[n] = NULL;
	int r = job_run_program(argv, environment, NULL, 0, &out, &err, 1024, &status, e);
	if (r < 0)
		return error_prefix(e, "%s", program);
	if (status != 0)
		return error_set(e, STATUS_PERMISSION_DENIED, EPERM, "%s failed: %s", program,
				 buf_string(&err));
	return 0;
}

static int write_map(int proc, pid_t pid, const char *name, Grpc__LinuxIDMapping *const *mappings,
		     size_t count, struct error *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT;

	if (idmap_text(mappings, count, &text) < 0)
		return error_errno(e, ENOMEM, "%s", name);
	if (text.length == 0)
		return 0;
	return write_file(proc, pid, name, buf_string(&text), e);
}

int idmap_write(int proc, pid_t pid, const Grpc__Linux *linux, bool helper, bool deny_setgroups,
		struct error *e)
{
	int r = 0;

	if (helper) {
		r = run_helper("newuidmap", pid, linux->uidmappings, linux->n_uidmappings, e);
		return r < 0 ? r : run_helper("newgidmap", pid, linux->gidmappings, linux->n_gidmappings, e);
	}
	r = write_map(proc, pid, "uid_map", linux->uidmappings, linux->n_uidmappings, e);
	if (r == 0 && deny_setgroups)
		r = write_file(proc, pid, "setgroups", "deny", e);
	if (r == 0)
		r = write_map(proc, pid, "gid_map", linux->gidmappings, linux->n_gidmappings, e);
	return r;
}

/* In the new namespace: tells its pid as @proc numbers it, which may not be the number that its parent knows. */
static _Noreturn void hold_namespace(int proc, int report)
{
	char self[32] = "";

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	ssize_t n = readlinkat(proc, "self", self, sizeof(self) - 1);
	if (n > 0 && write(report, self, (size_t)n + 1) > 0)
		for (;;)
			pause();
	_exit(1);
}

static int open_held_namespace(int proc, int report, const Grpc__Linux *mappings, struct error *e)
{
	char self[32] = "", path[64];
	uint32_t pid;

	if (read(report, self, sizeof(self) - 1) <= 0 || str_to_u32(self, 10, &pid) < 0)
		return error_errno(e, ESRCH, "user namespace for id mappings");
	int r = idmap_write(proc, (pid_t)pid, mappings, false, false, e);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%" PRIu32 "/ns/user", pid);
	r = openat(proc, path, O_RDONLY | O_CLOEXEC);
	return r < 0 ? error_errno(e, errno, "open the user namespace for id mappings") : r;
}

int idmap_namespace(int proc, Grpc__LinuxIDMapping *const *uids, size_t n_uids,
		    Grpc__LinuxIDMapping *const *gids, size_t n_gids, struct error *e)
{
	Grpc__Linux mappings = GRPC__LINUX__INIT;
	int report[2];

	mappings.uidmappings = (Grpc__LinuxIDMapping **)uids;
	mappings.n_uidmappings = n_uids;
	mappings.gidmappings = (Grpc__LinuxIDMapping **)gids;
	mappings.n_gidmappings = n_gids;
	if (pipe2(report, O_CLOEXEC) < 0)
		return error_errno(e, errno, "user namespace for id mappings");
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0)
		hold_namespace(proc, report[1]);
	int r = pid < 0 ? error_errno(e, errno, "user namespace for id mappings") : 0;
	fd_close(report[1]);
	if (r == 0)
		r = open_held_namespace(proc, report[0], &mappings, e);
	fd_close(report[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	return r;
}
