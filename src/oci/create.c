/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `create`, `start` and `run`. A created container waits at its gate, a listening socket in its state directory, for the
 * `start` that another process of ours will be. `run` is both in one process and needs no gate.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "oci/bundle.h"
#include "oci/console.h"
#include "oci/foreground.h"
#include "oci/notify.h"
#include "oci/session.h"

struct create {
	const char *bundle, *config, *console_socket, *pid_file, *pidfd_socket;
	unsigned preserve_fds;
	bool no_new_keyring;
	bool detach, keep, no_subreaper; /* of run */
	/* Made of the above. */
	char *bundle_path;
	struct arena *arena;
	Grpc__Spec *spec;
	int console, gate;
	struct notify notify;
};

enum {
	CONSOLE_SOCKET = 256,
	PID_FILE,
	PIDFD_SOCKET,
	NO_PIVOT,
	NO_NEW_KEYRING,
	PRESERVE_FDS,
	KEEP,
	NO_SUBREAPER
};

static const struct option options[] = {
	{"bundle", required_argument, NULL, 'b'},
	{"config", required_argument, NULL, 'f'},
	{"console-socket", required_argument, NULL, CONSOLE_SOCKET},
	{"pid-file", required_argument, NULL, PID_FILE},
	{"pidfd-socket", required_argument, NULL, PIDFD_SOCKET},
	{"no-pivot", no_argument, NULL, NO_PIVOT},
	{"no-new-keyring", no_argument, NULL, NO_NEW_KEYRING},
	{"preserve-fds", required_argument, NULL, PRESERVE_FDS},
	{"detach", no_argument, NULL, 'd'},
	{"keep", no_argument, NULL, KEEP},
	{"no-subreaper", no_argument, NULL, NO_SUBREAPER},
	{NULL, 0, NULL, 0},
};

/* 0, or the exit status. */
static int parse(struct oci *oci, struct create *c, int argc, char **argv)
{
	uint32_t number;
	int option;

	while ((option = getopt_long(argc, argv, "+b:f:d", options, NULL)) != -1) {
		switch (option) {
		case 'b':
			c->bundle = optarg;
			break;
		case 'f':
			c->config = optarg;
			break;
		case 'd':
			c->detach = true;
			break;
		case CONSOLE_SOCKET:
			c->console_socket = *optarg ? optarg : NULL;
			break;
		case PID_FILE:
			c->pid_file = *optarg ? optarg : NULL;
			break;
		case PIDFD_SOCKET:
			c->pidfd_socket = *optarg ? optarg : NULL;
			break;
		case NO_PIVOT:
			oci->no_pivot = true;
			break;
		case NO_NEW_KEYRING:
			c->no_new_keyring = true;
			break;
		case PRESERVE_FDS:
			if (str_to_u32(optarg, 10, &number) < 0 || number > 65536)
				return oci_complain(oci, "invalid value \"%s\" for --preserve-fds", optarg);
			c->preserve_fds = number;
			break;
		case KEEP:
			c->keep = true;
			break;
		case NO_SUBREAPER:
			c->no_subreaper = true;
			break;
		default:
			return oci_usage(oci);
		}
	}
	return 0;
}

/* --- preparation -------------------------------------------------------------------------------------------- */

/* Descriptors of socket activation (sd_listen_fds(3)) go through, in front of the others. */
static int take_listen_fds(struct create *c, struct error *e)
{
	const char *count_text = getenv("LISTEN_FDS"), *pid_text = getenv("LISTEN_PID");
	const char *names = getenv("LISTEN_FDNAMES");
	uint32_t count, pid;
	char entry[64];

	if (!count_text || str_to_u32(count_text, 10, &count) < 0 || count == 0 || count > 65536)
		return 0;
	if (pid_text && (str_to_u32(pid_text, 10, &pid) < 0 || pid != (uint32_t)getpid()))
		return 0;
	c->preserve_fds += count;
	(void)snprintf(entry, sizeof(entry), "LISTEN_FDS=%u", count);
	int r = process_add_env(c->spec->process, entry, c->arena);
	if (r == 0)
		r = process_add_env(c->spec->process, "LISTEN_PID=1", c->arena);
	if (r == 0 && names) {
		char *text = arena_printf(c->arena, "LISTEN_FDNAMES=%s", names);
		r = text ? process_add_env(c->spec->process, text, c->arena) : -ENOMEM;
	}
	return r < 0 ? error_errno(e, -r, "pass LISTEN_FDS") : 0;
}

/* They must be there: a number that is free now would be taken by something of ours, and then leak. What is ours already
 * (the log) is closed on execution, and so was not given to us. */
static int check_preserved(const struct create *c, struct error *e)
{
	for (unsigned i = 0; i < c->preserve_fds; i++) {
		int flags = fcntl((int)(3 + i), F_GETFD);
		if (flags < 0 || (flags & FD_CLOEXEC))
			return error_errno(e, EBADF, "--preserve-fds: descriptor %u", 3 + i);
	}
	return 0;
}

static int check_terminal(const struct create *c, bool detached, struct error *e)
{
	bool terminal = c->spec->process && c->spec->process->terminal;

	if (terminal && detached && !c->console_socket)
		return error_set(
			e, STATUS_INVALID_ARGUMENT, EINVAL,
			"cannot allocate tty if the runtime will detach without setting console socket");
	if (c->console_socket && !(terminal && detached))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "cannot use console socket if the runtime will not detach or allocate tty");
	return 0;
}

static int prepare(struct session *s, struct create *c, const char *id, bool detached, struct error *e)
{
	int r = 0;

	c->bundle_path = bundle_path(c->bundle, e);
	c->arena = arena_new(64 << 10);
	if (!c->bundle_path || !c->arena)
		return c->bundle_path ? error_errno(e, ENOMEM, "load the configuration") : error_result(e);
	c->spec = bundle_load(c->bundle_path, c->config, c->arena, e);
	if (!c->spec)
		return error_result(e);
	if (c->spec->process)
		r = take_listen_fds(c, e);
	if (r == 0 && c->spec->process && !detached && foreground_size(c->spec->process, c->arena) < 0)
		r = error_errno(e, ENOMEM, "load the configuration");
	if (r == 0)
		r = check_terminal(c, detached, e);
	if (r == 0)
		r = check_preserved(c, e);
	if (r < 0)
		return r;
	r = state_dir_create(&s->dir, s->oci, id, e);
	if (r == 0)
		r = notify_prepare(&c->notify, &s->dir, c->spec, c->arena, e);
	if (r == 0)
		r = state_dir_save_spec(&s->dir, c->spec, e);
	if (r == 0 && c->console_socket) {
		c->console = console_connect(c->console_socket, e);
		r = c->console < 0 ? c->console : 0;
	}
	return r;
}

static void create_deinit(struct create *c)
{
	free(c->bundle_path);
	arena_free(c->arena);
	fd_close(c->console);
	fd_close(c->gate);
	notify_deinit(&c->notify);
}

/* --- create ------------------------------------------------------------------------------------------------- */

/* Signals that would end us: the half-made container goes first. */
struct interrupt {
	struct loop_signal source;
	struct session *session;
};

static void on_interrupt(struct loop_signal *source, const struct signalfd_siginfo *info)
{
	struct session *s = container_of(source, struct interrupt, source)->session;

	if (s->container)
		container_abort(s->container);
}

static int make(struct session *s, struct create *c, const char *id, struct error *e)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct interrupt interrupts[array_length(signals)] = {0};
	const struct container_params params = {
		.id = id,
		.bundle = c->bundle_path,
		.spec = c->spec,
		.arena = steal_pointer(c->arena),
		.stdio = {.kind = STDIO_INHERIT,
			  .fds = {0, 1, 2},
			  .console_socket = c->console,
			  .plain_newlines = c->console < 0},
		.preserve_fds = c->preserve_fds,
		.no_new_keyring = c->no_new_keyring,
		.gate = c->gate,
	};

	for (size_t i = 0; i < array_length(signals); i++) {
		interrupts[i].session = s;
		(void)loop_signal_add(s->loop, &interrupts[i].source, signals[i], on_interrupt);
	}
	s->container = container_create(s->engine, &params, session_done, s);
	int r = s->container ? session_wait(s, e) : error_errno(e, ENOMEM, "create \"%s\"", id);
	for (size_t i = 0; i < array_length(signals); i++)
		loop_signal_remove(&interrupts[i].source);
	return r;
}

/* What is told to the world once it is there. On failure it is taken down again. */
static int publish(struct session *s, const struct create *c, struct error *e)
{
	int r = container_record_make(s->container, &s->record);

	if (r < 0)
		return error_errno(e, -r, "record the container");
	s->loaded = true;
	if (c->pid_file)
		r = pid_file_write(c->pid_file, container_init(s->container)->pid, e);
	if (r == 0 && c->pidfd_socket)
		r = pidfd_send(c->pidfd_socket, container_init(s->container)->pidfd, e);
	return r < 0 ? r : state_dir_save(&s->dir, &s->record, e);
}

static void take_down(struct session *s)
{
	struct error ignored = ERROR_INIT;

	container_delete(s->container, true, session_done, s);
	(void)session_wait(s, &ignored);
}

static int create(struct session *s, struct create *c, const char *id, bool with_gate, struct error *e)
{
	int r = 0;

	if (with_gate) {
		c->gate = state_dir_listen(&s->dir, "gate", e);
		r = c->gate < 0 ? c->gate : 0;
	}
	if (r == 0)
		r = session_start(s, s->oci, e);
	if (r == 0)
		r = make(s, c, id, e);
	if (r < 0)
		return r;
	r = publish(s, c, e);
	if (r < 0)
		take_down(s);
	return r;
}

int command_create(struct oci *oci, int argc, char **argv)
{
	struct create c = {.console = -1, .gate = -1, .notify = NOTIFY_INIT};
	struct session s = SESSION_INIT;
	struct error e = ERROR_INIT;

	int status = parse(oci, &c, argc, argv);
	const char *id = status ? NULL : oci_only_id(oci, argc, argv, optind);
	if (!id)
		return 1;
	s.oci = oci;
	s.leaves = true;
	int r = prepare(&s, &c, id, true, &e);
	if (r == 0)
		r = create(&s, &c, id, true, &e);
	if (r < 0) {
		status = oci_fail(oci, &e);
		if (s.dir.fd >= 0)
			(void)state_dir_remove(&s.dir, &e);
	}
	session_close(&s);
	create_deinit(&c);
	return status;
}

/* --- start -------------------------------------------------------------------------------------------------- */

static int start(struct session *s, struct error *e)
{
	container_start(s->container, session_done, s);
	int r = session_wait(s, e);
	struct error own = ERROR_INIT;
	/* A start that failed has ended the container; the record tells that by itself. */
	int saved = r < 0 ? 0 : session_save(s, &own);
	if (r == 0 && saved < 0)
		*e = own;
	return r < 0 ? r : saved;
}

int command_start(struct oci *oci, int argc, char **argv)
{
	static const struct option none[] = {{NULL, 0, NULL, 0}};
	struct session s = SESSION_INIT;
	struct error e = ERROR_INIT;

	if (getopt_long(argc, argv, "+", none, NULL) != -1)
		return oci_usage(oci);
	const char *id = oci_only_id(oci, argc, argv, optind);
	if (!id)
		return 1;
	int r = session_open(&s, oci, id, STATE_EXCLUSIVE, true, &e);
	if (r == 0 && s.record.status != CONTAINER_CREATED)
		r = error_set(&e, STATUS_FAILED_PRECONDITION, EINVAL,
			      s.record.status == CONTAINER_STOPPED
				      ? "cannot start a container that has stopped: \"%s\""
				      : "cannot start an already running container: \"%s\"",
			      id);
	struct notify notify = NOTIFY_INIT;
	if (r == 0)
		r = notify_open(&notify, &s.dir, &e);
	if (r == 0)
		r = start(&s, &e);
	if (r == 0)
		notify_wait(&notify, s.record.pid);
	notify_deinit(&notify);
	int status = r < 0 ? oci_fail(oci, &e) : 0;
	session_close(&s);
	return status;
}

/* --- run ---------------------------------------------------------------------------------------------------- */

static void remove_all(struct session *s)
{
	struct error e = ERROR_INIT;

	/* Another command may have it now. */
	(void)flock(s->dir.fd, LOCK_EX);
	take_down(s);
	(void)state_dir_remove(&s->dir, &e);
}

static int run(struct session *s, struct create *c, const char *id, int *status, struct error *e)
{
	if (!c->detach && !c->no_subreaper)
		(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	int r = create(s, c, id, false, e);
	if (r < 0) {
		struct error ignored = ERROR_INIT;
		(void)state_dir_remove(&s->dir, &ignored);
		return r;
	}
	r = start(s, e);
	if (r < 0) {
		remove_all(s);
		return r;
	}
	/* From here on it is everybody's. */
	(void)flock(s->dir.fd, LOCK_UN);
	if (c->detach) {
		notify_wait(&c->notify, s->record.pid);
		return 0;
	}
	notify_follow(&c->notify, s->loop);
	*status = foreground_wait(s->loop, container_init(s->container));
	notify_unfollow(&c->notify);
	if (!c->keep)
		remove_all(s);
	return 0;
}

int command_run(struct oci *oci, int argc, char **argv)
{
	struct create c = {.console = -1, .gate = -1, .notify = NOTIFY_INIT};
	struct session s = SESSION_INIT;
	struct error e = ERROR_INIT;

	int status = parse(oci, &c, argc, argv);
	const char *id = status ? NULL : oci_only_id(oci, argc, argv, optind);
	if (!id)
		return 1;
	s.oci = oci;
	s.leaves = c.detach;
	int r = prepare(&s, &c, id, c.detach, &e);
	if (r < 0 && s.dir.fd >= 0) {
		struct error ignored = ERROR_INIT;
		(void)state_dir_remove(&s.dir, &ignored);
	}
	if (r == 0)
		r = run(&s, &c, id, &status, &e);
	if (r < 0)
		status = oci_fail(oci, &e);
	session_close(&s);
	create_deinit(&c);
	return status;
}
