/* SPDX-License-Identifier: Apache-2.0 */

/* Files that the host sends, and volumes. They may come before CreateSandbox. */

#include "agent/rpc.h"
#include "agent/sandbox.h"
#include "agent/work.h"
#include "base/fd.h"
#include "guest/copy.h"
#include "guest/volume.h"
#include "proto/agent.pb-c.h"

static void copy(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__CopyFileRequest *request = data;
	const struct copy_request what = {
		.path = request->path,
		.file_size = request->file_size,
		.mode = request->file_mode,
		.dir_mode = request->dir_mode,
		.uid = request->uid,
		.gid = request->gid,
		.offset = request->offset,
		.data = request->data.data,
		.length = request->data.len,
	};
	struct error e = ERROR_INIT;
	struct work *work = work_new(sandbox, call);

	if (work && copy_start(sandbox->loop, "/", &what, work_done, work, &e) < 0)
		work_refused(work, &e);
}

static void fill(Grpc__VolumeUsage *usage, const struct volume_usage *found, Grpc__VolumeUsage__Unit unit)
{
	grpc__volume_usage__init(usage);
	usage->available = found->available;
	usage->total = found->total;
	usage->used = found->used;
	usage->unit = unit;
}

static void looked(int r, const struct volume_stats *stats, const struct error *e, void *data)
{
	struct work *work = data;
	Grpc__VolumeStatsResponse answer = GRPC__VOLUME_STATS_RESPONSE__INIT;
	Grpc__VolumeCondition condition = GRPC__VOLUME_CONDITION__INIT;
	Grpc__VolumeUsage bytes, inodes, *usage[] = {&bytes, &inodes};

	if (r < 0) {
		work_done(r, e, work);
		return;
	}
	fill(&bytes, &stats->bytes, GRPC__VOLUME_USAGE__UNIT__BYTES);
	fill(&inodes, &stats->inodes, GRPC__VOLUME_USAGE__UNIT__INODES);
	condition.message = (char *)"OK";
	answer.usage = usage;
	answer.n_usage = array_length(usage);
	answer.volume_condition = &condition;
	work_respond(work, &answer);
}

static void get_volume_stats(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__VolumeStatsRequest *request = data;
	struct error e = ERROR_INIT;
	struct work *work = work_new(sandbox, call);

	if (work && volume_look(sandbox->loop, request->volume_guest_path, looked, work, &e) < 0)
		work_refused(work, &e);
}

/* Nor does the reference's agent: the host grows a volume by itself. */
static void resize_volume(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	(void)sandbox, (void)data;
	ttrpc_call_fail_text(call, STATUS_UNIMPLEMENTED, "resize_volume is not implemented in kata-agent");
}

static const struct rpc_method methods[] = {
	{"CopyFile", &grpc__copy_file_request__descriptor, copy, ADMIT_WORK},
	{"GetVolumeStats", &grpc__volume_stats_request__descriptor, get_volume_stats, ADMIT_LOOKING},
	{"ResizeVolume", &grpc__resize_volume_request__descriptor, resize_volume},
};

const struct rpc_group rpc_file_group = {"grpc.AgentService", methods, array_length(methods)};
