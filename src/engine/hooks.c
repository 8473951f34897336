/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running hooks. hooks_run_blocking() is the whole of it: for each hook a fork, a poll loop that feeds the state and
 * collects the output until the program ends, and a judgement. The asynchronous form is the same call inside a job.
 *
 * The end of a hook is the end of its process, not of its output: a daemon that it leaves behind may keep the pipes open.
 */
#include "engine/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/job.h"
#include "base/log.h"
#include "base/str.h"

enum {
	OUTPUT_MAX = 16 << 10, /* kept of each stream; the rest is read and dropped */
	TAIL_MAX = 512,	       /* of stderr, in the error */
	BLIND_WAIT_MS = 10,    /* between looks at a process that cannot be polled */
};

struct running {
	pid_t pid;
	int pidfd;  /* -1: the kernel or a filter does not give one */
	int in;	    /* write end of its stdin, -1 when all was written */
	int out[2]; /* read ends of its stdout and stderr, -1 after their end */
	struct buf output[2];
	const char *state;
	size_t state_left;
};

/* --- the program -------------------------------------------------------------------------------------------- */

static void run_child(const Grpc__Hook *hook, const struct hooks_params *params, int in, int out, int err,
		      int failure)
{
	char *const empty[] = {NULL}, *path_only[] = {hook->path, NULL};
	char *const *environment = params->environment ? params->environment : empty;
	const char *cwd = params->cwd;
	/* The decoder's arrays have no NULL at their end. */
	char **argv = calloc(hook->n_args + 1, sizeof(char *)),
	     **envp = calloc(hook->n_env + 1, sizeof(char *));

	loop_child_reset();
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argv && envp && dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(err, 2) == 2 &&
	    (!cwd || chdir(cwd) == 0)) {
		for (size_t i = 0; i < hook->n_args; i++)
			argv[i] = hook->args[i];
		for (size_t i = 0; i < hook->n_env; i++)
			envp[i] = hook->env[i];
		(void)syscall(SYS_close_range, 3U, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */);
		execve(hook->path, hook->n_args ? argv : path_only, hook->n_env ? envp : environment);
	}
	int errnum = errno;
	(void)!write(failure, &errnum, sizeof(errnum));
	_exit(127);
}

/* Pipe ends that are neither of the three standard descriptors, so that dup2() in the child cannot destroy one. */
static int high_pipe(int ends[2])
{
	int low[2];

	if (pipe2(low, O_CLOEXEC) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 3);
		if (ends[i] < 0) {
			int r = -errno;
			if (i == 1)
				ends[0] = fd_close(ends[0]);
			fd_close(low[0]);
			fd_close(low[1]);
			return r;
		}
	}
	fd_close(low[0]);
	fd_close(low[1]);
	return 0;
}

static void close_pairs(int pairs[4][2])
{
	for (int i = 0; i < 4; i++) {
		pairs[i][0] = fd_close(pairs[i][0]);
		pairs[i][1] = fd_close(pairs[i][1]);
	}
}

/* 0, or the negative errno with which the program could not be started. */
static int start(struct running *run, const Grpc__Hook *hook, const struct hooks_params *params)
{
	enum { IN, OUT, ERR, FAILURE };
	int pairs[4][2] = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}}, r = 0, errnum;

	for (int i = 0; r == 0 && i < 4; i++)
		r = high_pipe(pairs[i]);
	pid_t pid = r < 0 ? -1 : fork();
	if (pid < 0) {
		r = r < 0 ? r : -errno;
		close_pairs(pairs);
		return r;
	}
	if (pid == 0)
		run_child(hook, params, pairs[IN][0], pairs[OUT][1], pairs[ERR][1], pairs[FAILURE][1]);
	pairs[FAILURE][1] = fd_close(pairs[FAILURE][1]);
	if (fd_read_all(pairs[FAILURE][0], &errnum, sizeof(errnum)) == sizeof(errnum)) {
		close_pairs(pairs);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return -errnum;
	}
	run->pid = pid;
	run->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	run->in = fd_steal(&pairs[IN][1]);
	run->out[0] = fd_steal(&pairs[OUT][0]);
	run->out[1] = fd_steal(&pairs[ERR][0]);
	close_pairs(pairs);
	(void)fd_nonblock(run->in, true);
	(void)fd_nonblock(run->out[0], true);
	(void)fd_nonblock(run->out[1], true);
	return 0;
}

/* --- until its end ------------------------------------------------------------------------------------------ */

static void feed(struct running *run)
{
	ssize_t n = run->state_left ? write(run->in, run->state, run->state_left) : 0;

	if (n > 0) {
		run->state += n;
		run->state_left -= (size_t)n;
	}
	/* EPIPE: it does not want to know. */
	if (run->state_left == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		run->in = fd_close(run->in);
}

/* Reads what is there now. */
static void collect(struct running *run, int which)
{
	char chunk[4096];

	while (run->out[which] >= 0) {
		ssize_t n = read(run->out[which], chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			run->out[which] = fd_close(run->out[which]);
			return;
		}
		/* The end tells more than the beginning. */
		struct buf *buf = &run->output[which];
		(void)buf_append(buf, chunk, (size_t)n);
		if (buf->length > OUTPUT_MAX)
			buf_consume(buf, buf->length - OUTPUT_MAX);
	}
}

/* Has it ended? @status is its wait status then. */
static bool reap(struct running *run, int *status)
{
	pid_t pid;

	do
		pid = waitpid(run->pid, status, WNOHANG);
	while (pid < 0 && errno == EINTR);
	return pid != 0;
}

static int poll_timeout(const struct running *run, uint64_t deadline)
{
	uint64_t now = loop_now(), left = UINT64_MAX;

	if (deadline)
		left = deadline > now ? deadline - now : 0;
	if (run->pidfd < 0 && left > BLIND_WAIT_MS)
		left = BLIND_WAIT_MS;
	if (left == UINT64_MAX)
		return -1;
	return left > 3600000 ? 3600000 : (int)left;
}

/* @deadline on loop_now()'s clock, 0: none. 0 with @status set, or -ETIMEDOUT after it was killed. */
static int supervise(struct running *run, uint64_t deadline, int *status)
{
	*status = 0;
	for (;;) {
		struct pollfd fds[] = {
			{.fd = run->in, .events = POLLOUT},
			{.fd = run->out[0], .events = POLLIN},
			{.fd = run->out[1], .events = POLLIN},
			{.fd = run->pidfd, .events = POLLIN},
		};
		(void)poll(fds, array_length(fds), poll_timeout(run, deadline));
		if (run->in >= 0 && fds[0].revents)
			feed(run);
		collect(run, 0);
		collect(run, 1);
		if (reap(run, status)) {
			collect(run, 0);
			collect(run, 1);
			return 0;
		}
		if (deadline && loop_now() >= deadline) {
			(void)kill(-run->pid, SIGKILL);
			(void)kill(run->pid, SIGKILL);
			while (waitpid(run->pid, status, 0) < 0 && errno == EINTR)
				;
			return -ETIMEDOUT;
		}
	}
}

/* --- judgement ---------------------------------------------------------------------------------------------- */

/* The last bytes of @buf, on one line. */
static void tail_of(struct buf *buf, char *out, size_t size)
{
	if (buf->length > TAIL_MAX)
		buf_consume(buf, buf->length - TAIL_MAX);
	size_t length = utf8_sanitize(buf_begin(buf), buf->length, out, size);
	while (length && (out[length - 1] == '\n' || out[length - 1] == ' '))
		out[--length] = '\0';
	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)out[i] < 0x20)
			out[i] = ' ';
	}
}

static void log_output(const struct hooks_params *params, const Grpc__Hook *hook, struct buf *buf,
		       const char *stream)
{
	if (buf->length && log_enabled(LOG_INFO))
		log_info("hook", "output of a hook", "kind", params->kind, "path", hook->path, "stream",
			 stream, "text", str_or_empty(buf_string(buf)));
}

static int judge(const struct hooks_params *params, size_t i, struct running *run, int r, int status,
		 struct error *e)
{
	const char *path = params->hooks[i]->path;
	char tail[3 * TAIL_MAX + 1];

	if (r == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	tail_of(&run->output[1], tail, sizeof(tail));
	const char *comma = *tail ? ", stderr: " : "";
	if (r == -ETIMEDOUT)
		return error_set(e, STATUS_DEADLINE_EXCEEDED, ETIMEDOUT,
				 "error running %s hook #%zu: %s: killed at its timeout%s%s", params->kind, i,
				 path, comma, tail);
	if (WIFSIGNALED(status))
		return error_set(e, STATUS_INTERNAL, EIO,
				 "error running %s hook #%zu: %s: killed by signal %d%s%s%s", params->kind, i,
				 path, WTERMSIG(status),
				 WTERMSIG(status) == SIGSYS ? " (bad system call)" : "", comma, tail);
	return error_set(e, STATUS_INTERNAL, EIO, "error running %s hook #%zu: %s: exit status %d%s%s",
			 params->kind, i, path, WEXITSTATUS(status), comma, tail);
}

static int run_one(const struct hooks_params *params, size_t i, struct error *e)
{
	const Grpc__Hook *hook = params->hooks[i];
	struct running run = {.pidfd = -1, .in = -1, .out = {-1, -1}, .state = str_or_empty(params->state)};
	uint64_t timeout_ms = params->default_timeout_ms;
	int status = 0;

	if (hook->has_timeout && hook->timeout > 0 &&
	    __builtin_mul_overflow((uint64_t)hook->timeout, 1000, &timeout_ms))
		timeout_ms = 0;
	run.state_left = strlen(run.state);
	int r = start(&run, hook, params);
	if (r < 0)
		return error_errno(e, -r, "error running %s hook #%zu: %s: cannot be executed", params->kind,
				   i, str_or_empty(hook->path));
	r = supervise(&run, timeout_ms ? loop_now() + timeout_ms : 0, &status);
	log_output(params, hook, &run.output[0], "stdout");
	log_output(params, hook, &run.output[1], "stderr");
	r = judge(params, i, &run, r, status, e);
	fd_close(run.pidfd);
	fd_close(run.in);
	fd_close(run.out[0]);
	fd_close(run.out[1]);
	buf_deinit(&run.output[0]);
	buf_deinit(&run.output[1]);
	return r;
}

int hooks_run_blocking(const struct hooks_params *params, struct error *e)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
	int r = 0;

	if (!params->count)
		return 0;
	/* A hook that closes its stdin must not kill us. */
	(void)sigaction(SIGPIPE, &ignore, &before);
	for (size_t i = 0; r == 0 && i < params->count; i++) {
		struct error own = ERROR_INIT;
		r = run_one(params, i, &own);
		if (r < 0 && params->keep_going) {
			log_warning("hook", "a hook failed", "kind", params->kind, "error", own.text);
			r = 0;
		} else if (r < 0 && e) {
			*e = own;
		}
	}
	(void)sigaction(SIGPIPE, &before, NULL);
	return r;
}

/* --- as a job ----------------------------------------------------------------------------------------------- */

struct hook_run {
	struct job *job; /* NULL for an empty list */
	struct loop_defer defer;
	hooks_done done;
	void *data;
};

static int run_in_job(struct buf *result, void *argument, struct error *e)
{
	return hooks_run_blocking(argument, e);
}

static void finish(struct hook_run *run, int r, const struct error *e)
{
	hooks_done done = run->done;
	void *data = run->data;

	free(run);
	done(r, e, data);
}

static void on_job(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	finish(data, r, e);
}

static void on_nothing(struct loop_defer *defer)
{
	struct error e = ERROR_INIT;
	finish(container_of(defer, struct hook_run, defer), 0, &e);
}

struct hook_run *hooks_start(struct loop *loop, const struct hooks_params *params, hooks_done done,
			     void *data, struct error *e)
{
	/* The whole list has no deadline of its own: its hooks have theirs. The group is killed with all of them. */
	const struct job_options options = {.name = "hooks", .new_group = true};
	struct hook_run *run = calloc(1, sizeof(*run));

	if (!run) {
		error_errno(e, ENOMEM, "run %s hooks", params->kind);
		return NULL;
	}
	run->done = done;
	run->data = data;
	if (!params->count) {
		loop_defer_add(loop, &run->defer, on_nothing);
		return run;
	}
	run->job = job_start(loop, &options, run_in_job, (void *)params, on_job, run, e);
	if (!run->job) {
		free(run);
		return NULL;
	}
	return run;
}

void hooks_cancel(struct hook_run *run)
{
	if (!run)
		return;
	loop_defer_remove(&run->defer);
	job_cancel(run->job);
	free(run);
}
