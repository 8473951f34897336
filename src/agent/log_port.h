/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_LOG_PORT_H
#define AGENT_LOG_PORT_H

/*
 * Logs for the host: every connection to the log port is a reader of the log, from the oldest record that is still kept
 * on. Any number of them, one after the other or at once. A reader that does not read loses the oldest records; it blocks
 * nobody.
 */

#include <stdint.h>

#include "agent/port.h"

/* NULL with @e set. Free it with port_free(); readers stay with the log. */
struct port *log_port_new(struct loop *loop, uint32_t number, struct error *e);
/* What is done with each connection; exported for a port_adopt() of tests. */
void log_port_accepted(int fd, const struct sockaddr *peer, void *data);

#endif
