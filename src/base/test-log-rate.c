/* SPDX-License-Identifier: Apache-2.0 */
/* How often one message may be told, and that others are not concerned. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log-rate.h"

static unsigned admitted(struct log_rate *rate, const char *message, unsigned tries, uint64_t now)
{
	unsigned count = 0;

	for (unsigned i = 0; i < tries; i++)
		count += log_rate_admit(rate, message, now);
	return count;
}

static void test_a_flood(void **state)
{
	struct log_rate *rate = calloc(1, sizeof(*rate));
	uint32_t count;

	assert_null(log_rate_suppressed(rate, &count));
	assert_int_equal(admitted(rate, "flood", 5000, 1000), LOG_RATE_BURST);
	assert_int_equal(admitted(rate, "other", 10, 1000), 10);
	assert_string_equal(log_rate_suppressed(rate, &count), "flood");
	assert_int_equal(count, 5000 - LOG_RATE_BURST);
	assert_null(log_rate_suppressed(rate, &count));
	/* A tenth of a second later a tenth of what may come in one. */
	assert_int_equal(admitted(rate, "flood", 5000, 1100), LOG_RATE_A_SECOND / 10);
	assert_int_equal(admitted(rate, "flood", 5000, 1100), 0);
	/* In steps that are each too short for one, none is lost. */
	unsigned sum = 0;
	for (uint64_t now = 1101; now <= 2100; now++)
		sum += admitted(rate, "flood", 10, now);
	assert_int_equal(sum, LOG_RATE_A_SECOND);
	/* After a long time it is as new. */
	assert_int_equal(admitted(rate, "flood", 5000, 1000000), LOG_RATE_BURST);
	free(rate);
}

static void test_more_messages_than_room(void **state)
{
	enum { MANY = 4 * LOG_RATE_MESSAGES };
	struct log_rate *rate = calloc(1, sizeof(*rate));
	char text[100];
	uint64_t told = 0;
	uint32_t count;

	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text),
			 "%d: a message that is longer than what is kept of it for the notice", i);
		told += admitted(rate, text, 2 * LOG_RATE_BURST, 1000);
	}
	/* They share: what is told is bounded, and what is not told is counted. */
	assert_in_range(told, LOG_RATE_BURST, (uint64_t)LOG_RATE_MESSAGES * LOG_RATE_BURST);
	while (log_rate_suppressed(rate, &count))
		told += count;
	assert_int_equal(told, (uint64_t)MANY * 2 * LOG_RATE_BURST);
	/* Those whose time is over make room. */
	assert_int_equal(admitted(rate, "new", 10, 1000000), 10);
	free(rate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_flood),
		cmocka_unit_test(test_more_messages_than_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
