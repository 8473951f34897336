/* SPDX-License-Identifier: Apache-2.0 */

/* See work.h. */

#include "agent/work.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/rpc.h"

static void ended(struct ttrpc_call *call, enum ttrpc_end end, void *data)
{
	struct work *work = data;

	(void)call;
	if (end == TTRPC_END_DISCONNECT)
		work->call = NULL;
	else
		work->timed_out = true;
}

struct work *work_new(struct sandbox *sandbox, struct ttrpc_call *call)
{
	struct work *work = calloc(1, sizeof(*work));

	if (!work) {
		ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory for the call");
		return NULL;
	}
	work->sandbox = sandbox;
	work->call = call;
	ttrpc_call_on_end(call, ended, work);
	return work;
}

static void answer(struct work *work, int r, const struct error *e, const void *message)
{
	if (work->call && work->timed_out)
		ttrpc_call_fail_timeout(work->call);
	else if (work->call && r < 0)
		ttrpc_call_fail(work->call, e);
	else if (work->call && message)
		rpc_respond(work->call, message);
	else if (work->call)
		rpc_respond_empty(work->call);
	free(work);
}

void work_done(int r, const struct error *e, void *data)
{
	answer(data, r, e, NULL);
}

void work_refused(struct work *work, const struct error *e)
{
	answer(work, -EIO, e, NULL);
}

void work_respond(struct work *work, const void *message)
{
	answer(work, 0, NULL, message);
}
