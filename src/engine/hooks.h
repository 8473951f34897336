/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_HOOKS_H
#define ENGINE_HOOKS_H

/*
 * Hooks: programs that run at a point of the container's life, with its state as JSON on stdin.
 *
 * A hook gets its own environment (where it gives none, what the caller says), `args` (or its path where absent) as argv, the state on stdin and then end of
 * file, and is killed with its process group at its timeout. Its output is collected, bounded, and logged; a failure is an
 * error that names kind, path, exit status and the end of what it said. It inherits no descriptors of ours.
 *
 * In the parent a list runs as one job, so the loop goes on. In the child, which has nothing else to do, it blocks.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "engine/oci_state.h"
#include "proto/oci.pb-c.h"

struct hooks_params {
	const char *kind; /* "createRuntime": for errors and the log */
	Grpc__Hook *const *hooks;
	size_t count;
	const char *state;	     /* JSON */
	const char *cwd;	     /* NULL: the caller's */
	char *const *environment;    /* of hooks that give none; NULL: empty */
	uint64_t default_timeout_ms; /* for hooks that give none; 0: no limit */
	bool keep_going; /* a failure is logged as a warning and the next one runs; never an error (poststop) */
};

/* Blocks. Allocates. 0, or -errno with @e set (UNKNOWN exit statuses: INTERNAL; -ETIMEDOUT: DEADLINE_EXCEEDED). */
int hooks_run_blocking(const struct hooks_params *params, struct error *e);

struct hook_run;
typedef void (*hooks_done)(int r, const struct error *e, void *data);
/*
 * Starts the list; @done is called once from the loop, never before this returns. @params and what it points to must stay
 * only until this returns. An empty list is allowed (and costs no process). NULL with @e set: could not start, @done is not
 * called. The object ends with its call of @done.
 */
struct hook_run *hooks_start(struct loop *loop, const struct hooks_params *params, hooks_done done,
			     void *data, struct error *e);
/* Kills what runs; @done is not called. Takes NULL. */
void hooks_cancel(struct hook_run *run);

#endif
