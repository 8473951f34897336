/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_STORAGE_DRIVER_H
#define GUEST_STORAGE_DRIVER_H

/*
 * How each kind of storage is mounted. All functions block and run in jobs; they know nothing of counts or of who asks.
 * A new kind is a row in the table of storage_driver.c.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "proto/agent.pb-c.h"

/* What a mount left behind, for its removal. A plain value: it travels through the job's pipe. */
struct storage_place {
	char path[PATH_MAX];  /* where it really is: free of links */
	unsigned below;	      /* mounts that were at that path before */
	uint64_t huge_size;   /* page size in bytes of the huge pages that it holds; 0: none */
	uint64_t huge_pages;  /* pages that it needs */
	uint64_t huge_raised; /* pages by which the kernel's pool was enlarged for it */
	bool mirror;	      /* copies of ours lie there, to be removed with it */
	bool bound;	      /* a mirror that became too large: its source is mounted there instead */
};

struct storage_driver {
	const char *name;
	bool keeps;   /* data outlives its users: kept until the sandbox ends */
	bool mirrors; /* its source is looked at from time to time, and its place is in a tmpfs of mirrors */
	/* @root as in storages_new(). @place comes with what is known beforehand and is completed. */
	int (*mount)(const char *root, const Grpc__Storage *storage, struct storage_place *place,
		     struct error *e);
};

const struct storage_driver *storage_driver_find(const char *name);
/* Sorted by name. */
const struct storage_driver *storage_drivers(size_t *count);

/*
 * Takes off what is mounted at the place above `below` mounts: retries while it is busy, then writes it out and detaches
 * it. Removes an empty directory, and gives huge pages back. Nothing there is success. 0 or -errno with @e set.
 */
int storage_unmount(const struct storage_place *place, struct error *e);

/* Page size and number of pages of a hugetlbfs volume. 0 or -errno ("no pagesize/size options found"). */
int storage_huge_pages(const Grpc__Storage *storage, uint64_t *page_size, uint64_t *pages, struct error *e);

enum storage_watch_result { STORAGE_MIRRORED, STORAGE_BOUND, STORAGE_SOURCE_GONE };
/* Another look at the source of a mirror: enum storage_watch_result, or -errno with @e set. */
int storage_mirror(const char *source, const struct storage_place *place, struct error *e);

/* One mount as in a driver, for UpdateEphemeralMounts. */
int storage_update_ephemeral(const char *root, const Grpc__Storage *storage, struct error *e);

#endif
