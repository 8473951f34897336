/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resources: what the wire says, as src/cgroup wants it.
 *
 * A number that is there keeps its presence; a host's wire (proto3) never sends zeros, so a zero and an
 * absent one must come to the same, which src/cgroup sees to. What no kernel could mean is refused here with
 * the property's name.
 */
#include "engine/resources.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"

static enum resources_devices device_mode = RESOURCES_DEVICES_AUTO;

void resources_set_devices(enum resources_devices mode)
{
	device_mode = mode;
}

static int invalid(struct error *e, const char *property, const char *what)
{
	return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "linux.resources.%s: %s", property, what);
}

static int no_memory(struct error *e)
{
	return error_errno(e, ENOMEM, "linux.resources");
}

#define I64(message, member)                                                                                 \
	(struct cgroup_i64)                                                                                  \
	{                                                                                                    \
		.set = (message)->has_##member, .value = (message)->member                                   \
	}
#define U64(message, member)                                                                                 \
	(struct cgroup_u64)                                                                                  \
	{                                                                                                    \
		.set = (message)->has_##member, .value = (message)->member                                   \
	}

static int convert_memory(const Grpc__LinuxMemory *in, struct cgroup_resources *out, struct error *e)
{
	if (!in)
		return 0;
	out->memory.limit = I64(in, limit);
	out->memory.reservation = I64(in, reservation);
	out->memory.swap = I64(in, swap);
	out->memory.kernel = I64(in, kernel);
	out->memory.kernel_tcp = I64(in, kerneltcp);
	out->memory.swappiness = U64(in, swappiness);
	out->memory.disable_oom_killer = in->has_disableoomkiller && in->disableoomkiller;
	out->memory.check_before_update = in->has_checkbeforeupdate && in->checkbeforeupdate;
	out->memory.use_hierarchy.set = in->has_usehierarchy;
	out->memory.use_hierarchy.value = in->usehierarchy;
	if (in->has_swappiness && in->swappiness > 200)
		return invalid(e, "memory.swappiness", "not in 0 … 200");
	return 0;
}

static int convert_cpu(const Grpc__LinuxCPU *in, struct cgroup_resources *out, struct error *e)
{
	if (!in)
		return 0;
	out->cpu.shares = U64(in, shares);
	out->cpu.quota = I64(in, quota);
	out->cpu.period = U64(in, period);
	out->cpu.burst = U64(in, burst);
	out->cpu.idle = I64(in, idle);
	out->cpu.realtime_runtime = I64(in, realtimeruntime);
	out->cpu.realtime_period = U64(in, realtimeperiod);
	out->cpu.cpus = in->cpus;
	out->cpu.mems = in->mems;
	if (in->has_idle && in->idle != 0 && in->idle != 1)
		return invalid(e, "cpu.idle", "neither 0 nor 1");
	return 0;
}

/* --- block I/O ------------------------------------------------------------------------------------------ */

static int check_weight(const char *property, bool set, uint32_t weight, struct error *e)
{
	return set && weight && (weight < 10 || weight > 1000) ? invalid(e, property, "not in 10 … 1000") : 0;
}

static int check_number(const char *property, int64_t major, int64_t minor, struct error *e)
{
	return major < 0 || minor < 0 || major > UINT32_MAX || minor > UINT32_MAX
		       ? invalid(e, property, "not the number of a device")
		       : 0;
}

static int convert_weights(const Grpc__LinuxBlockIO *in, struct arena *arena, struct cgroup_resources *out,
			   struct error *e)
{
	size_t n = in->n_weightdevice;
	struct cgroup_device_u64 *weights = arena_array(arena, n, sizeof(*weights));
	struct cgroup_device_u64 *leaves = arena_array(arena, n, sizeof(*leaves));

	if (!weights || !leaves)
		return no_memory(e);
	for (size_t i = 0; i < n; i++) {
		const Grpc__LinuxWeightDevice *d = in->weightdevice[i];

		if (check_number("blockIO.weightDevice", d->major, d->minor, e) < 0 ||
		    check_weight("blockIO.weightDevice.weight", d->has_weight, d->weight, e) < 0 ||
		    check_weight("blockIO.weightDevice.leafWeight", d->has_leafweight, d->leafweight, e) < 0)
			return -EINVAL;
		if (d->has_weight && d->weight)
			weights[out->io.n_weight_device++] =
				(struct cgroup_device_u64){d->major, d->minor, d->weight};
		if (d->has_leafweight && d->leafweight)
			leaves[out->io.n_leaf_weight_device++] =
				(struct cgroup_device_u64){d->major, d->minor, d->leafweight};
	}
	out->io.weight_device = weights;
	out->io.leaf_weight_device = leaves;
	return 0;
}

static int convert_rates(const char *property, Grpc__LinuxThrottleDevice *const *in, size_t n,
			 struct arena *arena, const struct cgroup_device_u64 **out, size_t *count,
			 struct error *e)
{
	struct cgroup_device_u64 *rates = arena_array(arena, n, sizeof(*rates));

	if (!rates)
		return no_memory(e);
	for (size_t i = 0; i < n; i++) {
		if (check_number(property, in[i]->major, in[i]->minor, e) < 0)
			return -EINVAL;
		rates[i] = (struct cgroup_device_u64){in[i]->major, in[i]->minor, in[i]->rate};
	}
	*out = rates;
	*count = n;
	return 0;
}

static int convert_io(const Grpc__LinuxBlockIO *in, struct arena *arena, struct cgroup_resources *out,
		      struct error *e)
{
	int r;

	if (!in)
		return 0;
	out->io.weight = U64(in, weight);
	out->io.leaf_weight = U64(in, leafweight);
	r = check_weight("blockIO.weight", in->has_weight, in->weight, e);
	if (r == 0)
		r = check_weight("blockIO.leafWeight", in->has_leafweight, in->leafweight, e);
	if (r == 0)
		r = convert_weights(in, arena, out, e);
	if (r == 0)
		r = convert_rates("blockIO.throttleReadBpsDevice", in->throttlereadbpsdevice,
				  in->n_throttlereadbpsdevice, arena, &out->io.read_bps, &out->io.n_read_bps,
				  e);
	if (r == 0)
		r = convert_rates("blockIO.throttleWriteBpsDevice", in->throttlewritebpsdevice,
				  in->n_throttlewritebpsdevice, arena, &out->io.write_bps,
				  &out->io.n_write_bps, e);
	if (r == 0)
		r = convert_rates("blockIO.throttleReadIOPSDevice", in->throttlereadiopsdevice,
				  in->n_throttlereadiopsdevice, arena, &out->io.read_iops,
				  &out->io.n_read_iops, e);
	if (r == 0)
		r = convert_rates("blockIO.throttleWriteIOPSDevice", in->throttlewriteiopsdevice,
				  in->n_throttlewriteiopsdevice, arena, &out->io.write_iops,
				  &out->io.n_write_iops, e);
	return r;
}

/* --- lists ---------------------------------------------------------------------------------------------- */

static int convert_hugepages(const Grpc__LinuxResources *in, struct arena *arena,
			     struct cgroup_resources *out, struct error *e)
{
	struct cgroup_named_u64 *limits = arena_array(arena, in->n_hugepagelimits, sizeof(*limits));

	if (!limits)
		return no_memory(e);
	for (size_t i = 0; i < in->n_hugepagelimits; i++) {
		if (str_is_empty(in->hugepagelimits[i]->pagesize))
			return invalid(e, "hugepageLimits", "without a page size");
		limits[i] = (struct cgroup_named_u64){in->hugepagelimits[i]->pagesize,
						      in->hugepagelimits[i]->limit};
	}
	out->hugepages = limits;
	out->n_hugepages = in->n_hugepagelimits;
	return 0;
}

static int convert_network(const Grpc__LinuxNetwork *in, struct arena *arena, struct cgroup_resources *out,
			   struct error *e)
{
	struct cgroup_named_u64 *priorities;

	if (!in)
		return 0;
	out->net_class = U64(in, classid);
	priorities = arena_array(arena, in->n_priorities, sizeof(*priorities));
	if (!priorities)
		return no_memory(e);
	for (size_t i = 0; i < in->n_priorities; i++) {
		if (str_is_empty(in->priorities[i]->name))
			return invalid(e, "network.priorities", "without the name of an interface");
		priorities[i] =
			(struct cgroup_named_u64){in->priorities[i]->name, in->priorities[i]->priority};
	}
	out->net_priorities = priorities;
	out->n_net_priorities = in->n_priorities;
	return 0;
}

static int convert_rdma(const Grpc__LinuxResources *in, struct arena *arena, struct cgroup_resources *out,
			struct error *e)
{
	struct cgroup_rdma *rdma = arena_array(arena, in->n_rdma, sizeof(*rdma));

	if (!rdma)
		return no_memory(e);
	for (size_t i = 0; i < in->n_rdma; i++) {
		const Grpc__LinuxRdma *limits = in->rdma[i]->value;

		if (str_is_empty(in->rdma[i]->key))
			return invalid(e, "rdma", "without the name of a device");
		rdma[i].device = in->rdma[i]->key;
		if (limits) {
			rdma[i].hca_handles = U64(limits, hcahandles);
			rdma[i].hca_objects = U64(limits, hcaobjects);
		}
	}
	out->rdma = rdma;
	out->n_rdma = in->n_rdma;
	return 0;
}

static int convert_unified(const Grpc__LinuxResources *in, struct arena *arena, struct cgroup_resources *out,
			   struct error *e)
{
	struct cgroup_text *unified = arena_array(arena, in->n_unified, sizeof(*unified));

	if (!unified)
		return no_memory(e);
	for (size_t i = 0; i < in->n_unified; i++) {
		if (str_is_empty(in->unified[i]->key) || strchr(in->unified[i]->key, '/'))
			return invalid(e, "unified", "a key is not the name of a cgroup file");
		unified[i] = (struct cgroup_text){in->unified[i]->key, str_or_empty(in->unified[i]->value)};
	}
	out->unified = unified;
	out->n_unified = in->n_unified;
	return 0;
}

/* --- devices -------------------------------------------------------------------------------------------- */

/* What every container may use, whatever its rules say. */
static const struct cgroup_device_rule default_rules[] = {
	{true, 'c', -1, -1, "m"}, {true, 'b', -1, -1, "m"},    {true, 'c', 1, 3, "rwm"},
	{true, 'c', 1, 5, "rwm"}, {true, 'c', 1, 7, "rwm"},    {true, 'c', 1, 8, "rwm"},
	{true, 'c', 1, 9, "rwm"}, {true, 'c', 5, 0, "rwm"},    {true, 'c', 5, 1, "rwm"},
	{true, 'c', 5, 2, "rwm"}, {true, 'c', 136, -1, "rwm"}, {true, 'c', 10, 200, "rwm"},
};

/* Letters other than r, w, m mean nothing to the kernel and are left out, as hosts expect. */
static void convert_access(const char *in, char out[4])
{
	static const char letters[] = "rwm";
	size_t n = 0;

	for (size_t i = 0; i < 3; i++)
		if (strchr(in, letters[i]))
			out[n++] = letters[i];
	out[n] = '\0';
}

/* 0, 1 for a rule that says nothing (a FIFO, no access at all), or -EINVAL. */
static int convert_rule(const Grpc__LinuxDeviceCgroup *in, struct cgroup_device_rule *out, struct error *e)
{
	const char *type = str_or_empty(in->type);

	/* Absent and negative are "any": the hosts' wire has no other way to say it. */
	*out = (struct cgroup_device_rule){
		.allow = in->has_allow && in->allow,
		.type = *type == '\0'  ? 'a'
			: *type == 'u' ? 'c'
				       : *type,
		.major = in->has_major ? in->major : -1,
		.minor = in->has_minor ? in->minor : -1,
	};
	if (strlen(type) > 1 || !strchr("abcp", out->type))
		return invalid(e, "devices.type", "not one of a, b, c");
	if (out->major > INT32_MAX || out->minor > INT32_MAX)
		return invalid(e, "devices", "not the number of a device");
	if (out->type == 'p')
		return 1;
	convert_access(str_or_empty(in->access), out->access);
	return !str_is_empty(in->access) && out->access[0] == '\0';
}

static int convert_devices(const Grpc__LinuxResources *in, struct arena *arena, struct cgroup_resources *out,
			   struct error *e)
{
	struct cgroup_device_rule *rules =
		arena_array(arena, in->n_devices + array_length(default_rules), sizeof(*rules));
	bool denies = false;
	size_t n = 0;

	if (!rules)
		return no_memory(e);
	for (size_t i = 0; i < in->n_devices; i++) {
		int r = convert_rule(in->devices[i], &rules[n], e);

		if (r < 0)
			return r;
		if (r == 0)
			denies |= !rules[n++].allow;
	}
	if (device_mode == RESOURCES_DEVICES_OFF || n == 0)
		return 0;
	/* An allow alone restricts nothing; with the operator's word a deny comes in front of it at
	 * create. */
	if (!denies) {
		out->devices = device_mode == RESOURCES_DEVICES_ON ? rules : NULL;
		out->n_devices = device_mode == RESOURCES_DEVICES_ON ? n : 0;
		return 0;
	}
	memcpy(&rules[n], default_rules, sizeof(default_rules));
	out->devices = rules;
	out->n_devices = n + array_length(default_rules);
	out->devices_set = true;
	return 0;
}

static bool node_rule(const Grpc__LinuxDevice *node, struct cgroup_device_rule *out)
{
	const char *type = str_or_empty(node->type);

	if (!str_equal(type, "b") && !str_equal(type, "c") && !str_equal(type, "u"))
		return false;
	*out = (struct cgroup_device_rule){
		.allow = true,
		.type = *type == 'u' ? 'c' : *type,
		.major = node->major,
		.minor = node->minor,
		.access = "rwm",
	};
	return true;
}

int resources_restrict_devices(struct cgroup_resources *out, Grpc__LinuxDevice *const *nodes, size_t n_nodes,
			       struct arena *arena, struct error *e)
{
	struct cgroup_device_rule *rules;
	size_t n = 0;

	if (device_mode != RESOURCES_DEVICES_ON)
		return 0;
	rules = arena_array(arena, 1 + out->n_devices + n_nodes + array_length(default_rules),
			    sizeof(*rules));
	if (!rules)
		return no_memory(e);
	rules[n++] = (struct cgroup_device_rule){
		.allow = false, .type = 'a', .major = -1, .minor = -1, .access = "rwm"};
	for (size_t i = 0; i < out->n_devices; i++)
		rules[n++] = out->devices[i];
	for (size_t i = 0; i < n_nodes; i++)
		n += node_rule(nodes[i], &rules[n]);
	memcpy(&rules[n], default_rules, sizeof(default_rules));
	out->devices = rules;
	out->n_devices = n + array_length(default_rules);
	out->devices_set = true;
	return 0;
}

/* --- all ------------------------------------------------------------------------------------------------ */

/*
 * config.json can tell none from zero: none says nothing, zero is a limit, negative is no limit. Hosts' zero is none, and
 * a message that is there and says none means no limit, as the reference agent has it.
 */
static void convert_pids(const Grpc__LinuxPids *in, bool wire, struct cgroup_resources *out)
{
	if (!in || (!in->has_limit && !wire))
		return;
	out->pids.set = true;
	out->pids.value = in->has_limit ? in->limit : 0;
	if (wire && out->pids.value == 0)
		out->pids.value = -1;
}

int resources_convert(const Grpc__LinuxResources *in, bool wire, struct arena *arena,
		      struct cgroup_resources *out, struct error *e)
{
	int r;

	memset(out, 0, sizeof(*out));
	if (!in)
		return 0;
	convert_pids(in->pids, wire, out);
	r = convert_memory(in->memory, out, e);
	if (r == 0)
		r = convert_cpu(in->cpu, out, e);
	if (r == 0)
		r = convert_io(in->blockio, arena, out, e);
	if (r == 0)
		r = convert_hugepages(in, arena, out, e);
	if (r == 0)
		r = convert_network(in->network, arena, out, e);
	if (r == 0)
		r = convert_rdma(in, arena, out, e);
	if (r == 0)
		r = convert_unified(in, arena, out, e);
	if (r == 0)
		r = convert_devices(in, arena, out, e);
	return r;
}
