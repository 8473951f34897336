/* SPDX-License-Identifier: Apache-2.0 */

/* grpc.Health. Answers whatever else is going on; hosts give a sandbox up at the first failure. */

#include "agent/rpc.h"
#include "agent/version.h"
#include "base/fd.h"
#include "proto/health.pb-c.h"

static void check(struct sandbox *sandbox, struct ttrpc_call *call, const void *request)
{
	Grpc__HealthCheckResponse answer = GRPC__HEALTH_CHECK_RESPONSE__INIT;
	(void)sandbox, (void)request;
	answer.status = GRPC__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	rpc_respond(call, &answer);
}

static void version(struct sandbox *sandbox, struct ttrpc_call *call, const void *request)
{
	Grpc__VersionCheckResponse answer = GRPC__VERSION_CHECK_RESPONSE__INIT;
	(void)sandbox, (void)request;
	answer.grpc_version = (char *)API_VERSION;
	answer.agent_version = (char *)AGENT_VERSION;
	rpc_respond(call, &answer);
}

static const struct rpc_method methods[] = {
	{"Check", &grpc__check_request__descriptor, check},
	{"Version", &grpc__check_request__descriptor, version},
};

const struct rpc_group rpc_health_group = {"grpc.Health", methods, array_length(methods)};
