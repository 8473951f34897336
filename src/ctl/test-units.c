/* SPDX-License-Identifier: Apache-2.0 */
/* Amounts as people write them, and as they write them wrongly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "base/fd.h"
#include "ctl/units.h"

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		int64_t ns; /* -1: refused */
	} cases[] = {
		{"0", 0},
		{"99ns", 99},
		{"30us", 30000},
		{"2ms", 2000000},
		{"5s", 5000000000},
		{"1.5s", 1500000000},
		{"0.000000001s", 1},
		{"7m", 420000000000},
		{"1h", 3600000000000},
		{"9223372036s", 9223372036000000000},
		{"9223372037s", -1},
		{"99999999999999999999s", -1},
		{"5", -1},
		{"s", -1},
		{"", -1},
		{"-1s", -1},
		{"1.s", -1},
		{"1 s", -1},
		{"1d", -1},
	};

	for (size_t i = 0; i < array_length(cases); i++) {
		int64_t ns = -2;

		assert_int_equal(duration_parse(cases[i].text, &ns), cases[i].ns < 0 ? -22 : 0);
		if (cases[i].ns >= 0)
			assert_true(ns == cases[i].ns);
	}
}

static void test_sizes(void **state)
{
	int64_t bytes;

	assert_int_equal(size_parse("4096", &bytes), 0);
	assert_true(bytes == 4096);
	assert_int_equal(size_parse("512m", &bytes), 0);
	assert_true(bytes == 536870912);
	assert_int_equal(size_parse("1.5GiB", &bytes), 0);
	assert_true(bytes == 1610612736);
	assert_int_equal(size_parse("-1", &bytes), 0);
	assert_true(bytes == -1);
	assert_true(size_parse("-2", &bytes) < 0);
	assert_true(size_parse("9999999999t", &bytes) < 0);
	assert_true(size_parse("12x", &bytes) < 0);
	assert_true(size_parse("", &bytes) < 0);
}

static void test_cpus(void **state)
{
	int64_t thousandths;

	assert_int_equal(cpus_parse("1.5", &thousandths), 0);
	assert_true(thousandths == 1500);
	assert_int_equal(cpus_parse("0.001", &thousandths), 0);
	assert_true(thousandths == 1);
	assert_true(cpus_parse("0", &thousandths) < 0);
	assert_true(cpus_parse("0.0001", &thousandths) < 0);
	assert_true(cpus_parse("-1", &thousandths) < 0);
	assert_true(cpus_parse("two", &thousandths) < 0);
}

static void test_signals(void **state)
{
	static const struct {
		const char *text;
		uint32_t number;
	} cases[] = {
		{"9", 9},	   {"KILL", SIGKILL}, {"SIGKILL", SIGKILL},   {"sigusr1", SIGUSR1},
		{"usr2", SIGUSR2}, {"64", 64},	      {"RTMIN", 34},	      {"SIGRTMIN+1", 35},
		{"rtmax", 64},	   {"RTMAX-1", 63},   {"SIGWINCH", SIGWINCH}, {"TERM", SIGTERM},
	};
	static const char *const wrong[] = {
		"0",  "65",	  "-9",	     "",	"SIG",	  "XYZ",	"KILLX",
		"9x", "RTMIN+99", "RTMIN-1", "RTMAX+1", "RTMINX", "4294967305",
	};
	uint32_t number;

	for (size_t i = 0; i < array_length(cases); i++) {
		assert_int_equal(signal_parse(cases[i].text, &number), 0);
		assert_int_equal(number, cases[i].number);
	}
	for (size_t i = 0; i < array_length(wrong); i++)
		assert_true(signal_parse(wrong[i], &number) < 0);
}

static void test_users(void **state)
{
	uint32_t uid;
	uint32_t gid;

	assert_int_equal(user_parse("1000", &uid, &gid), 0);
	assert_int_equal(uid, 1000);
	assert_int_equal(gid, 0);
	assert_int_equal(user_parse("1:4294967295", &uid, &gid), 0);
	assert_int_equal(uid, 1);
	assert_true(gid == UINT32_MAX);
	assert_true(user_parse("root", &uid, &gid) < 0);
	assert_true(user_parse("1:", &uid, &gid) < 0);
	assert_true(user_parse(":1", &uid, &gid) < 0);
	assert_true(user_parse("-1", &uid, &gid) < 0);
	assert_true(user_parse("1:2:3", &uid, &gid) < 0);
}

static void test_random_ids(void **state)
{
	char first[65];
	char second[65];

	random_id(first, sizeof(first));
	random_id(second, sizeof(second));
	assert_int_equal(strlen(first), 64);
	assert_int_equal(strspn(first, "0123456789abcdef"), 64);
	assert_string_not_equal(first, second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations), cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_cpus),	  cmocka_unit_test(test_signals),
		cmocka_unit_test(test_users),	  cmocka_unit_test(test_random_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
