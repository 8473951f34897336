/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_DEVICES_H
#define CGROUP_DEVICES_H

/* Device rules as a program for the kernel's cgroup device hook. */

#include <linux/bpf.h>
#include <stddef.h>

#include "cgroup/cgroup.h"

/*
 * The program for @rules: the answer for each kind of access (read, write, mknod) is that of the last rule
 * that matches; where none does, it is allowed, as in a new v1 cgroup. malloc'ed, *@count instructions; NULL
 * when memory is out or a rule is out of range (errno).
 */
struct bpf_insn *devices_program(const struct cgroup_device_rule *rules, size_t n, size_t *count);

/* Bits of BPF_DEVCG_ACC_* for "rwm"; "" and NULL are all; other letters are passed over. */
unsigned devices_access(const char *access);

/* "c 1:3 rwm", "b *:* m": one line of v1's lists, for type 'b' or 'c'. */
void devices_line(const struct cgroup_device_rule *rule, char type, char *out, size_t size);

#endif
