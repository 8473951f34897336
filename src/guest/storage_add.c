/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request for storages: one after the other, each found in the table or mounted by a job, until all are ready. It is
 * stepped from the loop whenever an entry changed. What it took is undone by a release of its own (storage_release.c)
 * before an error is told.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "guest/mount_table.h"
#include "guest/storage_private.h"

enum { MOUNT_DEADLINE_MS = 120000 };

/* What all volumes with this page size need together, @entry among them. */
static uint64_t huge_pages_needed(const struct storages *storages, uint64_t page_size)
{
	const struct storage_entry *entry;
	uint64_t pages = 0;

	list_for_each_entry (entry, &storages->entries, link)
		if (entry->place.huge_size == page_size)
			pages += entry->place.huge_pages;
	return pages;
}

struct prepare_work {
	const char *root;
	const Grpc__Storage *storage;
	const struct storage_driver *driver;
	struct storage_place place;
};

static int prepare_run(struct buf *result, void *argument, struct error *e)
{
	struct prepare_work *work = argument;
	int r = work->driver->mount(work->root, work->storage, &work->place, e);

	if (r < 0)
		return r;
	return buf_append(result, &work->place, sizeof(work->place)) < 0 ? error_errno(e, ENOMEM, "storage")
									 : 0;
}

static void add_finish(struct storage_add *add)
{
	storage_add_done done = add->done;
	struct storage_refs *refs = add->refs;
	struct error e = add->error;
	bool failed = add->undoing;
	void *data = add->data;

	list_remove(&add->link);
	loop_defer_remove(&add->step);
	free(add);
	if (failed) {
		storage_refs_free(refs);
		done(error_result(&e), NULL, &e, data);
	} else {
		done(0, refs, NULL, data);
	}
}

static void add_undone(int r, const struct error *e, void *data)
{
	add_finish(data);
}

/*
 * Takes back what the request has so far; its error is kept and told then. NULL where memory is out: the request is
 * over and the mounts stay until the sandbox's end.
 */
static struct storage_release *add_undo(struct storage_add *add)
{
	struct storage_release *release;

	add->undoing = true;
	release = storage_release_new(add->storages, add->refs, add_undone, add);
	if (!release) {
		add_finish(add);
		return NULL;
	}
	add->refs = NULL;
	release->undo = true;
	return release;
}

static void prepare_done(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct storage_entry *entry = data;
	struct storages *storages = entry->storages;
	struct storage_add *add = entry->preparer;
	struct error ignored = ERROR_INIT;

	entry->job = NULL;
	entry->preparer = NULL;
	if (r == 0 && result->length != sizeof(entry->place))
		r = error_set(e, STATUS_INTERNAL, EIO, "the mount's result is damaged");
	if (r == 0) {
		memcpy(&entry->place, buf_begin(result), sizeof(entry->place));
		entry->state = STORAGE_READY;
		entry->count = 1;
		storages_tell(storages);
		if (storage_refs_add(add->refs, entry->mount_point, true) < 0) {
			r = error_errno(e, ENOMEM, "storage");
			entry->count = 0;
		}
	}
	if (r < 0) {
		add->error = *e;
		storage_entry_remove(entry, add_undo(add), &ignored);
	} else {
		/* The one that needs it is still to come. */
		add->at += entry->implied ? 0 : 1;
		storages_watch(storages);
	}
	storages_wake(storages);
}

/* Names the place as far as it is known without touching any file system. */
static int place_init(const struct storage_entry *entry, const char *root, const Grpc__Storage *storage,
		      struct storage_place *place, struct error *e)
{
	const char *prefix = str_equal(root, "/") ? "" : root;
	int n = snprintf(place->path, sizeof(place->path), "%s%s", prefix, entry->mount_point);
	struct mount_look look;

	if (n < 0 || (size_t)n >= sizeof(place->path))
		return error_errno(e, ENAMETOOLONG, "mount point");
	if (mount_table_look(place->path, &look) == 0)
		place->below = look.count;
	place->mirror = entry->driver->mirrors;
	if (str_equal(storage->driver, "ephemeral") && str_equal(storage->fstype, "hugetlbfs"))
		return storage_huge_pages(storage, &place->huge_size, &place->huge_pages, e);
	return 0;
}

static int entry_prepare(struct storage_entry *entry, struct storage_add *add, const Grpc__Storage *storage,
			 struct error *e)
{
	const struct job_options options = {.name = "mount",
					    .deadline_ms = MOUNT_DEADLINE_MS,
					    .max_result = sizeof(struct storage_place)};
	struct storages *storages = entry->storages;
	struct prepare_work work = {.root = storages->root, .storage = storage, .driver = entry->driver};
	int r = place_init(entry, storages->root, storage, &entry->place, e);

	if (r < 0)
		return r;
	work.place = entry->place;
	/* Before: should this be the program's last moment, the mount is known. */
	storages_tell(storages);
	if (work.place.huge_size)
		work.place.huge_pages = huge_pages_needed(storages, work.place.huge_size);
	entry->job = job_start(storages->loop, &options, prepare_run, &work, prepare_done, entry, e);
	if (!entry->job)
		return error_result(e);
	entry->preparer = add;
	return 0;
}

static int add_mirror_root(struct storage_add *add, const char *mount_point, struct error *e);

static int add_prepare(struct storage_add *add, const Grpc__Storage *storage, const char *mount_point,
		       bool implied, struct error *e)
{
	const struct storage_driver *driver = storage_driver_find(storage->driver);
	struct storage_entry *entry;
	int r;

	if (!driver)
		return error_set(e, STATUS_INTERNAL, EINVAL, "Failed to find the storage handler %s",
				 storage->driver);
	if (driver->mirrors) {
		r = add_mirror_root(add, mount_point, e);
		if (r <= 0)
			return r;
	}
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return error_errno(e, ENOMEM, "storage");
	entry->storages = add->storages;
	entry->driver = driver;
	entry->shared = storage->shared;
	entry->implied = implied;
	entry->state = STORAGE_PREPARING;
	list_append(&add->storages->entries, &entry->link);
	entry->mount_point = strdup(mount_point);
	entry->source = driver->mirrors ? strdup(storage->source) : NULL;
	r = entry->mount_point && (entry->source || !driver->mirrors) ? entry_prepare(entry, add, storage, e)
								      : error_errno(e, ENOMEM, "storage");
	if (r < 0) {
		storage_entry_free(entry);
		storages_tell(add->storages);
	}
	return r;
}

/* The tmpfs that mirrors need, before them: 1 when it is there, 0 to wait, or -errno. */
static int add_mirror_root(struct storage_add *add, const char *mount_point, struct error *e)
{
	static char nosuid[] = "nosuid", nodev[] = "nodev", mode[] = "mode=755";
	_cleanup_free_ char *root = storage_watch_root(mount_point, e);
	char *options[] = {nosuid, nodev, mode};
	const struct storage_entry *entry;
	Grpc__Storage storage = GRPC__STORAGE__INIT;

	if (!root)
		return error_result(e);
	entry = storage_entry_find(add->storages, root);
	if (entry)
		return entry->state == STORAGE_READY;
	storage.driver = (char *)"ephemeral";
	storage.source = storage.fstype = (char *)"tmpfs";
	storage.mount_point = root;
	storage.options = options;
	storage.n_options = array_length(options);
	return add_prepare(add, &storage, root, true, e);
}

/* One storage: 1 when the next may follow, 0 to wait, or -errno. */
static int add_one(struct storage_add *add, const Grpc__Storage *storage, struct error *e)
{
	_cleanup_free_ char *mount_point = NULL;
	struct storage_entry *entry;
	int r;

	if (str_is_empty(storage->mount_point) || storage->mount_point[0] != '/')
		return error_set(e, STATUS_INTERNAL, EINVAL, "Invalid path: \"%s\"", storage->mount_point);
	mount_point = path_clean(storage->mount_point);
	if (!mount_point)
		return error_errno(e, ENOMEM, "storage");
	if (str_equal(mount_point, "/"))
		return error_set(e, STATUS_INTERNAL, EINVAL, "Invalid path: \"/\"");
	entry = storage_entry_find(add->storages, mount_point);
	if (!entry)
		return add_prepare(add, storage, mount_point, false, e);
	if (entry->state != STORAGE_READY)
		return 0;
	r = storage_refs_add(add->refs, mount_point, false);
	if (r < 0)
		return error_errno(e, -r, "storage");
	entry->count++;
	return 1;
}

/* True while a job mounts something for this request. */
static bool add_preparing(const struct storage_add *add)
{
	const struct storage_entry *entry;

	list_for_each_entry (entry, &add->storages->entries, link)
		if (entry->preparer == add)
			return true;
	return false;
}

void storage_add_step(struct loop_defer *defer)
{
	struct storage_add *add = container_of(defer, struct storage_add, step);
	int r = 1;

	if (add->undoing || add_preparing(add))
		return;
	while (r == 1 && add->at < add->count) {
		r = add_one(add, add->list[add->at], &add->error);
		if (r == 1)
			add->at++;
	}
	if (r < 0)
		add_undo(add);
	else if (r == 1)
		add_finish(add);
}

struct storage_add *storages_add(struct storages *storages, Grpc__Storage *const *list, size_t count,
				 storage_add_done done, void *data)
{
	struct storage_add *add = calloc(1, sizeof(*add));

	if (!add)
		return NULL;
	add->refs = calloc(1, sizeof(*add->refs));
	if (!add->refs) {
		free(add);
		return NULL;
	}
	add->storages = storages;
	add->list = list;
	add->count = count;
	add->done = done;
	add->data = data;
	list_append(&storages->adds, &add->link);
	loop_defer_add(storages->loop, &add->step, storage_add_step);
	return add;
}

void storage_add_abort(struct storage_add *add)
{
	struct storage_release *release;
	struct error ignored = ERROR_INIT;
	struct storage_entry *entry, *found = NULL;

	if (add->undoing)
		return;
	list_for_each_entry (entry, &add->storages->entries, link)
		if (entry->preparer == add)
			found = entry;
	error_set(&add->error, STATUS_CANCELLED, ECANCELED, "the request was given up");
	release = add_undo(add);
	if (!found)
		return;
	job_cancel(found->job);
	found->job = NULL;
	found->preparer = NULL;
	storage_entry_remove(found, release, &ignored);
}
