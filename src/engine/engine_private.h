/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_ENGINE_PRIVATE_H
#define ENGINE_ENGINE_PRIVATE_H

/* What the files of the engine share about its objects. Nobody outside includes this. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/job.h"
#include "base/loop.h"
#include "engine/container.h"
#include "engine/hooks.h"
#include "engine/oci_state.h"
#include "engine/rdt.h"
#include "engine/seccomp_filter.h"

enum { HOOK_TIMEOUT_MS = 10000, CREATE_TIMEOUT_MS = 120000 };

struct engine {
	struct engine_options options;
	struct loop *loop;
	struct cgroup_host *cgroups;
	int proc;	       /* a procfs of our own, in which our children are seen */
	int own_pidns;	       /* to come back to after a clone into another one */
	bool privileged;       /* root with all it takes to join and leave namespaces */
	int64_t oom_score_adj; /* our own */
};

struct launch;

struct container {
	struct engine *engine;
	char *id;
	char *bundle;
	Grpc__Spec *spec;
	struct arena *arena;
	enum container_status status;
	enum container_status unpaused; /* what resume goes back to */
	struct list processes;
	struct process *init;
	struct cgroup *cgroup;
	struct rdt *rdt;
	struct seccomp_filter *seccomp;
	int namespaces;	     /* CLONE_NEW* in which it differs from us */
	int mount_namespace; /* pinned before any foreign code ran; -1 when it shares ours */
	int handshake;	     /* our end, from READY until the start is done; -1 */
	bool gate_elsewhere; /* start comes through params.gate */
	bool no_new_keyring;
	unsigned preserve_fds;
	int64_t created_at; /* nanoseconds of the wall clock: for state files, and part of a cgroup's owner's name */
	uint64_t init_start; /* field 22 of /proc/PID/stat: tells a pid from its successor; 0 until known */
	struct operation *operation; /* create, start, update, pause, resume or delete under way; NULL */
	struct list launches;	     /* execs under way */
	void *user;
};

/*
 * One asynchronous operation that was asked of a container. Freed after `done` was called. `exclusive` ones are in
 * container->operation, and there is one at a time.
 */
struct operation {
	struct container *container;
	const char *verb;
	container_done done;
	void *data;
	int r;
	struct error error;
	struct loop_defer defer;
	struct job *job;
	struct hook_run *hooks;
	bool exclusive;
	void (*abort)(struct operation *operation); /* NULL: cannot be given up */
	void *state;				    /* the file's that runs it */
};

/* NULL when memory is out: @done has been called then. Where an exclusive one is refused since another is under way,
 * or the status is none of @allowed (a mask of 1 << status), @done is called later and NULL is returned, too. */
struct operation *operation_begin(struct container *container, const char *verb, unsigned allowed,
				  bool exclusive, container_done done, void *data);
/* Ends it: @done is called at the end of the loop's round, so that it may free what it likes. @e may be NULL for success. */
void operation_end(struct operation *operation, int r, const struct error *e);

/* A process's object in the container's list; NULL when memory is out. */
struct process *process_new(struct container *container, const char *exec_id, bool init);
/* Registers the pid with the loop. Takes @pidfd. 0 or -errno. */
int process_watch(struct process *process, pid_t pid, int pidfd);

/* The status follows at once; the owner is told at the end of the round. */
void process_tell_exit(struct process *process);

/* The state as JSON for hooks. 0 or -ENOMEM. */
int container_state_json(const struct container *container, const char *status, pid_t pid, struct buf *out);
/* The spec's resources; texts live in the container's arena. 0 or -errno. */
int container_resources(const struct container *container, struct cgroup_resources *out, struct error *e);
uint64_t container_hook_timeout(const struct container *container);
/* Of hooks that give none: the runtime's own, or NULL for an empty one. */
char *const *container_hook_environment(const struct container *container);

/* The cgroup goes: at once where it is empty and takes no waiting, else by a job. Returns 1 when a job was started
 * (*@job, which calls @done), 0, or -errno with @e set. */
int container_remove_cgroup(struct container *container, struct job **job, job_done_fn done, void *data,
			    struct error *e);

#endif
