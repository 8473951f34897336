/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_OCI_H
#define OCI_OCI_H

/*
 * kata-oci: the container engine behind the command line that OCI runtimes share. What every command knows.
 *
 * Each invocation does one thing and ends. What outlives it is a directory per container below the state root
 * (state_dir.h), and the container itself.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct oci {
	const char *root; /* where states live */
	bool root_given;
	const char *log_path; /* NULL: none */
	bool log_json;
	bool debug;
	bool systemd_cgroup;
	bool no_pivot; /* of create and run */
	bool rootless; /* we are not root, or are told to behave so */
	const struct command *command;
	char root_buffer[256];
};

struct command {
	const char *name;
	const char *arguments; /* for the usage */
	const char *summary;
	int (*run)(struct oci *oci, int argc,
		   char **argv); /* argv[0] is the command; returns the exit status */
};

/* Tells @e on stderr and in the log. Returns 1, for `return oci_fail(…)`. */
int oci_fail(const struct oci *oci, const struct error *e);
/* As above with a sentence of our own. */
int oci_complain(const struct oci *oci, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Tells how the command is used. Returns 1. */
int oci_usage(const struct oci *oci);
/* The one positional argument (an id) at @argv[@index]; NULL with a complaint when it is missing, invalid or not the last. */
const char *oci_only_id(const struct oci *oci, int argc, char **argv, int index);

/* Number of "KILL", "SIGKILL", "9", "RTMIN+1", …; -1 when unknown. */
int signal_number(const char *name);

int command_create(struct oci *oci, int argc, char **argv);
int command_delete(struct oci *oci, int argc, char **argv);
int command_events(struct oci *oci, int argc, char **argv);
int command_exec(struct oci *oci, int argc, char **argv);
int command_features(struct oci *oci, int argc, char **argv);
int command_kill(struct oci *oci, int argc, char **argv);
int command_list(struct oci *oci, int argc, char **argv);
int command_pause(struct oci *oci, int argc, char **argv);
int command_ps(struct oci *oci, int argc, char **argv);
int command_resume(struct oci *oci, int argc, char **argv);
int command_run(struct oci *oci, int argc, char **argv);
int command_spec(struct oci *oci, int argc, char **argv);
int command_start(struct oci *oci, int argc, char **argv);
int command_state(struct oci *oci, int argc, char **argv);
int command_update(struct oci *oci, int argc, char **argv);

#endif
