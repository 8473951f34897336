/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_NOTIFY_H
#define AGENT_NOTIFY_H

/*
 * Tells systemd what state the service is in (sd_notify(3)'s protocol, which is one datagram). Does nothing where
 * $NOTIFY_SOCKET is not set, and never fails.
 */

/* @state: "READY=1", "STOPPING=1", … */
void notify_systemd(const char *state);

#endif
