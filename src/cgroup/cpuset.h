/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_CPUSET_H
#define CGROUP_CPUSET_H

/* Lists of CPUs and of memory nodes in the kernel's form ("0-3,8"), as bits. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CPU_SET_BITS = 8192 }; /* the most that a kernel is built for */

/* Byte k holds 8k … 8k+7, the lowest in the lowest bit: what systemd's AllowedCPUs wants, too. */
struct cpu_list {
	uint8_t bits[CPU_SET_BITS / 8];
};

/* "" is the empty list; a trailing newline is allowed. False for what is no list. */
bool cpu_list_parse(const char *text, struct cpu_list *out);
bool cpu_list_has(const struct cpu_list *list, unsigned n);
/* Bytes up to the last that is not 0. */
size_t cpu_list_bytes(const struct cpu_list *list);
bool cpu_list_within(const struct cpu_list *list, const struct cpu_list *all);
/* Keeps what both have; false when that is nothing. */
bool cpu_list_intersect(struct cpu_list *list, const struct cpu_list *with);
/* malloc'ed, or NULL when memory is out. */
char *cpu_list_text(const struct cpu_list *list);

#endif
