/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/console.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "agent/port.h"
#include "agent/pump.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"

enum {
	SESSIONS_MAX = 64,
	HANGUP_GRACE_MS = 2000, /* from SIGHUP to SIGKILL */
	DRAIN_MS = 500, /* for output after the shell's end, where a child of it keeps the terminal open */
	RESPAWN_MS = 1000,
	END_AGAIN_MS = 500, /* between ends of input */
	FIRST_ROWS = 24,
	FIRST_COLUMNS = 80,
};

const char *const console_shells[] = {"/run/kata-extensions/devkit/bin/devkit-sh", "/bin/bash", "/bin/sh",
				      NULL};

struct console {
	struct loop *loop;
	const char *shell;
	struct port *port; /* NULL: serial */
	struct list sessions;
	size_t n_sessions;
	struct loop_timer respawn;
};

struct session {
	struct list link;
	struct console *console;
	pid_t pid; /* 0: has ended. It leads a session and a process group of its own. */
	struct loop_child child;
	struct loop_timer timer;
	struct loop_timer end; /* of the client's input, told again */
	struct pump *input;    /* client → terminal */
	struct pump *output;   /* terminal → client; NULL on the serial console */
};

static void session_free(struct session *session)
{
	struct console *console = session->console;
	if (session->pid) {
		/* Its group, and it alone in case that it has not become a leader yet. */
		kill(-session->pid, SIGKILL);
		kill(session->pid, SIGKILL);
	}
	loop_child_remove(&session->child);
	loop_timer_remove(&session->timer);
	loop_timer_remove(&session->end);
	pump_free(session->input);
	pump_free(session->output);
	list_remove(&session->link);
	console->n_sessions--;
	free(session);
}

static void session_over(struct loop_timer *timer)
{
	session_free(container_of(timer, struct session, timer));
}

static void serial_start(struct console *console);

static void serial_again(struct loop_timer *timer)
{
	serial_start(container_of(timer, struct console, respawn));
}

static void on_shell_end(struct loop_child *child, int status)
{
	struct session *session = container_of(child, struct session, child);
	struct console *console = session->console;
	session->pid = 0;
	log_info("debug-console", "shell ended", "status", LOG_NUMBER(loop_exit_code(status)));
	if (!session->output) {
		session_free(session);
		if (!console->port)
			loop_timer_set(console->loop, &console->respawn, RESPAWN_MS, serial_again);
		return;
	}
	/* The terminal's end ends the session; this is for one that somebody keeps open. */
	loop_timer_set(console->loop, &session->timer, DRAIN_MS, session_over);
}

/* The terminal is over (the shell and its children are gone), or the client takes no more. */
static void on_output_end(struct pump *pump, int r, void *data)
{
	struct session *session = data;
	if (r == 0 || !session->pid) {
		session_free(session);
		return;
	}
	loop_timer_remove(&session->end);
	/* Both descriptors of the master go: the kernel hangs the terminal up. */
	pump_free(session->input);
	pump_free(session->output);
	session->input = session->output = NULL;
	loop_timer_set(session->console->loop, &session->timer, HANGUP_GRACE_MS, session_over);
}

/* A vsock peer that has closed looks like one that writes no more, until something is sent. */
static bool is_gone(int client)
{
	return send(client, "", 0, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != EINTR;
}

/*
 * The terminal's character for it. Who edits lines takes the terminal out of canonical mode and knows the character himself.
 * Each reader takes one, and who was not there to read has missed it: a shell that starts, or runs a program, is told
 * again.
 */
static void tell_end(struct loop_timer *timer)
{
	struct session *session = container_of(timer, struct session, end);
	struct termios mode;
	int master = pump_source(session->output);
	if (is_gone(pump_target(session->output))) {
		on_output_end(session->output, -EPIPE, session);
		return;
	}
	if (tcgetattr(master, &mode) == 0) {
		/* Twice: the first one only ends a line that was begun. */
		char end[2] = {(char)mode.c_cc[VEOF], (char)mode.c_cc[VEOF]};
		if (write(master, end, mode.c_lflag & ICANON ? 2 : 1) < 0)
			log_debug("debug-console", "no end-of-file", "error", error_name(errno));
	}
	loop_timer_set(session->console->loop, timer, END_AGAIN_MS, tell_end);
}

/* The client writes no more: the shell reads an end-of-file, and may still write. */
static void on_input_end(struct pump *pump, int r, void *data)
{
	struct session *session = data;
	(void)pump;
	pump_free(session->input);
	session->input = NULL;
	if (r == 0 && session->output)
		tell_end(&session->end);
}

static _Noreturn void run_shell(const char *shell, int terminal, bool interactive)
{
	fd_close_all_but(&terminal, 1);
	loop_child_reset();
	setsid();
	ioctl(terminal, TIOCSCTTY, 1);
	for (int fd = 0; fd <= 2; fd++)
		dup2(terminal, fd);
	if (terminal > 2)
		close(terminal);
	execl(shell, shell, interactive ? "-i" : (char *)NULL, (char *)NULL);
	_exit(127);
}

static struct session *session_start(struct console *console, int terminal, bool interactive)
{
	struct session *session = calloc(1, sizeof(*session));
	pid_t pid = session ? fork() : -1;
	if (pid == 0)
		run_shell(console->shell, terminal, interactive);
	if (pid < 0) {
		log_warning("debug-console", "cannot start a shell", "error", error_name(errno));
		free(session);
		return NULL;
	}
	*session = (struct session){.console = console, .pid = pid};
	list_append(&console->sessions, &session->link);
	console->n_sessions++;
	loop_child_add(console->loop, &session->child, pid, on_shell_end);
	return session;
}

static void on_client(int fd, const struct sockaddr *peer, void *data)
{
	struct console *console = data;
	struct winsize size = {.ws_row = FIRST_ROWS, .ws_col = FIRST_COLUMNS};
	_cleanup_fd_ int client = fd, master = -1, slave = -1;
	if (console->n_sessions >= SESSIONS_MAX || openpty(&master, &slave, NULL, NULL, &size) < 0)
		return;
	fd_cloexec(master, true);
	fd_cloexec(slave, true);
	struct session *session = session_start(console, slave, false);
	if (!session)
		return;
	int master_too = fcntl(master, F_DUPFD_CLOEXEC, 3), client_too = fcntl(client, F_DUPFD_CLOEXEC, 3);
	if (master_too >= 0 && client_too >= 0) {
		session->input = pump_new(console->loop, client_too, master_too, on_input_end, session);
		session->output =
			pump_new(console->loop, fd_steal(&master), fd_steal(&client), on_output_end, session);
	} else {
		fd_close(master_too);
		fd_close(client_too);
	}
	if (!session->input || !session->output)
		session_free(session);
}

static void serial_start(struct console *console)
{
	_cleanup_fd_ int terminal = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (terminal < 0 || !session_start(console, terminal, true))
		loop_timer_set(console->loop, &console->respawn, RESPAWN_MS, serial_again);
}

static struct console *console_make(struct loop *loop, const char *const *shells, struct error *e)
{
	while (*shells && access(*shells, F_OK) < 0)
		shells++;
	if (!*shells) {
		error_set(e, STATUS_INTERNAL, ENOENT, "no shell found to launch debug console");
		return NULL;
	}
	struct console *console = calloc(1, sizeof(*console));
	if (!console) {
		error_errno(e, ENOMEM, "debug console");
		return NULL;
	}
	*console = (struct console){.loop = loop, .shell = *shells};
	list_init(&console->sessions);
	return console;
}

struct console *console_new(struct loop *loop, uint32_t number, const char *const *shells, struct error *e)
{
	struct console *console = console_make(loop, shells, e);
	if (!console)
		return NULL;
	if (number == 0) {
		serial_start(console);
		return console;
	}
	console->port = port_new(loop, number, on_client, console, e);
	if (console->port)
		return console;
	console_free(console);
	return NULL;
}

struct console *console_adopt(struct loop *loop, int listener, const char *const *shells, struct error *e)
{
	struct console *console = console_make(loop, shells, e);
	if (!console) {
		fd_close(listener);
		return NULL;
	}
	console->port = port_adopt(loop, listener, on_client, console, e);
	if (console->port)
		return console;
	console_free(console);
	return NULL;
}

void console_free(struct console *console)
{
	struct session *session, *next;
	if (!console)
		return;
	port_free(console->port);
	loop_timer_remove(&console->respawn);
	list_for_each_entry_safe (session, next, &console->sessions, link)
		session_free(session);
	free(console);
}
