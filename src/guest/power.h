/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_POWER_H
#define GUEST_POWER_H

/* The end of the guest, for an agent that is PID 1. */

#include <stdint.h>

enum power_action { POWER_OFF, POWER_REBOOT };

/*
 * Writes file systems out (in a child, for at most @sync_ms: one that hangs is not waited for) and then powers the
 * machine off or restarts it. Returns only when the kernel refuses: -errno. Does nothing (-EPERM) where the caller is not
 * PID 1 of the machine's first PID namespace, so that no test can end the machine that it runs on.
 */
int power_end(enum power_action action, uint64_t sync_ms);

#endif
