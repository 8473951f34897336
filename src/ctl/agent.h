/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_AGENT_H
#define CTL_AGENT_H

/*
 * The agent at the other end: one connection, calls by method name with messages instead of bytes. Method names are
 * those of the services, each of which occurs in one service only.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/loop.h"
#include "proto/proto.h"

struct agent;

struct agent_options {
	const char *address; /* unix://, vsock://, hvsock:// */
	int64_t timeout_ns; /* of each call; 0: none; negative: 60 s, and none for calls that wait for something */
	bool verbose;	    /* calls are told on stderr */
};

/* Connects; NULL with @e set. One at a time: it owns the loop. */
struct agent *agent_new(const struct agent_options *options, struct error *e);
/* Takes NULL. */
void agent_free(struct agent *agent);
struct loop *agent_loop(struct agent *agent);
const char *agent_address(const struct agent *agent);

/*
 * One call, waiting for its answer, which is decoded into @arena; @response may be NULL. 0 or -errno with @e set to what
 * the agent said.
 */
int agent_call(struct agent *agent, const struct proto_method *method, const void *request,
	       struct arena *arena, void **response, struct error *e);
int agent_call_name(struct agent *agent, const char *method, const void *request, struct arena *arena,
		    void **response, struct error *e);
/* Like agent_call_name(), with a limit of its own in nanoseconds. */
int agent_call_limited(struct agent *agent, const char *method, const void *request, int64_t timeout_ns,
		       struct arena *arena, void **response, struct error *e);

/* @response is NULL where @e has a code; both are valid during the callback only. */
typedef void (*agent_reply)(const void *response, const struct error *e, void *data);
/* Sends; @reply is called once, from the loop. Calls that wait for something have no limit here: it is for those who have
 * other things to do meanwhile. 0 or -errno with @e set (then @reply is not called). */
int agent_send(struct agent *agent, const char *method, const void *request, agent_reply reply, void *data,
	       struct error *e);

#endif
