/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TTRPC_DIAL_H
#define TTRPC_DIAL_H

/* Connecting to an address, handshake of hybrid vsock included. Internal to the room. */

#include "base/error.h"

/* Blocks for at most @timeout_ms (negative: for ever). A connected, non-blocking stream socket, or -errno
 * with @e set. */
int dial(const char *address, int timeout_ms, struct error *e);

#endif
