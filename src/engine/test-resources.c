/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "engine/resources.h"

struct fixture {
	struct arena *arena;
	struct cgroup_resources out;
	struct error e;
	Grpc__LinuxResources in;
};

static int setup(void **state)
{
	static struct fixture f;

	f.arena = arena_new(0);
	f.e = ERROR_INIT;
	memset(&f.out, 0xff, sizeof(f.out));
	grpc__linux_resources__init(&f.in);
	resources_set_devices(RESOURCES_DEVICES_AUTO);
	*state = &f;
	return f.arena ? 0 : -1;
}

static int teardown(void **state)
{
	arena_free(((struct fixture *)*state)->arena);
	return 0;
}

static int convert(struct fixture *f)
{
	return resources_convert(&f->in, true, f->arena, &f->out, &f->e);
}

static void test_nothing(void **state)
{
	static const struct cgroup_resources empty;
	struct fixture *f = *state;

	assert_int_equal(resources_convert(NULL, true, f->arena, &f->out, &f->e), 0);
	assert_memory_equal(&f->out, &empty, sizeof(empty));
	assert_int_equal(convert(f), 0);
	assert_false(f->out.pids.set || f->out.memory.limit.set || f->out.cpu.shares.set ||
		     f->out.devices_set);
}

static void test_w05_presence_of_pids_is_kept(void **state)
{
	struct fixture *f = *state;
	Grpc__LinuxPids pids = GRPC__LINUX_PIDS__INIT;

	/* A host's none, or zero, in a message that is there is no limit. */
	f->in.pids = &pids;
	assert_int_equal(convert(f), 0);
	assert_true(f->out.pids.set);
	assert_int_equal(f->out.pids.value, -1);
	pids.has_limit = 1;
	assert_int_equal(convert(f), 0);
	assert_true(f->out.pids.set);
	assert_int_equal(f->out.pids.value, -1);
	pids.limit = 100;
	assert_int_equal(convert(f), 0);
	assert_int_equal(f->out.pids.value, 100);
	pids.limit = -1;
	assert_int_equal(convert(f), 0);
	assert_int_equal(f->out.pids.value, -1);
}

static void test_pids_of_a_file_are_what_is_written(void **state)
{
	struct fixture *f = *state;
	Grpc__LinuxPids pids = GRPC__LINUX_PIDS__INIT;

	f->in.pids = &pids;
	assert_int_equal(resources_convert(&f->in, false, f->arena, &f->out, &f->e), 0);
	assert_false(f->out.pids.set);
	for (int64_t limit = -1; limit <= 1; limit++) {
		pids.has_limit = 1;
		pids.limit = limit;
		assert_int_equal(resources_convert(&f->in, false, f->arena, &f->out, &f->e), 0);
		assert_true(f->out.pids.set);
		assert_int_equal(f->out.pids.value, limit);
	}
}

static void test_numbers_and_presence(void **state)
{
	struct fixture *f = *state;
	Grpc__LinuxMemory memory = GRPC__LINUX_MEMORY__INIT;
	Grpc__LinuxCPU cpu = GRPC__LINUX_CPU__INIT;

	memory.has_limit = memory.has_swap = memory.has_swappiness = memory.has_usehierarchy = 1;
	memory.limit = 1 << 20;
	memory.swap = -1;
	memory.usehierarchy = 1;
	memory.has_disableoomkiller = memory.disableoomkiller = 1;
	memory.has_checkbeforeupdate = memory.checkbeforeupdate = 1;
	memory.has_kerneltcp = 1;
	memory.kerneltcp = 77;
	cpu.has_shares = cpu.has_quota = cpu.has_burst = cpu.has_idle = cpu.has_realtimeruntime = 1;
	cpu.shares = 512;
	cpu.quota = -1;
	cpu.burst = 5;
	cpu.idle = 1;
	cpu.realtimeruntime = 9;
	cpu.cpus = (char *)"0-1";
	f->in.memory = &memory;
	f->in.cpu = &cpu;
	assert_int_equal(convert(f), 0);
	assert_int_equal(f->out.memory.limit.value, 1 << 20);
	assert_int_equal(f->out.memory.swap.value, -1);
	assert_true(f->out.memory.swappiness.set);
	assert_int_equal(f->out.memory.swappiness.value, 0);
	assert_false(f->out.memory.reservation.set || f->out.memory.kernel.set);
	assert_int_equal(f->out.memory.kernel_tcp.value, 77);
	assert_true(f->out.memory.disable_oom_killer && f->out.memory.check_before_update);
	assert_int_equal(f->out.memory.use_hierarchy.value, 1);
	assert_int_equal(f->out.cpu.shares.value, 512);
	assert_int_equal(f->out.cpu.quota.value, -1);
	assert_false(f->out.cpu.period.set);
	assert_int_equal(f->out.cpu.burst.value, 5);
	assert_int_equal(f->out.cpu.idle.value, 1);
	assert_int_equal(f->out.cpu.realtime_runtime.value, 9);
	assert_string_equal(f->out.cpu.cpus, "0-1");
}

static void test_lists(void **state)
{
	struct fixture *f = *state;
	Grpc__LinuxBlockIO io = GRPC__LINUX_BLOCK_IO__INIT;
	Grpc__LinuxWeightDevice weight = GRPC__LINUX_WEIGHT_DEVICE__INIT, *weights[] = {&weight};
	Grpc__LinuxThrottleDevice rate = GRPC__LINUX_THROTTLE_DEVICE__INIT, *rates[] = {&rate};
	Grpc__LinuxHugepageLimit page = GRPC__LINUX_HUGEPAGE_LIMIT__INIT, *pages[] = {&page};
	Grpc__LinuxNetwork network = GRPC__LINUX_NETWORK__INIT;
	Grpc__LinuxInterfacePriority priority = GRPC__LINUX_INTERFACE_PRIORITY__INIT,
				     *priorities[] = {&priority};
	Grpc__LinuxResources__UnifiedEntry unified = GRPC__LINUX_RESOURCES__UNIFIED_ENTRY__INIT,
					   *entries[] = {&unified};
	Grpc__LinuxResources__RdmaEntry rdma = GRPC__LINUX_RESOURCES__RDMA_ENTRY__INIT, *rdmas[] = {&rdma};
	Grpc__LinuxRdma limits = GRPC__LINUX_RDMA__INIT;

	weight.major = 8;
	weight.has_weight = weight.has_leafweight = 1;
	weight.weight = 100;
	weight.leafweight = 200;
	io.n_weightdevice = 1;
	io.weightdevice = weights;
	rate.major = 8;
	rate.minor = 16;
	rate.rate = 5;
	io.n_throttlewriteiopsdevice = 1;
	io.throttlewriteiopsdevice = rates;
	f->in.blockio = &io;
	page.pagesize = (char *)"2MB";
	page.limit = UINT64_MAX;
	f->in.n_hugepagelimits = 1;
	f->in.hugepagelimits = pages;
	network.has_classid = 1;
	network.classid = UINT32_MAX;
	priority.name = (char *)"eth0";
	priority.priority = 3;
	network.n_priorities = 1;
	network.priorities = priorities;
	f->in.network = &network;
	unified.key = (char *)"memory.high";
	unified.value = (char *)"max";
	f->in.n_unified = 1;
	f->in.unified = entries;
	limits.has_hcahandles = 1;
	limits.hcahandles = 3;
	rdma.key = (char *)"mlx5_0";
	rdma.value = &limits;
	f->in.n_rdma = 1;
	f->in.rdma = rdmas;
	assert_int_equal(convert(f), 0);
	assert_int_equal(f->out.io.n_weight_device, 1);
	assert_int_equal(f->out.io.weight_device[0].value, 100);
	assert_int_equal(f->out.io.n_leaf_weight_device, 1);
	assert_int_equal(f->out.io.leaf_weight_device[0].value, 200);
	assert_int_equal(f->out.io.n_write_iops, 1);
	assert_int_equal(f->out.io.write_iops[0].minor, 16);
	assert_int_equal(f->out.io.n_read_bps, 0);
	assert_string_equal(f->out.hugepages[0].name, "2MB");
	assert_true(f->out.hugepages[0].value == UINT64_MAX);
	assert_int_equal(f->out.net_class.value, UINT32_MAX);
	assert_string_equal(f->out.net_priorities[0].name, "eth0");
	assert_string_equal(f->out.unified[0].value, "max");
	assert_string_equal(f->out.rdma[0].device, "mlx5_0");
	assert_int_equal(f->out.rdma[0].hca_handles.value, 3);
	assert_false(f->out.rdma[0].hca_objects.set);
}

static void refuses(struct fixture *f, const char *property)
{
	f->e = ERROR_INIT;
	assert_int_equal(convert(f), -EINVAL);
	assert_int_equal(f->e.code, STATUS_INVALID_ARGUMENT);
	if (!strstr(f->e.text, property))
		fail_msg("\"%s\" does not name %s", f->e.text, property);
}

static void test_w26_ranges_are_told_by_property(void **state)
{
	struct fixture *f = *state;
	Grpc__LinuxMemory memory = GRPC__LINUX_MEMORY__INIT;
	Grpc__LinuxCPU cpu = GRPC__LINUX_CPU__INIT;
	Grpc__LinuxBlockIO io = GRPC__LINUX_BLOCK_IO__INIT;
	Grpc__LinuxThrottleDevice rate = GRPC__LINUX_THROTTLE_DEVICE__INIT, *rates[] = {&rate};
	Grpc__LinuxHugepageLimit page = GRPC__LINUX_HUGEPAGE_LIMIT__INIT, *pages[] = {&page};
	Grpc__LinuxResources__UnifiedEntry unified = GRPC__LINUX_RESOURCES__UNIFIED_ENTRY__INIT,
					   *entries[] = {&unified};

	f->in.memory = &memory;
	memory.has_swappiness = 1;
	memory.swappiness = 201;
	refuses(f, "memory.swappiness");
	f->in.memory = NULL;
	f->in.cpu = &cpu;
	cpu.has_idle = 1;
	cpu.idle = 2;
	refuses(f, "cpu.idle");
	f->in.cpu = NULL;
	f->in.blockio = &io;
	io.has_weight = 1;
	io.weight = 65536 + 500; /* 500 in 16 bits */
	refuses(f, "blockIO.weight");
	io.has_weight = 0;
	rate.major = -1;
	io.n_throttlereadbpsdevice = 1;
	io.throttlereadbpsdevice = rates;
	refuses(f, "blockIO.throttleReadBpsDevice");
	f->in.blockio = NULL;
	f->in.n_hugepagelimits = 1;
	f->in.hugepagelimits = pages;
	page.pagesize = NULL;
	refuses(f, "hugepageLimits");
	f->in.n_hugepagelimits = 0;
	f->in.n_unified = 1;
	f->in.unified = entries;
	unified.key = (char *)"../x";
	unified.value = (char *)"1";
	refuses(f, "unified");
}

/* --- devices -------------------------------------------------------------------------------------------- */

static void test_hosts_strip_device_rules_so_nothing_is_restricted(void **state)
{
	struct fixture *f = *state;
	Grpc__LinuxDeviceCgroup rule = GRPC__LINUX_DEVICE_CGROUP__INIT, *rules[] = {&rule};

	assert_int_equal(convert(f), 0);
	assert_false(f->out.devices_set);
	/* What the agent adds for a device that it attached is no restriction either. */
	rule.has_allow = rule.allow = 1;
	rule.type = (char *)"b";
	rule.has_major = rule.has_minor = 1;
	rule.major = 8;
	f->in.n_devices = 1;
	f->in.devices = rules;
	assert_int_equal(convert(f), 0);
	assert_false(f->out.devices_set);
	assert_int_equal(resources_restrict_devices(&f->out, NULL, 0, f->arena, &f->e), 0);
	assert_false(f->out.devices_set);
}

static void test_a_list_that_denies_gets_the_defaults(void **state)
{
	struct fixture *f = *state;
	Grpc__LinuxDeviceCgroup deny = GRPC__LINUX_DEVICE_CGROUP__INIT,
				fuse = GRPC__LINUX_DEVICE_CGROUP__INIT,
				fifo = GRPC__LINUX_DEVICE_CGROUP__INIT, *rules[] = {&deny, &fuse, &fifo};
	const struct cgroup_device_rule *last;

	deny.access = (char *)"rwm";
	fuse.has_allow = fuse.allow = fuse.has_major = fuse.has_minor = 1;
	fuse.type = (char *)"u";
	fuse.major = 10;
	fuse.minor = 229;
	fuse.access = (char *)"wxr";
	fifo.type = (char *)"p";
	f->in.n_devices = 3;
	f->in.devices = rules;
	assert_int_equal(convert(f), 0);
	assert_true(f->out.devices_set);
	assert_int_equal(f->out.n_devices, 14);
	/* Absent numbers are any. */
	assert_int_equal(f->out.devices[0].type, 'a');
	assert_int_equal(f->out.devices[0].major, -1);
	assert_int_equal(f->out.devices[0].minor, -1);
	assert_int_equal(f->out.devices[1].type, 'c');
	assert_int_equal(f->out.devices[1].minor, 229);
	assert_string_equal(f->out.devices[1].access, "rw");
	last = &f->out.devices[13];
	assert_true(last->allow && last->major == 10 && last->minor == 200);
	resources_set_devices(RESOURCES_DEVICES_OFF);
	assert_int_equal(convert(f), 0);
	assert_false(f->out.devices_set);
	resources_set_devices(RESOURCES_DEVICES_AUTO);
	deny.type = (char *)"x";
	refuses(f, "devices.type");
	deny.type = (char *)"ab";
	refuses(f, "devices.type");
}

static void test_the_operator_may_restrict_always(void **state)
{
	struct fixture *f = *state;
	Grpc__LinuxDeviceCgroup rule = GRPC__LINUX_DEVICE_CGROUP__INIT, *rules[] = {&rule};
	Grpc__LinuxDevice node = GRPC__LINUX_DEVICE__INIT, pipe = GRPC__LINUX_DEVICE__INIT,
			  *nodes[] = {&node, &pipe};

	resources_set_devices(RESOURCES_DEVICES_ON);
	rule.has_allow = rule.allow = rule.has_major = rule.has_minor = 1;
	rule.type = (char *)"b";
	rule.major = 254;
	node.type = (char *)"c";
	node.major = 10;
	node.minor = 229;
	pipe.type = (char *)"p";
	f->in.n_devices = 1;
	f->in.devices = rules;
	assert_int_equal(convert(f), 0);
	assert_false(f->out.devices_set); /* an update alone restricts nothing */
	assert_int_equal(resources_restrict_devices(&f->out, nodes, 2, f->arena, &f->e), 0);
	assert_true(f->out.devices_set);
	assert_int_equal(f->out.n_devices, 1 + 1 + 1 + 12);
	assert_false(f->out.devices[0].allow);
	assert_int_equal(f->out.devices[0].type, 'a');
	assert_int_equal(f->out.devices[1].major, 254);
	assert_int_equal(f->out.devices[2].minor, 229);
	assert_string_equal(f->out.devices[2].access, "rwm");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_w05_presence_of_pids_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pids_of_a_file_are_what_is_written, setup, teardown),
		cmocka_unit_test_setup_teardown(test_numbers_and_presence, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lists, setup, teardown),
		cmocka_unit_test_setup_teardown(test_w26_ranges_are_told_by_property, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hosts_strip_device_rules_so_nothing_is_restricted, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_list_that_denies_gets_the_defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_operator_may_restrict_always, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
