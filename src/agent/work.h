/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_WORK_H
#define AGENT_WORK_H

/*
 * A call whose work goes on in a job of src/guest. It lives apart from the call, which a lost connection takes away: the
 * job is not stopped then, since what it does is done for the guest, not for a connection. The answer goes nowhere.
 */

#include <stdbool.h>

#include "base/error.h"
#include "ttrpc/ttrpc.h"

struct sandbox;

struct work {
	struct sandbox *sandbox;
	struct ttrpc_call *call; /* NULL: the caller is gone */
	bool timed_out;
	bool cpus; /* the handler's own */
};

/* NULL: the call was failed. */
struct work *work_new(struct sandbox *sandbox, struct ttrpc_call *call);
/* The work is over (@data is the work): the call is answered with an empty message, or with @e where @r is negative. */
void work_done(int r, const struct error *e, void *data);
/* It could not be started. */
void work_refused(struct work *work, const struct error *e);
/* It is over, and @message answers the call. */
void work_respond(struct work *work, const void *message);

#endif
