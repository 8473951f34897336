/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories: a cgroup's place in each hierarchy, what is below it, and its way in and out of existence.
 *
 * All work happens below the hierarchy's root descriptor, beneath and without links. A path is never empty,
 * so no operation can name the root. Walks keep one descriptor a level and stop at a depth that no honest
 * payload reaches.
 *
 * What we make is marked with an extended attribute, and only a marked parent is removed when it got empty: a
 * slice that belongs to somebody else stays, however empty it is. File systems or users that cannot have the
 * mark leave parents behind, which costs an empty directory.
 */
#include "cgroup/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/log.h"
#include "base/path.h"
#include "base/str.h"

enum { DEPTH_MAX = 128, PIDS_MAX = 1 << 20 };

int cgroup_dir_open(const struct cgroup *cg, int index, struct cgroup_dir *out)
{
	_cleanup_fd_ int owned = -1;
	int root;

	*out = (struct cgroup_dir){.cg = cg, .fd = -1};
	if (index < 0)
		return -ENOENT;
	out->hierarchy = &cg->host->hierarchies[index];
	root = root_open(cg->host, index, &owned);
	if (root < 0)
		return root;
	out->fd = path_open(root, cg->path, O_PATH | O_DIRECTORY, 0, PATH_BENEATH);
	return out->fd < 0 ? out->fd : 0;
}

void cgroup_dir_close(struct cgroup_dir *dir)
{
	dir->fd = fd_close(dir->fd);
}

int tree_open_knob(const struct cgroup *cg, int index, const char *file)
{
	_cleanup_fd_ int owned = -1;
	_cleanup_free_ char *path = NULL;
	int root = root_open(cg->host, index, &owned);

	if (root < 0)
		return root;
	if (asprintf(&path, "%s/%s", cg->path, file) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return path_open(root, path, O_WRONLY | O_NOCTTY, 0, PATH_BENEATH);
}

/* --- whose is it ---------------------------------------------------------------------------------------- */

/* Whether the second field of a line of /proc/PID/cgroup is @h's: its super block options, in the line's own order; ""
 * for v2. */
static bool line_is_of(const char *controllers, size_t size, const struct hierarchy *h)
{
	size_t length = strcspn(h->super, ",");

	if (h->v2)
		return size == 0;
	for (const char *word = controllers, *end = controllers + size; word < end;) {
		const char *comma = memchr(word, ',', (size_t)(end - word));
		size_t n = (size_t)((comma ? comma : end) - word);

		if (n == length && memcmp(word, h->super, n) == 0)
			return true;
		word += n + 1;
	}
	return false;
}

/* The text of /proc/@pid/cgroup ("self", "42"), malloc'ed or NULL. */
static char *read_places(const struct cgroup_host *host, const char *pid)
{
	_cleanup_free_ char *file = NULL;

	if (asprintf(&file, "/proc/%s/cgroup", pid) < 0) {
		file = NULL;
		return NULL;
	}
	return host_read(host, file);
}

/* Where the process of the text @places is in hierarchy @h, without the leading slash, or NULL: *@length bytes of
 * the text. A path may hold colons: only the first two part the fields. */
static const char *place_in(const char *places, const struct hierarchy *h, size_t *length)
{
	for (const char *line = places; line && *line; line += *line == '\n') {
		const char *end = line + strcspn(line, "\n");
		const char *controllers = memchr(line, ':', (size_t)(end - line));
		const char *path =
			controllers ? memchr(controllers + 1, ':', (size_t)(end - controllers - 1)) : NULL;

		line = end;
		if (!path || !line_is_of(controllers + 1, (size_t)(path - controllers - 1), h))
			continue;
		path++;
		path += *path == '/';
		*length = (size_t)(end - path);
		return path;
	}
	return NULL;
}

char *cgroup_place_of(const struct cgroup *cg, int index, pid_t pid)
{
	_cleanup_free_ char *places = NULL;
	const char *place;
	char number[24];
	size_t length;

	snprintf(number, sizeof(number), "%d", (int)pid);
	places = read_places(cg->host, number);
	place = place_in(places, &cg->host->hierarchies[index], &length);
	return place ? strndup(place, length) : NULL;
}

bool path_is_below(const char *path, const char *parent)
{
	size_t length = strlen(parent);

	return strncmp(path, parent, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

bool cgroup_contains_self(const struct cgroup *cg)
{
	_cleanup_free_ char *places = read_places(cg->host, "self");
	size_t below = strlen(cg->path);

	for (size_t i = 0; i < cg->host->count; i++) {
		size_t length;
		const char *own = place_in(places, &cg->host->hierarchies[i], &length);

		if (own && length >= below && memcmp(own, cg->path, below) == 0 &&
		    (length == below || own[below] == '/'))
			return true;
	}
	return false;
}

int cgroup_check_ours(const struct cgroup *cg, const char *verb, struct error *e)
{
	if (cg->foreign)
		return error_set(e, STATUS_FAILED_PRECONDITION, EPERM,
				 "cgroup \"%s\" belongs to somebody else: not %s", cg->path, verb);
	if (cgroup_contains_self(cg))
		return error_set(e, STATUS_FAILED_PRECONDITION, EPERM,
				 "cgroup \"%s\" holds the agent itself: not %s", cg->path, verb);
	return 0;
}

/* --- processes ------------------------------------------------------------------------------------------ */

void pid_list_deinit(struct pid_list *list)
{
	free(list->pids);
	*list = (struct pid_list){.pids = NULL};
}

static int pid_list_add(struct pid_list *list, pid_t pid)
{
	pid_t *grown;

	if (list->count >= PIDS_MAX)
		return -E2BIG;
	if (list->count == list->size) {
		size_t size = list->size ? list->size * 2 : 64;

		grown = realloc(list->pids, size * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		list->pids = grown;
		list->size = size;
	}
	list->pids[list->count++] = pid;
	return 0;
}

/*
 * 0 stands for a process of another pid namespace and must never reach kill(2); 1 is the guest's init; and we
 * ourselves are never meant.
 */
static int add_pids_of(int dirfd, struct pid_list *out)
{
	_cleanup_free_ char *text = NULL;
	char *save = NULL;
	ssize_t n = file_read(dirfd, "cgroup.procs", 16 << 20, &text);

	/* A threaded cgroup has no list of processes: its threads' leaders are listed above it. */
	if (n == -ENOENT || n == -ENODEV || n == -EOPNOTSUPP)
		return 0;
	if (n < 0)
		return (int)n;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		int64_t pid;
		int r;

		if (str_to_i64(line, 10, &pid) < 0 || pid <= 1 || pid > INT32_MAX || pid == getpid())
			continue;
		r = pid_list_add(out, (pid_t)pid);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A payload may give its directories names with a leading dot. */
static bool is_child(const struct dirent *entry)
{
	return entry->d_type == DT_DIR && strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

typedef int (*visit_fn)(int dirfd, void *data);

/* Visits @dirfd (borrowed) and all directories below, parents first. A directory that vanishes meanwhile
 * is no error. */
static int walk(int dirfd, unsigned depth, visit_fn visit, void *data)
{
	/* Kernel file systems count directories in the number of links. Others say 1, or count as well. */
	struct stat st;
	if (fstat(dirfd, &st) == 0 && st.st_nlink == 2)
		return visit(dirfd, data);

	int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_dir_ DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	int r;

	if (!dir) {
		r = -errno;
		fd_close(copy);
		return r == -ENOENT || r == -ENODEV ? 0 : r;
	}
	r = visit(dirfd, data);
	while (r == 0 && depth < DEPTH_MAX && (entry = readdir(dir))) {
		_cleanup_fd_ int child = -1;

		if (!is_child(entry))
			continue;
		child = openat(dirfd, entry->d_name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (child >= 0)
			r = walk(child, depth + 1, visit, data);
	}
	return r;
}

static int visit_pids(int dirfd, void *data)
{
	return add_pids_of(dirfd, data);
}

int tree_pids(const struct cgroup *cg, int index, struct pid_list *out)
{
	_cleanup_dir_of_cgroup_ struct cgroup_dir dir;
	int r = cgroup_dir_open(cg, index, &dir);

	return r == -ENOENT ? 0 : r < 0 ? r : walk(dir.fd, 0, visit_pids, out);
}

int tree_visit(const struct cgroup *cg, int index, int (*visit)(int dirfd, void *data), void *data)
{
	_cleanup_dir_of_cgroup_ struct cgroup_dir dir;
	int r = cgroup_dir_open(cg, index, &dir);

	return r < 0 ? r : walk(dir.fd, 0, visit, data);
}

static int pid_order(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return x < y ? -1 : x > y;
}

int tree_all_pids(const struct cgroup *cg, struct pid_list *out)
{
	size_t kept = 0;
	int r = 0;

	for (size_t i = 0; i < cg->host->count && r == 0; i++)
		r = tree_pids(cg, (int)i, out);
	if (r < 0)
		return r;
	if (out->count)
		qsort(out->pids, out->count, sizeof(*out->pids), pid_order);
	for (size_t i = 0; i < out->count; i++)
		if (kept == 0 || out->pids[kept - 1] != out->pids[i])
			out->pids[kept++] = out->pids[i];
	out->count = kept;
	return 0;
}

/* Any line at all: also processes that we cannot name (0) count. */
static int visit_populated(int dirfd, void *data)
{
	bool *populated = data;
	_cleanup_free_ char *text = NULL;
	ssize_t n = file_read(dirfd, "cgroup.procs", 16 << 20, &text);

	if (n > 0)
		*populated = true;
	return n > 0 ? 1 : 0;
}

bool tree_populated_at(const struct cgroup *cg, int index)
{
	bool populated = false;

	tree_visit(cg, index, visit_populated, &populated);
	return populated;
}

bool tree_populated(const struct cgroup *cg)
{
	bool populated = false;

	for (size_t i = 0; i < cg->host->count && !populated; i++)
		populated = tree_populated_at(cg, (int)i);
	return populated;
}

/* --- removal -------------------------------------------------------------------------------------------- */

/* Removes the directories below @dirfd, bottom-up; the first error is kept, every one is tried. */
static int remove_below(int dirfd, unsigned depth)
{
	int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_dir_ DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	int r, first = 0;

	if (!dir) {
		r = -errno;
		fd_close(copy);
		return r == -ENOENT || r == -ENODEV ? 0 : r;
	}
	while (depth < DEPTH_MAX && (entry = readdir(dir))) {
		_cleanup_fd_ int child = -1;

		if (!is_child(entry))
			continue;
		r = 0;
		/* Most have no children: one call, without a look. */
		if (unlinkat(dirfd, entry->d_name, AT_REMOVEDIR) == 0)
			continue;
		child = openat(dirfd, entry->d_name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (child >= 0)
			r = remove_below(child, depth + 1);
		if (r == 0 && unlinkat(dirfd, entry->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			r = -errno;
		if (first == 0)
			first = r;
	}
	return first;
}

/* Opens the parent of @path below the hierarchy's root; *@name is the last part, inside @path. *@owned as in
 * root_open(). */
static int open_parent(const struct cgroup *cg, int index, const char *path, int flags, const char **name,
		       int *owned)
{
	_cleanup_fd_ int opened = -1;
	_cleanup_free_ char *parent = NULL;
	const char *slash = strrchr(path, '/');
	int root;

	*name = slash ? slash + 1 : path;
	if (!slash)
		return root_open(cg->host, index, owned);
	root = root_open(cg->host, index, &opened);
	if (root < 0)
		return root;
	parent = strndup(path, (size_t)(slash - path));
	*owned = parent ? path_open(root, parent, flags | O_DIRECTORY, 0, PATH_BENEATH) : -ENOMEM;
	return *owned;
}

int tree_remove(const struct cgroup *cg, int index)
{
	_cleanup_dir_of_cgroup_ struct cgroup_dir dir = {.fd = -1};
	_cleanup_fd_ int owned = -1;
	const char *name;
	int parent = open_parent(cg, index, cg->path, O_PATH, &name, &owned);
	int r;

	if (parent < 0)
		return parent == -ENOENT ? 0 : parent;
	if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	r = cgroup_dir_open(cg, index, &dir);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = remove_below(dir.fd, 0);
	if (r == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}

static void mark(int dir)
{
	if (fsetxattr(dir, CGROUP_MARK, "1", 1, 0) < 0)
		log_debug("cgroup", "cannot mark a cgroup as ours", "error", error_name(errno));
}

/* From the parent of @path, which is cut, upwards. @fd is that parent, readable. */
static void remove_marked(const struct cgroup *cg, int index, char *path, int fd)
{
	_cleanup_fd_ int below = -1;
	char *slash;

	while ((slash = strrchr(path, '/'))) {
		_cleanup_fd_ int owned = -1;
		const char *name;
		int parent;

		*slash = '\0';
		if (fgetxattr(fd, CGROUP_MARK, NULL, 0) < 0)
			return;
		parent = open_parent(cg, index, path, O_RDONLY, &name, &owned);
		if (parent < 0 || unlinkat(parent, name, AT_REMOVEDIR) < 0)
			return;
		fd_close(below);
		below = fd_steal(&owned);
		fd = parent;
	}
}

void tree_remove_parents(const struct cgroup *cg, int index)
{
	_cleanup_free_ char *path = strdup(cg->path);
	_cleanup_fd_ int owned = -1;
	const char *name;
	int parent = path ? open_parent(cg, index, path, O_RDONLY, &name, &owned) : -ENOMEM;
	char *slash;

	/* A creation that failed on its way down has made the upper levels only. */
	while ((parent == -ENOENT || parent == -ENOTDIR) && (slash = strrchr(path, '/'))) {
		*slash = '\0';
		parent = open_parent(cg, index, path, O_RDONLY, &name, &owned);
	}
	if (parent >= 0)
		remove_marked(cg, index, path, parent);
}

int tree_remove_empty(const struct cgroup *cg, int index)
{
	_cleanup_free_ char *path = strdup(cg->path);
	_cleanup_fd_ int owned = -1;
	const char *name;
	int parent = path ? open_parent(cg, index, path, O_RDONLY, &name, &owned) : -ENOMEM;

	if (parent < 0)
		return parent == -ENOENT ? 0 : parent;
	if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	remove_marked(cg, index, path, parent);
	return 0;
}

/* --- creation ------------------------------------------------------------------------------------------- */

static int write_subtree(int fd, const char *sign_and_names)
{
	return file_write(fd, "cgroup.subtree_control", sign_and_names);
}

/* Bits of the controllers that @fd's file of that name lists. */
static uint32_t listed(int fd, const char *file)
{
	_cleanup_free_ char *text = NULL;
	uint32_t bits = 0;
	char *save = NULL;

	if (file_read(fd, file, 4096, &text) < 0)
		return 0;
	for (char *word = strtok_r(text, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		int c = controller_find(word, strlen(word));

		if (c >= 0)
			bits |= 1u << c;
	}
	return bits;
}

/* "+cpu +memory" for the bits. */
static void join_names(uint32_t bits, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (int c = 0; c < CONTROLLER_COUNT; c++) {
		int n;

		if (!(bits & (1u << c)))
			continue;
		n = snprintf(text + used, size - used, "%s+%s", used ? " " : "",
			     controller_name((enum controller)c, true));
		if (n < 0 || (size_t)n >= size - used)
			return;
		used += (size_t)n;
	}
}

/*
 * One write for all; only when that is refused, one each, so that one that cannot be had costs no other. Not
 * where processes are in the way: there the kernel would still hand down those controllers that know threads,
 * and thereby make the directories below unfit for processes.
 */
static void enable_at(struct cgroup *cg, int fd, uint32_t wanted)
{
	char text[256];
	uint32_t missing = wanted & ~listed(fd, "cgroup.subtree_control");
	int r, all;

	join_names(missing, text, sizeof(text));
	all = missing ? write_subtree(fd, text) : 0;
	for (int c = 0; c < CONTROLLER_COUNT && all < 0; c++) {
		if (!(missing & (1u << c)))
			continue;
		join_names(1u << c, text, sizeof(text));
		r = all == -EBUSY ? all : write_subtree(fd, text);
		if (r < 0)
			cg->enabling[c] = -r;
	}
}

void tree_enable(struct cgroup *cg, int index, uint32_t controllers)
{
	_cleanup_fd_ int owned = -1;
	int fd = root_open(cg->host, index, &owned);
	uint32_t wanted = controllers & cg->host->hierarchies[index].controllers;
	const char *part = cg->path;

	while (fd >= 0 && wanted) {
		size_t length = strcspn(part, "/");
		_cleanup_free_ char *name = strndup(part, length);
		int next;

		enable_at(cg, fd, wanted);
		if (!name || part[length] == '\0')
			return;
		next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		fd_close(owned);
		fd = owned = next;
		part += length + 1;
	}
}

/*
 * One level: makes @name in @fd when it is missing and enters it. Above the last one what we made is marked as ours;
 * so is a cpuset of v1, which follows hot-plug for that. The descriptor or -errno.
 */
static int enter(int fd, const char *name, bool marked, bool *made)
{
	int next;

	*made = mkdirat(fd, name, 0755) == 0;
	if (!*made && errno != EEXIST)
		return -errno;
	next = openat(fd, name, (*made && marked ? O_RDONLY : O_PATH) | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (next < 0)
		return -errno;
	if (*made && marked)
		mark(next);
	return next;
}

static int make_leaf(int parent, const char *name, bool *made)
{
	struct stat st;

	*made = mkdirat(parent, name, 0755) == 0;
	if (*made)
		return 0;
	if (errno != EEXIST || fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	/* The kernel's files are there as well. */
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static int make_levels(struct cgroup *cg, int index, uint32_t enable, bool *made)
{
	const struct hierarchy *h = &cg->host->hierarchies[index];
	bool cpuset = !h->v2 && (h->controllers & 1u << CONTROLLER_CPUSET);
	_cleanup_fd_ int owned = -1;
	int fd = root_open(cg->host, index, &owned);
	const char *part = cg->path;

	if (fd < 0)
		return fd;
	for (bool last = false; !last;) {
		size_t length = strcspn(part, "/");
		_cleanup_free_ char *name = strndup(part, length);
		int next;

		last = part[length] == '\0';
		if (!name)
			return -ENOMEM;
		if (h->v2)
			enable_at(cg, fd, enable & h->controllers);
		if (last && !cpuset)
			return make_leaf(fd, name, made);
		next = enter(fd, name, !last || cpuset, made);
		if (next < 0)
			return next;
		fd_close(owned);
		fd = owned = next;
		part += length + !last;
	}
	return 0;
}

/* Mostly the parents are there, and nothing but the last level is to be made: 0, or -ENOENT when they are not. */
static int make_last(const struct cgroup *cg, int index, bool *made)
{
	_cleanup_fd_ int owned = -1;
	const char *name;
	int parent = open_parent(cg, index, cg->path, O_PATH, &name, &owned);

	return parent < 0 ? parent : make_leaf(parent, name, made);
}

static int make_once(struct cgroup *cg, int index, uint32_t enable, bool *made)
{
	const struct hierarchy *h = &cg->host->hierarchies[index];
	int r = -ENOENT;

	*made = false;
	if (!h->v2 && !(h->controllers & 1u << CONTROLLER_CPUSET))
		r = make_last(cg, index, made);
	return r == -ENOENT ? make_levels(cg, index, enable, made) : r;
}

int tree_make(struct cgroup *cg, int index, uint32_t enable, bool *made, struct error *e)
{
	int r = -ENOENT;

	/* Another container's removal may take an emptied parent away between two of our steps. */
	for (int tries = 0; r == -ENOENT && tries < 5; tries++)
		r = make_once(cg, index, enable, made);
	if (r < 0 && !(cg->rootless && (r == -EACCES || r == -EPERM || r == -EROFS)))
		return error_errno(e, -r, "create cgroup \"%s\" in \"%s\"", cg->path,
				   cg->host->hierarchies[index].mount);
	return 0;
}
