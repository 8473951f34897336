/* SPDX-License-Identifier: Apache-2.0 */
/* `update`: limits of a running container, from a file (the runtime-spec's `linux.resources`) or from options. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/fd.h"
#include "base/str.h"
#include "engine/rdt.h"
#include "oci/bundle.h"
#include "oci/session.h"
#include "proto/proto.h"

enum {
	BLKIO_WEIGHT = 256,
	CPU_PERIOD,
	CPU_QUOTA,
	CPU_BURST,
	CPU_SHARE,
	CPU_RT_PERIOD,
	CPU_RT_RUNTIME,
	CPUSET_CPUS,
	CPUSET_MEMS,
	CPU_IDLE,
	MEMORY,
	MEMORY_RESERVATION,
	MEMORY_SWAP,
	KERNEL_MEMORY,
	KERNEL_MEMORY_TCP,
	PIDS_LIMIT,
	L3_CACHE_SCHEMA,
	MEM_BW_SCHEMA
};

static const struct option options[] = {
	{"resources", required_argument, NULL, 'r'},
	{"blkio-weight", required_argument, NULL, BLKIO_WEIGHT},
	{"cpu-period", required_argument, NULL, CPU_PERIOD},
	{"cpu-quota", required_argument, NULL, CPU_QUOTA},
	{"cpu-burst", required_argument, NULL, CPU_BURST},
	{"cpu-share", required_argument, NULL, CPU_SHARE},
	{"cpu-shares", required_argument, NULL, CPU_SHARE},
	{"cpu-rt-period", required_argument, NULL, CPU_RT_PERIOD},
	{"cpu-rt-runtime", required_argument, NULL, CPU_RT_RUNTIME},
	{"cpuset-cpus", required_argument, NULL, CPUSET_CPUS},
	{"cpuset-mems", required_argument, NULL, CPUSET_MEMS},
	{"cpu-idle", required_argument, NULL, CPU_IDLE},
	{"memory", required_argument, NULL, MEMORY},
	{"memory-reservation", required_argument, NULL, MEMORY_RESERVATION},
	{"memory-swap", required_argument, NULL, MEMORY_SWAP},
	{"kernel-memory", required_argument, NULL, KERNEL_MEMORY},
	{"kernel-memory-tcp", required_argument, NULL, KERNEL_MEMORY_TCP},
	{"pids-limit", required_argument, NULL, PIDS_LIMIT},
	{"l3-cache-schema", required_argument, NULL, L3_CACHE_SCHEMA},
	{"mem-bw-schema", required_argument, NULL, MEM_BW_SCHEMA},
	{NULL, 0, NULL, 0},
};

/* "64m", "1GiB", "1024", "-1": bytes, with binary units. */
static int parse_bytes(const char *text, int64_t *out)
{
	static const char units[] = "kmgtp";
	char *end;

	errno = 0;
	*out = strtoll(text, &end, 10);
	if (errno || end == text || *out < -1)
		return -EINVAL;
	const char *unit = *end ? strchr(units, tolower((unsigned char)*end)) : NULL;
	if (unit) {
		for (const char *u = units; u <= unit; u++) {
			if (__builtin_mul_overflow(*out, 1024, out))
				return -ERANGE;
		}
		end++;
		end += strcasecmp(end, "ib") == 0 ? 2 : 0;
	}
	end += strcasecmp(end, "b") == 0;
	return *end ? -EINVAL : 0;
}

/* The part of the resources that an option belongs to, made when it is first needed. */
#define PART(resources, part, type, arena)                                                                   \
	((resources)->part ? (resources)->part : ((resources)->part = proto_new(&(type), (arena))))
#define SET(object, member, text, parse)                                                                     \
	((object) && (parse)((text), &(object)->member) == 0 ? ((object)->has_##member = true, 0) : -EINVAL)

static int decimal_u64(const char *text, uint64_t *out)
{
	return str_to_u64(text, 10, out);
}
static int decimal_i64(const char *text, int64_t *out)
{
	return str_to_i64(text, 10, out);
}
static int decimal_u32(const char *text, uint32_t *out)
{
	return str_to_u32(text, 10, out);
}

static int set_cpu(Grpc__LinuxCPU *cpu, int option, char *text)
{
	switch (option) {
	case CPU_PERIOD:
		return SET(cpu, period, text, decimal_u64);
	case CPU_QUOTA:
		return SET(cpu, quota, text, decimal_i64);
	case CPU_BURST:
		return SET(cpu, burst, text, decimal_u64);
	case CPU_SHARE:
		return SET(cpu, shares, text, decimal_u64);
	case CPU_RT_PERIOD:
		return SET(cpu, realtimeperiod, text, decimal_u64);
	case CPU_RT_RUNTIME:
		return SET(cpu, realtimeruntime, text, decimal_i64);
	case CPU_IDLE:
		return SET(cpu, idle, text, decimal_i64);
	case CPUSET_CPUS:
		return cpu ? (cpu->cpus = text, 0) : -ENOMEM;
	default:
		return cpu ? (cpu->mems = text, 0) : -ENOMEM;
	}
}

static int set_memory(Grpc__LinuxMemory *memory, int option, const char *text)
{
	switch (option) {
	case MEMORY:
		return SET(memory, limit, text, parse_bytes);
	case MEMORY_RESERVATION:
		return SET(memory, reservation, text, parse_bytes);
	case MEMORY_SWAP:
		return SET(memory, swap, text, parse_bytes);
	case KERNEL_MEMORY:
		return SET(memory, kernel, text, parse_bytes);
	default:
		return SET(memory, kerneltcp, text, parse_bytes);
	}
}

static int set_option(Grpc__LinuxResources *r, Grpc__LinuxIntelRdt *rdt, int option, char *text,
		      struct arena *arena)
{
	switch (option) {
	case BLKIO_WEIGHT:
		return SET(PART(r, blockio, grpc__linux_block_io__descriptor, arena), weight, text,
			   decimal_u32);
	case PIDS_LIMIT:
		return SET(PART(r, pids, grpc__linux_pids__descriptor, arena), limit, text, decimal_i64);
	case L3_CACHE_SCHEMA:
		rdt->l3cacheschema = text;
		return 0;
	case MEM_BW_SCHEMA:
		rdt->membwschema = text;
		return 0;
	case MEMORY:
	case MEMORY_RESERVATION:
	case MEMORY_SWAP:
	case KERNEL_MEMORY:
	case KERNEL_MEMORY_TCP:
		return set_memory(PART(r, memory, grpc__linux_memory__descriptor, arena), option, text);
	default:
		return set_cpu(PART(r, cpu, grpc__linux_cpu__descriptor, arena), option, text);
	}
}

static const char *option_name(int option)
{
	for (size_t i = 0; options[i].name; i++) {
		if (options[i].val == option)
			return options[i].name;
	}
	return "";
}

/* 0, or the exit status. *@resources may be replaced by what a file has. */
static int parse(struct oci *oci, int argc, char **argv, Grpc__LinuxResources **resources,
		 Grpc__LinuxIntelRdt *rdt, struct arena *arena)
{
	struct error e = ERROR_INIT;
	int option;

	/* Options stand before or behind the id. */
	while ((option = getopt_long(argc, argv, "r:", options, NULL)) != -1) {
		if (option == '?')
			return oci_usage(oci);
		if (option == 'r') {
			*resources =
				bundle_load_object(&grpc__linux_resources__descriptor, optarg, arena, &e);
			if (!*resources)
				return oci_fail(oci, &e);
		} else if (set_option(*resources, rdt, option, optarg, arena) < 0) {
			return oci_complain(oci, "invalid value \"%s\" for --%s", optarg,
					    option_name(option));
		}
	}
	return 0;
}

static int update(struct session *s, const Grpc__LinuxResources *resources, Grpc__LinuxIntelRdt *rdt,
		  struct error *e)
{
	const Grpc__Spec *spec = container_spec(s->container);

	if (s->record.status == CONTAINER_STOPPED)
		return error_set(e, STATUS_FAILED_PRECONDITION, ESRCH, "container not running: \"%s\"",
				 s->dir.id);
	container_update(s->container, resources, session_done, s);
	int r = session_wait(s, e);
	if (r < 0 || (!rdt->l3cacheschema && !rdt->membwschema))
		return r;
	rdt->closid = spec->linux->intelrdt ? spec->linux->intelrdt->closid : NULL;
	return rdt_update(rdt_root(), rdt, s->dir.id, e);
}

int command_update(struct oci *oci, int argc, char **argv)
{
	struct session s = SESSION_INIT;
	struct error e = ERROR_INIT;
	Grpc__LinuxIntelRdt rdt = GRPC__LINUX_INTEL_RDT__INIT;
	struct arena *arena = arena_new(0);
	Grpc__LinuxResources *resources = arena ? proto_new(&grpc__linux_resources__descriptor, arena) : NULL;
	int status = 1;

	if (resources && parse(oci, argc, argv, &resources, &rdt, arena) == 0) {
		const char *id = oci_only_id(oci, argc, argv, optind);
		if (id) {
			int r = session_open(&s, oci, id, STATE_EXCLUSIVE, false, &e);
			if (r == 0)
				r = update(&s, resources, &rdt, &e);
			status = r < 0 ? oci_fail(oci, &e) : 0;
			session_close(&s);
		}
	}
	arena_free(arena);
	return status;
}
