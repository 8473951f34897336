/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of error.c. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/str.h"

static void assert_sound(const struct error *e)
{
	size_t length = strnlen(e->text, sizeof(e->text));

	assert_in_range(length, 0, sizeof(e->text) - 1);
	assert_true(utf8_valid(e->text, length));
}

static void test_set(void **state)
{
	struct error e = ERROR_INIT;

	assert_int_equal(error_set(&e, STATUS_NOT_FOUND, 0, "no container \"%s\"", "web"), -ENOENT);
	assert_int_equal(e.code, STATUS_NOT_FOUND);
	assert_int_equal(e.errnum, 0);
	assert_string_equal(e.text, "no container \"web\"");
	assert_int_equal(error_result(&e), -ENOENT);

	assert_int_equal(error_set(&e, STATUS_INTERNAL, EBUSY, "busy"), -EBUSY);
	assert_string_equal(e.text, "busy");
	assert_int_equal(error_set(NULL, STATUS_INVALID_ARGUMENT, 0, "nobody reads this"), -EINVAL);
	assert_int_equal(error_set(NULL, STATUS_INVALID_ARGUMENT, EPERM, "nobody reads this"), -EPERM);
}

static void test_every_code_has_a_negative_result(void **state)
{
	for (uint32_t code = 0; code < 30; code++) {
		struct error e = {.code = code};

		assert_true(error_result(&e) < 0);
	}
}

static void test_errno_text_is_what_hosts_look_for(void **state)
{
	struct error e = ERROR_INIT;

	assert_int_equal(error_errno(&e, ENOENT, "open \"%s\"", "/x"), -ENOENT);
	assert_string_equal(e.text, "open \"/x\": ENOENT: No such file or directory");
	assert_int_equal(e.code, STATUS_INTERNAL);
	assert_int_equal(error_errno(&e, ESRCH, "kill"), -ESRCH);
	assert_string_equal(e.text, "kill: ESRCH: No such process");
	/* A caller's slip of sign or of a lost errno is harmless. */
	assert_int_equal(error_errno(&e, -ESRCH, "kill"), -ESRCH);
	assert_int_equal(error_errno(&e, 0, "kill"), -EIO);
	assert_int_equal(error_errno(&e, 4000, "kill"), -4000);
	assert_string_equal(e.text, "kill: E4000: Unknown error");
	assert_int_equal(error_errno(NULL, EPERM, "kill"), -EPERM);
}

static void test_prefix_reads_outside_in(void **state)
{
	struct error e = ERROR_INIT;

	error_errno(&e, ENOENT, "open source");
	assert_int_equal(error_prefix(&e, "mount \"%s\"", "/data"), -ENOENT);
	error_prefix(&e, "create container \"%s\"", "web");
	assert_string_equal(e.text, "create container \"web\": mount \"/data\": open source: "
				    "ENOENT: No such file or directory");
	/* The text itself may be an argument. */
	error_set(&e, STATUS_INTERNAL, 0, "again: %s", e.text);
	assert_true(str_starts_with(e.text, "again: create container"));
	assert_int_equal(error_prefix(NULL, "x"), -EIO);
}

static void test_long_texts_are_cut_and_keep_the_errno(void **state)
{
	struct error e = ERROR_INIT;
	char path[5000];

	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	error_errno(&e, ENOENT, "open %s", path);
	assert_sound(&e);
	assert_int_equal(strlen(e.text), ERROR_TEXT_MAX - 1);
	assert_true(str_ends_with(e.text, "x: ENOENT: No such file or directory"));

	error_prefix(&e, "%s", path);
	assert_sound(&e);
	assert_int_equal(strlen(e.text), ERROR_TEXT_MAX - 1);
	assert_non_null(strstr(e.text, "x: open x"));
}

static void test_cut_at_a_character(void **state)
{
	struct error e = ERROR_INIT;
	char text[ERROR_TEXT_MAX * 2];

	for (size_t shift = 0; shift < 4; shift++) {
		size_t n = shift;

		memset(text, 'a', shift);
		for (; n + 4 < sizeof(text); n += 4)
			memcpy(text + n, "\xf0\x9f\x90\xb3", 4);
		text[n] = '\0';
		error_set(&e, STATUS_INTERNAL, 0, "%s", text);
		assert_sound(&e);
		assert_null(strstr(e.text, "\xef\xbf\xbd"));
		error_errno(&e, EIO, "%s", text);
		assert_sound(&e);
		assert_null(strstr(e.text, "\xef\xbf\xbd"));
		error_prefix(&e, "p%s", text);
		assert_sound(&e);
		assert_null(strstr(e.text, "\xef\xbf\xbd"));
	}
}

static void test_invalid_bytes_are_replaced(void **state)
{
	struct error e = ERROR_INIT;

	error_set(&e, STATUS_INTERNAL, 0, "name \"%s\"", "a\xff\xc3(");
	assert_string_equal(e.text, "name \"a\xef\xbf\xbd\xef\xbf\xbd(\"");
	error_prefix(&e, "%s", "\x80");
	assert_sound(&e);
}

static void test_names(void **state)
{
	assert_string_equal(error_name(ENOENT), "ENOENT");
	assert_string_equal(error_name(EAGAIN), "EAGAIN");
	assert_string_equal(error_name(12345), "E12345");
	assert_string_equal(error_name(-1), "E-1");
	assert_string_equal(status_name(STATUS_OK), "OK");
	assert_string_equal(status_name(STATUS_UNAUTHENTICATED), "UNAUTHENTICATED");
	assert_string_equal(status_name(17), "CODE 17");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_every_code_has_a_negative_result),
		cmocka_unit_test(test_errno_text_is_what_hosts_look_for),
		cmocka_unit_test(test_prefix_reads_outside_in),
		cmocka_unit_test(test_long_texts_are_cut_and_keep_the_errno),
		cmocka_unit_test(test_cut_at_a_character),
		cmocka_unit_test(test_invalid_bytes_are_replaced),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
