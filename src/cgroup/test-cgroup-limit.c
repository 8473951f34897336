/* SPDX-License-Identifier: Apache-2.0 */
/* What is found on a machine, and what is written for each resource, against trees of plain files. */
#include "test-cgroup-tree.h"

#include <sys/xattr.h>

#include "cgroup/cpuset.h"

#define SET(v)                                                                                               \
	{                                                                                                    \
		true, v                                                                                      \
	}

static void apply(const struct fake *fake, const struct cgroup_resources *r)
{
	struct error e = ERROR_INIT;
	struct cgroup *cg = fake_cgroup(fake);

	if (cgroup_create(cg, r, &e) < 0 || cgroup_set(cg, r, &e) < 0)
		fail_msg("%s", e.text);
	cgroup_free(cg);
}

static int refused(const struct fake *fake, const struct cgroup_resources *r, struct error *e)
{
	struct cgroup *cg = fake_cgroup(fake);
	int result;

	*e = ERROR_INIT;
	result = cgroup_set(cg, r, e);
	cgroup_free(cg);
	return result;
}

/* --- layouts -------------------------------------------------------------------------------------------- */

static void test_layouts(void **state)
{
	struct fake f;

	(void)state;
	fake_v1(&f);
	assert_int_equal(cgroup_host_layout(f.host), CGROUP_V1);
	assert_true(cgroup_host_has(f.host, "cpuacct"));
	assert_true(cgroup_host_has(f.host, "blkio"));
	assert_true(cgroup_host_has(f.host, "io"));
	assert_false(cgroup_host_has(f.host, "misc"));
	assert_false(cgroup_host_has(f.host, "name=systemd"));
	assert_int_equal(f.host->count, 11);
	/* blkio before memory; names last. */
	assert_non_null(strstr(f.host->hierarchies[0].mount, "/blkio"));
	assert_non_null(strstr(f.host->hierarchies[1].mount, "/memory"));
	assert_string_equal(f.host->hierarchies[10].super, "name=systemd");
	fake_deinit(&f);

	fake_v2(&f);
	assert_int_equal(cgroup_host_layout(f.host), CGROUP_V2);
	assert_true(cgroup_host_has(f.host, "memory"));
	assert_true(cgroup_host_has(f.host, "rdma"));
	fake_deinit(&f);

	fake_init(&f, MOUNTS_V1 "50 31 0:50 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
	fake_write(&f, "/sys/fs/cgroup/unified/cgroup.controllers", "misc\n");
	fake_start(&f);
	assert_int_equal(cgroup_host_layout(f.host), CGROUP_HYBRID);
	assert_true(cgroup_host_has(f.host, "misc"));
	assert_int_equal(host_v2(f.host), 11);
	fake_deinit(&f);

	fake_init(&f, "20 1 0:20 / / rw - ext4 /dev/vda rw\nrubbish\n31 23\n - cgroup\n1 2 3 4 5 - cgroup "
		      "cgroup\n");
	fake_start(&f);
	assert_int_equal(cgroup_host_layout(f.host), CGROUP_NONE);
	fake_deinit(&f);
}

/* The same hierarchy in a second place (a container's own mounts), and a mount point with a blank. */
static void test_first_mount_counts(void **state)
{
	struct fake f;

	(void)state;
	fake_init(&f, "33 31 0:30 / /a\\040b rw - cgroup cgroup rw,memory\n"
		      "34 31 0:30 / /other rw - cgroup cgroup rw,memory\n");
	fake_start(&f);
	assert_int_equal(f.host->count, 1);
	assert_string_equal(f.host->hierarchies[0].mount + strlen(f.root), "/a b");
	fake_deinit(&f);
}

static void test_directories(void **state)
{
	struct fake f;
	struct cgroup *cg;
	char path[300];

	(void)state;
	fake_v1(&f);
	cg = fake_cgroup(&f);
	snprintf(path, sizeof(path), "%s/sys/fs/cgroup/cpu,cpuacct/pod/ctr", f.root);
	assert_string_equal(cgroup_directory(cg, "cpu"), path);
	assert_string_equal(cgroup_directory(cg, "cpuacct"), path);
	snprintf(path, sizeof(path), "%s/sys/fs/cgroup/systemd/pod/ctr", f.root);
	assert_string_equal(cgroup_directory(cg, "name=systemd"), path);
	assert_null(cgroup_directory(cg, "misc"));
	assert_null(cgroup_directory(cg, NULL));
	assert_string_equal(cgroup_path(cg), "pod/ctr");
	assert_int_equal(cgroup_open(cg), -1);
	cgroup_free(cg);
	fake_deinit(&f);

	fake_v2(&f);
	cg = fake_cgroup(&f);
	snprintf(path, sizeof(path), "%s" V2_CTR, f.root);
	assert_string_equal(cgroup_directory(cg, NULL), path);
	cgroup_free(cg);
	fake_deinit(&f);
}

static void test_w21_a_directory_to_be_born_into(void **state)
{
	struct fake f;
	struct cgroup *cg;
	int fd;

	(void)state;
	fake_v2(&f);
	cg = fake_cgroup(&f);
	fd = cgroup_open(cg);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	fd_close(fd);
	cgroup_free(cg);
	fake_deinit(&f);
}

/* --- v2 ------------------------------------------------------------------------------------------------- */

static void expect(const struct fake *f, const char *file, const char *text)
{
	char path[300];

	snprintf(path, sizeof(path), V2_CTR "/%s", file);
	if (strcmp(fake_read(f, path), text) != 0)
		fail_msg("%s: \"%s\", not \"%s\"", file, fake_read(f, path), text);
	/* The next write begins at the front again. */
	if (strcmp(text, "(none)") != 0)
		fake_write(f, path, "");
}

static void test_v2_cpu(void **state)
{
	struct fake f;

	(void)state;
	fake_v2(&f);
	apply(&f, &(struct cgroup_resources){.cpu = {.shares = SET(512),
						     .quota = SET(50000),
						     .period = SET(200000),
						     .burst = SET(1000),
						     .cpus = "0-3",
						     .mems = "0"}});
	expect(&f, "cpu.weight", "20");
	expect(&f, "cpu.max", "50000 200000");
	expect(&f, "cpu.max.burst", "1000");
	expect(&f, "cpuset.cpus", "0-3");
	expect(&f, "cpuset.mems", "0");
	expect(&f, "cpu.idle", "");
	apply(&f, &(struct cgroup_resources){.cpu = {.quota = SET(-1)}});
	expect(&f, "cpu.max", "max");
	fake_write(&f, V2_CTR "/cpu.max", "30000 100000\n");
	apply(&f, &(struct cgroup_resources){.cpu = {.period = SET(50000)}});
	assert_int_equal(strncmp(fake_read(&f, V2_CTR "/cpu.max"), "30000 50000", 11), 0);
	apply(&f, &(struct cgroup_resources){.cpu = {.idle = SET(1), .shares = SET(512)}});
	expect(&f, "cpu.idle", "1");
	expect(&f, "cpu.weight", "");
	fake_deinit(&f);
}

static void test_w15_one_write_of_cpu_max_and_weights_of_their_own(void **state)
{
	static const struct cgroup_device_u64 weights[] = {{8, 0, 300}};
	struct fake f;

	(void)state;
	fake_v2(&f);
	/* Plain files do not truncate: two writes would leave traces of each other. */
	apply(&f, &(struct cgroup_resources){.cpu = {.quota = SET(7), .period = SET(1000)},
					     .io = {.weight = SET(500)}});
	expect(&f, "cpu.max", "7 1000");
	expect(&f, "io.bfq.weight", "500");
	apply(&f, &(struct cgroup_resources){.io = {.weight_device = weights, .n_weight_device = 1}});
	expect(&f, "io.bfq.weight", "8:0 300");
	fake_deinit(&f);
}

static void remove_knob(const struct fake *f, const char *path)
{
	char full[400];

	snprintf(full, sizeof(full), "%s%s", f->root, path);
	assert_int_equal(unlink(full), 0);
}

static void test_v2_io(void **state)
{
	static const struct cgroup_device_u64 weights[] = {{8, 16, 1000}}, rates[] = {{8, 0, 1048576}},
					      none[] = {{8, 0, 0}};
	struct fake f;

	(void)state;
	fake_v2(&f);
	remove_knob(&f, V2_CTR "/io.bfq.weight");
	apply(&f, &(struct cgroup_resources){.io = {.weight = SET(10)}});
	expect(&f, "io.weight", "1");
	apply(&f, &(struct cgroup_resources){.io = {.weight_device = weights, .n_weight_device = 1}});
	expect(&f, "io.weight", "8:16 10000");
	apply(&f, &(struct cgroup_resources){.io = {.read_bps = rates, .n_read_bps = 1}});
	expect(&f, "io.max", "8:0 rbps=1048576");
	apply(&f, &(struct cgroup_resources){.io = {.write_bps = rates, .n_write_bps = 1}});
	expect(&f, "io.max", "8:0 wbps=1048576");
	apply(&f, &(struct cgroup_resources){.io = {.read_iops = rates, .n_read_iops = 1}});
	expect(&f, "io.max", "8:0 riops=1048576");
	apply(&f, &(struct cgroup_resources){.io = {.write_iops = none, .n_write_iops = 1}});
	expect(&f, "io.max", "8:0 wiops=max");
	/* Neither: a weight is no reason to fail. */
	remove_knob(&f, V2_CTR "/io.weight");
	apply(&f, &(struct cgroup_resources){.io = {.weight = SET(10), .leaf_weight = SET(10)}});
	fake_deinit(&f);
}

static void test_w04_swap_alone_on_v2(void **state)
{
	struct fake f;
	struct error e;

	(void)state;
	fake_v2(&f);
	apply(&f, &(struct cgroup_resources){.memory = {.limit = SET(1000), .swap = SET(1000)}});
	expect(&f, "memory.max", "1000");
	expect(&f, "memory.swap.max", "0");
	apply(&f, &(struct cgroup_resources){.memory = {.limit = SET(1000), .swap = SET(1500)}});
	expect(&f, "memory.swap.max", "500");
	expect(&f, "memory.max", "1000");
	apply(&f, &(struct cgroup_resources){.memory = {.limit = SET(1000), .swap = SET(-1)}});
	expect(&f, "memory.swap.max", "max");
	expect(&f, "memory.max", "1000");
	apply(&f, &(struct cgroup_resources){.memory = {.limit = SET(-1)}});
	expect(&f, "memory.max", "max");
	expect(&f, "memory.swap.max", "max");
	/* Swap without a limit in the request: of the one in force. */
	fake_write(&f, V2_CTR "/memory.max", "4096\n");
	apply(&f, &(struct cgroup_resources){.memory = {.swap = SET(8192)}});
	expect(&f, "memory.swap.max", "4096");
	fake_write(&f, V2_CTR "/memory.max", "max\n");
	assert_true(refused(&f, &(struct cgroup_resources){.memory = {.swap = SET(8192)}}, &e) < 0);
	assert_non_null(strstr(e.text, "without a memory limit"));
	assert_true(refused(&f, &(struct cgroup_resources){.memory = {.limit = SET(10), .swap = SET(5)}},
			    &e) < 0);
	/* What v2 has no file for does not fail, and swappiness is no limit of swap. */
	fake_write(&f, V2_CTR "/memory.max", "");
	apply(&f, &(struct cgroup_resources){.memory = {.swappiness = SET(60),
							.disable_oom_killer = true,
							.kernel = SET(5),
							.kernel_tcp = SET(5)},
					     .cpu = {.realtime_runtime = SET(5)}});
	expect(&f, "memory.swap.max", "");
	apply(&f, &(struct cgroup_resources){.memory = {.reservation = SET(77)}});
	expect(&f, "memory.low", "77");
	/* No swap accounting: nothing to forbid. */
	remove_knob(&f, V2_CTR "/memory.swap.max");
	apply(&f, &(struct cgroup_resources){.memory = {.limit = SET(1000), .swap = SET(1000)}});
	expect(&f, "memory.max", "1000");
	apply(&f, &(struct cgroup_resources){.memory = {.limit = SET(1000), .swap = SET(-1)}});
	assert_true(refused(&f, &(struct cgroup_resources){.memory = {.limit = SET(10), .swap = SET(50)}},
			    &e) < 0);
	fake_deinit(&f);
}

static void test_check_before_update(void **state)
{
	struct fake f;
	struct error e;

	(void)state;
	fake_v2(&f);
	fake_write(&f, V2_CTR "/memory.current", "5000\n");
	fake_write(&f, V2_CTR "/memory.swap.current", "1000\n");
	assert_true(refused(&f,
			    &(struct cgroup_resources){
				    .memory = {.limit = SET(4000), .check_before_update = true}},
			    &e) < 0);
	assert_int_equal(e.errnum, EBUSY);
	assert_true(refused(&f,
			    &(struct cgroup_resources){.memory = {.limit = SET(5500),
								  .swap = SET(5800),
								  .check_before_update = true}},
			    &e) < 0);
	expect(&f, "memory.max", "");
	apply(&f, &(struct cgroup_resources){.memory = {.limit = SET(6000), .check_before_update = true}});
	expect(&f, "memory.max", "6000");
	fake_deinit(&f);
}

static void test_w05_pids(void **state)
{
	struct fake f;

	(void)state;
	fake_v2(&f);
	apply(&f, &(struct cgroup_resources){.pids = SET(42)});
	expect(&f, "pids.max", "42");
	apply(&f, &(struct cgroup_resources){.pids = SET(-1)});
	expect(&f, "pids.max", "max");
	/* As with runc: nothing that lives can have less. */
	apply(&f, &(struct cgroup_resources){.pids = SET(0)});
	expect(&f, "pids.max", "1");
	apply(&f, &(struct cgroup_resources){.memory = {.limit = SET(5)}});
	expect(&f, "pids.max", "");
	fake_deinit(&f);
}

static void test_v2_hugepages_rdma_unified(void **state)
{
	static const struct cgroup_named_u64 pages[] = {{"2MB", 4194304}, {"3MB", 1}};
	static const struct cgroup_named_u64 unlimited[] = {{"2MB", UINT64_MAX}};
	static const struct cgroup_rdma rdma[] = {{"mlx5_0", SET(3), {false, 0}}};
	static const struct cgroup_text unified[] = {{"misc.max", "res_a 5"}, {"memory.low", "1\n2"}};
	struct fake f;

	(void)state;
	fake_v2(&f);
	apply(&f,
	      &(struct cgroup_resources){.hugepages = pages, .n_hugepages = 2, .rdma = rdma, .n_rdma = 1});
	expect(&f, "hugetlb.2MB.max", "4194304");
	expect(&f, "hugetlb.2MB.rsvd.max", "4194304");
	expect(&f, "rdma.max", "mlx5_0 hca_handle=3");
	apply(&f, &(struct cgroup_resources){.hugepages = unlimited, .n_hugepages = 1});
	expect(&f, "hugetlb.2MB.max", "max");
	apply(&f, &(struct cgroup_resources){.unified = unified, .n_unified = 2});
	expect(&f, "misc.max", "res_a 5");
	expect(&f, "memory.low", "2"); /* line by line */
	fake_deinit(&f);
}

static void test_unified_is_no_way_to_processes(void **state)
{
	static const char *const names[] = {"cgroup.procs",
					    "cgroup.kill",
					    "cgroup.freeze",
					    "../memory.max",
					    "a/b",
					    "memory",
					    "",
					    ".x",
					    "cgroup.subtree_control"};
	struct fake f;
	struct error e;

	(void)state;
	fake_v2(&f);
	for (size_t i = 0; i < array_length(names); i++) {
		struct cgroup_text entry = {names[i], "1"};

		assert_true(refused(&f, &(struct cgroup_resources){.unified = &entry, .n_unified = 1}, &e) <
			    0);
		assert_int_equal(e.code, STATUS_INVALID_ARGUMENT);
	}
	expect(&f, "cgroup.procs", "");
	fake_deinit(&f);
	fake_v1(&f);
	assert_true(refused(&f,
			    &(struct cgroup_resources){.unified = &(struct cgroup_text){"memory.low", "1"},
						       .n_unified = 1},
			    &e) < 0);
	fake_deinit(&f);
}

static void test_w19_controllers_go_down_in_one_write_and_are_missed_by_name(void **state)
{
	struct fake f;
	struct error e = ERROR_INIT;
	struct cgroup *cg;

	(void)state;
	fake_v2(&f);
	cg = fake_cgroup(&f);
	assert_int_equal(cgroup_create(cg, NULL, &e), 0);
	cgroup_free(cg);
	assert_string_equal(fake_read(&f, "/sys/fs/cgroup/cgroup.subtree_control"),
			    "+io +memory +pids +cpuset +cpu +hugetlb");
	assert_string_equal(fake_read(&f, "/sys/fs/cgroup/pod/cgroup.subtree_control"),
			    "+io +memory +pids +cpuset +cpu +hugetlb");
	/* Not the leaf's own. */
	assert_string_equal(fake_read(&f, V2_CTR "/cgroup.subtree_control"), "(none)");
	remove_knob(&f, V2_CTR "/memory.max");
	remove_knob(&f, "/sys/fs/cgroup/pod/cgroup.subtree_control");
	assert_true(refused(&f, &(struct cgroup_resources){.memory = {.limit = SET(5)}}, &e) < 0);
	assert_non_null(strstr(e.text, "controller \"memory\" could not be enabled"));
	fake_deinit(&f);

	fake_v2(&f);
	fake_write(&f, "/sys/fs/cgroup/cgroup.controllers", "cpu\n");
	cgroup_host_free(f.host);
	fake_start(&f);
	remove_knob(&f, V2_CTR "/memory.max");
	assert_true(refused(&f, &(struct cgroup_resources){.memory = {.limit = SET(5)}}, &e) < 0);
	assert_non_null(strstr(e.text, "controller \"memory\" is not available on this machine"));
	assert_int_equal(e.errnum, ENOENT);
	fake_deinit(&f);
}

static void test_w25_errors_are_short_and_say_what(void **state)
{
	struct fake f;
	struct error e;

	(void)state;
	fake_v2(&f);
	remove_knob(&f, V2_CTR "/pids.max");
	assert_true(refused(&f, &(struct cgroup_resources){.pids = SET(7)}, &e) < 0);
	assert_string_equal(
		e.text, "write \"7\" to \"pids.max\" of cgroup \"pod/ctr\": this kernel has no such file: "
			"ENOENT: No such file or directory");
	fake_deinit(&f);
}

static void test_w26_numbers_are_checked(void **state)
{
	static const struct {
		struct cgroup_resources r;
		const char *word;
	} bad[] = {
		{{.memory = {.swappiness = SET(201)}}, "swappiness"},
		{{.io = {.weight = SET(9)}}, "weight"},
		{{.io = {.weight = SET(1001)}}, "weight"},
		{{.cpu = {.cpus = "x"}}, "cpus"},
		{{.cpu = {.cpus = "3-1"}}, "cpus"},
		{{.cpu = {.cpus = "0,,1 "}}, "cpus"},
		{{.cpu = {.cpus = "99999"}}, "cpus"},
		{{.cpu = {.cpus = "0-99"}}, "no such CPUs"},
		{{.cpu = {.mems = "0-"}}, "mems"},
		{{.memory = {.limit = SET(-1), .swap = SET(5)}}, "without"},
	};
	static const struct cgroup_rdma rdma[] = {{"a b", SET(3), {false, 0}}};
	struct fake f;
	struct error e;

	(void)state;
	fake_v2(&f);
	for (size_t i = 0; i < array_length(bad); i++) {
		assert_true(refused(&f, &bad[i].r, &e) < 0);
		assert_int_equal(e.code, STATUS_INVALID_ARGUMENT);
		assert_non_null(strstr(e.text, bad[i].word));
	}
	assert_true(refused(&f, &(struct cgroup_resources){.rdma = rdma, .n_rdma = 1}, &e) < 0);
	/* Nodes of the host's numbering: those that are here. */
	apply(&f, &(struct cgroup_resources){.cpu = {.mems = "1-7"}});
	expect(&f, "cpuset.mems", "1");
	apply(&f, &(struct cgroup_resources){.cpu = {.mems = "4"}});
	expect(&f, "cpuset.mems", "");
	fake_deinit(&f);
}

static void test_w18_minus_one_is_unlimited_and_absent_is_left_alone(void **state)
{
	struct fake f;

	(void)state;
	fake_v2(&f);
	apply(&f, &(struct cgroup_resources){.memory = {.limit = SET(-1), .reservation = SET(-1)},
					     .cpu = {.quota = SET(-1)},
					     .pids = SET(-1)});
	expect(&f, "memory.max", "max");
	expect(&f, "memory.low", "max");
	expect(&f, "cpu.max", "max");
	expect(&f, "pids.max", "max");
	expect(&f, "memory.swap.max", "max");
	apply(&f, &(struct cgroup_resources){.cpu = {.shares = SET(0), .quota = SET(0), .period = SET(0)},
					     .memory = {.limit = SET(0), .swap = SET(0)}});
	expect(&f, "memory.max", "");
	expect(&f, "cpu.max", "");
	expect(&f, "cpu.weight", "");
	fake_deinit(&f);
}

/* --- v1 ------------------------------------------------------------------------------------------------- */

static void test_v1_files(void **state)
{
	static const struct cgroup_device_u64 weights[] = {{8, 0, 300}}, leaves[] = {{8, 0, 200}},
					      rate[] = {{8, 0, 77}};
	static const struct cgroup_named_u64 priorities[] = {{"eth0", 5}};
	static const struct cgroup_named_u64 pages[] = {{"2MB", 4194304}};
	static const struct cgroup_rdma rdma[] = {{"mlx5_0", SET(3), SET(UINT64_MAX)}};
	static const struct {
		const char *hierarchy, *file, *text;
	} expected[] = {
		{"cpu,cpuacct", "cpu.shares", "512"},
		{"cpu,cpuacct", "cpu.cfs_quota_us", "50000"},
		{"cpu,cpuacct", "cpu.cfs_period_us", "100000"},
		{"cpu,cpuacct", "cpu.cfs_burst_us", "1000"},
		{"cpu,cpuacct", "cpu.rt_runtime_us", "9000"},
		{"cpu,cpuacct", "cpu.rt_period_us", "1000000"},
		{"cpuset", "cpuset.cpus", "0-1"},
		{"cpuset", "cpuset.mems", "0"},
		{"memory", "memory.limit_in_bytes", "4096"},
		{"memory", "memory.memsw.limit_in_bytes", "8192"},
		{"memory", "memory.soft_limit_in_bytes", "2048"},
		{"memory", "memory.swappiness", "150"},
		{"memory", "memory.oom_control", "1"},
		{"memory", "memory.kmem.tcp.limit_in_bytes", "1024"},
		{"memory", "memory.use_hierarchy", "1"},
		{"pids", "pids.max", "9"},
		{"blkio", "blkio.weight", "500"},
		{"blkio", "blkio.leaf_weight", "400"},
		{"blkio", "blkio.weight_device", "8:0 300"},
		{"blkio", "blkio.leaf_weight_device", "8:0 200"},
		{"blkio", "blkio.throttle.read_bps_device", "8:0 77"},
		{"blkio", "blkio.throttle.write_bps_device", "8:0 77"},
		{"blkio", "blkio.throttle.read_iops_device", "8:0 77"},
		{"blkio", "blkio.throttle.write_iops_device", "8:0 77"},
		{"net", "net_cls.classid", "0x00100001"},
		{"net", "net_prio.ifpriomap", "eth0 5"},
		{"hugetlb", "hugetlb.2MB.limit_in_bytes", "4194304"},
		{"hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes", "4194304"},
		{"rdma", "rdma.max", "mlx5_0 hca_handle=3 hca_object=max"},
	};
	struct cgroup_resources r = {
		.cpu = {.shares = SET(512),
			.quota = SET(50000),
			.period = SET(100000),
			.burst = SET(1000),
			.realtime_runtime = SET(9000),
			.realtime_period = SET(1000000),
			.cpus = "0-1",
			.mems = "0"},
		.memory = {.limit = SET(4096),
			   .swap = SET(8192),
			   .reservation = SET(2048),
			   .swappiness = SET(150),
			   .disable_oom_killer = true,
			   .kernel = SET(99),
			   .kernel_tcp = SET(1024),
			   .use_hierarchy = SET(1)},
		.pids = SET(9),
		.io = {.weight = SET(500),
		       .leaf_weight = SET(400),
		       .weight_device = weights,
		       .n_weight_device = 1,
		       .leaf_weight_device = leaves,
		       .n_leaf_weight_device = 1,
		       .read_bps = rate,
		       .n_read_bps = 1,
		       .write_bps = rate,
		       .n_write_bps = 1,
		       .read_iops = rate,
		       .n_read_iops = 1,
		       .write_iops = rate,
		       .n_write_iops = 1},
		.net_class = SET(0x100001),
		.net_priorities = priorities,
		.n_net_priorities = 1,
		.hugepages = pages,
		.n_hugepages = 1,
		.rdma = rdma,
		.n_rdma = 1,
	};
	struct fake f;

	(void)state;
	fake_v1(&f);
	apply(&f, &r);
	for (size_t i = 0; i < array_length(expected); i++)
		assert_string_equal(fake_v1_read(&f, expected[i].hierarchy, expected[i].file),
				    expected[i].text);
	fake_deinit(&f);
}

static void test_w24_swappiness_to_200_on_v1(void **state)
{
	struct fake f;

	(void)state;
	fake_v1(&f);
	apply(&f, &(struct cgroup_resources){.memory = {.swappiness = SET(200)}});
	assert_string_equal(fake_v1_read(&f, "memory", "memory.swappiness"), "200");
	fake_deinit(&f);
}

static void test_v1_devices(void **state)
{
	static const struct cgroup_device_rule rules[] = {
		{false, 'a', -1, -1, "rwm"},
		{true, 'c', 1, 3, "rw"},
	};
	struct fake f;

	(void)state;
	fake_v1(&f);
	apply(&f, &(struct cgroup_resources){.devices = rules, .n_devices = 2});
	assert_string_equal(fake_v1_read(&f, "devices", "devices.deny"), "");
	apply(&f, &(struct cgroup_resources){.devices = rules, .n_devices = 2, .devices_set = true});
	assert_string_equal(fake_v1_read(&f, "devices", "devices.deny"), "a");
	assert_string_equal(fake_v1_read(&f, "devices", "devices.allow"), "c 1:3 rw");
	fake_deinit(&f);
}

/* Each level from the one above; what has a list of its own keeps it, also when CPUs are plugged in. */
static void test_w12_cpusets_follow_hot_plug(void **state)
{
	struct fake f;
	struct cgroup *all, *pinned;
	struct error e = ERROR_INIT;

	(void)state;
	fake_init(&f, "34 31 0:31 / /cs rw - cgroup cgroup rw,cpuset\n");
	fake_write(&f, "/cs/cpuset.cpus", "0-1\n");
	fake_write(&f, "/cs/cpuset.mems", "0\n");
	fake_start(&f);
	all = cgroup_new(f.host, CGROUP_CGROUPFS, "/pod/all", "x", false, &e);
	pinned = cgroup_new(f.host, CGROUP_CGROUPFS, "/pod/pinned", "x", false, &e);
	/* Directories of ours, then the files that a kernel would put there. */
	assert_int_equal(cgroup_create(all, NULL, &e), 0);
	assert_int_equal(cgroup_create(pinned, NULL, &e), 0);
	fake_knobs(&f, "/cs/pod", (const char *const[]){"cpuset.cpus", "cpuset.mems", NULL});
	fake_knobs(&f, "/cs/pod/all", (const char *const[]){"cpuset.cpus", "cpuset.mems", NULL});
	fake_knobs(&f, "/cs/pod/pinned", (const char *const[]){"cpuset.cpus", "cpuset.mems", NULL});
	assert_int_equal(cgroup_create(all, NULL, &e), 0);
	assert_int_equal(cgroup_create(pinned, NULL, &e), 0);
	assert_string_equal(fake_read(&f, "/cs/pod/cpuset.cpus"), "0-1");
	assert_string_equal(fake_read(&f, "/cs/pod/all/cpuset.cpus"), "0-1");
	assert_string_equal(fake_read(&f, "/cs/pod/all/cpuset.mems"), "0");
	fake_write(&f, "/cs/pod/pinned/cpuset.cpus", "");
	assert_int_equal(cgroup_set(pinned, &(struct cgroup_resources){.cpu = {.cpus = "1"}}, &e), 0);
	if (getxattr(cgroup_directory(pinned, "cpuset"), CGROUP_MARK ".cpus", NULL, 0) < 0) {
		print_message("skipped: no trusted extended attributes here\n");
	} else {
		fake_write(&f, "/cs/cpuset.cpus", "0-3\n");
		assert_int_equal(cgroup_refresh_cpuset(all, &e), 0);
		assert_int_equal(cgroup_refresh_cpuset(pinned, &e), 0);
		assert_string_equal(fake_read(&f, "/cs/pod/cpuset.cpus"), "0-3");
		assert_string_equal(fake_read(&f, "/cs/pod/all/cpuset.cpus"), "0-3");
		assert_string_equal(fake_read(&f, "/cs/pod/pinned/cpuset.cpus"), "1");
		assert_string_equal(fake_read(&f, "/cs/pod/all/cpuset.mems"), "0");
	}
	cgroup_free(all);
	cgroup_free(pinned);
	fake_deinit(&f);
}

static void test_cpu_lists(void **state)
{
	struct cpu_list list, other;
	char *text;

	(void)state;
	assert_true(cpu_list_parse("2-4", &list));
	assert_int_equal(list.bits[0], 0x1c);
	assert_true(cpu_list_parse("1,7", &list));
	assert_int_equal(list.bits[0], 0x82);
	assert_true(cpu_list_parse("0,2-3,7\n", &list));
	assert_int_equal(list.bits[0], 0x8d);
	assert_true(cpu_list_parse("0-3,8191", &list));
	text = cpu_list_text(&list);
	assert_string_equal(text, "0-3,8191");
	free(text);
	assert_true(cpu_list_parse("", &other));
	assert_int_equal(cpu_list_bytes(&other), 0);
	assert_true(cpu_list_within(&other, &list));
	assert_false(cpu_list_within(&list, &other));
	assert_false(cpu_list_intersect(&list, &other));
	assert_false(cpu_list_parse("8192", &list));
	assert_false(cpu_list_parse("1-", &list));
	assert_false(cpu_list_parse("-1", &list));
	assert_false(cpu_list_parse("99999999999999999999", &list));
}

/* --- nothing there -------------------------------------------------------------------------------------- */

static void test_w02_missing_controllers_are_no_crash(void **state)
{
	struct fake f;
	struct error e = ERROR_INIT;
	struct cgroup *cg;
	struct arena *arena = arena_new(0);
	struct cgroup_stats stats;
	pid_t *pids = NULL;

	(void)state;
	fake_init(&f, "");
	fake_start(&f);
	cg = fake_cgroup(&f);
	assert_int_equal(cgroup_create(cg, NULL, &e), 0);
	assert_int_equal(cgroup_set(cg, &(struct cgroup_resources){.pids = SET(-1)}, &e), 0);
	assert_true(cgroup_set(cg, &(struct cgroup_resources){.memory = {.limit = SET(5)}}, &e) < 0);
	assert_non_null(strstr(e.text, "controller \"memory\" is not available"));
	assert_int_equal(cgroup_attach(cg, 1234, &e), 0);
	assert_int_equal(cgroup_open(cg), -1);
	assert_true(cgroup_freeze(cg, &e) < 0);
	assert_false(cgroup_frozen(cg));
	assert_int_equal(cgroup_pids(cg, &pids, &e), 0);
	assert_int_equal(cgroup_kill(cg, 9, &e), 0);
	assert_int_equal(cgroup_stats(cg, arena, &stats, &e), 0);
	assert_false(stats.cpu.present || stats.memory.present || stats.pids.present || stats.io.present);
	assert_null(cgroup_oom_watch(cg, NULL, NULL, NULL, &e));
	assert_int_equal(cgroup_refresh_cpuset(cg, &e), 0);
	assert_null(cgroup_directory(cg, "memory"));
	assert_int_equal(cgroup_delete(cg, &e), 0);
	cgroup_free(cg);
	free(pids);
	arena_free(arena);
	fake_deinit(&f);
}

static void test_w23_colons_in_our_own_path(void **state)
{
	struct fake f;
	struct error e = ERROR_INIT;
	struct cgroup *cg;

	(void)state;
	fake_v2(&f);
	fake_write(&f, "/proc/self/cgroup", "0::/pod/ctr/x:y:z\n");
	cg = fake_cgroup(&f);
	assert_true(cgroup_contains_self(cg));
	/* The agent's own cgroup is left alone, whatever the host calls the container's. */
	assert_int_equal(cgroup_kill(cg, 9, &e), -EPERM);
	assert_int_equal(cgroup_delete(cg, &e), -EPERM);
	assert_int_equal(cgroup_freeze(cg, &e), -EPERM);
	fake_write(&f, "/proc/self/cgroup", "0::/pod/ctr-other\n");
	assert_false(cgroup_contains_self(cg));
	cgroup_free(cg);
	fake_deinit(&f);
}

static void test_a_cgroup_with_processes_is_not_taken(void **state)
{
	struct fake f;
	struct error e = ERROR_INIT;
	struct cgroup *cg;

	(void)state;
	fake_v2(&f);
	fake_write(&f, V2_CTR "/nested/cgroup.procs", "99999999\n");
	cg = fake_cgroup(&f);
	assert_int_equal(cgroup_create(cg, NULL, &e), -EBUSY);
	/* Whoever undoes a failed create does no harm. */
	assert_int_equal(cgroup_delete(cg, &e), -EPERM);
	assert_int_equal(cgroup_kill(cg, 9, &e), -EPERM);
	assert_string_equal(fake_read(&f, V2_CTR "/nested/cgroup.procs"), "99999999\n");
	cgroup_free(cg);
	fake_deinit(&f);
}

/* 0 is a process of another pid namespace: kill(2) must never see it, nor 1, nor a negative, nor
 * ourselves. */
static void test_pids_that_are_never_signalled(void **state)
{
	struct fake f;
	struct error e = ERROR_INIT;
	struct cgroup *cg;
	pid_t *pids = NULL;
	char text[100];

	(void)state;
	fake_v2(&f);
	snprintf(text, sizeof(text), "0\n1\n-1\n%d\nx\n99999999999\n4194301\n4194301\n", (int)getpid());
	fake_write(&f, V2_CTR "/cgroup.procs", text);
	cg = fake_cgroup(&f);
	assert_int_equal(cgroup_pids(cg, &pids, &e), 1);
	assert_int_equal(pids[0], 4194301);
	assert_true(cgroup_attach(cg, 1, &e) < 0);
	assert_true(cgroup_attach(cg, 0, &e) < 0);
	assert_true(cgroup_attach(cg, -1, &e) < 0);
	free(pids);
	cgroup_free(cg);
	fake_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layouts),
		cmocka_unit_test(test_first_mount_counts),
		cmocka_unit_test(test_directories),
		cmocka_unit_test(test_w21_a_directory_to_be_born_into),
		cmocka_unit_test(test_v2_cpu),
		cmocka_unit_test(test_w15_one_write_of_cpu_max_and_weights_of_their_own),
		cmocka_unit_test(test_v2_io),
		cmocka_unit_test(test_w04_swap_alone_on_v2),
		cmocka_unit_test(test_check_before_update),
		cmocka_unit_test(test_w05_pids),
		cmocka_unit_test(test_v2_hugepages_rdma_unified),
		cmocka_unit_test(test_unified_is_no_way_to_processes),
		cmocka_unit_test(test_w19_controllers_go_down_in_one_write_and_are_missed_by_name),
		cmocka_unit_test(test_w25_errors_are_short_and_say_what),
		cmocka_unit_test(test_w26_numbers_are_checked),
		cmocka_unit_test(test_w18_minus_one_is_unlimited_and_absent_is_left_alone),
		cmocka_unit_test(test_v1_files),
		cmocka_unit_test(test_w24_swappiness_to_200_on_v1),
		cmocka_unit_test(test_v1_devices),
		cmocka_unit_test(test_w12_cpusets_follow_hot_plug),
		cmocka_unit_test(test_cpu_lists),
		cmocka_unit_test(test_w02_missing_controllers_are_no_crash),
		cmocka_unit_test(test_w23_colons_in_our_own_path),
		cmocka_unit_test(test_a_cgroup_with_processes_is_not_taken),
		cmocka_unit_test(test_pids_that_are_never_signalled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
