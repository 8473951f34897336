/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_FAULT_H
#define AGENT_FAULT_H

/*
 * Faults on purpose, for tests: the environment variable KATA_AGENT_FAIL_STEP, read once at start, is a comma-separated list
 * of `SCOPE.STEP` (that step fails after its work was done) and `SCOPE.STEP@MS` (it takes that many milliseconds
 * longer). Each entry is used up by one use, the first that matches. Without the variable nothing of this has any
 * effect.
 *
 * Scopes and steps are the lists in rpc_container.c ("create", "remove") and sandbox.c ("sandbox", "destroy").
 */

#include <stdbool.h>
#include <stdint.h>

/* Copies @text (NULL: none). */
void fault_init(const char *text);
/* True when SCOPE.STEP is to fail, or, with *@delay_ms set, to be late. Uses the entry up. */
bool fault_take(const char *scope, const char *step, uint64_t *delay_ms);

#endif
