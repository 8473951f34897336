/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_TERMINAL_H
#define ENGINE_TERMINAL_H

/*
 * The pseudo-terminal of a process: from the container's own devpts, so that ttyname(3) works inside and /dev/pts shows
 * it; from the guest's where the container has none. What is opened inside a container is looked at before it is opened
 * for use: it must be the multiplexer of a devpts.
 */

#include <sys/types.h>

#include "base/error.h"
#include "proto/oci.pb-c.h"

struct terminal {
	int master, slave;
};

/*
 * [child] @root: the container's root; @proc: procfs of the engine. Owner @uid; @size may be NULL. Both descriptors are the
 * caller's. 0 or -errno.
 */
int terminal_open(struct terminal *terminal, int root, int proc, uid_t uid, const Grpc__Box *size,
		  struct error *e);
/* What is written to the terminal is read from its master as it is, without a carriage return before each newline. */
int terminal_plain_newlines(int slave, struct error *e);
/* [child, after setsid] @slave becomes the controlling terminal and 0, 1, 2. 0 or -errno. */
int terminal_attach(int slave, struct error *e);

#endif
