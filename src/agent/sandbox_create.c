/* SPDX-License-Identifier: Apache-2.0 */

/*
 * CreateSandbox: the list of steps from nothing to a sandbox, each with its undo, and who is told of it.
 *
 * The same request again is answered from what is there, or waits with the first; another one is refused while containers
 * live, and takes the sandbox down first where there are none.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/dns.h"
#include "agent/namespaces.h"
#include "agent/parked.h"
#include "agent/renew.h"
#include "agent/rpc.h"
#include "agent/sandbox_private.h"
#include "agent/sequence.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "guest/module.h"

/* --- random numbers and clock --- */

static void renewed(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct sandbox *sandbox = data;
	(void)job, (void)result;
	sandbox->job = NULL;
	if (r < 0)
		log_warning("sandbox", "the guest is not all anew", "error", e->text);
	sequence_continue(sandbox->sequence, 0, NULL);
}

static int renew_guest(void *object, struct error *e)
{
	struct sandbox *sandbox = object;
	if (!sandbox->options.renew)
		return STEP_DONE;
	sandbox->job = renew_start(sandbox->loop, buf_begin(&sandbox->created_by), sandbox->created_by.length,
				   renewed, sandbox, e);
	return sandbox->job ? STEP_WAIT : error_result(e);
}

/* --- kernel modules --- */

static void modules_loaded(int r, const struct error *e, void *data)
{
	struct sandbox *sandbox = data;
	sandbox->modules = NULL;
	sequence_continue(sandbox->sequence, r, e);
}

static int load_modules(void *object, struct error *e)
{
	struct sandbox *sandbox = object;
	const Grpc__CreateSandboxRequest *request = sandbox->request;
	if (request->n_kernel_modules == 0)
		return STEP_DONE;
	struct module_request *list = arena_array(sandbox->arena, request->n_kernel_modules, sizeof(*list));
	if (!list)
		return error_errno(e, ENOMEM, "kernel modules");
	for (size_t i = 0; i < request->n_kernel_modules; i++) {
		const Grpc__KernelModule *module = request->kernel_modules[i];
		list[i] = (struct module_request){.name = module->name,
						  .parameters = (const char *const *)module->parameters,
						  .n_parameters = module->n_parameters};
	}
	sandbox->modules =
		modules_load(sandbox->loop, list, request->n_kernel_modules, modules_loaded, sandbox, e);
	return sandbox->modules ? STEP_WAIT : error_result(e);
}

/* --- namespaces --- */

static void namespaces_made(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct sandbox *sandbox = data;
	(void)job, (void)result;
	sandbox->job = NULL;
	if (r >= 0)
		r = namespaces_receive(sandbox->receiver, &sandbox->ipc, &sandbox->uts, e);
	sandbox->receiver = fd_close(sandbox->receiver);
	sequence_continue(sandbox->sequence, r, e);
}

static int make_namespaces(void *object, struct error *e)
{
	struct sandbox *sandbox = object;
	sandbox->job = namespaces_make(sandbox->loop, sandbox->hostname, &sandbox->receiver, namespaces_made,
				       sandbox, e);
	return sandbox->job ? STEP_WAIT : error_result(e);
}

int sandbox_close_namespaces(void *object)
{
	struct sandbox *sandbox = object;
	sandbox->ipc = fd_close(sandbox->ipc);
	sandbox->uts = fd_close(sandbox->uts);
	return STEP_DONE;
}

/* --- storages --- */

static void storages_added(int r, struct storage_refs *refs, const struct error *e, void *data)
{
	struct sandbox *sandbox = data;
	sandbox->adding = NULL;
	sandbox->storage_refs = r < 0 ? NULL : refs;
	sequence_continue(sandbox->sequence, r, e);
}

static int add_storages(void *object, struct error *e)
{
	struct sandbox *sandbox = object;
	const Grpc__CreateSandboxRequest *request = sandbox->request;
	if (request->n_storages == 0)
		return STEP_DONE;
	sandbox->adding = storages_add(sandbox->storages, request->storages, request->n_storages,
				       storages_added, sandbox);
	return sandbox->adding ? STEP_WAIT : error_errno(e, ENOMEM, "storages");
}

static void abort_storages(void *object)
{
	struct sandbox *sandbox = object;
	if (sandbox->adding)
		storage_add_abort(sandbox->adding);
}

static void storages_released(int r, const struct error *e, void *data)
{
	struct sandbox *sandbox = data;
	if (r < 0)
		log_error("sandbox", "storage stays", "error", e->text);
	sequence_continue(sandbox->sequence, 0, NULL);
}

static int undo_storages(void *object)
{
	struct sandbox *sandbox = object;
	if (!sandbox->storage_refs ||
	    storages_release(sandbox->storages, sandbox->storage_refs, storages_released, sandbox) < 0)
		return STEP_DONE;
	sandbox->storage_refs = NULL;
	return STEP_WAIT;
}

/* --- guest hooks; they never fail it --- */

static void hooks_found(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct sandbox *sandbox = data;
	(void)job;
	sandbox->job = NULL;
	if (r < 0)
		log_warning("sandbox", "guest hooks not read", "error", e->text);
	else
		guest_hooks_set(&sandbox->hooks, result);
	sequence_continue(sandbox->sequence, 0, NULL);
}

static int find_hooks(void *object, struct error *e)
{
	struct sandbox *sandbox = object;
	if (str_is_empty(sandbox->request->guest_hook_path))
		return STEP_DONE;
	sandbox->job =
		guest_hooks_scan(sandbox->loop, sandbox->request->guest_hook_path, hooks_found, sandbox, e);
	if (sandbox->job)
		return STEP_WAIT;
	log_warning("sandbox", "guest hooks not read", "error", e->text);
	return STEP_DONE;
}

static int forget_hooks(void *object)
{
	struct sandbox *sandbox = object;
	guest_hooks_deinit(&sandbox->hooks);
	return STEP_DONE;
}

/* --- DNS --- */

static void dns_is_set(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct sandbox *sandbox = data;
	(void)job;
	sandbox->job = NULL;
	sandbox->dns_mounted = r >= 0 && result->length == 1 && buf_begin(result)[0] == 1;
	sequence_continue(sandbox->sequence, r, e);
}

static int set_dns(void *object, struct error *e)
{
	struct sandbox *sandbox = object;
	if (sandbox->request->n_dns == 0)
		return STEP_DONE;
	sandbox->job = dns_set(sandbox->loop, sandbox->request->dns, sandbox->request->n_dns, dns_is_set,
			       sandbox, e);
	return sandbox->job ? STEP_WAIT : error_result(e);
}

static void dns_is_unset(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct sandbox *sandbox = data;
	(void)job, (void)result;
	sandbox->job = NULL;
	if (r < 0)
		log_error("sandbox", "DNS stays", "error", e->text);
	sequence_continue(sandbox->sequence, 0, NULL);
}

int sandbox_unset_dns(void *object)
{
	struct sandbox *sandbox = object;
	struct error e = ERROR_INIT;
	if (!sandbox->dns_mounted)
		return STEP_DONE;
	sandbox->dns_mounted = false;
	sandbox->job = dns_unset(sandbox->loop, dns_is_unset, sandbox, &e);
	return sandbox->job ? STEP_WAIT : STEP_DONE;
}

static const struct step create_steps[] = {
	{"renew", renew_guest, NULL, NULL},
	{"modules", load_modules, NULL, NULL},
	{"namespaces", make_namespaces, sandbox_close_namespaces, NULL},
	{"storages", add_storages, undo_storages, abort_storages},
	{"hooks", find_hooks, forget_hooks, NULL},
	{"dns", set_dns, sandbox_unset_dns, NULL},
};

/* --- CreateSandbox --- */

void sandbox_answer_creator(struct sandbox *sandbox, const struct error *e)
{
	struct ttrpc_call *call = steal_pointer(sandbox->call);
	if (call && !e)
		rpc_respond_empty(call);
	else if (call && sandbox->timed_out)
		ttrpc_call_fail_timeout(call);
	else if (call)
		ttrpc_call_fail(call, e);
	if (e)
		parked_fail_all(&sandbox->creators, e);
	else
		parked_respond_all(&sandbox->creators);
}

void sandbox_creation_over(void *object, int r, const struct error *e)
{
	struct sandbox *sandbox = object;
	bool destroyed = sandbox->state == SANDBOX_DESTROYING;
	sandbox->sequence = NULL;
	if (!destroyed)
		sandbox->state = r < 0 ? SANDBOX_NONE : SANDBOX_READY;
	if (r < 0) {
		log_error("sandbox", "creation failed", "error", e->text);
		buf_deinit(&sandbox->created_by);
	} else {
		log_info("sandbox", "created", "sandbox", sandbox->id);
	}
	sandbox_answer_creator(sandbox, e);
	sandbox_forget_request(sandbox);
	sandbox_settle(sandbox);
}

int sandbox_start_creating(struct sandbox *sandbox)
{
	sandbox->state = SANDBOX_CREATING;
	sandbox->sequence = sequence_start(sandbox->loop, "sandbox", create_steps, array_length(create_steps),
					   false, sandbox, sandbox_creation_over);
	return sandbox->sequence ? 0 : -ENOMEM;
}

static void call_ended(struct ttrpc_call *call, enum ttrpc_end end, void *data)
{
	struct sandbox *sandbox = data;
	struct error e = ERROR_INIT;
	(void)call;
	if (end == TTRPC_END_DISCONNECT)
		sandbox->call = NULL;
	else
		sandbox->timed_out = true;
	error_set(&e, STATUS_CANCELLED, ECANCELED, "%s",
		  end == TTRPC_END_DISCONNECT ? "client is gone" : "timeout");
	if (sandbox->sequence && sandbox->state == SANDBOX_CREATING)
		sequence_abort(sandbox->sequence, &e);
}

static bool is_same(const struct sandbox *sandbox, const struct ttrpc_call *call)
{
	return sandbox->created_by.length == call->payload_length &&
	       (call->payload_length == 0 ||
		memcmp(buf_begin(&sandbox->created_by), call->payload, call->payload_length) == 0);
}

/* True when the call needs no new sandbox: it was answered, or waits. */
static bool is_answered(struct sandbox *sandbox, struct ttrpc_call *call)
{
	if (sandbox->state == SANDBOX_DESTROYING || sandbox->state == SANDBOX_GONE) {
		ttrpc_call_fail_text(call, STATUS_FAILED_PRECONDITION, "the sandbox is being destroyed");
		return true;
	}
	if (sandbox->state == SANDBOX_CREATING) {
		if (is_same(sandbox, call) && !sandbox->remake)
			parked_add(&sandbox->creators, call);
		else
			ttrpc_call_fail_text(call, STATUS_FAILED_PRECONDITION,
					     "the sandbox is being created");
		return true;
	}
	if (sandbox->state != SANDBOX_READY)
		return false;
	if (is_same(sandbox, call))
		rpc_respond_empty(call);
	else if (!list_empty(&sandbox->entries))
		ttrpc_call_fail_text(call, STATUS_FAILED_PRECONDITION,
				     "the sandbox exists already and has containers");
	else
		return false;
	return true;
}

static int take_names(struct sandbox *sandbox, const Grpc__CreateSandboxRequest *request)
{
	if (!str_is_empty(request->sandbox_id)) {
		char *id = strdup(request->sandbox_id);
		if (!id)
			return -ENOMEM;
		free(sandbox->id);
		sandbox->id = id;
	}
	char *hostname = strdup(request->hostname);
	if (!hostname)
		return -ENOMEM;
	free(sandbox->hostname);
	sandbox->hostname = hostname;
	return 0;
}

void sandbox_create(struct sandbox *sandbox, struct ttrpc_call *call,
		    const Grpc__CreateSandboxRequest *request)
{
	if (is_answered(sandbox, call))
		return;
	sandbox->remake = sandbox->state == SANDBOX_READY;
	buf_clear(&sandbox->created_by);
	int r = take_names(sandbox, request);
	if (r == 0)
		r = buf_append(&sandbox->created_by, call->payload, call->payload_length);
	if (r == 0)
		r = sandbox->remake ? sandbox_start_destroying(sandbox) : sandbox_start_creating(sandbox);
	if (r < 0) {
		sandbox->state = SANDBOX_NONE;
		ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory for a sandbox");
		return;
	}
	sandbox->state = SANDBOX_CREATING;
	sandbox->timed_out = false;
	sandbox->call = call;
	sandbox->request = request;
	sandbox->arena = ttrpc_call_steal_arena(call);
	ttrpc_call_on_end(call, call_ended, sandbox);
}
