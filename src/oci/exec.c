/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `exec`: a further process. It is described by a file (an OCI process object) or by options on top of the container's own
 * process. Detached, only its start is awaited, and whoever adopts it gets its exit status.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "oci/bundle.h"
#include "oci/console.h"
#include "oci/foreground.h"
#include "oci/session.h"
#include "proto/proto.h"

/* As other runtimes: an error of ours cannot be taken for a status of the program's. */
enum { EXEC_FAILED = 255, LIST_MAX = 64 };

struct list_option {
	const char *values[LIST_MAX];
	size_t count;
};

struct exec {
	const char *process_file, *pid_file, *console_socket, *pidfd_socket;
	const char *cwd, *user, *apparmor, *label;
	struct list_option env, capabilities, groups, cgroups;
	unsigned preserve_fds;
	bool detach, tty, no_new_privileges, ignore_paused;
};

enum {
	CONSOLE_SOCKET = 256,
	PID_FILE,
	PIDFD_SOCKET,
	CWD,
	APPARMOR,
	LABEL,
	NO_NEW_PRIVILEGES,
	PRESERVE_FDS,
	IGNORE_PAUSED,
	CGROUP
};

static const struct option options[] = {
	{"process", required_argument, NULL, 'p'},
	{"console-socket", required_argument, NULL, CONSOLE_SOCKET},
	{"pid-file", required_argument, NULL, PID_FILE},
	{"pidfd-socket", required_argument, NULL, PIDFD_SOCKET},
	{"cwd", required_argument, NULL, CWD},
	{"env", required_argument, NULL, 'e'},
	{"tty", no_argument, NULL, 't'},
	{"user", required_argument, NULL, 'u'},
	{"additional-gids", required_argument, NULL, 'g'},
	{"detach", no_argument, NULL, 'd'},
	{"process-label", required_argument, NULL, LABEL},
	{"apparmor", required_argument, NULL, APPARMOR},
	{"no-new-privs", no_argument, NULL, NO_NEW_PRIVILEGES},
	{"cap", required_argument, NULL, 'c'},
	{"preserve-fds", required_argument, NULL, PRESERVE_FDS},
	{"cgroup", required_argument, NULL, CGROUP},
	{"ignore-paused", no_argument, NULL, IGNORE_PAUSED},
	{NULL, 0, NULL, 0},
};

static int list_add(const struct oci *oci, struct list_option *list, const char *value)
{
	if (list->count == LIST_MAX)
		return oci_complain(oci, "more than %d values of one option", LIST_MAX);
	list->values[list->count++] = value;
	return 0;
}

static int parse(struct oci *oci, struct exec *x, int argc, char **argv)
{
	const char **texts[] = {
		[CONSOLE_SOCKET - 256] = &x->console_socket,
		[PID_FILE - 256] = &x->pid_file,
		[PIDFD_SOCKET - 256] = &x->pidfd_socket,
		[CWD - 256] = &x->cwd,
		[APPARMOR - 256] = &x->apparmor,
		[LABEL - 256] = &x->label,
	};
	uint32_t number;
	int option, r = 0;

	while (r == 0 && (option = getopt_long(argc, argv, "+p:e:tu:g:dc:", options, NULL)) != -1) {
		switch (option) {
		case 'p':
			x->process_file = optarg;
			break;
		case 'e':
			r = list_add(oci, &x->env, optarg);
			break;
		case 'g':
			r = list_add(oci, &x->groups, optarg);
			break;
		case 'c':
			r = list_add(oci, &x->capabilities, optarg);
			break;
		case CGROUP:
			r = list_add(oci, &x->cgroups, optarg);
			break;
		case 't':
			x->tty = true;
			break;
		case 'u':
			x->user = optarg;
			break;
		case 'd':
			x->detach = true;
			break;
		case NO_NEW_PRIVILEGES:
			x->no_new_privileges = true;
			break;
		case IGNORE_PAUSED:
			x->ignore_paused = true;
			break;
		case PRESERVE_FDS:
			if (str_to_u32(optarg, 10, &number) < 0 || number > 65536)
				return oci_complain(oci, "invalid value \"%s\" for --preserve-fds", optarg);
			x->preserve_fds = number;
			break;
		case CONSOLE_SOCKET:
		case PID_FILE:
		case PIDFD_SOCKET:
		case CWD:
		case APPARMOR:
		case LABEL:
			*texts[option - 256] = *optarg ? optarg : NULL;
			break;
		default:
			return oci_usage(oci);
		}
	}
	return r;
}

/* --- the process -------------------------------------------------------------------------------------------- */

static int set_user(Grpc__Process *p, const struct exec *x, struct arena *arena, struct error *e)
{
	char uid_text[16];
	const char *colon = x->user ? strchr(x->user, ':') : NULL;
	Grpc__User *user = proto_new(&grpc__user__descriptor, arena);
	uint32_t *groups = arena_array(arena, x->groups.count + 1, sizeof(*groups));

	if (!user || !groups)
		return error_errno(e, ENOMEM, "describe the process");
	if (p->user)
		*user = *p->user;
	if (x->user) {
		(void)snprintf(uid_text, sizeof(uid_text), "%.*s", colon ? (int)(colon - x->user) : 15,
			       x->user);
		if (str_to_u32(uid_text, 10, &user->uid) < 0 ||
		    (colon && str_to_u32(colon + 1, 10, &user->gid) < 0))
			return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
					 "invalid value \"%s\" for --user: expected UID[:GID]", x->user);
	}
	for (size_t i = 0; i < x->groups.count; i++) {
		if (str_to_u32(x->groups.values[i], 10, &groups[i]) < 0)
			return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
					 "invalid value \"%s\" for --additional-gids", x->groups.values[i]);
	}
	if (x->groups.count) {
		user->additionalgids = groups;
		user->n_additionalgids = x->groups.count;
	}
	p->user = user;
	return 0;
}

static char **with_values(char *const *list, size_t count, const struct list_option *more,
			  struct arena *arena)
{
	char **out = arena_array(arena, count + more->count + 1, sizeof(*out));

	if (!out)
		return NULL;
	if (count)
		memcpy(out, list, count * sizeof(*out));
	for (size_t i = 0; i < more->count; i++)
		out[count + i] = (char *)more->values[i];
	return out;
}

static int add_capabilities(Grpc__Process *p, const struct list_option *more, struct arena *arena)
{
	Grpc__LinuxCapabilities *c = proto_new(&grpc__linux_capabilities__descriptor, arena);

	if (!more->count)
		return 0;
	if (!c)
		return -ENOMEM;
	if (p->capabilities)
		*c = *p->capabilities;
	c->bounding = with_values(c->bounding, c->n_bounding, more, arena);
	c->effective = with_values(c->effective, c->n_effective, more, arena);
	c->permitted = with_values(c->permitted, c->n_permitted, more, arena);
	/* Ambient ones must be inheritable, which is for the configuration to say. */
	if (c->n_inheritable)
		c->ambient = with_values(c->ambient, c->n_ambient, more, arena);
	if (!c->bounding || !c->effective || !c->permitted || (c->n_inheritable && !c->ambient))
		return -ENOMEM;
	c->n_ambient += c->n_inheritable ? more->count : 0;
	c->n_bounding += more->count;
	c->n_effective += more->count;
	c->n_permitted += more->count;
	p->capabilities = c;
	return 0;
}

/* The container's own process, with the program and the options of the command line. */
static Grpc__Process *describe(const struct exec *x, const Grpc__Spec *spec, int argc, char **argv,
			       struct arena *arena, struct error *e)
{
	Grpc__Process *p = proto_new(&grpc__process__descriptor, arena);

	if (argc < 1) {
		error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "exec args cannot be empty");
		return NULL;
	}
	if (p && spec->process)
		*p = *spec->process;
	char **env = p ? with_values(p->env, p->n_env, &x->env, arena) : NULL;
	if (!env || add_capabilities(p, &x->capabilities, arena) < 0) {
		error_errno(e, ENOMEM, "describe the process");
		return NULL;
	}
	p->args = argv;
	p->n_args = (size_t)argc;
	p->env = env;
	p->n_env += x->env.count;
	p->has_terminal = true;
	p->terminal = x->tty;
	p->cwd = x->cwd ? (char *)x->cwd : p->cwd;
	p->apparmorprofile = x->apparmor ? (char *)x->apparmor : p->apparmorprofile;
	p->selinuxlabel = x->label ? (char *)x->label : p->selinuxlabel;
	if (x->no_new_privileges)
		p->has_nonewprivileges = p->nonewprivileges = true;
	if ((x->user || x->groups.count) && set_user(p, x, arena, e) < 0)
		return NULL;
	return p;
}

/* --- the command -------------------------------------------------------------------------------------------- */

static int check_status(struct session *s, const struct exec *x, struct error *e)
{
	switch (s->record.status) {
	case CONTAINER_STOPPED:
		return error_set(e, STATUS_FAILED_PRECONDITION, EINVAL,
				 "cannot exec in a stopped container: \"%s\"", s->dir.id);
	case CONTAINER_PAUSED:
		if (x->ignore_paused)
			return 0;
		return error_set(e, STATUS_FAILED_PRECONDITION, EINVAL,
				 "cannot exec in a paused container (use --ignore-paused to override)");
	default:
		return 0;
	}
}

static int check_terminal(const struct exec *x, const Grpc__Process *p, struct error *e)
{
	if (p->terminal && x->detach && !x->console_socket)
		return error_set(
			e, STATUS_INVALID_ARGUMENT, EINVAL,
			"cannot allocate tty if the runtime will detach without setting console socket");
	if (x->console_socket && !(p->terminal && x->detach))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "cannot use console socket if the runtime will not detach or allocate tty");
	return 0;
}

static int execute(struct session *s, const struct exec *x, const Grpc__Process *p, int *status,
		   struct error *e)
{
	_cleanup_fd_ int console = x->console_socket ? console_connect(x->console_socket, e) : -1;
	const struct exec_params params = {
		.exec_id = "exec",
		.process = p,
		.stdio = {.kind = STDIO_INHERIT,
			  .fds = {0, 1, 2},
			  .console_socket = console,
			  .plain_newlines = console < 0},
		.preserve_fds = x->preserve_fds,
		.cgroups = x->cgroups.values,
		.n_cgroups = x->cgroups.count,
		.ignore_paused = x->ignore_paused,
	};

	if (x->console_socket && console < 0)
		return console;
	if (!x->detach)
		(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	struct process *process = container_exec(s->container, &params, session_done, s, e);
	if (!process)
		return error_result(e);
	/* Whoever resumes the container, or ends it, needs it for itself. */
	if (s->record.status == CONTAINER_PAUSED)
		(void)flock(s->dir.fd, LOCK_UN);
	int r = session_wait(s, e);
	if (r < 0)
		return r;
	(void)flock(s->dir.fd, LOCK_UN);
	if (x->pidfd_socket) {
		r = pidfd_send(x->pidfd_socket, process->pidfd, e);
		if (r < 0) {
			(void)process_signal(process, 9, NULL);
			return r;
		}
	}
	if (x->pid_file) {
		/* It may have ended by now, and then has no pid any more; whoever adopted it knows it by this one. */
		r = pid_file_write(x->pid_file, process->child.pid, e);
		if (r < 0) {
			(void)process_signal(process, 9, NULL);
			return r;
		}
	}
	if (!x->detach)
		*status = foreground_wait(s->loop, process);
	return 0;
}

int command_exec(struct oci *oci, int argc, char **argv)
{
	struct exec x = {0};
	struct session s = SESSION_INIT;
	struct error e = ERROR_INIT;
	int status = 0;

	if (parse(oci, &x, argc, argv) != 0)
		return EXEC_FAILED;
	if (optind >= argc) {
		oci_complain(oci, "the id of a container is missing");
		oci_usage(oci);
		return EXEC_FAILED;
	}
	const char *id = argv[optind++];
	struct arena *arena = arena_new(0);
	Grpc__Process *p = NULL;
	s.leaves = x.detach;
	/* The exec itself may last; what must not happen meanwhile is only a change while it starts. */
	int r = session_open(&s, oci, id, STATE_SHARED, false, &e);
	if (r == 0)
		r = check_status(&s, &x, &e);
	if (r == 0) {
		p = x.process_file ? bundle_load_object(&grpc__process__descriptor, x.process_file, arena, &e)
				   : describe(&x, container_spec(s.container), argc - optind, argv + optind,
					      arena, &e);
		r = p ? check_terminal(&x, p, &e) : error_result(&e);
		if (r == 0 && !x.detach && foreground_size(p, arena) < 0)
			r = error_errno(&e, ENOMEM, "describe the process");
	}
	if (r == 0)
		r = execute(&s, &x, p, &status, &e);
	if (r < 0) {
		oci_fail(oci, &e);
		status = EXEC_FAILED;
	}
	session_close(&s);
	arena_free(arena);
	return status;
}
