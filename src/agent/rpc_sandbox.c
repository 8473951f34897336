/* SPDX-License-Identifier: Apache-2.0 */

/* The sandbox as a whole: its beginning, its end (sandbox.c) and its events. */

#include "agent/oom.h"
#include "agent/rpc.h"
#include "agent/sandbox.h"
#include "base/fd.h"
#include "base/log.h"
#include "proto/agent.pb-c.h"

static void create_sandbox(struct sandbox *sandbox, struct ttrpc_call *call, const void *request)
{
	sandbox_create(sandbox, call, request);
}

static void destroy_sandbox(struct sandbox *sandbox, struct ttrpc_call *call, const void *request)
{
	(void)request;
	log_info("sandbox", "the host asks for the end");
	sandbox_destroy(sandbox, call);
}

static void get_oom_event(struct sandbox *sandbox, struct ttrpc_call *call, const void *request)
{
	(void)request;
	oom_wait(sandbox->oom, call);
}

static const struct rpc_method methods[] = {
	{"CreateSandbox", &grpc__create_sandbox_request__descriptor, create_sandbox},
	{"DestroySandbox", &grpc__destroy_sandbox_request__descriptor, destroy_sandbox},
	{"GetOOMEvent", &grpc__get_oomevent_request__descriptor, get_oom_event},
};

const struct rpc_group rpc_sandbox_group = {"grpc.AgentService", methods, array_length(methods)};
