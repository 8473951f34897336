/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_INIT_PRIVATE_H
#define ENGINE_INIT_PRIVATE_H

/* Between init.c (the life cycle), init_identity.c (what the process becomes) and init_exec.c (entering a container). */

#include "engine/engine_private.h"
#include "engine/init.h"
#include "engine/program.h"
#include "engine/terminal.h"

struct child {
	const struct child_plan *plan;
	const struct container *container;
	const Grpc__Spec *spec;
	const Grpc__Process *process;
	int proc;
	int socket;
	bool placed; /* GO was received */
	struct terminal terminal;
	struct program program;
	bool cwd_entered;
};

/* Waits (once) until the parent has put us into the cgroup and written the id mappings. 0 or -errno. */
int child_await_placement(struct child *child, struct error *e);
/* Opens the terminal below @root and hands its master over. Nothing without one. 0 or -errno. */
int child_open_terminal(struct child *child, int root, struct error *e);

/* [exec] Into the container's namespaces and root. 0 or -errno. */
int child_enter_container(struct child *child, struct error *e);

/* Everything that the process is, from session to credentials; its program is found. 0 or -errno. */
int child_become(struct child *child, struct error *e);
/* Gives the rest of privileges up, and puts the filter in force: for hooks of the payload too. 0 or -errno. */
int child_confine(struct child *child, struct error *e);
/* [confined] Returns only on failure: -errno. */
int child_execute(struct child *child, struct error *e);

#endif
