/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SANDBOX_PRIVATE_H
#define AGENT_SANDBOX_PRIVATE_H

/* What sandbox.c and sandbox_create.c have of each other. */

#include "agent/sandbox.h"

/* The call that asked lives in the request's memory and may be just on its way out: that goes at the round's end. */
void sandbox_forget_request(struct sandbox *sandbox);

/* Start the lists of steps. 0 or -ENOMEM. */
int sandbox_start_creating(struct sandbox *sandbox);
int sandbox_start_destroying(struct sandbox *sandbox);
/* Ends a creation: answers, sets the state. @e is NULL where @r is 0. */
void sandbox_creation_over(void *object, int r, const struct error *e);
/* Tells those who asked for the creation; @e NULL: that it went well. */
void sandbox_answer_creator(struct sandbox *sandbox, const struct error *e);

/* Undos that the end needs too; @object is the sandbox. STEP_DONE or STEP_WAIT. */
int sandbox_close_namespaces(void *object);
int sandbox_unset_dns(void *object);

#endif
