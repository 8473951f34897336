/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_VALIDATE_H
#define ENGINE_VALIDATE_H

/*
 * The rules of the runtime-spec (1.3) about a configuration, checked before anything is made of it. An error names
 * the property as config.json spells it, and says why: `process.rlimits[1].type: RLIMIT_NOFILE is listed twice`.
 *
 * Both vocabularies of the hosts are accepted (`mount` and `mnt`, `CAP_KILL`, `KILL` and `"KILL"`). What the
 * runtime-spec wants to be skipped with a warning (unknown capabilities) is not an error here.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "proto/oci.pb-c.h"

struct validate_context {
	/* The spec came from a Kata host: ociVersion may be absent, `net.*` sysctls are the pod's and need no network
	 * namespace, `user.*` sysctls likewise no user namespace. */
	bool wire;
	/* Not root: a user namespace is needed. */
	bool rootless;
	/* CLONE_NEW* of the namespaces that are joined by descriptor, whatever the spec says. */
	int joined;
};

/* 0, or -EINVAL (INVALID_ARGUMENT, property and reason in @e). Touches nothing. @spec may be NULL (that is an error). */
int spec_validate(const Grpc__Spec *spec, const struct validate_context *context, struct error *e);

/* The same for a process alone (exec): everything in `process`. @prefix names it in errors ("process"). Its
 * capabilities, labels and terminal may be absent. Ids are held against @spec's mappings; @spec NULL: they are not. */
int process_validate(const Grpc__Process *process, const Grpc__Spec *spec, const char *prefix,
		     struct error *e);

/* CLONE_NEW* of a namespace's `type` in either vocabulary; 0 when unknown. */
int namespace_flag(const char *type);
/* "pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"; NULL when unknown. */
const char *namespace_name(int flag);
/* File below /proc/PID/ns ("net", "mnt", …); NULL when unknown. */
const char *namespace_file(int flag);
/* The spec's entry for CLONE_NEW* @flag, or NULL. */
const Grpc__LinuxNamespace *namespace_find(const Grpc__Spec *spec, int flag);

/* RLIMIT_* of the kernel for "RLIMIT_NOFILE"; -1 when unknown. */
int rlimit_resource(const char *type);

#endif
