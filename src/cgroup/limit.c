/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits, as far as v1 and v2 do alike: checks before anything is written, conversions between the two
 * worlds, and the controllers whose files differ by a name at most.
 *
 * Zero is what hosts send for "not given" (their wire has no presence), so a zero that no kernel takes as a
 * limit is passed over; a negative one means unlimited where the runtime-spec has that.
 */
#include "cgroup/internal.h"
#include "cgroup/cpuset.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"

uint64_t cpu_weight_of_shares(uint64_t shares)
{
	if (shares < 2)
		shares = 2;
	if (shares > 262144)
		shares = 262144;
	return 1 + (shares - 2) * 9999 / 262142;
}

uint64_t io_weight_of_blkio(uint64_t weight)
{
	if (weight < 10)
		weight = 10;
	if (weight > 1000)
		weight = 1000;
	return 1 + (weight - 10) * 9999 / 990;
}

static uint32_t unified_controllers(const struct cgroup_resources *resources)
{
	uint32_t bits = 0;

	for (size_t i = 0; i < resources->n_unified; i++) {
		int c = controller_find(resources->unified[i].name, strcspn(resources->unified[i].name, "."));

		if (c >= 0)
			bits |= 1u << c;
	}
	return bits;
}

uint32_t resources_controllers(const struct cgroup_resources *r)
{
	uint32_t bits = unified_controllers(r);

	if (r->memory.limit.set || r->memory.reservation.set || r->memory.swap.set)
		bits |= 1u << CONTROLLER_MEMORY;
	if (r->cpu.shares.set || r->cpu.quota.set || r->cpu.period.set || r->cpu.burst.set || r->cpu.idle.set)
		bits |= 1u << CONTROLLER_CPU;
	if (!str_is_empty(r->cpu.cpus) || !str_is_empty(r->cpu.mems))
		bits |= 1u << CONTROLLER_CPUSET;
	if (r->pids.set)
		bits |= 1u << CONTROLLER_PIDS;
	if (r->io.weight.set || r->io.n_weight_device || r->io.n_read_bps || r->io.n_write_bps ||
	    r->io.n_read_iops || r->io.n_write_iops)
		bits |= 1u << CONTROLLER_IO;
	if (r->n_hugepages)
		bits |= 1u << CONTROLLER_HUGETLB;
	if (r->n_rdma)
		bits |= 1u << CONTROLLER_RDMA;
	return bits;
}

/* --- checks --------------------------------------------------------------------------------------------- */

static int invalid(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int invalid(struct error *e, const char *format, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, format);
	if (vsnprintf(text, sizeof(text), format, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "%s", text);
}

static int check_list(const char *name, const char *text, struct error *e)
{
	struct cpu_list list;

	if (!str_is_empty(text) && !cpu_list_parse(text, &list))
		return invalid(e, "%s: \"%.100s\" is not a list of numbers and ranges", name, text);
	return 0;
}

static int check_weight(const char *name, const struct cgroup_u64 *weight, struct error *e)
{
	if (weight->set && weight->value != 0 && (weight->value < 10 || weight->value > 1000))
		return invalid(e, "%s: %llu is not in 10 … 1000", name, (unsigned long long)weight->value);
	return 0;
}

/* A name that becomes part of what is written: one word, so that it cannot add a line. */
static int check_word(const char *what, const char *text, struct error *e)
{
	if (str_is_empty(text) || text[strcspn(text, " \t\n/")] != '\0')
		return invalid(e, "%s: \"%.100s\" is not a name", what, str_or_empty(text));
	return 0;
}

/* A key of `unified` is a file's name, and not one by which processes are moved, killed or frozen. */
static int check_unified(const struct cgroup_text *entry, struct error *e)
{
	const char *name = str_or_empty(entry->name);

	if (check_word("linux.resources.unified", name, e) < 0)
		return -EINVAL;
	if (!strchr(name, '.') || name[0] == '.')
		return invalid(e, "linux.resources.unified: \"%.100s\" is not a cgroup file", name);
	if (str_starts_with(name, "cgroup.") && !str_starts_with(name, "cgroup.max."))
		return invalid(e, "linux.resources.unified: \"%.100s\" is not a limit", name);
	return 0;
}

static int check_memory(const struct cgroup_resources *r, struct error *e)
{
	if (r->memory.swappiness.set && r->memory.swappiness.value > 200)
		return invalid(e, "memory swappiness %llu is not in 0 … 200",
			       (unsigned long long)r->memory.swappiness.value);
	if (r->memory.limit.set && r->memory.limit.value > 0 && r->memory.swap.set &&
	    r->memory.swap.value > 0 && r->memory.swap.value < r->memory.limit.value)
		return invalid(e, "memory+swap limit %lld is below the memory limit %lld",
			       (long long)r->memory.swap.value, (long long)r->memory.limit.value);
	if (r->memory.limit.set && r->memory.limit.value < 0 && r->memory.swap.set &&
	    r->memory.swap.value > 0)
		return invalid(e, "memory+swap limit %lld without a memory limit",
			       (long long)r->memory.swap.value);
	return 0;
}

int resources_check(const struct cgroup_host *host, const struct cgroup_resources *r, struct error *e)
{
	int v2 = host_v2(host);

	if (check_memory(r, e) < 0 || check_list("cpuset cpus", r->cpu.cpus, e) < 0 ||
	    check_list("cpuset mems", r->cpu.mems, e) < 0 ||
	    check_weight("block I/O weight", &r->io.weight, e) < 0)
		return -EINVAL;
	for (size_t i = 0; i < r->n_rdma; i++)
		if (check_word("rdma device", r->rdma[i].device, e) < 0)
			return -EINVAL;
	for (size_t i = 0; i < r->n_net_priorities; i++)
		if (check_word("network interface", r->net_priorities[i].name, e) < 0)
			return -EINVAL;
	for (size_t i = 0; i < r->n_unified; i++)
		if (check_unified(&r->unified[i], e) < 0)
			return -EINVAL;
	if (r->n_unified && v2 < 0)
		return invalid(e, "linux.resources.unified: there is no cgroup v2 on this machine");
	return 0;
}

/* --- what both versions share --------------------------------------------------------------------------- */

int common_set_pids(const struct cgroup_dir *dir, const struct cgroup_resources *resources, struct error *e)
{
	int r;

	if (!resources->pids.set)
		return 0;
	if (resources->pids.value >= 0)
		return knob_write(dir, e, "pids.max", "%lld",
				  resources->pids.value ? (long long)resources->pids.value : 1);
	/* Nothing to lift where nothing can limit. */
	r = knob_try(dir, "pids.max", "max");
	return r < 0 && r != -ENOENT ? knob_error(dir, e, r, "pids.max", "max") : 0;
}

static bool size_known(const struct cgroup_host *host, const char *size)
{
	for (size_t i = 0; i < host->n_hugepages; i++)
		if (strcmp(host->hugepages[i], size) == 0)
			return true;
	return false;
}

static int set_hugepage(const struct cgroup_dir *dir, const struct cgroup_named_u64 *limit, struct error *e)
{
	static const char *const names[2][2] = {{"limit_in_bytes", "rsvd.limit_in_bytes"},
						{"max", "rsvd.max"}};
	char value[24], file[64];

	if (limit->value > INT64_MAX)
		snprintf(value, sizeof(value), "%s", dir->hierarchy->v2 ? "max" : "-1");
	else
		snprintf(value, sizeof(value), "%llu", (unsigned long long)limit->value);
	for (size_t i = 0; i < 2; i++) {
		int r;

		snprintf(file, sizeof(file), "hugetlb.%s.%s", limit->name, names[dir->hierarchy->v2][i]);
		r = knob_try(dir, file, "%s", value);
		if (r == -ENOENT)
			log_warning("cgroup", "no limit of huge pages here", "cgroup", dir->cg->path, "file",
				    file);
		else if (r < 0)
			return knob_error(dir, e, r, file, value);
	}
	return 0;
}

/* Hosts send limits of 0 for every size that the host's kernel has: ours may have others. */
int common_set_hugepages(const struct cgroup_dir *dir, const struct cgroup_resources *resources,
			 struct error *e)
{
	for (size_t i = 0; i < resources->n_hugepages; i++) {
		const struct cgroup_named_u64 *limit = &resources->hugepages[i];
		int r;

		if (!size_known(dir->cg->host, str_or_empty(limit->name))) {
			log_warning("cgroup", "this kernel has no huge pages of that size", "size",
				    str_or_empty(limit->name));
			continue;
		}
		r = set_hugepage(dir, limit, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static void format_rdma(char *out, size_t size, const char *key, const struct cgroup_u64 *value)
{
	if (!value->set)
		out[0] = '\0';
	else if (value->value > INT32_MAX)
		snprintf(out, size, " %s=max", key);
	else
		snprintf(out, size, " %s=%llu", key, (unsigned long long)value->value);
}

int common_set_rdma(const struct cgroup_dir *dir, const struct cgroup_resources *resources, struct error *e)
{
	for (size_t i = 0; i < resources->n_rdma; i++) {
		const struct cgroup_rdma *rdma = &resources->rdma[i];
		char handles[48], objects[48];
		int r;

		format_rdma(handles, sizeof(handles), "hca_handle", &rdma->hca_handles);
		format_rdma(objects, sizeof(objects), "hca_object", &rdma->hca_objects);
		if (!handles[0] && !objects[0])
			continue;
		r = knob_write(dir, e, "rdma.max", "%s%s%s", rdma->device, handles, objects);
		if (r < 0)
			return r;
	}
	return 0;
}

/* "0-3" of the machine, below a test's root too. */
static bool machine_list(const struct cgroup_host *host, const char *path, struct cpu_list *out)
{
	_cleanup_free_ char *text = host_read(host, path);

	return text && *text && cpu_list_parse(text, out);
}

/* v2 takes CPUs that do not exist without a word, and then ignores the list: that is told instead. */
static int check_cpus_exist(const struct cgroup_dir *dir, const char *cpus, struct error *e)
{
	struct cpu_list wanted, possible;

	if (!machine_list(dir->cg->host, "/sys/devices/system/cpu/possible", &possible) ||
	    !cpu_list_parse(cpus, &wanted) || cpu_list_within(&wanted, &possible))
		return 0;
	return error_set(e, STATUS_INVALID_ARGUMENT, ERANGE,
			 "cpuset cpus \"%.100s\": this machine has no such CPUs", cpus);
}

/* Some hosts send the nodes of their own machine: those that the guest has are meant. */
static int set_mems(const struct cgroup_dir *dir, const char *mems, struct error *e)
{
	struct cpu_list wanted, online;
	_cleanup_free_ char *text = NULL;
	int r;

	if (machine_list(dir->cg->host, "/sys/devices/system/node/online", &online) &&
	    cpu_list_parse(mems, &wanted) && !cpu_list_within(&wanted, &online)) {
		log_warning("cgroup", "memory nodes that do not exist are left out", "cgroup", dir->cg->path,
			    "mems", mems);
		if (!cpu_list_intersect(&wanted, &online))
			return 0;
		text = cpu_list_text(&wanted);
		if (!text)
			return error_errno(e, ENOMEM, "cpuset");
		mems = text;
	}
	r = knob_write(dir, e, "cpuset.mems", "%s", mems);
	if (r == 0 && !dir->hierarchy->v2)
		cpuset_pin(dir, false);
	return r;
}

int common_set_cpuset(const struct cgroup_dir *dir, const struct cgroup_resources *resources, struct error *e)
{
	int r = 0;

	if (!str_is_empty(resources->cpu.cpus)) {
		r = check_cpus_exist(dir, resources->cpu.cpus, e);
		if (r == 0)
			r = knob_write(dir, e, "cpuset.cpus", "%s", resources->cpu.cpus);
		if (r == 0 && !dir->hierarchy->v2)
			cpuset_pin(dir, true);
	}
	if (r == 0 && !str_is_empty(resources->cpu.mems))
		r = set_mems(dir, resources->cpu.mems, e);
	return r;
}
