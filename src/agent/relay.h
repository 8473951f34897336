/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_RELAY_H
#define AGENT_RELAY_H

/*
 * Pass-through stdio at work: what a connection brings is written to a process's input, and what the process writes is
 * carried to connections. It stands on the same input and streams that calls use, so order, ends, grace after an exit
 * and a terminal's end-of-file are theirs.
 *
 * A connection that takes no more (its host is gone) does not stop the process: what it writes is then read and dropped.
 */

#include <stdbool.h>
#include <stdint.h>

#include "agent/input.h"
#include "agent/stream.h"
#include "base/loop.h"

struct relay;

struct relay_ends {
	struct input *input;	   /* may be NULL, as the following; all borrowed, and outliving the relay */
	struct stream *outputs[2]; /* stdout (or the terminal), stderr */
};

/*
 * @fds: connections for stdin, stdout, stderr, each -1 where there is none. They are taken. @drained is called once, never
 * from here, when all outputs that have a connection have ended and were carried. NULL when memory is out.
 */
struct relay *relay_new(struct loop *loop, const int fds[3], const struct relay_ends *ends,
			void (*drained)(void *data), void *data);
/* Takes NULL. Closes the connections. */
void relay_free(struct relay *relay);
/* True when `drained` was or is about to be called. */
bool relay_drained(const struct relay *relay);
/* Bytes of output that connections took, or that were dropped for want of one: grows as long as the relay gets on. */
uint64_t relay_carried(const struct relay *relay);

#endif
