/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A forked child that does blocking work, and the parent's end of it.
 *
 * The child answers in one frame through a pipe: header, text of the error, result. The parent reads it without
 * blocking. The owner is called when the frame is whole and the child is gone, so that nothing of the child (mounts
 * that it looked into, descriptors) is in the owner's way then. A child that has answered but does not end within
 * LINGER_MS is not waited for. A child that ends without a whole frame has crashed.
 *
 * The parent never waits: past the deadline the child gets SIGKILL, and the owner is called whether it dies or not. The
 * frame is treated as untrusted, because what the child worked on was.
 *
 * Every child is counted until it was reaped, so that whoever decides how much is begun at once knows of those, too, that
 * hang in the kernel and whose owners have given up. The list of them is the process's: so are its children.
 */

#include "base/job.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/str.h"

enum {
	RESULT_DEFAULT = 64 * 1024,
	LINGER_MS = 1000,
	KEEP_MAX = 60,
};

struct frame_header {
	int32_t r;
	uint32_t code;
	int32_t errnum;
	uint32_t text_length;
	uint64_t result_length;
};

struct job {
	struct list link; /* of all */
	struct loop *loop;
	const char *name;
	pid_t pid;
	int fd; /* read end of the pipe */
	bool exited;
	bool new_group;
	bool finishing; /* the owner is being called */
	bool forgotten; /* only its child's end is waited for */
	int status;
	size_t max_result;
	struct buf frame;
	struct loop_fd source;
	struct loop_child child;
	struct loop_timer timer;
	job_done_fn done;
	void *data;
};

/* --- in the child --- */

static void child_answer(int fd, int r, const struct error *e, const struct buf *result)
{
	struct frame_header header = {
		.r = r,
		.code = e->code,
		.errnum = e->errnum,
		.text_length = (uint32_t)strnlen(e->text, sizeof(e->text) - 1),
		.result_length = result->length,
	};

	if (fd_write_all(fd, &header, sizeof(header)) < 0 ||
	    fd_write_all(fd, e->text, header.text_length) < 0)
		return;
	(void)fd_write_all(fd, buf_begin(result), result->length);
}

static int child_work(size_t max_result, job_fn fn, void *argument, struct buf *result, struct error *e)
{
	int r = fn(result, argument, e);

	if (r >= 0 && result->failed)
		r = error_errno(e, ENOMEM, "collect the result");
	if (r >= 0 && result->length > max_result)
		r = error_errno(e, EMSGSIZE, "result of %zu bytes", result->length);
	if (r < 0)
		buf_clear(result);
	return r;
}

static _Noreturn void child_main(const struct job_options *options, size_t max_result, pid_t parent, int pipe,
				 job_fn fn, void *argument)
{
	int keep[KEEP_MAX + 2];
	size_t n = 0;
	struct error e = ERROR_INIT;
	struct buf result = BUF_INIT;

	loop_child_reset();
	/* The parent may have died before the request to die with it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	if (options->new_group)
		(void)setpgid(0, 0);
	for (; n < options->n_keep_fds; n++)
		keep[n] = options->keep_fds[n];
	keep[n++] = pipe;
	keep[n++] = log_get_fd();
	fd_close_all_but(keep, n);

	int r = child_work(max_result, fn, argument, &result, &e);
	child_answer(pipe, r, &e, &result);
	_exit(0);
}

/* --- in the parent --- */

static struct list all = LIST_INIT(all);
static void (*on_fewer)(void *data);
static void *on_fewer_data;

unsigned job_count(const struct loop *loop)
{
	const struct job *job;
	unsigned count = 0;

	list_for_each_entry (job, &all, link)
		count += job->loop == loop;
	return count;
}

void job_on_fewer(void (*fn)(void *data), void *data)
{
	on_fewer = fn;
	on_fewer_data = data;
}

static void job_free(struct job *job)
{
	list_remove(&job->link);
	loop_child_remove(&job->child);
	free(job);
	if (on_fewer)
		on_fewer(on_fewer_data);
}

/* The owner has done with it: all but the count of its child goes. */
static void job_forget(struct job *job)
{
	job->forgotten = true;
	loop_fd_remove(&job->source);
	loop_timer_remove(&job->timer);
	job->fd = fd_close(job->fd);
	buf_deinit(&job->frame);
	job->frame = BUF_INIT;
	if (job->exited || !job->child.loop)
		job_free(job);
}

static void job_kill(struct job *job)
{
	/* A pid is ours to kill only until it was reaped. */
	if (job->exited || job->pid <= 1)
		return;
	if (job->new_group)
		(void)kill(-job->pid, SIGKILL);
	(void)kill(job->pid, SIGKILL);
}

/* 1: whole, with @header filled; 0: not yet; -EBADMSG. */
static int frame_check(const struct job *job, struct frame_header *header)
{
	if (job->frame.length < sizeof(*header))
		return 0;
	memcpy(header, buf_begin(&job->frame), sizeof(*header));
	if (header->text_length >= ERROR_TEXT_MAX || header->result_length > job->max_result)
		return -EBADMSG;
	size_t whole = sizeof(*header) + header->text_length + (size_t)header->result_length;
	if (job->frame.length > whole)
		return -EBADMSG;
	return job->frame.length == whole;
}

/* Leaves the result alone in the frame. */
static int frame_take(struct job *job, const struct frame_header *header, struct error *e)
{
	buf_consume(&job->frame, sizeof(*header));
	e->code = header->code;
	e->errnum = header->errnum;
	(void)utf8_sanitize(buf_begin(&job->frame), header->text_length, e->text, sizeof(e->text));
	buf_consume(&job->frame, header->text_length);
	if (header->r < 0 && e->code == STATUS_OK)
		error_errno(e, -header->r, "%s", job->name);
	return header->r;
}

static int describe_end(const struct job *job, struct error *e)
{
	if (!job->exited)
		return error_set(e, STATUS_INTERNAL, EIO, "%s: broken answer", job->name);
	if (WIFSIGNALED(job->status))
		return error_set(e, STATUS_INTERNAL, EIO, "%s: ended by signal %d", job->name,
				 WTERMSIG(job->status));
	return error_set(e, STATUS_INTERNAL, EIO, "%s: ended without an answer, exit code %d", job->name,
			 WEXITSTATUS(job->status));
}

static void job_finish(struct job *job, int r, struct error *e)
{
	loop_fd_remove(&job->source);
	loop_timer_remove(&job->timer);
	job->finishing = true;
	job->done(job, r, &job->frame, e, job->data);
	job_forget(job);
}

/* Answers with the frame, which must be whole, or with the failure that is there instead. */
static void job_answer(struct job *job)
{
	struct frame_header header;
	struct error e = ERROR_INIT;
	int r;

	if (frame_check(job, &header) == 1) {
		r = frame_take(job, &header, &e);
	} else {
		buf_clear(&job->frame);
		job_kill(job);
		r = describe_end(job, &e);
	}
	job_finish(job, r, &e);
}

static void on_linger(struct loop_timer *timer)
{
	struct job *job = container_of(timer, struct job, timer);

	job_kill(job);
	job_answer(job);
}

static void on_deadline(struct loop_timer *timer)
{
	struct job *job = container_of(timer, struct job, timer);
	struct error e = ERROR_INIT;

	job_kill(job);
	buf_clear(&job->frame);
	int r = error_set(&e, STATUS_DEADLINE_EXCEEDED, ETIMEDOUT, "%s: timed out", job->name);
	job_finish(job, r, &e);
}

/* Reads what is there. True when no more will come. */
static bool job_read(struct job *job)
{
	size_t most = sizeof(struct frame_header) + ERROR_TEXT_MAX + job->max_result + 1;

	while (job->frame.length < most) {
		size_t room = most - job->frame.length;
		size_t step = room < 16384 ? room : 16384;
		uint8_t *to = buf_reserve(&job->frame, step);
		if (!to)
			return true;
		ssize_t n = read(job->fd, to, step);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno != EAGAIN;
		if (n == 0)
			return true;
		buf_commit(&job->frame, (size_t)n);
	}
	return true;
}

static void on_pipe(struct loop_fd *source, uint32_t events)
{
	struct job *job = container_of(source, struct job, source);
	struct frame_header header;
	bool ended = job_read(job);
	int whole = frame_check(job, &header);

	if (whole == 0 && !ended)
		return;
	loop_fd_remove(&job->source);
	if (whole < 0) {
		job_answer(job);
		return;
	}
	/* The child's end, which says the rest, is on its way. */
	if (loop_timer_set(job->loop, &job->timer, LINGER_MS, on_linger) < 0)
		job_answer(job);
}

static void on_exit_status(struct loop_child *child, int status)
{
	struct job *job = container_of(child, struct job, child);

	job->exited = true;
	job->status = status;
	if (job->forgotten) {
		job_free(job);
		return;
	}
	/* Its owner runs the loop. */
	if (job->finishing)
		return;
	(void)job_read(job);
	job_answer(job);
}

static int job_watch(struct job *job, uint64_t deadline_ms)
{
	int r = fd_nonblock(job->fd, true);

	if (r == 0)
		r = loop_child_add(job->loop, &job->child, job->pid, on_exit_status);
	if (r == 0)
		r = loop_fd_add(job->loop, &job->source, job->fd, EPOLLIN, on_pipe);
	if (r == 0 && deadline_ms > 0)
		r = loop_timer_set(job->loop, &job->timer, deadline_ms, on_deadline);
	return r;
}

struct job *job_start(struct loop *loop, const struct job_options *options, job_fn fn, void *argument,
		      job_done_fn done, void *data, struct error *e)
{
	const char *name = options->name ? options->name : "job";
	pid_t parent = getpid();
	int pipe[2];

	if (options->n_keep_fds > KEEP_MAX) {
		error_set(e, STATUS_INTERNAL, EINVAL, "%s: too many descriptors to keep", name);
		return NULL;
	}
	struct job *job = calloc(1, sizeof(*job));
	if (!job || pipe2(pipe, O_CLOEXEC) < 0) {
		error_errno(e, errno, "%s: open a pipe", name);
		free(job);
		return NULL;
	}
	*job = (struct job){
		.loop = loop,
		.name = name,
		.fd = pipe[0],
		.new_group = options->new_group,
		.max_result = options->max_result ? options->max_result : RESULT_DEFAULT,
		.done = done,
		.data = data,
	};
	list_append(&all, &job->link);
	job->pid = fork();
	if (job->pid == 0)
		child_main(options, job->max_result, parent, pipe[1], fn, argument);
	int failed = job->pid < 0 ? errno : 0;
	fd_close(pipe[1]);
	if (failed) {
		error_errno(e, failed, "%s: fork", name);
		job_forget(job);
		return NULL;
	}
	/* In both processes, because neither knows which one runs first. */
	if (job->new_group)
		(void)setpgid(job->pid, job->pid);
	int r = job_watch(job, options->deadline_ms);
	if (r < 0) {
		error_errno(e, -r, "%s: watch the child", name);
		job_cancel(job);
		return NULL;
	}
	return job;
}

void job_cancel(struct job *job)
{
	if (!job || job->finishing)
		return;
	job_kill(job);
	job_forget(job);
}

pid_t job_pid(const struct job *job)
{
	return job->pid;
}
