/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run, create, exec, shell, attach: making processes and being attached to them. Their exit code is the process's; 125,
 * 126 and 127 are ours, as with other container tools.
 *
 * Whatever `run` has made is removed again, also when a later step fails.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "ctl/ctl.h"
#include "ctl/launch.h"
#include "ctl/session.h"
#include "ctl/units.h"
#include "proto/agent.pb-c.h"

enum { ID_SIZE = 33 };

static void arena_freep(struct arena **arena)
{
	arena_free(*arena);
}

#define _cleanup_arena_ __attribute__((cleanup(arena_freep)))

static char *borrow(const char *text)
{
	return (char *)(uintptr_t)text;
}

/* --- requests --- */

/* An agent behind a socket of this machine sees our files under our names; any other one needs its own. */
static const char *absolute_rootfs(struct ctl *ctl, const char *path, struct arena *arena, struct error *e)
{
	_cleanup_free_ char *resolved = NULL;
	const char *copy;

	if (path[0] == '/')
		return path;
	if (!str_starts_with(agent_address(ctl->agent), "unix://")) {
		error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "\"%s\" must be an absolute path in the guest",
			  path);
		return NULL;
	}
	resolved = realpath(path, NULL);
	if (!resolved) {
		error_errno(e, errno, "\"%s\"", path);
		return NULL;
	}
	copy = arena_strdup(arena, resolved);
	if (!copy)
		error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
	return copy;
}

/* The words are ROOTFS and the command; after --spec both may be missing. */
static Grpc__Spec *make_spec(struct ctl *ctl, struct launch *launch, struct error *e)
{
	struct spec_options *options = &launch->spec;
	static char *shell[] = {(char *)(uintptr_t) "/bin/sh"};
	Grpc__Spec *spec;

	if (launch->n_words) {
		options->rootfs = launch->words[0];
		options->args = launch->words + 1;
		options->n_args = launch->n_words - 1;
	}
	if (launch->spec_file) {
		spec = spec_read(launch->spec_file, launch->arena, e);
		if (spec && spec_apply(spec, options, launch->arena, e) < 0)
			return NULL;
	} else {
		if (!options->n_args) {
			options->args = shell;
			options->n_args = 1;
		}
		spec = spec_new(launch->name, options, launch->arena, e);
	}
	if (!spec)
		return NULL;
	if (str_is_empty(spec->root->path)) {
		error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "no root filesystem was given");
		return NULL;
	}
	spec->root->path = borrow(absolute_rootfs(ctl, spec->root->path, launch->arena, e));
	if (!spec->root->path)
		return NULL;
	/* A configuration may ask for a terminal by itself; then we are one, too. */
	options->tty = spec->process->terminal;
	launch->interactive |= options->tty;
	return spec;
}

static int create_sandbox(struct ctl *ctl, struct launch *launch, struct error *e)
{
	Grpc__CreateSandboxRequest request = GRPC__CREATE_SANDBOX_REQUEST__INIT;

	request.sandbox_id = borrow(launch->name);
	return agent_call_name(ctl->agent, "CreateSandbox", &request, launch->arena, NULL, e);
}

static int create_container(struct ctl *ctl, struct launch *launch, struct error *e)
{
	Grpc__CreateContainerRequest request = GRPC__CREATE_CONTAINER_REQUEST__INIT;

	request.container_id = borrow(launch->name);
	request.exec_id = borrow(launch->name);
	request.oci = make_spec(ctl, launch, e);
	if (!request.oci)
		return error_result(e);
	if (launch->sandbox && create_sandbox(ctl, launch, e) < 0)
		return error_prefix(e, "create the sandbox");
	return agent_call_name(ctl->agent, "CreateContainer", &request, launch->arena, NULL, e);
}

static int start_container(struct ctl *ctl, struct launch *launch, struct error *e)
{
	Grpc__StartContainerRequest request = GRPC__START_CONTAINER_REQUEST__INIT;

	request.container_id = borrow(launch->name);
	return agent_call_name(ctl->agent, "StartContainer", &request, launch->arena, NULL, e);
}

/* Tells a failure, which does not change the exit code: the process has had its say. */
static void remove_container(struct ctl *ctl, struct launch *launch)
{
	Grpc__RemoveContainerRequest request = GRPC__REMOVE_CONTAINER_REQUEST__INIT;
	struct error e = ERROR_INIT;

	request.container_id = borrow(launch->name);
	if (agent_call_name(ctl->agent, "RemoveContainer", &request, launch->arena, NULL, &e) < 0)
		ctl_fail(0, &e, "remove");
}

/* A random id where none was given. False: no memory. */
static bool choose_id(const char **id, struct arena *arena)
{
	char *made;

	if (*id)
		return true;
	made = arena_alloc(arena, ID_SIZE);
	if (!made)
		return false;
	random_id(made, ID_SIZE);
	*id = made;
	return true;
}

/* --- run and create --- */

static int attach(struct ctl *ctl, struct session *session)
{
	struct error e = ERROR_INIT;
	int r = session_run(session, &e);

	return r < 0 ? ctl_fail(CTL_OWN_FAILURE, &e, "attach") : r;
}

static int start_and_attach(struct ctl *ctl, struct launch *launch, struct session *session)
{
	struct error e = ERROR_INIT;
	int code;

	if (start_container(ctl, launch, &e) < 0) {
		ctl_fail(0, &e, "start");
		remove_container(ctl, launch);
		return ctl_exit_code(&e);
	}
	if (launch->detach) {
		printf("%s\n", launch->name);
		return CTL_OK;
	}
	code = attach(ctl, session);
	if (!launch->keep)
		remove_container(ctl, launch);
	return code;
}

static struct session *new_session(struct ctl *ctl, const struct launch *launch, const char *container,
				   const char *exec_id, struct error *e)
{
	struct session_options options = {
		.container = container,
		.exec_id = exec_id,
		.tty = launch->spec.tty,
		.input = launch->interactive,
	};

	return session_new(ctl->agent, &options, e);
}

static int run(struct ctl *ctl, struct launch *launch)
{
	struct error e = ERROR_INIT;
	struct session *session = NULL;
	int code;

	if (create_container(ctl, launch, &e) < 0) {
		ctl_fail(0, &e, "create");
		return ctl_exit_code(&e);
	}
	if (!launch->detach) {
		session = new_session(ctl, launch, launch->name, launch->name, &e);
		if (!session) {
			remove_container(ctl, launch);
			return ctl_fail(CTL_OWN_FAILURE, &e, "attach");
		}
	}
	code = start_and_attach(ctl, launch, session);
	session_free(session);
	return code;
}

/* Options, id, connection. Negative: go on. */
static int prepare(struct ctl *ctl, struct launch *launch, enum launch_kind kind,
		   const struct ctl_command *command, int argc, char **argv, struct arena *arena,
		   size_t min_words)
{
	struct error e = ERROR_INIT;
	int code;

	if (!arena)
		return ctl_fail(CTL_OWN_FAILURE, NULL, "out of memory");
	code = launch_parse(launch, kind, command, argc, argv, arena);
	if (code >= 0)
		return code;
	if (launch->n_words < (launch->spec_file ? 0 : min_words)) {
		ctl_usage(command, "an argument is missing");
		return CTL_OWN_FAILURE;
	}
	if (!choose_id(&launch->name, arena) || (kind == LAUNCH_EXEC && !choose_id(&launch->exec_id, arena)))
		return ctl_fail(CTL_OWN_FAILURE, NULL, "out of memory");
	return ctl_connect(ctl, &e) ? -1 : ctl_fail(CTL_OWN_FAILURE, &e, "%s", "");
}

int cmd_run(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct launch launch;
	int code = prepare(ctl, &launch, LAUNCH_RUN, command, argc, argv, arena, 1);

	return code >= 0 ? code : run(ctl, &launch);
}

int cmd_create(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;
	struct launch launch;
	int code = prepare(ctl, &launch, LAUNCH_CREATE, command, argc, argv, arena, 1);

	if (code >= 0)
		return code;
	if (create_container(ctl, &launch, &e) < 0) {
		ctl_fail(0, &e, "create");
		return ctl_exit_code(&e);
	}
	printf("%s\n", launch.name);
	return CTL_OK;
}

/* --- exec, shell, attach --- */

static int exec_process(struct ctl *ctl, struct launch *launch, const char *container, struct error *e)
{
	Grpc__ExecProcessRequest request = GRPC__EXEC_PROCESS_REQUEST__INIT;

	request.container_id = borrow(container);
	request.exec_id = borrow(launch->exec_id);
	request.process = spec_process(&launch->spec, launch->arena, e);
	if (!request.process)
		return error_result(e);
	return agent_call_name(ctl->agent, "ExecProcess", &request, launch->arena, NULL, e);
}

static int exec(struct ctl *ctl, struct launch *launch)
{
	const char *container = launch->words[0];
	struct error e = ERROR_INIT;
	struct session *session = NULL;
	int code = CTL_OK;

	launch->spec.args = launch->words + 1;
	launch->spec.n_args = launch->n_words - 1;
	if (!launch->detach) {
		session = new_session(ctl, launch, container, launch->exec_id, &e);
		if (!session)
			return ctl_fail(CTL_OWN_FAILURE, &e, "attach");
	}
	if (exec_process(ctl, launch, container, &e) < 0) {
		ctl_fail(0, &e, "exec");
		code = ctl_exit_code(&e);
	} else if (session) {
		code = attach(ctl, session);
	} else {
		printf("%s\n", launch->exec_id);
	}
	session_free(session);
	return code;
}

int cmd_exec(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct launch launch;
	int code = prepare(ctl, &launch, LAUNCH_EXEC, command, argc, argv, arena, 2);

	return code >= 0 ? code : exec(ctl, &launch);
}

int cmd_shell(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	static const char script[] = "command -v bash >/dev/null 2>&1 && exec bash; exec sh";
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct launch launch = {.arena = arena, .interactive = true};
	char *words[] = {NULL, borrow("/bin/sh"), borrow("-c"), borrow(script)};
	struct error e = ERROR_INIT;
	int at = ctl_no_options(command, argc, argv, 1, 1);

	if (at >= 0)
		return at == CTL_OK ? CTL_OK : CTL_OWN_FAILURE;
	if (!arena || !choose_id(&launch.exec_id, arena))
		return ctl_fail(CTL_OWN_FAILURE, NULL, "out of memory");
	if (!ctl_connect(ctl, &e))
		return ctl_fail(CTL_OWN_FAILURE, &e, "%s", "");
	words[0] = argv[-at];
	launch.words = words;
	launch.n_words = array_length(words);
	/* A script may feed it. */
	launch.spec.tty = isatty(STDIN_FILENO);
	return exec(ctl, &launch);
}

int cmd_attach(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;
	struct session *session;
	struct launch launch;
	int code = prepare(ctl, &launch, LAUNCH_ATTACH, command, argc, argv, arena, 1);

	if (code >= 0)
		return code;
	session = new_session(ctl, &launch, launch.words[0],
			      launch.exec_id ? launch.exec_id : launch.words[0], &e);
	if (!session)
		return ctl_fail(CTL_OWN_FAILURE, &e, "attach");
	code = attach(ctl, session);
	session_free(session);
	return code;
}
