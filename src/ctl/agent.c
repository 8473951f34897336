/* SPDX-License-Identifier: Apache-2.0 */
/* A thin layer: the ttRPC client underneath knows bytes, the callers above know messages. */
#include "ctl/agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "proto/json.h"
#include "ttrpc/ttrpc.h"

enum { CONNECT_TIMEOUT_MS = 10000 };
#define CALL_TIMEOUT_NS (60 * INT64_C(1000000000))

struct agent {
	struct loop *loop;
	struct ttrpc_client *client;
	const char *address;
	int64_t timeout_ns;
	bool verbose;
};

/* A call under way. */
struct pending {
	const struct proto_method *method;
	agent_reply reply;
	void *data;
};

struct agent *agent_new(const struct agent_options *options, struct error *e)
{
	struct agent *agent = calloc(1, sizeof(*agent));

	if (!agent) {
		error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
		return NULL;
	}
	agent->address = options->address;
	agent->timeout_ns = options->timeout_ns;
	agent->verbose = options->verbose;
	agent->loop = loop_new();
	if (!agent->loop) {
		error_errno(e, errno, "event loop");
		agent_free(agent);
		return NULL;
	}
	agent->client = ttrpc_client_connect(agent->loop, options->address, CONNECT_TIMEOUT_MS, e);
	if (!agent->client) {
		error_prefix(e, "connect to %s", options->address);
		agent_free(agent);
		return NULL;
	}
	return agent;
}

void agent_free(struct agent *agent)
{
	if (!agent)
		return;
	ttrpc_client_free(agent->client);
	loop_free(agent->loop);
	free(agent);
}

struct loop *agent_loop(struct agent *agent)
{
	return agent->loop;
}

const char *agent_address(const struct agent *agent)
{
	return agent->address;
}

/* Calls that last until something happens. */
static bool is_waiting(const char *method)
{
	static const char *const waiting[] = {
		"WaitProcess", "ReadStdout", "ReadStderr", "WriteStdin", "GetOOMEvent",
	};

	for (size_t i = 0; i < array_length(waiting); i++) {
		if (strcmp(method, waiting[i]) == 0)
			return true;
	}
	return false;
}

static int64_t timeout_of(const struct agent *agent, const char *method)
{
	if (agent->timeout_ns >= 0)
		return agent->timeout_ns;
	return is_waiting(method) ? 0 : CALL_TIMEOUT_NS;
}

static void tell(const struct agent *agent, const struct proto_method *method, const void *request)
{
	_cleanup_buf_ struct buf text = BUF_INIT;

	if (!agent->verbose || json_encode(request, JSON_COMPACT, &text) < 0)
		return;
	fprintf(stderr, "kata-agent-ctl: call %s %s\n", method->name, buf_string(&text));
}

static int call(struct agent *agent, const struct proto_method *method, const void *request,
		int64_t timeout_ns, struct arena *arena, void **response, struct error *e)
{
	_cleanup_buf_ struct buf payload = BUF_INIT;
	const uint8_t *answer;
	size_t answer_length;
	void *decoded;
	int r;

	tell(agent, method, request);
	if (proto_encode(request, &payload) < 0)
		return error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
	r = ttrpc_client_call_sync(agent->client, method->service, method->name, buf_begin(&payload),
				   payload.length, timeout_ns, arena, &answer, &answer_length, e);
	if (r < 0)
		return r;
	decoded = proto_decode(method->response, answer, answer_length, arena, e);
	if (!decoded)
		return error_result(e);
	if (response)
		*response = decoded;
	return 0;
}

int agent_call(struct agent *agent, const struct proto_method *method, const void *request,
	       struct arena *arena, void **response, struct error *e)
{
	return call(agent, method, request, timeout_of(agent, method->name), arena, response, e);
}

int agent_call_name(struct agent *agent, const char *method, const void *request, struct arena *arena,
		    void **response, struct error *e)
{
	return agent_call(agent, proto_method_find(NULL, method), request, arena, response, e);
}

int agent_call_limited(struct agent *agent, const char *method, const void *request, int64_t timeout_ns,
		       struct arena *arena, void **response, struct error *e)
{
	return call(agent, proto_method_find(NULL, method), request, timeout_ns, arena, response, e);
}

static void on_reply(struct ttrpc_client *client, const struct ttrpc_reply *reply, void *data)
{
	struct pending pending = *(struct pending *)data;
	struct error e = reply->status;
	struct arena *arena;
	void *response = NULL;

	free(data);
	if (e.code != STATUS_OK) {
		pending.reply(NULL, &e, pending.data);
		return;
	}
	arena = arena_new(0);
	if (arena)
		response = proto_decode(pending.method->response, reply->payload, reply->payload_length,
					arena, &e);
	else
		error_set(&e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
	pending.reply(response, &e, pending.data);
	arena_free(arena);
}

int agent_send(struct agent *agent, const char *method, const void *request, agent_reply reply, void *data,
	       struct error *e)
{
	_cleanup_buf_ struct buf payload = BUF_INIT;
	_cleanup_free_ struct pending *pending = calloc(1, sizeof(*pending));
	int r;

	if (!pending || proto_encode(request, &payload) < 0)
		return error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
	*pending = (struct pending){proto_method_find(NULL, method), reply, data};
	r = ttrpc_client_call(agent->client, pending->method->service, method, buf_begin(&payload),
			      payload.length, is_waiting(method) ? 0 : timeout_of(agent, method), on_reply,
			      pending, e);
	if (r == 0)
		steal_pointer(pending);
	return r;
}
