/* SPDX-License-Identifier: Apache-2.0 */
/* `kill`, `delete`, `pause`, `resume`: what is done to a container that is there. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "oci/session.h"

static const struct option none[] = {{NULL, 0, NULL, 0}};

/* --- kill --------------------------------------------------------------------------------------------------- */

/* The pid may have been given to somebody else since; the descriptor cannot, so the check comes between. */
static int kill_init(const struct oci *oci, const char *id, int signal, struct error *e)
{
	struct state_dir dir = STATE_DIR_INIT;
	struct container_record record;

	int r = state_dir_open(&dir, oci, id, STATE_UNLOCKED, e);
	if (r == 0)
		r = state_dir_load(&dir, &record, e);
	if (r < 0) {
		state_dir_close(&dir);
		return r;
	}
	_cleanup_fd_ int pidfd = record.pid > 0 ? (int)syscall(SYS_pidfd_open, record.pid, 0) : -1;
	if (pidfd < 0 || state_status(&record) == CONTAINER_STOPPED)
		r = error_set(e, STATUS_FAILED_PRECONDITION, ESRCH, "container not running: \"%s\"", id);
	else if (syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0)
		r = errno == ESRCH ? error_set(e, STATUS_FAILED_PRECONDITION, ESRCH,
					       "container not running: \"%s\"", id)
				   : error_errno(e, errno, "send signal %d to \"%s\"", signal, id);
	container_record_deinit(&record);
	state_dir_close(&dir);
	return r;
}

static int kill_all(struct oci *oci, const char *id, int signal, struct error *e)
{
	struct session s = SESSION_INIT;

	int r = session_open(&s, oci, id, STATE_SHARED, false, e);
	if (r == 0) {
		container_kill_all(s.container, signal, session_done, &s);
		r = session_wait(&s, e);
	}
	session_close(&s);
	return r;
}

/* A shared pid namespace does not end with init: as with other runtimes, KILL is for all of the container there. */
static bool shares_pids(const struct oci *oci, const char *id)
{
	struct state_dir dir = STATE_DIR_INIT;
	struct error ignored = ERROR_INIT;
	struct arena *arena = arena_new(16 << 10);
	const Grpc__Spec *spec = NULL;
	bool own = false;

	if (arena && state_dir_open(&dir, oci, id, STATE_UNLOCKED, &ignored) == 0)
		spec = state_dir_load_spec(&dir, arena, &ignored);
	for (size_t i = 0; spec && spec->linux && i < spec->linux->n_namespaces; i++) {
		const Grpc__LinuxNamespace *ns = spec->linux->namespaces[i];
		own |= str_equal(ns->type, "pid") && str_is_empty(ns->path);
	}
	bool shares = spec && !own;
	state_dir_close(&dir);
	arena_free(arena);
	return shares;
}

static int kill_shared(struct oci *oci, const char *id, struct error *e)
{
	struct error own = ERROR_INIT;
	int all = kill_all(oci, id, SIGKILL, e);
	/* Init may have gone, or live outside its cgroup. */
	int r = kill_init(oci, id, SIGKILL, &own);

	/* Users may have no cgroup of their own. */
	return all < 0 && oci->rootless && r == 0 ? 0 : all;
}

int command_kill(struct oci *oci, int argc, char **argv)
{
	static const struct option options[] = {{"all", no_argument, NULL, 'a'}, {NULL, 0, NULL, 0}};
	struct error e = ERROR_INIT;
	bool all = false;
	int c;

	/* Options may stand behind the id here, as with other runtimes. */
	while ((c = getopt_long(argc, argv, "a", options, NULL)) != -1) {
		if (c != 'a')
			return oci_usage(oci);
		all = true;
	}
	if (optind >= argc || optind + 2 < argc)
		return oci_usage(oci);
	const char *id = argv[optind], *name = optind + 1 < argc ? argv[optind + 1] : "TERM";
	int signal = signal_number(name);
	if (signal < 0)
		return oci_complain(oci, "unknown signal \"%s\"", name);
	int r;
	if (all)
		r = kill_all(oci, id, signal, &e);
	else if (signal == SIGKILL && shares_pids(oci, id))
		r = kill_shared(oci, id, &e);
	else
		r = kill_init(oci, id, signal, &e);
	return r < 0 ? oci_fail(oci, &e) : 0;
}

/* --- delete ------------------------------------------------------------------------------------------------- */

static int take_apart(struct session *s, bool force, struct error *e)
{
	enum container_status status = s->record.status;

	if (status != CONTAINER_STOPPED && status != CONTAINER_CREATED && !force)
		return error_set(e, STATUS_FAILED_PRECONDITION, EBUSY,
				 "cannot delete container \"%s\" that is not stopped: %s", s->dir.id,
				 container_status_name(status));
	container_delete(s->container, true, session_done, s);
	return session_wait(s, e);
}

static int delete_one(struct oci *oci, const char *id, bool force, struct error *e)
{
	struct session s = SESSION_INIT;
	struct error later = ERROR_INIT;

	int r = session_open(&s, oci, id, STATE_EXCLUSIVE, false, e);
	/* A directory without a record, which nobody holds (we do): what a killed create left. */
	bool stale = r == -ENOENT && s.dir.fd >= 0;
	if (r == 0)
		r = take_apart(&s, force, e);
	/* By force also what cannot be made out any more; but a container that lives on stays known. */
	bool lives = s.container && container_status(s.container) != CONTAINER_STOPPED;
	if (r == 0 || stale || (force && s.dir.fd >= 0 && !lives)) {
		int removed = state_dir_remove(&s.dir, &later);
		if (r == 0 && removed < 0) {
			r = removed;
			*e = later;
		}
	}
	if (r == -ENOENT && force && e->code == STATUS_NOT_FOUND)
		r = 0;
	session_close(&s);
	return r;
}

int command_delete(struct oci *oci, int argc, char **argv)
{
	static const struct option options[] = {{"force", no_argument, NULL, 'f'}, {NULL, 0, NULL, 0}};
	struct error e = ERROR_INIT;
	bool force = false;
	int c;

	while ((c = getopt_long(argc, argv, "f", options, NULL)) != -1) {
		if (c != 'f')
			return oci_usage(oci);
		force = true;
	}
	const char *id = oci_only_id(oci, argc, argv, optind);
	if (!id)
		return 1;
	return delete_one(oci, id, force, &e) < 0 ? oci_fail(oci, &e) : 0;
}

/* --- pause and resume --------------------------------------------------------------------------------------- */

static int change(struct oci *oci, int argc, char **argv,
		  void (*verb)(struct container *container, container_done done, void *data))
{
	struct session s = SESSION_INIT;
	struct error e = ERROR_INIT;

	if (getopt_long(argc, argv, "+", none, NULL) != -1)
		return oci_usage(oci);
	const char *id = oci_only_id(oci, argc, argv, optind);
	if (!id)
		return 1;
	int r = session_open(&s, oci, id, STATE_EXCLUSIVE, false, &e);
	if (r == 0 && s.record.status == CONTAINER_STOPPED)
		r = error_set(&e, STATUS_FAILED_PRECONDITION, ESRCH, "container not running: \"%s\"", id);
	if (r == 0) {
		verb(s.container, session_done, &s);
		r = session_wait(&s, &e);
	}
	if (r == 0)
		r = session_save(&s, &e);
	int status = r < 0 ? oci_fail(oci, &e) : 0;
	session_close(&s);
	return status;
}

int command_pause(struct oci *oci, int argc, char **argv)
{
	return change(oci, argc, argv, container_pause);
}

int command_resume(struct oci *oci, int argc, char **argv)
{
	return change(oci, argc, argv, container_resume);
}
