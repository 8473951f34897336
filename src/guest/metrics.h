/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_METRICS_H
#define GUEST_METRICS_H

/*
 * Metrics of the guest and of a program in it, in Prometheus' text form, version 0.0.4 (reference 07, 2).
 *
 * A host's shim parses the text and never ends where that fails, so what is written always parses: one HELP and one TYPE a
 * family, all its samples together, labels in valid UTF-8 with escapes, numbers only. A file of procfs that cannot be
 * read, or a line that is not of its form, leaves its samples out. Units are the reference's: kB in proc_status, bytes
 * in meminfo, clock ticks in proc_stat, milliseconds in cpu_time.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/loop.h"
#include "guest/volume.h"

/* The files that are read. Their texts are written into. */
enum metrics_file {
	METRICS_SELF_STAT,
	METRICS_SELF_STATUS,
	METRICS_SELF_IO,
	METRICS_SELF_LIMITS,
	METRICS_LOADAVG,
	METRICS_STAT,
	METRICS_VMSTAT,
	METRICS_NETDEV,
	METRICS_DISKSTATS,
	METRICS_MEMINFO,
	METRICS_MOUNTINFO,
	METRICS_FILES,
};

struct metrics_input {
	char *text[METRICS_FILES]; /* NULL: there is none */
	uint64_t scrapes;	   /* how many calls there were, with this one */
	uint64_t descriptors;	   /* that the program has open */
	uint64_t page_size;	   /* bytes */
	uint64_t ticks;		   /* of the clock a second; not 0 */
	/* How full the file system at @mount is; false: it cannot be told. */
	bool (*look)(const char *mount, struct volume_stats *stats);
};

/* Failures for want of memory are in @out->failed. */
void metrics_format(struct metrics_input *input, struct buf *out);

typedef void (*metrics_done)(int r, const char *text, const struct error *e, void *data);
/* Collects in a job, of this process. @done is called once, never before this returns. 0 or -errno with @e set. */
int metrics_collect(struct loop *loop, uint64_t scrapes, metrics_done done, void *data, struct error *e);

#endif
