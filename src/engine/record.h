/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_RECORD_H
#define ENGINE_RECORD_H

/*
 * What is remembered of a container in a file, so that another process can go on with it: `kata-oci` between its
 * commands, the agent after it was replaced.
 *
 * A record is one small JSON file, written whole to a temporary file beside it and renamed. It never holds the spec: the
 * bundle's config.json does, and whoever restores the container brings it. A pid is believed only together with the
 * start time of its process.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/container.h"

struct container_record {
	char *id;
	char *bundle;
	char *rootfs; /* root.path as it was used */
	enum container_status status;
	pid_t pid;	     /* 0: none */
	uint64_t start_time; /* of pid: clock ticks after boot (proc(5), stat, field 22) */
	int namespaces;	     /* CLONE_NEW* in which it differs from the host */
	char *cgroup;	     /* as asked for (linux.cgroupsPath), "" */
	enum cgroup_driver driver;
	bool own_user;	  /* made without being root */
	uint64_t created; /* nanoseconds of the wall clock */
	char *extra;	  /* the owner's own, or NULL */
};
void container_record_deinit(struct container_record *record);

/* Of a container that was created. Texts are copied. 0 or -ENOMEM. */
int container_record_make(const struct container *container, struct container_record *out);
/* Atomically replaces @name in @dirfd, mode 0600. 0 or -errno. */
int container_record_save(const struct container_record *record, int dirfd, const char *name,
			  struct error *e);
/* -ENOENT (NOT_FOUND) when it is not there; -EINVAL when it is no record. Strict about types and ranges. */
int container_record_load(int dirfd, const char *name, struct container_record *out, struct error *e);
int container_record_parse(const char *text, size_t length, struct container_record *out, struct error *e);

/* Field 22 of PID's stat below the procfs @proc; 0 when there is no such process. */
uint64_t record_start_time(int proc, pid_t pid);
/* Whether PID, which may be a zombie, has executed nothing since it was forked: 1 or 0; -ESRCH when it is not there. */
int record_unexecuted(int proc, pid_t pid);
/* Is the record's process there still, and the same? Zombies are gone. */
bool container_record_alive(const struct container_record *record, int proc);

/*
 * A container object for what a record tells. @spec lives in @arena, which is taken in every case. Its init is watched by
 * pidfd where it is not our child: on_exit is told with exit code 255 then (its status went to its parent). A start
 * goes through @gate (a connected socket to the gate's listener, taken), or -1. NULL with @e set.
 */
struct container *container_restore(struct engine *engine, const struct container_record *record,
				    Grpc__Spec *spec, struct arena *arena, int gate, struct error *e);

#endif
