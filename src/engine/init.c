/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The life of a container's first process, in the order of the runtime-spec (runtime.md, "Lifecycle"): namespaces, root
 * file system, hooks, the new root, identity, the gate, startContainer hooks, the program.
 *
 * What waits for the parent waits in child_await_placement() and at the gate. When the parent is gone the socket
 * ends, and so does this process.
 */

#include "engine/init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "engine/device.h"
#include "engine/handshake.h"
#include "engine/init_private.h"
#include "engine/lsm.h"
#include "engine/masked.h"
#include "engine/mount.h"
#include "engine/sysctl.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

enum { KEEP_MAX = 32 };

/* --- descriptors -------------------------------------------------------------------------------------------- */

/* What of the parent's descriptors is of use to a child. Those to be preserved have the lowest numbers. */
static void close_others(const struct child_plan *plan)
{
	const struct engine *engine = plan->container->engine;
	int keep[64] = {engine->proc,	      plan->socket,	      plan->gate,	plan->cgroup,
			plan->mount_helper,   plan->stdio[0],	      plan->stdio[1],	plan->stdio[2],
			plan->console_socket, plan->seccomp_listener, plan->init_pidfd, plan->mount_namespace,
			log_get_fd()};
	size_t count = 13;

	if (plan->preserve_fds > KEEP_MAX)
		return; /* an OCI command line with many: it executes soon, and all of ours are close-on-exec */
	for (size_t i = 0; i < NAMESPACE_TYPES; i++)
		keep[count++] = plan->namespaces.fds[i];
	for (unsigned i = 0; i < plan->preserve_fds; i++)
		keep[count++] = (int)(3 + i);
	fd_close_all_but(keep, count);
}

/* Standard error will be the program's: what we have to say until then must not land there. */
static void move_log(const struct child_plan *plan)
{
	int fd = log_get_fd();

	if (fd >= 0 && fd < 3)
		log_set_fd(fcntl(fd, F_DUPFD_CLOEXEC, (int)(3 + plan->preserve_fds)));
}

/* --- talking ------------------------------------------------------------------------------------------------ */

/* The next message from the parent, which must be @type. */
static int await(int socket, enum handshake_type type, struct error *e)
{
	struct handshake_message message;
	int r = handshake_receive(socket, &message);

	if (r == 0)
		_exit(1); /* the parent has gone, and has nobody to be told */
	if (r < 0)
		return error_errno(e, -r, "wait for the engine");
	if (message.type != type)
		return error_set(e, STATUS_INTERNAL, EPROTO, "unexpected message %d", (int)message.type);
	return 0;
}

static int tell(const struct child *child, enum handshake_type type, struct error *e)
{
	int r = handshake_send(child->socket, type, 0, -1);
	return r < 0 ? error_errno(e, -r, "talk to the engine") : 0;
}

int child_await_placement(struct child *child, struct error *e)
{
	if (child->placed)
		return 0;
	child->placed = true;
	return await(child->socket, HANDSHAKE_GO, e);
}

int child_open_terminal(struct child *child, int root, struct error *e)
{
	const struct child_plan *plan = child->plan;
	static const char name[] = "/dev/pts/ptmx";
	ssize_t n;

	if (!child->process->terminal)
		return 0;
	int r = terminal_open(&child->terminal, root, child->proc, plan->credentials.uid,
			      child->process->consolesize, e);
	if (r == 0 && plan->plain_newlines)
		r = terminal_plain_newlines(child->terminal.slave, e);
	if (r < 0)
		return r;
	if (plan->console_socket >= 0)
		n = fd_send(plan->console_socket, name, sizeof(name) - 1, &child->terminal.master, 1);
	else
		n = handshake_send(child->socket, HANDSHAKE_TERMINAL, 0, child->terminal.master);
	child->terminal.master = fd_close(child->terminal.master);
	return n < 0 ? error_errno(e, (int)-n, "hand the terminal over") : 0;
}

/* --- namespaces --------------------------------------------------------------------------------------------- */

static int bring_loopback_up(struct error *e)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	/* A kernel without IPv4 has no loopback either. */
	if (fd < 0)
		return errno == EAFNOSUPPORT ? 0 : error_errno(e, errno, "bring the loopback interface up");
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0 && errno != ENODEV)
		return error_errno(e, errno, "bring the loopback interface up");
	return 0;
}

static int set_names(const struct child *child, struct error *e)
{
	const char *host = child->spec->hostname, *domain = child->spec->domainname;

	if (!(child->plan->namespaces.created & CLONE_NEWUTS))
		return 0;
	if (!str_is_empty(host) && sethostname(host, strlen(host)) < 0)
		return error_errno(e, errno, "set hostname \"%s\"", host);
	if (!str_is_empty(domain) && setdomainname(domain, strlen(domain)) < 0)
		return error_errno(e, errno, "set domainname \"%s\"", domain);
	return 0;
}

static int enter_namespaces(struct child *child, struct error *e)
{
	const struct namespaces *ns = &child->plan->namespaces;
	int r = 0;

	/* The pid namespace was joined before our birth, and everything by the middle process where there is one. */
	if (!ns->middle)
		r = namespaces_join(ns, ~CLONE_NEWPID, e);
	if (r == 0 && (ns->created & CLONE_NEWUSER))
		r = child_await_placement(child, e);
	if (r == 0 && ((ns->created | ns->joined) & CLONE_NEWUSER))
		r = namespaces_become_root(e);
	if (r == 0 && (ns->created & CLONE_NEWCGROUP)) {
		/* Its root is where we are at this moment. */
		r = child_await_placement(child, e);
		if (r == 0 && unshare(CLONE_NEWCGROUP) < 0)
			r = error_errno(e, errno, "new cgroup namespace");
	}
	if (r == 0 && (ns->created & CLONE_NEWNET))
		r = bring_loopback_up(e);
	return r < 0 ? r : set_names(child, e);
}

/* --- hooks in the container --------------------------------------------------------------------------------- */

static int run_hooks(struct child *child, const char *kind, Grpc__Hook *const *hooks, size_t count,
		     const char *cwd, struct error *e)
{
	_cleanup_buf_ struct buf state = BUF_INIT;
	char self[16] = "";
	uint32_t pid = 0;

	if (count == 0)
		return 0;
	/* Our pid as the runtime numbers it: that of its own procfs. */
	ssize_t n = readlinkat(child->proc, "self", self, sizeof(self) - 1);
	if (n > 0)
		(void)str_to_u32(self, 10, &pid);
	const char *status = str_equal(kind, "startContainer") ? "created" : "creating";
	if (container_state_json(child->container, status, (pid_t)pid, &state) < 0)
		return error_errno(e, ENOMEM, "%s hooks", kind);
	/* Hooks of the payload get what the payload gets. */
	char *const *environment = child->program.envp ? child->program.envp : environ;
	const struct hooks_params params = {
		.kind = kind,
		.hooks = hooks,
		.count = count,
		.state = buf_string(&state),
		.cwd = cwd,
		.environment = container_hook_environment(child->container) ? environment : NULL,
		.default_timeout_ms = container_hook_timeout(child->container),
	};
	return hooks_run_blocking(&params, e);
}

static int runtime_point(struct child *child, struct error *e)
{
	const Grpc__Hooks *hooks = child->spec->hooks;
	int r = child_await_placement(child, e);

	if (r == 0 && child->plan->await_runtime) {
		r = tell(child, HANDSHAKE_RUNTIME, e);
		if (r == 0)
			r = await(child->socket, HANDSHAKE_GO, e);
	}
	if (r == 0 && hooks)
		r = run_hooks(child, "createContainer", hooks->createcontainer, hooks->n_createcontainer,
			      child->container->bundle, e);
	return r;
}

/* --- the root file system ----------------------------------------------------------------------------------- */

static int fill_root(struct child *child, struct rootfs *rootfs, struct error *e)
{
	int r = rootfs_open(rootfs, e);

	if (r == 0)
		r = mounts_apply(rootfs, e);
	if (r == 0)
		r = devices_make(rootfs, e);
	if (r == 0)
		r = child_open_terminal(child, rootfs->fd, e);
	if (r == 0 && child->terminal.slave >= 0 && !rootfs->dev_bound && rootfs->own_mounts)
		r = device_bind_console(rootfs, child->terminal.slave, e);
	return r;
}

static int close_root(struct child *child, struct rootfs *rootfs, struct error *e)
{
	const Grpc__Linux *linux = child->spec->linux;
	int r = 0;

	if (linux && linux->n_sysctl)
		r = sysctl_apply(child->proc, linux->sysctl, linux->n_sysctl,
				 child->container->engine->options.wire, e);
	if (r == 0)
		r = rootfs_make_cwd(rootfs, child->process->cwd, e);
	if (r == 0 && rootfs->own_mounts)
		r = readonly_apply(rootfs, e);
	if (r == 0 && rootfs->own_mounts)
		r = masked_apply(rootfs, e);
	if (r == 0)
		r = rootfs_seal(rootfs, e);
	return r < 0 ? r : rootfs_enter(rootfs, e);
}

static int make_root(struct child *child, struct error *e)
{
	const struct child_plan *plan = child->plan;
	const struct engine *engine = child->container->engine;
	int all = plan->namespaces.created | plan->namespaces.joined;
	struct rootfs rootfs = {
		.spec = child->spec,
		.bundle = child->container->bundle,
		.cgroup = child->container->cgroup,
		.proc = child->proc,
		.own_mounts = (plan->namespaces.created & CLONE_NEWNS) != 0,
		.user_namespace = (all & CLONE_NEWUSER) != 0,
		.cgroup_namespace = (all & CLONE_NEWCGROUP) != 0,
		.no_pivot = engine->options.no_pivot,
		.inherit_modes = !engine->options.wire,
		.helper = plan->mount_helper,
		.arena = arena_new(0),
		.fd = -1,
	};
	int r = rootfs.arena ? fill_root(child, &rootfs, e) : error_errno(e, ENOMEM, "root");

	if (r == 0)
		r = runtime_point(child, e);
	if (r == 0)
		r = close_root(child, &rootfs, e);
	fd_close(rootfs.fd);
	arena_free(rootfs.arena);
	return r;
}

/* --- the gate ----------------------------------------------------------------------------------------------- */

/* A visitor that says anything but START is sent away. */
static int await_visitor(struct child *child, struct error *e)
{
	for (;;) {
		struct handshake_message message;
		int connection = accept4(child->plan->gate, NULL, NULL, SOCK_CLOEXEC);

		if (connection < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (connection < 0)
			return error_errno(e, errno, "wait at the gate");
		if (handshake_receive(connection, &message) == 1 && message.type == HANDSHAKE_START) {
			child->socket = connection;
			return 0;
		}
		fd_close(connection);
	}
}

/* Who reads what `create` says waits for its end, and we may stay at the gate for days: only a file keeps our log. */
static void let_go_of_log(void)
{
	int fd = log_get_fd();
	struct stat status;

	if (fd < 3 || (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)))
		return;
	log_set_fd(-1);
	fd_close(fd);
}

static void end_by_signal(int signal)
{
	_exit(128 + signal);
}

/* Who leads a pid namespace never gets a signal that he has no handler for; so a `kill` before `start` would do nothing. */
static void heed_signals(void (*handler)(int))
{
	static const int ending[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
	const struct sigaction action = {.sa_handler = handler};

	for (size_t i = 0; i < array_length(ending); i++)
		(void)sigaction(ending[i], &action, NULL);
}

static int pass_gate(struct child *child, struct error *e)
{
	int r = tell(child, HANDSHAKE_READY, e);

	if (r < 0 || !child->plan->init)
		return r;
	if (child->plan->gate < 0)
		return await(child->socket, HANDSHAKE_START, e);
	child->socket = fd_close(child->socket);
	let_go_of_log();
	heed_signals(end_by_signal);
	r = await_visitor(child, e);
	heed_signals(SIG_DFL);
	return r;
}

/* --- the lives ---------------------------------------------------------------------------------------------- */

/* These may take long, and one who dies in them has executed nothing. A filter may not let us say more. */
static int start_hooks(struct child *child, struct error *e)
{
	const Grpc__Hooks *hooks = child->spec->hooks;
	int r;

	if (!hooks || hooks->n_startcontainer == 0)
		return 0;
	r = run_hooks(child, "startContainer", hooks->startcontainer, hooks->n_startcontainer, NULL, e);
	return r < 0 || child->plan->filter ? r : tell(child, HANDSHAKE_HOOKED, e);
}

static int live_as_init(struct child *child, struct error *e)
{
	int r = enter_namespaces(child, e);

	if (r == 0 && !child->container->no_new_keyring) {
		r = selinux_key_label(child->proc, child->process->selinuxlabel, e);
		if (r == 0)
			r = keyring_join(child->container->id, e);
	}
	if (r == 0)
		r = make_root(child, e);
	if (r == 0)
		r = child_become(child, e);
	if (r == 0)
		r = pass_gate(child, e);
	if (r == 0)
		r = child_confine(child, e);
	if (r == 0)
		r = start_hooks(child, e);
	return r < 0 ? r : child_execute(child, e);
}

static int live_as_exec(struct child *child, struct error *e)
{
	int r = child_enter_container(child, e);

	if (r == 0 && !child->container->no_new_keyring)
		r = keyring_join(child->container->id, e);
	if (r == 0)
		r = child_become(child, e);
	if (r == 0)
		r = pass_gate(child, e);
	if (r == 0)
		r = child_confine(child, e);
	return r < 0 ? r : child_execute(child, e);
}

/* --- the middle process ------------------------------------------------------------------------------------- */

/*
 * Joins, then makes the real child as its own sibling, so that the engine is its parent. Returns 0 in that child; the
 * middle process itself ends here.
 */
static int pass_through_middle(struct child *child, struct error *e)
{
	const struct child_plan *plan = child->plan;
	const struct namespaces *ns = &plan->namespaces;
	int pidfd = -1, r = 0;

	if (ns->created & CLONE_NEWTIME)
		r = namespaces_unshare_time(child->proc, child->spec->linux, e);
	if (r == 0)
		r = plan->init ? namespaces_join(ns, ~0, e) : 0;
	if (r == 0 && !plan->init &&
	    setns(plan->init_pidfd, plan->join_flags & (CLONE_NEWUSER | CLONE_NEWPID)) < 0)
		r = error_errno(e, errno, "join the container");
	if (r < 0)
		return r;
	/* The exit signal is the middle process's own. */
	struct clone_args args = {
		.flags = CLONE_PARENT | CLONE_PIDFD | (uint64_t)(plan->init ? ns->at_clone : 0),
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return error_errno(e, errno, "clone");
	if (pid == 0)
		return 0;
	r = handshake_send(child->socket, HANDSHAKE_PID, (int32_t)pid, pidfd);
	_exit(r < 0);
}

static int exit_status(const struct error *e)
{
	if (e->errnum == ENOENT)
		return 127;
	return e->errnum == EACCES || e->errnum == ENOEXEC ? 126 : 1;
}

_Noreturn void child_main(const struct child_plan *plan)
{
	struct error e = ERROR_INIT;
	struct child child = {
		.plan = plan,
		.container = plan->container,
		.spec = plan->container->spec,
		.process = plan->process,
		.proc = plan->container->engine->proc,
		.socket = plan->socket,
		.terminal = {-1, -1},
	};
	int r = 0;

	close_others(plan);
	move_log(plan);
	loop_child_reset();
	umask(0);
	if (plan->hide && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		r = error_errno(&e, errno, "hide from others");
	if (r == 0 && plan->namespaces.middle)
		r = pass_through_middle(&child, &e);
	if (r == 0)
		r = plan->init ? live_as_init(&child, &e) : live_as_exec(&child, &e);
	if (e.code == STATUS_OK)
		error_errno(&e, -r, "container process");
	if (child.socket >= 0)
		(void)handshake_send_error(child.socket, &e);
	_exit(exit_status(&e));
}
