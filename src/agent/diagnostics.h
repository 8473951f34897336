/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_DIAGNOSTICS_H
#define AGENT_DIAGNOSTICS_H

/*
 * GetDiagnosticData: what can be told of a container beyond its streams.
 *
 * `termination_log` is the message that a Kubernetes container leaves in a file before it ends (reference 03, 8.6).
 * `containers` is this agent's own: one JSON object a line for each container, for kata-agent-ctl's list.
 */

#include "proto/agent.pb-c.h"
#include "ttrpc/ttrpc.h"

struct sandbox;

/* Answers @call, now or later. */
void diagnostics_get(struct sandbox *sandbox, struct ttrpc_call *call,
		     const Grpc__GetDiagnosticDataRequest *request);

#endif
