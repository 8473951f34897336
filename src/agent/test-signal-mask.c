/* SPDX-License-Identifier: Apache-2.0 */

/* The masks of /proc/PID/status. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/signal_mask.h"
#include "base/fd.h"

static const struct {
	const char *status;
	int signal;
	bool handled;
} table[] = {
	{"SigCgt:000000004b813efb\n", 4, true},
	{"SigCgt:\t000000004b813efb\n", 4, true},
	{"SigCgt: 000000004b813efb\n", 4, true},
	{"SigCgt: 000000004b813efb ", 4, true},
	{"SigCgt:\t000000004b813efb", 3, false},
	{"SigCgt:\t000000004b813efb", 65, false},
	{"SigCgt:\t000000004b813efb", 0, false},
	{"SigCgt:\t000000004b813efb", -1, false},
	{"SigBlk:\t0000000000001000\n", 13, true},
	{"SigIgn:\t0000000000001000\n", 13, true},
	{"SigIgn:\t8000000000000000\n", 64, true},
	{"Name:\tx\nSigQ:\t1/2\nSigPnd:\t0000000000004000\nSigBlk:\t0000000000000000\n", 15, false},
	{"Name:\tx\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0000000000004000\n", 15, true},
	{"SigCgt:\tnonsense\n", 4, false},
	{"SigCgt:\t-1\n", 4, false},
	{"SigCgt\n", 4, false},
	{"SigCgt:\n", 4, false},
	{"SigCgt:\tffffffffffffffffff\n", 4, false},
	{"Name:\tSigCgt:\tffff\n", 4, false},
	{"", 4, false},
};

static void masks(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(table); i++)
		if (signal_mask_handles(table[i].status, table[i].signal) != table[i].handled)
			fail_msg("row %zu: %s, signal %d", i, table[i].status, table[i].signal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(masks)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
