/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_COPY_H
#define GUEST_COPY_H

/*
 * Files that the host sends where it shares no file system with the guest: CopyFile (reference 03, 8.1).
 *
 * They go below the shared directory and nowhere else. Neither host nor containers are trusted with what lies there: no
 * link is ever followed, whoever put it there, and every step is taken from a descriptor of the directory before it. A file
 * comes in pieces, in a hidden file beside its place, and takes its place in one step when it is whole, so that nobody
 * sees half of it and what was there is there until then. So does a link.
 *
 * @root is "/" or, for tests, a directory that holds run/.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"

#define COPY_DIRECTORY "/run/kata-containers/shared/containers"

struct copy_request {
	const char *path; /* absolute */
	int64_t file_size;
	uint32_t mode;	   /* with the type: S_IFREG or none, S_IFDIR, S_IFLNK */
	uint32_t dir_mode; /* of parents that are missing; 0: 0750 */
	int32_t uid, gid;  /* -1: as it is */
	int64_t offset;
	const void *data; /* a piece of the file, or the target of the link */
	size_t length;
};

/* The part of @path below the shared directory. NULL when it is not below, or has a ".." in it. */
const char *copy_relative(const char *path);

/* Blocking. 0 or -errno with @e set. */
int copy_file(const char *root, const struct copy_request *request, struct error *e);

typedef void (*copy_done)(int r, const struct error *e, void *data);
/* The same in a job. @request must live until this returns only. @done is called once, never before this returns. 0 or
 * -errno with @e set. */
int copy_start(struct loop *loop, const char *root, const struct copy_request *request, copy_done done,
	       void *data, struct error *e);

#endif
