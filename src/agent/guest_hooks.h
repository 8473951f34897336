/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_GUEST_HOOKS_H
#define AGENT_GUEST_HOOKS_H

/*
 * Hooks that come from the guest's image rather than from a spec: every executable regular file (no links) in DIR/prestart,
 * DIR/poststart and DIR/poststop is run at that point of every container's life, in the order of the names (reference
 * 02, 10.3). They are added behind those that a spec has, kind by kind.
 */

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/job.h"
#include "base/loop.h"
#include "proto/oci.pb-c.h"

/* The paths found, each NUL-terminated. Zeroed: none. */
struct guest_hooks {
	struct buf paths;
};

/* Looks into @directory in a job whose result is what guest_hooks_set() takes. NULL with @e set. */
struct job *guest_hooks_scan(struct loop *loop, const char *directory, job_done_fn done, void *data,
			     struct error *e);
/* Takes @found's bytes over; only well-formed paths are kept. */
void guest_hooks_set(struct guest_hooks *hooks, struct buf *found);
void guest_hooks_deinit(struct guest_hooks *hooks);
/* Adds them to @spec; what is new is in @arena. 0 or -ENOMEM. */
int guest_hooks_append(const struct guest_hooks *hooks, Grpc__Spec *spec, struct arena *arena);

#endif
