/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The floor: what creating, starting, waiting for and removing a container of `/bin/true` costs when a program does
 * nothing but the system calls. No parsing, no checks, no errors handled beyond giving up. The work is the same that
 * the engine is asked for in the benchmark beside it: five namespaces, the usual mounts and device nodes, masked and
 * read-only paths, cgroup with limits on this machine's hierarchies, capabilities, execve.
 *
 * Usage: floor ROOTFS COUNT; prints microseconds a cycle, one a line.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *const hierarchies[] = {"cpu",     "cpuacct", "cpuset", "memory",  "devices",
					  "freezer", "blkio",	"pids",	  "systemd", "unified"};
#define PARENT "kata-floor" /* two levels, as the benchmark beside it asks for */

static void die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	_exit(111);
}

static int new_mount(const char *type, const char *key, const char *value, unsigned attributes)
{
	int fs = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
	if (fs < 0)
		die(type);
	if (key && syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0) < 0)
		die(key);
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		die("create");
	int mount_fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes);
	if (mount_fd < 0)
		die("fsmount");
	close(fs);
	return mount_fd;
}

static void attach(int mount_fd, const char *target)
{
	if (syscall(SYS_move_mount, mount_fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		die(target);
	close(mount_fd);
}

static void bind_over(const char *source, const char *target, unsigned long attributes)
{
	int tree = (int)syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0)
		return; /* not on this kernel: nothing to mask */
	struct mount_attr attr = {.attr_set = attributes};
	if (attributes && syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		die("mount_setattr");
	if (syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0 &&
	    errno != ENOENT)
		die(target);
	close(tree);
}

static void child(const char *rootfs, int sync)
{
	char byte;
	if (read(sync, &byte, 1) != 1)
		die("sync");
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 || chdir(rootfs) < 0 ||
	    mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL) < 0 || chdir(rootfs) < 0)
		die("root");
	attach(new_mount("proc", NULL, NULL, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC),
	       "proc");
	attach(new_mount("tmpfs", "mode", "755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME), "dev");
	mkdir("dev/pts", 0755);
	mkdir("dev/shm", 0755);
	mkdir("dev/mqueue", 0755);
	attach(new_mount("devpts", "ptmxmode", "0666", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC), "dev/pts");
	attach(new_mount("tmpfs", "mode", "1777", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV), "dev/shm");
	attach(new_mount("mqueue", NULL, NULL, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV), "dev/mqueue");
	attach(new_mount("sysfs", NULL, NULL, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV),
	       "sys");
	static const struct {
		const char *name;
		unsigned minor;
	} nodes[] = {{"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}};
	char path[64];
	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		snprintf(path, sizeof(path), "dev/%s", nodes[i].name);
		mknod(path, S_IFCHR | 0666, makedev(1, nodes[i].minor));
	}
	mknod("dev/tty", S_IFCHR | 0666, makedev(5, 0));
	symlink("/proc/self/fd", "dev/fd");
	symlink("/proc/self/fd/0", "dev/stdin");
	symlink("/proc/self/fd/1", "dev/stdout");
	symlink("/proc/self/fd/2", "dev/stderr");
	symlink("pts/ptmx", "dev/ptmx");
	if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		die("pivot_root");
	static const char *const masked[] = {"/proc/kcore", "/proc/keys", "/proc/timer_list"};
	static const char *const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"};
	for (size_t i = 0; i < sizeof(masked) / sizeof(masked[0]); i++)
		bind_over("/dev/null", masked[i], 0);
	for (size_t i = 0; i < sizeof(readonly) / sizeof(readonly[0]); i++)
		bind_over(readonly[i], readonly[i], MOUNT_ATTR_RDONLY);
	sethostname("floor", 5);
	for (int cap = 0; cap <= 40; cap++)
		if (cap > 20)
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	setsid();
	if (read(sync, &byte, 1) != 1)
		die("gate");
	char *const argv[] = {(char *)"/bin/true", NULL};
	char *const envp[] = {(char *)"PATH=/bin", NULL};
	execve(argv[0], argv, envp);
	die("execve");
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, text, strlen(text)) < 0) {
		}
		close(fd);
	}
}

static void cgroup(const char *name, pid_t pid, int phase)
{
	char path[256], text[32];
	snprintf(text, sizeof(text), "%d", (int)pid);
	for (size_t i = 0; i < sizeof(hierarchies) / sizeof(hierarchies[0]); i++) {
		for (int level = 0; phase == 0 && level < 2; level++) {
			snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/" PARENT "%s%s", hierarchies[i],
				 level ? "/" : "", level ? name : "");
			if (mkdir(path, 0755) < 0 || strcmp(hierarchies[i], "cpuset"))
				continue;
			size_t length = strlen(path);
			snprintf(path + length, sizeof(path) - length, "/cpuset.mems");
			put(path, "0");
			snprintf(path + length, sizeof(path) - length, "/cpuset.cpus");
			put(path, "0-1");
		}
		snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/" PARENT "/%s", hierarchies[i], name);
		if (phase == 1) {
			strncat(path, "/cgroup.procs", sizeof(path) - strlen(path) - 1);
			put(path, text);
		}
		if (phase == 2) {
			rmdir(path);
			snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/" PARENT, hierarchies[i]);
			rmdir(path);
		}
	}
	if (phase == 0) {
		snprintf(path, sizeof(path), "/sys/fs/cgroup/memory/" PARENT "/%s/memory.limit_in_bytes",
			 name);
		put(path, "268435456");
		snprintf(path, sizeof(path), "/sys/fs/cgroup/cpu/" PARENT "/%s/cpu.shares", name);
		put(path, "512");
	}
}

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	int count = atoi(argv[2]);
	for (int i = 0; i < count; i++) {
		double start = now_us();
		int pair[2];
		char name[32];
		snprintf(name, sizeof(name), "floor-%d", (int)getpid());
		cgroup(name, 0, 0);
		if (pipe2(pair, O_CLOEXEC) < 0)
			die("pipe");
		int pidfd = -1;
		struct clone_args args = {.flags = CLONE_PIDFD | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
						   CLONE_NEWPID,
					  .pidfd = (uintptr_t)&pidfd,
					  .exit_signal = SIGCHLD};
		pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
		if (pid < 0)
			die("clone3");
		if (pid == 0)
			child(argv[1], pair[0]);
		cgroup(name, pid, 1);
		if (write(pair[1], "gg", 2) != 2)
			die("go");
		int status;
		if (waitpid(pid, &status, 0) != pid || status)
			fprintf(stderr, "floor: the child ended with %x\n", (unsigned)status);
		close(pair[0]);
		close(pair[1]);
		close(pidfd);
		cgroup(name, 0, 2);
		printf("%.1f\n", now_us() - start);
	}
	return 0;
}
