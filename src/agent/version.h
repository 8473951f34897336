/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_VERSION_H
#define AGENT_VERSION_H

/* What the agent says it is. Hosts compare it with their own release, so it is the release whose API is spoken. */

#include <stddef.h>

#define AGENT_VERSION "4.1.0"
#define API_VERSION "0.0.1"

/* AGENT_VERSION, followed by "-" and the commit where it is known. */
const char *agent_commit(void);
/* Features of the build, sorted. */
const char *const *agent_features(size_t *count);

#endif
