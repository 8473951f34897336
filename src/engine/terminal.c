/* SPDX-License-Identifier: Apache-2.0 */

/* See terminal.h. The peer is opened by ioctl (TIOCGPTPEER), never by its name. */

#include "engine/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif
#ifndef DEVPTS_SUPER_MAGIC
#define DEVPTS_SUPER_MAGIC 0x1cd1
#endif

static bool is_multiplexer(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(5, 2);
}

static bool is_of_devpts(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == DEVPTS_SUPER_MAGIC;
}

static int reopen(int found, int proc)
{
	char path[32];

	snprintf(path, sizeof(path), "self/fd/%d", found);
	return openat(proc, path, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

/* -1 where the container has no devpts of its own. */
static int open_inside(int root, int proc)
{
	_cleanup_fd_ int found = path_open(root, "/dev/pts/ptmx", O_PATH, 0, PATH_IN_ROOT);

	return found >= 0 && is_multiplexer(found) && is_of_devpts(found) ? reopen(found, proc) : -1;
}

/* The guest's; but for an exec this name is in the container, too, and what is there may be anything. */
static int open_usual(int proc)
{
	_cleanup_fd_ int found = open("/dev/ptmx", O_PATH | O_CLOEXEC);

	if (found >= 0 && is_multiplexer(found))
		return reopen(found, proc);
	errno = found < 0 ? errno : ENODEV;
	return -1;
}

static int set_size(int master, const Grpc__Box *box)
{
	struct winsize size = {0};

	if (!box || (!box->height && !box->width))
		return 0;
	size.ws_row = (unsigned short)(box->height > UINT16_MAX ? UINT16_MAX : box->height);
	size.ws_col = (unsigned short)(box->width > UINT16_MAX ? UINT16_MAX : box->width);
	return ioctl(master, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

int terminal_open(struct terminal *terminal, int root, int proc, uid_t uid, const Grpc__Box *size,
		  struct error *e)
{
	int unlocked = 0;
	_cleanup_fd_ int master = open_inside(root, proc);

	if (master < 0)
		master = open_usual(proc);
	if (master < 0)
		return error_errno(e, errno, "open a terminal");
	if (ioctl(master, TIOCSPTLCK, &unlocked) < 0)
		return error_errno(e, errno, "unlock the terminal");
	_cleanup_fd_ int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return error_errno(e, errno, "open the terminal's peer");
	/* A file system that maps no owner (user namespaces) refuses: it is usable through the descriptor all the same. */
	if (uid != 0 && fchown(slave, uid, (gid_t)-1) < 0 && errno != EPERM && errno != EINVAL)
		return error_errno(e, errno, "give the terminal to user %u", (unsigned)uid);
	int r = set_size(master, size);
	if (r < 0)
		return error_errno(e, -r, "set the terminal's size");
	terminal->master = fd_steal(&master);
	terminal->slave = fd_steal(&slave);
	return 0;
}

int terminal_plain_newlines(int slave, struct error *e)
{
	struct termios settings;

	if (tcgetattr(slave, &settings) < 0)
		return error_errno(e, errno, "read the terminal's settings");
	settings.c_oflag &= ~(tcflag_t)ONLCR;
	if (tcsetattr(slave, TCSANOW, &settings) < 0)
		return error_errno(e, errno, "change the terminal's settings");
	return 0;
}

int terminal_attach(int slave, struct error *e)
{
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		return error_errno(e, errno, "make it the controlling terminal");
	for (int fd = 0; fd < 3; fd++)
		if (dup2(slave, fd) < 0)
			return error_errno(e, errno, "put the terminal onto %d", fd);
	return 0;
}
