/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A finished process that was read to its end keeps no descriptor and no engine object: only its id and its code. That
 * is looked at whenever a process of the container ends or a new one comes, so there is no timer for it.
 */

#include "agent/task.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/entry.h"
#include "agent/parked.h"
#include "agent/rpc.h"
#include "agent/sandbox.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

struct task *task_new(struct entry *entry, const char *exec_id)
{
	struct task *task = calloc(1, sizeof(*task));
	char *id = strdup(exec_id);
	if (!task || !id) {
		free(task);
		free(id);
		return NULL;
	}
	task->entry = entry;
	task->exec_id = id;
	for (int i = 0; i < 3; i++)
		task->passed[i] = -1;
	list_init(&task->waits);
	list_append(&entry->tasks, &task->link);
	return task;
}

static void close_streams(struct task *task)
{
	/* First: it stands on the others. */
	relay_free(task->relay);
	task->relay = NULL;
	stream_free(task->output);
	stream_free(task->error_output);
	input_free(task->input);
	task->output = task->error_output = NULL;
	task->input = NULL;
}

void task_free(struct task *task)
{
	if (!task)
		return;
	struct error e = ERROR_INIT;
	error_set(&e, STATUS_NOT_FOUND, ESRCH, "process not found: container %s was removed",
		  task->entry->id);
	parked_fail_all(&task->waits, &e);
	if (task->process)
		task->process->on_exit = NULL;
	loop_timer_remove(&task->patience);
	for (int i = 0; i < 3; i++)
		fd_close(task->passed[i]);
	close_streams(task);
	list_remove(&task->link);
	free(task->exec_id);
	free(task);
}

void task_forget(struct task *task)
{
	struct process *process = task->process;
	task_free(task);
	if (process)
		process_free(process);
}

struct task *task_find_any(struct entry *entry, const char *exec_id)
{
	struct task *task;
	if (str_is_empty(exec_id) || strcmp(exec_id, entry->id) == 0)
		exec_id = "";
	list_for_each_entry (task, &entry->tasks, link)
		if (strcmp(task->exec_id, exec_id) == 0)
			return task;
	return NULL;
}

struct task *task_find(struct entry *entry, const char *exec_id)
{
	struct task *task = task_find_any(entry, exec_id);
	return task && task->ready ? task : NULL;
}

static void answer_code(struct task *task, struct ttrpc_call *call)
{
	Grpc__WaitProcessResponse answer = GRPC__WAIT_PROCESS_RESPONSE__INIT;
	answer.status = task->exit_code;
	task->collected = true;
	rpc_respond(call, &answer);
}

void task_wait(struct task *task, struct ttrpc_call *call)
{
	if (task->told)
		answer_code(task, call);
	else
		parked_add(&task->waits, call);
}

static bool is_drained(const struct task *task)
{
	return (!task->relay || relay_drained(task->relay)) &&
	       (!task->output || stream_drained(task->output)) &&
	       (!task->error_output || stream_drained(task->error_output));
}

/* What a finished process does not need any more. */
static void slim(struct task *task)
{
	if (!task->told || !is_drained(task))
		return;
	close_streams(task);
	if (task->process && !task->process->init) {
		task->process->on_exit = NULL;
		process_free(task->process);
		task->process = NULL;
	}
}

static bool is_finished(const struct task *task, bool collected)
{
	return task->told && task->exec_id[0] && task->collected == collected;
}

static void prune_kind(struct entry *entry, bool collected, size_t keep)
{
	struct task *task, *tmp;
	size_t count = 0;
	list_for_each_entry (task, &entry->tasks, link)
		count += is_finished(task, collected);
	list_for_each_entry_safe (task, tmp, &entry->tasks, link) {
		if (count <= keep)
			return;
		if (!is_finished(task, collected))
			continue;
		task_forget(task);
		count--;
	}
}

void task_prune(struct entry *entry)
{
	struct task *task, *tmp;
	list_for_each_entry_safe (task, tmp, &entry->tasks, link) {
		if (task->abandoned && task->exited)
			task_forget(task);
		else
			slim(task);
	}
	prune_kind(entry, true, TASKS_KEPT);
	prune_kind(entry, false, TASKS_UNCLAIMED);
}

static void tell_code(struct task *task)
{
	struct ttrpc_call *call;
	task->told = true;
	loop_timer_remove(&task->patience);
	while ((call = parked_take(&task->waits)))
		answer_code(task, call);
}

static void relay_ended(void *data)
{
	struct task *task = data;
	if (!task->exited)
		return;
	tell_code(task);
	entry_prune(task->entry);
}

static void patience_over(struct loop_timer *timer)
{
	struct task *task = list_entry(timer, struct task, patience);
	if (relay_carried(task->relay) == task->carried) {
		log_warning("process", "the host does not take what the process wrote", "container-id",
			    task->entry->id, "exec-id", task->exec_id[0] ? task->exec_id : NULL);
		tell_code(task);
		return;
	}
	task->carried = relay_carried(task->relay);
	loop_timer_set(task->entry->sandbox->loop, timer, RELAY_PATIENCE_MS, patience_over);
}

static void tell_end(struct task *task)
{
	if (task->output)
		stream_exited(task->output);
	if (task->error_output)
		stream_exited(task->error_output);
	if (task->input)
		input_exited(task->input);
	if (task->relay && !relay_drained(task->relay) &&
	    loop_timer_set(task->entry->sandbox->loop, &task->patience, RELAY_PATIENCE_MS, patience_over) ==
		    0)
		task->carried = relay_carried(task->relay);
	else
		tell_code(task);
}

static void process_exited(struct process *process, void *data)
{
	struct task *task = data;
	task->exited = true;
	task->exit_code = process->exit_code;
	log_info("process", "process exited", "container-id", task->entry->id, "exec-id",
		 task->exec_id[0] ? task->exec_id : NULL, "code", LOG_NUMBER(task->exit_code));
	/* A kill for memory comes before the exit that it caused. */
	if (process->init && task->entry->oom)
		cgroup_oom_check(task->entry->oom);
	if (task->ready)
		tell_end(task);
	/* Later: the engine is still busy with this process. */
	entry_prune(task->entry);
	if (process->init)
		entry_settle(task->entry);
}

void task_bind(struct task *task, struct process *process)
{
	task->process = process;
	process->on_exit = process_exited;
	process->on_exit_data = task;
	if (process->exited)
		process_exited(process, task);
}

void task_pass(struct task *task, const int fds[3])
{
	for (int i = 0; i < 3; i++)
		task->passed[i] = fds[i];
}

/* 0 or -ENOMEM. */
static int open_relay(struct task *task)
{
	const struct relay_ends ends = {.input = task->input, .outputs = {task->output, task->error_output}};
	const void *const ours[3] = {task->input, task->output, task->error_output};
	bool any = false;
	int fds[3];
	for (int i = 0; i < 3; i++) {
		/* A terminal has no stderr: its connection, too, is closed. */
		if (!ours[i])
			task->passed[i] = fd_close(task->passed[i]);
		fds[i] = fd_steal(&task->passed[i]);
		any |= task->through[i] = fds[i] >= 0;
	}
	if (any)
		task->relay = relay_new(task->entry->sandbox->loop, fds, &ends, relay_ended, task);
	return any && !task->relay ? -ENOMEM : 0;
}

int task_open(struct task *task)
{
	struct process *p = task->process;
	struct loop *loop = task->entry->sandbox->loop;
	bool missing = false;
	if (p->terminal) {
		task->output = stream_new(loop, p->master, true);
		task->input = input_new(loop, p->master, true);
		missing = !task->output || !task->input;
	} else {
		if (p->stdin_fd >= 0)
			missing |= !(task->input = input_new(loop, fd_steal(&p->stdin_fd), false));
		if (p->stdout_fd >= 0)
			missing |= !(task->output = stream_new(loop, fd_steal(&p->stdout_fd), false));
		if (p->stderr_fd >= 0)
			missing |= !(task->error_output = stream_new(loop, fd_steal(&p->stderr_fd), false));
	}
	if (missing || open_relay(task) < 0) {
		close_streams(task);
		return -ENOMEM;
	}
	task->ready = true;
	if (task->exited)
		tell_end(task);
	return 0;
}
