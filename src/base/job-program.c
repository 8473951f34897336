/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a program inside a job: its input, its output, its end, in one blocking call.
 *
 * The output is taken until the program has ended: what it leaves running in the background may hold the pipes for
 * ever, and is not waited for. A program that does not read its input is no error.
 */

#include "base/job.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

enum { STEP = 16384 };

struct program {
	pid_t pid;
	int pidfd;
	int in; /* our ends; -1 when done */
	int out;
	int err;
	int failure; /* the errno of execve(2) comes here */
	const uint8_t *input;
	size_t input_length;
};

/* The program's ends, all close-on-exec. */
struct ends {
	int in;
	int out;
	int err;
	int failure;
};

static void ends_close(struct ends *ends)
{
	fd_close(ends->in);
	fd_close(ends->out);
	fd_close(ends->err);
	fd_close(ends->failure);
}

static void program_close(struct program *program)
{
	fd_close(program->pidfd);
	fd_close(program->in);
	fd_close(program->out);
	fd_close(program->err);
	fd_close(program->failure);
}

#define _cleanup_ends_ __attribute__((cleanup(ends_close)))
#define _cleanup_program_ __attribute__((cleanup(program_close)))

static int open_pipe(int *reading, int *writing)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	/* Numbers from 3 up, so that none is overwritten while 0, 1 and 2 are put in place. */
	for (int i = 0; i < 2; i++) {
		if (fds[i] > 2)
			continue;
		int moved = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		int r = -errno;
		fd_close(fds[i]);
		fds[i] = moved;
		if (moved < 0) {
			fd_close(fds[0]);
			fd_close(fds[1]);
			return r;
		}
	}
	*reading = fds[0];
	*writing = fds[1];
	return 0;
}

static int open_ends(struct program *program, struct ends *ends)
{
	int r = 0;

	if (program->input)
		r = open_pipe(&ends->in, &program->in);
	if (r == 0)
		r = open_pipe(&program->out, &ends->out);
	if (r == 0)
		r = open_pipe(&program->err, &ends->err);
	if (r == 0)
		r = open_pipe(&program->failure, &ends->failure);
	if (r == 0 && program->in >= 0)
		r = fd_nonblock(program->in, true);
	if (r == 0)
		r = fd_nonblock(program->out, true);
	if (r == 0)
		r = fd_nonblock(program->err, true);
	return r;
}

static void exec_program(const char *const *argv, const char *const *envp)
{
	static const char *const none[] = {NULL};

	/* The search of a bare name needs a PATH, which an agent that is PID 1 has not. */
	(void)setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 0);
	execvpe(argv[0], (char *const *)argv, (char *const *)(envp ? envp : none));
}

static _Noreturn void program_main(const char *const *argv, const char *const *envp, const struct ends *ends,
				   pid_t parent)
{
	int in = ends->in;

	loop_child_reset();
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(127);
	if (in < 0)
		in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	/* dup2() onto itself would leave close-on-exec set: open() gives 0 where stdin was closed. */
	bool ready = in == 0 ? fd_cloexec(0, false) == 0 : in > 0 && dup2(in, 0) == 0;
	if (ready && dup2(ends->out, 1) == 1 && dup2(ends->err, 2) == 2) {
		fd_close_all_but(&ends->failure, 1);
		exec_program(argv, envp);
	}
	int failed = errno;
	(void)fd_write_all(ends->failure, &failed, sizeof(failed));
	_exit(127);
}

/* Takes what is there; beyond @max it is dropped. Closes *@fd at the end of file. */
static void collect(int *fd, struct buf *into, size_t max)
{
	char bytes[STEP];

	while (*fd >= 0) {
		ssize_t n = read(*fd, bytes, sizeof(bytes));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			*fd = fd_close(*fd);
			return;
		}
		if (into && into->length < max) {
			size_t room = max - into->length;

			(void)buf_append(into, bytes, (size_t)n < room ? (size_t)n : room);
		}
	}
}

static void feed(struct program *program)
{
	ssize_t n = write(program->in, program->input, program->input_length);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		program->input += n;
		program->input_length -= (size_t)n;
	}
	if (n < 0 || program->input_length == 0)
		program->in = fd_close(program->in);
}

static int program_follow(struct program *program, struct buf *out, struct buf *err, size_t max)
{
	for (;;) {
		struct pollfd p[] = {
			{.fd = program->pidfd, .events = POLLIN},
			{.fd = program->in, .events = POLLOUT},
			{.fd = program->out, .events = POLLIN},
			{.fd = program->err, .events = POLLIN},
		};

		if (poll(p, array_length(p), -1) < 0 && errno != EINTR)
			return -errno;
		if (p[1].revents)
			feed(program);
		collect(&program->out, out, max);
		collect(&program->err, err, max);
		if (p[0].revents)
			return 0;
	}
}

static int program_start(struct program *program, const char *const *argv, const char *const *envp,
			 struct error *e)
{
	_cleanup_ends_ struct ends ends = {.in = -1, .out = -1, .err = -1, .failure = -1};
	pid_t parent = getpid();
	int r = open_ends(program, &ends);

	if (r < 0)
		return error_errno(e, -r, "run \"%s\": open pipes", argv[0]);
	program->pid = fork();
	if (program->pid < 0)
		return error_errno(e, errno, "run \"%s\": fork", argv[0]);
	if (program->pid == 0)
		program_main(argv, envp, &ends, parent);
	program->pidfd = pidfd_open(program->pid, 0);
	if (program->pidfd < 0)
		return error_errno(e, errno, "run \"%s\": open a pidfd", argv[0]);
	return 0;
}

static int program_end(struct program *program, int *status)
{
	pid_t pid;

	do
		pid = waitpid(program->pid, status, __WALL);
	while (pid < 0 && errno == EINTR);
	return pid < 0 ? -errno : 0;
}

int job_run_program(const char *const *argv, const char *const *envp, const void *input, size_t input_length,
		    struct buf *out, struct buf *err, size_t max, int *status, struct error *e)
{
	_cleanup_program_ struct program program = {
		.pidfd = -1,
		.in = -1,
		.out = -1,
		.err = -1,
		.failure = -1,
		.input = input,
		.input_length = input_length,
	};
	struct sigaction ignore = {.sa_handler = SIG_IGN}, saved;
	int failed = 0;

	int r = program_start(&program, argv, envp, e);
	if (r < 0) {
		if (program.pid > 0) {
			(void)kill(program.pid, SIGKILL);
			(void)program_end(&program, status);
		}
		return r;
	}
	(void)sigaction(SIGPIPE, &ignore, &saved);
	r = program_follow(&program, out, err, max);
	(void)sigaction(SIGPIPE, &saved, NULL);
	if (r < 0)
		(void)kill(program.pid, SIGKILL);
	int ended = program_end(&program, status);
	if (r < 0 || ended < 0)
		return error_errno(e, r < 0 ? -r : -ended, "run \"%s\": wait", argv[0]);
	if (fd_read_all(program.failure, &failed, sizeof(failed)) == (ssize_t)sizeof(failed))
		return error_errno(e, failed, "run \"%s\"", argv[0]);
	if ((out && out->failed) || (err && err->failed))
		return error_errno(e, ENOMEM, "run \"%s\": collect output", argv[0]);
	return 0;
}
