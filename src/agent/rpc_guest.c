/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls about the guest as a whole: CPUs and memory that were plugged in, its clock, its random numbers, its ephemeral
 * mounts. They may come before CreateSandbox.
 * What takes time runs in a job of src/guest (work.h).
 */

#include "agent/entry.h"
#include "agent/rpc.h"
#include "agent/sandbox.h"
#include "agent/work.h"
#include "base/fd.h"
#include "base/log.h"
#include "guest/clock.h"
#include "guest/cpu_memory.h"
#include "guest/entropy.h"
#include "guest/storage.h"

/* --- CPUs and memory ------------------------------------------------------------------------------------------ */

/* Every container that has a cpuset of its own sees the new CPUs (cgroup v1 keeps the old list otherwise). */
static int cpusets_refresh(struct sandbox *sandbox, struct error *e)
{
	struct entry *entry;

	list_for_each_entry (entry, &sandbox->entries, link) {
		struct cgroup *cg;
		int r;

		if (!entry_visible(entry) || !entry->container)
			continue;
		cg = container_cgroup(entry->container);
		r = cg ? cgroup_refresh_cpuset(cg, e) : 0;
		if (r < 0)
			return error_prefix(e, "cpuset of container %s", entry->id);
	}
	return 0;
}

static void online_finished(int r, const struct error *e, void *data)
{
	struct work *work = data;
	struct error refresh = ERROR_INIT;

	if (r == 0 && work->cpus) {
		r = cpusets_refresh(work->sandbox, &refresh);
		e = &refresh;
	}
	work_done(r, e, work);
}

static void online_cpu_mem(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__OnlineCPUMemRequest *request = data;
	const struct online_request online = {.cpus = request->nb_cpus, .memory = !request->cpu_only};
	struct error e = ERROR_INIT;
	struct work *work = work_new(sandbox, call);

	if (!work)
		return;
	work->cpus = request->nb_cpus > 0;
	if (!online_start(sandbox->loop, "/", &online, online_finished, work, &e))
		work_refused(work, &e);
}

static void mem_hotplug_by_probe(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__MemHotplugByProbeRequest *request = data;
	struct error e = ERROR_INIT;
	struct work *work = work_new(sandbox, call);

	if (work && memory_probe_start(sandbox->loop, "/", request->memhotplugprobeaddr,
				       request->n_memhotplugprobeaddr, work_done, work, &e) < 0)
		work_refused(work, &e);
}

/* --- random numbers, clock ------------------------------------------------------------------------------------ */

static void reseed_random_dev(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__ReseedRandomDevRequest *request = data;
	struct error e = ERROR_INIT;

	if (entropy_reseed(request->data.data, request->data.len, &e) < 0)
		ttrpc_call_fail(call, &e);
	else
		rpc_respond_empty(call);
}

static void set_guest_date_time(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__SetGuestDateTimeRequest *request = data;
	struct error e = ERROR_INIT;

	if (clock_set(request->sec, request->usec, &e) < 0)
		ttrpc_call_fail(call, &e);
	else
		rpc_respond_empty(call);
}

/* --- mounts --------------------------------------------------------------------------------------------------- */

static void update_ephemeral_mounts(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__UpdateEphemeralMountsRequest *request = data;
	struct error e = ERROR_INIT;
	struct work *work = work_new(sandbox, call);

	if (work && storages_update_ephemeral(sandbox->storages, request->storages, request->n_storages,
					      work_done, work, &e) < 0)
		work_refused(work, &e);
}

static void remove_stale_virtiofs_share_mounts(struct sandbox *sandbox, struct ttrpc_call *call,
					       const void *data)
{
	struct error e = ERROR_INIT;
	struct work *work = work_new(sandbox, call);

	if (work && storages_touch_shared(sandbox->storages, work_done, work, &e) < 0)
		work_refused(work, &e);
}

static const struct rpc_method methods[] = {
	{"OnlineCPUMem", &grpc__online_cpumem_request__descriptor, online_cpu_mem, ADMIT_WORK},
	{"MemHotplugByProbe", &grpc__mem_hotplug_by_probe_request__descriptor, mem_hotplug_by_probe,
	 ADMIT_WORK},
	{"ReseedRandomDev", &grpc__reseed_random_dev_request__descriptor, reseed_random_dev},
	{"SetGuestDateTime", &grpc__set_guest_date_time_request__descriptor, set_guest_date_time},
	{"UpdateEphemeralMounts", &grpc__update_ephemeral_mounts_request__descriptor, update_ephemeral_mounts,
	 ADMIT_WORK},
	{"RemoveStaleVirtiofsShareMounts", &grpc__remove_stale_virtiofs_share_mounts_request__descriptor,
	 remove_stale_virtiofs_share_mounts, ADMIT_LOOKING},
};

const struct rpc_group rpc_guest_group = {
	.service = "grpc.AgentService",
	.methods = methods,
	.count = array_length(methods),
};
