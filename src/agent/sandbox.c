/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The sandbox's life and its end; its making is in sandbox_create.c. An end waits first for the entries: what is being
 * made is given up, what lives is removed. Then comes the list of steps that takes the sandbox itself down, each of which
 * is tried whatever became of the others.
 */

#include "agent/sandbox_private.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/entry.h"
#include "agent/parked.h"
#include "agent/rpc.h"
#include "agent/sequence.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "guest/network.h"

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

static void note_mounts(struct storages *storages, void *data)
{
	const struct sandbox *sandbox = data;
	rundir_note_mounts(&sandbox->rundir, storages);
}

static int open_all(struct sandbox *sandbox, struct error *e)
{
	if (open_engine(sandbox, e) < 0 || rundir_open(&sandbox->rundir, e) < 0)
		return error_result(e);
	sandbox->storages = storages_new(sandbox->loop, "/");
	sandbox->oom = oom_new();
	sandbox->network =
		network_new(sandbox->loop, sandbox->options.uevents, sandbox->options.hotplug_timeout_ms);
	sandbox->id = strdup("");
	sandbox->hostname = strdup("");
	if (!sandbox->storages || !sandbox->oom || !sandbox->network || !sandbox->id || !sandbox->hostname)
		return error_errno(e, ENOMEM, "sandbox");
	storages_on_change(sandbox->storages, note_mounts, sandbox);
	struct rundir_recovery recovery = {
		.cgroups = engine_cgroups(sandbox->engine),
		.pid1 = sandbox->options.pid1,
		.pin = sandbox->options.pin,
	};
	rundir_recover(&sandbox->rundir, &recovery);
	return 0;
}

/* Children of the agent, and containers in the making, which will have some. */
static unsigned count_work(void *data)
{
	const struct sandbox *sandbox = data;
	const struct entry *entry;
	unsigned count = job_count(sandbox->loop);
	list_for_each_entry (entry, &sandbox->entries, link)
		count += entry->state == ENTRY_CREATING;
	return count;
}

static void run_call(struct ttrpc_call *call, void *data)
{
	rpc_run(call, data);
}

static void fewer_jobs(void *data)
{
	admission_poke(data);
}

static void open_admission(struct sandbox *sandbox)
{
	sandbox->admission = (struct admission){
		.loop = sandbox->loop, .count = count_work, .run = run_call, .data = sandbox};
	admission_init(&sandbox->admission);
	job_on_fewer(fewer_jobs, &sandbox->admission);
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
	open_admission(sandbox);
	if (open_all(sandbox, e) < 0) {
		sandbox_free(sandbox);
		return NULL;
	}
	return sandbox;
}

/* The call lives in that memory, and may be just on its way out: it goes when the loop's round is over. */
void sandbox_forget_request(struct sandbox *sandbox)
{
	sandbox->request = NULL;
	arena_free(sandbox->old_arena);
	sandbox->old_arena = steal_pointer(sandbox->arena);
}

void sandbox_free(struct sandbox *sandbox)
{
	if (!sandbox)
		return;
	struct entry *entry, *tmp;
	job_on_fewer(NULL, NULL);
	admission_deinit(&sandbox->admission);
	loop_defer_remove(&sandbox->settled);
	/* What could not be removed; what is still under way goes with the program. */
	list_for_each_entry_safe (entry, tmp, &sandbox->entries, link) {
		if (entry->operations > 0 || entry->sequence)
			continue;
		list_remove(&entry->link);
		list_append(&sandbox->graves, &entry->link);
	}
	entries_bury(sandbox);
	arena_free(sandbox->arena);
	arena_free(sandbox->old_arena);
	storage_refs_free(sandbox->storage_refs);
	storages_free(sandbox->storages);
	oom_free(sandbox->oom);
	network_free(sandbox->network);
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
	return sandbox_unset_dns(object);
}

static int down_namespaces(void *object, struct error *e)
{
	(void)e;
	struct sandbox *sandbox = object;
	guest_hooks_deinit(&sandbox->hooks);
	return sandbox_close_namespaces(sandbox);
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

/* --- DestroySandbox --- */

static void destroying_over(void *object, int r, const struct error *e)
{
	struct sandbox *sandbox = object;
	sandbox->sequence = NULL;
	if (r < 0)
		log_error("sandbox", "not everything could be taken down", "error", e->text);
	if (sandbox->remake && sandbox->state == SANDBOX_CREATING) {
		sandbox->remake = false;
		if (sandbox->call && !sandbox->timed_out && sandbox_start_creating(sandbox) == 0)
			return;
		struct error failure = ERROR_INIT;
		error_set(&failure, STATUS_CANCELLED, ECANCELED, "client is gone");
		sandbox_creation_over(sandbox, -ECANCELED, &failure);
		return;
	}
	if (sandbox->remake) {
		/* The end was asked for while it was to be made anew: the rest of it follows. */
		sandbox->remake = false;
		struct error failure = ERROR_INIT;
		error_set(&failure, STATUS_FAILED_PRECONDITION, ECANCELED, "the sandbox is being destroyed");
		sandbox_answer_creator(sandbox, &failure);
		sandbox_forget_request(sandbox);
		sandbox_settle(sandbox);
		return;
	}
	sandbox->state = SANDBOX_GONE;
	log_info("sandbox", "destroyed", "sandbox", sandbox->id);
	parked_respond_all(&sandbox->destroyers);
	sandbox->options.gone(sandbox->options.data);
}

int sandbox_start_destroying(struct sandbox *sandbox)
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
	bool buried = !list_empty(&sandbox->graves);
	entries_bury(sandbox);
	arena_free(steal_pointer(sandbox->old_arena));
	admission_poke(&sandbox->admission);
	/* The last one is gone: so is what a busy pod has made the heap grow to. */
	if (buried && list_empty(&sandbox->entries))
		malloc_trim(0);
	if (sandbox->state != SANDBOX_DESTROYING || sandbox->sequence || !entries_are_over(sandbox))
		return;
	if (sandbox_start_destroying(sandbox) < 0)
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
