/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_BUNDLE_H
#define OCI_BUNDLE_H

/* A bundle: a directory with config.json. */

#include <sys/types.h>

#include "base/arena.h"
#include "base/error.h"
#include "proto/oci.pb-c.h"

/* The absolute path of @path ("" or NULL: the working directory) without links; malloc'ed, or NULL with @e set. */
char *bundle_path(const char *path, struct error *e);
/* The configuration: @config, or config.json in @bundle. root.path is made absolute. NULL with @e set. */
Grpc__Spec *bundle_load(const char *bundle, const char *config, struct arena *arena, struct error *e);
/* Any of the runtime-spec's objects from a file ("-": stdin). NULL with @e set. */
void *bundle_load_object(const ProtobufCMessageDescriptor *descriptor, const char *path, struct arena *arena,
			 struct error *e);
/* Appends @entry to @process's environment. 0 or -ENOMEM. */
int process_add_env(Grpc__Process *process, const char *entry, struct arena *arena);
/* @pid as text, written whole to a file beside @path that is then renamed. 0 or -errno. */
int pid_file_write(const char *path, pid_t pid, struct error *e);

#endif
