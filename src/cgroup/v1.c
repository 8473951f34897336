/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits on v1: each controller in a hierarchy of its own.
 *
 * Several knobs of v1 come in pairs that the kernel checks against each other at every write (quota and
 * period, memory and memory+swap): they are written in the order that works, or tried in both.
 */
#include "cgroup/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"

#define PICK(r, member) ((r)->member.set && (r)->member.value != 0)

/* --- cpu ------------------------------------------------------------------------------------------------ */

/*
 * @limit and @period are judged as a ratio by the kernel, against the parent's and among each other. The
 * period goes first; where the pair in between is refused, the limit goes first.
 */
static int set_ratio(const struct cgroup_dir *dir, const char *limit_file, const struct cgroup_i64 *limit,
		     const char *period_file, const struct cgroup_u64 *period, struct error *e)
{
	bool with_limit = limit->set && limit->value != 0;
	bool with_period = period->set && period->value != 0;
	int64_t value = limit->value < 0 ? -1 : limit->value;
	int r = 0;

	if (with_period) {
		r = knob_try(dir, period_file, "%" PRIu64, period->value);
		if (r < 0 && (r != -EINVAL || !with_limit))
			return knob_error(dir, e, r, period_file, "period");
	}
	if (with_limit) {
		int first = r;

		r = knob_write(dir, e, limit_file, "%" PRId64, value);
		if (r == 0 && first < 0)
			r = knob_write(dir, e, period_file, "%" PRIu64, period->value);
	}
	return r;
}

static int set_bandwidth(const struct cgroup_dir *dir, const struct cgroup_resources *r, struct error *e)
{
	const char *file = "cpu.cfs_burst_us";
	int burst = 0, result;

	if (r->cpu.burst.set)
		burst = knob_try(dir, file, "%" PRIu64, r->cpu.burst.value);
	result = set_ratio(dir, "cpu.cfs_quota_us", &r->cpu.quota, "cpu.cfs_period_us", &r->cpu.period, e);
	if (result == 0 && burst == -EINVAL)
		result = knob_write(dir, e, file, "%" PRIu64, r->cpu.burst.value);
	else if (result == 0 && burst < 0 && !(burst == -ENOENT && r->cpu.burst.value == 0))
		result = knob_error(dir, e, burst, file, "burst");
	return result;
}

static int set_cpu(const struct cgroup_dir *dir, const struct cgroup_resources *r, struct error *e)
{
	bool idle = r->cpu.idle.set && r->cpu.idle.value == 1;
	int result = 0;

	if (r->cpu.idle.set) {
		int try = knob_try(dir, "cpu.idle", "%d", idle);

		if (try < 0 && (idle || try != -ENOENT))
			return knob_error(dir, e, try, "cpu.idle", idle ? "1" : "0");
	}
	if (!idle && PICK(r, cpu.shares)) {
		uint64_t shares = r->cpu.shares.value;

		shares = shares < 2 ? 2 : shares > 262144 ? 262144 : shares;
		result = knob_write(dir, e, "cpu.shares", "%" PRIu64, shares);
	}
	if (result == 0)
		result = set_bandwidth(dir, r, e);
	if (result == 0 && (PICK(r, cpu.realtime_runtime) || PICK(r, cpu.realtime_period)))
		result = set_ratio(dir, "cpu.rt_runtime_us", &r->cpu.realtime_runtime, "cpu.rt_period_us",
				   &r->cpu.realtime_period, e);
	return result;
}

/* --- memory --------------------------------------------------------------------------------------------- */

#define LIMIT "memory.limit_in_bytes"
#define MEMSW "memory.memsw.limit_in_bytes"

static int memory_error(const struct cgroup_dir *dir, struct error *e, int r, const char *file, int64_t value)
{
	char text[24];
	uint64_t usage;

	snprintf(text, sizeof(text), "%" PRId64, value);
	knob_error(dir, e, r, file, text);
	if (r == -EBUSY && knob_read_u64(dir, "memory.usage_in_bytes", &usage))
		error_prefix(e, "%" PRIu64 " bytes are in use and cannot be reclaimed", usage);
	return r;
}

/* What memory+swap has to become so that only the limit is raised: the allowance of swap stays what it
 * was. */
static int64_t raised_memsw(const struct cgroup_dir *dir, int64_t limit)
{
	uint64_t old_limit = 0, old_memsw = 0;

	if (!knob_read_u64(dir, LIMIT, &old_limit) || !knob_read_u64(dir, MEMSW, &old_memsw) ||
	    old_memsw < old_limit)
		return limit;
	return __builtin_add_overflow(limit, (int64_t)(old_memsw - old_limit), &limit) ? INT64_MAX : limit;
}

/* The kernel keeps limit <= memory+swap at every moment: whichever order it takes. */
static int set_limits(const struct cgroup_dir *dir, int64_t limit, int64_t memsw, struct error *e)
{
	int r = 0;

	if (memsw && !knob_exists(dir, MEMSW)) {
		if (memsw > 0 && memsw != limit)
			log_warning("cgroup", "no swap accounting here: the limit is without swap", "cgroup",
				    dir->cg->path);
		memsw = 0;
	}
	if (limit) {
		r = knob_try(dir, LIMIT, "%" PRId64, limit);
		if (r == -EINVAL && knob_exists(dir, MEMSW)) {
			int64_t first = memsw ? memsw : limit < 0 ? -1 : raised_memsw(dir, limit);

			r = knob_try(dir, MEMSW, "%" PRId64, first);
			if (r == 0)
				r = knob_try(dir, LIMIT, "%" PRId64, limit);
			memsw = 0;
		}
		if (r < 0)
			return memory_error(dir, e, r, LIMIT, limit);
	}
	if (memsw)
		r = knob_try(dir, MEMSW, "%" PRId64, memsw);
	return r < 0 ? memory_error(dir, e, r, MEMSW, memsw) : 0;
}

static int set_kernel_tcp(const struct cgroup_dir *dir, int64_t value, struct error *e)
{
	const char *file = "memory.kmem.tcp.limit_in_bytes";
	int r = knob_try(dir, file, "%" PRId64, value < 0 ? -1 : value);

	if (r == -ENOENT || r == -EOPNOTSUPP) {
		log_warning("cgroup", "no limit of kernel TCP memory here", "cgroup", dir->cg->path);
		return 0;
	}
	return r < 0 ? memory_error(dir, e, r, file, value) : 0;
}

static int set_memory(const struct cgroup_dir *dir, const struct cgroup_resources *r, struct error *e)
{
	int64_t limit = r->memory.limit.set ? r->memory.limit.value : 0;
	int64_t memsw = r->memory.swap.set ? r->memory.swap.value : 0;
	int result;

	/* An unlimited memory with swap left alone would be refused below the old memory+swap. */
	if (limit < 0 && memsw == 0)
		memsw = -1;
	limit = limit < 0 ? -1 : limit;
	memsw = memsw < 0 ? -1 : memsw;
	if (r->memory.use_hierarchy.set &&
	    knob_try(dir, "memory.use_hierarchy", "%d", r->memory.use_hierarchy.value != 0))
		log_info("cgroup", "memory.use_hierarchy stays as it is", "cgroup", dir->cg->path);
	/* Memory+swap to "unlimited" first: a limit above the old one is then taken at once. */
	if (memsw < 0 && knob_exists(dir, MEMSW)) {
		result = knob_write(dir, e, MEMSW, "-1");
		if (result < 0)
			return result;
		memsw = 0;
	}
	result = set_limits(dir, limit, memsw, e);
	if (result == 0 && PICK(r, memory.reservation))
		result = knob_write(dir, e, "memory.soft_limit_in_bytes", "%" PRId64,
				    r->memory.reservation.value < 0 ? -1 : r->memory.reservation.value);
	/* Accounting of kernel memory cannot be limited any more; kernels take the number and forget it. */
	if (result == 0 && PICK(r, memory.kernel))
		log_info("cgroup", "a limit of kernel memory has no effect", "cgroup", dir->cg->path);
	if (result == 0 && PICK(r, memory.kernel_tcp))
		result = set_kernel_tcp(dir, r->memory.kernel_tcp.value, e);
	if (result == 0 && r->memory.swappiness.set)
		result = knob_write(dir, e, "memory.swappiness", "%" PRIu64, r->memory.swappiness.value);
	if (result == 0 && r->memory.disable_oom_killer)
		result = knob_write(dir, e, "memory.oom_control", "1");
	return result;
}

/* --- block I/O ------------------------------------------------------------------------------------------ */

/* Two schedulers have had weights: CFQ, which is gone, and BFQ, which is a module. Without either there
 * are none. */
static int set_weight(const struct cgroup_dir *dir, const char *kind, const char *device, uint64_t weight,
		      struct error *e)
{
	const char *const prefixes[] = {"blkio.", "blkio.bfq."};
	char file[64];
	int r = -ENOENT;

	for (size_t i = 0; i < array_length(prefixes) && r == -ENOENT; i++) {
		snprintf(file, sizeof(file), "%s%s", prefixes[i], kind);
		r = knob_try(dir, file, "%s%" PRIu64, device, weight);
	}
	if (r == -ENOENT || r == -ENODEV || r == -EOPNOTSUPP) {
		log_warning("cgroup", "block I/O weights have no effect here", "cgroup", dir->cg->path,
			    "file", file, "error", error_name(-r));
		return 0;
	}
	return r < 0 ? knob_error(dir, e, r, file, "weight") : 0;
}

static int set_weight_devices(const struct cgroup_dir *dir, const char *kind,
			      const struct cgroup_device_u64 *weights, size_t n, struct error *e)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		char device[48];

		snprintf(device, sizeof(device), "%" PRId64 ":%" PRId64 " ", weights[i].major,
			 weights[i].minor);
		r = set_weight(dir, kind, device, weights[i].value, e);
	}
	return r;
}

static int set_throttle(const struct cgroup_dir *dir, const char *file,
			const struct cgroup_device_u64 *limits, size_t n, struct error *e)
{
	for (size_t i = 0; i < n; i++) {
		int r = knob_try(dir, file, "%" PRId64 ":%" PRId64 " %" PRIu64, limits[i].major,
				 limits[i].minor, limits[i].value);

		/* On update hosts pass numbers of their own machine's disks. */
		if (r == -ENODEV)
			log_warning("cgroup", "no such block device to throttle", "cgroup", dir->cg->path,
				    "file", file);
		else if (r < 0)
			return knob_error(dir, e, r, file, "rate");
	}
	return 0;
}

static int set_io(const struct cgroup_dir *dir, const struct cgroup_resources *r, struct error *e)
{
	int result = 0;

	if (PICK(r, io.weight))
		result = set_weight(dir, "weight", "", r->io.weight.value, e);
	if (result == 0 && PICK(r, io.leaf_weight))
		result = set_weight(dir, "leaf_weight", "", r->io.leaf_weight.value, e);
	if (result == 0)
		result = set_weight_devices(dir, "weight_device", r->io.weight_device, r->io.n_weight_device,
					    e);
	if (result == 0)
		result = set_weight_devices(dir, "leaf_weight_device", r->io.leaf_weight_device,
					    r->io.n_leaf_weight_device, e);
	if (result == 0)
		result = set_throttle(dir, "blkio.throttle.read_bps_device", r->io.read_bps, r->io.n_read_bps,
				      e);
	if (result == 0)
		result = set_throttle(dir, "blkio.throttle.write_bps_device", r->io.write_bps,
				      r->io.n_write_bps, e);
	if (result == 0)
		result = set_throttle(dir, "blkio.throttle.read_iops_device", r->io.read_iops,
				      r->io.n_read_iops, e);
	if (result == 0)
		result = set_throttle(dir, "blkio.throttle.write_iops_device", r->io.write_iops,
				      r->io.n_write_iops, e);
	return result;
}

/* --- network -------------------------------------------------------------------------------------------- */

static int set_net_cls(const struct cgroup_dir *dir, const struct cgroup_resources *r, struct error *e)
{
	if (!PICK(r, net_class))
		return 0;
	return knob_write(dir, e, "net_cls.classid", "0x%08" PRIX64, r->net_class.value);
}

static int set_net_prio(const struct cgroup_dir *dir, const struct cgroup_resources *r, struct error *e)
{
	for (size_t i = 0; i < r->n_net_priorities; i++) {
		int result = knob_write(dir, e, "net_prio.ifpriomap", "%s %" PRIu64,
					r->net_priorities[i].name, r->net_priorities[i].value);

		if (result < 0)
			return result;
	}
	return 0;
}

/* --- all ------------------------------------------------------------------------------------------------ */

typedef int (*set_fn)(const struct cgroup_dir *dir, const struct cgroup_resources *r, struct error *e);

/* Which limits belong to which controller, and whether somebody asked for one of them. */
static const struct {
	enum controller controller;
	set_fn set;
} setters[] = {
	{CONTROLLER_CPUSET, common_set_cpuset},
	{CONTROLLER_CPU, set_cpu},
	{CONTROLLER_MEMORY, set_memory},
	{CONTROLLER_PIDS, common_set_pids},
	{CONTROLLER_IO, set_io},
	{CONTROLLER_HUGETLB, common_set_hugepages},
	{CONTROLLER_NET_CLS, set_net_cls},
	{CONTROLLER_NET_PRIO, set_net_prio},
	{CONTROLLER_RDMA, common_set_rdma},
	{CONTROLLER_DEVICES, v1_set_devices},
};

static bool is_lifting_pids(enum controller c, const struct cgroup_resources *r)
{
	return c == CONTROLLER_PIDS && r->pids.value < 0;
}

/* A controller that is nowhere: an error for the limits that protect others, a record for the rest. */
static int missing(const struct cgroup *cg, enum controller c, const struct cgroup_resources *r,
		   struct error *e)
{
	bool hard = c == CONTROLLER_CPU || c == CONTROLLER_MEMORY || c == CONTROLLER_PIDS ||
		    c == CONTROLLER_CPUSET || c == CONTROLLER_RDMA;
	bool asked = resources_controllers(r) & 1u << c;

	if (!asked || is_lifting_pids(c, r))
		return 0;
	if (hard && !cg->rootless)
		return error_set(e, STATUS_FAILED_PRECONDITION, ENOENT,
				 "limit cgroup \"%s\": controller \"%s\" is not available on this machine",
				 cg->path, controller_name(c, false));
	log_warning("cgroup", "controller is not available: its limits are passed over", "cgroup", cg->path,
		    "controller", controller_name(c, false));
	return 0;
}

/* Whether @r has anything for the controller: also what needs no mention on v2. */
static bool is_asked(enum controller c, const struct cgroup_resources *r)
{
	switch (c) {
	case CONTROLLER_DEVICES:
		return r->devices_set;
	case CONTROLLER_NET_CLS:
		return r->net_class.set;
	case CONTROLLER_NET_PRIO:
		return r->n_net_priorities > 0;
	case CONTROLLER_CPU:
		if (r->cpu.realtime_runtime.set || r->cpu.realtime_period.set)
			return true;
		break;
	case CONTROLLER_MEMORY:
		if (r->memory.kernel.set || r->memory.kernel_tcp.set || r->memory.swappiness.set ||
		    r->memory.disable_oom_killer || r->memory.use_hierarchy.set)
			return true;
		break;
	case CONTROLLER_IO:
		if (r->io.leaf_weight.set || r->io.n_leaf_weight_device)
			return true;
		break;
	default:
		break;
	}
	return resources_controllers(r) & 1u << c;
}

int v1_set(struct cgroup *cg, const struct cgroup_resources *r, struct error *e)
{
	int result = 0;

	if (cg->host->layout == CGROUP_V2)
		return 0;
	for (size_t i = 0; i < array_length(setters) && result == 0; i++) {
		_cleanup_dir_of_cgroup_ struct cgroup_dir dir = {.fd = -1};
		int index = host_find(cg->host, setters[i].controller);

		if (index < 0) {
			result = missing(cg, setters[i].controller, r, e);
			continue;
		}
		if (cg->host->hierarchies[index].v2 || !is_asked(setters[i].controller, r))
			continue;
		result = cgroup_dir_open(cg, index, &dir);
		if (result == -ENOENT && (cg->rootless || cg->driver == CGROUP_SYSTEMD))
			result = 0;
		else if (result < 0)
			error_errno(e, -result, "open cgroup \"%s\"", cg->path);
		else
			result = setters[i].set(&dir, r, e);
	}
	return result;
}
