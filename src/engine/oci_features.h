/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_OCI_FEATURES_H
#define ENGINE_OCI_FEATURES_H

/* What the engine can do, as the runtime-spec's `features` object (features-linux.md). */

#include <stdbool.h>

#include "base/buf.h"

struct features_context {
	const char *version; /* of the program, for annotations */
	bool cgroup_v1, cgroup_v2, systemd;
};

/* Appends the object, indented, without a newline at the end. 0 or -ENOMEM. */
int features_json(const struct features_context *context, struct buf *out);

#endif
