/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The sandbox's own two lists of steps: how it is made, how it is taken down. Both end in a function that answers those who
 * asked. An end waits first for the entries: what is being made is given up, what lives is removed.
 */

#include "agent/sandbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/dns.h"
#include "agent/entry.h"
#include "agent/namespaces.h"
#include "agent/parked.h"
#include "agent/rpc.h"
#include "agent/sequence.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "guest/module.h"

/* --- its life --- */

static int open_engine(struct sandbox *sandbox, struct error *e)
{
	struct engine_options options = {
		.loop = sandbox->loop,
		.pid1 = sandbox->options.pid1,
		.pin = sandbox->options.pin,
		.no_pivot = sandbox->options.no_pivot,
		.pipe_size = sandbox->options.pipe_size,
		.wire = true,
	};
	sandbox->engine = engine_new(&options, e);
	return sandbox->engine ? 0 : error_result(e);
}

static int open_all(struct sandbox *sandbox, struct error *e)
{
	if (open_engine(sandbox, e) < 0 || rundir_open(&sandbox->rundir, e) < 0)
		return error_result(e);
	sandbox->storages = storages_new(sandbox->loop, "/");
	sandbox->oom = oom_new();
	sandbox->id = strdup("");
	sandbox->hostname = strdup("");
	if (!sandbox->storages || !sandbox->oom || !sandbox->id || !sandbox->hostname)
		return error_errno(e, ENOMEM, "sandbox");
	struct rundir_recovery recovery = {
		.cgroups = engine_cgroups(sandbox->engine),
		.pid1 = sandbox->options.pid1,
		.pin = sandbox->options.pin,
	};
	rundir_recover(&sandbox->rundir, &recovery);
	return 0;
}

struct sandbox *sandbox_new(const struct sandbox_options *options, struct error *e)
{
	struct sandbox *sandbox = calloc(1, sizeof(*sandbox));
	if (!sandbox) {
		error_errno(e, ENOMEM, "sandbox");
		return NULL;
	}
	sandbox->options = *options;
	sandbox->loop = options->loop;
	sandbox->server = options->server;
	sandbox->rundir.fd = sandbox->ipc = sandbox->uts = sandbox->pid = sandbox->receiver = -1;
	list_init(&sandbox->entries);
	list_init(&sandbox->graves);
	list_init(&sandbox->creators);
	list_init(&sandbox->destroyers);
	if (open_all(sandbox, e) < 0) {
		sandbox_free(sandbox);
		return NULL;
	}
	return sandbox;
}

/* The call lives in that memory, and may be just on its way out: it goes when the loop's round is over. */
static void forget_request(struct sandbox *sandbox)
{
	sandbox->request = NULL;
	arena_free(sandbox->old_arena);
	sandbox->old_arena = steal_pointer(sandbox->arena);
}

void sandbox_free(struct sandbox *sandbox)
{
	if (!sandbox)
		return;
	loop_defer_remove(&sandbox->settled);
	entries_bury(sandbox);
	arena_free(sandbox->arena);
	arena_free(sandbox->old_arena);
	storage_refs_free(sandbox->storage_refs);
	storages_free(sandbox->storages);
	oom_free(sandbox->oom);
	guest_hooks_deinit(&sandbox->hooks);
	engine_free(sandbox->engine);
	rundir_close(&sandbox->rundir);
	fd_close(sandbox->ipc);
	fd_close(sandbox->uts);
	fd_close(sandbox->pid);
	fd_close(sandbox->receiver);
	buf_deinit(&sandbox->created_by);
	free(sandbox->id);
	free(sandbox->hostname);
	free(sandbox);
}

/* --- making: kernel modules --- */

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

/* --- making: namespaces --- */

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

static int close_namespaces(void *object)
{
	struct sandbox *sandbox = object;
	sandbox->ipc = fd_close(sandbox->ipc);
	sandbox->uts = fd_close(sandbox->uts);
	return STEP_DONE;
}

/* --- making: storages --- */

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

/* --- making: guest hooks, which never fail it --- */

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

/* --- making: DNS --- */

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

static int unset_dns(void *object)
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
	{"modules", load_modules, NULL, NULL},
	{"namespaces", make_namespaces, close_namespaces, NULL},
	{"storages", add_storages, undo_storages, abort_storages},
	{"hooks", find_hooks, forget_hooks, NULL},
	{"dns", set_dns, unset_dns, NULL},
};

/* --- taking down --- */

static void all_storages_gone(int r, const struct error *e, void *data)
{
	struct sandbox *sandbox = data;
	sequence_continue(sandbox->sequence, r, e);
}

static int remove_storages(void *object, struct error *e)
{
	struct sandbox *sandbox = object;
	storage_refs_free(steal_pointer(sandbox->storage_refs));
	int r = storages_remove_all(sandbox->storages, all_storages_gone, sandbox);
	return r < 0 ? error_errno(e, -r, "storages") : STEP_WAIT;
}

static int down_dns(void *object, struct error *e)
{
	(void)e;
	return unset_dns(object);
}

static int down_namespaces(void *object, struct error *e)
{
	(void)e;
	forget_hooks(object);
	return close_namespaces(object);
}

static int job_clear(struct buf *result, void *argument, struct error *e)
{
	(void)result, (void)e;
	rundir_clear(argument);
	return 0;
}

static void rundir_cleared(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct sandbox *sandbox = data;
	(void)job, (void)result;
	sandbox->job = NULL;
	sequence_continue(sandbox->sequence, r, e);
}

/* What hosts have copied, and the directory itself, unless the sandbox is made anew. */
static int clear_rundir(void *object, struct error *e)
{
	struct sandbox *sandbox = object;
	struct job_options options = {.name = "clear " RUNDIR_PATH,
				      .deadline_ms = 10000,
				      .keep_fds = &sandbox->rundir.fd,
				      .n_keep_fds = 1};
	if (sandbox->remake)
		return STEP_DONE;
	sandbox->job =
		job_start(sandbox->loop, &options, job_clear, &sandbox->rundir, rundir_cleared, sandbox, e);
	return sandbox->job ? STEP_WAIT : error_result(e);
}

static const struct step destroy_steps[] = {
	{"storages", remove_storages, NULL, NULL},
	{"dns", down_dns, NULL, NULL},
	{"namespaces", down_namespaces, NULL, NULL},
	{"directory", clear_rundir, NULL, NULL},
};

/* --- CreateSandbox --- */

static int start_making(struct sandbox *sandbox);

static void answer_creator(struct sandbox *sandbox, const struct error *e)
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

static void making_over(void *object, int r, const struct error *e)
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
	answer_creator(sandbox, e);
	forget_request(sandbox);
	sandbox_settle(sandbox);
}

static int start_making(struct sandbox *sandbox)
{
	sandbox->state = SANDBOX_CREATING;
	sandbox->sequence = sequence_start(sandbox->loop, "sandbox", create_steps, array_length(create_steps),
					   false, sandbox, making_over);
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

static int start_destroying(struct sandbox *sandbox);

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
		r = sandbox->remake ? start_destroying(sandbox) : start_making(sandbox);
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

/* --- DestroySandbox --- */

static void destroying_over(void *object, int r, const struct error *e)
{
	struct sandbox *sandbox = object;
	sandbox->sequence = NULL;
	if (r < 0)
		log_error("sandbox", "not everything could be taken down", "error", e->text);
	if (sandbox->remake && sandbox->state == SANDBOX_CREATING) {
		sandbox->remake = false;
		if (sandbox->call && !sandbox->timed_out && start_making(sandbox) == 0)
			return;
		struct error failure = ERROR_INIT;
		error_set(&failure, STATUS_CANCELLED, ECANCELED, "client is gone");
		making_over(sandbox, -ECANCELED, &failure);
		return;
	}
	if (sandbox->remake) {
		/* The end was asked for while it was to be made anew: the rest of it follows. */
		sandbox->remake = false;
		struct error failure = ERROR_INIT;
		error_set(&failure, STATUS_FAILED_PRECONDITION, ECANCELED, "the sandbox is being destroyed");
		answer_creator(sandbox, &failure);
		forget_request(sandbox);
		sandbox_settle(sandbox);
		return;
	}
	sandbox->state = SANDBOX_GONE;
	log_info("sandbox", "destroyed", "sandbox", sandbox->id);
	parked_respond_all(&sandbox->destroyers);
	sandbox->options.gone(sandbox->options.data);
}

static int start_destroying(struct sandbox *sandbox)
{
	sandbox->sequence = sequence_start(sandbox->loop, "destroy", destroy_steps,
					   array_length(destroy_steps), true, sandbox, destroying_over);
	return sandbox->sequence ? 0 : -ENOMEM;
}

static bool entries_are_over(const struct sandbox *sandbox)
{
	const struct entry *entry;
	/* What could not be removed is LIVE again. */
	list_for_each_entry (entry, &sandbox->entries, link)
		if (entry->state != ENTRY_LIVE || entry->doomed)
			return false;
	return true;
}

static void settled(struct loop_defer *defer)
{
	struct sandbox *sandbox = list_entry(defer, struct sandbox, settled);
	entries_bury(sandbox);
	arena_free(steal_pointer(sandbox->old_arena));
	if (sandbox->state != SANDBOX_DESTROYING || sandbox->sequence || !entries_are_over(sandbox))
		return;
	if (start_destroying(sandbox) < 0)
		sandbox->options.gone(sandbox->options.data);
}

void sandbox_settle(struct sandbox *sandbox)
{
	if (!sandbox->settled.loop)
		loop_defer_add(sandbox->loop, &sandbox->settled, settled);
}

static void end_entries(struct sandbox *sandbox)
{
	struct error e = ERROR_INIT, ignored = ERROR_INIT;
	struct entry *entry, *tmp;
	error_set(&e, STATUS_CANCELLED, ECANCELED, "the sandbox is being destroyed");
	list_for_each_entry_safe (entry, tmp, &sandbox->entries, link) {
		if (entry->state == ENTRY_CREATING && entry->sequence)
			entry_abort(entry, &e);
		else if (entry->state == ENTRY_LIVE && !entry->doomed)
			(void)entry_remove(entry, NULL, &ignored);
	}
}

void sandbox_destroy(struct sandbox *sandbox, struct ttrpc_call *call)
{
	if (sandbox->state == SANDBOX_GONE) {
		if (call)
			rpc_respond_empty(call);
		return;
	}
	if (call)
		parked_add(&sandbox->destroyers, call);
	if (sandbox->state == SANDBOX_DESTROYING)
		return;
	bool making = sandbox->state == SANDBOX_CREATING;
	sandbox->state = SANDBOX_DESTROYING;
	end_entries(sandbox);
	if (making && sandbox->sequence && !sandbox->remake) {
		struct error e = ERROR_INIT;
		error_set(&e, STATUS_CANCELLED, ECANCELED, "the sandbox is being destroyed");
		sequence_abort(sandbox->sequence, &e);
	}
	sandbox_settle(sandbox);
}
