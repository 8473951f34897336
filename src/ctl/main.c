/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kata-agent-ctl: a client of the agent for people and scripts. General options come first, then a command, which is
 * one of the table in ctl.c or the name of an RPC.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "ctl/ctl.h"
#include "ctl/units.h"

static void print_commands(void)
{
	size_t count;
	const struct proto_method *methods = proto_methods(&count);

	printf("Commands:\n");
	for (const struct ctl_command *command = ctl_commands; command->name; command++)
		printf("  %-14s %s\n", command->name, command->help);
	printf("\nCalls by name, as NAME [JSON | @FILE | - | MEMBER=VALUE...]:\n");
	for (size_t i = 0; i < count; i++) {
		if (str_starts_with(methods[i].service, "grpc."))
			printf("  %-32s%s", methods[i].name, i % 2 ? "\n" : "");
	}
	printf("\n");
}

static void print_help(void)
{
	printf("Usage: kata-agent-ctl [OPTION]... COMMAND [ARGUMENT]...\n\n"
	       "Control a Kata Containers guest agent.\n\n"
	       "Options:\n"
	       "  -a, --server-address ADDR  unix:///PATH, unix://@NAME, vsock://CID:PORT or "
	       "hvsock:///PATH:PORT\n"
	       "                             (default: KATA_AGENT_SERVER_ADDR of the environment)\n"
	       "      --timeout DURATION     limit of each call, for example 5s; 0: none\n"
	       "  -l, --log-level LEVEL      debug or trace: tell each call on standard error\n"
	       "  -h, --help                 print this\n"
	       "  -V, --version              print the version\n\n");
	print_commands();
	printf("\n`kata-agent-ctl help COMMAND' says more about one.\n");
}

static const struct ctl_command *find_command(const char *name)
{
	for (const struct ctl_command *command = ctl_commands; command->name; command++) {
		if (strcmp(command->name, name) == 0)
			return command;
	}
	return NULL;
}

static int help(int argc, char **argv)
{
	const struct ctl_command *command;

	if (argc < 2) {
		print_help();
		return CTL_OK;
	}
	command = find_command(argv[1]);
	if (command) {
		ctl_help(command);
		return CTL_OK;
	}
	if (ctl_method(argv[1])) {
		printf("Usage: kata-agent-ctl [OPTION]... %s [JSON | @FILE | - | MEMBER=VALUE...]\n\n"
		       "Call %s with the request %s and print the answer as JSON.\n",
		       argv[1], ctl_method(argv[1])->name, ctl_method(argv[1])->request->name);
		return CTL_OK;
	}
	return ctl_fail(CTL_USAGE, NULL, "no command \"%s\"", argv[1]);
}

static int dispatch(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_command *command = find_command(argv[0]);
	const struct proto_method *method;

	if (command)
		return command->run(ctl, command, argc, argv);
	if (strcmp(argv[0], "help") == 0)
		return help(argc, argv);
	method = ctl_method(argv[0]);
	if (method)
		return cmd_rpc(ctl, method, argc, argv);
	return ctl_fail(CTL_USAGE, NULL, "no command \"%s\"; `kata-agent-ctl help' lists them", argv[0]);
}

/* Negative: the arguments go on at -result. */
static int general_options(struct ctl *ctl, int argc, char **argv)
{
	static const struct option options[] = {
		{"server-address", required_argument, NULL, 'a'},
		{"timeout", required_argument, NULL, 'T'},
		{"log-level", required_argument, NULL, 'l'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "+a:l:hV", options, NULL)) != -1) {
		switch (option) {
		case 'a':
			ctl->options.address = optarg;
			break;
		case 'T':
			if (duration_parse(optarg, &ctl->options.timeout_ns) < 0)
				return ctl_fail(CTL_USAGE, NULL, "\"%s\" is not a duration like 5s", optarg);
			break;
		case 'l':
			ctl->options.verbose = str_equal(optarg, "debug") || str_equal(optarg, "trace");
			break;
		case 'h':
			print_help();
			return CTL_OK;
		case 'V':
			printf("kata-agent-ctl version %s (api version: 0.0.1)\n", CTL_VERSION);
			return CTL_OK;
		default:
			return ctl_fail(CTL_USAGE, NULL,
					"`kata-agent-ctl --help' says which options there are");
		}
	}
	if (optind >= argc)
		return ctl_fail(CTL_USAGE, NULL, "need sub-command; `kata-agent-ctl help' lists them");
	return -optind;
}

int main(int argc, char **argv)
{
	struct ctl ctl = {.options = {.address = getenv("KATA_AGENT_SERVER_ADDR"), .timeout_ns = -1}};
	int r;

	/* A broken pipe is an error of write(2) to us. */
	signal(SIGPIPE, SIG_IGN);
	if (str_is_empty(ctl.options.address))
		ctl.options.address = NULL;
	r = general_options(&ctl, argc, argv);
	if (r < 0)
		r = dispatch(&ctl, argc + r, argv - r);
	agent_free(ctl.agent);
	return r;
}
