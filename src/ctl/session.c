/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each direction is a chain of calls with one under way: the next read is sent when what the last one brought has been
 * written, so that a slow reader of our output is felt by the process as a full pipe, and nothing is buffered here. The
 * streams are read to their ends before the process is waited for, which is how hosts do it, and which every agent
 * allows.
 *
 * Nothing blocks: our output is written when it is ready, in pieces that a ready pipe takes. Our descriptors stay in
 * blocking mode, because they are shared with whoever started us.
 *
 * Calls may outlive the session (input that nobody takes); it is freed when the last of them has been answered.
 */
#include "ctl/session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "ctl/terminal.h"
#include "proto/agent.pb-c.h"

enum {
	READ_MAX = 256 << 10,
	INPUT_MAX = 64 << 10,
	/* POLLOUT of a pipe promises room for so many bytes (pipe(7)). */
	WRITE_MAX = 4096,
};

static const int forwarded[] = {
	SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH,
};

struct signal_source {
	struct loop_signal source;
	struct session *session;
};

/* The process's stdout or stderr, on its way to ours. */
struct output {
	struct session *session;
	const char *method;
	int fd;
	struct loop_fd ready;
	struct buf data;
	bool active; /* its end has not been seen */
	bool broken; /* nobody reads ours any more: what comes is thrown away */
};

struct session {
	struct agent *agent;
	struct session_options options;
	struct signal_source signals[array_length(forwarded)];
	uint64_t kept; /* signals that came before the process was there, by bit */
	bool running;
	struct output outputs[2];
	struct loop_fd input;
	struct buf typed;   /* read from our input, not yet taken by the process */
	bool input_is_file; /* always readable, and not for epoll(7) */
	bool done;
	int result;
	struct error *e;  /* of session_run() */
	unsigned pending; /* calls under way that refer to us */
	bool abandoned;	  /* session_free() has been called */
};

static void session_destroy(struct session *s)
{
	buf_deinit(&s->outputs[0].data);
	buf_deinit(&s->outputs[1].data);
	buf_deinit(&s->typed);
	free(s);
}

/* A call was answered. False: nobody wants to know any more. */
static bool session_answered(struct session *s)
{
	s->pending--;
	if (s->abandoned && !s->pending)
		session_destroy(s);
	else if (!s->abandoned)
		return true;
	return false;
}

static void session_fail(struct session *s, const struct error *e, const char *what)
{
	if (s->done)
		return;
	*s->e = *e;
	s->result = error_prefix(s->e, "%s", what);
	s->done = true;
}

/* Sends a call whose answer @reply gets; a call that cannot be sent ends the session. */
static void session_send(struct session *s, const char *method, const void *request, agent_reply reply,
			 void *data)
{
	struct error e = ERROR_INIT;

	if (agent_send(s->agent, method, request, reply, data, &e) < 0)
		session_fail(s, &e, method);
	else
		s->pending++;
}

static char *container_of_session(const struct session *s)
{
	return (char *)(uintptr_t)s->options.container;
}

static char *exec_id_of_session(const struct session *s)
{
	return (char *)(uintptr_t)s->options.exec_id;
}

/* --- signals and size --- */

/* Failure is not told: where the process is gone, its exit says more. */
static void on_ignored(const void *response, const struct error *e, void *data)
{
	session_answered(data);
}

static void send_signal(struct session *s, int number)
{
	Grpc__SignalProcessRequest request = GRPC__SIGNAL_PROCESS_REQUEST__INIT;

	request.container_id = container_of_session(s);
	request.exec_id = exec_id_of_session(s);
	request.signal = (uint32_t)number;
	session_send(s, "SignalProcess", &request, on_ignored, s);
}

static void send_size(struct session *s)
{
	Grpc__TtyWinResizeRequest request = GRPC__TTY_WIN_RESIZE_REQUEST__INIT;

	if (!s->options.tty || (!terminal_size(STDIN_FILENO, &request.row, &request.column) &&
				!terminal_size(STDOUT_FILENO, &request.row, &request.column)))
		return;
	request.container_id = container_of_session(s);
	request.exec_id = exec_id_of_session(s);
	session_send(s, "TtyWinResize", &request, on_ignored, s);
}

static void on_signal(struct loop_signal *source, const struct signalfd_siginfo *info)
{
	struct session *s = container_of(source, struct signal_source, source)->session;
	uint64_t bit = UINT64_C(1) << source->signal;

	if (s->running) {
		if (source->signal == SIGWINCH)
			send_size(s);
		else
			send_signal(s, source->signal);
		return;
	}
	/* Whoever insists, while there is no process yet that could get it, means us. */
	if (source->signal != SIGWINCH && s->kept & bit) {
		fprintf(stderr, "kata-agent-ctl: interrupted\n");
		exit(128 + source->signal);
	}
	s->kept |= bit;
}

/* --- output --- */

static void output_read(struct output *o);

static void on_exit_status(const void *response, const struct error *e, void *data)
{
	const Grpc__WaitProcessResponse *status = response;
	struct session *s = data;

	if (!session_answered(s))
		return;
	if (!status) {
		session_fail(s, e, "wait for the process");
		return;
	}
	s->result = status->status & 0xff;
	s->done = true;
}

static void output_end(struct output *o)
{
	struct session *s = o->session;
	Grpc__WaitProcessRequest request = GRPC__WAIT_PROCESS_REQUEST__INIT;

	o->active = false;
	if (s->outputs[0].active || s->outputs[1].active)
		return;
	request.container_id = container_of_session(s);
	request.exec_id = exec_id_of_session(s);
	session_send(s, "WaitProcess", &request, on_exit_status, s);
}

/* What a process does whose reader has gone, by default. The agent makes a SIGTERM sure to end an init. */
static void output_break(struct output *o)
{
	o->broken = true;
	buf_clear(&o->data);
	send_signal(o->session, SIGTERM);
}

static void output_flush(struct output *o);

static void on_output_ready(struct loop_fd *source, uint32_t events)
{
	struct output *o = container_of(source, struct output, ready);

	loop_fd_remove(source);
	output_flush(o);
}

/* True when @o->fd can take WRITE_MAX bytes; otherwise we are called again when it can. */
static bool output_is_ready(struct output *o)
{
	struct pollfd pollfd = {.fd = o->fd, .events = POLLOUT};

	if (poll(&pollfd, 1, 0) != 0)
		return true;
	return loop_fd_add(agent_loop(o->session->agent), &o->ready, o->fd, EPOLLOUT, on_output_ready) < 0;
}

static void output_flush(struct output *o)
{
	while (o->data.length) {
		size_t count = o->data.length < WRITE_MAX ? o->data.length : WRITE_MAX;
		ssize_t n;

		if (!output_is_ready(o))
			return;
		n = write(o->fd, buf_begin(&o->data), count);
		if (n >= 0)
			buf_consume(&o->data, (size_t)n);
		else if (errno != EINTR && errno != EAGAIN)
			output_break(o);
	}
	output_read(o);
}

static void on_output(const void *response, const struct error *e, void *data)
{
	const Grpc__ReadStreamResponse *read = response;
	struct output *o = data;

	if (!session_answered(o->session))
		return;
	/* A terminal ends with an error. So does a connection; then waiting says so. */
	if (!read || !read->data.len) {
		output_end(o);
		return;
	}
	if (!o->broken && buf_append(&o->data, read->data.data, read->data.len) < 0)
		output_break(o);
	output_flush(o);
}

static void output_read(struct output *o)
{
	struct session *s = o->session;
	Grpc__ReadStreamRequest request = GRPC__READ_STREAM_REQUEST__INIT;

	request.container_id = container_of_session(s);
	request.exec_id = exec_id_of_session(s);
	request.len = READ_MAX;
	session_send(s, o->method, &request, on_output, o);
}

/* --- input --- */

static void input_next(struct session *s);

static void input_stop(struct session *s)
{
	loop_fd_remove(&s->input);
	buf_clear(&s->typed);
	s->options.input = false;
}

static void on_input_taken(const void *response, const struct error *e, void *data)
{
	const Grpc__WriteStreamResponse *written = response;
	struct session *s = data;

	if (!session_answered(s))
		return;
	if (!written || !written->len) {
		input_stop(s);
		return;
	}
	buf_consume(&s->typed, written->len);
	input_next(s);
}

static void input_send(struct session *s)
{
	Grpc__WriteStreamRequest request = GRPC__WRITE_STREAM_REQUEST__INIT;

	request.container_id = container_of_session(s);
	request.exec_id = exec_id_of_session(s);
	request.data.data = buf_begin(&s->typed);
	request.data.len = s->typed.length;
	session_send(s, "WriteStdin", &request, on_input_taken, s);
}

static void input_close(struct session *s)
{
	Grpc__CloseStdinRequest request = GRPC__CLOSE_STDIN_REQUEST__INIT;

	input_stop(s);
	/* Closing a terminal's input would be closing the terminal: what ends input there is a character. */
	if (s->options.tty) {
		buf_append_char(&s->typed, 'D' - '@');
		input_send(s);
		return;
	}
	request.container_id = container_of_session(s);
	request.exec_id = exec_id_of_session(s);
	session_send(s, "CloseStdin", &request, on_ignored, s);
}

/* Reads once, and sends; or waits for more. */
static void input_read(struct session *s)
{
	uint8_t *room = buf_reserve(&s->typed, INPUT_MAX);
	ssize_t n = room ? read(STDIN_FILENO, room, INPUT_MAX) : 0;

	if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
		loop_fd_modify(&s->input, EPOLLIN);
		return;
	}
	if (n <= 0) {
		input_close(s);
		return;
	}
	buf_commit(&s->typed, (size_t)n);
	input_send(s);
}

static void on_input(struct loop_fd *source, uint32_t events)
{
	struct session *s = container_of(source, struct session, input);

	/* Until what is read now has been taken. */
	loop_fd_modify(source, 0);
	input_read(s);
}

static void input_next(struct session *s)
{
	if (s->typed.length)
		input_send(s);
	else if (!s->options.input)
		return;
	else if (s->input_is_file)
		input_read(s);
	else
		loop_fd_modify(&s->input, EPOLLIN);
}

static void input_start(struct session *s)
{
	if (!s->options.input) {
		if (!s->options.tty)
			input_close(s);
		return;
	}
	s->input_is_file = loop_fd_add(agent_loop(s->agent), &s->input, STDIN_FILENO, EPOLLIN, on_input) < 0;
	if (s->input_is_file)
		input_read(s);
}

/* --- life --- */

static int install_signals(struct session *s, struct error *e)
{
	for (size_t i = 0; i < array_length(forwarded); i++) {
		int r;

		s->signals[i].session = s;
		r = loop_signal_add(agent_loop(s->agent), &s->signals[i].source, forwarded[i], on_signal);
		if (r < 0)
			return error_errno(e, -r, "take signals");
	}
	return 0;
}

struct session *session_new(struct agent *agent, const struct session_options *options, struct error *e)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s) {
		error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
		return NULL;
	}
	s->agent = agent;
	s->options = *options;
	s->outputs[0] =
		(struct output){.session = s, .method = "ReadStdout", .fd = STDOUT_FILENO, .active = true};
	s->outputs[1] = (struct output){.session = s, .method = "ReadStderr", .fd = STDERR_FILENO};
	s->outputs[1].active = !options->tty;
	if (install_signals(s, e) < 0) {
		session_free(s);
		return NULL;
	}
	return s;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	terminal_restore();
	for (size_t i = 0; i < array_length(forwarded); i++)
		loop_signal_remove(&s->signals[i].source);
	loop_fd_remove(&s->input);
	loop_fd_remove(&s->outputs[0].ready);
	loop_fd_remove(&s->outputs[1].ready);
	s->abandoned = true;
	if (!s->pending)
		session_destroy(s);
}

static void forward_kept(struct session *s)
{
	for (size_t i = 0; i < array_length(forwarded); i++) {
		if (forwarded[i] != SIGWINCH && s->kept & UINT64_C(1) << forwarded[i])
			send_signal(s, forwarded[i]);
	}
}

int session_run(struct session *s, struct error *e)
{
	int r;

	s->e = e;
	s->running = true;
	if (s->options.tty && s->options.input)
		terminal_raw(STDIN_FILENO);
	send_size(s);
	forward_kept(s);
	output_read(&s->outputs[0]);
	if (s->outputs[1].active)
		output_read(&s->outputs[1]);
	input_start(s);
	while (!s->done) {
		r = loop_run_once(agent_loop(s->agent), -1);
		if (r < 0)
			return error_errno(e, -r, "event loop");
	}
	s->running = false;
	return s->result;
}
