/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_OCI_STATE_H
#define ENGINE_OCI_STATE_H

/* The runtime-spec's `state` object, as JSON. */

#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
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

#endif
