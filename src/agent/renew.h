/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_RENEW_H
#define AGENT_RENEW_H

/*
 * What a guest must get anew because it may be a copy of a frozen one: random numbers and the time (reference 10, items 4
 * and 6). A host that freezes a template does so before CreateSandbox, and need not say afterwards that it did; so this is
 * part of each CreateSandbox, where it is switched on (agent.renew, and always as PID 1).
 *
 * The random number generator is stirred with the request, which differs between copies; gets the hypervisor's random
 * bytes where there is such a device; and is made to forget what it has drawn ahead. The clock is set by the hypervisor's
 * clock where that is lent, and it differs by more than a second. All of it is done in a job, since devices may hang, and
 * nothing of it can fail a sandbox.
 */

#include <stddef.h>

#include "base/error.h"
#include "base/job.h"
#include "base/loop.h"

/* @salt: bytes that no other copy has. @done is the job's: its error says what could not be renewed. NULL with @e set. */
struct job *renew_start(struct loop *loop, const void *salt, size_t length, job_done_fn done, void *data,
			struct error *e);

#endif
