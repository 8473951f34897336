/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_BUNDLE_H
#define AGENT_BUNDLE_H

/*
 * What is in a container's directory: `rootfs`, on which the root filesystem is bind-mounted with all that is mounted in
 * it (unless a storage has put one there already), and `config.json`, the spec as it is carried out, for hooks to read.
 *
 * All of it is done in jobs, because a root filesystem may lie on something that hangs. Nobody's working directory
 * changes.
 */

#include <stdbool.h>

#include "base/error.h"
#include "base/job.h"
#include "base/loop.h"
#include "proto/oci.pb-c.h"

/* malloc'ed /run/kata-containers/@id, and /run/kata-containers/@id/rootfs; NULL when memory is out. */
char *bundle_path(const char *id);
char *bundle_rootfs(const char *id);

/*
 * Fills the directory of @id, which exists. @source is where the root filesystem is now, @spec what goes into
 * config.json; both are borrowed until this returns. @done gets one byte of result: 1 when a mount was made. A failure
 * leaves nothing behind, but after -ETIMEDOUT or a crash bundle_tidy() is needed. NULL with @e set.
 */
struct job *bundle_fill(struct loop *loop, const char *id, const char *source, const Grpc__Spec *spec,
			job_done_fn done, void *data, struct error *e);
/* Unmounts `rootfs`. Not mounted is success. */
struct job *bundle_unmount(struct loop *loop, const char *id, job_done_fn done, void *data, struct error *e);
/* Unmounts whatever is mounted below the directory and removes it. */
struct job *bundle_tidy(struct loop *loop, const char *id, job_done_fn done, void *data, struct error *e);

#endif
