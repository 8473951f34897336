/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_STORAGE_H
#define GUEST_STORAGE_H

/*
 * The storages of a sandbox: what the host asks to be mounted, each counted by its mount point.
 *
 * A storage's driver is a row in a table (storage_driver.h). Everything that touches a file system is done in a job, one
 * per storage, because a mount may hang; requests go on meanwhile. An entry is preparing, ready or being removed; who
 * needs one that is under way waits for it. A request that fails, or is given up, leaves nothing behind that it had
 * made: its storages are released in reverse order before `done` is called.
 *
 * Storages of drivers that keep data for the next container (ephemeral, local) stay until the sandbox is destroyed,
 * whoever uses them.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/loop.h"
#include "proto/agent.pb-c.h"

struct storages;
struct storage_refs; /* references of one container (or of the sandbox); malloc'ed */
struct storage_add;

/* @root: "/" (tests: a directory in which all mount points are taken). NULL when memory is out. */
struct storages *storages_new(struct loop *loop, const char *root);
/* Takes NULL. Unmounts nothing: see storages_remove_all(). Jobs that run are killed; no request may be under way. */
void storages_free(struct storages *storages);

/* @fn is called before something is mounted, and when that is known to be somewhere else, or nowhere any more. */
void storages_on_change(struct storages *storages, void (*fn)(struct storages *storages, void *data),
			void *data);

/* Names of the drivers, sorted; what GetGuestDetails tells. NULL-terminated, static. */
const char *const *storage_handlers(size_t *count);

/* @refs is the caller's, for storages_release() (never NULL on success). On failure everything was undone. */
typedef void (*storage_add_done)(int r, struct storage_refs *refs, const struct error *e, void *data);
/*
 * Makes @list ready, in order. @list lives until @done, which is called once and never before this returns. NULL
 * when memory is out. Errors: "Failed to find the storage handler NAME", …, all STATUS_INTERNAL.
 */
struct storage_add *storages_add(struct storages *storages, Grpc__Storage *const *list, size_t count,
				 storage_add_done done, void *data);
/* Gives up: undoes, then `done` is called with -ECANCELED. */
void storage_add_abort(struct storage_add *add);

typedef void (*storage_done)(int r, const struct error *e, void *data);
/*
 * Drops the references in reverse order; what nobody else uses is unmounted and its directory removed (`shared` ones stay).
 * @refs (takes NULL) is consumed. Every one is tried; @done (may be NULL) gets the first error, never before this returns.
 * 0 or -ENOMEM (then nothing happened and @refs is still the caller's).
 */
int storages_release(struct storages *storages, struct storage_refs *refs, storage_done done, void *data);
/* The sandbox's end: unmounts everything, newest first, whatever its count. As storages_release(). */
int storages_remove_all(struct storages *storages, storage_done done, void *data);

/* Forgets references without touching what they refer to. Takes NULL. */
void storage_refs_free(struct storage_refs *refs);
size_t storage_refs_count(const struct storage_refs *refs);
const char *storage_refs_path(const struct storage_refs *refs, size_t index);

/* 0 when unknown. */
unsigned storages_count(const struct storages *storages, const char *mount_point);

/* UpdateEphemeralMounts: remounts tmpfs volumes with other options, in a job. @done as above. 0 or a negative errno
 * with @e set at once. */
int storages_update_ephemeral(struct storages *storages, Grpc__Storage *const *list, size_t count,
			      storage_done done, void *data, struct error *e);
/* RemoveStaleVirtiofsShareMounts: looks at every mount point below the shared directory, in a job, which makes the
 * host forget files that are gone. Results do not matter. */
int storages_touch_shared(struct storages *storages, storage_done done, void *data, struct error *e);

#endif
