/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_HANDSHAKE_H
#define ENGINE_HANDSHAKE_H

/*
 * The typed messages between the engine and a process that is being made.
 *
 * They travel over one SOCK_SEQPACKET pair, one message a packet: a type, a number, and for an error what struct error
 * holds. A descriptor may ride along. The receiver believes nothing: an unknown type, a wrong length or a text that is
 * not UTF-8 is -EPROTO, whoever sent it (the child's side runs before any foreign code, but kata-oci's gate is a socket
 * with a name).
 *
 *     child → engine   PID        from a middle process: the pid, with the pidfd                     (once)
 *                      RUNTIME    mounts are done; prestart and createRuntime hooks are due          (may be left out)
 *                      TERMINAL   the pty's master rides along                                       (may be left out)
 *                      READY      at the gate; for an exec: about to execute
 *                      HOOKED     after START: its startContainer hooks have passed                  (only where there are some)
 *                      ERROR      it failed and is gone
 *     engine → child   GO         it is in its cgroup and has its id mappings; and again as the answer to RUNTIME
 *                      START      the gate opens
 *
 * End of file after START (for an exec: after READY) means that execve(2) succeeded: the socket is close-on-exec.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum handshake_type {
	HANDSHAKE_ERROR = 1,
	HANDSHAKE_PID,
	HANDSHAKE_RUNTIME,
	HANDSHAKE_TERMINAL,
	HANDSHAKE_READY,
	HANDSHAKE_GO,
	HANDSHAKE_START,
	HANDSHAKE_HOOKED,
};

struct handshake_message {
	enum handshake_type type;
	int32_t value;	    /* PID: the pid; TERMINAL: the pty's index */
	int fd;		    /* the receiver's; -1 */
	struct error error; /* ERROR */
};

enum { HANDSHAKE_MAX = 16 + ERROR_TEXT_MAX };

/* Bytes of the message written to @out (HANDSHAKE_MAX bytes). */
size_t handshake_encode(const struct handshake_message *message, uint8_t *out);
/* 0 or -EPROTO. Leaves @message->fd alone. */
int handshake_decode(const uint8_t *data, size_t length, struct handshake_message *message);

/* A connected pair, close-on-exec, @pair[0] (ours) non-blocking. 0 or -errno. */
int handshake_pair(int pair[2]);
/* 0 or -errno. Never raises SIGPIPE. @fd: rides along, stays the caller's; -1. */
int handshake_send(int socket, enum handshake_type type, int32_t value, int fd);
int handshake_send_error(int socket, const struct error *e);
/* 1 with a message, 0 at end of file, -EAGAIN, -EPROTO or another -errno. A descriptor that nobody expects is closed. */
int handshake_receive(int socket, struct handshake_message *message);

#endif
