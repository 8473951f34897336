/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits on v2: one directory for all controllers. In the hybrid layout v1 has taken most of them, and what
 * is left is set here.
 *
 * Knobs that v2 has no meaning for (kernel memory, swappiness, switching the OOM killer off, real-time,
 * network classes) are passed over with a record in the log: hosts send them whatever the guest has.
 */
#include "cgroup/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"

static bool has(const struct cgroup_dir *dir, enum controller c)
{
	return host_find(dir->cg->host, c) == (int)(dir->hierarchy - dir->cg->host->hierarchies);
}

static void without_meaning(const struct cgroup_dir *dir, bool given, const char *what)
{
	if (given)
		log_info("cgroup", "without meaning on cgroup v2, passed over", "cgroup", dir->cg->path,
			 "what", what);
}

/* --- cpu ------------------------------------------------------------------------------------------------ */

static int set_cpu_max(const struct cgroup_dir *dir, const struct cgroup_resources *r, struct error *e)
{
	_cleanup_free_ char *now = NULL;
	char quota[24] = "max";
	bool has_quota = r->cpu.quota.set && r->cpu.quota.value != 0;
	bool has_period = r->cpu.period.set && r->cpu.period.value != 0;

	if (!has_quota && !has_period)
		return 0;
	if (has_quota && r->cpu.quota.value > 0)
		snprintf(quota, sizeof(quota), "%" PRId64, r->cpu.quota.value);
	if (!has_quota && (now = knob_read(dir, "cpu.max"))) {
		now[strcspn(now, " ")] = '\0';
		if (*now && strlen(now) < sizeof(quota))
			memcpy(quota, now, strlen(now) + 1);
	}
	if (!has_period)
		return knob_write(dir, e, "cpu.max", "%s", quota);
	return knob_write(dir, e, "cpu.max", "%s %" PRIu64, quota, r->cpu.period.value);
}

/* The kernel wants burst <= quota at every moment: before the quota if that works, else after it. */
static int set_cpu_bandwidth(const struct cgroup_dir *dir, const struct cgroup_resources *r, struct error *e)
{
	int burst = 0, result;

	if (r->cpu.burst.set)
		burst = knob_try(dir, "cpu.max.burst", "%" PRIu64, r->cpu.burst.value);
	result = set_cpu_max(dir, r, e);
	if (result == 0 && burst == -EINVAL)
		result = knob_write(dir, e, "cpu.max.burst", "%" PRIu64, r->cpu.burst.value);
	else if (result == 0 && burst == -ENOENT && r->cpu.burst.value == 0)
		return 0;
	else if (result == 0 && burst < 0)
		result = knob_error(dir, e, burst, "cpu.max.burst", "burst");
	return result;
}

/* A cgroup that is idle has no weight; the kernel refuses to set one. */
static int set_cpu_weight(const struct cgroup_dir *dir, const struct cgroup_resources *r, struct error *e)
{
	bool idle = r->cpu.idle.set && r->cpu.idle.value == 1;
	int result = 0;

	if (r->cpu.idle.set) {
		int try = knob_try(dir, "cpu.idle", "%d", idle);

		if (try < 0 && (idle || try != -ENOENT))
			return knob_error(dir, e, try, "cpu.idle", idle ? "1" : "0");
	}
	if (!idle && r->cpu.shares.set && r->cpu.shares.value)
		result = knob_write(dir, e, "cpu.weight", "%" PRIu64,
				    cpu_weight_of_shares(r->cpu.shares.value));
	return result;
}

static int set_cpu(const struct cgroup_dir *dir, const struct cgroup_resources *r, struct error *e)
{
	int result = set_cpu_weight(dir, r, e);

	without_meaning(dir, r->cpu.realtime_runtime.set && r->cpu.realtime_runtime.value,
			"realtime runtime");
	return result < 0 ? result : set_cpu_bandwidth(dir, r, e);
}

/* --- memory --------------------------------------------------------------------------------------------- */

/* memory+swap of the runtime-spec → swap alone. *@write says whether there is anything to write. */
static int swap_alone(const struct cgroup_dir *dir, const struct cgroup_resources *r, int64_t *out,
		      bool *write, struct error *e)
{
	bool limited = r->memory.limit.set && r->memory.limit.value != 0;
	uint64_t limit = limited && r->memory.limit.value > 0 ? (uint64_t)r->memory.limit.value : UINT64_MAX;
	int64_t swap = r->memory.swap.set ? r->memory.swap.value : 0;

	*write = true;
	*out = -1;
	if (swap < 0 || (swap == 0 && limited && r->memory.limit.value < 0))
		return 0;
	*write = swap != 0;
	if (swap == 0)
		return 0;
	if (!limited && !knob_read_u64(dir, "memory.max", &limit))
		return knob_error(dir, e, -ENOENT, "memory.swap.max", "swap");
	if (limit == UINT64_MAX)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "memory+swap limit %" PRId64 " without a memory limit", swap);
	if ((uint64_t)swap < limit)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "memory+swap limit %" PRId64 " is below the memory limit %" PRIu64, swap,
				 limit);
	*out = (int64_t)((uint64_t)swap - limit);
	return 0;
}

static int write_bytes(const struct cgroup_dir *dir, const char *file, int64_t value, struct error *e)
{
	return value < 0 ? knob_write(dir, e, file, "max") : knob_write(dir, e, file, "%" PRId64, value);
}

/* Without swap accounting there is nothing to forbid and nothing to lift. */
static int set_swap(const struct cgroup_dir *dir, int64_t value, struct error *e)
{
	if (value <= 0 && !knob_exists(dir, "memory.swap.max")) {
		log_info("cgroup", "no swap accounting here", "cgroup", dir->cg->path);
		return 0;
	}
	return write_bytes(dir, "memory.swap.max", value, e);
}

/* checkBeforeUpdate: a limit below what is in use would kill at once. */
static int check_usage(const struct cgroup_dir *dir, const struct cgroup_resources *r, struct error *e)
{
	uint64_t usage = 0, swap = 0;

	if (!r->memory.check_before_update || !r->memory.limit.set || r->memory.limit.value <= 0 ||
	    !knob_read_u64(dir, "memory.current", &usage))
		return 0;
	if (usage > (uint64_t)r->memory.limit.value)
		return error_set(e, STATUS_FAILED_PRECONDITION, EBUSY,
				 "memory limit %" PRId64 " is below the present usage %" PRIu64,
				 r->memory.limit.value, usage);
	if (r->memory.swap.set && r->memory.swap.value > 0 &&
	    knob_read_u64(dir, "memory.swap.current", &swap) && usage + swap > (uint64_t)r->memory.swap.value)
		return error_set(e, STATUS_FAILED_PRECONDITION, EBUSY,
				 "memory+swap limit %" PRId64 " is below the present usage %" PRIu64,
				 r->memory.swap.value, usage + swap);
	return 0;
}

static int set_memory(const struct cgroup_dir *dir, const struct cgroup_resources *r, struct error *e)
{
	int64_t swap = 0;
	bool write = false;
	int result = check_usage(dir, r, e);

	if (result == 0)
		result = swap_alone(dir, r, &swap, &write, e);
	if (result == 0 && write)
		result = set_swap(dir, swap, e);
	if (result == 0 && r->memory.limit.set && r->memory.limit.value != 0)
		result = write_bytes(dir, "memory.max", r->memory.limit.value, e);
	if (result == 0 && r->memory.reservation.set && r->memory.reservation.value != 0)
		result = write_bytes(dir, "memory.low", r->memory.reservation.value, e);
	without_meaning(dir, r->memory.swappiness.set, "swappiness");
	without_meaning(dir, r->memory.disable_oom_killer, "disableOOMKiller");
	without_meaning(dir, r->memory.kernel.set && r->memory.kernel.value, "kernel memory");
	without_meaning(dir, r->memory.kernel_tcp.set && r->memory.kernel_tcp.value, "kernel TCP memory");
	return result;
}

/* --- block I/O ------------------------------------------------------------------------------------------ */

/* BFQ's own file takes the spec's numbers, the general one has another range; a kernel may have either or
 * none. */
static int set_io_weight(const struct cgroup_dir *dir, const char *device, uint64_t weight, struct error *e)
{
	const char *bfq = "io.bfq.weight";
	int r = knob_try(dir, bfq, "%s%" PRIu64, device, weight);

	if (r == 0)
		return 0;
	if (r != -ENOENT && *device == '\0')
		return knob_error(dir, e, r, bfq, "weight");
	r = knob_try(dir, "io.weight", "%s%" PRIu64, device, io_weight_of_blkio(weight));
	if (r == -ENOENT || r == -ENODEV || r == -EOPNOTSUPP) {
		log_warning("cgroup", "block I/O weights have no effect here", "cgroup", dir->cg->path,
			    "device", device, "error", error_name(-r));
		return 0;
	}
	return r < 0 ? knob_error(dir, e, r, "io.weight", "weight") : 0;
}

static int set_io_max(const struct cgroup_dir *dir, const char *key, const struct cgroup_device_u64 *limits,
		      size_t n, struct error *e)
{
	for (size_t i = 0; i < n; i++) {
		char value[24] = "max";
		int r;

		if (limits[i].value)
			snprintf(value, sizeof(value), "%" PRIu64, limits[i].value);
		r = knob_try(dir, "io.max", "%" PRId64 ":%" PRId64 " %s=%s", limits[i].major, limits[i].minor,
			     key, value);
		/* On update hosts pass numbers of their own machine's disks. */
		if (r == -ENODEV)
			log_warning("cgroup", "no such block device to throttle", "cgroup", dir->cg->path,
				    "key", key);
		else if (r < 0)
			return knob_error(dir, e, r, "io.max", key);
	}
	return 0;
}

static int set_io(const struct cgroup_dir *dir, const struct cgroup_resources *r, struct error *e)
{
	int result = 0;

	if (r->io.weight.set && r->io.weight.value)
		result = set_io_weight(dir, "", r->io.weight.value, e);
	for (size_t i = 0; i < r->io.n_weight_device && result == 0; i++) {
		const struct cgroup_device_u64 *d = &r->io.weight_device[i];
		char device[48];

		snprintf(device, sizeof(device), "%" PRId64 ":%" PRId64 " ", d->major, d->minor);
		result = set_io_weight(dir, device, d->value, e);
	}
	if (result == 0)
		result = set_io_max(dir, "rbps", r->io.read_bps, r->io.n_read_bps, e);
	if (result == 0)
		result = set_io_max(dir, "wbps", r->io.write_bps, r->io.n_write_bps, e);
	if (result == 0)
		result = set_io_max(dir, "riops", r->io.read_iops, r->io.n_read_iops, e);
	if (result == 0)
		result = set_io_max(dir, "wiops", r->io.write_iops, r->io.n_write_iops, e);
	without_meaning(dir, (r->io.leaf_weight.set && r->io.leaf_weight.value) || r->io.n_leaf_weight_device,
			"leaf weight");
	return result;
}

/* --- unified -------------------------------------------------------------------------------------------- */

static int set_unified(const struct cgroup_dir *dir, const struct cgroup_text *entry, struct error *e)
{
	_cleanup_free_ char *copy = strdup(str_or_empty(entry->value));
	char *save = NULL;

	if (!copy)
		return error_errno(e, ENOMEM, "unified");
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		int r = knob_write(dir, e, entry->name, "%s", line);

		if (r < 0)
			return r;
	}
	return 0;
}

int v2_set(struct cgroup *cg, const struct cgroup_resources *r, struct error *e)
{
	_cleanup_dir_of_cgroup_ struct cgroup_dir dir = {.fd = -1};
	int index = host_v2(cg->host);
	int result = index < 0 ? -ENOENT : cgroup_dir_open(cg, index, &dir);

	if (index < 0 || (result == -ENOENT && cg->rootless))
		return 0;
	if (result < 0)
		return error_errno(e, -result, "open cgroup \"%s\"", cg->path);
	/* A controller that v1 holds was served there. One that nobody holds is missed here, by name. */
	if (has(&dir, CONTROLLER_CPUSET) || cg->host->layout == CGROUP_V2)
		result = common_set_cpuset(&dir, r, e);
	if (result == 0 && (has(&dir, CONTROLLER_CPU) || cg->host->layout == CGROUP_V2))
		result = set_cpu(&dir, r, e);
	if (result == 0 && (has(&dir, CONTROLLER_MEMORY) || cg->host->layout == CGROUP_V2))
		result = set_memory(&dir, r, e);
	if (result == 0 && (has(&dir, CONTROLLER_PIDS) || cg->host->layout == CGROUP_V2))
		result = common_set_pids(&dir, r, e);
	if (result == 0 && (has(&dir, CONTROLLER_IO) || cg->host->layout == CGROUP_V2))
		result = set_io(&dir, r, e);
	if (result == 0 && (has(&dir, CONTROLLER_HUGETLB) || cg->host->layout == CGROUP_V2))
		result = common_set_hugepages(&dir, r, e);
	if (result == 0 && (has(&dir, CONTROLLER_RDMA) || cg->host->layout == CGROUP_V2))
		result = common_set_rdma(&dir, r, e);
	if (result == 0 && cg->host->layout == CGROUP_V2)
		result = v2_set_devices(&dir, r, e);
	for (size_t i = 0; i < r->n_unified && result == 0; i++)
		result = set_unified(&dir, &r->unified[i], e);
	if (cg->host->layout == CGROUP_V2) {
		without_meaning(&dir, r->net_class.set && r->net_class.value, "network class");
		without_meaning(&dir, r->n_net_priorities > 0, "network priorities");
	}
	return result;
}
