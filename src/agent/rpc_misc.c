/* SPDX-License-Identifier: Apache-2.0 */

/* What the agent tells of itself and of the guest. */

#include <string.h>

#include "agent/diagnostics.h"
#include "agent/rpc.h"
#include "agent/sandbox.h"
#include "agent/version.h"
#include "agent/work.h"
#include "base/fd.h"
#include "guest/cpu_memory.h"
#include "guest/metrics.h"
#include "proto/agent.pb-c.h"

static void get_diagnostic_data(struct sandbox *sandbox, struct ttrpc_call *call, const void *request)
{
	diagnostics_get(sandbox, call, request);
}

/* How a cgroup path in systemd's form would be served here: the guest's choice, whatever the host uses. */
static const char *cgroup_feature(const struct sandbox *sandbox)
{
	bool pid1 = sandbox->options.pid1;
	enum cgroup_driver driver =
		cgroup_choose(pid1, "a:b:c", !pid1 && cgroup_systemd_running(), sandbox->options.pin, NULL);
	return driver == CGROUP_SYSTEMD ? "cgroup-driver:systemd" : "cgroup-driver:cgroupfs";
}

static int describe_memory(const Grpc__GuestDetailsRequest *request, Grpc__GuestDetailsResponse *answer,
			   struct error *e)
{
	bool probe = false;
	if (request->mem_block_size && memory_block_size("/", &answer->mem_block_size_bytes, e) < 0)
		return error_result(e);
	if (request->mem_hotplug_probe && memory_probe_supported("/", &probe, e) < 0)
		return error_result(e);
	answer->support_mem_hotplug_probe = probe;
	return 0;
}

static void get_guest_details(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	enum { FEATURES_MAX = 16 };
	const char *features[FEATURES_MAX];
	size_t n_features = 0, count;
	struct error e = ERROR_INIT;
	Grpc__GuestDetailsResponse answer = GRPC__GUEST_DETAILS_RESPONSE__INIT;
	Grpc__AgentDetails details = GRPC__AGENT_DETAILS__INIT;

	if (describe_memory(data, &answer, &e) < 0) {
		ttrpc_call_fail(call, &e);
		return;
	}
	/* Sorted: "agent-…" may come before it one day. */
	const char *const *built = agent_features(&count);
	const char *cgroup = cgroup_feature(sandbox);
	bool placed = false;
	for (size_t i = 0; i < count && n_features < FEATURES_MAX - 1; i++) {
		if (!placed && strcmp(cgroup, built[i]) < 0) {
			features[n_features++] = cgroup;
			placed = true;
		}
		features[n_features++] = built[i];
	}
	if (!placed)
		features[n_features++] = cgroup;
	details.version = (char *)AGENT_VERSION;
	details.init_daemon = sandbox->options.pid1;
	details.supports_seccomp = true;
	details.storage_handlers = (char **)storage_handlers(&details.n_storage_handlers);
	details.extra_features = (char **)features;
	details.n_extra_features = n_features;
	answer.agent_details = &details;
	rpc_respond(call, &answer);
}

static void metrics_ready(int r, const char *text, const struct error *e, void *data)
{
	Grpc__Metrics answer = GRPC__METRICS__INIT;
	struct error failure = ERROR_INIT;
	if (r < 0) {
		/* Never NOT_FOUND: a host that reads that asks no more. */
		error_set(&failure, STATUS_INTERNAL, -r, "%s", e->text);
		work_done(r, &failure, data);
		return;
	}
	answer.metrics = (char *)text;
	work_respond(data, &answer);
}

static void get_metrics(struct sandbox *sandbox, struct ttrpc_call *call, const void *request)
{
	struct error e = ERROR_INIT;
	struct work *work = work_new(sandbox, call);
	(void)request;
	if (work && metrics_collect(sandbox->loop, ++sandbox->scrapes, metrics_ready, work, &e) < 0)
		work_refused(work, &e);
}

/* As of an agent that was built without: hosts know these answers. */
static void set_policy(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	(void)sandbox, (void)data;
	ttrpc_call_fail_text(call, STATUS_NOT_FOUND, "/grpc.AgentService/SetPolicy is not supported");
}

static void set_mem_agent(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	(void)sandbox, (void)data;
	ttrpc_call_fail_text(call, STATUS_INTERNAL, "mem-agent is disabled");
}

static const struct rpc_method methods[] = {
	{"GetDiagnosticData", &grpc__get_diagnostic_data_request__descriptor, get_diagnostic_data,
	 ADMIT_LOOKING},
	{"GetGuestDetails", &grpc__guest_details_request__descriptor, get_guest_details},
	{"GetMetrics", &grpc__get_metrics_request__descriptor, get_metrics, ADMIT_LOOKING},
	{"MemAgentCompactSet", &grpc__mem_agent_compact_config__descriptor, set_mem_agent},
	{"MemAgentMemcgSet", &grpc__mem_agent_memcg_config__descriptor, set_mem_agent},
	{"SetPolicy", &grpc__set_policy_request__descriptor, set_policy},
};

const struct rpc_group rpc_misc_group = {"grpc.AgentService", methods, array_length(methods)};
