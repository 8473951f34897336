/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics: exact texts of made-up files, broken ones, and that what comes of the real ones parses. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "guest/metrics.h"

static bool look(const char *mount, struct volume_stats *stats)
{
	if (strcmp(mount, "/gone") == 0)
		return false;
	*stats = (struct volume_stats){.bytes = {30, 100, 70}, .inodes = {1, 3, 2}};
	return true;
}

/* Formats copies of the texts. */
static char *format(const char *const texts[METRICS_FILES])
{
	struct metrics_input input = {
		.scrapes = 3, .descriptors = 12, .page_size = 4096, .ticks = 100, .look = look};
	char *copies[METRICS_FILES] = {NULL}, *result;
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < METRICS_FILES; i++)
		input.text[i] = copies[i] = texts[i] ? strdup(texts[i]) : NULL;
	metrics_format(&input, &out);
	assert_false(out.failed);
	result = strdup(buf_string(&out));
	buf_deinit(&out);
	for (size_t i = 0; i < METRICS_FILES; i++)
		free(copies[i]);
	return result;
}

static void expect(const char *const texts[METRICS_FILES], const char *const *lines)
{
	char *text = format(texts), line[256];

	for (; *lines; lines++) {
		snprintf(line, sizeof(line), "\n%s\n", *lines);
		if (!strstr(text, line))
			fail_msg("no %s in:\n%s", *lines, text);
	}
	free(text);
}

/* --- a parser of our own: the rules that Prometheus' has --- */

static const char *take_name(const char *p, char *name, size_t size)
{
	size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz_ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");

	assert_true(n > 0 && n < size && !(*p >= '0' && *p <= '9'));
	memcpy(name, p, n);
	name[n] = '\0';
	return p + n;
}

static const char *take_labels(const char *p)
{
	char name[128], before[128] = "";

	do {
		p = take_name(p + 1, name, sizeof(name));
		/* Sorted and so unique. */
		assert_true(strcmp(before, name) < 0);
		snprintf(before, sizeof(before), "%s", name);
		assert_int_equal(p[0], '=');
		assert_int_equal(p[1], '"');
		for (p += 2; *p != '"'; p++) {
			assert_true(*p != '\n' && *p != '\0');
			if (*p == '\\') {
				p++;
				assert_true(*p == 'n' || *p == '"' || *p == '\\');
			}
		}
		p++;
	} while (*p == ',');
	assert_int_equal(*p, '}');
	return p + 1;
}

static const char *take_sample(const char *p, const char *family)
{
	char name[128], *end;

	p = take_name(p, name, sizeof(name));
	assert_string_equal(name, family);
	if (*p == '{')
		p = take_labels(p);
	assert_int_equal(*p, ' ');
	strtod(p + 1, &end);
	assert_true(end > p + 1);
	assert_int_equal(*end, '\n');
	return end + 1;
}

static unsigned parse(const char *p)
{
	char family[128], before[128] = "";
	unsigned families = 0;

	for (; *p; families++) {
		assert_int_equal(strncmp(p, "# HELP ", 7), 0);
		take_name(p + 7, family, sizeof(family));
		/* Each once. */
		assert_true(strcmp(before, family) < 0);
		snprintf(before, sizeof(before), "%s", family);
		p = strchr(p, '\n') + 1;
		assert_int_equal(strncmp(p, "# TYPE ", 7), 0);
		p = take_name(p + 7, family, sizeof(family));
		assert_string_equal(before, family);
		assert_true(strncmp(p, " gauge\n", 7) == 0 || strncmp(p, " counter\n", 9) == 0);
		p = strchr(p, '\n') + 1;
		do
			p = take_sample(p, family);
		while (*p && *p != '#');
	}
	return families;
}

static void texts_are_exact(void **state)
{
	static const char *const texts[METRICS_FILES] = {
		[METRICS_SELF_STAT] =
			"7 (a b) c) S 1 7 7 0 -1 4 1 2 3 4 150 61 5 6 20 0 1 0 900 1048576 25 99 1 1\n",
		[METRICS_SELF_STATUS] =
			"Name:\tx\nVmPeak:\t    1234 kB\nVmRSS:\t 99 kB\nvoluntary_ctxt_switches:\t5\n",
		[METRICS_SELF_IO] = "rchar: 10\nwchar: 20\nread_bytes: 4096\n",
		[METRICS_SELF_LIMITS] =
			"Limit  Soft  Hard  Units\nMax open files            1024                 4096"
			"                 files\n",
		[METRICS_LOADAVG] = "0.08 1.25 10.00 2/345 678\n",
		[METRICS_STAT] = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\ncpu3 11 0 0 4\nintr "
				 "5 1\nbtime 1000\n",
		[METRICS_VMSTAT] = "nr_free_pages 42\npgfault 7\n",
		[METRICS_NETDEV] = "Inter-|   Receive |  Transmit\n face |bytes |bytes\n    lo: 1 2 3 4 5 6 "
				   "7 8 9 10 11 12 13 14 15 16\n"
				   "eth0:1:9 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
		[METRICS_DISKSTATS] = " 254 0 vda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n 8 0 sda 1 2 3 "
				      "4 5 6 7 8 9 10 11\n",
		[METRICS_MEMINFO] =
			"MemTotal:  2 kB\nActive:  5 kB\nActive(anon):  3 kB\nHugePages_Total:  4\n",
		[METRICS_MOUNTINFO] =
			"1 0 254:1 / / rw - ext4 /dev/vda1 rw\n2 1 0:5 / /proc rw - proc proc rw\n"
			"3 1 254:1 / /again rw - ext4 /dev/vda1 rw\n4 1 0:9 / /a\\040\"b rw - overlay none "
			"rw,x\n"
			"5 1 254:2 / /ro ro - ext4 /dev/vda2 ro\n6 1 254:3 / /gone rw - xfs /dev/vdc rw\n",
	};
	static const char *const lines[] = {
		"kata_agent_scrape_count 3",
		"kata_agent_threads 1",
		"kata_agent_total_time 2.11",
		"kata_agent_total_vm 1048576",
		"kata_agent_total_rss 102400",
		"kata_agent_proc_status{item=\"vmpeak\"} 1234",
		"kata_agent_proc_status{item=\"vmrss\"} 99",
		"kata_agent_proc_status{item=\"vmswap\"} 0",
		"kata_agent_proc_status{item=\"voluntary_ctxt_switches\"} 5",
		"kata_agent_io_stat{item=\"read_bytes\"} 4096",
		"kata_agent_proc_stat{item=\"utime\"} 150",
		"kata_agent_proc_stat{item=\"cstime\"} 6",
		"kata_agent_process_cpu_seconds_total 2.11",
		"kata_agent_process_max_fds 1024",
		"kata_agent_process_open_fds 12",
		"kata_agent_process_resident_memory_bytes 102400",
		"kata_agent_process_start_time_seconds 1009.00",
		"kata_agent_process_virtual_memory_bytes 1048576",
		"kata_guest_load{item=\"load1\"} 0.08",
		"kata_guest_load{item=\"load15\"} 10.00",
		"kata_guest_tasks{item=\"cur\"} 2",
		"kata_guest_tasks{item=\"max\"} 345",
		"kata_guest_cpu_time{cpu=\"total\",item=\"user\"} 10",
		"kata_guest_cpu_time{cpu=\"0\",item=\"guest_nice\"} 100",
		"kata_guest_cpu_time{cpu=\"3\",item=\"user\"} 110",
		"kata_guest_cpu_time{cpu=\"3\",item=\"steal\"} 0",
		"kata_guest_vm_stat{item=\"pgfault\"} 7",
		"kata_guest_netdev_stat{interface=\"lo\",item=\"recv_bytes\"} 1",
		"kata_guest_netdev_stat{interface=\"lo\",item=\"sent_compressed\"} 16",
		"kata_guest_netdev_stat{interface=\"eth0:1\",item=\"recv_bytes\"} 9",
		"kata_guest_diskstat{disk=\"vda\",item=\"time_flushing\"} 17",
		"kata_guest_diskstat{disk=\"sda\",item=\"flushes\"} 0",
		"kata_guest_meminfo{item=\"mem_total\"} 2048",
		"kata_guest_meminfo{item=\"active\"} 5120",
		"kata_guest_meminfo{item=\"active_anon\"} 3072",
		"kata_guest_meminfo{item=\"hugepages_total\"} 4",
		"kata_guest_filesystem_bytes{device=\"vda1\",item=\"available\",mount=\"/\"} 30",
		"kata_guest_filesystem_bytes{device=\"0:9\",item=\"used\",mount=\"/a\\\\040\\\"b\"} 70",
		"kata_guest_filesystem_inodes{device=\"vda1\",item=\"total\",mount=\"/\"} 3",
		NULL,
	};
	char *text = format(texts);

	assert_int_equal(parse(text), 23);
	assert_null(strstr(text, "/again"));
	assert_null(strstr(text, "/ro"));
	assert_null(strstr(text, "/gone"));
	assert_null(strstr(text, "/proc"));
	free(text);
	expect(texts, lines);
}

static void what_is_not_there_is_left_out(void **state)
{
	static const char *const nothing[METRICS_FILES] = {NULL};
	char *text = format(nothing);

	assert_int_equal(parse(text), 2);
	assert_non_null(strstr(text, "kata_agent_scrape_count 3\n"));
	assert_non_null(strstr(text, "kata_agent_process_open_fds 12\n"));
	free(text);
}

/* Whatever the texts are, each in the place of each: what comes of them parses. */
static void nonsense_still_parses(void **state)
{
	static const char *const nonsense[] = {
		"",
		"\n\n\n",
		":",
		"a: b\nc d e f\n",
		"cpu\ncpu x y z u v\ncpu1x 1 2 3 4 5\ncpu2 -1 99999999999999999999999 1 2 3\n",
		"\"\\\n\xff\xfe: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n",
		"1 2 \"\\\xff 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n",
		"nan inf 1e5 1/2 3\n",
		"5 .5 5. 1/2 3\n",
		"0.1 0.2 0.3 x/y 3\n",
		"0.1 0.2 0.3 12 3\n",
		"1 (x) S",
		"1 (x",
		")))",
		("1 0 1:1 / /a\\134\"\xff rw - ext4 no\"ne rw\n - - -\n"
		 "1 0 1:2 / / - xfs\n1 0 1:3 / / rw - xfs / rw\n"),
		"MemTotal: x\nMemTotal:\nMemTotal",
		"MemTotal: 99999999999999999999999999 kB\n",
		"MemTotal: 18446744073709551615 kB\nMemFree:-1\n",
		"Max open files unlimited unlimited files\n",
	};

	for (size_t i = 0; i < array_length(nonsense); i++) {
		const char *all[METRICS_FILES];
		char *text;

		for (size_t file = 0; file < METRICS_FILES; file++)
			all[file] = nonsense[i];
		text = format(all);
		assert_true(parse(text) >= 2);
		free(text);
	}
}

static struct {
	int ended, result;
	char *text;
} got;

static void ready(int r, const char *text, const struct error *e, void *data)
{
	got.ended++;
	got.result = r;
	got.text = r < 0 ? NULL : strdup(text);
}

static void the_real_ones(void **state)
{
	struct loop *loop = loop_new();
	struct error e = ERROR_INIT;
	char line[64];

	assert_int_equal(metrics_collect(loop, 7, ready, NULL, &e), 0);
	for (int i = 0; i < 500 && !got.ended; i++)
		assert_int_equal(loop_run_once(loop, 20), 0);
	assert_int_equal(got.ended, 1);
	assert_int_equal(got.result, 0);
	assert_true(parse(got.text) >= 18);
	assert_non_null(strstr(got.text, "\nkata_agent_scrape_count 7\n"));
	snprintf(line, sizeof(line), "\nkata_guest_meminfo{item=\"mem_total\"} %llu\n",
		 (unsigned long long)sysconf(_SC_PHYS_PAGES) * (unsigned long long)sysconf(_SC_PAGESIZE));
	assert_non_null(strstr(got.text, line));
	assert_non_null(strstr(got.text, "\nkata_agent_threads 1\n"));
	free(got.text);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_exact),
		cmocka_unit_test(what_is_not_there_is_left_out),
		cmocka_unit_test(nonsense_still_parses),
		cmocka_unit_test(the_real_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
