/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_INPUT_H
#define AGENT_INPUT_H

/*
 * What a process reads: the write end of its stdin's pipe, or a pseudo-terminal's master.
 *
 * Writes are served one after another in the order of their coming, and each is over only when all its bytes were
 * accepted. Closing comes after the writes that were there before it. A pipe is closed. A terminal is kept, because it
 * is what the process writes to: there the end of input is the terminal's own VEOF character, given when the terminal
 * takes it as such (canonical mode), and given twice where the first would only push a line that was begun.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "base/loop.h"

struct input;

/* One write. Embedded in its owner, who keeps it and its bytes until `done`. */
struct input_write {
	struct list link;
	struct input *input;
	const uint8_t *data;
	size_t length;
	size_t offset; /* bytes accepted */
	/* Called once, perhaps from within input_write(): @e is NULL when all was accepted. */
	void (*done)(struct input_write *write, const struct error *e);
};

/* @fd, non-blocking, is taken unless it is a @terminal's master, which is borrowed. NULL when memory is out. */
struct input *input_new(struct loop *loop, int fd, bool terminal);
/* Takes NULL. Writes that wait fail. */
void input_free(struct input *input);
/* After a close: INTERNAL "Cannot get writer". Nobody reads any more: INTERNAL "write: EPIPE: Broken pipe". */
void input_write(struct input *input, struct input_write *write);
/* Not wanted any more: what was accepted stays, `done` is not called. */
void input_forget(struct input_write *write);
/* Twice is once. */
void input_close(struct input *input);
/* The process has exited: where nobody else reads, the descriptor is given up. */
void input_exited(struct input *input);

#endif
