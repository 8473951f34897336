/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_INIT_H
#define ENGINE_INIT_H

/*
 * The child's half: from clone3(2) to execve(2), in straight code.
 *
 * The plan is made by the parent; the child reads it, and the spec behind it, in its copy of the parent's memory.
 * It never returns into the parent's code, never touches the loop, and leaves with _exit(2).
 */

#include <stdbool.h>
#include <stdint.h>

#include "engine/container.h"
#include "engine/credentials.h"
#include "engine/namespace.h"
#include "engine/seccomp_filter.h"

struct child_plan {
	const struct container *container;
	const Grpc__Process *process;
	bool init; /* the container's first process; else an exec */
	struct namespaces namespaces;
	/* exec: where init is. Flags of setns(2) by its pidfd, and the pinned mount namespace. */
	int init_pidfd;
	pid_t init_pid;
	int join_flags;
	int mount_namespace;

	int socket; /* the child's end of the handshake */
	int gate;   /* listening socket instead of START on `socket`; -1 */
	int cgroup; /* directory for CLONE_INTO_CGROUP; -1 */
	bool in_cgroup_at_birth;
	int mount_helper;   /* socket; -1 */
	bool await_runtime; /* the parent has something to do between mounts and pivot */
	int stdio[3];	    /* -1: leave what is there (terminal) */
	int console_socket; /* terminal: the master goes there; -1: to the parent */
	bool plain_newlines;
	unsigned preserve_fds;

	struct credentials credentials;
	const struct seccomp_filter *filter;
	int seccomp_listener;
	bool hide; /* not dumpable until execve: nobody in a shared pid namespace looks into us */
};

/* Never returns. */
_Noreturn void child_main(const struct child_plan *plan);

#endif
