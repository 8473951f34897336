/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_IPTABLES_H
#define GUEST_IPTABLES_H

/*
 * The guest's packet filter as text, through the programs that an image brings for it: iptables-save and
 * iptables-restore, or those of IPv6 (reference 07, 1.11). In a job with a deadline, for they wait for a lock.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/loop.h"

/* @out is what the program has written; valid during the call. */
typedef void (*iptables_done)(int r, const struct buf *out, const struct error *e, void *data);

/*
 * @directories (NULL: /usr/sbin, /sbin): where programs are looked for, in order, ended by NULL. @done is called once,
 * never before this returns; a program that is not there is ENOENT, one that fails "PATH failed: \"its words\"".
 * 0 or -errno with @e set.
 */
int iptables_get(struct loop *loop, const char *const *directories, bool ipv6, iptables_done done, void *data,
		 struct error *e);
/* @rules must live until this returns only. */
int iptables_set(struct loop *loop, const char *const *directories, bool ipv6, const void *rules,
		 size_t length, iptables_done done, void *data, struct error *e);

#endif
