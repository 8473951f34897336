/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_BUNDLE_H
#define AGENT_BUNDLE_H

/*
 * What is in a container's directory: `rootfs`, a link to the root filesystem (unless a storage has been mounted there),
 * and `config.json`, the spec as it is carried out, for hooks to read.
 *
 * The directory is on our own tmpfs, and neither a link nor a file there can hang; only where something is mounted on the
 * directory itself it is a job. The root filesystem is not looked at: it may lie on something that hangs, and
 * the container's own process will see.
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
 * Fills the directory of @id in @rundir, which exists. @source is where the root filesystem is, @spec what goes into
 * config.json; both are borrowed until this returns. 0; or 1 with a @job that will call @done; or -errno with @e set.
 * A failure leaves nothing behind, but after -ETIMEDOUT or a crash of the job bundle_tidy() is needed.
 */
int bundle_fill(struct loop *loop, int rundir, const char *id, const char *source, const Grpc__Spec *spec,
		job_done_fn done, void *data, struct job **job, struct error *e);
/* Unmounts whatever is mounted below the directory and removes it. */
struct job *bundle_tidy(struct loop *loop, const char *id, job_done_fn done, void *data, struct error *e);

#endif
