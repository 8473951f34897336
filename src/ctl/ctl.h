/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

/* What the tool's commands have in common: the general options, the connection, exit codes, messages. */

#include <stdbool.h>
#include <stdint.h>

#include "ctl/agent.h"

enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1,
	CTL_USAGE = 2,
	/* Of commands whose exit code is otherwise the process's, as with other container tools. */
	CTL_OWN_FAILURE = 125,
	CTL_NOT_EXECUTABLE = 126,
	CTL_NOT_FOUND = 127,
};

struct ctl {
	struct agent_options options; /* address NULL: not given */
	struct agent *agent;	      /* NULL until ctl_connect() */
};

struct ctl_command {
	const char *name;
	const char *arguments; /* for the synopsis */
	const char *help;      /* one line */
	const char *details;   /* options, line by line; may be NULL */
	/* @argv[0] is the command's name. The program's exit code. */
	int (*run)(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
};

/* All commands for people, ending with one without a name. RPCs by name are not among them. */
extern const struct ctl_command ctl_commands[];

/* Connects unless connected. NULL with @e set. */
struct agent *ctl_connect(struct ctl *ctl, struct error *e);

/* `kata-agent-ctl: TEXT: what the error says` on stderr; returns @code. */
int ctl_fail(int code, const struct error *e, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* For wrong usage: says so, and where help is. Returns CTL_USAGE. */
int ctl_usage(const struct ctl_command *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The full help of a command, on stdout. */
void ctl_help(const struct ctl_command *command);
/* The exit code for a process that could not be created or started: 125, 126 or 127. */
int ctl_exit_code(const struct error *e);
/* The options of a command without any but --help. Negative: go on at -result; else the exit code. */
int ctl_no_options(const struct ctl_command *command, int argc, char **argv, int min, int max);
/* Prints a message as indented JSON with all of its members. The exit code. */
int ctl_print(const void *message);

/* The commands. */
int cmd_run(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_create(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_exec(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_shell(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_attach(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_check(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_version(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_list(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_start(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_pause(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_stats(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_kill(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_wait(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_rm(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_cp(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_bench(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_connect(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_generate_id(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
int cmd_examples(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv);
/* A call by the method's name. */
int cmd_rpc(struct ctl *ctl, const struct proto_method *method, int argc, char **argv);
/* The method that is called @name (`Check`, or `check` with a small first letter), as far as an agent serves it; or NULL. */
const struct proto_method *ctl_method(const char *name);

#endif
