/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of the guest.
 *
 * sync(2) waits for every file system, also for one whose host has gone; so it is made by a child, and when the child
 * does not come back in time the machine ends without it.
 */

#include <errno.h>
#include <linux/reboot.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "guest/power.h"

/* The kernel's number for the PID namespace that it starts with (PROC_PID_INIT_INO). */
static const ino_t first_pid_namespace = 0xEFFFFFFCU;

static bool in_first_pid_namespace(void)
{
	struct stat info;

	return stat("/proc/self/ns/pid", &info) == 0 && info.st_ino == first_pid_namespace;
}

static void sync_bounded(uint64_t timeout_ms)
{
	struct pollfd poll_fd = {.fd = -1, .events = POLLIN};
	pid_t child = fork();

	if (child == 0) {
		sync();
		_exit(0);
	}
	if (child < 0)
		return;
	poll_fd.fd = (int)syscall(SYS_pidfd_open, child, 0);
	if (poll_fd.fd < 0 || poll(&poll_fd, 1, (int)(timeout_ms < 3600000 ? timeout_ms : 3600000)) != 1)
		log_warning("power", "file systems were not written out in time");
	fd_close(poll_fd.fd);
}

int power_end(enum power_action action, uint64_t sync_ms)
{
	if (getpid() != 1 || !in_first_pid_namespace())
		return -EPERM;
	sync_bounded(sync_ms);
	if (reboot(action == POWER_OFF ? RB_POWER_OFF : RB_AUTOBOOT) < 0)
		return -errno;
	return 0;
}
