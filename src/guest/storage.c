/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of storages, and the requests that work on it.
 *
 * An entry is PREPARING (a job mounts it), READY, or REMOVING (a job unmounts it). A request that needs an entry which is
 * under way sleeps, and looks again from scratch when any entry changed: so whoever finds a failed preparation gone
 * tries it himself, and nobody can see a half-made mount. Counts are kept only in READY; an entry whose data is to outlive
 * its users stays READY with a count of zero.
 *
 * Nothing of a request's state is in a job: a job may be killed at any moment, and the removal that follows finds out by
 * the table of mounts what there is to take back.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/job.h"
#include "base/list.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "guest/mount_table.h"
#include "guest/storage.h"
#include "guest/storage_driver.h"

enum { MOUNT_DEADLINE_MS = 120000, UNMOUNT_DEADLINE_MS = 30000, TOUCH_DEADLINE_MS = 10000 };

static const char shared_directory[] = "/run/kata-containers/shared/containers/";

enum entry_state { PREPARING, READY, REMOVING };

struct entry {
	struct list link; /* in the order of mounting */
	struct storages *storages;
	char *mount_point; /* clean; the key */
	const struct storage_driver *driver;
	enum entry_state state;
	unsigned count;
	bool shared;
	struct storage_place place;
	struct job *job;
	struct storage_add *preparer;	 /* whose request mounts it, while PREPARING */
	struct storage_release *remover; /* whose request takes it off, while REMOVING */
};

struct ref {
	char *path;
	bool fresh; /* the request that took it also made the mount */
};

struct storage_refs {
	struct ref *refs;
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

/* --- references ----------------------------------------------------------------------------------------------- */

static int refs_add(struct storage_refs *refs, const char *path, bool fresh)
{
	if (refs->count == refs->size) {
		size_t size = refs->size ? refs->size * 2 : 4;
		struct ref *grown = reallocarray(refs->refs, size, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		refs->refs = grown;
		refs->size = size;
	}
	refs->refs[refs->count] = (struct ref){.path = strdup(path), .fresh = fresh};
	if (!refs->refs[refs->count].path)
		return -ENOMEM;
	refs->count++;
	return 0;
}

void storage_refs_free(struct storage_refs *refs)
{
	if (!refs)
		return;
	for (size_t i = 0; i < refs->count; i++)
		free(refs->refs[i].path);
	free(refs->refs);
	free(refs);
}

size_t storage_refs_count(const struct storage_refs *refs)
{
	return refs ? refs->count : 0;
}

const char *storage_refs_path(const struct storage_refs *refs, size_t index)
{
	return refs->refs[index].path;
}

/* --- entries -------------------------------------------------------------------------------------------------- */

static struct entry *entry_find(const struct storages *storages, const char *mount_point)
{
	struct entry *entry;

	list_for_each_entry (entry, &storages->entries, link)
		if (strcmp(entry->mount_point, mount_point) == 0)
			return entry;
	return NULL;
}

static void entry_free(struct entry *entry)
{
	if (!entry)
		return;
	list_remove(&entry->link);
	job_cancel(entry->job);
	free(entry->mount_point);
	free(entry);
}

static void add_step(struct loop_defer *defer);
static void release_step(struct loop_defer *defer);

/* An entry changed: who waits for one looks again. */
static void storages_wake(struct storages *storages)
{
	struct storage_add *add;
	struct storage_release *release;

	list_for_each_entry (add, &storages->adds, link)
		loop_defer_add(storages->loop, &add->step, add_step);
	list_for_each_entry (release, &storages->releases, link)
		loop_defer_add(storages->loop, &release->step, release_step);
}

/* What all volumes with this page size need together, @entry among them. */
static uint64_t huge_pages_needed(const struct storages *storages, uint64_t page_size)
{
	const struct entry *entry;
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

static int remove_run(struct buf *result, void *argument, struct error *e)
{
	return storage_unmount(argument, e);
}

static void remove_done(struct job *job, int r, struct buf *result, struct error *e, void *data);

/*
 * Starts to take the entry off. Where not even a job can be started the entry stays as it is, unused; the next to
 * release it, or the sandbox's end, tries again.
 */
static int entry_remove(struct entry *entry, struct storage_release *remover, struct error *e)
{
	const struct job_options options = {.name = "unmount", .deadline_ms = UNMOUNT_DEADLINE_MS};

	entry->job =
		job_start(entry->storages->loop, &options, remove_run, &entry->place, remove_done, entry, e);
	if (!entry->job) {
		entry->state = READY;
		entry->count = 0;
		return error_result(e);
	}
	entry->state = REMOVING;
	entry->remover = remover;
	return 0;
}

static void remove_done(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct entry *entry = data;
	struct storages *storages = entry->storages;
	struct storage_release *remover = entry->remover;

	entry->job = NULL;
	entry->remover = NULL;
	if (r < 0) {
		log_warning("storage", "cannot remove", "mount-point", entry->mount_point, "error", e->text);
		/* It is there still. Forgotten, it could neither be used again nor be removed later. */
		entry->state = READY;
		entry->count = 0;
		if (remover && remover->r == 0) {
			remover->r = r;
			remover->error = *e;
		}
	} else {
		entry_free(entry);
	}
	storages_wake(storages);
}

/* --- adding --------------------------------------------------------------------------------------------------- */

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

static struct storage_release *release_new(struct storages *storages, struct storage_refs *refs,
					   storage_done done, void *data);

/*
 * Takes back what the request has so far; its error is kept and told then. NULL where memory is out: the request is
 * over and the mounts stay until the sandbox's end.
 */
static struct storage_release *add_undo(struct storage_add *add)
{
	struct storage_release *release;

	add->undoing = true;
	release = release_new(add->storages, add->refs, add_undone, add);
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
	struct entry *entry = data;
	struct storages *storages = entry->storages;
	struct storage_add *add = entry->preparer;
	struct error ignored = ERROR_INIT;

	entry->job = NULL;
	entry->preparer = NULL;
	if (r == 0 && result->length != sizeof(entry->place))
		r = error_set(e, STATUS_INTERNAL, EIO, "the mount's result is damaged");
	if (r == 0) {
		memcpy(&entry->place, buf_begin(result), sizeof(entry->place));
		entry->state = READY;
		entry->count = 1;
		if (refs_add(add->refs, entry->mount_point, true) < 0) {
			r = error_errno(e, ENOMEM, "storage");
			entry->count = 0;
		}
	}
	if (r < 0) {
		add->error = *e;
		entry_remove(entry, add_undo(add), &ignored);
	} else {
		add->at++;
	}
	storages_wake(storages);
}

/* Names the place as far as it is known without touching any file system. */
static int place_init(const struct entry *entry, const char *root, const Grpc__Storage *storage,
		      struct storage_place *place, struct error *e)
{
	const char *prefix = str_equal(root, "/") ? "" : root;
	int n = snprintf(place->path, sizeof(place->path), "%s%s", prefix, entry->mount_point);
	struct mount_look look;

	if (n < 0 || (size_t)n >= sizeof(place->path))
		return error_errno(e, ENAMETOOLONG, "mount point");
	if (mount_table_look(place->path, &look) == 0)
		place->below = look.count;
	if (str_equal(storage->driver, "ephemeral") && str_equal(storage->fstype, "hugetlbfs"))
		return storage_huge_pages(storage, &place->huge_size, &place->huge_pages, e);
	return 0;
}

static int entry_prepare(struct entry *entry, struct storage_add *add, const Grpc__Storage *storage,
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
	if (work.place.huge_size)
		work.place.huge_pages = huge_pages_needed(storages, work.place.huge_size);
	entry->job = job_start(storages->loop, &options, prepare_run, &work, prepare_done, entry, e);
	if (!entry->job)
		return error_result(e);
	entry->preparer = add;
	return 0;
}

static int add_prepare(struct storage_add *add, const Grpc__Storage *storage, const char *mount_point,
		       struct error *e)
{
	const struct storage_driver *driver = storage_driver_find(storage->driver);
	struct entry *entry;
	int r;

	if (!driver)
		return error_set(e, STATUS_INTERNAL, EINVAL, "Failed to find the storage handler %s",
				 storage->driver);
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return error_errno(e, ENOMEM, "storage");
	entry->storages = add->storages;
	entry->driver = driver;
	entry->shared = storage->shared;
	entry->state = PREPARING;
	list_append(&add->storages->entries, &entry->link);
	entry->mount_point = strdup(mount_point);
	r = entry->mount_point ? entry_prepare(entry, add, storage, e) : error_errno(e, ENOMEM, "storage");
	if (r < 0)
		entry_free(entry);
	return r;
}

/* One storage: 1 when the next may follow, 0 to wait, or -errno. */
static int add_one(struct storage_add *add, const Grpc__Storage *storage, struct error *e)
{
	_cleanup_free_ char *mount_point = NULL;
	struct entry *entry;
	int r;

	if (str_is_empty(storage->mount_point) || storage->mount_point[0] != '/')
		return error_set(e, STATUS_INTERNAL, EINVAL, "Invalid path: \"%s\"", storage->mount_point);
	mount_point = path_clean(storage->mount_point);
	if (!mount_point)
		return error_errno(e, ENOMEM, "storage");
	if (str_equal(mount_point, "/"))
		return error_set(e, STATUS_INTERNAL, EINVAL, "Invalid path: \"/\"");
	entry = entry_find(add->storages, mount_point);
	if (!entry)
		return add_prepare(add, storage, mount_point, e);
	if (entry->state != READY)
		return 0;
	r = refs_add(add->refs, mount_point, false);
	if (r < 0)
		return error_errno(e, -r, "storage");
	entry->count++;
	return 1;
}

/* True while a job mounts something for this request. */
static bool add_preparing(const struct storage_add *add)
{
	const struct entry *entry;

	list_for_each_entry (entry, &add->storages->entries, link)
		if (entry->preparer == add)
			return true;
	return false;
}

static void add_step(struct loop_defer *defer)
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
	loop_defer_add(storages->loop, &add->step, add_step);
	return add;
}

void storage_add_abort(struct storage_add *add)
{
	struct storage_release *release;
	struct error ignored = ERROR_INIT;
	struct entry *entry, *found = NULL;

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
	entry_remove(found, release, &ignored);
}

/* --- releasing ------------------------------------------------------------------------------------------------ */

static void release_free(struct storage_release *release)
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

	release_free(release);
	if (done)
		done(r, &e, data);
}

/* True when the count of @entry no longer keeps it. */
static bool entry_drop(struct entry *entry, const struct storage_release *release, bool fresh)
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
	struct ref *ref = &release->refs->refs[release->refs->count - 1];
	struct entry *entry = entry_find(release->storages, ref->path);
	struct error e = ERROR_INIT;
	int r = 1;

	if (entry && entry->state != READY)
		return 0;
	if (!entry) {
		if (!release->all && release->r == 0)
			release->r = error_set(&release->error, STATUS_INTERNAL, ENOENT,
					       "Sandbox storage with path %s not found", ref->path);
	} else if (entry_drop(entry, release, ref->fresh)) {
		r = entry_remove(entry, release, &e) == 0 ? 0 : 1;
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
	const struct entry *entry;

	list_for_each_entry (entry, &release->storages->entries, link)
		if (entry->remover == release)
			return true;
	return false;
}

/* One after the other: what was mounted later may lie on what was mounted before. */
static void release_step(struct loop_defer *defer)
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

static struct storage_release *release_new(struct storages *storages, struct storage_refs *refs,
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
	loop_defer_add(storages->loop, &release->step, release_step);
	return release;
}

int storages_release(struct storages *storages, struct storage_refs *refs, storage_done done, void *data)
{
	return release_new(storages, refs, done, data) ? 0 : -ENOMEM;
}

int storages_remove_all(struct storages *storages, storage_done done, void *data)
{
	struct storage_refs *refs = calloc(1, sizeof(*refs));
	struct storage_release *release;
	struct entry *entry;

	if (!refs)
		return -ENOMEM;
	list_for_each_entry (entry, &storages->entries, link) {
		if (refs_add(refs, entry->mount_point, false) < 0) {
			storage_refs_free(refs);
			return -ENOMEM;
		}
	}
	release = release_new(storages, refs, done, data);
	if (!release) {
		storage_refs_free(refs);
		return -ENOMEM;
	}
	release->all = true;
	return 0;
}

/* --- chores: a job of their own, no entry ---------------------------------------------------------------------- */

struct chore {
	struct list link;
	struct job *job;
	storage_done done;
	void *data;
};

static void chore_free(struct chore *chore)
{
	list_remove(&chore->link);
	free(chore);
}

static void chore_done(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct chore *chore = data;
	storage_done done = chore->done;
	void *done_data = chore->data;

	chore_free(chore);
	done(r, e, done_data);
}

static int chore_start(struct storages *storages, const struct job_options *options, job_fn fn,
		       void *argument, storage_done done, void *data, struct error *e)
{
	struct chore *chore = calloc(1, sizeof(*chore));

	if (!chore)
		return error_errno(e, ENOMEM, "%s", options->name);
	chore->done = done;
	chore->data = data;
	list_append(&storages->chores, &chore->link);
	chore->job = job_start(storages->loop, options, fn, argument, chore_done, chore, e);
	if (chore->job)
		return 0;
	chore_free(chore);
	return error_result(e);
}

struct update_work {
	const char *root;
	Grpc__Storage *const *list;
	size_t count;
};

static int update_run(struct buf *result, void *argument, struct error *e)
{
	const struct update_work *work = argument;
	int r = 0;

	for (size_t i = 0; r == 0 && i < work->count; i++)
		r = storage_update_ephemeral(work->root, work->list[i], e);
	return r;
}

int storages_update_ephemeral(struct storages *storages, Grpc__Storage *const *list, size_t count,
			      storage_done done, void *data, struct error *e)
{
	const struct job_options options = {.name = "update ephemeral mounts",
					    .deadline_ms = MOUNT_DEADLINE_MS};
	struct update_work work = {.root = storages->root, .list = list, .count = count};

	return chore_start(storages, &options, update_run, &work, done, data, e);
}

static int touch_run(struct buf *result, void *argument, struct error *e)
{
	_cleanup_free_ char *table = mount_table_read();
	struct mount_entry entry;
	char *rest = table;
	struct stat info;

	if (!table)
		return error_errno(e, errno, "read the table of mounts");
	while (mount_table_next(&rest, &entry))
		if (str_starts_with(entry.mount_point, shared_directory))
			(void)stat(entry.mount_point, &info);
	return 0;
}

int storages_touch_shared(struct storages *storages, storage_done done, void *data, struct error *e)
{
	const struct job_options options = {.name = "touch shared mounts", .deadline_ms = TOUCH_DEADLINE_MS};

	return chore_start(storages, &options, touch_run, NULL, done, data, e);
}

/* --- the table ------------------------------------------------------------------------------------------------ */

unsigned storages_count(const struct storages *storages, const char *mount_point)
{
	const struct entry *entry = entry_find(storages, mount_point);

	return entry && entry->state == READY ? entry->count : 0;
}

const char *const *storage_handlers(size_t *count)
{
	static const char *names[16];
	const struct storage_driver *drivers = storage_drivers(count);

	for (size_t i = 0; i < *count && i < array_length(names) - 1; i++)
		names[i] = drivers[i].name;
	return names;
}

struct storages *storages_new(struct loop *loop, const char *root)
{
	struct storages *storages = calloc(1, sizeof(*storages));

	if (!storages)
		return NULL;
	storages->root = strdup(root);
	if (!storages->root) {
		free(storages);
		return NULL;
	}
	storages->loop = loop;
	list_init(&storages->entries);
	list_init(&storages->adds);
	list_init(&storages->releases);
	list_init(&storages->chores);
	return storages;
}

void storages_free(struct storages *storages)
{
	struct storage_release *release, *next_release;
	struct chore *chore, *next_chore;
	struct entry *entry, *next;

	if (!storages)
		return;
	list_for_each_entry_safe (release, next_release, &storages->releases, link)
		release_free(release);
	list_for_each_entry_safe (chore, next_chore, &storages->chores, link) {
		job_cancel(chore->job);
		chore_free(chore);
	}
	list_for_each_entry_safe (entry, next, &storages->entries, link)
		entry_free(entry);
	free(storages->root);
	free(storages);
}
