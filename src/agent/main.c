/* SPDX-License-Identifier: Apache-2.0 */

/*
 * kata-agent: the program. Reads its configuration, listens, makes the sandbox object, runs the loop, and leaves in good
 * order: after DestroySandbox, or SIGTERM or SIGINT, with status 0; as PID 1 by powering the guest off.
 *
 * It listens before it does anything that may take a while, so that a host that is dialling already gets through.
 */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/boot.h"
#include "agent/config.h"
#include "agent/console.h"
#include "agent/crash.h"
#include "agent/fault.h"
#include "agent/log_port.h"
#include "agent/notify.h"
#include "agent/passfd.h"
#include "agent/rpc.h"
#include "agent/sandbox.h"
#include "agent/version.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/self.h"
#include "base/str.h"
#include "engine/resources.h"
#include "guest/cpu_memory.h"
#include "guest/mount_table.h"
#include "guest/power.h"
#include "guest/uevent.h"
#include "ttrpc/ttrpc.h"

enum {
	LOG_RING = 64 * 1024,
	FLUSH_MS = 2000,     /* for the last answers to leave */
	SHUTDOWN_MS = 10000, /* for everything to be taken down after a signal */
	LOG_FLUSH_MS = 500,
	SYNC_MS = 5000,
	FILES = 1 << 20,
	LISTEN_AGAIN_MS = 100, /* as PID 1, between tries */
	LISTEN_SLOW_MS = 1000, /* the same after LISTEN_TRIES, when the default address is tried, too */
	LISTEN_TRIES = 100,
};

extern char **environ;

struct program {
	bool pid1;
	struct config config;
	struct loop *loop;
	struct ttrpc_server *server;
	struct sandbox *sandbox;
	struct port *log_port;
	struct passfd *passfd;
	struct console *console;
	struct uevents *uevents; /* NULL where the kernel's events cannot be had */
	struct memory_onliner *onliner;
	struct loop_signal terminate, interrupt;
	struct loop_timer deadline;
	struct loop_timer listen_again;
	unsigned listen_tries; /* that have failed */
};

/* --- the command line --- */

struct options {
	const char *config;
	unsigned version; /* how often it was asked for */
	bool help;
	bool check_config;
};

static const char usage[] =
	"Usage: kata-agent [OPTIONS]\n"
	"\n"
	"The guest agent of Kata Containers. Serves its ttRPC API until DestroySandbox or SIGTERM.\n"
	"\n"
	"  -c, --config FILE   read the configuration from FILE (TOML) instead of the kernel command line\n"
	"      --check-config  print every setting and where it comes from, and what is wrong; then exit\n"
	"  -v, --version       print the version; twice: the cgroup driver too\n"
	"  -h, --help          print this\n"
	"\n"
	"Environment: KATA_AGENT_SERVER_ADDR (unix:///PATH, unix://@NAME, vsock://CID:PORT),\n"
	"KATA_AGENT_LOG_LEVEL, KATA_AGENT_POLICY_FILE. See kata-agent(8).\n";

static void print_version(unsigned verbose, enum cgroup_pin pin)
{
	size_t count;
	const char *const *features = agent_features(&count);
	printf("kata-agent version %s (api version: %s, commit version: %s, type: c, extra-features: [",
	       AGENT_VERSION, API_VERSION, agent_commit());
	for (size_t i = 0; i < count; i++)
		printf("%s\"%s\"", i > 0 ? ", " : "", features[i]);
	printf("])\n");
	if (verbose < 2)
		return;
	const char *why;
	enum cgroup_driver driver =
		cgroup_choose(getpid() == 1, "a:b:c", getpid() != 1 && cgroup_systemd_running(), pin, &why);
	printf("cgroup driver: %s (%s)\n", driver == CGROUP_SYSTEMD ? "systemd" : "cgroupfs", why);
}

/* False: bad usage. As PID 1 words that are not ours are the kernel's, and passed over; so are -v and -h there, which would
 * be its first process's end. */
static bool parse(int argc, char **argv, struct options *options, bool pid1)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'},
		{"check-config", no_argument, NULL, 'C'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	opterr = !pid1;
	for (int c; (c = getopt_long(argc, argv, pid1 ? "c:" : "c:vh", longs, NULL)) != -1;) {
		if (c == 'c')
			options->config = optarg;
		else if (c == 'C')
			options->check_config = true;
		else if (c == 'v')
			options->version++;
		else if (c == 'h')
			options->help = true;
		else if (!pid1)
			return false;
	}
	if (optind < argc && !pid1 && strcmp(argv[optind], "help") == 0)
		options->help = true;
	else if (optind < argc && !pid1)
		return fprintf(stderr, "kata-agent: unexpected argument '%s'\n", argv[optind]) < 0;
	return true;
}

/* --- the process --- */

/* PID 1's are boot.c's business. Containers inherit it, as from the reference's unit. */
static void raise_limits(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max < FILES ? limit.rlim_max : FILES;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* From containers that would overwrite it. Needs /proc. */
static void protect(char **argv)
{
	struct error e = ERROR_INIT;
	if (self_protect(argv, environ, &e) < 0)
		log_warning("root", "the program's file is not protected from containers", "error", e.text);
	/* Executed by descriptor it has that one's number for a name. */
	(void)prctl(PR_SET_NAME, "kata-agent");
}

static void prepare_process(const struct program *program)
{
	(void)signal(SIGPIPE, SIG_IGN);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		log_error("root", "failed to setup agent as a child subreaper", "error", error_name(errno));
	if (!program->pid1)
		raise_limits();
}

/* pivot_root(2) refuses to move the initramfs away. */
static bool root_is_initramfs(void)
{
	struct mount_look look;
	return mount_table_look("/", &look) == 0 && strcmp(look.fstype, "rootfs") == 0;
}

/* --- the end --- */

static void leave(struct program *program)
{
	loop_quit(program->loop, 0);
}

static void flushed(void *data)
{
	leave(data);
}

static void deadline_passed(struct loop_timer *timer)
{
	struct program *program = list_entry(timer, struct program, deadline);
	log_warning("root", "leaving with work undone");
	leave(program);
}

/* Nothing is left to do but to let the last answers out. */
static void sandbox_gone(void *data)
{
	struct program *program = data;
	loop_timer_remove(&program->listen_again);
	ttrpc_server_close_listeners(program->server);
	if (ttrpc_server_flushed(program->server)) {
		leave(program);
		return;
	}
	ttrpc_server_on_flushed(program->server, flushed, program);
	if (loop_timer_set(program->loop, &program->deadline, FLUSH_MS, deadline_passed) < 0)
		leave(program);
}

static void shut_down(struct program *program, const char *why)
{
	log_info("root", "shutting down", "signal", why);
	notify_systemd("STOPPING=1");
	if (program->deadline.loop || !program->sandbox ||
	    loop_timer_set(program->loop, &program->deadline, SHUTDOWN_MS, deadline_passed) < 0) {
		/* Asked for twice: now. */
		leave(program);
		return;
	}
	sandbox_destroy(program->sandbox, NULL);
}

static void terminated(struct loop_signal *source, const struct signalfd_siginfo *info)
{
	(void)info;
	shut_down(list_entry(source, struct program, terminate), "SIGTERM");
}

static void interrupted(struct loop_signal *source, const struct signalfd_siginfo *info)
{
	(void)info;
	shut_down(list_entry(source, struct program, interrupt), "SIGINT");
}

/* --- listening --- */

/* Those that are not open yet. */
static void open_ports(struct program *program)
{
	const struct config *config = &program->config;
	struct error e = ERROR_INIT;
	if (config->log_vport > 0 && !program->log_port &&
	    !(program->log_port = log_port_new(program->loop, config->log_vport, &e)))
		log_warning("root", "no log port", "error", e.text);
	if (config->passfd_listener_port > 0 && !program->passfd &&
	    !(program->passfd = passfd_new(program->loop, config->passfd_listener_port,
					   getenv("KATA_AGENT_PASSFD_ANY_CID") != NULL, &e)))
		log_warning("root", "no pass-through streams", "error", e.text);
	program->sandbox->options.passfd = program->passfd;
	if (config->debug_console && !program->console &&
	    !(program->console = console_new(program->loop, config->debug_console_vport, console_shells, &e)))
		log_warning("root", "no debug console", "error", e.text);
}

static void listening(const struct program *program, const char *address)
{
	if (program->listen_tries > 0)
		log_warning("root", "listening at last", "server-address", address, "failed-tries",
			    LOG_NUMBER(program->listen_tries));
}

/* Whether an address that is no good is the only obstacle, or stays one, the default is what hosts dial. */
static int listen_anywhere(struct program *program, struct error *e)
{
	const char *address = program->config.server_addr;
	int r = ttrpc_server_listen(program->server, address, e);
	if (r < 0 && (r == -EINVAL || program->listen_tries >= LISTEN_TRIES)) {
		address = CONFIG_SERVER_ADDR;
		r = ttrpc_server_listen(program->server, address, NULL);
	}
	if (r == 0)
		listening(program, address);
	return r;
}

static void listen_again(struct loop_timer *timer)
{
	struct program *program = list_entry(timer, struct program, listen_again);
	struct error e = ERROR_INIT;
	if (listen_anywhere(program, &e) == 0) {
		open_ports(program);
		return;
	}
	bool slow = ++program->listen_tries >= LISTEN_TRIES;
	if (program->listen_tries % LISTEN_TRIES == 0)
		log_error("root", "still cannot listen", "error", e.text);
	loop_timer_set(program->loop, timer, slow ? LISTEN_SLOW_MS : LISTEN_AGAIN_MS, listen_again);
}

/*
 * Whoever has started us elsewhere sees the failure and decides. In a guest of our own there is nobody else: the module
 * for vsock may still be on its way, and a guest that says on its console why nobody can reach it is of more use than
 * one that is gone.
 */
static int listen_first(struct program *program, struct error *e)
{
	if (!program->pid1)
		return ttrpc_server_listen(program->server, program->config.server_addr, e);
	int r = listen_anywhere(program, e);
	if (r < 0) {
		program->listen_tries = 1;
		log_error("root", "cannot listen; will go on trying", "server-address",
			  program->config.server_addr, "error", e->text);
		r = loop_timer_set(program->loop, &program->listen_again, LISTEN_AGAIN_MS, listen_again);
	} else if (e->text[0]) {
		log_error("root", "listening on the default address", "server-address", CONFIG_SERVER_ADDR,
			  "error", e->text);
	}
	return r < 0 ? error_errno(e, -r, "listen") : 0;
}

/* --- the beginning --- */

static int listen_early(struct program *program, struct error *e)
{
	program->loop = loop_new();
	if (!program->loop)
		return error_errno(e, errno, "event loop");
	log_limit_rate(true);
	if (log_attach(program->loop, LOG_RING) < 0)
		log_warning("root", "the log is not queued");
	program->server = ttrpc_server_new(program->loop);
	if (!program->server)
		return error_errno(e, ENOMEM, "server");
	return listen_first(program, e);
}

/* Only in a guest of its own: on a person's machine hot-plugged memory is not the agent's business. */
static void watch_devices(struct program *program)
{
	struct error e = ERROR_INIT;
	program->uevents = uevents_new(program->loop, "/", &e);
	if (!program->uevents) {
		log_warning("root", "no device events", "error", e.text);
		return;
	}
	if (program->pid1)
		program->onliner = memory_onliner_new(program->loop, program->uevents, "/");
}

static uint64_t seconds_to_ms(uint64_t seconds)
{
	return seconds < UINT32_MAX ? seconds * 1000 : (uint64_t)UINT32_MAX * 1000;
}

static enum resources_devices devices_mode(const struct config *config)
{
	return str_equal(config->cgroup_devices, "on")	  ? RESOURCES_DEVICES_ON
	       : str_equal(config->cgroup_devices, "off") ? RESOURCES_DEVICES_OFF
							  : RESOURCES_DEVICES_AUTO;
}

static int open_sandbox(struct program *program, struct error *e)
{
	struct sandbox_options options = {
		.loop = program->loop,
		.server = program->server,
		.pid1 = program->pid1,
		.pin = program->config.cgroup_driver,
		.no_pivot = root_is_initramfs(),
		.pipe_size = program->config.container_pipe_size,
		.uevents = program->uevents,
		.hotplug_timeout_ms = seconds_to_ms(program->config.hotplug_timeout),
		.renew = program->pid1 || program->config.renew,
		.gone = sandbox_gone,
		.data = program,
	};
	resources_set_devices(devices_mode(&program->config));
	program->sandbox = sandbox_new(&options, e);
	if (!program->sandbox)
		return error_result(e);
	return rpc_register(program->server, program->sandbox, e);
}

/* The first record: who is here, and what it has decided about the guest. */
static void announce(const struct program *program)
{
	const char *why;
	enum cgroup_driver driver =
		cgroup_choose(program->pid1, "a:b:c", !program->pid1 && cgroup_systemd_running(),
			      program->config.cgroup_driver, &why);
	log_info("root", "announce", "agent-version", AGENT_VERSION, "agent-commit", agent_commit(),
		 "api-version", API_VERSION, "init-mode", program->pid1 ? "true" : "false", "cgroup-driver",
		 driver == CGROUP_SYSTEMD ? "systemd" : "cgroupfs", "cgroup-driver-reason", why,
		 "server-address", program->config.server_addr);
	config_log_notes(&program->config);
}

static int start(struct program *program, struct error *e)
{
	if (listen_early(program, e) < 0)
		return error_result(e);
	prepare_process(program);
	announce(program);
	watch_devices(program);
	if (open_sandbox(program, e) < 0)
		return error_result(e);
	open_ports(program);
	loop_signal_add(program->loop, &program->terminate, SIGTERM, terminated);
	/* As PID 1 it would be Ctrl-C of whoever types on the guest's console. */
	if (!program->pid1)
		loop_signal_add(program->loop, &program->interrupt, SIGINT, interrupted);
	notify_systemd("READY=1");
	return 0;
}

static void stop(struct program *program)
{
	if (program->loop) {
		loop_timer_remove(&program->deadline);
		loop_timer_remove(&program->listen_again);
		loop_signal_remove(&program->terminate);
		loop_signal_remove(&program->interrupt);
	}
	memory_onliner_free(program->onliner);
	console_free(program->console);
	port_free(program->log_port);
	ttrpc_server_free(program->server);
	sandbox_free(program->sandbox);
	passfd_free(program->passfd);
	uevents_free(program->uevents);
	log_info("root", "shutdown complete");
	log_detach(LOG_FLUSH_MS);
	loop_free(program->loop);
	config_deinit(&program->config);
}

static int run(struct program *program)
{
	struct error e = ERROR_INIT;
	int status = 1;
	if (start(program, &e) == 0)
		status = loop_run(program->loop) < 0 ? 1 : 0;
	else
		log_write(LOG_CRITICAL, "root", "cannot start", "error", e.text, NULL);
	stop(program);
	if (program->pid1)
		(void)power_end(POWER_OFF, SYNC_MS);
	return status;
}

static int check_config(const struct config *config)
{
	_cleanup_free_ char *text = config_describe(config);
	if (!text)
		return 1;
	fputs(text, stdout);
	return config->n_notes > 0;
}

int main(int argc, char **argv)
{
	struct program program = {.pid1 = getpid() == 1};
	struct options options = {0};
	if (!parse(argc, argv, &options, program.pid1)) {
		fputs(usage, stderr);
		return 2;
	}
	if (options.help) {
		fputs(usage, stdout);
		return 0;
	}
	if (options.version == 1) {
		print_version(1, CGROUP_PIN_AUTO);
		return 0;
	}
	/* Before the first directory is made, and the server's socket file, which a umask of 0 would open to everybody. */
	umask(022);
	if (program.pid1)
		boot_base();
	boot_standard_streams();
	log_init("kata-agent");
	log_set_fd(STDOUT_FILENO);
	protect(argv);
	crash_handlers_install(program.pid1);
	if (config_init(&program.config) < 0)
		return 1;
	config_load(&program.config, options.config, "/proc/cmdline", environ);
	log_set_level(program.config.log_level);
	if (options.version > 1 || options.check_config) {
		int status = 0;
		if (options.version > 1)
			print_version(options.version, program.config.cgroup_driver);
		else
			status = check_config(&program.config);
		config_deinit(&program.config);
		return status;
	}
	fault_init(getenv("KATA_AGENT_FAIL_STEP"));
	if (program.pid1)
		boot_guest(&program.config);
	return run(&program);
}
