/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_SECCOMP_PROGRAM_H
#define ENGINE_SECCOMP_PROGRAM_H

/* What seccomp_filter.c reads, seccomp_bpf.c turns into a program and seccomp_install.c installs. Nobody else includes
 * this. */

#include <linux/filter.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

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

/* One system call, and what is to happen when all comparisons hold (each of another argument). */
struct seccomp_rule {
	const char *name;
	uint32_t action; /* as the kernel has it, which is also as libseccomp has it */
	const struct scmp_arg_cmp *args;
	unsigned count;
};

struct seccomp_rules {
	uint32_t default_action;
	bool newer_is_missing; /* native calls that nobody has a name for yet: ENOSYS, not the default */
	const uint32_t *architectures; /* tokens of libseccomp, each once, the native one among them */
	size_t n_architectures;
	const struct seccomp_rule *rules;
	size_t n_rules;
};

/*
 * Writes the program for @rules to @out (BPF_MAXINSNS instructions). Of several rules for one call an unconditional one
 * wins, else they are tried in their order. The length, -EOPNOTSUPP for an architecture that this generator does not
 * know (libseccomp does then), -E2BIG, -ENOMEM.
 */
int seccomp_generate(const struct seccomp_rules *rules, struct arena *arena, struct sock_filter *out);

/* Highest number of a native system call that libseccomp has a name for. */
uint32_t seccomp_newest_syscall(void);

#endif
