/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_DNS_H
#define AGENT_DNS_H

/*
 * The guest's /etc/resolv.conf, for programs that pull images and the like in the guest: the host's lines in a file of
 * our own which is bind-mounted over it.
 */

#include <stddef.h>

#include "base/error.h"
#include "base/job.h"
#include "base/loop.h"

/*
 * In a job: writes the trimmed @lines, joined by newlines, and mounts the file. Without an /etc/resolv.conf nothing
 * is done. One byte of result: 1 when it was mounted. Errors: "/etc/resolv.conf is a directory"; "failed to setup guest
 * DNS: …". NULL with @e set.
 */
struct job *dns_set(struct loop *loop, char *const *lines, size_t count, job_done_fn done, void *data,
		    struct error *e);
/* Unmounts it again, in a job. */
struct job *dns_unset(struct loop *loop, job_done_fn done, void *data, struct error *e);

#endif
