/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Calls about the guest's network. They come before CreateSandbox and need none. A call that has gone away is not
 * answered; what it began is carried through, since the next one then finds it done.
 */

#include <stdlib.h>

#include "agent/rpc.h"
#include "agent/sandbox.h"
#include "agent/work.h"
#include "base/fd.h"
#include "guest/iptables.h"
#include "guest/network.h"
#include "proto/agent.pb-c.h"

/* In the call's arena. */
struct network_call {
	struct ttrpc_call *call;
	const Types__Interface *interface; /* the answer of UpdateInterface */
	struct network_work *work;
};

static void call_ended(struct ttrpc_call *call, enum ttrpc_end end, void *data)
{
	struct network_call *waiting = data;

	network_abandon(waiting->work);
	if (end == TTRPC_END_DEADLINE)
		ttrpc_call_fail_timeout(call);
}

static void network_answer(int r, const void *answer, size_t length, const struct error *e, void *data)
{
	struct network_call *waiting = data;

	if (r < 0)
		ttrpc_call_fail(waiting->call, e);
	else if (waiting->interface)
		rpc_respond(waiting->call, waiting->interface);
	else
		ttrpc_call_respond(waiting->call, answer, length);
}

static void start(struct sandbox *sandbox, struct ttrpc_call *call, enum network_operation operation,
		  const void *request)
{
	struct network_call *waiting = arena_new_object(call->arena, struct network_call);
	struct error e = ERROR_INIT;

	if (!waiting) {
		ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory for the call");
		return;
	}
	waiting->call = call;
	waiting->interface = operation == NETWORK_UPDATE_INTERFACE ? request : NULL;
	waiting->work = network_start(sandbox->network, operation, request, network_answer, waiting, &e);
	if (waiting->work)
		ttrpc_call_on_end(call, call_ended, waiting);
	else
		ttrpc_call_fail(call, &e);
}

static void update_interface(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__UpdateInterfaceRequest *request = data;

	if (!request->interface)
		ttrpc_call_fail_text(call, STATUS_INVALID_ARGUMENT, "empty update interface request");
	else
		start(sandbox, call, NETWORK_UPDATE_INTERFACE, request->interface);
}

static void update_routes(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__UpdateRoutesRequest *request = data;

	if (!request->routes)
		ttrpc_call_fail_text(call, STATUS_INVALID_ARGUMENT, "empty update routes request");
	else
		start(sandbox, call, NETWORK_UPDATE_ROUTES, request->routes);
}

static void add_arp_neighbors(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__AddARPNeighborsRequest *request = data;

	if (!request->neighbors)
		ttrpc_call_fail_text(call, STATUS_INVALID_ARGUMENT, "empty add arp neighbours request");
	else
		start(sandbox, call, NETWORK_ADD_NEIGHBOURS, request->neighbors);
}

static void list_interfaces(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	(void)data;
	start(sandbox, call, NETWORK_LIST_INTERFACES, NULL);
}

static void list_routes(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	(void)data;
	start(sandbox, call, NETWORK_LIST_ROUTES, NULL);
}

/* --- the packet filter --- */

static void tables_read(int r, const struct buf *out, const struct error *e, void *data)
{
	Grpc__GetIPTablesResponse answer = GRPC__GET_IPTABLES_RESPONSE__INIT;

	if (r < 0) {
		work_done(r, e, data);
		return;
	}
	answer.data = (ProtobufCBinaryData){.len = out->length, .data = buf_begin((struct buf *)out)};
	work_respond(data, &answer);
}

static void tables_written(int r, const struct buf *out, const struct error *e, void *data)
{
	Grpc__SetIPTablesResponse answer = GRPC__SET_IPTABLES_RESPONSE__INIT;

	if (r < 0) {
		work_done(r, e, data);
		return;
	}
	answer.data = (ProtobufCBinaryData){.len = out->length, .data = buf_begin((struct buf *)out)};
	work_respond(data, &answer);
}

static void get_iptables(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__GetIPTablesRequest *request = data;
	struct error e = ERROR_INIT;
	struct work *work = work_new(sandbox, call);

	if (work && iptables_get(sandbox->loop, NULL, request->is_ipv6, tables_read, work, &e) < 0)
		work_refused(work, &e);
}

static void set_iptables(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__SetIPTablesRequest *request = data;
	struct error e = ERROR_INIT;
	struct work *work = work_new(sandbox, call);

	if (work && iptables_set(sandbox->loop, NULL, request->is_ipv6, request->data.data, request->data.len,
				 tables_written, work, &e) < 0)
		work_refused(work, &e);
}

static const struct rpc_method methods[] = {
	{"UpdateInterface", &grpc__update_interface_request__descriptor, update_interface},
	{"UpdateRoutes", &grpc__update_routes_request__descriptor, update_routes},
	{"ListInterfaces", &grpc__list_interfaces_request__descriptor, list_interfaces},
	{"ListRoutes", &grpc__list_routes_request__descriptor, list_routes},
	{"AddARPNeighbors", &grpc__add_arpneighbors_request__descriptor, add_arp_neighbors},
	{"GetIPTables", &grpc__get_iptables_request__descriptor, get_iptables, ADMIT_LOOKING},
	{"SetIPTables", &grpc__set_iptables_request__descriptor, set_iptables, ADMIT_WORK},
};

const struct rpc_group rpc_network_group = {"grpc.AgentService", methods, array_length(methods)};
