/* SPDX-License-Identifier: Apache-2.0 */

/* See version.h. AGENT_COMMIT comes from the build. */

#include "agent/version.h"

#include "base/fd.h"

#ifndef AGENT_COMMIT
#define AGENT_COMMIT ""
#endif

const char *agent_commit(void)
{
	return AGENT_COMMIT[0] ? AGENT_VERSION "-" AGENT_COMMIT : AGENT_VERSION;
}

const char *const *agent_features(size_t *count)
{
	static const char *const features[] = {"seccomp"};
	*count = array_length(features);
	return features;
}
