/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request that gives references back, the newest first: what was mounted later may lie on what was mounted before.
 * What nobody needs any more is taken off by a job, and the request goes on when that is over. It never stops at an
 * error: the first one is told at the end.
 */

#include <errno.h>
#include <stdlib.h>

#include "base/fd.h"
#include "guest/storage_private.h"

void storage_release_free(struct storage_release *release)
{
	list_remove(&release->link);
	loop_defer_remove(&release->step);
	storage_refs_free(release->refs);
	free(release);
}

static void release_finish(struct storage_release *release)
{
	storage_done done = release->done;
	struct error e = release->error;
	void *data = release->data;
	int r = release->r;

	storage_release_free(release);
	if (done)
		done(r, &e, data);
}

/* True when the count of @entry no longer keeps it. */
static bool entry_drop(struct storage_entry *entry, const struct storage_release *release, bool fresh)
{
	if (release->all)
		return true;
	if (entry->count > 0)
		entry->count--;
	if (entry->count > 0)
		return false;
	return (release->undo && fresh) || !(entry->shared || entry->driver->keeps);
}

/* 1 when the next may follow, 0 to wait. The reference is used up in either case but when its entry is under way. */
static int release_one(struct storage_release *release)
{
	struct storage_ref *ref = &release->refs->refs[release->refs->count - 1];
	struct storage_entry *entry = storage_entry_find(release->storages, ref->path);
	struct error e = ERROR_INIT;
	int r = 1;

	if (entry && entry->state != STORAGE_READY)
		return 0;
	if (!entry) {
		if (!release->all && release->r == 0)
			release->r = error_set(&release->error, STATUS_INTERNAL, ENOENT,
					       "Sandbox storage with path %s not found", ref->path);
	} else if (entry_drop(entry, release, ref->fresh)) {
		r = storage_entry_remove(entry, release, &e) == 0 ? 0 : 1;
		if (r == 1 && release->r == 0) {
			release->r = error_result(&e);
			release->error = e;
		}
	}
	free(ref->path);
	release->refs->count--;
	return r;
}

static bool release_removing(const struct storage_release *release)
{
	const struct storage_entry *entry;

	list_for_each_entry (entry, &release->storages->entries, link)
		if (entry->remover == release)
			return true;
	return false;
}

/* One after the other: what was mounted later may lie on what was mounted before. */
void storage_release_step(struct loop_defer *defer)
{
	struct storage_release *release = container_of(defer, struct storage_release, step);
	int r = 1;

	if (release_removing(release))
		return;
	while (r == 1 && storage_refs_count(release->refs) > 0)
		r = release_one(release);
	if (r == 1)
		release_finish(release);
}

struct storage_release *storage_release_new(struct storages *storages, struct storage_refs *refs,
					    storage_done done, void *data)
{
	struct storage_release *release = calloc(1, sizeof(*release));

	if (!release)
		return NULL;
	release->storages = storages;
	release->refs = refs;
	release->done = done;
	release->data = data;
	list_append(&storages->releases, &release->link);
	loop_defer_add(storages->loop, &release->step, storage_release_step);
	return release;
}

int storages_release(struct storages *storages, struct storage_refs *refs, storage_done done, void *data)
{
	return storage_release_new(storages, refs, done, data) ? 0 : -ENOMEM;
}

int storages_remove_all(struct storages *storages, storage_done done, void *data)
{
	struct storage_refs *refs = calloc(1, sizeof(*refs));
	struct storage_release *release;
	struct storage_entry *entry;

	if (!refs)
		return -ENOMEM;
	list_for_each_entry (entry, &storages->entries, link) {
		if (storage_refs_add(refs, entry->mount_point, false) < 0) {
			storage_refs_free(refs);
			return -ENOMEM;
		}
	}
	release = storage_release_new(storages, refs, done, data);
	if (!release) {
		storage_refs_free(refs);
		return -ENOMEM;
	}
	release->all = true;
	/* A look would find what is being taken off. */
	storages_unwatch(storages);
	return 0;
}
