/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_MIRROR_H
#define GUEST_MIRROR_H

/*
 * A small tree on the file system that is shared with the host, copied to one of the guest's own, where a change is told to
 * those who watch it with inotify(7): Kubernetes' ConfigMaps and Secrets (reference 06, section 7).
 */

#include "base/error.h"

/* What may be mirrored: directories, the tree's root among them, and files together; bytes. */
enum { MIRROR_PATHS_MAX = 16, MIRROR_BYTES_MAX = 1 << 20 };

/*
 * Makes @name in the directory @parent what @source (O_PATH) is: a file, or a directory with all that is in it. Only what
 * differs in kind, size or time of change is written; a file is written in place, so that it stays the same to who
 * has it mounted. No link is followed on either side. Blocking.
 *
 * 0; 1 when there is too much in the source (then nothing was copied); or -errno with @e set for the first thing that could
 * not be copied, after all the others were.
 */
int mirror_update(int source, int parent, const char *name, struct error *e);

#endif
