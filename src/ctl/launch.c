/* SPDX-License-Identifier: Apache-2.0 */
/* One table for all: an option names the commands that know it. Options end at the first word that is none. */
#include "ctl/launch.h"

#include <getopt.h>
#include <string.h>

#include "base/fd.h"

enum {
	FOR_RUN = 1 << LAUNCH_RUN,
	FOR_CREATE = 1 << LAUNCH_CREATE,
	FOR_EXEC = 1 << LAUNCH_EXEC,
	FOR_ATTACH = 1 << LAUNCH_ATTACH,
	FOR_NEW = FOR_RUN | FOR_CREATE,
	FOR_PROCESS = FOR_NEW | FOR_EXEC,
};

enum {
	FIRST_LONG = 256,
	CAP_ADD = FIRST_LONG,
	CAP_DROP,
	CGROUP,
	CPUS,
	HOSTNAME,
	PIDS,
	PRIVILEGED,
	READ_ONLY,
	SANDBOX,
	SPEC,
	KEEP,
	RM,
	EXEC_ID
};

static const struct known {
	struct option option;
	unsigned commands;
} known[] = {
	{{"cap-add", required_argument, NULL, CAP_ADD}, FOR_NEW},
	{{"cap-drop", required_argument, NULL, CAP_DROP}, FOR_NEW},
	{{"cgroup", required_argument, NULL, CGROUP}, FOR_NEW},
	{{"cpus", required_argument, NULL, CPUS}, FOR_NEW},
	{{"cwd", required_argument, NULL, 'w'}, FOR_PROCESS},
	{{"detach", no_argument, NULL, 'd'}, FOR_RUN | FOR_EXEC},
	{{"env", required_argument, NULL, 'e'}, FOR_PROCESS},
	{{"exec", required_argument, NULL, EXEC_ID}, FOR_ATTACH},
	{{"exec-id", required_argument, NULL, EXEC_ID}, FOR_EXEC},
	{{"hostname", required_argument, NULL, HOSTNAME}, FOR_NEW},
	{{"interactive", no_argument, NULL, 'i'}, FOR_RUN | FOR_EXEC | FOR_ATTACH},
	{{"keep", no_argument, NULL, KEEP}, FOR_RUN},
	{{"memory", required_argument, NULL, 'm'}, FOR_NEW},
	{{"name", required_argument, NULL, 'n'}, FOR_NEW},
	{{"pids-limit", required_argument, NULL, PIDS}, FOR_NEW},
	{{"privileged", no_argument, NULL, PRIVILEGED}, FOR_NEW},
	{{"read-only", no_argument, NULL, READ_ONLY}, FOR_NEW},
	{{"rm", no_argument, NULL, RM}, FOR_RUN},
	{{"sandbox", no_argument, NULL, SANDBOX}, FOR_NEW},
	{{"spec", required_argument, NULL, SPEC}, FOR_NEW},
	{{"tty", no_argument, NULL, 't'}, FOR_PROCESS | FOR_ATTACH},
	{{"user", required_argument, NULL, 'u'}, FOR_PROCESS},
	{{"volume", required_argument, NULL, 'v'}, FOR_NEW},
	{{"workdir", required_argument, NULL, 'w'}, FOR_PROCESS},
	{{"help", no_argument, NULL, 'h'}, FOR_PROCESS | FOR_ATTACH},
};

/* What getopt_long() wants, for one kind. */
struct syntax {
	struct option options[array_length(known) + 1];
	char letters[2 + 2 * array_length(known)];
};

static void syntax_of(struct syntax *syntax, enum launch_kind kind)
{
	size_t n = 0;
	size_t at = 0;

	*syntax = (struct syntax){.letters = "+"};
	at = 1;
	for (size_t i = 0; i < array_length(known); i++) {
		const struct option *option = &known[i].option;

		if (!(known[i].commands & 1U << kind))
			continue;
		syntax->options[n++] = *option;
		if (option->val >= FIRST_LONG || strchr(syntax->letters, option->val))
			continue;
		syntax->letters[at++] = (char)option->val;
		if (option->has_arg)
			syntax->letters[at++] = ':';
	}
}

/* Lists have room for every word of the command line. */
static bool make_lists(struct spec_options *spec, size_t argc, struct arena *arena)
{
	spec->env = arena_array(arena, argc, sizeof(char *));
	spec->volumes = arena_array(arena, argc, sizeof(char *));
	spec->cap_add = arena_array(arena, argc, sizeof(char *));
	spec->cap_drop = arena_array(arena, argc, sizeof(char *));
	return spec->env && spec->volumes && spec->cap_add && spec->cap_drop;
}

static void take_spec_option(struct spec_options *spec, int option)
{
	switch (option) {
	case CAP_ADD:
		spec->cap_add[spec->n_cap_add++] = optarg;
		break;
	case CAP_DROP:
		spec->cap_drop[spec->n_cap_drop++] = optarg;
		break;
	case CGROUP:
		spec->cgroup = optarg;
		break;
	case CPUS:
		spec->cpus = optarg;
		break;
	case 'e':
		spec->env[spec->n_env++] = optarg;
		break;
	case HOSTNAME:
		spec->hostname = optarg;
		break;
	case 'm':
		spec->memory = optarg;
		break;
	case PIDS:
		spec->pids = optarg;
		break;
	case PRIVILEGED:
		spec->privileged = true;
		break;
	case READ_ONLY:
		spec->readonly = true;
		break;
	case 't':
		spec->tty = true;
		break;
	case 'u':
		spec->user = optarg;
		break;
	case 'v':
		spec->volumes[spec->n_volumes++] = optarg;
		break;
	case 'w':
		spec->cwd = optarg;
		break;
	default:
		break;
	}
}

static void take_option(struct launch *launch, int option)
{
	switch (option) {
	case 'd':
		launch->detach = true;
		break;
	case EXEC_ID:
		launch->exec_id = optarg;
		break;
	case 'i':
		launch->interactive = true;
		break;
	case KEEP:
		launch->keep = true;
		break;
	case RM:
		launch->keep = false;
		break;
	case 'n':
		launch->name = optarg;
		break;
	case SANDBOX:
		launch->sandbox = true;
		break;
	case SPEC:
		launch->spec_file = optarg;
		break;
	default:
		take_spec_option(&launch->spec, option);
		break;
	}
}

int launch_parse(struct launch *launch, enum launch_kind kind, const struct ctl_command *command, int argc,
		 char **argv, struct arena *arena)
{
	struct syntax syntax;
	int option;

	*launch = (struct launch){.arena = arena};
	if (!make_lists(&launch->spec, (size_t)argc, arena))
		return ctl_fail(CTL_OWN_FAILURE, NULL, "out of memory");
	syntax_of(&syntax, kind);
	optind = 0;
	while ((option = getopt_long(argc, argv, syntax.letters, syntax.options, NULL)) != -1) {
		if (option == 'h') {
			ctl_help(command);
			return CTL_OK;
		}
		if (option == '?') {
			ctl_usage(command, "wrong option");
			return CTL_OWN_FAILURE;
		}
		take_option(launch, option);
	}
	launch->interactive |= launch->spec.tty;
	launch->words = argv + optind;
	launch->n_words = (size_t)(argc - optind);
	return -1;
}
