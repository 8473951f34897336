/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CONSOLE_H
#define AGENT_CONSOLE_H

/*
 * The debug console: a shell in the guest for whoever reaches its vsock port, or on the serial console.
 *
 * vsock: each connection is a session with a pseudo-terminal and a shell of its own, any number at once; bytes both ways, no
 * protocol, no banner. When the client shuts its writing side down, the shell gets an end-of-file and its output is
 * still delivered; when the client is gone, the terminal hangs up, and who survives that is killed a little later. When the
 * shell ends, what it wrote is delivered and the connection is closed.
 *
 * Serial: one shell on /dev/console, started again when it ends.
 *
 * All sessions end with the console.
 */

#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/loop.h"

struct console;

/* The first that exists is the shell. NULL-terminated. */
extern const char *const console_shells[];

/* @number 0: the serial console. NULL with @e set ("no shell found to launch debug console", or the port's error). */
struct console *console_new(struct loop *loop, uint32_t number, const char *const *shells, struct error *e);
/* Serves connections of a socket that listens already (taken), for tests. */
struct console *console_adopt(struct loop *loop, int listener, const char *const *shells, struct error *e);
/* Takes NULL. Kills all shells. */
void console_free(struct console *console);

#endif
