/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_CLOCK_H
#define GUEST_CLOCK_H

/* The guest's wall clock. No timer of the agent depends on it. */

#include <stdint.h>

#include "base/error.h"

/* SetGuestDateTime. 0 or -errno with @e set. */
int clock_set(int64_t seconds, int64_t microseconds, struct error *e);

/*
 * Sets the wall clock to the host's, where the hypervisor lends its clock as a PTP device (KVM's, Hyper-V's): for after a
 * snapshot was restored, when nobody says what time it is. Differences below @tolerance_ms stay. *@stepped_ms (may be
 * NULL) is what it was moved by. 0, or -ENODEV without such a device; @e is set.
 */
int clock_resync(uint64_t tolerance_ms, int64_t *stepped_ms, struct error *e);

#endif
