/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One entry point for all methods: look the method up, decode the request into the call's arena, call the handler. What
 * has to hold for every method (the log's record of it, later the policy) has its place here and nowhere else.
 */

#include "agent/rpc.h"

#include <errno.h>
#include <string.h>

#include "agent/entry.h"
#include "agent/sandbox.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

static const struct rpc_group *const groups[] = {
	&rpc_health_group, &rpc_sandbox_group, &rpc_container_group, &rpc_process_group, &rpc_stdio_group,
	&rpc_misc_group,   &rpc_file_group,    &rpc_guest_group,     &rpc_network_group,
};

static const struct rpc_method *find(const char *service, const char *name)
{
	for (size_t g = 0; g < array_length(groups); g++) {
		if (strcmp(groups[g]->service, service) != 0)
			continue;
		for (size_t i = 0; i < groups[g]->count; i++)
			if (strcmp(groups[g]->methods[i].name, name) == 0)
				return &groups[g]->methods[i];
	}
	return NULL;
}

static void handle(const struct rpc_method *method, struct ttrpc_call *call, struct sandbox *sandbox)
{
	struct error e = ERROR_INIT;
	const void *request =
		proto_decode(method->request, call->payload, call->payload_length, call->arena, &e);
	if (!request) {
		ttrpc_call_fail(call, &e);
		return;
	}
	method->handler(sandbox, call, request);
}

static void dispatch(struct ttrpc_call *call, void *data)
{
	struct sandbox *sandbox = data;
	const struct rpc_method *method = find(call->service, call->method);
	if (!method) {
		ttrpc_call_fail_text(call, STATUS_UNIMPLEMENTED, "%s is not implemented", call->method);
		return;
	}
	log_debug("rpc", "call", "method", method->name);
	if (admission_enter(&sandbox->admission, call, method->bound))
		handle(method, call, sandbox);
}

void rpc_run(struct ttrpc_call *call, struct sandbox *sandbox)
{
	handle(find(call->service, call->method), call, sandbox);
}

enum { METHODS_MAX = 128 };

/* What the server looks methods up in: borrowed by it, so it lives as long as the program. */
static struct ttrpc_method rows[METHODS_MAX];
static size_t n_rows;

/* Rows for all methods of one service, sorted by name as proto_methods() has them. */
static int add_service(struct ttrpc_server *server, struct sandbox *sandbox, const struct proto_method *all,
		       size_t count, struct error *e)
{
	struct ttrpc_method *first = rows + n_rows;
	if (count > METHODS_MAX - n_rows)
		return error_set(e, STATUS_INTERNAL, E2BIG, "service %s: too many methods", all[0].service);
	for (size_t i = 0; i < count; i++)
		rows[n_rows++] = (struct ttrpc_method){.name = all[i].name, .handler = dispatch};
	if (ttrpc_server_add_service(server, all[0].service, first, count, sandbox) < 0)
		return error_errno(e, ENOMEM, "service %s", all[0].service);
	return 0;
}

static bool is_ours(const char *service)
{
	return strcmp(service, "grpc.AgentService") == 0 || strcmp(service, "grpc.Health") == 0;
}

int rpc_register(struct ttrpc_server *server, struct sandbox *sandbox, struct error *e)
{
	size_t count;
	n_rows = 0;
	const struct proto_method *all = proto_methods(&count);
	for (size_t i = 0, n; i < count; i += n) {
		for (n = 1; i + n < count && strcmp(all[i + n].service, all[i].service) == 0; n++)
			;
		int r = is_ours(all[i].service) ? add_service(server, sandbox, all + i, n, e) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

void rpc_respond(struct ttrpc_call *call, const void *message)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	if (proto_encode(message, &out) < 0) {
		ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory for the answer");
		return;
	}
	ttrpc_call_respond(call, buf_begin(&out), out.length);
}

void rpc_respond_empty(struct ttrpc_call *call)
{
	ttrpc_call_respond(call, NULL, 0);
}

struct entry *rpc_find_container(struct sandbox *sandbox, struct ttrpc_call *call, const char *id)
{
	struct entry *entry = entry_find(sandbox, id);
	if (entry && entry_visible(entry))
		return entry;
	ttrpc_call_fail_text(call, STATUS_NOT_FOUND, "Invalid container id: %s not found", id);
	return NULL;
}

struct task *rpc_find_process(struct sandbox *sandbox, struct ttrpc_call *call, const char *id,
			      const char *exec_id)
{
	struct entry *entry = rpc_find_container(sandbox, call, id);
	if (!entry)
		return NULL;
	struct task *task = task_find(entry, exec_id);
	if (!task)
		ttrpc_call_fail_text(call, STATUS_NOT_FOUND, "process not found: no exec %s in container %s",
				     exec_id, id);
	return task;
}
