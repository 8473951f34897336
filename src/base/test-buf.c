/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of buf.c. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"

static void test_append(void **state)
{
	_cleanup_buf_ struct buf buf = BUF_INIT;

	assert_string_equal(buf_string(&buf), "");
	assert_int_equal(buf_append(&buf, NULL, 0), 0);
	assert_int_equal(buf_append_string(&buf, "one"), 0);
	assert_int_equal(buf_append_char(&buf, ' '), 0);
	assert_int_equal(buf_printf(&buf, "%d-%s", 2, "x"), 0);
	assert_string_equal(buf_string(&buf), "one 2-x");
	assert_int_equal(buf.length, 7);
	buf_consume(&buf, 4);
	assert_string_equal(buf_string(&buf), "2-x");
	buf_consume(&buf, 100);
	assert_int_equal(buf.length, 0);
	assert_string_equal(buf_string(&buf), "");
	assert_false(buf.failed);
}

static void test_prepend(void **state)
{
	_cleanup_buf_ struct buf buf = BUF_INIT;

	assert_int_equal(buf_prepend(&buf, "c", 1), 0);
	assert_int_equal(buf_append_string(&buf, "de"), 0);
	assert_int_equal(buf_prepend(&buf, "ab", 2), 0);
	assert_string_equal(buf_string(&buf), "abcde");
	/* What was taken can be given back without new memory. */
	buf_consume(&buf, 2);
	uint8_t *before = buf.data;
	assert_int_equal(buf_prepend(&buf, "AB", 2), 0);
	assert_ptr_equal(buf.data, before);
	assert_string_equal(buf_string(&buf), "ABcde");
}

/* Against a plain model: random appends, prepends and consumes. */
static void test_against_a_model(void **state)
{
	enum { MODEL = 1 << 16 };
	_cleanup_buf_ struct buf buf = BUF_INIT;
	static char model[2 * MODEL + 4096];
	size_t begin = MODEL, end = MODEL;
	unsigned int seed = 12345;

	for (int i = 0; i < 20000; i++) {
		char bytes[64];
		size_t n = (size_t)rand_r(&seed) % sizeof(bytes);

		memset(bytes, rand_r(&seed) % 256, sizeof(bytes));
		switch (rand_r(&seed) % 4) {
		case 0:
			if (begin < n)
				break;
			assert_int_equal(buf_prepend(&buf, bytes, n), 0);
			begin -= n;
			memcpy(model + begin, bytes, n);
			break;
		case 1:
			if (end + n > sizeof(model))
				break;
			assert_int_equal(buf_append(&buf, bytes, n), 0);
			memcpy(model + end, bytes, n);
			end += n;
			break;
		default:
			n = n < end - begin ? n : end - begin;
			buf_consume(&buf, n);
			begin += n;
			break;
		}
		assert_int_equal(buf.length, end - begin);
		assert_true(buf.start + buf.length <= buf.size);
		if (end > begin)
			assert_memory_equal(buf_begin(&buf), model + begin, end - begin);
		if (begin == end)
			begin = end = MODEL;
	}
}

static void test_a_queue_does_not_grow(void **state)
{
	_cleanup_buf_ struct buf buf = BUF_INIT;
	char bytes[100] = {0};

	for (int i = 0; i < 10000; i++) {
		buf_append(&buf, bytes, sizeof(bytes));
		if (i > 2)
			buf_consume(&buf, sizeof(bytes));
	}
	assert_in_range(buf.size, 1, 4096);
}

static void test_too_much_is_an_error(void **state)
{
	_cleanup_buf_ struct buf buf = BUF_INIT;

	buf_append_string(&buf, "x");
	assert_null(buf_reserve(&buf, SIZE_MAX));
	assert_true(buf.failed);
	buf_clear(&buf);
	assert_false(buf.failed);
	buf_append_string(&buf, "x");
	assert_null(buf_reserve(&buf, SIZE_MAX / 2));
	assert_int_equal(buf_prepend(&buf, "y", SIZE_MAX / 2), -ENOMEM);
	assert_string_equal(buf_string(&buf), "x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append),
		cmocka_unit_test(test_prepend),
		cmocka_unit_test(test_against_a_model),
		cmocka_unit_test(test_a_queue_does_not_grow),
		cmocka_unit_test(test_too_much_is_an_error),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
