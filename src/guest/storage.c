/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of storages. The requests that work on it are in storage_add.c and storage_release.c.
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
#include "base/log.h"
#include "base/str.h"
#include "guest/mount_table.h"
#include "guest/storage_private.h"

enum { MOUNT_DEADLINE_MS = 120000, UNMOUNT_DEADLINE_MS = 30000, TOUCH_DEADLINE_MS = 10000 };

static const char shared_directory[] = "/run/kata-containers/shared/containers";

/* --- references ----------------------------------------------------------------------------------------------- */

int storage_refs_add(struct storage_refs *refs, const char *path, bool fresh)
{
	if (refs->count == refs->size) {
		size_t size = refs->size ? refs->size * 2 : 4;
		struct storage_ref *grown = reallocarray(refs->refs, size, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		refs->refs = grown;
		refs->size = size;
	}
	refs->refs[refs->count] = (struct storage_ref){.path = strdup(path), .fresh = fresh};
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

struct storage_entry *storage_entry_find(const struct storages *storages, const char *mount_point)
{
	struct storage_entry *entry;

	list_for_each_entry (entry, &storages->entries, link)
		if (strcmp(entry->mount_point, mount_point) == 0)
			return entry;
	return NULL;
}

void storage_entry_free(struct storage_entry *entry)
{
	if (!entry)
		return;
	list_remove(&entry->link);
	job_cancel(entry->job);
	free(entry->mount_point);
	free(entry->source);
	free(entry);
}

void storages_on_change(struct storages *storages, void (*fn)(struct storages *storages, void *data),
			void *data)
{
	storages->changed = fn;
	storages->changed_data = data;
}

void storages_tell(struct storages *storages)
{
	if (storages->changed)
		storages->changed(storages, storages->changed_data);
}

void storages_wake(struct storages *storages)
{
	struct storage_add *add;
	struct storage_release *release;

	list_for_each_entry (add, &storages->adds, link)
		loop_defer_add(storages->loop, &add->step, storage_add_step);
	list_for_each_entry (release, &storages->releases, link)
		loop_defer_add(storages->loop, &release->step, storage_release_step);
}

static int remove_run(struct buf *result, void *argument, struct error *e)
{
	return storage_unmount(argument, e);
}

static void remove_done(struct job *job, int r, struct buf *result, struct error *e, void *data);

int storage_entry_remove(struct storage_entry *entry, struct storage_release *remover, struct error *e)
{
	const struct job_options options = {.name = "unmount", .deadline_ms = UNMOUNT_DEADLINE_MS};

	entry->job =
		job_start(entry->storages->loop, &options, remove_run, &entry->place, remove_done, entry, e);
	if (!entry->job) {
		entry->state = STORAGE_READY;
		entry->count = 0;
		return error_result(e);
	}
	entry->state = STORAGE_REMOVING;
	entry->remover = remover;
	return 0;
}

static void remove_done(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct storage_entry *entry = data;
	struct storages *storages = entry->storages;
	struct storage_release *remover = entry->remover;

	entry->job = NULL;
	entry->remover = NULL;
	if (r < 0) {
		log_warning("storage", "cannot remove", "mount-point", entry->mount_point, "error", e->text);
		/* It is there still. Forgotten, it could neither be used again nor be removed later. */
		entry->state = STORAGE_READY;
		entry->count = 0;
		if (remover && remover->r == 0) {
			remover->r = r;
			remover->error = *e;
		}
	} else {
		storage_entry_free(entry);
		storages_tell(storages);
	}
	storages_wake(storages);
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

static bool is_shared(const char *mount_point)
{
	const char *rest = mount_point + sizeof(shared_directory) - 1;

	return str_starts_with(mount_point, shared_directory) && (*rest == '/' || *rest == '\0');
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
		if (is_shared(entry.mount_point))
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
	const struct storage_entry *entry = storage_entry_find(storages, mount_point);

	return entry && entry->state == STORAGE_READY ? entry->count : 0;
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
	struct storage_entry *entry, *next;

	if (!storages)
		return;
	storages_unwatch(storages);
	list_for_each_entry_safe (release, next_release, &storages->releases, link)
		storage_release_free(release);
	list_for_each_entry_safe (chore, next_chore, &storages->chores, link) {
		job_cancel(chore->job);
		chore_free(chore);
	}
	list_for_each_entry_safe (entry, next, &storages->entries, link)
		storage_entry_free(entry);
	free(storages->root);
	free(storages);
}
