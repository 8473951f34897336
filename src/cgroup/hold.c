/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds: who has frozen what.
 *
 * A frozen process of v1 does not die, and whatever is born into a frozen cgroup does not begin. A freeze
 * comes from the cgroup itself or from any one above it, and each is named by a file of its own: walking up
 * from a place tells whose it is. What is ours is thawed. What is somebody else's never is: it is named
 * instead, so that nobody waits for what cannot happen. v2's frozen processes die of SIGKILL; only a start
 * has to fear them.
 */
#include "cgroup/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"

enum { HOLD_LOOKS = 64 };

static bool says(int dirfd, const char *file, const char *word)
{
	_cleanup_free_ char *text = NULL;

	return file_read(dirfd, file, 4096, &text) > 0 && str_starts_with(text, word);
}

/* Whether the directory itself was told to freeze, whatever those above it were. */
static bool is_origin(int dirfd, bool v2)
{
	return says(dirfd, v2 ? "cgroup.freeze" : "freezer.self_freezing", "1");
}

static bool is_frozen(int dirfd, bool v2)
{
	uint64_t frozen = 0;
	_cleanup_free_ char *text = NULL;

	if (!v2)
		return says(dirfd, "freezer.state", "FR"); /* FROZEN or FREEZING */
	return file_read(dirfd, "cgroup.events", 4096, &text) > 0 && text_key(text, "frozen", &frozen) &&
	       frozen;
}

static int open_place(const struct cgroup *cg, int index, const char *place)
{
	_cleanup_fd_ int owned = -1;
	int root = root_open(cg->host, index, &owned);

	return root < 0 ? root : path_open(root, place, O_PATH | O_DIRECTORY, 0, PATH_BENEATH);
}

/* The nearest cgroup at or above @place that was told to freeze, malloc'ed, or NULL. What is missing is
 * passed over. */
static char *origin_above(const struct cgroup *cg, int index, const char *place)
{
	_cleanup_free_ char *path = strdup(place);
	char *slash;

	while (path && *path) {
		_cleanup_fd_ int fd = open_place(cg, index, path);

		if (fd >= 0 && is_origin(fd, cg->host->hierarchies[index].v2))
			return steal_pointer(path);
		slash = strrchr(path, '/');
		if (!slash)
			break;
		*slash = '\0';
	}
	return NULL;
}

/* --- for who is to begin -------------------------------------------------------------------------------- */

static int check_at(const struct cgroup *cg, int index, struct error *e)
{
	_cleanup_fd_ int fd = index < 0 ? -ENOENT : open_place(cg, index, cg->path);
	_cleanup_free_ char *origin = NULL;

	/* A directory that is there knows of those above it. */
	if (index < 0 || (fd >= 0 && !is_frozen(fd, cg->host->hierarchies[index].v2)))
		return 0;
	origin = origin_above(cg, index, cg->path);
	if (!origin && fd < 0)
		return 0;
	return error_set(e, STATUS_FAILED_PRECONDITION, EBUSY,
			 "cgroup \"%s\" is frozen (by \"%s\"): nothing can start in it", cg->path,
			 origin ? origin : "a cgroup above it");
}

int cgroup_check_unfrozen(const struct cgroup *cg, struct error *e)
{
	int v1 = host_find(cg->host, CONTROLLER_FREEZER);
	int r = check_at(cg, v1, e);

	return r < 0 ? r : check_at(cg, host_v2(cg->host), e);
}

int hold_check_above(const struct cgroup *cg, int index, struct error *e)
{
	_cleanup_free_ char *origin = origin_above(cg, index, cg->path);

	return origin ? error_set(e, STATUS_FAILED_PRECONDITION, EBUSY,
				  "cgroup \"%s\" stays frozen by \"%s\"", cg->path, origin)
		      : 0;
}

/* --- for who is to die ---------------------------------------------------------------------------------- */

static int freezer_of_v1(const struct cgroup *cg)
{
	int index = host_find(cg->host, CONTROLLER_FREEZER);

	return index >= 0 && !cg->host->hierarchies[index].v2 ? index : -1;
}

static int thaw_visit(int dirfd, void *data)
{
	(void)data;
	file_write(dirfd, "freezer.state", "THAWED");
	return 0;
}

void hold_thaw(const struct cgroup *cg)
{
	int index = freezer_of_v1(cg);

	if (index >= 0)
		tree_visit(cg, index, thaw_visit, NULL);
}

/* 0 when nothing of others keeps @pid from dying: also when it has gone, or cannot be looked at. */
static int check_mortal(const struct cgroup *cg, int index, pid_t pid, struct error *e)
{
	_cleanup_free_ char *place = cgroup_place_of(cg, index, pid);
	_cleanup_free_ char *origin = NULL;
	_cleanup_fd_ int fd = place && *place ? open_place(cg, index, place) : -ENOENT;

	if (fd < 0 || !is_frozen(fd, false))
		return 0;
	origin = origin_above(cg, index, place);
	/* A payload may freeze itself again and again: so is it thawed. */
	if (origin && path_is_below(origin, cg->path))
		return 0;
	return error_set(
		e, STATUS_FAILED_PRECONDITION, EBUSY,
		"process %d is in the frozen cgroup \"%s\" (frozen by \"%s\") and cannot die before that is "
		"thawed",
		(int)pid, place, origin ? origin : "a cgroup above it");
}

int cgroup_let_die(struct cgroup *cg, pid_t pid, struct error *e)
{
	int index = freezer_of_v1(cg);

	if (index < 0 || pid <= 1)
		return 0;
	if (cgroup_check_ours(cg, "thawed", NULL) == 0 && !owner_is_another(cg))
		hold_thaw(cg);
	return check_mortal(cg, index, pid, e);
}

int hold_check_all(const struct cgroup *cg, struct error *e)
{
	_cleanup_pids_ struct pid_list list = {.pids = NULL};
	int index = freezer_of_v1(cg), r = 0;

	if (index < 0 || tree_all_pids(cg, &list) < 0)
		return 0;
	for (size_t i = 0; i < list.count && i < HOLD_LOOKS && r == 0; i++)
		r = check_mortal(cg, index, list.pids[i], e);
	return r;
}
