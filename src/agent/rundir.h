/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_RUNDIR_H
#define AGENT_RUNDIR_H

/*
 * /run/kata-containers: a directory per container (its bundle), and what else hosts know by path below it.
 *
 * The agent that holds the lock on the directory owns what agents have made in it: the containers' directories, `sandbox`,
 * `shared`, and the mounts that are named in `mounts` (guest/storage_record.h). A fresh agent that gets the lock finds what
 * a predecessor left that died: it kills those containers, removes their cgroups, unmounts what was mounted for them, and
 * removes those directories, without ever descending into something that is still mounted. What else is there, an image's
 * own mounts and files, is none of its business. Without the lock (another agent lives on this machine) it touches nothing
 * but what it makes itself.
 *
 * A container's directory has `record` once its processes and its cgroup are certainly ours: pid and start time of its
 * init. Before that, a cgroup that it names is removed only if nothing is in it.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "cgroup/cgroup.h"
#include "guest/storage.h"

#define RUNDIR_PATH "/run/kata-containers"

struct rundir {
	int fd;
	bool locked;
};

struct rundir_recovery {
	const struct cgroup_host *cgroups;
	bool pid1;
	enum cgroup_pin pin;
};

/* Makes and opens it, tries to lock it. 0 or -errno with @e set. */
int rundir_open(struct rundir *rundir, struct error *e);
void rundir_close(struct rundir *rundir);
/* Blocking, at start only. Does its best; what cannot be removed is logged. Nothing without the lock. */
void rundir_recover(const struct rundir *rundir, const struct rundir_recovery *how);

/* Removes what agents have made in it, except what is mounted or in use, and then itself if it is empty. Nothing without
 * the lock. Blocking. */
void rundir_clear(const struct rundir *rundir);

/* Makes the container's directory. ALREADY_EXISTS when something is there. 0 or -errno with @e set. */
int rundir_make(struct rundir *rundir, const char *id, struct error *e);
/* Removes it with what is in it, but not what is mounted in it (-EBUSY). Missing is success. */
int rundir_remove(const struct rundir *rundir, const char *id, struct error *e);
/* Writes `record`. */
int rundir_record(const struct rundir *rundir, const char *id, pid_t init, struct error *e);

/* Writes `mounts` anew. Nothing without the lock. */
void rundir_note_mounts(const struct rundir *rundir, const struct storages *storages);

/* Unmounts all that is mounted below @directory (not on it), newest first, without following links and without waiting
 * for file systems. Number of mounts. */
unsigned rundir_unmount_below(const char *directory);

#endif
