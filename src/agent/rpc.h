/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_RPC_H
#define AGENT_RPC_H

/*
 * From a ttRPC call to a typed handler and back.
 *
 * Handlers live in rpc_*.c by topic; each such file exports one group, and rpc.c has the list of groups. A method of
 * grpc.AgentService or grpc.Health that no group has is answered with UNIMPLEMENTED.
 *
 * A handler gets the decoded request, which lives in the call's arena, and answers exactly once: now, or later after
 * having kept the call (parked.h, or ttrpc_call_on_end()). It never fails: what goes wrong is an answer.
 */

#include <stddef.h>

#include "base/error.h"
#include "proto/proto.h"
#include "ttrpc/ttrpc.h"

struct sandbox;
struct entry;
struct task;

typedef void (*rpc_handler)(struct sandbox *sandbox, struct ttrpc_call *call, const void *request);

struct rpc_method {
	const char *name;
	const ProtobufCMessageDescriptor *request;
	rpc_handler handler;
	unsigned bound; /* of what is under way when it may begin (admission.h); 0: it never waits */
};

struct rpc_group {
	const char *service;
	const struct rpc_method *methods;
	size_t count;
};

extern const struct rpc_group rpc_health_group;
extern const struct rpc_group rpc_sandbox_group;
extern const struct rpc_group rpc_container_group;
extern const struct rpc_group rpc_process_group;
extern const struct rpc_group rpc_stdio_group;
extern const struct rpc_group rpc_misc_group;
extern const struct rpc_group rpc_file_group;
extern const struct rpc_group rpc_guest_group;
extern const struct rpc_group rpc_network_group;

/* Adds both services to @server. The tables live until the program ends. 0 or -errno with @e set. */
int rpc_register(struct ttrpc_server *server, struct sandbox *sandbox, struct error *e);

/* Handles a call that has waited for its turn. */
void rpc_run(struct ttrpc_call *call, struct sandbox *sandbox);

/* Answers with @message (encoded now; may be freed afterwards). */
void rpc_respond(struct ttrpc_call *call, const void *message);
/* google.protobuf.Empty. */
void rpc_respond_empty(struct ttrpc_call *call);

/*
 * Look-ups. NULL: the call was failed, with NOT_FOUND and a text that both hosts take for "already gone":
 * "Invalid container id: ID not found"; "process not found: …" (reference 01, 9.4 and 9.5).
 */
struct entry *rpc_find_container(struct sandbox *sandbox, struct ttrpc_call *call, const char *id);
struct task *rpc_find_process(struct sandbox *sandbox, struct ttrpc_call *call, const char *id,
			      const char *exec_id);

#endif
