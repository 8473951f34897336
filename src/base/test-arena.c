/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of arena.c. */

#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/arena.h"

static void test_pieces_are_apart_aligned_and_zeroed(void **state)
{
	struct arena *arena = arena_new(0);
	unsigned int seed = 1;
	uint8_t *pieces[500];
	size_t sizes[500];

	for (size_t i = 0; i < 500; i++) {
		sizes[i] = (size_t)rand_r(&seed) % (i % 50 == 0 ? 200000 : 300);
		pieces[i] = arena_alloc(arena, sizes[i]);
		assert_non_null(pieces[i]);
		assert_int_equal((uintptr_t)pieces[i] % alignof(max_align_t), 0);
		for (size_t k = 0; k < sizes[i]; k++)
			assert_int_equal(pieces[i][k], 0);
		memset(pieces[i], (int)(i % 255) + 1, sizes[i]);
	}
	for (size_t i = 0; i < 500; i++)
		for (size_t k = 0; k < sizes[i]; k++)
			assert_int_equal(pieces[i][k], i % 255 + 1);
	arena_free(arena);
	arena_free(NULL);
}

static void test_an_empty_piece_is_unique(void **state)
{
	struct arena *arena = arena_new(0);
	void *a = arena_alloc(arena, 0), *b = arena_alloc(arena, 0);

	assert_non_null(a);
	assert_non_null(b);
	assert_ptr_not_equal(a, b);
	arena_free(arena);
}

static void test_limit(void **state)
{
	struct arena *arena = arena_new(64);

	arena_set_limit(arena, 10000);
	assert_null(arena_alloc(arena, 10001));
	assert_non_null(arena_alloc(arena, 9000));
	assert_null(arena_alloc(arena, 1001));
	assert_non_null(arena_alloc(arena, 1000));
	assert_null(arena_alloc(arena, 1));
	assert_in_range(arena_footprint(arena), 10000, 20000);
	arena_free(arena);
}

static void test_overflow_is_refused(void **state)
{
	struct arena *arena = arena_new(0);

	assert_null(arena_alloc(arena, SIZE_MAX));
	assert_null(arena_alloc(arena, SIZE_MAX - 20));
	assert_null(arena_alloc(arena, SIZE_MAX / 2));
	assert_null(arena_array(arena, SIZE_MAX / 2, 3));
	assert_non_null(arena_array(arena, 3, 5));
	arena_free(arena);
}

static void test_a_small_arena_is_one_allocation(void **state)
{
	struct arena *arena = arena_new(1000);
	size_t before = arena_footprint(arena);

	for (int i = 0; i < 10; i++)
		arena_alloc(arena, 64);
	assert_int_equal(arena_footprint(arena), before);
	assert_in_range(before, 1000, 1200);
	arena_free(arena);
}

static void test_texts(void **state)
{
	struct arena *arena = arena_new(0);

	assert_string_equal(arena_strdup(arena, "abc"), "abc");
	assert_string_equal(arena_strndup(arena, "abc", 2), "ab");
	assert_string_equal(arena_strndup(arena, "abc", 20), "abc");
	assert_string_equal(arena_printf(arena, "%s/%d", "x", 7), "x/7");
	assert_memory_equal(arena_memdup(arena, "a\0b", 3), "a\0b", 3);
	assert_non_null(arena_memdup(arena, NULL, 0));
	char *large = arena_printf(arena, "%100000d", 1);
	assert_int_equal(strlen(large), 100000);
	arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces_are_apart_aligned_and_zeroed),
		cmocka_unit_test(test_an_empty_piece_is_unique),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_overflow_is_refused),
		cmocka_unit_test(test_a_small_arena_is_one_allocation),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
