/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_SESSION_H
#define CTL_SESSION_H

/*
 * A person's standard streams on a process in a container: output comes here, input, signals and the terminal's size go
 * there, until the process has ended.
 */

#include <stdbool.h>

#include "ctl/agent.h"

struct session;

struct session_options {
	const char *container;
	const char *exec_id; /* the container's id for its first process */
	bool tty;	     /* the process has a terminal; ours becomes raw, if standard input is one */
	bool input;	     /* standard input is forwarded; otherwise the process's is closed */
};

/*
 * From now on, signals that are to be forwarded are kept instead of ending this program. The strings are borrowed. NULL
 * with @e set.
 */
struct session *session_new(struct agent *agent, const struct session_options *options, struct error *e);
/* Restores the terminal. Takes NULL. */
void session_free(struct session *session);
/*
 * For a process that was started: forwards until all of its output is here and it has ended. Its exit code (0 to 255)
 * is returned, or -errno with @e set.
 */
int session_run(struct session *session, struct error *e);

#endif
