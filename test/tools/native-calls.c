/* SPDX-License-Identifier: Apache-2.0 */

/*
 * System calls that valgrind does not know, for programs that run under it.
 *
 * Debian 12's valgrind answers them with ENOSYS, and without them there is no container. This object is linked into every
 * program of the valgrind build, where its functions stand before libc's. Under valgrind it checks what the call reads as
 * memcheck checks the calls that it knows, padding included; then it has the machine, not the simulator, make the call. A
 * new process is made by clone(2) in place of clone3(2), because valgrind must know of its children.
 *
 * It must never be in a program that is shipped: the build files do not know it, only test/valgrind does.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <valgrind/memcheck.h>
#include <valgrind/valgrind.h>

struct call {
	long number;
	long args[6];
};

/* On the machine there is no thread pointer of ours: no stack protector, no errno. */
__attribute__((noinline, no_stack_protector)) static long make(unsigned long thread, const struct call *call)
{
	register long r10 __asm__("r10") = call->args[3];
	register long r8 __asm__("r8") = call->args[4];
	register long r9 __asm__("r9") = call->args[5];
	long result;

	(void)thread;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(call->number), "D"(call->args[0]), "S"(call->args[1]), "d"(call->args[2]),
			   "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static long answer(long result)
{
	if (result >= 0 || result < -4095)
		return result;
	errno = (int)-result;
	return -1;
}

static void reads(const void *memory, size_t length)
{
	if (memory)
		(void)VALGRIND_CHECK_MEM_IS_DEFINED(memory, length);
}
static void reads_string(const char *text)
{
	if (text)
		reads(text, strlen(text) + 1);
}

/* In the new process; its parent waits for the pipe's end. */
static void enter_cgroup(int directory, const int *ends)
{
	int procs = openat(directory, "cgroup.procs", O_WRONLY | O_CLOEXEC);

	if (write(procs, "0", 1) != 1)
		_exit(1);
	close(procs);
	close(ends[0]);
	close(ends[1]);
}

static void await_entrance(const int *ends)
{
	char byte;

	close(ends[1]);
	(void)!read(ends[0], &byte, 1);
	close(ends[0]);
}

static long make_process(const struct clone_args *args, size_t size)
{
	int pidfd = -1, ends[2];
	bool wants_pidfd = (args->flags & CLONE_PIDFD) != 0;
	struct call call = {.number = SYS_clone};

	reads(args, size);
	if ((args->flags & ~CLONE_INTO_CGROUP) >> 32 || args->stack || args->set_tid ||
	    (args->flags & CSIGNAL))
		return -EINVAL;
	call.args[0] = (long)((args->flags & ~CLONE_INTO_CGROUP) | args->exit_signal);
	call.args[2] = wants_pidfd ? (long)&pidfd : 0;
	bool enters = (args->flags & CLONE_INTO_CGROUP) != 0;
	if (enters && pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	long result = make(0, &call);
	if (enters && result == 0)
		enter_cgroup((int)args->cgroup, ends);
	else if (enters)
		await_entrance(ends);
	if (result > 0 && wants_pidfd) {
		(void)VALGRIND_MAKE_MEM_DEFINED(&pidfd, sizeof(pidfd));
		*(int *)(uintptr_t)args->pidfd = pidfd;
	}
	return result;
}

/*
 * Valgrind has no processes that share their descriptors. The one of ours that does only ever sends one of them on
 * (seccomp_install.c): a plain child instead fetches it from its parent for that.
 */
static pid_t lender;

static long make_sharer(const struct call *call)
{
	pid_t parent = getpid();
	struct call plain = *call;

	plain.args[0] &= ~CLONE_FILES;
	long result = make(0, &plain);
	if (result == 0)
		lender = parent;
	return result;
}

static void fetch(int fd)
{
	struct call open = {SYS_pidfd_open, {lender, 0}};
	struct call get = {SYS_pidfd_getfd, {(long)VALGRIND_NON_SIMD_CALL1(make, &open), fd, 0}};
	int got = (int)VALGRIND_NON_SIMD_CALL1(make, &get);

	dup2(got, fd);
	close(got);
	close((int)get.args[0]);
}

/* The program's own file; the links of /proc lead to valgrind's. */
static char own_file[4096];

static const char *real_path(const char *path)
{
	return path && strcmp(path, "/proc/self/exe") == 0 ? own_file : path;
}

static bool is_valgrinds(const char *variable)
{
	return strncmp(variable, "LD_PRELOAD=", 11) == 0 || strncmp(variable, "VALGRIND_", 9) == 0 ||
	       strncmp(variable, "GLIBCPP_FORCE_NEW=", 18) == 0 ||
	       strncmp(variable, "GLIBCXX_FORCE_NEW=", 18) == 0;
}

/*
 * Executes as the machine does, and returns when that fails; valgrind's own way ends the process then. The mask of signals,
 * which valgrind keeps to itself, is given to the kernel first.
 */
static long execute(int directory, const char *path, char *const *argv, char *const *envp, int flags)
{
	enum { VARIABLES_MAX = 4096 };
	static const char *kept[VARIABLES_MAX + 1];
	uint64_t mask = 0, before = 0;
	size_t n = 0;

	for (size_t i = 0; argv && argv[i]; i++)
		reads_string(argv[i]);
	for (size_t i = 0; envp && envp[i] && n < VARIABLES_MAX; i++) {
		reads_string(envp[i]);
		if (!is_valgrinds(envp[i]))
			kept[n++] = envp[i];
	}
	kept[n] = NULL;
	struct call get = {SYS_rt_sigprocmask, {SIG_BLOCK, 0, (long)&mask, sizeof(mask)}};
	make(0, &get);
	struct call set = {SYS_rt_sigprocmask, {SIG_SETMASK, (long)&mask, (long)&before, sizeof(mask)}};
	struct call restore = {SYS_rt_sigprocmask, {SIG_SETMASK, (long)&before, 0, sizeof(before)}};
	struct call run = {SYS_execveat, {directory, (long)real_path(path), (long)argv, (long)kept, flags}};
	VALGRIND_NON_SIMD_CALL1(make, &set);
	long result = (long)VALGRIND_NON_SIMD_CALL1(make, &run);
	VALGRIND_NON_SIMD_CALL1(make, &restore);
	return result;
}

/* A process with a filter is left alone by everything that valgrind does around a call. */
static bool filtered;

static void reads_filter(const struct sock_fprog *program)
{
	reads(&program->len, sizeof(program->len));
	reads(&program->filter, sizeof(program->filter));
	reads(program->filter, program->len * sizeof(program->filter[0]));
}

/* False: valgrind knows the call. */
static bool check(struct call *call)
{
	long *a = call->args;

	switch (call->number) {
	case SYS_pidfd_open:
	case SYS_fsmount:
		return true;
	case SYS_pidfd_send_signal:
		reads((void *)a[2], sizeof(siginfo_t));
		return true;
	case SYS_openat2:
		reads_string((char *)a[1]);
		reads((void *)a[2], (size_t)a[3]);
		return true;
	case SYS_fspick:
		reads_string((char *)a[1]);
		return true;
	case SYS_open_tree:
		a[1] = (long)real_path((char *)a[1]);
		reads_string((char *)a[1]);
		return true;
	case SYS_prlimit64:
		/* Valgrind holds this limit back. */
		if (a[1] != RLIMIT_NOFILE)
			return false;
		reads((void *)a[2], sizeof(struct rlimit));
		if (a[3])
			(void)VALGRIND_MAKE_MEM_DEFINED(a[3], sizeof(struct rlimit));
		return true;
	case SYS_move_mount:
		reads_string((char *)a[1]);
		reads_string((char *)a[3]);
		return true;
	case SYS_mount_setattr:
		reads_string((char *)a[1]);
		reads((void *)a[3], (size_t)a[4]);
		return true;
	case SYS_fsopen:
		reads_string((char *)a[0]);
		return true;
	case SYS_fsconfig:
		reads_string((char *)a[2]);
		if (a[1] == FSCONFIG_SET_STRING)
			reads_string((char *)a[3]);
		return true;
	case SYS_seccomp:
		if (a[0] == SECCOMP_SET_MODE_FILTER && a[2])
			reads_filter((struct sock_fprog *)a[2]);
		return true;
	default:
		return filtered;
	}
}

/* A descriptor is made anew by calls that valgrind knows, so that --track-fds reports it when it is left open. */
static long tell(long fd)
{
	int flags = fcntl((int)fd, F_GETFD);
	int copy = fcntl((int)fd, F_DUPFD_CLOEXEC, 0);

	if (copy >= 0) {
		dup3(copy, (int)fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
		close(copy);
	}
	return fd;
}

static bool makes_descriptor(const struct call *call)
{
	switch (call->number) {
	case SYS_pidfd_open:
	case SYS_openat2:
	case SYS_open_tree:
	case SYS_fsopen:
	case SYS_fspick:
	case SYS_fsmount:
		return true;
	case SYS_seccomp:
		return (call->args[1] & SECCOMP_FILTER_FLAG_NEW_LISTENER) != 0;
	default:
		return false;
	}
}

/* What pgrep finds it by, which would be valgrind's; and the descriptor that valgrind has a copy of. */
__attribute__((constructor)) static void take_name(void)
{
	const char *log = getenv("KATA_VALGRIND_FD");

	if (!RUNNING_ON_VALGRIND)
		return;
	ssize_t n = readlink("/proc/self/exe", own_file, sizeof(own_file) - 1);
	own_file[n > 0 ? n : 0] = '\0';
	prctl(PR_SET_NAME, program_invocation_short_name, 0L, 0L, 0L);
	if (log)
		close(atoi(log));
	unsetenv("KATA_VALGRIND_FD");
}

static long perform(struct call *call)
{
	const long *a = call->args;

	if (!RUNNING_ON_VALGRIND)
		return answer(make(0, call));
	if (call->number == SYS_clone3)
		return answer(make_process((struct clone_args *)a[0], (size_t)a[1]));
	if (call->number == SYS_clone && a[0] & CLONE_FILES)
		return answer(make_sharer(call));
	if (call->number == SYS_execveat)
		return answer(execute((int)a[0], (char *)a[1], (char *const *)a[2], (char *const *)a[3],
				      (int)a[4]));
	long result = answer(check(call) ? (long)VALGRIND_NON_SIMD_CALL1(make, call) : make(0, call));
	/* Of two halves of the sets, valgrind sees one. */
	if (call->number == SYS_capget && result == 0 && a[1])
		(void)VALGRIND_MAKE_MEM_DEFINED(a[1], 2 * sizeof(struct __user_cap_data_struct));
	if (call->number == SYS_seccomp && result >= 0 && a[0] == SECCOMP_SET_MODE_FILTER)
		filtered = true;
	return result >= 0 && makes_descriptor(call) ? tell(result) : result;
}

#define PERFORM(number, ...) perform(&(struct call){number, {__VA_ARGS__}})

long syscall(long number, ...)
{
	struct call call = {.number = number};
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		call.args[i] = va_arg(list, long);
	va_end(list);
	return perform(&call);
}

int pidfd_open(pid_t pid, unsigned flags);
int pidfd_open(pid_t pid, unsigned flags)
{
	return (int)PERFORM(SYS_pidfd_open, pid, flags);
}

int pidfd_send_signal(int pidfd, int signal, siginfo_t *info, unsigned flags);
int pidfd_send_signal(int pidfd, int signal, siginfo_t *info, unsigned flags)
{
	return (int)PERFORM(SYS_pidfd_send_signal, pidfd, signal, (long)info, flags);
}

int open_tree(int directory, const char *path, unsigned flags)
{
	return (int)PERFORM(SYS_open_tree, directory, (long)path, flags);
}

int move_mount(int from, const char *from_path, int to, const char *to_path, unsigned flags)
{
	return (int)PERFORM(SYS_move_mount, from, (long)from_path, to, (long)to_path, flags);
}

int mount_setattr(int directory, const char *path, unsigned flags, struct mount_attr *attr, size_t size)
{
	return (int)PERFORM(SYS_mount_setattr, directory, (long)path, flags, (long)attr, (long)size);
}

int fsopen(const char *type, unsigned flags)
{
	return (int)PERFORM(SYS_fsopen, (long)type, flags);
}

int fspick(int directory, const char *path, unsigned flags)
{
	return (int)PERFORM(SYS_fspick, directory, (long)path, flags);
}

int fsconfig(int context, unsigned command, const char *key, const void *value, int aux)
{
	return (int)PERFORM(SYS_fsconfig, context, command, (long)key, (long)value, aux);
}

int fsmount(int context, unsigned flags, unsigned attributes)
{
	return (int)PERFORM(SYS_fsmount, context, flags, attributes);
}

int prlimit(pid_t pid, enum __rlimit_resource resource, const struct rlimit *new, struct rlimit *old)
{
	return (int)PERFORM(SYS_prlimit64, pid, resource, (long)new, (long)old);
}

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	return prlimit(0, resource, limit, NULL);
}

int getrlimit(__rlimit_resource_t resource, struct rlimit *limit)
{
	return prlimit(0, resource, NULL, limit);
}

int execve(const char *path, char *const *argv, char *const *envp)
{
	return (int)PERFORM(SYS_execveat, AT_FDCWD, (long)path, (long)argv, (long)envp);
}

/* By PATH, as of execvp(3); what is no program is not given to a shell. */
int execvpe(const char *name, char *const *argv, char *const *envp)
{
	const char *rest = getenv("PATH");
	char path[4096];
	int failure = ENOENT;

	if (strchr(name, '/'))
		return execve(name, argv, envp);
	while (rest && *rest) {
		size_t n = strcspn(rest, ":");
		if ((size_t)snprintf(path, sizeof(path), "%.*s/%s", (int)n, rest, name) < sizeof(path))
			execve(path, argv, envp);
		if (errno != ENOENT)
			failure = errno;
		rest += n + (rest[n] == ':');
	}
	errno = failure;
	return -1;
}

enum { ARGUMENTS_MAX = 64 };
#define COLLECT(argv, first)                                                                                 \
	do {                                                                                                 \
		va_list list;                                                                                \
		size_t n = 0;                                                                                \
		argv[n++] = (char *)(first);                                                                 \
		va_start(list, first);                                                                       \
		while (argv[n - 1] && n < ARGUMENTS_MAX)                                                     \
			argv[n++] = va_arg(list, char *);                                                    \
		argv[n] = NULL;                                                                              \
		va_end(list);                                                                                \
	} while (0)

int execl(const char *path, const char *first, ...)
{
	char *argv[ARGUMENTS_MAX + 1];

	COLLECT(argv, first);
	return execve(path, argv, environ);
}

int execlp(const char *name, const char *first, ...)
{
	char *argv[ARGUMENTS_MAX + 1];

	COLLECT(argv, first);
	return execvpe(name, argv, environ);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct cmsghdr *control = CMSG_FIRSTHDR(message);
	int sent;

	if (lender > 0 && control && control->cmsg_type == SCM_RIGHTS) {
		memcpy(&sent, CMSG_DATA(control), sizeof(sent));
		if (fcntl(sent, F_GETFD) < 0)
			fetch(sent);
	}
	struct call call = {SYS_sendmsg, {fd, (long)message, flags}};
	return perform(&call);
}

/*
 * A program that does not run from a place where it cannot be written to executes itself from one (base/self.c), where valgrind
 * would not follow. So it finds itself there from the start.
 */
static int open_self(void)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	int tree = open_tree(AT_FDCWD, own_file, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	char path[32];
	int fd = -1;

	if (tree < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", tree);
	if (mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) == 0)
		fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	close(tree);
	return fd;
}

int open(const char *path, int flags, ...)
{
	va_list list;

	va_start(list, flags);
	int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, int) : 0;
	va_end(list);
	if (RUNNING_ON_VALGRIND && strcmp(path, "/proc/self/exe") == 0) {
		int fd = open_self();
		if (fd >= 0)
			return fd;
		path = own_file;
	}
	return (int)PERFORM(SYS_openat, AT_FDCWD, (long)path, flags, mode);
}
