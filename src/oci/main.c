/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kata-oci: global options, the table of commands, and how errors are told. The forms of options and messages are those
 * that containerd, podman and people expect of a runtime; see kata-oci(8).
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/self.h"
#include "base/str.h"
#include "engine/oci_state.h"
#include "oci/oci.h"

#ifndef OCI_VERSION
#define OCI_VERSION "unknown"
#endif

static const struct command commands[] = {
	{"create", "[OPTIONS] ID", "make a container of a bundle, up to its start", command_create},
	{"delete", "[--force] ID", "remove a container that has stopped", command_delete},
	{"events", "[--stats] [--interval=TIME] ID", "tell out-of-memory events and statistics",
	 command_events},
	{"exec", "[OPTIONS] ID [COMMAND…]", "run a further program in a container", command_exec},
	{"features", "", "tell what this runtime can do", command_features},
	{"kill", "[--all] ID [SIGNAL]", "send a signal to a container's init process", command_kill},
	{"list", "[-q] [--format=table|json]", "list containers", command_list},
	{"pause", "ID", "freeze a container's processes", command_pause},
	{"ps", "[--format=table|json] ID [OPTION…]", "list a container's processes", command_ps},
	{"resume", "ID", "thaw a paused container", command_resume},
	{"run", "[OPTIONS] ID", "create, start, and wait for a container", command_run},
	{"spec", "[--bundle=DIR] [--rootless]", "write a config.json to begin with", command_spec},
	{"start", "ID", "start the program of a created container", command_start},
	{"state", "ID", "tell a container's state", command_state},
	{"stats", "[--interval=TIME] ID", "tell statistics once", command_events},
	{"update", "[OPTIONS] ID", "change resource limits", command_update},
};

/* --- telling ------------------------------------------------------------------------------------------------ */

static void append_time(struct buf *line)
{
	struct timespec now;
	struct tm tm;
	char text[32];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_printf(line, "%s.%09ldZ", text, now.tv_nsec);
}

/* What is said goes to the log in the form that containerd reads back. */
static void log_line(const struct oci *oci, const char *text)
{
	_cleanup_buf_ struct buf line = BUF_INIT;

	if (!oci->log_path)
		return;
	_cleanup_fd_ int fd = open(oci->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);
	if (fd < 0)
		return;
	buf_append_string(&line, oci->log_json ? "{\"level\":\"error\",\"msg\":" : "time=\"");
	if (!oci->log_json) {
		append_time(&line);
		buf_append_string(&line, "\" level=error msg=");
	}
	json_append_quoted(&line, text);
	if (oci->log_json) {
		buf_append_string(&line, ",\"time\":\"");
		append_time(&line);
		buf_append_string(&line, "\"}");
	}
	buf_append_char(&line, '\n');
	(void)fd_write_all(fd, buf_begin(&line), line.length);
}

int oci_fail(const struct oci *oci, const struct error *e)
{
	fprintf(stderr, "kata-oci: %s\n", e->text);
	log_line(oci, e->text);
	return 1;
}

int oci_complain(const struct oci *oci, const char *format, ...)
{
	struct error e = ERROR_INIT;
	va_list args;

	va_start(args, format);
	(void)vsnprintf(e.text, sizeof(e.text), format, args);
	va_end(args);
	return oci_fail(oci, &e);
}

int oci_usage(const struct oci *oci)
{
	fprintf(stderr, "usage: kata-oci [GLOBAL OPTIONS] %s %s\n", oci->command->name,
		oci->command->arguments);
	return 1;
}

const char *oci_only_id(const struct oci *oci, int argc, char **argv, int index)
{
	if (index >= argc || index + 1 < argc) {
		oci_complain(oci, index >= argc ? "the id of a container is missing" : "too many arguments");
		oci_usage(oci);
		return NULL;
	}
	return argv[index];
}

int signal_number(const char *name)
{
	uint32_t number;
	int base = -1;

	if (str_to_u32(name, 10, &number) == 0)
		return number < 65 ? (int)number : -1;
	if (strncasecmp(name, "SIG", 3) == 0)
		name += 3;
	if (strncasecmp(name, "RTMIN", 5) == 0)
		base = SIGRTMIN;
	else if (strncasecmp(name, "RTMAX", 5) == 0)
		base = SIGRTMAX;
	if (base > 0) {
		name += 5;
		if (!*name)
			return base;
		if ((*name != '+' && *name != '-') || str_to_u32(name + 1, 10, &number) < 0 || number > 64)
			return -1;
		int value = *name == '+' ? base + (int)number : base - (int)number;
		return value >= SIGRTMIN && value <= SIGRTMAX ? value : -1;
	}
	for (int i = 1; i < 32; i++) {
		const char *abbreviation = sigabbrev_np(i);
		if (abbreviation && strcasecmp(abbreviation, name) == 0)
			return i;
	}
	return -1;
}

/* --- global options ----------------------------------------------------------------------------------------- */

static void print_help(FILE *out)
{
	fputs("usage: kata-oci [GLOBAL OPTIONS] COMMAND [OPTIONS] [ARGUMENTS]\n\ncommands:\n", out);
	for (size_t i = 0; i < array_length(commands); i++)
		fprintf(out, "  %-9s %-36s %s\n", commands[i].name, commands[i].arguments,
			commands[i].summary);
	fputs("\nglobal options:\n"
	      "  --root=DIR                where states live (/run/kata-oci; for users "
	      "$XDG_RUNTIME_DIR/kata-oci)\n"
	      "  --log=FILE                also write errors there\n"
	      "  --log-format=text|json    the form of that file\n"
	      "  --log-level=LEVEL         error, warning (the default), info, debug\n"
	      "  --debug                   tell what the engine does, in the log or on stderr\n"
	      "  --systemd-cgroup          let systemd keep the cgroups (--cgroup-manager=systemd|cgroupfs)\n"
	      "  --rootless=auto|true|false\n"
	      "  --version, --help\n",
	      out);
}

static void print_command_help(const struct command *command)
{
	printf("usage: kata-oci [GLOBAL OPTIONS] %s %s\n\n%s; see kata-oci(8) for its options\n",
	       command->name, command->arguments, command->summary);
}

static void print_version(void)
{
	printf("kata-oci version %s\nspec: %s\n", OCI_VERSION, OCI_RUNTIME_SPEC_VERSION);
}

static int set_root(struct oci *oci, const char *given)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int n;

	oci->root_given = given != NULL;
	if (given && given[0] == '/') {
		oci->root = given;
		return 0;
	}
	if (given) {
		char cwd[PATH_MAX];
		if (!getcwd(cwd, sizeof(cwd)))
			return oci_complain(oci, "the working directory is gone");
		n = snprintf(oci->root_buffer, sizeof(oci->root_buffer), "%s/%s", cwd, given);
	} else if (geteuid() == 0 && !oci->rootless) {
		n = snprintf(oci->root_buffer, sizeof(oci->root_buffer), "/run/kata-oci");
	} else if (!str_is_empty(runtime)) {
		n = snprintf(oci->root_buffer, sizeof(oci->root_buffer), "%s/kata-oci", runtime);
	} else {
		n = snprintf(oci->root_buffer, sizeof(oci->root_buffer), "/tmp/kata-oci-%u", geteuid());
	}
	oci->root = oci->root_buffer;
	if (n < 0 || (size_t)n >= sizeof(oci->root_buffer))
		return oci_complain(oci, "the state root's path is too long");
	return 0;
}

/* The engine's warnings, and with --debug all that it does: in the log, whose descriptor is in @fd, or on stderr. */
static int set_up_log(const struct oci *oci, enum log_level level, int *fd)
{
	*fd = -1;
	if (oci->log_path) {
		*fd = open(oci->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);
		/* Whoever names a log looks for his errors there. */
		if (*fd < 0)
			return oci_complain(oci, "--log: open \"%s\": %s", oci->log_path, strerror(errno));
	}
	log_init("kata-oci");
	log_set_form(oci->log_json ? LOG_FORM_JSON : LOG_FORM_TEXT);
	log_set_fd(oci->log_path ? *fd : 2);
	log_set_level(oci->debug ? LOG_DEBUG : level);
	return 0;
}

static int set_manager(struct oci *oci, const char *name)
{
	oci->systemd_cgroup = strcmp(name, "systemd") == 0;
	if (!oci->systemd_cgroup && strcmp(name, "cgroupfs") != 0)
		return oci_complain(oci, "--cgroup-manager: \"%s\" is neither systemd nor cgroupfs", name);
	return 0;
}

static int set_rootless(struct oci *oci, const char *text)
{
	static const char *const yes[] = {"true", "True", "TRUE", "t", "T", "1"};
	static const char *const no[] = {"false", "False", "FALSE", "f", "F", "0"};

	oci->rootless = strcmp(text, "auto") == 0 && geteuid() != 0;
	if (strcmp(text, "auto") == 0)
		return 0;
	for (size_t i = 0; i < array_length(yes); i++) {
		oci->rootless = strcmp(text, yes[i]) == 0;
		if (oci->rootless || strcmp(text, no[i]) == 0)
			return 0;
	}
	return oci_complain(oci, "--rootless: \"%s\" is neither auto nor true nor false", text);
}

enum { ROOT = 256, LOG, LOG_FORMAT, LEVEL, DEBUG, SYSTEMD, ROOTLESS, MANAGER, CRIU };

static const struct option options[] = {
	{"root", required_argument, NULL, ROOT},
	{"log", required_argument, NULL, LOG},
	{"log-format", required_argument, NULL, LOG_FORMAT},
	{"log-level", required_argument, NULL, LEVEL},
	{"debug", no_argument, NULL, DEBUG},
	{"systemd-cgroup", no_argument, NULL, SYSTEMD},
	{"cgroup-manager", required_argument, NULL, MANAGER},
	{"rootless", required_argument, NULL, ROOTLESS},
	{"criu", required_argument, NULL, CRIU},
	{"version", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* 0: go on; 1: done, exit with *@status. */
static int parse(struct oci *oci, int argc, char **argv, const char **root, enum log_level *level,
		 int *status)
{
	int c;

	*status = 0;
	while ((c = getopt_long(argc, argv, "+vh", options, NULL)) != -1) {
		switch (c) {
		case ROOT:
			*root = optarg;
			break;
		case LOG:
			oci->log_path = *optarg ? optarg : NULL;
			break;
		case LOG_FORMAT:
			oci->log_json = strcmp(optarg, "json") == 0;
			if (!oci->log_json && strcmp(optarg, "text") != 0) {
				*status = oci_complain(oci, "unknown log format \"%s\"", optarg);
				return 1;
			}
			break;
		case LEVEL:
			if (!log_level_parse(optarg, level)) {
				*status = oci_complain(oci, "unknown log level \"%s\"", optarg);
				return 1;
			}
			break;
		case DEBUG:
			oci->debug = true;
			break;
		case SYSTEMD:
			oci->systemd_cgroup = true;
			break;
		case MANAGER:
			*status = set_manager(oci, optarg);
			if (*status)
				return 1;
			break;
		case ROOTLESS:
			*status = set_rootless(oci, optarg);
			if (*status)
				return 1;
			break;
		case CRIU:
			break;
		case 'v':
			print_version();
			return 1;
		case 'h':
			print_help(stdout);
			return 1;
		default:
			*status = 1;
			return 1;
		}
	}
	return 0;
}

/* A process that becomes a container's first runs this program until then: see base/self.h. */
static void protect(const char *name, char **argv)
{
	static const char *const makers[] = {"create", "run", "exec"};
	struct error e = ERROR_INIT;

	for (size_t i = 0; i < array_length(makers); i++)
		if (strcmp(makers[i], name) == 0 && self_protect(argv, environ, &e) < 0)
			log_warning("root", "the program's file is not protected from containers", "error",
				    e.text);
	(void)prctl(PR_SET_NAME, "kata-oci");
}

int main(int argc, char **argv)
{
	struct oci oci = {.rootless = geteuid() != 0};
	enum log_level level = LOG_WARNING;
	const char *root = NULL;
	int log_fd, status;

	if (parse(&oci, argc, argv, &root, &level, &status))
		return status;
	if (optind >= argc) {
		print_help(stderr);
		return 1;
	}
	const char *name = argv[optind];
	protect(name, argv);
	if (strcmp(name, "help") == 0) {
		print_help(stdout);
		return 0;
	}
	for (size_t i = 0; i < array_length(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			oci.command = &commands[i];
	}
	if (strcmp(name, "checkpoint") == 0 || strcmp(name, "restore") == 0)
		return oci_complain(&oci, "%s is not supported: no container is saved or brought back here",
				    name);
	if (!oci.command)
		return oci_complain(&oci, "unknown command \"%s\"", name);
	if (set_root(&oci, root))
		return 1;
	argc -= optind;
	argv += optind;
	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		print_command_help(oci.command);
		return 0;
	}
	if (set_up_log(&oci, level, &log_fd))
		return 1;
	/* A second round of getopt, for the command's own options. */
	optind = 0;
	status = oci.command->run(&oci, argc, argv);
	fd_close(log_fd);
	return status;
}
