/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_LAUNCH_H
#define ENGINE_LAUNCH_H

/*
 * The parent's half of making a process, for create and for exec: a table of steps, each with its undo, gone through
 * on the loop.
 *
 * A step returns 0 (done: the next one), LAUNCH_WAIT (something is under way that will call launch_continue() or
 * launch_fail()), or -errno with @e set. From the first failure on, the undos of the steps that were begun run backwards; an
 * undo may wait in the same way, and its own errors are logged only. At the end `finished` is told, and the launch is
 * freed.
 */

#include "engine/engine_private.h"
#include "engine/handshake.h"
#include "engine/init.h"

enum { LAUNCH_WAIT = 1 };

struct launch;
struct launch_step {
	const char *name;
	int (*run)(struct launch *launch, struct error *e);
	int (*undo)(struct launch *launch, struct error *e); /* NULL: nothing to undo */
};

struct launch {
	struct container *container;
	struct process *process;
	const struct launch_step *steps;
	size_t count;
	size_t index; /* the step that runs, or is being undone */
	bool waiting, undoing;
	int r;
	struct error error;
	/* Told once, from the loop, with 0 or the first failure. The launch is freed afterwards. */
	void (*finished)(struct launch *launch, int r, const struct error *e);
	void *owner;
	struct list link; /* execs: in container->launches */

	struct child_plan plan;
	const struct namespace_fd *given; /* create: to be joined by descriptor */
	size_t n_given;
	const char *const *cgroups; /* exec: cgroup_attach_places() */
	size_t n_cgroups;
	bool ignore_paused; /* exec: begins when the container is resumed */
	struct stdio_params stdio;
	int child_stdio[3]; /* the child's ends of pipes; -1 */
	int socket;	    /* our end of the handshake; -1 */
	int child_end;	    /* the child's, until it is born; -1 */
	int expected;	    /* enum handshake_type that is waited for; 0: end of file */
	bool ended;	    /* the socket has */
	bool owes_poststop; /* create: hooks have run, or may have */
	struct loop_fd source;
	struct loop_timer deadline;
	struct loop_defer defer;
	struct loop_child middle;
	struct loop_child helper;
	pid_t middle_pid;
	struct job *job;
	struct hook_run *hooks;
};

/* Steps begin with the loop's next round. */
void launch_begin(struct launch *launch, const struct launch_step *steps, size_t count);
void launch_continue(struct launch *launch);
/* Also from outside, in the middle of anything (abort): what is under way is cancelled. */
void launch_fail(struct launch *launch, const struct error *e);
/* The process of a launch has exited. */
void launch_on_exit(struct launch *launch);

/* Waits for a message of @type from the child (0: for the socket's end). Always LAUNCH_WAIT. */
int launch_await(struct launch *launch, int type);
/* A job as a step. LAUNCH_WAIT or -errno. */
int launch_job(struct launch *launch, const char *name, job_fn fn, struct error *e);

/* Steps that create and exec share. */
int launch_open_stdio(struct launch *launch, struct error *e);
int launch_close_stdio(struct launch *launch, struct error *e);
int launch_clone(struct launch *launch, struct error *e);
int launch_undo_clone(struct launch *launch, struct error *e);
int launch_go(struct launch *launch, struct error *e);

#endif
