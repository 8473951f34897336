/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_VOLUME_H
#define GUEST_VOLUME_H

/* How full a volume is (reference 03, 8.2). */

#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"

struct volume_usage {
	uint64_t available; /* free for root, not what users may still have */
	uint64_t total;
	uint64_t used;
};

struct volume_stats {
	struct volume_usage bytes, inodes;
};

/* Blocking: for use in a job. 0 or -errno. */
int volume_look_now(const char *path, struct volume_stats *stats);

typedef void (*volume_done)(int r, const struct volume_stats *stats, const struct error *e, void *data);
/* In a job: a file system may hang. @path is any path of the guest; nothing of it is opened. @done is called once, never
 * before this returns; @stats is valid during it. 0 or -errno with @e set. */
int volume_look(struct loop *loop, const char *path, volume_done done, void *data, struct error *e);

#endif
