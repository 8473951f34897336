/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_HOOKS_H
#define ENGINE_HOOKS_H

/*
 * Hooks: programs that run at a point of the container's life, with its state as JSON on stdin.
 *
 * A hook gets exactly its own environment, `args` (or its path where absent) as argv, the state on stdin and then end of
 * file, and is killed with its process group at its timeout. Its output is collected, bounded, and logged; a failure is an
 * error that names kind, path, exit status and the end of what it said. It inherits no descriptors of ours.
 *
 * In the parent a list runs as one job, so the loop goes on. In the child, which has nothing else to do, it blocks.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/loop.h"
#include "proto/oci.pb-c.h"

/* What hooks, `kata-oci state` and seccomp agents are told. Strings may be NULL (left out). */
struct oci_state {
	const char *version; /* ociVersion; NULL: what we implement */
	const char *id;
	const char *status; /* "creating", "created", "running", "stopped" */
	pid_t pid;	    /* 0: left out */
	const char *bundle;
	Grpc__Spec__AnnotationsEntry *const *annotations;
	size_t n_annotations;
};
/* Appends the object, without a newline. 0 or -ENOMEM. */
int oci_state_json(const struct oci_state *state, struct buf *out);
/* A quoted JSON string (escaped, invalid UTF-8 replaced). 0 or -ENOMEM. */
int json_append_quoted(struct buf *out, const char *text);

/* The version of the runtime-spec that the engine implements. */
#define OCI_RUNTIME_SPEC_VERSION "1.3.0"

struct hooks_params {
	const char *kind; /* "createRuntime": for errors and the log */
	Grpc__Hook *const *hooks;
	size_t count;
	const char *state;	     /* JSON */
	const char *cwd;	     /* NULL: the caller's */
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
