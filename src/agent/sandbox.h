/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SANDBOX_H
#define AGENT_SANDBOX_H

/*
 * The one object that holds all state: containers, storages, shared namespaces, guest hooks, events. One agent, one
 * sandbox; it lives as long as the program.
 *
 *     NONE → CREATING → READY → DESTROYING → GONE
 *       ↑_______↓ an error: undone
 *
 * Containers may be made in state NONE too (the control tool does); they then have no shared namespaces. What may
 * not happen twice does not: the same CreateSandbox again changes nothing and succeeds; another one is refused while
 * containers live, else the sandbox is taken down and made anew.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/admission.h"
#include "agent/guest_hooks.h"
#include "agent/oom.h"
#include "agent/rundir.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/job.h"
#include "base/list.h"
#include "base/loop.h"
#include "cgroup/cgroup.h"
#include "engine/container.h"
#include "guest/storage.h"
#include "proto/agent.pb-c.h"
#include "ttrpc/ttrpc.h"

struct module_load;
struct network;
struct passfd;
struct sequence;
struct uevents;

enum sandbox_state { SANDBOX_NONE, SANDBOX_CREATING, SANDBOX_READY, SANDBOX_DESTROYING, SANDBOX_GONE };

struct sandbox_options {
	struct loop *loop;
	struct ttrpc_server *server;
	bool pid1;
	enum cgroup_pin pin;
	bool no_pivot;		 /* the root file system is the initramfs itself */
	size_t pipe_size;	 /* of stdio, in bytes; 0: the kernel's default */
	struct uevents *uevents; /* borrowed; NULL: devices are not waited for */
	uint64_t hotplug_timeout_ms;
	bool renew;	       /* random numbers and clock, with each sandbox */
	struct passfd *passfd; /* borrowed, may come later; NULL: no streams are passed through */
	/* Everything is taken down and all who asked for it were answered. */
	void (*gone)(void *data);
	void *data;
};

struct sandbox {
	struct loop *loop;
	struct ttrpc_server *server;
	struct engine *engine;
	struct sandbox_options options;
	enum sandbox_state state;
	struct admission admission;
	struct rundir rundir;
	struct list entries; /* of struct entry */
	struct list graves;  /* of entries whose memory is to be given back */
	struct storages *storages;
	struct oom *oom;
	struct network *network;

	char *id; /* "" until CreateSandbox */
	char *hostname;
	struct buf created_by; /* the request that made it, as bytes */
	int ipc, uts;	       /* shared namespaces; -1: none */
	int pid;	       /* of the first container; -1: none */
	struct entry *pid_owner;
	struct guest_hooks hooks;
	struct storage_refs *storage_refs;
	bool dns_mounted;
	uint64_t scrapes; /* calls of GetMetrics */

	/* While it is made or taken down. */
	const Grpc__CreateSandboxRequest *request;
	struct arena *arena;
	struct arena *old_arena; /* to be given back */
	struct ttrpc_call *call; /* NULL: nobody is to be told */
	bool timed_out;
	struct list creators;	/* parked CreateSandbox */
	struct list destroyers; /* parked DestroySandbox */
	struct sequence *sequence;
	struct job *job;
	struct module_load *modules;
	struct storage_add *adding;
	int receiver; /* our end of the socket on which the namespaces come; -1 */
	bool remake;  /* it is taken down to be made anew */
	struct loop_defer settled;
};

/* Opens the run directory, cleans what a dead predecessor left, makes the engine (blocking: at start). NULL with @e. */
struct sandbox *sandbox_new(const struct sandbox_options *options, struct error *e);
/* Takes NULL. Takes nothing down: see sandbox_destroy(). The server must be gone already. */
void sandbox_free(struct sandbox *sandbox);

/* CreateSandbox, from the first check to the answer. */
void sandbox_create(struct sandbox *sandbox, struct ttrpc_call *call,
		    const Grpc__CreateSandboxRequest *request);
/* Takes everything down, as well as it can; @call (may be NULL) is answered then, and options.gone() is called. */
void sandbox_destroy(struct sandbox *sandbox, struct ttrpc_call *call);

/* Something of an entry has ended: its memory is given back, and an end of the sandbox that waits for it goes on, once
 * the loop's round is over. */
void sandbox_settle(struct sandbox *sandbox);

#endif
