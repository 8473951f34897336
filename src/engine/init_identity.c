/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a process is when its program begins: session, stdio, priorities, limits, labels, user, capabilities, filter.
 *
 * With a seccomp filter and without no_new_privs, the filter needs a privilege to be installed. It is kept, unused, in the
 * permitted set until the very end, so that the filter has to let through nothing but what follows it: capget(2), capset(2),
 * prctl(2) and execve(2).
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "engine/init_private.h"
#include "engine/lsm.h"
#include "engine/rlimits.h"
#include "engine/scheduling.h"

/* --- stdio -------------------------------------------------------------------------------------------------- */

static bool is_null(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

/*
 * A null device of the guest's would be a file of another file system inside: the container's own takes its place. What
 * is at that path may be anything: it is looked at before it is opened.
 */
static void reopen_null(int proc)
{
	char path[32];

	for (int fd = 0; fd < 3; fd++) {
		if (!is_null(fd))
			continue;
		_cleanup_fd_ int found = open("/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (found < 0 || !is_null(found))
			return;
		snprintf(path, sizeof(path), "self/fd/%d", found);
		_cleanup_fd_ int null = openat(proc, path, O_RDWR | O_NOCTTY | O_CLOEXEC);
		if (null >= 0)
			(void)dup2(null, fd);
	}
}

static int take_stdio(const struct child_plan *plan, int proc, struct error *e)
{
	int fds[3];

	/* Out of the way first: one may be at another's place. */
	for (int i = 0; i < 3; i++) {
		fds[i] = plan->stdio[i];
		if (fds[i] >= 0 && fds[i] < 3 && fds[i] != i)
			fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
	}
	for (int i = 0; i < 3; i++) {
		int r = fds[i] < 0 ? 0 : fds[i] == i ? fd_cloexec(i, false) : dup2(fds[i], i);
		if (r < 0)
			return error_errno(e, errno, "put stdio in place");
	}
	reopen_null(proc);
	return stdio_own(plan->credentials.uid, e);
}

static int begin_session(struct child *child, struct error *e)
{
	/* EPERM: a new pid namespace's first process of a runtime that leads a group already. */
	if (setsid() < 0 && errno != EPERM)
		return error_errno(e, errno, "new session");
	if (child->terminal.slave < 0)
		return take_stdio(child->plan, child->proc, e);
	int r = terminal_attach(child->terminal.slave, e);
	child->terminal.slave = fd_close(child->terminal.slave);
	return r;
}

/* --- working directory -------------------------------------------------------------------------------------- */

/* Resolved by the kernel without magic links (/proc/PID/cwd of somebody outside), then asked where it is. */
static int enter_cwd(struct child *child, struct error *e)
{
	const char *cwd = str_is_empty(child->process->cwd) ? "/" : child->process->cwd;
	char where[4096 + 1];

	if (str_equal(cwd, "/")) {
		if (chdir("/") < 0)
			return error_errno(e, errno, "process.cwd \"/\"");
		child->cwd_entered = true;
		return 0;
	}
	_cleanup_fd_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = root < 0 ? -errno : path_open(root, cwd, O_PATH | O_DIRECTORY, 0, PATH_IN_ROOT);
	int r = fd < 0 ? fd : fchdir(fd) < 0 ? -errno : 0;
	if (fd >= 0)
		fd_close(fd);
	if (r < 0)
		return error_errno(e, -r, "process.cwd \"%s\"", cwd);
	if (syscall(SYS_getcwd, where, sizeof(where)) < 0 || where[0] != '/')
		return error_set(e, STATUS_PERMISSION_DENIED, EPERM,
				 "current working directory is outside the container mount namespace root");
	child->cwd_entered = true;
	return 0;
}

/* --- priorities and limits ---------------------------------------------------------------------------------- */

static int set_priorities(struct child *child, struct error *e)
{
	const Grpc__Process *process = child->process;
	const Grpc__Linux *linux = child->spec->linux;
	const Grpc__CPUAffinity *affinity = child->plan->init ? NULL : process->execcpuaffinity;
	int r = affinity ? cpu_affinity_apply(0, affinity->initial, e) : 0;

	if (r == 0)
		r = child_await_placement(child, e);
	if (r == 0 && affinity && !str_is_empty(affinity->final))
		r = cpu_affinity_apply(0, affinity->final, e);
	else if (r == 0 && (!affinity || str_is_empty(affinity->initial)))
		cpu_affinity_reset();
	if (r == 0)
		r = scheduler_apply(0, process->scheduler, e);
	if (r == 0)
		r = io_priority_apply(process->iopriority, e);
	if (r == 0 && linux)
		r = memory_policy_apply(linux->memorypolicy, e);
	if (r == 0 && linux)
		r = personality_apply(linux->personality, e);
	return r;
}

static int set_limits(struct child *child, struct error *e)
{
	const Grpc__Process *process = child->process;

	if (child->container->engine->options.wire)
		rlimits_reset(process->rlimits, process->n_rlimits);
	return rlimits_apply(0, process->rlimits, process->n_rlimits, e);
}

static int set_labels(struct child *child, struct error *e)
{
	const Grpc__Process *own = child->process, *container = child->spec->process;
	const char *apparmor = own->apparmorprofile, *selinux = own->selinuxlabel;

	if (str_is_empty(apparmor) && container)
		apparmor = container->apparmorprofile;
	if (str_is_empty(selinux) && container)
		selinux = container->selinuxlabel;
	return lsm_set_exec(child->proc, apparmor, selinux, e);
}

/* --- credentials -------------------------------------------------------------------------------------------- */

static bool filter_needs_privilege(const struct child_plan *plan)
{
	return plan->filter && !plan->credentials.no_new_privs;
}

/* Only what the process will have is in force, for access checks; what the filter needs stays permitted. */
static int lower_effective(const struct capabilities *caps, struct error *e)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return error_errno(e, errno, "read capabilities");
	data[0].effective = data[0].permitted & (uint32_t)caps->effective;
	data[1].effective = data[1].permitted & (uint32_t)(caps->effective >> 32);
	if (syscall(SYS_capset, &header, data) < 0)
		return error_errno(e, errno, "lower capabilities");
	return 0;
}

static int switch_user(struct child *child, struct error *e)
{
	const struct credentials *credentials = &child->plan->credentials;
	int r = credentials_switch(credentials, e);

	if (r < 0)
		return r;
	return filter_needs_privilege(child->plan) ? lower_effective(&credentials->capabilities, e)
						   : credentials_drop(credentials, e);
}

int child_become(struct child *child, struct error *e)
{
	struct error first = ERROR_INIT;
	int r = begin_session(child, e);

	if (r == 0)
		r = set_priorities(child, e);
	if (r == 0)
		r = set_labels(child, e);
	if (r == 0)
		r = program_init(&child->program, child->process, e);
	if (r == 0 && !child->container->engine->options.wire)
		r = program_fill_home(&child->program, child->process, e);
	/* As root first, who may enter what the user may not; a file system may see that the other way round. */
	if (r == 0 && (r = enter_cwd(child, &first)) < 0 && r != -EACCES && e)
		*e = first;
	if (r == -EACCES)
		r = 0;
	if (r == 0)
		r = set_limits(child, e);
	if (r == 0)
		r = switch_user(child, e);
	if (r == 0 && !child->cwd_entered)
		r = enter_cwd(child, e);
	return r < 0 ? r : program_find(&child->program, e);
}

static int install_filter(struct child *child, struct error *e)
{
	const struct child_plan *plan = child->plan;
	_cleanup_buf_ struct buf state = BUF_INIT;
	_cleanup_free_ char *process_state = NULL;
	char self[16] = "";
	uint32_t pid = 0;

	if (!plan->filter)
		return 0;
	if (plan->seccomp_listener >= 0) {
		if (readlinkat(child->proc, "self", self, sizeof(self) - 1) > 0)
			(void)str_to_u32(self, 10, &pid);
		if (container_state_json(child->container, plan->init ? "creating" : "running", (pid_t)pid,
					 &state) < 0)
			return error_errno(e, ENOMEM, "seccomp");
		process_state =
			seccomp_process_state(child->spec->linux->seccomp, (pid_t)pid, buf_string(&state));
		if (!process_state)
			return error_errno(e, ENOMEM, "seccomp");
	}
	return seccomp_install(plan->filter, plan->seccomp_listener, process_state, e);
}

int child_confine(struct child *child, struct error *e)
{
	bool privileged = filter_needs_privilege(child->plan);
	int r = 0;

	if (child->plan->preserve_fds > 0 && child->socket < (int)(3 + child->plan->preserve_fds))
		return error_set(e, STATUS_INTERNAL, EBADF, "a descriptor to be preserved is not there");
	for (unsigned i = 0; r == 0 && i < child->plan->preserve_fds; i++)
		r = fd_cloexec((int)(3 + i), false);
	if (r < 0)
		return error_errno(e, -r, "preserve descriptors");
	if (privileged)
		r = capabilities_raise_effective(e);
	if (r == 0)
		r = install_filter(child, e);
	if (r == 0 && privileged)
		r = credentials_drop(&child->plan->credentials, e);
	return r;
}

int child_execute(struct child *child, struct error *e)
{
	return program_exec(&child->program, e);
}
