/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CRASH_H
#define AGENT_CRASH_H

/*
 * Last words. A fatal signal (a bug of ours) leaves one log record with the signal, the address and a backtrace on
 * standard error, which is the console as PID 1, and then ends the program as the signal would have; as PID 1, whose
 * death is a kernel panic, it powers the guest off.
 *
 * The handler runs on a stack of its own and calls nothing but async-signal-safe functions.
 */

#include <stdbool.h>

void crash_handlers_install(bool pid1);
/* In a forked child, whose fatal signals are not the agent's. */
void crash_handlers_remove(void);

#endif
