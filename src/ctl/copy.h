/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_COPY_H
#define CTL_COPY_H

#include "ctl/agent.h"

/*
 * Copies the regular file, symbolic link or directory (without what is in it) @source to @target in the guest, with
 * CopyFile in pieces of 1 MiB. Mode and owner are kept; directories that are missing get mode 0750. 0 or -errno with @e
 * set.
 */
int copy_file(struct agent *agent, const char *source, const char *target, struct error *e);

#endif
