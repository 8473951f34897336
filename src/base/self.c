/* SPDX-License-Identifier: Apache-2.0 */

#include "base/self.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static bool is_protected(int exe)
{
	struct statvfs fs;
	int seals = fcntl(exe, F_GET_SEALS);
	if (seals >= 0 && (seals & SEALS) == SEALS)
		return true;
	return fstatvfs(exe, &fs) == 0 && (fs.f_flag & ST_RDONLY);
}

/* A mount of nothing but the file, in no namespace: nobody can remount it. Descriptor or -1. */
static int open_readonly(void)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID};
	_cleanup_fd_ int tree =
		(int)syscall(SYS_open_tree, AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0 || syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return -1;
	return fd_steal(&tree);
}

/* Descriptor or -1 with errno. */
static int open_copy(int exe)
{
	struct stat st;
	off_t offset = 0;
	_cleanup_fd_ int copy = memfd_create("self", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (copy < 0 || fstat(exe, &st) < 0)
		return -1;
	while (offset < st.st_size) {
		ssize_t n = sendfile(copy, exe, &offset, (size_t)(st.st_size - offset));
		if (n < 0 && errno != EINTR)
			return -1;
		if (n == 0)
			break;
	}
	if (fchmod(copy, 0500) < 0 || fcntl(copy, F_ADD_SEALS, SEALS) < 0)
		return -1;
	return fd_steal(&copy);
}

int self_protect(char *const *argv, char *const *envp, struct error *e)
{
	_cleanup_fd_ int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (exe < 0)
		return error_errno(e, errno, "open the program's own file");
	if (is_protected(exe))
		return 0;
	_cleanup_fd_ int tree = open_readonly();
	if (tree >= 0)
		syscall(SYS_execveat, tree, "", argv, envp, AT_EMPTY_PATH);
	_cleanup_fd_ int copy = open_copy(exe);
	if (copy >= 0)
		syscall(SYS_execveat, copy, "", argv, envp, AT_EMPTY_PATH);
	return error_errno(e, errno, "execute the program from where it cannot be written to");
}
