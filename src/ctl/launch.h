/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_LAUNCH_H
#define CTL_LAUNCH_H

/* The options with which containers and processes are made, read from a command line. */

#include <stdbool.h>
#include <stddef.h>

#include "ctl/ctl.h"
#include "ctl/spec.h"

struct launch {
	struct spec_options spec;
	const char *spec_file;
	const char *name;    /* container id */
	const char *exec_id; /* of exec and attach */
	bool interactive;
	bool detach;
	bool keep;
	bool sandbox;
	/* Rest of the command line. */
	char **words;
	size_t n_words;
	struct arena *arena; /* holds the lists */
};

enum launch_kind {
	LAUNCH_RUN,
	LAUNCH_CREATE,
	LAUNCH_EXEC,
	LAUNCH_ATTACH,
};

/* Negative: go on. Otherwise the exit code: help was asked for, or usage was wrong and has been told. */
int launch_parse(struct launch *launch, enum launch_kind kind, const struct ctl_command *command, int argc,
		 char **argv, struct arena *arena);

#endif
