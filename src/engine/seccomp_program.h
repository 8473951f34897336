/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_SECCOMP_PROGRAM_H
#define ENGINE_SECCOMP_PROGRAM_H

/* What seccomp_filter.c compiles and seccomp_install.c installs. Nobody else includes this. */

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

/* SECCOMP_FILTER_FLAG_* of the kernel, which older headers lack. */
enum {
	FILTER_TSYNC = 1 << 0,
	FILTER_LOG = 1 << 1,
	FILTER_SPEC_ALLOW = 1 << 2,
	FILTER_NEW_LISTENER = 1 << 3,
	FILTER_TSYNC_ESRCH = 1 << 4,
	FILTER_WAIT_KILLABLE_RECV = 1 << 5,
};

struct seccomp_filter {
	unsigned references;
	unsigned flags; /* for seccomp(2) */
	bool notifies;
	uint16_t count; /* instructions */
	struct sock_filter code[];
};

#endif
