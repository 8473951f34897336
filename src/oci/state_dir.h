/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_STATE_DIR_H
#define OCI_STATE_DIR_H

/*
 * The directory of one container below the state root: `record` (engine/record.h), `spec` (the configuration as it was at
 * create, in wire form, so that later changes of the bundle have no effect and nothing is parsed as JSON again), `gate`
 * (the socket that holds the init process until the start), `notify/` (systemd's readiness).
 *
 * Commands that change a container hold a lock on its directory (flock(2)), which the kernel gives free with the process.
 * A directory without a record, and without somebody who holds it, is what a killed `create` left: it is stale.
 */

#include "base/arena.h"
#include "base/error.h"
#include "engine/record.h"
#include "oci/oci.h"

struct state_dir {
	int root; /* the state root */
	int fd;	  /* the directory, which carries the lock */
	char id[256];
};
#define STATE_DIR_INIT                                                                                       \
	(struct state_dir)                                                                                   \
	{                                                                                                    \
		.root = -1, .fd = -1                                                                         \
	}

enum state_lock { STATE_UNLOCKED, STATE_SHARED, STATE_EXCLUSIVE };

/* Makes and locks it. ALREADY_EXISTS when there is such a container; a stale one is replaced. 0 or -errno. */
int state_dir_create(struct state_dir *dir, const struct oci *oci, const char *id, struct error *e);
/* NOT_FOUND (`container "x" does not exist`) when there is none. Waits for the lock. 0 or -errno. */
int state_dir_open(struct state_dir *dir, const struct oci *oci, const char *id, enum state_lock lock,
		   struct error *e);
void state_dir_close(struct state_dir *dir);
/* Removes it, with all in it. 0 or -errno. */
int state_dir_remove(struct state_dir *dir, struct error *e);

/* -ENOENT with NOT_FOUND (as state_dir_open()) when there is no record. */
int state_dir_load(const struct state_dir *dir, struct container_record *record, struct error *e);
int state_dir_save(const struct state_dir *dir, const struct container_record *record, struct error *e);
/* The configuration. state_dir_load_spec() gives NULL with @e set when it is unreadable. */
int state_dir_save_spec(const struct state_dir *dir, const Grpc__Spec *spec, struct error *e);
Grpc__Spec *state_dir_load_spec(const struct state_dir *dir, struct arena *arena, struct error *e);

/* A listening SOCK_SEQPACKET socket called @name, and a connection to it; descriptor or -errno with @e set. */
int state_dir_listen(const struct state_dir *dir, const char *name, struct error *e);
int state_dir_connect(const struct state_dir *dir, const char *name, struct error *e);

/* Status as it is now: what the record says, but "stopped" when its process has gone. */
enum container_status state_status(const struct container_record *record);

#endif
