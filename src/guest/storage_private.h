/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_STORAGE_PRIVATE_H
#define GUEST_STORAGE_PRIVATE_H

/* What storage.c, storage_add.c and storage_release.c share; nobody else includes it. */

#include "base/error.h"
#include "base/job.h"
#include "base/list.h"
#include "base/loop.h"
#include "guest/storage.h"
#include "guest/storage_driver.h"

enum storage_state { STORAGE_PREPARING, STORAGE_READY, STORAGE_REMOVING };

struct storage_entry {
	struct list link; /* in the order of mounting */
	struct storages *storages;
	char *mount_point; /* clean; the key */
	const struct storage_driver *driver;
	enum storage_state state;
	unsigned count;
	bool shared;
	struct storage_place place;
	struct job *job;
	struct storage_add *preparer;	 /* whose request mounts it, while it is prepared */
	struct storage_release *remover; /* whose request takes it off, while it is removed */
	bool implied;			 /* made because another one needs it; the host did not ask */
	char *source;			 /* of a mirror, to be looked at; else NULL */
	size_t watch_index;		 /* its place in the look under way, from 1; 0: it is not looked at */
};

struct storage_ref {
	char *path;
	bool fresh; /* the request that took it also made the mount */
};

struct storage_refs {
	struct storage_ref *refs;
	size_t count;
	size_t size;
};

struct storages {
	struct loop *loop;
	char *root;
	struct list entries;
	struct list adds;
	struct list releases;
	struct list chores;
	void (*changed)(struct storages *storages, void *data);
	void *changed_data;
	struct loop_timer watch_timer; /* the next look at mirrors' sources */
	struct job *watch_job;
};

struct storage_add {
	struct list link;
	struct storages *storages;
	Grpc__Storage *const *list;
	size_t count, at;
	struct storage_refs *refs;
	struct loop_defer step;
	bool undoing;
	struct error error;
	storage_add_done done;
	void *data;
};

struct storage_release {
	struct list link;
	struct storages *storages;
	struct storage_refs *refs; /* taken from the end */
	bool undo;		   /* of a failed request: what it made fresh goes, kept or not */
	bool all;		   /* counts do not matter */
	struct loop_defer step;
	int r;
	struct error error;
	storage_done done;
	void *data;
};

/* 0 or -ENOMEM. */
int storage_refs_add(struct storage_refs *refs, const char *path, bool fresh);

struct storage_entry *storage_entry_find(const struct storages *storages, const char *mount_point);
/* Takes NULL. Kills its job. */
void storage_entry_free(struct storage_entry *entry);
/*
 * Starts to take the entry off; @remover (may be NULL) goes on then. Where not even a job can be started the entry stays
 * as it is, unused; the next to release it, or the sandbox's end, tries again. 0 or -errno with @e set.
 */
int storage_entry_remove(struct storage_entry *entry, struct storage_release *remover, struct error *e);

/* What storages_describe() says has changed. */
void storages_tell(struct storages *storages);
/* An entry changed: who waits for one looks again. */
void storages_wake(struct storages *storages);
void storage_add_step(struct loop_defer *defer);
void storage_release_step(struct loop_defer *defer);

/* A request that takes off, from the end, what @refs (its own from now on) refers to. NULL when memory is out. */
struct storage_release *storage_release_new(struct storages *storages, struct storage_refs *refs,
					    storage_done done, void *data);
void storage_release_free(struct storage_release *release);

/* Where the tmpfs of a mirror belongs: malloc'ed. NULL with @e set where @mount_point, a clean path, is no place for one. */
char *storage_watch_root(const char *mount_point, struct error *e);
/* Sees to it that mirrors are looked at, if there are any. */
void storages_watch(struct storages *storages);
/* No more looks. */
void storages_unwatch(struct storages *storages);

#endif
