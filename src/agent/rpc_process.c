/* SPDX-License-Identifier: Apache-2.0 */

/* Processes: a further one, a signal, the wait for an end (task.c), a terminal's size. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/entry.h"
#include "agent/rpc.h"
#include "agent/sandbox.h"
#include "agent/signal_mask.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "engine/lsm.h"
#include "proto/agent.pb-c.h"

/* --- ExecProcess --- */

struct exec {
	struct task *task;
	struct ttrpc_call *call; /* NULL: nobody is to be told */
	struct arena *arena;	 /* of the call: the process is borrowed from it */
	const Grpc__ExecProcessRequest *request;
	bool claiming;		   /* nothing runs yet: its streams are awaited */
	struct passfd_claim claim; /* of those that the host passes through */
	struct loop_defer burial;
};

static void exec_free(struct exec *exec)
{
	passfd_abandon(&exec->claim);
	arena_free(exec->arena);
	free(exec);
}

/* Before anything runs. */
static void exec_refuse(struct exec *exec, const struct error *e)
{
	task_free(exec->task);
	ttrpc_call_fail(exec->call, e);
	exec_free(exec);
}

static void exec_bury(struct loop_defer *defer)
{
	exec_free(list_entry(defer, struct exec, burial));
}

static void exec_call_ended(struct ttrpc_call *call, enum ttrpc_end end, void *data)
{
	struct exec *exec = data;
	struct entry *entry = exec->task->entry;
	exec->call = NULL;
	if (end == TTRPC_END_DEADLINE)
		ttrpc_call_fail_timeout(call);
	if (!exec->claiming)
		return;
	passfd_abandon(&exec->claim);
	task_free(exec->task);
	/* The call lives in that memory, and is just on its way out. */
	loop_defer_add(entry->sandbox->loop, &exec->burial, exec_bury);
	entry_end(entry);
}

/* It runs, and whoever wanted it was not told so: nobody will ever ask for it. */
static void abandon(struct task *task)
{
	struct error e = ERROR_INIT;
	task->abandoned = true;
	if (!task->exited && process_signal(task->process, SIGKILL, &e) < 0 && e.errnum != ESRCH)
		log_warning("process", "process stays", "exec-id", task->exec_id, "error", e.text);
	entry_prune(task->entry);
}

static void exec_succeeded(struct exec *exec)
{
	struct task *task = exec->task;
	int streams[3];
	passfd_take(&exec->claim, streams);
	task_pass(task, streams);
	if (exec->call && task_open(task) == 0) {
		rpc_respond_empty(exec->call);
		entry_prune(task->entry);
		return;
	}
	if (exec->call)
		ttrpc_call_fail_text(exec->call, STATUS_RESOURCE_EXHAUSTED, "no memory for streams");
	abandon(task);
}

static void exec_over(struct container *container, int r, const struct error *e, void *data)
{
	struct exec *exec = data;
	struct entry *entry = exec->task->entry;
	(void)container;
	if (r == 0) {
		exec_succeeded(exec);
	} else {
		/* The engine frees the process. */
		task_free(exec->task);
		if (exec->call)
			ttrpc_call_fail(exec->call, e);
	}
	exec_free(exec);
	entry_end(entry);
}

/* NULL: the call was answered. */
static struct entry *check_exec(struct sandbox *sandbox, struct ttrpc_call *call,
				const Grpc__ExecProcessRequest *request)
{
	if (!id_valid(request->exec_id)) {
		ttrpc_call_fail_text(call, STATUS_INVALID_ARGUMENT, "invalid exec ID %s", request->exec_id);
		return NULL;
	}
	if (!request->process) {
		ttrpc_call_fail_text(call, STATUS_INVALID_ARGUMENT,
				     "Unable to parse process from ExecProcessRequest");
		return NULL;
	}
	struct entry *entry = rpc_find_container(sandbox, call, request->container_id);
	if (!entry)
		return NULL;
	if (entry->state != ENTRY_LIVE) {
		ttrpc_call_fail_text(call, STATUS_FAILED_PRECONDITION, "container %s is being removed",
				     entry->id);
		return NULL;
	}
	struct task *old = task_find_any(entry, request->exec_id);
	if (old && !(old->ready && old->exited && old->collected && old->exec_id[0])) {
		ttrpc_call_fail_text(call, STATUS_ALREADY_EXISTS, "exec_id '%s' already exists",
				     request->exec_id);
		return NULL;
	}
	if (old)
		task_forget(old);
	return entry;
}

static int start_exec(struct exec *exec, struct error *e)
{
	struct entry *entry = exec->task->entry;
	struct exec_params params = {
		.exec_id = exec->request->exec_id,
		.process = exec->request->process,
		.stdio = {.kind = STDIO_PIPES, .fds = {-1, -1, -1}, .console_socket = -1},
	};
	lsm_drop_profile(exec->request->process, entry->id);
	struct process *process = container_exec(entry->container, &params, exec_over, exec, e);
	if (!process)
		return error_result(e);
	entry_begin(entry);
	task_bind(exec->task, process);
	return 0;
}

static void streams_came(struct passfd_claim *claim, const struct error *e)
{
	struct exec *exec = list_entry(claim, struct exec, claim);
	struct entry *entry = exec->task->entry;
	struct error failure = ERROR_INIT;
	exec->claiming = false;
	if (!e && entry->state != ENTRY_LIVE)
		error_set(&failure, STATUS_FAILED_PRECONDITION, 0, "container %s is being removed",
			  entry->id);
	else if (!e)
		(void)start_exec(exec, &failure);
	if (e || failure.code != STATUS_OK)
		exec_refuse(exec, e ? e : &failure);
	/* That of the claim; a process that was started has one of its own. */
	entry_end(entry);
}

static void claim_streams(struct exec *exec, struct passfd *passfd)
{
	exec->claiming = true;
	exec->claim.done = streams_came;
	entry_begin(exec->task->entry);
	passfd_claim(passfd, &exec->claim, PASSFD_WAIT_MS);
}

static void exec_process(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__ExecProcessRequest *request = data;
	const uint32_t ports[3] = {request->stdin_port, request->stdout_port, request->stderr_port};
	struct passfd *passfd = ports[0] | ports[1] | ports[2] ? sandbox->options.passfd : NULL;
	struct error e = ERROR_INIT;
	struct entry *entry = check_exec(sandbox, call, request);
	struct exec *exec = entry ? calloc(1, sizeof(*exec)) : NULL;
	struct task *task = exec ? task_new(entry, request->exec_id) : NULL;
	if (!task) {
		if (passfd)
			passfd_refuse(passfd, ports);
		if (entry)
			ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory for a process");
		free(exec);
		return;
	}
	*exec = (struct exec){.task = task, .call = call, .request = request};
	for (int i = 0; i < 3; i++)
		exec->claim.ports[i] = ports[i];
	exec->arena = ttrpc_call_steal_arena(call);
	if (passfd) {
		claim_streams(exec, passfd);
	} else if (start_exec(exec, &e) < 0) {
		exec_refuse(exec, &e);
		return;
	}
	ttrpc_call_on_end(call, exec_call_ended, exec);
}

/* --- SignalProcess --- */

struct kill_all {
	struct entry *entry;
	struct ttrpc_call *call;
};

static void kill_call_ended(struct ttrpc_call *call, enum ttrpc_end end, void *data)
{
	struct kill_all *all = data;
	all->call = NULL;
	if (end == TTRPC_END_DEADLINE)
		ttrpc_call_fail_timeout(call);
}

static void killed_all(struct container *container, int r, const struct error *e, void *data)
{
	struct kill_all *all = data;
	(void)container;
	if (all->call && r < 0)
		ttrpc_call_fail(all->call, e);
	else if (all->call)
		rpc_respond_empty(all->call);
	entry_end(all->entry);
	free(all);
}

/* No exec id and SIGKILL: every process of the container, also when init has gone (reference 03, 6.5). */
static void kill_everything(struct sandbox *sandbox, struct ttrpc_call *call, const char *id)
{
	struct entry *entry = rpc_find_container(sandbox, call, id);
	if (!entry)
		return;
	if (entry->state == ENTRY_REMOVING) {
		rpc_respond_empty(call);
		return;
	}
	struct kill_all *all = malloc(sizeof(*all));
	if (!all) {
		ttrpc_call_fail_text(call, STATUS_RESOURCE_EXHAUSTED, "no memory to wait");
		return;
	}
	*all = (struct kill_all){.entry = entry, .call = call};
	ttrpc_call_on_end(call, kill_call_ended, all);
	entry_begin(entry);
	container_kill_all(entry->container, SIGKILL, killed_all, all);
}

/* An init process that does nothing about SIGTERM would never see it: it is killed instead, as hosts expect. */
static int effective_signal(const struct process *process, int signal)
{
	char path[64];
	_cleanup_free_ char *status = NULL;
	if (!process->init || signal != SIGTERM)
		return signal;
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)process->pid);
	if (file_read(AT_FDCWD, path, 65536, &status) < 0)
		return SIGKILL;
	return signal_mask_handles(status, signal) ? signal : SIGKILL;
}

static void signal_process(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__SignalProcessRequest *request = data;
	struct error e = ERROR_INIT;
	if (str_is_empty(request->exec_id) && request->signal == SIGKILL) {
		kill_everything(sandbox, call, request->container_id);
		return;
	}
	struct task *task = rpc_find_process(sandbox, call, request->container_id, request->exec_id);
	if (!task)
		return;
	if (request->signal > (uint32_t)SIGRTMAX) {
		ttrpc_call_fail_text(call, STATUS_INVALID_ARGUMENT, "EINVAL: Invalid argument: signal %u",
				     request->signal);
		return;
	}
	if (task->exited && task->collected) {
		ttrpc_call_fail_text(call, STATUS_NOT_FOUND,
				     "process not found: it has exited: ESRCH: No such process");
		return;
	}
	int r = task->exited || !task->process
			? -ESRCH
			: process_signal(task->process, effective_signal(task->process, (int)request->signal),
					 &e);
	if (r == 0 || r == -ESRCH)
		rpc_respond_empty(call);
	else
		ttrpc_call_fail(call, &e);
}

/* --- the rest --- */

static void wait_process(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__WaitProcessRequest *request = data;
	struct task *task = rpc_find_process(sandbox, call, request->container_id, request->exec_id);
	if (task)
		task_wait(task, call);
}

static void tty_win_resize(struct sandbox *sandbox, struct ttrpc_call *call, const void *data)
{
	const Grpc__TtyWinResizeRequest *request = data;
	struct error e = ERROR_INIT;
	struct task *task = rpc_find_process(sandbox, call, request->container_id, request->exec_id);
	if (!task)
		return;
	if (!task->process || !task->process->terminal) {
		ttrpc_call_fail_text(call, STATUS_UNAVAILABLE, "no tty");
		return;
	}
	if (process_resize(task->process, request->row & 0xffff, request->column & 0xffff, &e) < 0) {
		error_prefix(&e, "ioctl error");
		ttrpc_call_fail(call, &e);
		return;
	}
	rpc_respond_empty(call);
}

static const struct rpc_method methods[] = {
	{"ExecProcess", &grpc__exec_process_request__descriptor, exec_process},
	{"SignalProcess", &grpc__signal_process_request__descriptor, signal_process},
	{"TtyWinResize", &grpc__tty_win_resize_request__descriptor, tty_win_resize},
	{"WaitProcess", &grpc__wait_process_request__descriptor, wait_process},
};

const struct rpc_group rpc_process_group = {"grpc.AgentService", methods, array_length(methods)};
