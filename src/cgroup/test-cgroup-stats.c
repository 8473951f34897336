/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics from files as kernels write them. */
#include "test-cgroup-tree.h"

static struct cgroup_stats read_stats(const struct fake *fake, struct arena *arena)
{
	struct cgroup_stats stats;
	struct error e = ERROR_INIT;
	struct cgroup *cg = fake_cgroup(fake);

	assert_int_equal(cgroup_stats(cg, arena, &stats, &e), 0);
	cgroup_free(cg);
	return stats;
}

static uint64_t named(const struct cgroup_stats *stats, const char *name)
{
	uint64_t value = UINT64_MAX;
	int found = 0;

	for (size_t i = 0; i < stats->memory.n_stats; i++)
		if (strcmp(stats->memory.stats[i].name, name) == 0) {
			value = stats->memory.stats[i].value;
			found++;
		}
	if (found != 1)
		fail_msg("%s is there %d times", name, found);
	return value;
}

static void expect_entry(const struct cgroup_io_table *table, size_t i, uint64_t major, uint64_t minor,
			 const char *op, uint64_t value)
{
	assert_true(i < table->count);
	assert_int_equal(table->entries[i].major, major);
	assert_int_equal(table->entries[i].minor, minor);
	assert_string_equal(table->entries[i].op, op);
	assert_int_equal(table->entries[i].value, value);
}

#define V1(hierarchy, file) "/sys/fs/cgroup/" hierarchy "/pod/ctr/" file

static void test_v1(void **state)
{
	struct arena *arena = arena_new(0);
	struct cgroup_stats s;
	struct fake f;
	uint64_t tick = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);

	(void)state;
	fake_v1(&f);
	fake_write(&f, V1("cpu,cpuacct", "cpuacct.usage"), "123456789\n");
	fake_write(&f, V1("cpu,cpuacct", "cpuacct.stat"), "user 7\nsystem 3\n");
	fake_write(&f, V1("cpu,cpuacct", "cpuacct.usage_percpu"), "100 0 300 \n");
	fake_write(&f, V1("cpu,cpuacct", "cpu.stat"), "nr_periods 5\nnr_throttled 2\nthrottled_time 999\n");
	fake_write(&f, V1("memory", "memory.stat"),
		   "cache 4096\nrss 8192\ntotal_cache 4096\nhierarchical_memory_limit "
		   "9223372036854771712\nodd\nbad x\n");
	fake_write(&f, V1("memory", "memory.usage_in_bytes"), "12288\n");
	fake_write(&f, V1("memory", "memory.max_usage_in_bytes"), "16384\n");
	fake_write(&f, V1("memory", "memory.failcnt"), "4\n");
	fake_write(&f, V1("memory", "memory.limit_in_bytes"), "9223372036854771712\n");
	fake_write(&f, V1("memory", "memory.memsw.usage_in_bytes"), "20000\n");
	fake_write(&f, V1("memory", "memory.memsw.max_usage_in_bytes"), "20001\n");
	fake_write(&f, V1("memory", "memory.memsw.failcnt"), "1\n");
	fake_write(&f, V1("memory", "memory.memsw.limit_in_bytes"), "30000\n");
	fake_write(&f, V1("memory", "memory.use_hierarchy"), "1\n");
	fake_write(&f, V1("pids", "pids.current"), "3\n");
	fake_write(&f, V1("pids", "pids.max"), "max\n");
	fake_write(&f, V1("hugetlb", "hugetlb.2MB.usage_in_bytes"), "2097152\n");
	fake_write(&f, V1("hugetlb", "hugetlb.2MB.max_usage_in_bytes"), "4194304\n");
	fake_write(&f, V1("hugetlb", "hugetlb.2MB.failcnt"), "6\n");
	fake_write(&f, V1("blkio", "blkio.throttle.io_serviced"), "8:0 Read 1\nTotal 1\n");
	fake_write(&f, V1("blkio", "blkio.throttle.io_service_bytes_recursive"),
		   "8:0 Read 4096\n8:0 Write 1\n8:0 Sync 2\n8:0 Async 3\n8:0 Discard 9\n8:0 Total "
		   "4097\nTotal 4097\n");
	s = read_stats(&f, arena);
	assert_true(s.cpu.present && s.memory.present && s.pids.present && s.io.present);
	assert_int_equal(s.cpu.total_ns, 123456789);
	assert_int_equal(s.cpu.user_ns, 7 * tick);
	assert_int_equal(s.cpu.kernel_ns, 3 * tick);
	assert_int_equal(s.cpu.n_percpu, 3);
	assert_int_equal(s.cpu.percpu_ns[2], 300);
	assert_int_equal(s.cpu.periods, 5);
	assert_int_equal(s.cpu.throttled_periods, 2);
	assert_int_equal(s.cpu.throttled_ns, 999);
	assert_int_equal(s.memory.cache, 4096);
	assert_true(s.memory.use_hierarchy);
	assert_int_equal(s.memory.usage.usage, 12288);
	assert_int_equal(s.memory.usage.max_usage, 16384);
	assert_int_equal(s.memory.usage.failcnt, 4);
	assert_int_equal(s.memory.usage.limit, 9223372036854771712u);
	assert_int_equal(s.memory.swap.usage, 20000);
	assert_int_equal(s.memory.swap.max_usage, 20001);
	assert_int_equal(s.memory.swap.failcnt, 1);
	assert_int_equal(s.memory.swap.limit, 30000);
	assert_false(s.memory.kernel.present);
	assert_int_equal(s.memory.kernel.limit, UINT64_MAX);
	assert_int_equal(s.memory.n_stats, 4);
	assert_int_equal(named(&s, "rss"), 8192);
	assert_int_equal(s.pids.current, 3);
	assert_int_equal(s.pids.limit, 0);
	assert_int_equal(s.n_hugepages, 2);
	for (size_t i = 0; i < 2; i++) {
		bool small = strcmp(s.hugepages[i].size, "2MB") == 0;

		assert_int_equal(s.hugepages[i].usage, small ? 2097152 : 0);
		assert_int_equal(s.hugepages[i].max_usage, small ? 4194304 : 0);
		assert_int_equal(s.hugepages[i].failcnt, small ? 6 : 0);
	}
	assert_int_equal(s.io.serviced.count, 1);
	expect_entry(&s.io.serviced, 0, 8, 0, "read", 1);
	assert_int_equal(s.io.service_bytes.count, 5);
	expect_entry(&s.io.service_bytes, 0, 8, 0, "read", 4096);
	expect_entry(&s.io.service_bytes, 4, 8, 0, "total", 4097);
	arena_free(arena);
	fake_deinit(&f);
}

static void test_v1_with_a_scheduler_that_counts(void **state)
{
	struct arena *arena = arena_new(0);
	struct cgroup_stats s;
	struct fake f;

	(void)state;
	fake_v1(&f);
	fake_write(&f, V1("blkio", "blkio.throttle.io_serviced"), "8:0 Read 99\n");
	fake_write(&f, V1("blkio", "blkio.bfq.io_serviced_recursive"), "254:1048575 Read 1\n");
	fake_write(&f, V1("blkio", "blkio.bfq.io_service_bytes_recursive"), "254:1048575 Write 5\n");
	fake_write(&f, V1("blkio", "blkio.bfq.time_recursive"), "254:0 77\n");
	s = read_stats(&f, arena);
	/* A minor of more than 16 bits. */
	expect_entry(&s.io.serviced, 0, 254, 1048575, "read", 1);
	expect_entry(&s.io.service_bytes, 0, 254, 1048575, "write", 5);
	expect_entry(&s.io.time, 0, 254, 0, "", 77);
	arena_free(arena);
	fake_deinit(&f);
}

static void test_w14_v2(void **state)
{
	struct arena *arena = arena_new(0);
	struct cgroup_stats s;
	struct fake f;

	(void)state;
	fake_v2(&f);
	fake_write(
		&f, V2_CTR "/cpu.stat",
		"usage_usec 1000\nuser_usec 600\nsystem_usec 400\nnice_usec 0\nnr_periods 9\nnr_throttled 4\n"
		"throttled_usec 55\nnr_bursts 0\n");
	fake_write(
		&f, V2_CTR "/memory.stat",
		"anon 100\nfile 200\nkernel 50\nfile_mapped 30\nfile_dirty 3\nfile_writeback 4\nanon_thp 6\n"
		"inactive_anon 10\nactive_anon 11\ninactive_file 12\nactive_file 13\nunevictable 14\npgfault "
		"15\n"
		"pgmajfault 16\nslab 17\n");
	fake_write(&f, V2_CTR "/memory.current", "350\n");
	fake_write(&f, V2_CTR "/memory.peak", "400\n");
	fake_write(&f, V2_CTR "/memory.max", "4096\n");
	fake_write(&f, V2_CTR "/memory.events", "low 0\nhigh 0\nmax 8\noom 1\noom_kill 1\n");
	fake_write(&f, V2_CTR "/memory.swap.current", "70\n");
	fake_write(&f, V2_CTR "/memory.swap.peak", "71\n");
	fake_write(&f, V2_CTR "/memory.swap.max", "max\n");
	fake_write(&f, V2_CTR "/memory.swap.events", "high 0\nmax 0\nfail 3\n");
	fake_write(&f, V2_CTR "/pids.current", "3\n");
	fake_write(&f, V2_CTR "/pids.max", "10\n");
	fake_write(&f, V2_CTR "/hugetlb.2MB.current", "2097152\n");
	fake_write(&f, V2_CTR "/hugetlb.2MB.events", "max 6\n");
	fake_write(
		&f, V2_CTR "/io.stat",
		"254:1048575 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=7 cost.wait=x\n8:0\n"
		"8:16 wios=9 rbytes=8\nnonsense\n");
	s = read_stats(&f, arena);
	assert_int_equal(s.cpu.total_ns, 1000000);
	assert_int_equal(s.cpu.user_ns, 600000);
	assert_int_equal(s.cpu.kernel_ns, 400000);
	assert_int_equal(s.cpu.throttled_ns, 55000);
	assert_int_equal(s.cpu.throttled_periods, 4);
	assert_int_equal(s.cpu.n_percpu, 0);
	assert_int_equal(s.memory.cache, 200);
	assert_int_equal(s.memory.usage.usage, 350);
	assert_int_equal(s.memory.usage.max_usage, 400);
	assert_int_equal(s.memory.usage.failcnt, 8);
	assert_int_equal(s.memory.usage.limit, 4096);
	assert_int_equal(s.memory.swap.usage, 70);
	assert_int_equal(s.memory.swap.max_usage, 71);
	assert_int_equal(s.memory.swap.failcnt, 3);
	assert_int_equal(s.memory.swap.limit, UINT64_MAX);
	assert_int_equal(s.memory.kernel.usage, 50);
	/* The kernel's names, and v1's. */
	assert_int_equal(named(&s, "file"), 200);
	assert_int_equal(named(&s, "slab"), 17);
	assert_int_equal(named(&s, "cache"), 200);
	assert_int_equal(named(&s, "rss"), 100);
	assert_int_equal(named(&s, "rss_huge"), 6);
	assert_int_equal(named(&s, "mapped_file"), 30);
	assert_int_equal(named(&s, "dirty"), 3);
	assert_int_equal(named(&s, "total_writeback"), 4);
	assert_int_equal(named(&s, "inactive_file"), 12);
	assert_int_equal(named(&s, "total_inactive_file"), 12);
	assert_int_equal(named(&s, "total_pgmajfault"), 16);
	assert_int_equal(named(&s, "swap"), 70);
	assert_int_equal(named(&s, "hierarchical_memory_limit"), 4096);
	assert_int_equal(s.pids.limit, 10);
	assert_int_equal(s.io.service_bytes.count, 8);
	expect_entry(&s.io.service_bytes, 0, 254, 1048575, "read", 1);
	expect_entry(&s.io.service_bytes, 1, 254, 1048575, "write", 2);
	expect_entry(&s.io.service_bytes, 2, 254, 1048575, "rios", 3);
	expect_entry(&s.io.service_bytes, 5, 254, 1048575, "dios", 6);
	expect_entry(&s.io.service_bytes, 6, 8, 16, "wios", 9);
	expect_entry(&s.io.service_bytes, 7, 8, 16, "read", 8);
	expect_entry(&s.io.serviced, 0, 254, 1048575, "read", 3);
	assert_int_equal(s.n_hugepages, 2);
	arena_free(arena);
	fake_deinit(&f);
}

/* Controllers of v1 and of v2 on one machine. */
static void test_hybrid(void **state)
{
	struct arena *arena = arena_new(0);
	struct cgroup_stats s;
	struct fake f;

	(void)state;
	fake_init(&f,
		  "33 31 0:30 / /m rw - cgroup cgroup rw,memory\n35 31 0:50 / /u rw - cgroup2 cgroup2 rw\n");
	fake_write(&f, "/u/cgroup.controllers", "pids cpu\n");
	fake_write(&f, "/m/pod/ctr/memory.usage_in_bytes", "5\n");
	fake_write(&f, "/u/pod/ctr/pids.current", "2\n");
	fake_write(&f, "/u/pod/ctr/cpu.stat", "usage_usec 3\n");
	fake_write(&f, "/u/pod/ctr/memory.current", "999\n");
	fake_start(&f);
	assert_int_equal(cgroup_host_layout(f.host), CGROUP_HYBRID);
	s = read_stats(&f, arena);
	assert_int_equal(s.memory.usage.usage, 5);
	assert_int_equal(s.pids.current, 2);
	assert_int_equal(s.cpu.total_ns, 3000);
	assert_false(s.io.present);
	arena_free(arena);
	fake_deinit(&f);
}

/* A removed cgroup, and files that are not what they should be. */
static void test_absent_and_odd_is_no_error(void **state)
{
	struct arena *arena = arena_new(0);
	struct cgroup_stats s;
	struct fake f;
	struct cgroup *cg;
	struct error e = ERROR_INIT;

	(void)state;
	fake_v2(&f);
	s = read_stats(&f, arena);
	assert_int_equal(s.memory.usage.limit, UINT64_MAX);
	assert_int_equal(s.memory.n_stats, 0);
	assert_int_equal(s.pids.limit, 0);
	fake_write(&f, V2_CTR "/io.stat",
		   "8:0 rbytes=\n:0 rbytes=1\n8: rbytes=1\n8:0 =1 rbytes=99999999999999999999\n");
	fake_write(&f, V2_CTR "/memory.stat", " 5\n\n\nx \nfile -1\nfile 7\n");
	fake_write(&f, V2_CTR "/cpu.stat", "usage_usec 18446744073709551615\nuser_usec");
	s = read_stats(&f, arena);
	assert_int_equal(s.io.service_bytes.count, 0);
	assert_int_equal(s.cpu.total_ns, UINT64_MAX);
	cg = cgroup_new(f.host, CGROUP_CGROUPFS, "/gone", "id", false, &e);
	assert_int_equal(cgroup_stats(cg, arena, &s, &e), 0);
	assert_true(s.memory.present);
	assert_int_equal(s.memory.usage.usage, 0);
	cgroup_free(cg);
	arena_free(arena);
	fake_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1),
		cmocka_unit_test(test_v1_with_a_scheduler_that_counts),
		cmocka_unit_test(test_w14_v2),
		cmocka_unit_test(test_hybrid),
		cmocka_unit_test(test_absent_and_odd_is_no_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
