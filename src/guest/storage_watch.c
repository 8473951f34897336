/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes whose changes are to be seen by those who watch them (driver watchable-bind): mirrors (mirror.h) of what lies on the
 * shared file system, in a tmpfs that is mounted on their common directory, a storage of its own.
 *
 * The shared file system tells of no change, so it is looked at every two seconds, in one job for all mirrors, as long as
 * there are any. What has become too much to be mirrored is bound instead, once and for all. A mirror is kept when its
 * container ends, because the host names a volume only to the first container that uses it, and goes when the host has
 * taken its source away.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "guest/storage_private.h"

enum { PERIOD_MS = 2000, LOOK_DEADLINE_MS = 30000 };

static const char *const roots[] = {
	"/run/kata-containers/shared/containers/watchable",
	"/run/kata-containers/shared/containers/passthrough/watchable",
};

/* A share of a runtime that is not root's: "/run/user/UID" in front. */
static const char *without_user(const char *path)
{
	static const char prefix[] = "/run/user/";
	const char *digits = path + sizeof(prefix) - 1, *end;
	char text[16];
	uint32_t uid;

	if (!str_starts_with(path, prefix))
		return path;
	end = digits + strcspn(digits, "/");
	if (*digits == '0' || (size_t)(end - digits) >= sizeof(text))
		return path;
	memcpy(text, digits, (size_t)(end - digits));
	text[end - digits] = '\0';
	return str_to_u32(text, 10, &uid) == 0 ? end : path;
}

char *storage_watch_root(const char *mount_point, struct error *e)
{
	const char *slash = strrchr(mount_point, '/');
	char *root = strndup(mount_point, (size_t)(slash - mount_point));

	if (!root) {
		error_errno(e, ENOMEM, "storage");
		return NULL;
	}
	for (size_t i = 0; i < array_length(roots); i++)
		if (strcmp(without_user(root), roots[i]) == 0)
			return root;
	error_set(e, STATUS_INTERNAL, EINVAL, "invalid watchable tmpfs root %s", root);
	free(root);
	return NULL;
}

/* --- looking -------------------------------------------------------------------------------------------------- */

struct look {
	const char *source;
	struct storage_place place;
};

struct look_work {
	struct look *looks;
	size_t count;
};

/* One byte for each: enum storage_watch_result. */
static int look_run(struct buf *result, void *argument, struct error *e)
{
	struct look_work *work = argument;

	for (size_t i = 0; i < work->count; i++) {
		struct error own = ERROR_INIT;
		int r = storage_mirror(work->looks[i].source, &work->looks[i].place, &own);

		if (r < 0)
			log_debug("storage", "cannot mirror a volume", "path", work->looks[i].source, "error",
				  own.text);
		if (buf_append_char(result, r < 0 ? STORAGE_MIRRORED : (char)r) < 0)
			return error_errno(e, ENOMEM, "storage");
	}
	return 0;
}

static bool is_watched(const struct storage_entry *entry)
{
	return entry->source && entry->state == STORAGE_READY && entry->place.mirror && !entry->place.bound;
}

static void looked(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct storages *storages = data;
	struct storage_entry *entry, *next;
	const uint8_t *results = buf_begin(result);
	struct error ignored = ERROR_INIT;

	storages->watch_job = NULL;
	if (r < 0)
		log_warning("storage", "cannot look at watched volumes", "error", e->text);
	list_for_each_entry_safe (entry, next, &storages->entries, link) {
		size_t index = entry->watch_index;

		entry->watch_index = 0;
		if (r < 0 || index == 0 || index > result->length || !is_watched(entry))
			continue;
		if (results[index - 1] == STORAGE_BOUND)
			entry->place.bound = true;
		else if (results[index - 1] == STORAGE_SOURCE_GONE && entry->count == 0)
			storage_entry_remove(entry, NULL, &ignored);
	}
	storages_watch(storages);
}

static void look(struct loop_timer *timer)
{
	const struct job_options options = {.name = "look at watched volumes",
					    .deadline_ms = LOOK_DEADLINE_MS};
	struct storages *storages = container_of(timer, struct storages, watch_timer);
	struct look_work work = {.count = 0};
	struct storage_entry *entry;
	struct error e = ERROR_INIT;

	list_for_each_entry (entry, &storages->entries, link)
		work.count += is_watched(entry);
	if (work.count == 0)
		return;
	work.looks = calloc(work.count, sizeof(*work.looks));
	work.count = 0;
	list_for_each_entry (entry, &storages->entries, link) {
		if (!work.looks || !is_watched(entry))
			continue;
		work.looks[work.count++] = (struct look){entry->source, entry->place};
		entry->watch_index = work.count;
	}
	if (work.looks)
		storages->watch_job =
			job_start(storages->loop, &options, look_run, &work, looked, storages, &e);
	free(work.looks);
	if (!storages->watch_job)
		storages_watch(storages);
}

void storages_watch(struct storages *storages)
{
	const struct storage_entry *entry;

	if (storages->watch_job || storages->watch_timer.loop)
		return;
	list_for_each_entry (entry, &storages->entries, link) {
		if (!is_watched(entry))
			continue;
		(void)loop_timer_set(storages->loop, &storages->watch_timer, PERIOD_MS, look);
		return;
	}
}

void storages_unwatch(struct storages *storages)
{
	job_cancel(storages->watch_job);
	storages->watch_job = NULL;
	loop_timer_remove(&storages->watch_timer);
}
