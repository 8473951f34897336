/* SPDX-License-Identifier: Apache-2.0 */

/* One function per message, from the inside out. Allocation failures end in NULL for the whole. */

#include "agent/stats.h"

#include "base/fd.h"

#define NEW(arena, type, init)                                                                               \
	({                                                                                                   \
		type *new_ = arena_new_object(arena, type);                                                  \
		if (new_)                                                                                    \
			init(new_);                                                                          \
		new_;                                                                                        \
	})

static Grpc__CpuStats *cpu(const struct cgroup_stats *from, struct arena *arena)
{
	Grpc__CpuStats *to = NEW(arena, Grpc__CpuStats, grpc__cpu_stats__init);
	Grpc__CpuUsage *usage = NEW(arena, Grpc__CpuUsage, grpc__cpu_usage__init);
	Grpc__ThrottlingData *throttling = NEW(arena, Grpc__ThrottlingData, grpc__throttling_data__init);
	if (!to || !usage || !throttling)
		return NULL;
	usage->total_usage = from->cpu.total_ns;
	usage->usage_in_usermode = from->cpu.user_ns;
	usage->usage_in_kernelmode = from->cpu.kernel_ns;
	usage->n_percpu_usage = from->cpu.n_percpu;
	usage->percpu_usage = from->cpu.percpu_ns;
	throttling->periods = from->cpu.periods;
	throttling->throttled_periods = from->cpu.throttled_periods;
	throttling->throttled_time = from->cpu.throttled_ns;
	to->cpu_usage = usage;
	to->throttling_data = throttling;
	return to;
}

/* *@failed is set when memory is out. */
static Grpc__MemoryData *memory_data(const struct cgroup_memory_data *from, struct arena *arena, bool *failed)
{
	if (!from->present)
		return NULL;
	Grpc__MemoryData *to = NEW(arena, Grpc__MemoryData, grpc__memory_data__init);
	if (!to) {
		*failed = true;
		return NULL;
	}
	to->usage = from->usage;
	to->max_usage = from->max_usage;
	to->failcnt = from->failcnt;
	to->limit = from->limit;
	return to;
}

static Grpc__MemoryStats *memory(const struct cgroup_stats *from, struct arena *arena)
{
	bool failed = false;
	size_t count = from->memory.n_stats;
	Grpc__MemoryStats *to = NEW(arena, Grpc__MemoryStats, grpc__memory_stats__init);
	Grpc__MemoryStats__StatsEntry **lines = arena_array(arena, count, sizeof(*lines));
	if (!to || !lines)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		lines[i] = NEW(arena, Grpc__MemoryStats__StatsEntry, grpc__memory_stats__stats_entry__init);
		if (!lines[i])
			return NULL;
		lines[i]->key = (char *)from->memory.stats[i].name;
		lines[i]->value = from->memory.stats[i].value;
	}
	to->cache = from->memory.cache;
	to->use_hierarchy = from->memory.use_hierarchy;
	to->usage = memory_data(&from->memory.usage, arena, &failed);
	to->swap_usage = memory_data(&from->memory.swap, arena, &failed);
	to->kernel_usage = memory_data(&from->memory.kernel, arena, &failed);
	to->n_stats = count;
	to->stats = lines;
	return failed ? NULL : to;
}

static Grpc__PidsStats *pids(const struct cgroup_stats *from, struct arena *arena)
{
	Grpc__PidsStats *to = NEW(arena, Grpc__PidsStats, grpc__pids_stats__init);
	if (!to)
		return NULL;
	to->current = from->pids.current;
	to->limit = from->pids.limit;
	return to;
}

static bool io_table(const struct cgroup_io_table *from, Grpc__BlkioStatsEntry ***to, size_t *count,
		     struct arena *arena)
{
	*to = arena_array(arena, from->count, sizeof(**to));
	if (!*to)
		return false;
	for (size_t i = 0; i < from->count; i++) {
		Grpc__BlkioStatsEntry *entry =
			NEW(arena, Grpc__BlkioStatsEntry, grpc__blkio_stats_entry__init);
		if (!entry)
			return false;
		entry->major = from->entries[i].major;
		entry->minor = from->entries[i].minor;
		entry->op = from->entries[i].op;
		entry->value = from->entries[i].value;
		(*to)[i] = entry;
	}
	*count = from->count;
	return true;
}

static Grpc__BlkioStats *io(const struct cgroup_stats *from, struct arena *arena)
{
	Grpc__BlkioStats *to = NEW(arena, Grpc__BlkioStats, grpc__blkio_stats__init);
	if (!to)
		return NULL;
#define TABLE(ours, theirs) io_table(&from->io.ours, &to->theirs, &to->n_##theirs, arena)
	bool whole = TABLE(service_bytes, io_service_bytes_recursive) &&
		     TABLE(serviced, io_serviced_recursive) && TABLE(queued, io_queued_recursive) &&
		     TABLE(service_time, io_service_time_recursive) &&
		     TABLE(wait_time, io_wait_time_recursive) && TABLE(merged, io_merged_recursive) &&
		     TABLE(time, io_time_recursive) && TABLE(sectors, sectors_recursive);
#undef TABLE
	return whole ? to : NULL;
}

static Grpc__HugetlbStats *hugepage(const struct cgroup_hugepage_stats *from, struct arena *arena)
{
	Grpc__HugetlbStats *to = NEW(arena, Grpc__HugetlbStats, grpc__hugetlb_stats__init);
	if (!to)
		return NULL;
	to->usage = from->usage;
	to->max_usage = from->max_usage;
	to->failcnt = from->failcnt;
	return to;
}

static bool hugepages(const struct cgroup_stats *from, Grpc__CgroupStats *to, struct arena *arena)
{
	to->hugetlb_stats = arena_array(arena, from->n_hugepages, sizeof(*to->hugetlb_stats));
	if (!to->hugetlb_stats)
		return false;
	for (size_t i = 0; i < from->n_hugepages; i++) {
		Grpc__CgroupStats__HugetlbStatsEntry *entry =
			NEW(arena, Grpc__CgroupStats__HugetlbStatsEntry,
			    grpc__cgroup_stats__hugetlb_stats_entry__init);
		if (!entry)
			return false;
		entry->key = (char *)from->hugepages[i].size;
		entry->value = hugepage(&from->hugepages[i], arena);
		if (!entry->value)
			return false;
		to->hugetlb_stats[i] = entry;
	}
	to->n_hugetlb_stats = from->n_hugepages;
	return true;
}

Grpc__StatsContainerResponse *stats_message(const struct cgroup_stats *from, struct arena *arena)
{
	Grpc__StatsContainerResponse *message =
		NEW(arena, Grpc__StatsContainerResponse, grpc__stats_container_response__init);
	Grpc__CgroupStats *to = NEW(arena, Grpc__CgroupStats, grpc__cgroup_stats__init);
	if (!message || !to || !hugepages(from, to, arena))
		return NULL;
	if (from->cpu.present && !(to->cpu_stats = cpu(from, arena)))
		return NULL;
	if (from->memory.present && !(to->memory_stats = memory(from, arena)))
		return NULL;
	if (from->pids.present && !(to->pids_stats = pids(from, arena)))
		return NULL;
	if (from->io.present && !(to->blkio_stats = io(from, arena)))
		return NULL;
	message->cgroup_stats = to;
	return message;
}
