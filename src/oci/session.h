/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_SESSION_H
#define OCI_SESSION_H

/*
 * One command's work on one container: the loop, the engine, the container, its state directory and record. The engine is
 * asynchronous, a command is not: session_wait() runs the loop until the operation that was started has told its end.
 *
 *     session_open(&s, oci, id, STATE_EXCLUSIVE, &e);
 *     container_pause(s.container, session_done, &s);
 *     r = session_wait(&s, &e);
 *     session_close(&s);
 */

#include "base/loop.h"
#include "engine/container.h"
#include "oci/state_dir.h"

struct session {
	struct oci *oci;
	struct loop *loop;
	struct engine *engine;
	struct container *container;
	struct state_dir dir;
	struct container_record record;
	bool loaded; /* record is filled */
	bool leaves; /* set before it is started: our children's statuses are for whoever adopts them */
	/* The operation under way. */
	bool told;
	int r;
	struct error error;
};
#define SESSION_INIT                                                                                         \
	(struct session)                                                                                     \
	{                                                                                                    \
		.dir = {.root = -1, .fd = -1 }                                                               \
	}

/* Loop and engine, without a container. 0 or -errno. */
int session_start(struct session *s, struct oci *oci, struct error *e);
/* The container of that id, restored. Where it waits at its gate, we are connected to it with @gate. NOT_FOUND. */
int session_open(struct session *s, struct oci *oci, const char *id, enum state_lock lock, bool gate,
		 struct error *e);
/* Writes the container's status down. 0 or -errno. */
int session_save(struct session *s, struct error *e);
/* Frees everything; the container lives on. */
void session_close(struct session *s);

/* A container_done with the session as its data. */
void session_done(struct container *container, int r, const struct error *e, void *data);
/* Runs the loop until session_done() was called. Its result, with @e. */
int session_wait(struct session *s, struct error *e);

#endif
