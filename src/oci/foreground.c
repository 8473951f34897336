/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal's master is non-blocking, our own stdin and stdout are left as they are, because others share them: they are
 * read when they are readable, and written in blocking manner. What was read of stdin and does not fit into the master
 * stays in a small buffer, and stdin is not read until it is empty.
 *
 * The terminal is put back in every case that lets us run: on exit, on error, and on signals, which are forwarded and end
 * nothing by themselves.
 */
#include "oci/foreground.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "proto/proto.h"

static const int forwarded[] = {SIGHUP,	 SIGINT,  SIGQUIT, SIGUSR1, SIGUSR2,
				SIGTERM, SIGALRM, SIGCONT, SIGWINCH};

struct foreground {
	struct loop *loop;
	struct process *process;
	int master; /* -1 without a terminal */
	struct loop_fd input, output;
	bool plain_input; /* a file: always readable, not for epoll */
	char pending[4096];
	size_t pending_start, pending_length;
	bool raw;
	struct termios saved;
	struct forward {
		struct loop_signal source;
		struct foreground *foreground;
	} signals[array_length(forwarded)];
};

/* --- terminal ----------------------------------------------------------------------------------------------- */

static void resize(struct foreground *f)
{
	struct winsize size;

	if (f->master >= 0 && ioctl(0, TIOCGWINSZ, &size) == 0 && size.ws_row)
		(void)ioctl(f->master, TIOCSWINSZ, &size);
}

int foreground_size(Grpc__Process *process, struct arena *arena)
{
	struct winsize size;

	if (!process->terminal || process->consolesize || ioctl(0, TIOCGWINSZ, &size) < 0 || !size.ws_row)
		return 0;
	process->consolesize = proto_new(&grpc__box__descriptor, arena);
	if (!process->consolesize)
		return -ENOMEM;
	process->consolesize->has_height = process->consolesize->has_width = true;
	process->consolesize->height = size.ws_row;
	process->consolesize->width = size.ws_col;
	return 0;
}

static void make_raw(struct foreground *f)
{
	struct termios raw;

	if (tcgetattr(0, &f->saved) < 0)
		return;
	raw = f->saved;
	cfmakeraw(&raw);
	/* Output keeps its processing: carriage returns of our own messages. */
	raw.c_oflag |= OPOST;
	f->raw = tcsetattr(0, TCSANOW, &raw) == 0;
}

static void flush_input(struct foreground *f)
{
	while (f->pending_length) {
		ssize_t n = write(f->master, f->pending + f->pending_start, f->pending_length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		f->pending_start += (size_t)n;
		f->pending_length -= (size_t)n;
	}
}

/* The master is watched for room only while something waits for it. */
static void watch(struct foreground *f)
{
	(void)loop_fd_modify(&f->output, EPOLLIN | (f->pending_length || f->plain_input ? EPOLLOUT : 0));
	if (f->input.loop)
		(void)loop_fd_modify(&f->input, f->pending_length ? 0 : EPOLLIN);
}

static void read_input(struct foreground *f)
{
	ssize_t n = read(0, f->pending, sizeof(f->pending));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		/* Its end; the process goes on. */
		loop_fd_remove(&f->input);
		f->plain_input = false;
		return;
	}
	f->pending_start = 0;
	f->pending_length = (size_t)n;
	flush_input(f);
}

static void on_input(struct loop_fd *source, uint32_t events)
{
	struct foreground *f = container_of(source, struct foreground, input);

	if (!f->pending_length)
		read_input(f);
	watch(f);
}

/* False at the end of what the terminal has. */
static bool copy_output(struct foreground *f)
{
	char chunk[8192];
	ssize_t n = read(f->master, chunk, sizeof(chunk));

	if (n > 0)
		(void)fd_write_all(1, chunk, (size_t)n);
	return n > 0 || (n < 0 && errno == EINTR);
}

static void on_master(struct loop_fd *source, uint32_t events)
{
	struct foreground *f = container_of(source, struct foreground, output);

	if (events & EPOLLOUT) {
		flush_input(f);
		if (f->plain_input && !f->pending_length)
			read_input(f);
	}
	/* EIO while nobody has the other side open; somebody may come. The exit ends it. */
	if (events & EPOLLIN)
		(void)copy_output(f);
	else if (events & (EPOLLHUP | EPOLLERR)) {
		loop_fd_remove(&f->output);
		loop_fd_remove(&f->input);
		return;
	}
	watch(f);
}

static void open_terminal(struct foreground *f)
{
	f->master = f->process->master;
	if (f->master < 0)
		return;
	(void)fd_nonblock(f->master, true);
	make_raw(f);
	resize(f);
	(void)loop_fd_add(f->loop, &f->output, f->master, EPOLLIN, on_master);
	if (loop_fd_add(f->loop, &f->input, 0, EPOLLIN, on_input) == -EPERM)
		f->plain_input = true;
	watch(f);
}

static void close_terminal(struct foreground *f)
{
	loop_fd_remove(&f->input);
	loop_fd_remove(&f->output);
	while (f->master >= 0 && copy_output(f))
		;
	if (f->raw)
		(void)tcsetattr(0, TCSANOW, &f->saved);
}

/* --- signals and exit --------------------------------------------------------------------------------------- */

static void on_signal(struct loop_signal *source, const struct signalfd_siginfo *info)
{
	struct foreground *f = container_of(source, struct forward, source)->foreground;

	if (source->signal == SIGWINCH)
		resize(f);
	else
		(void)process_signal(f->process, source->signal, NULL);
}

static void on_exit_told(struct process *process, void *data)
{
	struct foreground *f = data;
	loop_quit(f->loop, 0);
}

int foreground_wait(struct loop *loop, struct process *process)
{
	struct foreground f = {.loop = loop, .process = process, .master = -1};

	for (size_t i = 0; i < array_length(forwarded); i++) {
		f.signals[i].foreground = &f;
		(void)loop_signal_add(loop, &f.signals[i].source, forwarded[i], on_signal);
	}
	open_terminal(&f);
	process->on_exit = on_exit_told;
	process->on_exit_data = &f;
	while (!process->exited && loop_run(loop) == 0)
		;
	process->on_exit = NULL;
	close_terminal(&f);
	for (size_t i = 0; i < array_length(forwarded); i++)
		loop_signal_remove(&f.signals[i].source);
	return process->exit_code;
}
