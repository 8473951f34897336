/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wall clock.
 *
 * A hypervisor that lends its clock does so as a PTP device with a name of its own; other PTP devices (network cards)
 * may be anybody's and are not believed. Such a device is read as a clock by its descriptor (clock_gettime(2), "Dynamic
 * clocks").
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "base/fd.h"
#include "base/str.h"
#include "guest/clock.h"

enum { CLOCK_FD = 3 }; /* the kernel's CLOCKFD: what marks a clock id as made of a descriptor */

int clock_set(int64_t seconds, int64_t microseconds, struct error *e)
{
	struct timeval time = {.tv_sec = (time_t)seconds, .tv_usec = (suseconds_t)microseconds};

	if (settimeofday(&time, NULL) < 0)
		return error_errno(e, errno, "set the clock");
	return 0;
}

static bool ptp_is_hypervisors(const char *name)
{
	static const char *const believed[] = {"KVM virtual PTP", "hyperv", "ptp_vmw"};
	_cleanup_free_ char *text = NULL;
	char path[NAME_MAX + 32];
	int n = snprintf(path, sizeof(path), "/sys/class/ptp/%s/clock_name", name);

	if (n < 0 || (size_t)n >= sizeof(path) || file_read(AT_FDCWD, path, 256, &text) < 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	for (size_t i = 0; i < array_length(believed); i++)
		if (str_equal(text, believed[i]))
			return true;
	return false;
}

/* Descriptor of the hypervisor's clock, or -ENODEV. */
static int ptp_open(void)
{
	_cleanup_dir_ DIR *dir = opendir("/sys/class/ptp");
	struct dirent *entry;

	if (!dir)
		return -ENODEV;
	while ((entry = readdir(dir))) {
		char path[NAME_MAX + 8];
		int n = snprintf(path, sizeof(path), "/dev/%s", entry->d_name), fd;

		if (entry->d_name[0] == '.' || n < 0 || (size_t)n >= sizeof(path) ||
		    !ptp_is_hypervisors(entry->d_name))
			continue;
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0)
			return fd;
	}
	return -ENODEV;
}

static int64_t milliseconds(const struct timespec *time)
{
	return (int64_t)time->tv_sec * 1000 + time->tv_nsec / 1000000;
}

int clock_resync(uint64_t tolerance_ms, int64_t *stepped_ms, struct error *e)
{
	_cleanup_fd_ int fd = ptp_open();
	struct timespec host, guest;
	int64_t difference;

	if (stepped_ms)
		*stepped_ms = 0;
	if (fd < 0)
		return error_errno(e, -fd, "the hypervisor lends no clock");
	if (clock_gettime((clockid_t)(~(unsigned)fd << 3 | CLOCK_FD), &host) < 0 ||
	    clock_gettime(CLOCK_REALTIME, &guest) < 0)
		return error_errno(e, errno, "read the hypervisor's clock");
	difference = milliseconds(&host) - milliseconds(&guest);
	if ((uint64_t)(difference < 0 ? -difference : difference) < tolerance_ms)
		return 0;
	if (clock_settime(CLOCK_REALTIME, &host) < 0)
		return error_errno(e, errno, "set the clock");
	if (stepped_ms)
		*stepped_ms = difference;
	return 0;
}
