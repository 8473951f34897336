/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of str.c. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/str.h"

static void test_unsigned(void **state)
{
	uint64_t v = 7;
	uint32_t w = 7;

	assert_int_equal(str_to_u64("0", 10, &v), 0);
	assert_true(v == 0);
	assert_int_equal(str_to_u64("18446744073709551615", 10, &v), 0);
	assert_true(v == UINT64_MAX);
	v = 7;
	assert_int_equal(str_to_u64("18446744073709551616", 10, &v), -ERANGE);
	assert_int_equal(str_to_u64("99999999999999999999999999", 10, &v), -ERANGE);
	static const char *const bad[] = {"", " 1", "1 ", "+1", "-1", "0x10", "1a", "1\n", "1.0", "\xd9\xa1"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(str_to_u64(bad[i], 10, &v), -EINVAL);
	assert_int_equal(str_to_u64(NULL, 10, &v), -EINVAL);
	assert_true(v == 7);

	assert_int_equal(str_to_u64("fF", 16, &v), 0);
	assert_true(v == 255);
	assert_int_equal(str_to_u64("0xff", 16, &v), -EINVAL);
	assert_int_equal(str_to_u64("755", 8, &v), 0);
	assert_true(v == 0755);
	assert_int_equal(str_to_u64("8", 8, &v), -EINVAL);
	assert_int_equal(str_to_u64("0xff", 0, &v), 0);
	assert_true(v == 255);
	assert_int_equal(str_to_u64("0755", 0, &v), 0);
	assert_true(v == 0755);
	assert_int_equal(str_to_u64("0", 0, &v), 0);
	assert_true(v == 0);
	assert_int_equal(str_to_u64("0x", 0, &v), -EINVAL);

	assert_int_equal(str_to_u32("4294967295", 10, &w), 0);
	assert_true(w == UINT32_MAX);
	assert_int_equal(str_to_u32("4294967296", 10, &w), -ERANGE);
}

static void test_signed(void **state)
{
	int64_t v = 7;

	assert_int_equal(str_to_i64("-9223372036854775808", 10, &v), 0);
	assert_true(v == INT64_MIN);
	assert_int_equal(str_to_i64("9223372036854775807", 10, &v), 0);
	assert_true(v == INT64_MAX);
	assert_int_equal(str_to_i64("9223372036854775808", 10, &v), -ERANGE);
	assert_int_equal(str_to_i64("-9223372036854775809", 10, &v), -ERANGE);
	assert_int_equal(str_to_i64("+5", 10, &v), 0);
	assert_true(v == 5);
	assert_int_equal(str_to_i64("--5", 10, &v), -EINVAL);
	assert_int_equal(str_to_i64("-", 10, &v), -EINVAL);
	assert_int_equal(str_to_i64("", 10, &v), -EINVAL);
	assert_int_equal(str_to_i64(NULL, 10, &v), -EINVAL);
}

struct sample {
	const char *bytes;
	bool valid;
};

static void test_utf8_is_strict(void **state)
{
	static const struct sample samples[] = {
		{"", true},
		{"plain", true},
		{"\xc2\x80", true},
		{"\xdf\xbf", true},
		{"\xe0\xa0\x80", true},
		{"\xed\x9f\xbf", true},
		{"\xee\x80\x80", true},
		{"\xef\xbf\xbf", true},
		{"\xf0\x90\x80\x80", true},
		{"\xf4\x8f\xbf\xbf", true},
		{"\x80", false},
		{"\xbf", false},
		{"\xc0\x80", false},
		{"\xc1\xbf", false},
		{"\xe0\x9f\xbf", false},
		{"\xed\xa0\x80", false},
		{"\xed\xbf\xbf", false},
		{"\xf0\x8f\xbf\xbf", false},
		{"\xf4\x90\x80\x80", false},
		{"\xf5\x80\x80\x80", false},
		{"\xff", false},
		{"\xc3", false},
		{"\xe2\x82", false},
		{"\xf0\x9f\x90", false},
		{"\xc3(", false},
		{"\xe2\x82(", false},
	};

	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		assert_int_equal(utf8_valid(samples[i].bytes, strlen(samples[i].bytes)), samples[i].valid);
	assert_true(utf8_valid("a\0b", 3));
}

/* Every sequence of up to three bytes of a telling set: what is sanitised is valid, and what is valid stays. */
static void test_sanitize_all_short_sequences(void **state)
{
	static const uint8_t set[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2,
				      0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff};
	enum { N = sizeof(set) };

	for (size_t i = 0; i < N * N * N * N; i++) {
		uint8_t in[4] = {set[i % N], set[i / N % N], set[i / N / N % N], set[i / N / N / N]};
		char out[16];
		size_t n = utf8_sanitize(in, sizeof(in), out, sizeof(out));

		assert_true(utf8_valid(out, n));
		assert_int_equal(out[n], 0);
		if (utf8_valid(in, sizeof(in))) {
			assert_int_equal(n, sizeof(in));
			assert_memory_equal(in, out, n);
		}
	}
}

static void test_sanitize_cuts_between_characters(void **state)
{
	char out[8];

	memset(out, 'z', sizeof(out));
	assert_int_equal(utf8_sanitize("\xe2\x82\xac\xe2\x82\xac", 6, out, 6), 3);
	assert_string_equal(out, "\xe2\x82\xac");
	assert_int_equal(utf8_sanitize("\xff\xff", 2, out, 6), 3);
	assert_string_equal(out, "\xef\xbf\xbd");
	assert_int_equal(utf8_sanitize("ab", 2, out, 1), 0);
	assert_string_equal(out, "");
	out[0] = 'z';
	assert_int_equal(utf8_sanitize("ab", 2, out, 0), 0);
	assert_int_equal(out[0], 'z');
}

static void test_incomplete_tail(void **state)
{
	assert_int_equal(utf8_incomplete_tail("", 0), 0);
	assert_int_equal(utf8_incomplete_tail("ab", 2), 0);
	assert_int_equal(utf8_incomplete_tail("a\xe2", 2), 1);
	assert_int_equal(utf8_incomplete_tail("a\xe2\x82", 3), 2);
	assert_int_equal(utf8_incomplete_tail("a\xe2\x82\xac", 4), 0);
	assert_int_equal(utf8_incomplete_tail("\xf0\x9f\x90", 3), 3);
	assert_int_equal(utf8_incomplete_tail("a\xff", 2), 0);
	assert_int_equal(utf8_incomplete_tail("\x80\x80\x80\x80", 4), 0);
	assert_int_equal(utf8_incomplete_tail("\xed\xa0", 2), 0);
}

static void test_ids(void **state)
{
	char text[300];

	assert_true(id_valid("a"));
	assert_true(id_valid("0"));
	assert_true(id_valid("abc-DEF_1.2"));
	static const char *const bad[] = {"",	 ".",	"..",  "-a",	   "_a",  ".a",
					  "a/b", "a b", "a\n", "\xc3\xa4", "../x"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(id_valid(bad[i]));
	assert_false(id_valid(NULL));
	memset(text, 'x', sizeof(text));
	text[255] = '\0';
	assert_true(id_valid(text));
	text[255] = 'x';
	text[256] = '\0';
	assert_false(id_valid(text));
}

static void test_ends(void **state)
{
	assert_true(str_starts_with("abc", "ab"));
	assert_true(str_starts_with("abc", ""));
	assert_false(str_starts_with("a", "ab"));
	assert_false(str_starts_with(NULL, ""));
	assert_true(str_ends_with("abc", "bc"));
	assert_false(str_ends_with("c", "bc"));
	assert_false(str_ends_with(NULL, ""));
	assert_true(str_equal(NULL, ""));
	assert_false(str_equal("a", NULL));
}

static void test_hash(void **state)
{
	/* The published values of FNV-1a, 64 bits. */
	assert_true(hash_bytes("", 0, 0) == UINT64_C(0xcbf29ce484222325));
	assert_true(hash_bytes("a", 1, 0) == UINT64_C(0xaf63dc4c8601ec8c));
	assert_true(hash_bytes("foobar", 6, 0) == UINT64_C(0x85944171f73967e8));
	assert_true(hash_bytes("a", 1, 1) != hash_bytes("a", 1, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unsigned),
		cmocka_unit_test(test_signed),
		cmocka_unit_test(test_utf8_is_strict),
		cmocka_unit_test(test_sanitize_all_short_sequences),
		cmocka_unit_test(test_sanitize_cuts_between_characters),
		cmocka_unit_test(test_incomplete_tail),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_hash),
	};

	return cmocka_run_group_tests_name("str", tests, NULL, NULL);
}
