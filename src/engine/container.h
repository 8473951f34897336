/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_CONTAINER_H
#define ENGINE_CONTAINER_H

/*
 * The container engine: an OCI specification becomes a running container.
 *
 * Everything that can wait is asynchronous: a function that takes a `container_done` returns at once and calls it later
 * from the loop, exactly once (never before it has returned). Operations on one container may be asked for at any time;
 * what does not fit its status is refused, at once and without side effects, with FAILED_PRECONDITION.
 *
 * The init process is made by one clone3(2) from this process, and is its child in every case (CLONE_PARENT where a
 * middle process has to join namespaces first). The parent's half is a visible list of steps, each with its undo
 * (create.c); the child's half is straight code (init.c). They talk in typed messages over one socketpair.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/list.h"
#include "base/loop.h"
#include "cgroup/cgroup.h"
#include "proto/oci.pb-c.h"

struct engine;
struct container;

enum container_status {
	CONTAINER_CREATING,
	CONTAINER_CREATED,
	CONTAINER_RUNNING,
	CONTAINER_PAUSED,
	CONTAINER_STOPPED, /* the init process has exited */
};
/* "creating", "created", "running", "paused", "stopped". */
const char *container_status_name(enum container_status status);

struct engine_options {
	struct loop *loop;
	bool pid1;		    /* this process is the guest's init: cgroupfs, always */
	enum cgroup_pin pin;	    /* the operator's word on the cgroup driver */
	bool no_pivot;		    /* the root is an initramfs: move the mount instead of pivot_root(2) */
	bool rootless;		    /* not root: missing permissions on cgroups are no errors */
	size_t pipe_size;	    /* capacity of stdio pipes in bytes; 0: the kernel's default */
	uint64_t create_timeout_ms; /* bound of a create or exec, hooks not counted; 0: 120 s */
	/* Specs come from a Kata host: leniences of validate.h, 10 s for hooks that say nothing, and what the agent has for
	 * itself (oom_score_adj) is not inherited. */
	bool wire;
};

/* Opens what it needs of the host (a private procfs, cgroup hierarchies). NULL with @e set. */
struct engine *engine_new(const struct engine_options *options, struct error *e);
void engine_free(struct engine *engine);
const struct cgroup_host *engine_cgroups(const struct engine *engine);

/* A namespace to join by descriptor, whatever path the spec has for that type. Borrowed during create. */
struct namespace_fd {
	int type; /* CLONE_NEWPID, CLONE_NEWIPC, … */
	int fd;	  /* -1: take a new one */
};

enum stdio_kind {
	STDIO_PIPES, /* three pipes (one pty where the process has a terminal), our ends in struct process */
	STDIO_INHERIT, /* 0, 1, 2 of @fds are the process's (duplicated; the caller keeps its own) */
};

struct stdio_params {
	enum stdio_kind kind;
	int fds[3];	    /* STDIO_INHERIT without terminal */
	int console_socket; /* terminal: send the pty's master there (SCM_RIGHTS) instead of keeping it; -1: keep */
	bool plain_newlines; /* terminal: no carriage returns are added to what is written to it */
};

/* One process of a container: its init, or one that was executed. Owned by the container. */
struct process {
	struct list link; /* in the container's list */
	struct container *container;
	char *exec_id; /* "" for init */
	bool init;
	bool terminal;
	pid_t pid; /* 0 before and after its life */
	int pidfd; /* -1 likewise */
	bool started;
	bool exited;
	int exit_code; /* 0..255 or 128 + signal */
	/* Our ends, non-blocking, -1 where there is none. With a terminal all is `master`. */
	int stdin_fd, stdout_fd, stderr_fd;
	int master;
	/* Told once, when the exit status is known. */
	void (*on_exit)(struct process *process, void *data);
	void *on_exit_data;
	void *user; /* the caller's own */
	/* The engine's own. */
	struct loop_child child;
	struct loop_fd watch; /* of a restored one that is not our child: its pidfd */
	struct loop_defer defer;
	struct launch *launch; /* while it is being made */
};

typedef void (*container_done)(struct container *container, int r, const struct error *e, void *data);

struct container_params {
	const char *id; /* valid by id_valid(); copied */
	const char *
		bundle; /* absolute; cwd of hooks, "bundle" of their state; relative paths of the spec start here */
	/* Lives in @arena, which the container takes, at once (unless container_create() returns NULL). root.path is
	 * used as it stands. */
	Grpc__Spec *spec;
	struct arena *arena;
	struct stdio_params stdio;
	const struct namespace_fd *namespaces;
	size_t n_namespaces;
	unsigned preserve_fds; /* descriptors 3 … 3+n-1 stay open in the process */
	bool no_new_keyring;
	/* kata-oci: a listening SOCK_SEQPACKET socket on which the start is awaited instead of container_start(). -1 */
	int gate;
};

/*
 * Validates, then makes the container up to the gate: namespaces, cgroup, root filesystem, hooks, credentials; the
 * process waits. @done with 0 when status is CREATED; else with the error after everything was undone. The container is
 * the caller's from the moment this returns (container_free()); NULL only when memory is out (@done is not called).
 */
struct container *container_create(struct engine *engine, const struct container_params *params,
				   container_done done, void *data);
/* Gives a running create up: undoes, then its `done` is called with CANCELLED. */
void container_abort(struct container *container);
/* Only when no operation is under way. Kills nothing and removes nothing: see container_delete(). Takes NULL. */
void container_free(struct container *container);

const char *container_id(const struct container *container);
enum container_status container_status(const struct container *container);
const Grpc__Spec *container_spec(const struct container *container);
const char *container_bundle(const struct container *container);
struct process *container_init(struct container *container);
/* NULL when unknown. "" and the container's id name init. */
struct process *container_process(struct container *container, const char *exec_id);
struct list *container_processes(struct container *container); /* of struct process, init first */
struct cgroup *container_cgroup(struct container *container);
struct engine *container_engine(struct container *container);
void *container_user(const struct container *container);
void container_set_user(struct container *container, void *user);

/*
 * Opens the gate. @done with 0 once the program was executed (poststart hooks ran too); with an error naming what
 * failed when startContainer hooks, seccomp or execve(2) did. Twice, or after init died: FAILED_PRECONDITION.
 */
void container_start(struct container *container, container_done done, void *data);

struct exec_params {
	const char *exec_id; /* unused in this container; copied */
	/* What the request leaves out (capabilities, labels, no_new_privs, …) is the container's. Borrowed until @done. */
	const Grpc__Process *process;
	struct stdio_params stdio;
	unsigned preserve_fds;
	/* cgroup_attach_places(); none: where init is. Borrowed until @done. */
	const char *const *cgroups;
	size_t n_cgroups;
	/* Also into a paused container: the process then begins, and @done is called, when that is resumed. */
	bool ignore_paused;
};
/*
 * Starts a further process. @done with 0 once its program was executed. The process object exists from this call on and
 * is found by container_process(); when @done reports an error it is freed after @done returns. NULL: refused at once,
 * @e is set, @done is not called.
 */
struct process *container_exec(struct container *container, const struct exec_params *params,
			       container_done done, void *data, struct error *e);
/* Forgets an exited exec process. Closes our ends of its stdio. */
void process_free(struct process *process);

/* To one process, by pidfd. Gone: -ESRCH and "ESRCH: No such process". 0 only probes. */
int process_signal(struct process *process, int signal, struct error *e);
/* To every process of the container, nested cgroups included. */
void container_kill_all(struct container *container, int signal, container_done done, void *data);
int process_resize(struct process *process, unsigned rows, unsigned columns, struct error *e);

void container_pause(struct container *container, container_done done, void *data);
void container_resume(struct container *container, container_done done, void *data);
void container_update(struct container *container, const Grpc__LinuxResources *resources, container_done done,
		      void *data);
/*
 * Kills what lives, runs poststop hooks, removes the cgroup. Every step is tried, the first error is reported, and
 * it may be called again. Without @force a container whose init lives is refused. Does not touch the bundle.
 */
void container_delete(struct container *container, bool force, container_done done, void *data);

#endif
