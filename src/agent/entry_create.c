/* SPDX-License-Identifier: Apache-2.0 */

/*
 * CreateContainer: the list of steps from a request to a container that waits for its start, each with its undo.
 *
 * A failure anywhere, a deadline or a lost connection walks the list back; only when all is undone is the call
 * answered, and only then is the id free again.
 */

#include "agent/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/bundle.h"
#include "agent/guest_hooks.h"
#include "agent/namespaces.h"
#include "agent/oom.h"
#include "agent/parked.h"
#include "agent/rpc.h"
#include "agent/sandbox.h"
#include "agent/sequence.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "engine/lsm.h"

/* --- streams that the host passes through --- */

static void streams_came(struct passfd_claim *claim, const struct error *e)
{
	struct entry *entry = list_entry(claim, struct entry, claim);
	sequence_continue(entry->sequence, e ? error_result(e) : 0, e);
}

static void name_streams(const Grpc__CreateContainerRequest *request, uint32_t ports[3])
{
	ports[0] = request->stdin_port;
	ports[1] = request->stdout_port;
	ports[2] = request->stderr_port;
}

/* First of all, so that the host's side sees their end whatever fails later. */
static int claim_streams(void *object, struct error *e)
{
	struct entry *entry = object;
	struct passfd *passfd = entry->sandbox->options.passfd;
	(void)e;
	name_streams(entry->request, entry->claim.ports);
	if (!passfd || !(entry->claim.ports[0] | entry->claim.ports[1] | entry->claim.ports[2]))
		return STEP_DONE;
	entry->claim.done = streams_came;
	passfd_claim(passfd, &entry->claim, PASSFD_WAIT_MS);
	return STEP_WAIT;
}

static void abort_streams(void *object)
{
	struct entry *entry = object;
	passfd_abandon(&entry->claim);
	sequence_continue(entry->sequence, -ECANCELED, NULL);
}

static int undo_streams(void *object)
{
	struct entry *entry = object;
	passfd_abandon(&entry->claim);
	return STEP_DONE;
}

/* No entry was made for the request. */
static void refuse_streams(struct sandbox *sandbox, const Grpc__CreateContainerRequest *request)
{
	uint32_t ports[3];
	name_streams(request, ports);
	if (sandbox->options.passfd)
		passfd_refuse(sandbox->options.passfd, ports);
}

/* --- directory --- */

static int make_directory(void *object, struct error *e)
{
	struct entry *entry = object;
	return rundir_make(&entry->sandbox->rundir, entry->id, e);
}

static void directory_tidied(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct entry *entry = data;
	(void)job, (void)result;
	entry->job = NULL;
	if (r < 0)
		log_error("container", "bundle stays", "container-id", entry->id, "error", e->text);
	sequence_continue(entry->sequence, 0, NULL);
}

static int undo_directory(void *object)
{
	struct entry *entry = object;
	struct error e = ERROR_INIT;
	if (rundir_remove(&entry->sandbox->rundir, entry->id, &e) == 0)
		return STEP_DONE;
	entry->job = bundle_tidy(entry->sandbox->loop, entry->id, directory_tidied, entry, &e);
	if (entry->job)
		return STEP_WAIT;
	log_error("container", "bundle stays", "container-id", entry->id, "error", e.text);
	return STEP_DONE;
}

/* --- storages --- */

static void storages_added(int r, struct storage_refs *refs, const struct error *e, void *data)
{
	struct entry *entry = data;
	entry->adding = NULL;
	entry->storages = r < 0 ? NULL : refs;
	sequence_continue(entry->sequence, r, e);
}

static int add_storages(void *object, struct error *e)
{
	struct entry *entry = object;
	const Grpc__CreateContainerRequest *request = entry->request;
	if (request->n_storages == 0)
		return STEP_DONE;
	entry->adding = storages_add(entry->sandbox->storages, request->storages, request->n_storages,
				     storages_added, entry);
	return entry->adding ? STEP_WAIT : error_errno(e, ENOMEM, "storages");
}

static void abort_storages(void *object)
{
	struct entry *entry = object;
	if (entry->adding)
		storage_add_abort(entry->adding);
}

static void storages_released(int r, const struct error *e, void *data)
{
	struct entry *entry = data;
	if (r < 0)
		log_error("container", "storage stays", "container-id", entry->id, "error", e->text);
	sequence_continue(entry->sequence, 0, NULL);
}

static int undo_storages(void *object)
{
	struct entry *entry = object;
	if (!entry->storages ||
	    storages_release(entry->sandbox->storages, entry->storages, storages_released, entry) < 0)
		return STEP_DONE;
	entry->storages = NULL;
	return STEP_WAIT;
}

/* --- the spec --- */

static bool has_others(const struct entry *entry)
{
	struct entry *other;
	list_for_each_entry (other, &entry->sandbox->entries, link)
		if (other != entry && entry_visible(other))
			return true;
	return false;
}

static int rewrite_namespaces(void *object, struct error *e)
{
	struct entry *entry = object;
	struct sandbox *sandbox = entry->sandbox;
	struct namespace_fd borrowed[ENTRY_NAMESPACES];
	struct shared_namespaces shared = {.ipc = sandbox->ipc, .uts = sandbox->uts, .pid = sandbox->pid};
	size_t count;
	int r = namespaces_rewrite(entry->request->oci, entry->arena, &shared, entry->request->sandbox_pidns,
				   has_others(entry), borrowed, &count, e);
	if (r < 0)
		return r;
	/* Copies: the sandbox's own may go while the container is being made. */
	for (size_t i = 0; i < count; i++) {
		int fd = borrowed[i].fd < 0 ? -1 : fcntl(borrowed[i].fd, F_DUPFD_CLOEXEC, 3);
		if (borrowed[i].fd >= 0 && fd < 0)
			return error_errno(e, errno, "share namespaces");
		entry->namespaces[entry->n_namespaces++] =
			(struct namespace_fd){.type = borrowed[i].type, .fd = fd};
	}
	return STEP_DONE;
}

static void close_namespaces(struct entry *entry)
{
	while (entry->n_namespaces > 0)
		fd_close(entry->namespaces[--entry->n_namespaces].fd);
}

static int undo_namespaces(void *object)
{
	close_namespaces(object);
	return STEP_DONE;
}

static int append_hooks(void *object, struct error *e)
{
	struct entry *entry = object;
	int r = guest_hooks_append(&entry->sandbox->hooks, entry->request->oci, entry->arena);
	return r < 0 ? error_errno(e, -r, "guest hooks") : STEP_DONE;
}

/* --- bundle --- */

static void bundle_filled(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct entry *entry = data;
	(void)job, (void)result;
	entry->job = NULL;
	sequence_continue(entry->sequence, r, e);
}

/* Taken back with the directory. */
static int fill_bundle(void *object, struct error *e)
{
	struct entry *entry = object;
	Grpc__Root *root = entry->request->oci->root;
	_cleanup_free_ char *rootfs = bundle_rootfs(entry->id);
	entry->source = root->path;
	root->path = rootfs ? arena_strdup(entry->arena, rootfs) : NULL;
	if (!root->path)
		return error_errno(e, ENOMEM, "bundle");
	int r = bundle_fill(entry->sandbox->loop, entry->sandbox->rundir.fd, entry->id, entry->source,
			    entry->request->oci, bundle_filled, entry, &entry->job, e);
	return r == 1 ? STEP_WAIT : r < 0 ? r : STEP_DONE;
}

/* --- the container itself --- */

static void container_created(struct container *container, int r, const struct error *e, void *data)
{
	struct entry *entry = data;
	(void)container;
	close_namespaces(entry);
	sequence_continue(entry->sequence, r, e);
	entry_end(entry);
}

/* What a spec says of the host's own kernel and processors, and the reference does not look at. */
static void leave_out_hosts(Grpc__Spec *spec, const char *id)
{
	lsm_drop_profile(spec->process, id);
	spec->linux->intelrdt = NULL;
}

static int create_container(void *object, struct error *e)
{
	struct entry *entry = object;
	_cleanup_free_ char *bundle = bundle_path(entry->id);
	struct task *init = bundle ? task_new(entry, "") : NULL;
	if (!init)
		return error_errno(e, ENOMEM, "container");
	struct container_params params = {
		.id = entry->id,
		.bundle = bundle,
		.spec = entry->request->oci,
		.arena = entry->arena,
		.stdio = {.kind = STDIO_PIPES, .fds = {-1, -1, -1}, .console_socket = -1},
		.namespaces = entry->namespaces,
		.n_namespaces = entry->n_namespaces,
		.gate = -1,
	};
	leave_out_hosts(params.spec, entry->id);
	entry->container = container_create(entry->sandbox->engine, &params, container_created, entry);
	if (!entry->container)
		return error_errno(e, ENOMEM, "container");
	entry->arena = NULL;
	entry_begin(entry);
	container_set_user(entry->container, entry);
	task_bind(init, container_init(entry->container));
	return STEP_WAIT;
}

static void abort_container(void *object)
{
	struct entry *entry = object;
	container_abort(entry->container);
}

static void container_undone(struct container *container, int r, const struct error *e, void *data)
{
	struct entry *entry = data;
	(void)container;
	if (r < 0)
		log_error("container", "container stays", "container-id", entry->id, "error", e->text);
	sequence_continue(entry->sequence, 0, NULL);
	entry_end(entry);
}

static int undo_container(void *object)
{
	struct entry *entry = object;
	entry_begin(entry);
	container_delete(entry->container, true, container_undone, entry);
	return STEP_WAIT;
}

/* --- what makes it known --- */

static void memory_kill(uint64_t kills, void *data)
{
	struct entry *entry = data;
	log_warning("container", "killed for want of memory", "container-id", entry->id, "kills",
		    LOG_NUMBER(kills));
	oom_report(entry->sandbox->oom, entry->id);
}

/* Every container, also one that is its whole sandbox. */
static void watch_memory(struct entry *entry)
{
	struct error e = ERROR_INIT;
	struct cgroup *cgroup = container_cgroup(entry->container);
	if (!cgroup)
		return;
	entry->oom = cgroup_oom_watch(cgroup, entry->sandbox->loop, memory_kill, entry, &e);
	if (!entry->oom)
		log_debug("container", "no watch for memory kills", "container-id", entry->id, "error",
			  e.text);
}

/* The first container's PID namespace is what later ones join that ask for the sandbox's. */
static void share_pid_namespace(struct entry *entry)
{
	struct sandbox *sandbox = entry->sandbox;
	char path[64];
	if (sandbox->pid >= 0 || has_others(entry))
		return;
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)container_init(entry->container)->pid);
	sandbox->pid = open(path, O_RDONLY | O_CLOEXEC);
	if (sandbox->pid >= 0)
		sandbox->pid_owner = entry;
}

static int make_known(void *object, struct error *e)
{
	struct entry *entry = object;
	pid_t init = container_init(entry->container)->pid;
	if (init > 0) {
		int r = rundir_record(&entry->sandbox->rundir, entry->id, init, e);
		if (r < 0)
			return r;
		share_pid_namespace(entry);
	}
	int streams[3];
	struct task *task = task_find_any(entry, "");
	passfd_take(&entry->claim, streams);
	task_pass(task, streams);
	if (task_open(task) < 0)
		return error_errno(e, ENOMEM, "streams");
	watch_memory(entry);
	return STEP_DONE;
}

static int undo_make_known(void *object)
{
	struct entry *entry = object;
	cgroup_oom_free(entry->oom);
	entry->oom = NULL;
	return STEP_DONE;
}

/* --- the whole --- */

static const struct step create_steps[] = {
	{"streams", claim_streams, undo_streams, abort_streams},
	{"directory", make_directory, undo_directory, NULL},
	{"storages", add_storages, undo_storages, abort_storages},
	{"namespaces", rewrite_namespaces, undo_namespaces, NULL},
	{"hooks", append_hooks, NULL, NULL},
	{"bundle", fill_bundle, NULL, NULL},
	{"container", create_container, undo_container, abort_container},
	{"record", make_known, undo_make_known, NULL},
};

static void creation_failed(struct entry *entry, const struct error *e)
{
	struct ttrpc_call *call = steal_pointer(entry->call);
	log_warning("container", "creation failed", "container-id", entry->id, "error", e->text);
	if (call && entry->timed_out)
		ttrpc_call_fail_timeout(call);
	else if (call)
		ttrpc_call_fail(call, e);
	entry_free(entry);
}

static void creation_over(void *object, int r, const struct error *e)
{
	struct entry *entry = object;
	entry->sequence = NULL;
	entry->request = NULL;
	if (r < 0) {
		creation_failed(entry, e);
		return;
	}
	entry->state = ENTRY_LIVE;
	entry->created = time(NULL);
	log_info("container", "created", "container-id", entry->id, "pid",
		 LOG_NUMBER(container_init(entry->container)->pid), "cgroup",
		 container_cgroup(entry->container) ? cgroup_path(container_cgroup(entry->container)) : NULL);
	rpc_respond_empty(steal_pointer(entry->call));
	admission_poke(&entry->sandbox->admission);
}

void entry_abort(struct entry *entry, const struct error *why)
{
	sequence_abort(entry->sequence, why);
}

static void call_ended(struct ttrpc_call *call, enum ttrpc_end end, void *data)
{
	struct entry *entry = data;
	struct error e = ERROR_INIT;
	(void)call;
	if (end == TTRPC_END_DISCONNECT)
		entry->call = NULL;
	else
		entry->timed_out = true;
	error_set(&e, STATUS_CANCELLED, ECANCELED, "%s",
		  end == TTRPC_END_DISCONNECT ? "client is gone" : "timeout");
	if (entry->sequence)
		entry_abort(entry, &e);
}

/* The reference's rule, on ASCII (reference 03, 1.4). */
static bool container_id_valid(const char *id)
{
	return id_valid(id) && id[1];
}

static int check_request(const Grpc__CreateContainerRequest *request, struct error *e)
{
	const Grpc__Spec *spec = request->oci;
	if (!container_id_valid(request->container_id))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "invalid container ID %s",
				 request->container_id);
	if (!spec)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "EINVAL: Invalid argument: no OCI spec");
	if (!spec->linux)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "Spec does not contain linux field");
	if (!spec->process)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "EINVAL: Invalid argument: no process");
	if (!spec->root || str_is_empty(spec->root->path))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "EINVAL: Invalid argument: no root path");
	if (spec->root->path[0] != '/')
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "root path %s is not absolute",
				 spec->root->path);
	/* The nodes in the spec have the host's numbers, which here may be those of quite another disk. */
	if (request->n_devices > 0)
		return error_set(e, STATUS_INTERNAL, EINVAL, "Failed to find the device handler %s",
				 request->devices[0]->type);
	if (request->n_shared_mounts > 0)
		return error_set(e, STATUS_UNIMPLEMENTED, EOPNOTSUPP, "shared mounts are not implemented");
	return 0;
}

/* True when the call was taken care of: the id is not free. */
static bool is_taken(struct sandbox *sandbox, struct ttrpc_call *call,
		     const Grpc__CreateContainerRequest *request)
{
	const char *id = request->container_id;
	struct entry *entry = entry_find(sandbox, id);
	if (!entry)
		return false;
	if (entry_ending(entry)) {
		parked_add(&entry->creators, call);
	} else {
		refuse_streams(sandbox, request);
		ttrpc_call_fail_text(call, STATUS_ALREADY_EXISTS, "container %s already exists", id);
	}
	return true;
}

void entry_create(struct sandbox *sandbox, struct ttrpc_call *call,
		  const Grpc__CreateContainerRequest *request)
{
	struct error e = ERROR_INIT;
	if (sandbox->state == SANDBOX_DESTROYING || sandbox->state == SANDBOX_GONE)
		error_set(&e, STATUS_FAILED_PRECONDITION, 0, "the sandbox is being destroyed");
	if (e.code != STATUS_OK || check_request(request, &e) < 0) {
		refuse_streams(sandbox, request);
		ttrpc_call_fail(call, &e);
		return;
	}
	if (is_taken(sandbox, call, request))
		return;
	struct entry *entry = entry_new(sandbox, request->container_id);
	if (entry)
		entry->sequence = sequence_start(sandbox->loop, "create", create_steps,
						 array_length(create_steps), false, entry, creation_over);
	if (!entry || !entry->sequence) {
		ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory for a container");
		if (entry)
			entry_free(entry);
		return;
	}
	entry->call = call;
	entry->request = request;
	entry->arena = ttrpc_call_steal_arena(call);
	ttrpc_call_on_end(call, call_ended, entry);
}
