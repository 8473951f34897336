/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_SPEC_H
#define CTL_SPEC_H

/* The OCI configuration of a container that a person asks for on a command line. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "proto/oci.pb-c.h"

/* What was asked for. NULL, 0 and false: not asked for. */
struct spec_options {
	const char *rootfs;
	char **args;
	size_t n_args;
	const char **env; /* K=V, or K alone: as it is here */
	size_t n_env;
	const char **volumes; /* SOURCE:DESTINATION[:OPTIONS] */
	size_t n_volumes;
	const char **cap_add; /* with or without CAP_; "ALL" */
	size_t n_cap_add;
	const char **cap_drop;
	size_t n_cap_drop;
	const char *cwd;
	const char *user; /* UID[:GID] */
	const char *hostname;
	const char *cgroup;
	const char *memory; /* as size_parse() */
	const char *cpus;   /* as cpus_parse() */
	const char *pids;
	bool tty;
	bool readonly;
	bool privileged; /* all capabilities, nothing masked or read-only */
};

/*
 * A default specification like that of `runc spec`: own mount, uts, ipc, pid and cgroup namespaces, the usual mounts,
 * few capabilities. All in @arena, to which strings of @options are borrowed. NULL with @e set.
 */
Grpc__Spec *spec_new(const char *container, const struct spec_options *options, struct arena *arena,
		     struct error *e);
/* A config.json, whose relative root.path is one from the file's directory. NULL with @e set. */
Grpc__Spec *spec_read(const char *path, struct arena *arena, struct error *e);
/* Changes @spec as @options ask. 0 or -errno with @e set. */
int spec_apply(Grpc__Spec *spec, const struct spec_options *options, struct arena *arena, struct error *e);
/* The process of an exec: environment, user and so on, no capabilities (the container's are taken). NULL with @e set. */
Grpc__Process *spec_process(const struct spec_options *options, struct arena *arena, struct error *e);

#endif
