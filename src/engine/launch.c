/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Running the table, talking to the child, and the steps that create and exec have in common.
 *
 * The child is killed by its pidfd, and a failure is told only after it has been reaped, so that nothing of it is
 * left when the caller goes on. When it dies by itself, the reason (an ERROR message that it sent before) is read from the
 * socket before the death is.
 */

#include "engine/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

enum { DEATH_MS = 10000, HELD_MS = 500 };

/* --- the table ---------------------------------------------------------------------------------------------- */

static void finish(struct launch *launch)
{
	struct process *process = launch->process;

	loop_fd_remove(&launch->source);
	loop_timer_remove(&launch->deadline);
	loop_defer_remove(&launch->defer);
	loop_child_remove(&launch->middle);
	loop_child_remove(&launch->helper);
	list_remove(&launch->link);
	launch->child_end = fd_close(launch->child_end);
	launch_close_stdio(launch, NULL);
	process->launch = NULL;
	launch->finished(launch, launch->r, launch->r < 0 ? &launch->error : NULL);
	launch->socket = fd_close(launch->socket);
	if (process->exited && launch->r >= 0)
		process_tell_exit(process);
	free(launch);
}

static void undo(struct launch *launch)
{
	while (launch->index-- > 0) {
		const struct launch_step *step = &launch->steps[launch->index];
		struct error e = ERROR_INIT;
		int r = step->undo ? step->undo(launch, &e) : 0;

		if (r == LAUNCH_WAIT) {
			launch->waiting = true;
			return;
		}
		if (r < 0)
			log_warning("engine", "undo failed", "container-id", launch->container->id, "step",
				    step->name, "error", e.text);
	}
	finish(launch);
}

static void start_undo(struct launch *launch)
{
	if (launch->undoing)
		return;
	launch->undoing = true;
	launch->waiting = false;
	launch->index = launch->index < launch->count ? launch->index + 1 : launch->count;
	undo(launch);
}

static void run(struct launch *launch)
{
	while (launch->index < launch->count) {
		int r = launch->steps[launch->index].run(launch, &launch->error);

		if (r == LAUNCH_WAIT) {
			launch->waiting = true;
			return;
		}
		if (r < 0) {
			launch->r = r;
			if (launch->error.code == STATUS_OK)
				error_errno(&launch->error, -r, "%s", launch->steps[launch->index].name);
			start_undo(launch);
			return;
		}
		launch->index++;
	}
	finish(launch);
}

void launch_continue(struct launch *launch)
{
	if (!launch->waiting)
		return;
	launch->waiting = false;
	if (launch->undoing) {
		undo(launch);
		return;
	}
	launch->index++;
	run(launch);
}

void launch_fail(struct launch *launch, const struct error *e)
{
	if (launch->undoing)
		return;
	job_cancel(steal_pointer(launch->job));
	hooks_cancel(steal_pointer(launch->hooks));
	launch->error = *e;
	launch->r = error_result(e);
	start_undo(launch);
}

static void on_begin(struct loop_defer *defer)
{
	run(container_of(defer, struct launch, defer));
}

void launch_begin(struct launch *launch, const struct launch_step *steps, size_t count)
{
	launch->steps = steps;
	launch->count = count;
	loop_defer_add(launch->container->engine->loop, &launch->defer, on_begin);
}

/* --- jobs --------------------------------------------------------------------------------------------------- */

static void on_job(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct launch *launch = data;

	launch->job = NULL;
	if (r < 0 && !launch->undoing)
		launch_fail(launch, e);
	else if (r < 0)
		log_warning("engine", "undo failed", "container-id", launch->container->id, "error", e->text);
	if (r >= 0 || launch->undoing)
		launch_continue(launch);
}

int launch_job(struct launch *launch, const char *name, job_fn fn, struct error *e)
{
	const struct engine *engine = launch->container->engine;
	const int keep[] = {engine->proc, namespaces_fd(&launch->plan.namespaces, CLONE_NEWNET)};
	const struct job_options options = {.name = name,
					    .deadline_ms = CREATE_TIMEOUT_MS,
					    .keep_fds = keep,
					    .n_keep_fds = array_length(keep)};

	launch->job = job_start(engine->loop, &options, fn, launch, on_job, launch, e);
	return launch->job ? LAUNCH_WAIT : error_result(e);
}

/* --- talking to the child ----------------------------------------------------------------------------------- */

static void describe_death(struct launch *launch, struct error *e)
{
	const struct process *process = launch->process;

	if (process->exited && process->exit_code > 128)
		error_set(e, STATUS_INTERNAL, ECHILD,
			  "the process was ended by signal %d before it was ready", process->exit_code - 128);
	else
		error_set(e, STATUS_INTERNAL, ECHILD, "the process ended before it was ready");
}

static void on_end(struct launch *launch)
{
	launch->ended = true;
	loop_fd_remove(&launch->source);
	if (launch->undoing)
		return;
	if (launch->waiting && launch->expected == 0 && !launch->job && !launch->hooks) {
		launch_continue(launch);
		return;
	}
	/* Dead or dying; its status says more, and comes at once. */
	if (launch->process->exited || launch->process->pid == 0) {
		struct error e = ERROR_INIT;
		describe_death(launch, &e);
		launch_fail(launch, &e);
	}
}

static int on_pid(struct launch *launch, struct handshake_message *message, struct error *e)
{
	if (message->fd < 0 || message->value <= 0 || launch->process->pid)
		return error_set(e, STATUS_INTERNAL, EPROTO, "no pid from the middle process");
	int r = process_watch(launch->process, message->value, message->fd);
	return r < 0 ? error_errno(e, -r, "watch the process") : 0;
}

static int on_terminal(struct launch *launch, struct handshake_message *message, struct error *e)
{
	if (message->fd < 0 || launch->process->master >= 0)
		return error_set(e, STATUS_INTERNAL, EPROTO, "no terminal from the process");
	launch->process->master = message->fd;
	int r = fd_nonblock(message->fd, true);
	return r < 0 ? error_errno(e, -r, "terminal") : 0;
}

static int on_message(struct launch *launch, struct handshake_message *message, struct error *e)
{
	if (message->type == HANDSHAKE_ERROR) {
		*e = message->error;
		return error_result(e);
	}
	if (message->type == HANDSHAKE_PID) {
		int r = on_pid(launch, message, e);
		if (r < 0)
			return r;
	} else if (message->type == HANDSHAKE_TERMINAL) {
		return on_terminal(launch, message, e);
	}
	if ((int)message->type != launch->expected || !launch->waiting)
		return error_set(e, STATUS_INTERNAL, EPROTO, "unexpected message %d", (int)message->type);
	launch_continue(launch);
	return 0;
}

static void on_readable(struct loop_fd *source, uint32_t events)
{
	struct launch *launch = container_of(source, struct launch, source);
	struct handshake_message message = {.fd = -1};
	struct error e = ERROR_INIT;
	int r = handshake_receive(launch->socket, &message);

	if (r == -EAGAIN)
		return;
	if (r == 0) {
		on_end(launch);
		return;
	}
	/* This may have ended the launch already, when it returns 0. */
	r = r < 0 ? error_errno(&e, -r, "talk to the process") : on_message(launch, &message, &e);
	if (r < 0)
		launch_fail(launch, &e);
}

int launch_await(struct launch *launch, int type)
{
	launch->expected = type;
	return LAUNCH_WAIT;
}

/* The undo of the clone goes on when nobody is left of it; in that of another step a death changes nothing. */
static void on_death_in_undo(struct launch *launch)
{
	if (launch->middle_pid || launch->process->pid || launch->job)
		return;
	loop_timer_remove(&launch->deadline);
	launch_continue(launch);
}

void launch_on_exit(struct launch *launch)
{
	struct error e = ERROR_INIT;

	if (launch->undoing) {
		on_death_in_undo(launch);
		return;
	}
	/* What it said last comes first. Each message may end the launch, and is the only one of its step. */
	while (launch->socket >= 0 && !launch->ended) {
		struct process *process = launch->process;
		struct handshake_message message = {.fd = -1};
		int r = handshake_receive(launch->socket, &message);

		if (r == -EAGAIN)
			break;
		if (r == 0) {
			on_end(launch);
			return;
		}
		r = r < 0 ? error_errno(&e, -r, "talk to the process") : on_message(launch, &message, &e);
		if (r < 0) {
			launch_fail(launch, &e);
			return;
		}
		if (process->launch != launch)
			return;
	}
	describe_death(launch, &e);
	launch_fail(launch, &e);
}

/* --- stdio -------------------------------------------------------------------------------------------------- */

static int open_pipe(struct launch *launch, int index, int *ours, struct error *e)
{
	int pair[2];
	bool input = index == 0;
	size_t size = launch->container->engine->options.pipe_size;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return error_errno(e, errno, "pipe");
	launch->child_stdio[index] = pair[input ? 0 : 1];
	*ours = pair[input ? 1 : 0];
	/* A new pipe has no flags that would have to be kept. */
	int r = fcntl(*ours, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
	if (r == 0 && size && !input && fcntl(*ours, F_SETPIPE_SZ, (int)size) < 0)
		r = -errno;
	return r < 0 ? error_errno(e, -r, "pipe of %zu bytes", size) : 0;
}

int launch_open_stdio(struct launch *launch, struct error *e)
{
	struct process *process = launch->process;
	int *ours[3] = {&process->stdin_fd, &process->stdout_fd, &process->stderr_fd};

	for (int i = 0; i < 3; i++)
		launch->plan.stdio[i] = -1;
	launch->plan.console_socket = -1;
	if (process->terminal) {
		launch->plan.console_socket = launch->stdio.console_socket;
		launch->plan.plain_newlines = launch->stdio.plain_newlines;
		return 0;
	}
	for (int i = 0; i < 3; i++) {
		int r = launch->stdio.kind == STDIO_PIPES ? open_pipe(launch, i, ours[i], e) : 0;
		if (r < 0)
			return r;
		launch->plan.stdio[i] =
			launch->stdio.kind == STDIO_PIPES ? launch->child_stdio[i] : launch->stdio.fds[i];
	}
	return 0;
}

/* The child's ends, in us. Ours go with the process. */
int launch_close_stdio(struct launch *launch, struct error *e)
{
	for (int i = 0; i < 3; i++)
		launch->child_stdio[i] = fd_close(launch->child_stdio[i]);
	return 0;
}

/* --- birth -------------------------------------------------------------------------------------------------- */

static void on_deadline(struct loop_timer *timer)
{
	struct launch *launch = container_of(timer, struct launch, deadline);
	struct error e = ERROR_INIT;

	error_set(&e, STATUS_DEADLINE_EXCEEDED, ETIMEDOUT, "the process was not ready in time");
	launch_fail(launch, &e);
}

/* Without it nobody of ours would be born where we are any more. It cannot fail but for want of memory. */
static void return_to_own_pid_namespace(const struct engine *engine)
{
	for (int tries = 0; setns(engine->own_pidns, CLONE_NEWPID) < 0; tries++) {
		if (tries == 1000) {
			log_write(LOG_CRITICAL, "engine", "cannot return to our pid namespace", NULL);
			abort();
		}
		usleep(10000);
	}
}

static int clone_plain(struct launch *launch, int *pidfd)
{
	const struct child_plan *plan = &launch->plan;
	bool direct = !plan->namespaces.middle;
	struct clone_args args = {
		.flags = CLONE_PIDFD,
		.exit_signal = SIGCHLD,
		.pidfd = (uint64_t)(uintptr_t)pidfd,
	};

	if (direct && plan->init)
		args.flags |= (uint64_t)plan->namespaces.at_clone;
	if (plan->cgroup >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)plan->cgroup;
	}
	long pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0 && plan->cgroup >= 0 &&
	    (errno == EBUSY || errno == EACCES || errno == EOPNOTSUPP || errno == E2BIG)) {
		args.flags &= ~(uint64_t)CLONE_INTO_CGROUP;
		args.cgroup = 0;
		launch->plan.in_cgroup_at_birth = false;
		pid = syscall(SYS_clone3, &args, sizeof(args));
	}
	if (pid == 0)
		child_main(plan);
	return pid < 0 ? -errno : (int)pid;
}

/* Around the clone our children's pid namespace is the one to be joined. */
static int clone_into_pid_namespace(struct launch *launch, int *pidfd, struct error *e)
{
	const struct child_plan *plan = &launch->plan;
	const struct engine *engine = launch->container->engine;
	int joined = plan->init ? namespaces_fd(&plan->namespaces, CLONE_NEWPID) : plan->init_pidfd;
	bool enter = !plan->namespaces.middle &&
		     ((plan->init ? plan->namespaces.joined : plan->join_flags) & CLONE_NEWPID);

	if (enter && setns(joined, CLONE_NEWPID) < 0)
		return error_errno(e, errno, "join pid namespace");
	int pid = clone_plain(launch, pidfd);
	if (enter)
		return_to_own_pid_namespace(engine);
	if (pid == -ENOMEM && enter)
		return error_set(e, STATUS_FAILED_PRECONDITION, ENOMEM,
				 "clone: the pid namespace's init has ended");
	return pid < 0 ? error_errno(e, -pid, "clone") : pid;
}

static void on_middle(struct loop_child *child, int status)
{
	struct launch *launch = container_of(child, struct launch, middle);
	struct error e = ERROR_INIT;
	struct handshake_message message = {.fd = -1};

	launch->middle_pid = 0;
	if (launch->undoing) {
		on_death_in_undo(launch);
		return;
	}
	if (status == 0 || launch->process->pid || launch->process->exited)
		return;
	if (handshake_receive(launch->socket, &message) == 1 && on_message(launch, &message, &e) == 0)
		return;
	if (e.code == STATUS_OK)
		error_set(&e, STATUS_INTERNAL, ECHILD, "the middle process failed, status %d",
			  loop_exit_code(status));
	launch_fail(launch, &e);
}

int launch_clone(struct launch *launch, struct error *e)
{
	struct loop *loop = launch->container->engine->loop;
	uint64_t timeout = launch->container->engine->options.create_timeout_ms;
	int pair[2], pidfd = -1;

	int r = handshake_pair(pair);
	if (r < 0)
		return error_errno(e, -r, "socket pair");
	launch->socket = pair[0];
	launch->child_end = launch->plan.socket = pair[1];
	r = loop_fd_add(loop, &launch->source, launch->socket, EPOLLIN, on_readable);
	if (r == 0)
		r = loop_timer_set(loop, &launch->deadline, timeout ? timeout : CREATE_TIMEOUT_MS,
				   on_deadline);
	if (r < 0)
		return error_errno(e, -r, "watch the process");
	launch->plan.in_cgroup_at_birth = launch->plan.cgroup >= 0;
	int pid = clone_into_pid_namespace(launch, &pidfd, e);
	launch->child_end = fd_close(launch->child_end);
	launch_close_stdio(launch, NULL);
	if (pid < 0)
		return pid;
	if (launch->plan.namespaces.middle) {
		fd_close(pidfd);
		launch->middle_pid = pid;
		r = loop_child_add(loop, &launch->middle, pid, on_middle);
		return r < 0 ? error_errno(e, -r, "watch the process") : launch_await(launch, HANDSHAKE_PID);
	}
	r = process_watch(launch->process, pid, pidfd);
	return r < 0 ? error_errno(e, -r, "watch the process") : 0;
}

/* What does not die (it hangs in the kernel, on a file system that does not answer) is left to the loop's reaper. */
static void on_immortal(struct loop_timer *timer)
{
	struct launch *launch = container_of(timer, struct launch, deadline);
	struct process *process = launch->process;

	log_warning("engine", "a process does not die and is left behind", "container-id",
		    launch->container->id, "pid",
		    LOG_NUMBER(process->pid ? process->pid : launch->middle_pid));
	loop_child_remove(&launch->middle);
	loop_child_remove(&process->child);
	launch->middle_pid = process->pid = 0;
	process->pidfd = fd_close(process->pidfd);
	process->exited = true;
	process->exit_code = 128 + SIGKILL;
	launch_continue(launch);
}

int launch_undo_clone(struct launch *launch, struct error *e)
{
	loop_timer_remove(&launch->deadline);
	loop_fd_remove(&launch->source);
	if (launch->middle_pid)
		(void)kill(launch->middle_pid, SIGKILL);
	if (launch->process->pid)
		(void)process_signal(launch->process, SIGKILL, NULL);
	/* Our end goes: who waits for us ends, also a child that the middle process made and could not tell of. */
	launch->socket = fd_close(launch->socket);
	if (!launch->middle_pid && !launch->process->pid)
		return 0;
	/* Frozen by somebody else it has its end when that is over. */
	struct cgroup *cgroup = launch->container->cgroup;
	int held = cgroup && launch->process->pid ? cgroup_let_die(cgroup, launch->process->pid, e) : 0;
	(void)loop_timer_set(launch->container->engine->loop, &launch->deadline,
			     held < 0 ? HELD_MS : DEATH_MS, on_immortal);
	return LAUNCH_WAIT;
}

int launch_go(struct launch *launch, struct error *e)
{
	int r = handshake_send(launch->socket, HANDSHAKE_GO, 0, -1);

	/* A child that has died has left its reason in the socket, which is read next. */
	return r < 0 && r != -EPIPE ? error_errno(e, -r, "talk to the process") : 0;
}
