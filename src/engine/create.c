/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Creating a container: the table of steps below is the story. The child's half of it is init.c.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "engine/idmap.h"
#include "engine/lsm.h"
#include "engine/mount.h"
#include "engine/placement.h"
#include "engine/record.h"
#include "engine/resources.h"
#include "engine/rootfs.h"
#include "engine/validate.h"

static Grpc__Linux *linux_of(const struct launch *launch)
{
	return launch->container->spec->linux;
}

/* --- what is asked for -------------------------------------------------------------------------------------- */

static int given_flags(const struct launch *launch)
{
	int flags = 0;

	for (size_t i = 0; i < launch->n_given; i++)
		flags |= launch->given[i].fd >= 0 ? launch->given[i].type : 0;
	return flags;
}

static int validate(struct launch *launch, struct error *e)
{
	const struct container *container = launch->container;
	const struct engine_options *options = &container->engine->options;
	const struct validate_context context = {
		.wire = options->wire,
		.rootless = options->rootless && geteuid() != 0,
		.joined = given_flags(launch),
	};
	int r = spec_validate(container->spec, &context, e);

	if (r == 0 && !container->spec->process)
		r = error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "process is missing");
	return r < 0 ? r : lsm_check(container->spec->process, container->spec->linux, e);
}

/* --- the cgroup --------------------------------------------------------------------------------------------- */

static int choose_cgroup(struct container *container, struct error *e)
{
	const struct engine *engine = container->engine;
	const char *path = container->spec->linux ? str_or_empty(container->spec->linux->cgroupspath) : "";
	bool systemd = !engine->options.pid1 && engine->options.pin != CGROUP_PIN_CGROUPFS &&
		       (engine->options.pin == CGROUP_PIN_SYSTEMD || cgroup_path_is_systemd(path)) &&
		       cgroup_systemd_running();
	const char *why = NULL;
	enum cgroup_driver driver =
		cgroup_choose(engine->options.pid1, path, systemd, engine->options.pin, &why);

	container->cgroup =
		cgroup_new(engine->cgroups, driver, path, container->id, engine->options.rootless, e);
	if (!container->cgroup)
		return error_result(e);
	if (cgroup_set_owner(container->cgroup, (uint64_t)container->created_at) < 0)
		return error_errno(e, ENOMEM, "cgroup");
	log_debug("engine", "cgroup chosen", "container-id", container->id, "cgroup",
		  cgroup_path(container->cgroup), "why", why);
	return 0;
}

int container_resources(const struct container *container, struct cgroup_resources *out, struct error *e)
{
	const Grpc__Linux *linux = container->spec->linux;
	int r = resources_convert(linux ? linux->resources : NULL, container->engine->options.wire,
				  container->arena, out, e);

	return r < 0 ? r
		     : resources_restrict_devices(out, linux ? linux->devices : NULL,
						  linux ? linux->n_devices : 0, container->arena, e);
}

static int make_cgroup(struct launch *launch, struct error *e)
{
	struct container *container = launch->container;
	struct cgroup_resources resources;
	int r = container_resources(container, &resources, e);

	if (r == 0)
		r = choose_cgroup(container, e);
	if (r == 0 && (r = cgroup_create(container->cgroup, &resources, e)) < 0) {
		/* What is not ours is not undone. */
		cgroup_free(container->cgroup);
		container->cgroup = NULL;
	}
	if (r == 0 && cgroup_driver_of(container->cgroup) == CGROUP_CGROUPFS)
		r = cgroup_set(container->cgroup, &resources, e);
	return r;
}

static void on_cgroup_gone(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct launch *launch = data;

	launch->job = NULL;
	if (r < 0)
		log_warning("engine", "undo failed", "container-id", launch->container->id, "error", e->text);
	launch_continue(launch);
}

static int remove_cgroup(struct launch *launch, struct error *e)
{
	return container_remove_cgroup(launch->container, &launch->job, on_cgroup_gone, launch, e);
}

static int make_rdt(struct launch *launch, struct error *e)
{
	const Grpc__Linux *linux = linux_of(launch);

	if (!linux || !linux->intelrdt)
		return 0;
	return rdt_new(rdt_root(), linux->intelrdt, launch->container->id, &launch->container->rdt, e);
}

static int remove_rdt(struct launch *launch, struct error *e)
{
	int r = rdt_remove(launch->container->rdt, e);

	rdt_free(launch->container->rdt);
	launch->container->rdt = NULL;
	return r;
}

/* --- the plan ----------------------------------------------------------------------------------------------- */

static bool has_runtime_work(const Grpc__Hooks *hooks)
{
	return hooks && (hooks->n_prestart || hooks->n_createruntime);
}

static int plan(struct launch *launch, struct error *e)
{
	struct container *container = launch->container;
	struct child_plan *plan = &launch->plan;
	const Grpc__Linux *linux = linux_of(launch);
	int r = namespaces_plan(&plan->namespaces, container->spec, launch->given, launch->n_given,
				container->engine->privileged, e);

	if (r < 0)
		return r;
	bool user = (plan->namespaces.created & CLONE_NEWUSER) != 0;
	plan->container = container;
	plan->process = container->spec->process;
	plan->init = true;
	plan->preserve_fds = container->preserve_fds;
	plan->await_runtime = has_runtime_work(container->spec->hooks);
	plan->hide = container->engine->privileged;
	credentials_init(&plan->credentials, plan->process, NULL);
	plan->credentials.keep_groups = user && geteuid() != 0 && !idmap_needs_helper(linux);
	container->namespaces = plan->namespaces.created | plan->namespaces.joined;
	r = seccomp_compile(linux ? linux->seccomp : NULL, container->engine->options.wire,
			    &container->seccomp, e);
	if (r < 0)
		return r;
	plan->filter = container->seccomp;
	if (plan->filter && seccomp_filter_notifies(plan->filter)) {
		plan->seccomp_listener = seccomp_connect_listener(linux->seccomp, e);
		if (plan->seccomp_listener < 0)
			return plan->seccomp_listener;
	}
	plan->cgroup = cgroup_open(container->cgroup);
	return 0;
}

static int unplan(struct launch *launch, struct error *e)
{
	struct child_plan *plan = &launch->plan;

	plan->seccomp_listener = fd_close(plan->seccomp_listener);
	plan->cgroup = fd_close(plan->cgroup);
	plan->mount_helper = fd_close(plan->mount_helper);
	namespaces_deinit(&plan->namespaces);
	return 0;
}

/* --- the mount helper --------------------------------------------------------------------------------------- */

static void on_helper(struct loop_child *child, int status)
{
}

static _Noreturn void helper_main(const struct launch *launch, int socket)
{
	const struct container *container = launch->container;
	const int keep[] = {socket, container->engine->proc, log_get_fd()};
	struct rootfs rootfs = {
		.spec = container->spec,
		.bundle = container->bundle,
		.cgroup = container->cgroup,
		.proc = container->engine->proc,
		.arena = arena_new(0),
		.helper = -1,
		.outside = true,
		.fd = -1,
	};

	fd_close_all_but(keep, array_length(keep));
	loop_child_reset();
	if (!rootfs.arena)
		_exit(1);
	mount_helper_run(&rootfs, socket);
}

/* Only user namespaces need one: it opens for the child what that may not open itself, and ends with it. */
static int start_helper(struct launch *launch, struct error *e)
{
	int all = launch->plan.namespaces.created | launch->plan.namespaces.joined;
	int pair[2];

	if (!(all & CLONE_NEWUSER) || !launch->container->engine->privileged)
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_errno(e, errno, "socket pair");
	pid_t pid = fork();
	if (pid == 0)
		helper_main(launch, pair[1]);
	int errnum = errno;
	fd_close(pair[1]);
	if (pid < 0) {
		fd_close(pair[0]);
		return error_errno(e, errnum, "mount helper");
	}
	launch->plan.mount_helper = pair[0];
	int r = loop_child_add(launch->container->engine->loop, &launch->helper, pid, on_helper);
	return r < 0 ? error_errno(e, -r, "mount helper") : 0;
}

static int stop_helper(struct launch *launch, struct error *e)
{
	launch->plan.mount_helper = fd_close(launch->plan.mount_helper);
	return 0;
}

/* --- hooks -------------------------------------------------------------------------------------------------- */

static void on_hooks(int r, const struct error *e, void *data)
{
	struct launch *launch = data;
	uint64_t timeout = launch->container->engine->options.create_timeout_ms;

	launch->hooks = NULL;
	loop_timer_set(launch->container->engine->loop, &launch->deadline,
		       timeout ? timeout : CREATE_TIMEOUT_MS, launch->deadline.fn);
	if (r < 0)
		launch_fail(launch, e);
	else
		launch_continue(launch);
}

static int start_hooks(struct launch *launch, const char *kind, Grpc__Hook *const *hooks, size_t count,
		       struct error *e)
{
	struct container *container = launch->container;
	_cleanup_buf_ struct buf state = BUF_INIT;

	if (count == 0)
		return 0;
	if (container_state_json(container, "creating", launch->process->pid, &state) < 0)
		return error_errno(e, ENOMEM, "%s hooks", kind);
	const struct hooks_params params = {
		.kind = kind,
		.hooks = hooks,
		.count = count,
		.state = buf_string(&state),
		.cwd = container->bundle,
		.environment = container_hook_environment(container),
		.default_timeout_ms = container_hook_timeout(container),
	};
	/* Hooks have bounds of their own. */
	loop_timer_remove(&launch->deadline);
	launch->hooks = hooks_start(container->engine->loop, &params, on_hooks, launch, e);
	return launch->hooks ? LAUNCH_WAIT : error_result(e);
}

static int run_prestart(struct launch *launch, struct error *e)
{
	const Grpc__Hooks *hooks = launch->container->spec->hooks;

	return hooks ? start_hooks(launch, "prestart", hooks->prestart, hooks->n_prestart, e) : 0;
}

static int run_create_runtime(struct launch *launch, struct error *e)
{
	const Grpc__Hooks *hooks = launch->container->spec->hooks;

	return hooks ? start_hooks(launch, "createRuntime", hooks->createruntime, hooks->n_createruntime, e)
		     : 0;
}

static void on_poststop(int r, const struct error *e, void *data)
{
	launch_continue(data);
}

/* Nothing yet; but once hooks have run for it, a container that fails has an end like any other (runtime.md, 12 and 13). */
static int promise_poststop(struct launch *launch, struct error *e)
{
	return 0;
}

static int run_poststop(struct launch *launch, struct error *e)
{
	struct container *container = launch->container;
	const Grpc__Hooks *hooks = container->spec->hooks;
	_cleanup_buf_ struct buf state = BUF_INIT;

	if (!launch->owes_poststop || !hooks || hooks->n_poststop == 0)
		return 0;
	if (container_state_json(container, "stopped", 0, &state) < 0)
		return error_errno(e, ENOMEM, "poststop hooks");
	const struct hooks_params params = {
		.kind = "poststop",
		.hooks = hooks->poststop,
		.count = hooks->n_poststop,
		.state = buf_string(&state),
		.cwd = container->bundle,
		.environment = container_hook_environment(container),
		.default_timeout_ms = container_hook_timeout(container),
		.keep_going = true,
	};
	return hooks_start(container->engine->loop, &params, on_poststop, launch, e) ? LAUNCH_WAIT
										     : error_result(e);
}

/* --- waiting for the child ---------------------------------------------------------------------------------- */

static int await_runtime(struct launch *launch, struct error *e)
{
	launch->owes_poststop = true;
	if (!launch->plan.await_runtime)
		return 0;
	return launch_await(launch, HANDSHAKE_RUNTIME);
}

static int go_after_runtime(struct launch *launch, struct error *e)
{
	return launch->plan.await_runtime ? launch_go(launch, e) : 0;
}

/* createContainer hooks run in the child, with bounds of their own. */
static void extend_deadline(struct launch *launch)
{
	const Grpc__Hooks *hooks = launch->container->spec->hooks;
	uint64_t timeout = launch->container->engine->options.create_timeout_ms, extra = 0;
	uint64_t unsaid = container_hook_timeout(launch->container);

	for (size_t i = 0; hooks && i < hooks->n_createcontainer; i++) {
		const Grpc__Hook *hook = hooks->createcontainer[i];
		bool said = hook->has_timeout && hook->timeout > 0;

		if (!said && !unsaid) {
			loop_timer_remove(&launch->deadline);
			return;
		}
		extra += said ? (uint64_t)hook->timeout * 1000 : unsaid;
	}
	if (extra)
		loop_timer_set(launch->container->engine->loop, &launch->deadline,
			       (timeout ? timeout : CREATE_TIMEOUT_MS) + extra, launch->deadline.fn);
}

static int await_ready(struct launch *launch, struct error *e)
{
	extend_deadline(launch);
	return launch_await(launch, HANDSHAKE_READY);
}

/* Before any foreign code runs in it: the namespace to which every exec will go. */
static int pin(struct launch *launch, struct error *e)
{
	struct container *container = launch->container;
	int proc = container->engine->proc;
	char path[64];

	container->init_start = record_start_time(proc, launch->process->pid);
	if (!(container->namespaces & CLONE_NEWNS))
		return 0;
	snprintf(path, sizeof(path), "%d/ns/mnt", (int)launch->process->pid);
	container->mount_namespace = openat(proc, path, O_RDONLY | O_CLOEXEC);
	return container->mount_namespace < 0 ? error_errno(e, errno, "pin the mount namespace") : 0;
}

static const struct launch_step steps[] = {
	{"validate", validate, NULL},
	{"make cgroup", make_cgroup, remove_cgroup},
	{"make RDT class", make_rdt, remove_rdt},
	{"plan", plan, unplan},
	{"open stdio", launch_open_stdio, launch_close_stdio},
	{"start mount helper", start_helper, stop_helper},
	{"promise poststop hooks", promise_poststop, run_poststop},
	{"clone", launch_clone, launch_undo_clone},
	{"map ids", placement_map_ids, NULL},
	{"enter cgroup", placement_enter_cgroup, NULL},
	{"enter RDT class", placement_enter_rdt, NULL},
	{"move network devices", placement_move_netdevices, NULL},
	{"leave mount helper", stop_helper, NULL},
	{"go", launch_go, NULL},
	{"await mounts", await_runtime, NULL},
	{"prestart hooks", run_prestart, NULL},
	{"createRuntime hooks", run_create_runtime, NULL},
	{"go on", go_after_runtime, NULL},
	{"await ready", await_ready, NULL},
	{"pin", pin, NULL},
};

/* --- begin and end ------------------------------------------------------------------------------------------ */

static void created(struct launch *launch, int r, const struct error *e)
{
	struct container *container = launch->container;
	struct operation *operation = launch->owner;
	struct error told = ERROR_INIT;

	if (r == 0) {
		container->handshake = fd_steal(&launch->socket);
		container->status = CONTAINER_CREATED;
		log_info("engine", "container created", "container-id", container->id, "pid",
			 LOG_NUMBER(launch->process->pid));
	} else {
		cgroup_free(container->cgroup);
		container->cgroup = NULL;
		container->status = CONTAINER_STOPPED;
		told = *e;
		error_prefix(&told, "create container \"%s\"", container->id);
	}
	unplan(launch, NULL);
	operation_end(operation, r, r < 0 ? &told : NULL);
}

static void abort_create(struct operation *operation)
{
	struct error e = ERROR_INIT;

	error_set(&e, STATUS_CANCELLED, ECANCELED, "given up");
	launch_fail(operation->state, &e);
}

void container_abort(struct container *container)
{
	struct operation *operation = container->operation;

	if (operation && operation->abort)
		operation->abort(operation);
}

static uint64_t wall_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static struct container *container_new(struct engine *engine, const struct container_params *params)
{
	struct container *container = calloc(1, sizeof(*container));

	if (!container)
		return NULL;
	list_init(&container->processes);
	list_init(&container->launches);
	container->engine = engine;
	container->mount_namespace = container->handshake = -1;
	container->arena = params->arena;
	container->spec = params->spec;
	container->id = strdup(params->id);
	container->bundle = strdup(str_or_empty(params->bundle));
	container->gate_elsewhere = params->gate >= 0;
	container->no_new_keyring = params->no_new_keyring;
	container->preserve_fds = params->preserve_fds;
	container->created_at = wall_clock();
	if (container->id && container->bundle)
		container->init = process_new(container, "", true);
	if (container->init)
		return container;
	container->arena = NULL;
	container_free(container);
	return NULL;
}

static struct launch *launch_new(struct container *container, const struct container_params *params)
{
	struct launch *launch = calloc(1, sizeof(*launch));

	if (!launch)
		return NULL;
	launch->container = container;
	launch->process = container->init;
	launch->stdio = params->stdio;
	launch->n_given = params->n_namespaces;
	if (params->n_namespaces)
		launch->given = arena_memdup(container->arena, params->namespaces,
					     params->n_namespaces * sizeof(*params->namespaces));
	launch->socket = launch->child_end = -1;
	launch->child_stdio[0] = launch->child_stdio[1] = launch->child_stdio[2] = -1;
	launch->plan = (struct child_plan){
		.namespaces = NAMESPACES_INIT,
		.init_pidfd = -1,
		.mount_namespace = -1,
		.socket = -1,
		.gate = params->gate,
		.cgroup = -1,
		.mount_helper = -1,
		.stdio = {-1, -1, -1},
		.console_socket = -1,
		.seccomp_listener = -1,
	};
	launch->finished = created;
	if (launch->n_given == 0 || launch->given)
		return launch;
	free(launch);
	return NULL;
}

struct container *container_create(struct engine *engine, const struct container_params *params,
				   container_done done, void *data)
{
	struct container *container = container_new(engine, params);
	struct launch *launch = container ? launch_new(container, params) : NULL;
	struct operation *operation = launch ? calloc(1, sizeof(*operation)) : NULL;

	if (!operation) {
		/* The arena stays the caller's: what it would answer to this may live in there. */
		if (container)
			container->arena = NULL;
		container_free(container);
		free(launch);
		return NULL;
	}
	*operation = (struct operation){
		.container = container,
		.verb = "create",
		.done = done,
		.data = data,
		.error = ERROR_INIT,
		.exclusive = true,
		.abort = abort_create,
		.state = launch,
	};
	container->operation = operation;
	container->init->terminal =
		container->spec && container->spec->process && container->spec->process->terminal;
	container->init->launch = launch;
	launch->owner = operation;
	launch_begin(launch, steps, array_length(steps));
	return container;
}
