/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SIGNAL_MASK_H
#define AGENT_SIGNAL_MASK_H

#include <stdbool.h>

/*
 * True when the text of a /proc/PID/status (proc(5)) says that the process blocks, ignores or catches @signal (1 … 64):
 * its bit is set in SigBlk, SigIgn or SigCgt. A line that cannot be read counts as not set.
 */
bool signal_mask_handles(const char *status, int signal);

#endif
