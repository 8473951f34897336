/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A further process in a container that was created or runs. The table is create's, shortened: no namespaces are made and nothing is
 * mounted, and there is no gate: the end of the socket after READY is the success of execve(2).
 *
 * What the request leaves out is the container's: capabilities, no_new_privs, labels, and always its seccomp filter.
 */

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "engine/lsm.h"
#include "engine/placement.h"
#include "engine/validate.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

/* Init is there from READY on, with all that is joined, whether it waits at its gate or runs. */
static bool has_processes(const struct container *container, bool ignore_paused)
{
	return container->status == CONTAINER_RUNNING || container->status == CONTAINER_CREATED ||
	       (ignore_paused && container->status == CONTAINER_PAUSED);
}

static int plan(struct launch *launch, struct error *e)
{
	struct container *container = launch->container;
	struct child_plan *plan = &launch->plan;
	const Grpc__Linux *linux = container->spec->linux;
	int flags = container->namespaces;

	if (!has_processes(container, launch->ignore_paused) || !container->init->pid)
		return error_set(e, STATUS_FAILED_PRECONDITION, ESRCH, "container \"%s\" is %s",
				 container->id, container_status_name(container->status));
	/* In a frozen one it would neither arrive nor end. */
	int r = launch->ignore_paused ? 0 : cgroup_check_unfrozen(container->cgroup, e);
	if (r < 0)
		return r;
	plan->container = container;
	plan->init_pidfd = container->init->pidfd;
	plan->init_pid = container->init->pid;
	plan->join_flags = flags;
	plan->mount_namespace = container->mount_namespace;
	plan->namespaces.middle = !container->engine->privileged && (flags & CLONE_NEWPID);
	plan->hide = container->engine->privileged;
	credentials_init(&plan->credentials, plan->process, container->spec->process);
	plan->credentials.keep_groups = (flags & CLONE_NEWUSER) && !container->engine->privileged;
	plan->filter = container->seccomp;
	if (plan->filter && seccomp_filter_notifies(plan->filter)) {
		plan->seccomp_listener = seccomp_connect_listener(linux->seccomp, e);
		if (plan->seccomp_listener < 0)
			return plan->seccomp_listener;
	}
	plan->cgroup = launch->n_cgroups ? -1 : cgroup_open_exec(container->cgroup, container->init->pid);
	return 0;
}

static int unplan(struct launch *launch, struct error *e)
{
	launch->plan.seccomp_listener = fd_close(launch->plan.seccomp_listener);
	launch->plan.cgroup = fd_close(launch->plan.cgroup);
	return 0;
}

static int await_ready(struct launch *launch, struct error *e)
{
	return launch_await(launch, HANDSHAKE_READY);
}

static int await_execution(struct launch *launch, struct error *e)
{
	return launch->ended ? 0 : launch_await(launch, 0);
}

static const struct launch_step steps[] = {
	{"plan", plan, unplan},
	{"open stdio", launch_open_stdio, launch_close_stdio},
	{"clone", launch_clone, launch_undo_clone},
	{"enter cgroup", placement_join_cgroup, NULL},
	{"enter RDT class", placement_enter_rdt, NULL},
	{"go", launch_go, NULL},
	{"await ready", await_ready, NULL},
	{"await execution", await_execution, NULL},
};

/* An exec has its process to free when it has failed, after that was told. */
struct exec {
	struct process *process;
	container_done done;
	void *data;
};

static void told(struct container *container, int r, const struct error *e, void *data)
{
	struct exec exec = *(struct exec *)data;

	free(data);
	exec.done(container, r, e, exec.data);
	if (r < 0)
		process_free(exec.process);
}

static void executed(struct launch *launch, int r, const struct error *e)
{
	struct operation *operation = launch->owner;
	struct error copy = ERROR_INIT;

	unplan(launch, NULL);
	if (r < 0) {
		copy = *e;
		error_prefix(&copy, "exec in container \"%s\"", launch->container->id);
	} else {
		launch->process->started = true;
	}
	operation_end(operation, r, r < 0 ? &copy : NULL);
}

static struct launch *launch_new(struct process *process, const struct exec_params *params)
{
	struct launch *launch = calloc(1, sizeof(*launch));

	if (!launch)
		return NULL;
	launch->container = process->container;
	launch->process = process;
	launch->stdio = params->stdio;
	launch->cgroups = params->cgroups;
	launch->n_cgroups = params->n_cgroups;
	launch->ignore_paused = params->ignore_paused;
	launch->socket = launch->child_end = -1;
	launch->child_stdio[0] = launch->child_stdio[1] = launch->child_stdio[2] = -1;
	launch->plan = (struct child_plan){
		.process = params->process,
		.preserve_fds = params->preserve_fds,
		.namespaces = NAMESPACES_INIT,
		.init_pidfd = -1,
		.mount_namespace = -1,
		.socket = -1,
		.gate = -1,
		.cgroup = -1,
		.mount_helper = -1,
		.stdio = {-1, -1, -1},
		.console_socket = -1,
		.seccomp_listener = -1,
	};
	launch->finished = executed;
	return launch;
}

static int check(struct container *container, const struct exec_params *params, struct error *e)
{
	if (!has_processes(container, params->ignore_paused))
		return error_set(e, STATUS_FAILED_PRECONDITION, EINVAL,
				 "cannot exec in container \"%s\": it is %s", container->id,
				 container_status_name(container->status));
	if (container->operation && str_equal(container->operation->verb, "pause"))
		return error_set(e, STATUS_FAILED_PRECONDITION, EAGAIN,
				 "cannot exec in container \"%s\": it is being paused", container->id);
	if (str_is_empty(params->exec_id) || container_process(container, params->exec_id))
		return error_set(e, STATUS_ALREADY_EXISTS, EEXIST, "exec_id '%s' already exists",
				 str_or_empty(params->exec_id));
	int r = process_validate(params->process, container->spec, "process", e);
	return r < 0 ? r : lsm_check(params->process, NULL, e);
}

struct process *container_exec(struct container *container, const struct exec_params *params,
			       container_done done, void *data, struct error *e)
{
	if (check(container, params, e) < 0)
		return NULL;
	struct process *process = process_new(container, params->exec_id, false);
	struct launch *launch = process ? launch_new(process, params) : NULL;
	struct exec *exec = launch ? malloc(sizeof(*exec)) : NULL;
	struct operation *operation = exec ? calloc(1, sizeof(*operation)) : NULL;

	if (!operation) {
		process_free(process);
		free(launch);
		free(exec);
		error_errno(e, ENOMEM, "exec");
		return NULL;
	}
	*exec = (struct exec){process, done, data};
	*operation = (struct operation){
		.container = container, .verb = "exec", .done = told, .data = exec, .error = ERROR_INIT};
	process->terminal = params->process->terminal;
	process->launch = launch;
	launch->owner = operation;
	list_append(&container->launches, &launch->link);
	launch_begin(launch, steps, array_length(steps));
	return process;
}
