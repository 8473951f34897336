/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_PORT_H
#define AGENT_PORT_H

/*
 * A listening stream socket on the loop: the log port, the debug console, the pass-through streams. Accepts for ever; when
 * descriptors or memory are out it pauses instead of spinning.
 */

#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/loop.h"

struct port;

/* @fd is the callee's. @peer is the address of the other end (of AF_VSOCK for a vsock port). */
typedef void (*port_accepted)(int fd, const struct sockaddr *peer, void *data);

/* Listens on vsock port @number of any CID. NULL with @e set. */
struct port *port_new(struct loop *loop, uint32_t number, port_accepted accepted, void *data,
		      struct error *e);
/* The same for a socket that listens already; it is taken. */
struct port *port_adopt(struct loop *loop, int listener, port_accepted accepted, void *data, struct error *e);
/* Takes NULL. What was accepted lives on. */
void port_free(struct port *port);

#endif
