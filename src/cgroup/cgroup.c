/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One cgroup: its names, and the way of each operation to the driver and the version that it is for.
 *
 * With cgroupfs the directories are ours: made here, in every mounted hierarchy (v1 ones, named ones, and in
 * the hybrid layout the v2 one too). With systemd they are systemd's, who makes them when the scope starts;
 * below them, and for limits that it has no property for, the same code works on the same files.
 */
#include "cgroup/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/path.h"
#include "base/str.h"

/* What statistics read, and what a payload that manages cgroups by itself finds there today. */
static const uint32_t always_enabled = 1u << CONTROLLER_CPU | 1u << CONTROLLER_CPUSET | 1u << CONTROLLER_IO |
				       1u << CONTROLLER_MEMORY | 1u << CONTROLLER_PIDS |
				       1u << CONTROLLER_HUGETLB;

static int make_dirs(struct cgroup *cg)
{
	size_t n = cg->host->count;

	cg->dirs = calloc(n ? n : 1, sizeof(*cg->dirs));
	if (!cg->dirs)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (asprintf(&cg->dirs[i], "%s/%s", cg->host->hierarchies[i].mount, cg->path) < 0) {
			cg->dirs[i] = NULL;
			return -ENOMEM;
		}
	}
	return 0;
}

struct cgroup *cgroup_new(const struct cgroup_host *host, enum cgroup_driver driver, const char *path,
			  const char *id, bool rootless, struct error *e)
{
	struct cgroup *cg = calloc(1, sizeof(*cg));
	int r = 0;

	if (!cg || !(cg->id = strdup(str_or_empty(id)))) {
		free(cg);
		error_errno(e, ENOMEM, "cgroup");
		return NULL;
	}
	cg->host = host;
	cg->driver = driver;
	cg->rootless = rootless;
	if (driver == CGROUP_SYSTEMD)
		r = systemd_parse(str_or_empty(path), id, &cg->slice, &cg->unit, &cg->path, e);
	else if (!(cg->path = cgroup_path_translate(path, id, e)))
		r = -EINVAL;
	if (r == 0 && make_dirs(cg) < 0)
		r = error_errno(e, ENOMEM, "cgroup");
	if (r < 0) {
		cgroup_free(cg);
		return NULL;
	}
	return cg;
}

void cgroup_free(struct cgroup *cg)
{
	if (!cg)
		return;
	for (size_t i = 0; cg->dirs && i < cg->host->count; i++)
		free(cg->dirs[i]);
	free(cg->dirs);
	free(cg->slice);
	free(cg->unit);
	free(cg->path);
	free(cg->owner);
	free(cg->id);
	free(cg);
}

const char *cgroup_path(const struct cgroup *cg)
{
	return cg->path;
}

enum cgroup_driver cgroup_driver_of(const struct cgroup *cg)
{
	return cg->driver;
}

const char *cgroup_directory(const struct cgroup *cg, const char *controller)
{
	int c = controller ? controller_find(controller, strlen(controller)) : -1;

	if (!controller) {
		int v2 = host_v2(cg->host);

		return v2 >= 0 ? cg->dirs[v2] : NULL;
	}
	for (size_t i = 0; i < cg->host->count; i++) {
		const struct hierarchy *h = &cg->host->hierarchies[i];

		if (c >= 0 ? !!(h->controllers & (1u << c)) : !h->v2 && strcmp(h->super, controller) == 0)
			return cg->dirs[i];
	}
	return NULL;
}

/* Undoes what a failed create made, without a word: the error that matters is there already. */
static void unmake(struct cgroup *cg, const bool *made)
{
	for (size_t i = 0; i < cg->host->count; i++) {
		if (made[i])
			tree_remove(cg, (int)i);
		tree_remove_parents(cg, (int)i);
	}
}

static int refuse_foreign(struct cgroup *cg, struct error *e)
{
	cg->foreign = true;
	return error_set(e, STATUS_FAILED_PRECONDITION, EBUSY, "cgroup \"%s\" exists and has processes",
			 cg->path);
}

static int make_at(struct cgroup *cg, int index, uint32_t enable, bool *made, struct error *e)
{
	const struct hierarchy *h = &cg->host->hierarchies[index];
	int r = tree_make(cg, index, enable, made, e);

	/* What is new has nobody in it. */
	if (r == 0 && !*made && tree_populated_at(cg, index))
		return refuse_foreign(cg, e);
	if (r == 0 && !h->v2 && (h->controllers & 1u << CONTROLLER_CPUSET))
		r = cpuset_fill(cg, index, *made, e);
	return r;
}

/* Ours from here on, unless somebody came in while we took it: two may have found it empty. */
static int take(struct cgroup *cg, const bool *made, struct error *e)
{
	int v2 = host_v2(cg->host);
	char before[OWNER_TEXT];

	if (cg->host->count == 0)
		return 0;
	owner_claim(cg, before);
	if (made[v2 >= 0 ? v2 : 0] || !tree_populated(cg))
		return 0;
	owner_give_back(cg, before);
	return refuse_foreign(cg, e);
}

int cgroup_create(struct cgroup *cg, const struct cgroup_resources *resources, struct error *e)
{
	uint32_t enable = always_enabled | (resources ? resources_controllers(resources) : 0);
	int r = resources ? resources_check(cg->host, resources, e) : 0;
	int v2 = host_v2(cg->host);
	_cleanup_free_ bool *made = NULL;

	if (r < 0)
		return r;
	/* A scope that runs is refused here and not by systemd: what failed to start would be stopped as ours. */
	if (cg->driver == CGROUP_SYSTEMD)
		return tree_populated(cg) ? refuse_foreign(cg, e) : cgroup_check_unfrozen(cg, e);
	/* On v2 controllers are handed down on the way: a foreign one is known before. */
	if (v2 >= 0 && tree_populated_at(cg, v2))
		return refuse_foreign(cg, e);
	made = calloc(cg->host->count + 1, sizeof(*made));
	if (!made)
		return error_errno(e, ENOMEM, "create cgroup \"%s\"", cg->path);
	for (size_t i = 0; i < cg->host->count && r == 0; i++)
		r = make_at(cg, (int)i, enable, &made[i], e);
	if (r == 0)
		r = cgroup_check_unfrozen(cg, e);
	if (r == 0)
		r = take(cg, made, e);
	if (r < 0)
		unmake(cg, made);
	return r;
}

int cgroup_set(struct cgroup *cg, const struct cgroup_resources *resources, struct error *e)
{
	int v2 = host_v2(cg->host);
	int r = resources_check(cg->host, resources, e);

	/* systemd gets what it has properties for first: else it would reset the files at its next reload. */
	if (r == 0 && cg->driver == CGROUP_SYSTEMD)
		r = systemd_set(cg, resources, e);
	if (r == 0 && v2 >= 0 && cg->driver == CGROUP_CGROUPFS)
		tree_enable(cg, v2, resources_controllers(resources));
	if (r == 0)
		r = v1_set(cg, resources, e);
	if (r == 0)
		r = v2_set(cg, resources, e);
	return r;
}

/* --- joining -------------------------------------------------------------------------------------------- */

static void pause_ms(long ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&ts, NULL);
}

static bool is_denied(const struct cgroup *cg, int r)
{
	return cg->rootless && (r == -EACCES || r == -EPERM || r == -EROFS || r == -ENOENT);
}

/* Writes @pid to an open cgroup.procs. EINVAL comes from v1 for a task that is not fully born (real-time group
 * scheduling): it passes. */
static int join(int fd, pid_t pid)
{
	char text[24];
	size_t length = (size_t)snprintf(text, sizeof(text), "%d", (int)pid);

	for (int tries = 0;; tries++) {
		ssize_t n = write(fd, text, length);

		if (n >= 0)
			return (size_t)n == length ? 0 : -EIO;
		if (errno != EINTR && (errno != EINVAL || tries == 4))
			return -errno;
		if (errno == EINVAL)
			pause_ms(5);
	}
}

/* -ENOENT when the directory is missing. */
static int join_at(const struct cgroup *cg, int index, pid_t pid)
{
	_cleanup_fd_ int fd = tree_open_knob(cg, index, "cgroup.procs");

	return fd < 0 ? fd : join(fd, pid);
}

static int attach_error(const struct cgroup *cg, int index, pid_t pid, int r, struct error *e)
{
	return error_errno(e, -r, "move process %d to cgroup \"%s\" in \"%s\"", (int)pid, cg->path,
			   cg->host->hierarchies[index].mount);
}

static int attach_all(struct cgroup *cg, pid_t pid, struct error *e)
{
	for (size_t i = 0; i < cg->host->count; i++) {
		int r = join_at(cg, (int)i, pid);

		/* systemd on v1 has its units in some of the hierarchies only. */
		if (is_denied(cg, r) || (r == -ENOENT && cg->driver == CGROUP_SYSTEMD))
			continue;
		if (r < 0)
			return attach_error(cg, (int)i, pid, r, e);
	}
	return 0;
}

int cgroup_attach(struct cgroup *cg, pid_t pid, struct error *e)
{
	if (pid <= 1)
		return error_set(e, STATUS_INTERNAL, EINVAL, "process %d cannot be moved to a cgroup",
				 (int)pid);
	if (cg->driver == CGROUP_SYSTEMD) {
		int r = systemd_start(cg, pid, e);
		char before[OWNER_TEXT];

		if (r == 0)
			owner_claim(cg, before);
		/* On v1 the hierarchies that systemd does not keep are ours. */
		if (r < 0 || cg->host->layout == CGROUP_V2)
			return r;
	}
	return attach_all(cg, pid, e);
}

/* The directory of @init in a hierarchy, if that is ours or below; -1 else. */
static int open_init(const struct cgroup *cg, int index, pid_t init)
{
	_cleanup_free_ char *place = init > 1 ? cgroup_place_of(cg, index, init) : NULL;
	_cleanup_fd_ int owned = -1;
	int root;

	if (!place || !path_is_below(place, cg->path))
		return -1;
	root = root_open(cg->host, index, &owned);
	return root < 0 ? -1 : path_open(root, place, O_PATH | O_DIRECTORY, 0, PATH_BENEATH);
}

static int join_init(const struct cgroup *cg, int index, pid_t pid, pid_t init, int r)
{
	_cleanup_fd_ int dir = open_init(cg, index, init);
	_cleanup_fd_ int fd = -1;

	if (dir < 0)
		return r;
	fd = openat(dir, "cgroup.procs", O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	return fd < 0 ? -errno : join(fd, pid);
}

int cgroup_attach_exec(struct cgroup *cg, pid_t pid, pid_t init, struct error *e)
{
	if (pid <= 1)
		return error_set(e, STATUS_INTERNAL, EINVAL, "process %d cannot be moved to a cgroup",
				 (int)pid);
	for (size_t i = 0; i < cg->host->count; i++) {
		int r = join_at(cg, (int)i, pid);

		if (r == -EBUSY || r == -EOPNOTSUPP)
			r = join_init(cg, (int)i, pid, init, r);
		if (is_denied(cg, r) || (r == -ENOENT && cg->driver == CGROUP_SYSTEMD))
			continue;
		if (r < 0)
			return attach_error(cg, (int)i, pid, r, e);
	}
	return 0;
}

/* --- places --------------------------------------------------------------------------------------------- */

static bool climbs(const char *path)
{
	for (const char *part = path; *part;) {
		size_t length = strcspn(part, "/");

		if (length == 2 && memcmp(part, "..", 2) == 0)
			return true;
		part += length + (part[length] == '/');
	}
	return false;
}

/* Bits of the hierarchies that @place names by their controllers, -EINVAL with @e set; 0: it names none. */
static int64_t named_hierarchies(const struct cgroup *cg, const char *place, const char *colon,
				 struct error *e)
{
	uint64_t bits = 0;

	for (const char *word = place; colon && word < colon;) {
		size_t length = strcspn(word, ",:");
		int controller = controller_find(word, length);
		int index = controller < 0 ? -1 : host_find(cg->host, (enum controller)controller);

		if (index < 0 || index >= 63)
			return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
					 "unknown controller %.*s in \"%s\"", (int)length, word, place);
		bits |= UINT64_C(1) << index;
		word += length + 1;
	}
	if (colon && !bits)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "no controller is named in \"%s\"",
				 place);
	return (int64_t)bits;
}

/* -ENOENT when the hierarchy has no such directory. */
static int join_below(const struct cgroup *cg, int index, const char *below, pid_t pid)
{
	_cleanup_dir_of_cgroup_ struct cgroup_dir dir = {.fd = -1};
	_cleanup_free_ char *path = NULL;
	int r = cgroup_dir_open(cg, index, &dir);

	if (r < 0)
		return r;
	below += strspn(below, "/");
	if (asprintf(&path, "%s%scgroup.procs", below, *below ? "/" : "") < 0) {
		path = NULL;
		return -ENOMEM;
	}
	_cleanup_fd_ int fd = path_open(dir.fd, path, O_WRONLY | O_NOCTTY, 0, PATH_BENEATH);
	return fd < 0 ? fd : join(fd, pid);
}

static int attach_place(struct cgroup *cg, pid_t pid, const char *place, uint64_t *done, struct error *e)
{
	const char *colon = strchr(place, ':'), *path = colon ? colon + 1 : place;
	int64_t named = named_hierarchies(cg, place, colon, e);
	bool joined = false;

	if (named < 0)
		return (int)named;
	if (climbs(path))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "bad sub cgroup path: \"%s\"", path);
	if ((uint64_t)named & *done)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "a controller in \"%s\" is named twice",
				 place);
	for (size_t i = 0; i < cg->host->count && i < 63; i++) {
		uint64_t bit = UINT64_C(1) << i;

		if ((named && !((uint64_t)named & bit)) || (*done & bit))
			continue;
		int r = join_below(cg, (int)i, path, pid);
		if (r == -ENOENT && !named)
			continue;
		if (r < 0)
			return error_errno(e, -r, "adding pid %d to cgroups: \"%s/%s\" in \"%s\"", (int)pid,
					   cg->path, path, cg->host->hierarchies[i].mount);
		*done |= bit;
		joined = true;
	}
	return joined ? 0
		      : error_errno(e, ENOENT, "adding pid %d to cgroups: \"%s/%s\"", (int)pid, cg->path,
				    path);
}

int cgroup_attach_places(struct cgroup *cg, pid_t pid, const char *const *places, size_t n, struct error *e)
{
	uint64_t done = 0;

	if (pid <= 1)
		return error_set(e, STATUS_INTERNAL, EINVAL, "process %d cannot be moved to a cgroup",
				 (int)pid);
	/* Those with controllers go before those that stand for all the rest. */
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < n; i++) {
			if ((strchr(places[i], ':') == NULL) != (pass == 1))
				continue;
			int r = attach_place(cg, pid, places[i], &done, e);
			if (r < 0)
				return r;
		}
	}
	for (size_t i = 0; i < cg->host->count; i++) {
		int r = i < 63 && (done & UINT64_C(1) << i) ? 0 : join_at(cg, (int)i, pid);

		if (is_denied(cg, r) || (r == -ENOENT && cg->driver == CGROUP_SYSTEMD))
			continue;
		if (r < 0)
			return attach_error(cg, (int)i, pid, r, e);
	}
	return 0;
}

/* A process cannot be born in one hierarchy of several and be moved in the others: then it is moved in
 * all. */
static int clone_index(const struct cgroup *cg)
{
	return cg->host->layout == CGROUP_V2 ? host_v2(cg->host) : -1;
}

int cgroup_open(const struct cgroup *cg)
{
	_cleanup_dir_of_cgroup_ struct cgroup_dir dir = {.fd = -1};

	if (cg->driver == CGROUP_SYSTEMD || cgroup_dir_open(cg, clone_index(cg), &dir) < 0)
		return -1;
	return fd_steal(&dir.fd);
}

int cgroup_open_exec(const struct cgroup *cg, pid_t init)
{
	_cleanup_dir_of_cgroup_ struct cgroup_dir dir = {.fd = -1};
	_cleanup_free_ char *delegated = NULL;
	int fd = -1;

	if (cgroup_dir_open(cg, clone_index(cg), &dir) < 0)
		return -1;
	/* With controllers handed down, the directory takes no processes any more. */
	delegated = knob_read(&dir, "cgroup.subtree_control");
	if (!str_is_empty(delegated))
		fd = open_init(cg, clone_index(cg), init);
	return fd >= 0 ? fd : fd_steal(&dir.fd);
}

/* The lists are what counts: a place in /proc is told as a cgroup namespace has it, which may be another than that of
 * the mounts. */
bool cgroup_holds(const struct cgroup *cg, pid_t pid)
{
	_cleanup_pids_ struct pid_list list = {.pids = NULL};

	for (size_t i = 0; pid == 0 && i < cg->host->count; i++) {
		_cleanup_dir_of_cgroup_ struct cgroup_dir dir = {.fd = -1};

		if (cgroup_dir_open(cg, (int)i, &dir) == 0)
			return true;
	}
	if (pid == 0 || tree_all_pids(cg, &list) < 0)
		return false;
	for (size_t i = 0; i < list.count; i++) {
		if (list.pids[i] == pid)
			return true;
	}
	return false;
}

ssize_t cgroup_pids(const struct cgroup *cg, pid_t **pids, struct error *e)
{
	_cleanup_pids_ struct pid_list list = {.pids = NULL};
	int r = tree_all_pids(cg, &list);

	if (r < 0)
		return error_errno(e, -r, "list the processes of cgroup \"%s\"", cg->path);
	*pids = steal_pointer(list.pids);
	return (ssize_t)list.count;
}
