/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scheduling attributes of a process. Words of the runtime-spec are looked up in small tables, used by validation (in
 * the parent) and application (in the child) alike, so that they cannot differ. The kernel's structures are spelled
 * out here, because those of the C library differ between versions.
 */
#include "engine/scheduling.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

struct word {
	const char *name;
	int64_t value;
};

static bool find_word(const struct word *words, size_t count, const char *name, int64_t *value)
{
	for (size_t i = 0; name && i < count; i++) {
		if (strcmp(words[i].name, name) == 0) {
			*value = words[i].value;
			return true;
		}
	}
	return false;
}

static int unknown_word(struct error *e, const char *property, const char *member, const char *word)
{
	return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "%s.%s: unknown value \"%s\"", property, member,
			 str_or_empty(word));
}

/* ORs the flags of a list of words. */
static int collect_flags(const struct word *words, size_t n_words, char *const *list, size_t count,
			 const char *property, uint64_t *flags, struct error *e)
{
	*flags = 0;
	for (size_t i = 0; i < count; i++) {
		int64_t value;
		if (!find_word(words, n_words, list[i], &value))
			return unknown_word(e, property, "flags", list[i]);
		*flags |= (uint64_t)value;
	}
	return 0;
}

/* --- scheduler ---------------------------------------------------------------------------------------------- */

static const struct word policies[] = {
	{"SCHED_OTHER", 0}, {"SCHED_FIFO", 1}, {"SCHED_RR", 2},	      {"SCHED_BATCH", 3},
	{"SCHED_ISO", 4},   {"SCHED_IDLE", 5}, {"SCHED_DEADLINE", 6},
};
enum { POLICY_OTHER = 0, POLICY_FIFO = 1, POLICY_RR = 2, POLICY_BATCH = 3, POLICY_DEADLINE = 6 };
enum { DEADLINE_RUNTIME_MIN = 1024 }; /* nanoseconds */

static const struct word scheduler_flags[] = {
	{"SCHED_FLAG_RESET_ON_FORK", 0x01},  {"SCHED_FLAG_RECLAIM", 0x02},
	{"SCHED_FLAG_DL_OVERRUN", 0x04},     {"SCHED_FLAG_KEEP_POLICY", 0x08},
	{"SCHED_FLAG_KEEP_PARAMS", 0x10},    {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
	{"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40},
};

struct kernel_sched_attr {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime;
	uint64_t deadline;
	uint64_t period;
};

/* Of the kernel's rules, which all are EINVAL, those that no setting of the machine changes; sched(7). NULL: kept. */
static const char *deadline_fault(const Grpc__Scheduler *scheduler)
{
	if (scheduler->runtime < DEADLINE_RUNTIME_MIN)
		return "runtime must be at least 1024 ns";
	if (!scheduler->deadline)
		return "deadline must be given";
	if (scheduler->deadline < scheduler->runtime)
		return "deadline is below runtime";
	if (scheduler->period && scheduler->period < scheduler->deadline)
		return "period is below deadline";
	return NULL;
}

int scheduler_validate(const Grpc__Scheduler *scheduler, const char *property, struct error *e)
{
	int64_t policy;
	uint64_t flags;

	if (!scheduler)
		return 0;
	if (!find_word(policies, array_length(policies), scheduler->policy, &policy))
		return unknown_word(e, property, "policy", scheduler->policy);
	bool realtime = policy == POLICY_FIFO || policy == POLICY_RR;
	if (scheduler->nice < -20 || scheduler->nice > 19)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "%s.nice: %d is not within -20 … 19",
				 property, scheduler->nice);
	/* The kernel, and so others, pass over a nice value where the policy has none. */
	if (scheduler->priority && !realtime)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "%s.priority: only SCHED_FIFO and SCHED_RR have it, not %s", property,
				 scheduler->policy);
	if (realtime && (scheduler->priority < 1 || scheduler->priority > 99))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "%s.priority: %d is not within 1 … 99",
				 property, scheduler->priority);
	if (policy != POLICY_DEADLINE && (scheduler->runtime || scheduler->deadline || scheduler->period))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "%s: runtime, deadline and period belong to SCHED_DEADLINE, not to %s",
				 property, scheduler->policy);
	const char *fault = policy == POLICY_DEADLINE ? deadline_fault(scheduler) : NULL;
	if (fault)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "%s: SCHED_DEADLINE: %s", property,
				 fault);
	return collect_flags(scheduler_flags, array_length(scheduler_flags), scheduler->flags,
			     scheduler->n_flags, property, &flags, e);
}

int scheduler_apply(pid_t pid, const Grpc__Scheduler *scheduler, struct error *e)
{
	int64_t policy = 0;
	uint64_t flags = 0;

	if (!scheduler)
		return 0;
	int r = scheduler_validate(scheduler, "process.scheduler", e);
	if (r < 0)
		return r;
	(void)find_word(policies, array_length(policies), scheduler->policy, &policy);
	(void)collect_flags(scheduler_flags, array_length(scheduler_flags), scheduler->flags,
			    scheduler->n_flags, "", &flags, NULL);
	struct kernel_sched_attr attr = {
		.size = sizeof(attr),
		.policy = (uint32_t)policy,
		.flags = flags,
		.nice = scheduler->nice,
		.priority = (uint32_t)scheduler->priority,
		.runtime = scheduler->runtime,
		.deadline = scheduler->deadline,
		.period = scheduler->period,
	};
	if (syscall(SYS_sched_setattr, pid, &attr, 0) < 0)
		return error_errno(e, errno, "process.scheduler: set %s", scheduler->policy);
	return 0;
}

/* --- I/O priority ------------------------------------------------------------------------------------------- */

static const struct word io_classes[] = {
	{"IOPRIO_CLASS_RT", 1},
	{"IOPRIO_CLASS_BE", 2},
	{"IOPRIO_CLASS_IDLE", 3},
};
enum { IO_CLASS_SHIFT = 13, IO_WHO_PROCESS = 1 };

int io_priority_validate(const Grpc__LinuxIOPriority *priority, const char *property, struct error *e)
{
	int64_t class;

	if (!priority)
		return 0;
	if (!find_word(io_classes, array_length(io_classes), priority->class_, &class))
		return unknown_word(e, property, "class", priority->class_);
	if (priority->priority < 0 || priority->priority > 7)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "%s.priority: %d is not within 0 … 7",
				 property, priority->priority);
	return 0;
}

int io_priority_apply(const Grpc__LinuxIOPriority *priority, struct error *e)
{
	int64_t class = 0;

	if (!priority)
		return 0;
	int r = io_priority_validate(priority, "process.ioPriority", e);
	if (r < 0)
		return r;
	(void)find_word(io_classes, array_length(io_classes), priority->class_, &class);
	if (syscall(SYS_ioprio_set, IO_WHO_PROCESS, 0, (int)(class << IO_CLASS_SHIFT) | priority->priority) <
	    0)
		return error_errno(e, errno, "process.ioPriority: set %s %d", priority->class_,
				   priority->priority);
	return 0;
}

/* --- affinity ----------------------------------------------------------------------------------------------- */

/* A number at *@text, which is moved past it. */
static int take_number(const char **text, uint64_t *out)
{
	char *end;

	if (**text < '0' || **text > '9')
		return -EINVAL;
	errno = 0;
	*out = strtoull(*text, &end, 10);
	if (errno)
		return -ERANGE;
	*text = end;
	return 0;
}

int number_list_parse(const char *list, uint64_t *mask, size_t words)
{
	memset(mask, 0, words * sizeof(*mask));
	for (const char *p = list;;) {
		uint64_t first, last;
		int r = take_number(&p, &first);
		if (r < 0)
			return r;
		last = first;
		if (*p == '-') {
			p++;
			r = take_number(&p, &last);
			if (r < 0)
				return r;
		}
		if (last < first)
			return -EINVAL;
		if (last >= words * 64)
			return -ERANGE;
		for (uint64_t i = first; i <= last; i++)
			mask[i / 64] |= 1ULL << (i % 64);
		if (!*p)
			return 0;
		if (*p++ != ',')
			return -EINVAL;
	}
}

/* The kernel's own bound is CONFIG_NR_CPUS, 8192 on the largest configurations. */
enum { CPU_WORDS = 8192 / 64 };

int cpu_affinity_apply(pid_t pid, const char *list, struct error *e)
{
	uint64_t mask[CPU_WORDS];

	if (str_is_empty(list))
		return 0;
	int r = number_list_parse(list, mask, CPU_WORDS);
	if (r < 0)
		return error_set(e, STATUS_INVALID_ARGUMENT, -r,
				 "process.execCPUAffinity: \"%s\" is no list of CPUs", list);
	if (syscall(SYS_sched_setaffinity, pid, sizeof(mask), mask) < 0)
		return error_errno(e, errno, "process.execCPUAffinity: set \"%s\"", list);
	return 0;
}

void cpu_affinity_reset(void)
{
	uint64_t mask[CPU_WORDS];

	memset(mask, 0xff, sizeof(mask));
	(void)syscall(SYS_sched_setaffinity, 0, sizeof(mask), mask);
}

/* --- memory policy ------------------------------------------------------------------------------------------ */

static const struct word memory_modes[] = {
	{"MPOL_DEFAULT", 0},
	{"MPOL_PREFERRED", 1},
	{"MPOL_BIND", 2},
	{"MPOL_INTERLEAVE", 3},
	{"MPOL_LOCAL", 4},
	{"MPOL_PREFERRED_MANY", 5},
	{"MPOL_WEIGHTED_INTERLEAVE", 6},
};
static const struct word memory_flags[] = {
	{"MPOL_F_STATIC_NODES", 1 << 15},
	{"MPOL_F_RELATIVE_NODES", 1 << 14},
	{"MPOL_F_NUMA_BALANCING", 1 << 13},
};
enum { MODE_DEFAULT = 0, MODE_LOCAL = 4, NODE_WORDS = 1024 / 64 };

static unsigned count_nodes(const uint64_t nodes[NODE_WORDS])
{
	unsigned count = 0;

	for (size_t i = 0; i < NODE_WORDS; i++)
		count += (unsigned)__builtin_popcountll(nodes[i]);
	return count;
}

int memory_policy_validate(const Grpc__LinuxMemoryPolicy *policy, const char *property, struct error *e)
{
	uint64_t nodes[NODE_WORDS] = {0};
	int64_t mode, flag;

	if (!policy)
		return 0;
	if (!find_word(memory_modes, array_length(memory_modes), policy->mode, &mode))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "%s.mode: invalid memory policy mode \"%s\"", property,
				 str_or_empty(policy->mode));
	bool has_nodes = !str_is_empty(policy->nodes);
	if (has_nodes && number_list_parse(policy->nodes, nodes, NODE_WORDS) < 0)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "%s.nodes: invalid memory policy nodes \"%s\"", property, policy->nodes);
	if (has_nodes && (mode == MODE_DEFAULT || mode == MODE_LOCAL))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "%s.nodes: %s mode requires 0 nodes but got %u", property, policy->mode,
				 count_nodes(nodes));
	if (!has_nodes && mode > 1 && mode != MODE_LOCAL)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "%s.nodes: %s needs some", property,
				 policy->mode);
	for (size_t i = 0; i < policy->n_flags; i++) {
		if (!find_word(memory_flags, array_length(memory_flags), policy->flags[i], &flag))
			return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
					 "%s.flags: invalid memory policy flag \"%s\"", property,
					 str_or_empty(policy->flags[i]));
	}
	return 0;
}

int memory_policy_apply(const Grpc__LinuxMemoryPolicy *policy, struct error *e)
{
	uint64_t nodes[NODE_WORDS] = {0}, flags = 0;
	int64_t mode = 0;

	if (!policy)
		return 0;
	int r = memory_policy_validate(policy, "linux.memoryPolicy", e);
	if (r < 0)
		return r;
	(void)find_word(memory_modes, array_length(memory_modes), policy->mode, &mode);
	(void)collect_flags(memory_flags, array_length(memory_flags), policy->flags, policy->n_flags, "",
			    &flags, NULL);
	bool has_nodes = !str_is_empty(policy->nodes);
	if (has_nodes)
		(void)number_list_parse(policy->nodes, nodes, NODE_WORDS);
	/* The kernel counts one bit less than it is told. */
	unsigned long bits = has_nodes ? NODE_WORDS * 64 + 1 : 0;
	if (syscall(SYS_set_mempolicy, (int)mode | (int)flags, has_nodes ? nodes : NULL, bits) < 0)
		return error_errno(e, errno, "linux.memoryPolicy: set %s", policy->mode);
	return 0;
}

/* --- personality -------------------------------------------------------------------------------------------- */

static const struct word domains[] = {
	{"LINUX", PER_LINUX},
	{"LINUX32", PER_LINUX32},
};

int personality_validate(const Grpc__LinuxPersonality *personality_, const char *property, struct error *e)
{
	int64_t domain;

	if (!personality_)
		return 0;
	if (!find_word(domains, array_length(domains), personality_->domain, &domain))
		return unknown_word(e, property, "domain", personality_->domain);
	/* The runtime-spec reserves the member and defines no value. */
	if (personality_->n_flags)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "%s.flags: no flags are supported",
				 property);
	return 0;
}

int personality_apply(const Grpc__LinuxPersonality *personality_, struct error *e)
{
	int64_t domain = 0;

	if (!personality_)
		return 0;
	int r = personality_validate(personality_, "linux.personality", e);
	if (r < 0)
		return r;
	(void)find_word(domains, array_length(domains), personality_->domain, &domain);
	if (personality((unsigned long)domain) < 0)
		return error_errno(e, errno, "linux.personality: set %s", personality_->domain);
	return 0;
}
