/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands, and what they all need. */
#include "ctl/ctl.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/str.h"
#include "proto/json.h"

#define CONTAINER_OPTIONS                                                                                    \
	"      --cap-add CAP          add a capability (or ALL)\n"                                           \
	"      --cap-drop CAP         drop a capability (or ALL)\n"                                          \
	"      --cgroup PATH          the container's cgroup (/a/b, or slice:prefix:name)\n"                 \
	"      --cpus NUMBER          limit of CPUs, for example 1.5\n"                                      \
	"  -e, --env NAME[=VALUE]     environment; without a value, as it is here\n"                         \
	"      --hostname NAME        host name in the container (default: its id)\n"                        \
	"  -m, --memory SIZE          limit of memory, for example 512m\n"                                   \
	"  -n, --name ID              the container's id (default: a random one)\n"                          \
	"      --pids-limit NUMBER    limit of processes\n"                                                  \
	"      --privileged           all capabilities, nothing masked or read-only\n"                       \
	"      --read-only            root filesystem read-only\n"                                           \
	"      --sandbox              call CreateSandbox first\n"                                            \
	"      --spec FILE            a config.json instead of the default configuration;\n"                 \
	"                             ROOTFS and COMMAND may be left out then\n"                             \
	"  -t, --tty                  give it a terminal\n"                                                  \
	"  -u, --user UID[:GID]       run as this user\n"                                                    \
	"  -v, --volume SRC:DST[:OPT] bind mount of a directory that the agent sees\n"                       \
	"  -w, --workdir DIR          working directory\n"

const struct ctl_command ctl_commands[] = {
	{"run", "[OPTION]... ROOTFS [COMMAND [ARG]...]",
	 "create and start a container, attach to it, remove it",
	 CONTAINER_OPTIONS
	 "  -d, --detach               leave it running in the background and print its id\n"
	 "  -i, --interactive          forward standard input (implied by --tty)\n"
	 "      --keep                 do not remove it at the end\n"
	 "      --rm                   remove it at the end (the default unless --detach)\n",
	 cmd_run},
	{"create", "[OPTION]... ROOTFS [COMMAND [ARG]...]", "create a container without starting it",
	 CONTAINER_OPTIONS, cmd_create},
	{"start", "CONTAINER", "start a created container", NULL, cmd_start},
	{"exec", "[OPTION]... CONTAINER COMMAND [ARG]...", "run a command in a running container",
	 "      --cwd DIR              working directory (also -w, --workdir)\n"
	 "  -d, --detach               do not wait for it; print its exec id\n"
	 "  -e, --env NAME[=VALUE]     environment; without a value, as it is here\n"
	 "      --exec-id ID           the process's id (default: a random one)\n"
	 "  -i, --interactive          forward standard input (implied by --tty)\n"
	 "  -t, --tty                  give it a terminal\n"
	 "  -u, --user UID[:GID]       run as this user\n",
	 cmd_exec},
	{"shell", "CONTAINER", "a shell with a terminal in a running container", NULL, cmd_shell},
	{"attach", "[OPTION]... CONTAINER", "attach to a process that was started",
	 "      --exec ID              an executed process instead of the first one\n"
	 "  -i, --interactive          forward standard input\n"
	 "  -t, --tty                  it has a terminal\n",
	 cmd_attach},
	{"list", "[--json] [--quiet]", "list containers (this project's agent only); also ps",
	 "      --json                 a JSON object for each, as the agent sends it\n"
	 "  -q, --quiet                ids only\n",
	 cmd_list},
	{"ps", "[--json] [--quiet]", "the same as list", NULL, cmd_list},
	{"kill", "[OPTION]... CONTAINER", "send a signal",
	 "  -a, --all                  to all processes of the container (with KILL)\n"
	 "      --exec ID              to an executed process\n"
	 "  -s, --signal SIGNAL        name or number (default: TERM)\n",
	 cmd_kill},
	{"wait", "[--exec ID] CONTAINER", "wait for a process to end and print its exit code",
	 "      --exec ID              an executed process instead of the first one\n", cmd_wait},
	{"rm", "[--force] CONTAINER...", "remove containers",
	 "  -f, --force                also running ones, which are killed\n"
	 "      --timeout SECONDS      how long the agent may take (default: no limit)\n",
	 cmd_rm},
	{"pause", "CONTAINER", "freeze all processes of a container", NULL, cmd_pause},
	{"resume", "CONTAINER", "let them go on", NULL, cmd_pause},
	{"stats", "CONTAINER", "print what a container has used, as JSON", NULL, cmd_stats},
	{"cp", "FILE GUEST_PATH", "copy a file, link or directory into the guest", NULL, cmd_cp},
	{"check", "", "ask the agent whether it is well", NULL, cmd_check},
	{"version", "", "print the versions of the agent and of its API", NULL, cmd_version},
	{"bench", "[OPTION]... [ROOTFS]", "measure the agent",
	 "      --count NUMBER         calls for each measurement (default: 10000)\n"
	 "      --size SIZE            bytes to read for the throughput (default: 1g)\n"
	 "      --in-flight NUMBER     calls at a time for the call rate (default: 64)\n",
	 cmd_bench},
	{"connect", "[OPTION]... -c COMMAND...", "run commands as the reference's tool does",
	 "      --server-address ADDR  as the general option\n"
	 "  -c, --cmd COMMAND...       commands with their arguments, each one word; may be repeated\n"
	 "  -i, --interactive          read commands from standard input\n"
	 "      --ignore-errors        go on after a command that failed\n"
	 "      --timeout DURATION     as the general option; 0: none\n"
	 "      --bundle-dir DIR       OCI bundle for CreateContainer and ExecProcess\n"
	 "      --hybrid-vsock         the address is the UNIX socket of a VMM\n"
	 "      --hybrid-vsock-port N  port for it (default: 1024)\n"
	 "  -n, --no-auto-values       do not fill in ids\n"
	 "      --repeat N             run each command N times; -1: for ever\n",
	 cmd_connect},
	{"generate-cid", "", "print a random container id", NULL, cmd_generate_id},
	{"generate-sid", "", "print a random sandbox id", NULL, cmd_generate_id},
	{"examples", "", "print examples", NULL, cmd_examples},
	{0},
};

struct agent *ctl_connect(struct ctl *ctl, struct error *e)
{
	if (!ctl->options.address) {
		error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
			  "need server address (--server-address, or KATA_AGENT_SERVER_ADDR in the "
			  "environment)");
		return NULL;
	}
	if (!ctl->agent)
		ctl->agent = agent_new(&ctl->options, e);
	return ctl->agent;
}

/* What an agent says must not command the terminal. */
static void print_clean(FILE *file, const char *text)
{
	for (; *text; text++)
		fputc(iscntrl((unsigned char)*text) && *text != '\n' && *text != '\t' ? '?' : *text, file);
}

int ctl_fail(int code, const struct error *e, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list arguments;
	int r;

	va_start(arguments, format);
	r = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (r < 0) {
		text = NULL;
		return code;
	}
	fprintf(stderr, "kata-agent-ctl: %s", text);
	if (e) {
		fprintf(stderr, "%s%s: ", *text ? ": " : "", status_name(e->code));
		print_clean(stderr, e->text);
	}
	fputc('\n', stderr);
	return code;
}

int ctl_usage(const struct ctl_command *command, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "kata-agent-ctl %s: ", command->name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\nUsage: kata-agent-ctl %s %s\n`kata-agent-ctl help %s' says more.\n", command->name,
		command->arguments, command->name);
	return CTL_USAGE;
}

void ctl_help(const struct ctl_command *command)
{
	printf("Usage: kata-agent-ctl [OPTION]... %s %s\n\n%c%s.\n", command->name, command->arguments,
	       toupper((unsigned char)command->help[0]), command->help + 1);
	if (command->details)
		printf("\n%s", command->details);
}

/* Agents tell it in words only; these are the words of the engine and of the reference. */
int ctl_exit_code(const struct error *e)
{
	if (!strstr(e->text, "exec") && !strstr(e->text, "not found"))
		return CTL_OWN_FAILURE;
	if (strstr(e->text, "executable file not found") || strcasestr(e->text, "no such file or directory"))
		return CTL_NOT_FOUND;
	if (strcasestr(e->text, "permission denied") || strcasestr(e->text, "exec format error") ||
	    strcasestr(e->text, "is a directory"))
		return CTL_NOT_EXECUTABLE;
	return CTL_OWN_FAILURE;
}

int ctl_no_options(const struct ctl_command *command, int argc, char **argv, int min, int max)
{
	static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		if (option != 'h')
			return ctl_usage(command, "wrong option");
		ctl_help(command);
		return CTL_OK;
	}
	if (argc - optind < min || argc - optind > max)
		return ctl_usage(command,
				 argc - optind < min ? "an argument is missing" : "too many arguments");
	return -optind;
}

int ctl_print(const void *message)
{
	_cleanup_buf_ struct buf text = BUF_INIT;

	if (json_encode(message, JSON_PRETTY | JSON_DEFAULTS, &text) < 0)
		return ctl_fail(CTL_FAILED, NULL, "out of memory");
	if (printf("%s\n", buf_string(&text)) < 0 || fflush(stdout) != 0)
		return ctl_fail(CTL_FAILED, NULL, "standard output: %s", strerror(errno));
	return CTL_OK;
}

const struct proto_method *ctl_method(const char *name)
{
	size_t count;
	const struct proto_method *all = proto_methods(&count);

	/* The reference's tool writes these two differently. */
	if (str_equal(name, "GetIptables"))
		name = "GetIPTables";
	if (str_equal(name, "SetIptables"))
		name = "SetIPTables";
	for (size_t i = 0; i < count; i++) {
		if (str_starts_with(all[i].service, "grpc.") && *name &&
		    toupper((unsigned char)name[0]) == all[i].name[0] &&
		    strcmp(name + 1, all[i].name + 1) == 0)
			return &all[i];
	}
	return NULL;
}
