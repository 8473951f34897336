/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_NAMESPACES_H
#define AGENT_NAMESPACES_H

/*
 * The namespaces that the containers of a sandbox share: IPC and UTS, made with the sandbox, and the PID namespace of its
 * first container. They are held by descriptor: no file pins them, no pid stands for them.
 *
 * A spec says only that it wants such a namespace; where it is is the agent's to say, and whatever path the host has
 * put there is dropped (reference 03, 6.1 step 11; 02, section 11).
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/job.h"
#include "base/loop.h"
#include "engine/container.h"
#include "proto/oci.pb-c.h"

struct shared_namespaces {
	int ipc, uts, pid; /* -1: there is none */
};

/*
 * Makes an IPC and a UTS namespace (with @hostname unless "") in a job. When @done reports success, they are received
 * from *@receiver, a socket that is the caller's from here on, by namespaces_receive(). NULL with @e set.
 */
struct job *namespaces_make(struct loop *loop, const char *hostname, int *receiver, job_done_fn done,
			    void *data, struct error *e);
/* 0 or -errno with @e set. */
int namespaces_receive(int receiver, int *ipc, int *uts, struct error *e);

/*
 * Rewrites the namespaces of @spec (what is new is in @arena) and says in @out (room for 3), with descriptors that are
 * borrowed from @shared, what is to be joined: an `ipc` or `uts` entry gets the sandbox's; of `pid` there is one entry
 * afterwards, the sandbox's if @join_pid, else a new one. @join_pid without a shared one while there are @others:
 * "Sandbox does not have sandbox_pidns". 0 or -errno with @e set.
 */
int namespaces_rewrite(Grpc__Spec *spec, struct arena *arena, const struct shared_namespaces *shared,
		       bool join_pid, bool others, struct namespace_fd *out, size_t *count, struct error *e);

#endif
