/* SPDX-License-Identifier: Apache-2.0 */

/*
 * RemoveContainer: the list of steps from a container in whatever state to nothing. Each is tried, whatever became of
 * those before it; the first error is what is reported, and the entry stays for another try, in which what is done
 * already succeeds at once.
 */

#include "agent/entry.h"

#include <errno.h>
#include <signal.h>

#include "agent/bundle.h"
#include "agent/sandbox.h"
#include "agent/sequence.h"
#include "base/fd.h"
#include "base/log.h"

enum { PATIENCE_MS = 10000 }; /* for init to die */

static void container_deleted(struct container *container, int r, const struct error *e, void *data)
{
	struct entry *entry = data;
	(void)container;
	sequence_continue(entry->sequence, r, e);
	entry_end(entry);
}

/*
 * The engine refuses to delete a container in the middle of something else, and looks for the death of init by a timer. So
 * init is killed first, which brings everything else about it to its end too, and then comes the deletion.
 */
void entry_settle(struct entry *entry)
{
	struct task *init = task_find_any(entry, "");
	if (!entry->deleting || entry->operations > 0)
		return;
	/* A frozen process dies only once it is thawed, which is the engine's business. */
	if (init && !init->exited && entry->patience.loop &&
	    container_status(entry->container) != CONTAINER_PAUSED)
		return;
	entry->deleting = false;
	loop_timer_remove(&entry->patience);
	entry_begin(entry);
	container_delete(entry->container, true, container_deleted, entry);
}

static void patience_over(struct loop_timer *timer)
{
	entry_settle(list_entry(timer, struct entry, patience));
}

/* v1's freezer keeps even the killed: also what froze itself, with a process of ours on its way in. */
static void thaw(struct cgroup *cgroup)
{
	struct error ignored = ERROR_INIT;
	if (cgroup && cgroup_driver_of(cgroup) == CGROUP_CGROUPFS && cgroup_frozen(cgroup))
		(void)cgroup_thaw(cgroup, &ignored);
}

static int delete_container(void *object, struct error *e)
{
	struct entry *entry = object;
	struct task *init = task_find_any(entry, "");
	struct error ignored = ERROR_INIT;
	int r = loop_timer_set(entry->sandbox->loop, &entry->patience, PATIENCE_MS, patience_over);
	if (r < 0)
		return error_errno(e, -r, "timer");
	if (init && init->process && !init->exited)
		(void)process_signal(init->process, SIGKILL, &ignored);
	thaw(container_cgroup(entry->container));
	entry->deleting = true;
	entry_settle(entry);
	return STEP_WAIT;
}

static void job_over(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct entry *entry = data;
	(void)job, (void)result;
	entry->job = NULL;
	sequence_continue(entry->sequence, r, e);
}

static void storages_released(int r, const struct error *e, void *data)
{
	struct entry *entry = data;
	sequence_continue(entry->sequence, r, e);
}

static int release_storages(void *object, struct error *e)
{
	struct entry *entry = object;
	if (!entry->storages)
		return STEP_DONE;
	int r = storages_release(entry->sandbox->storages, entry->storages, storages_released, entry);
	if (r < 0)
		return error_errno(e, -r, "release storages");
	entry->storages = NULL;
	return STEP_WAIT;
}

static int remove_directory(void *object, struct error *e)
{
	struct entry *entry = object;
	struct error ignored = ERROR_INIT;
	if (rundir_remove(&entry->sandbox->rundir, entry->id, &ignored) == 0)
		return STEP_DONE;
	entry->job = bundle_tidy(entry->sandbox->loop, entry->id, job_over, entry, e);
	return entry->job ? STEP_WAIT : error_result(e);
}

static const struct step remove_steps[] = {
	{"container", delete_container, NULL, NULL},
	{"storages", release_storages, NULL, NULL},
	{"directory", remove_directory, NULL, NULL},
};

static void tell(struct list *removals, const struct error *e)
{
	while (!list_empty(removals)) {
		struct removal *removal = list_first_entry(removals, struct removal, link);
		list_remove(&removal->link);
		removal->done(removal, e);
	}
}

static void removal_over(void *object, int r, const struct error *e)
{
	struct entry *entry = object;
	struct list removals = LIST_INIT(removals);
	struct sandbox *sandbox = entry->sandbox;

	entry->sequence = NULL;
	while (!list_empty(&entry->removals)) {
		struct list *first = entry->removals.next;
		list_remove(first);
		list_append(&removals, first);
	}
	if (r < 0) {
		log_error("container", "removal failed", "container-id", entry->id, "error", e->text);
		entry->state = ENTRY_LIVE;
		entry_release_creators(entry);
	} else {
		log_info("container", "removed", "container-id", entry->id);
		entry_free(entry);
	}
	tell(&removals, e);
	sandbox_settle(sandbox);
}

int entry_remove(struct entry *entry, struct removal *removal, struct error *e)
{
	if (entry->state == ENTRY_LIVE) {
		entry->sequence = sequence_start(entry->sandbox->loop, "remove", remove_steps,
						 array_length(remove_steps), true, entry, removal_over);
		if (!entry->sequence)
			return error_errno(e, ENOMEM, "remove container %s", entry->id);
		entry->state = ENTRY_REMOVING;
	}
	if (removal)
		list_append(&entry->removals, &removal->link);
	return 0;
}
