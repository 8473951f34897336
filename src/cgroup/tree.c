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

static int open_root(const struct cgroup *cg, int index)
{
	int fd = open(cg->host->hierarchies[index].mount, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int cgroup_dir_open(const struct cgroup *cg, int index, struct cgroup_dir *out)
{
	_cleanup_fd_ int root = -1;

	*out = (struct cgroup_dir){.cg = cg, .fd = -1};
	if (index < 0)
		return -ENOENT;
	out->hierarchy = &cg->host->hierarchies[index];
	root = open_root(cg, index);
	if (root < 0)
		return root;
	out->fd = path_open(root, cg->path, O_PATH | O_DIRECTORY, 0, PATH_BENEATH);
	return out->fd < 0 ? out->fd : 0;
}

void cgroup_dir_close(struct cgroup_dir *dir)
{
	dir->fd = fd_close(dir->fd);
}

/* --- whose is it ---------------------------------------------------------------------------------------- */

/* The super block options that /proc/self/cgroup uses for @h: "" for v2. A line has the same words, in its
 * own order. */
static bool line_is_of(const char *controllers, const struct hierarchy *h)
{
	size_t length = strcspn(h->super, ",");

	if (h->v2)
		return *controllers == '\0';
	for (const char *word = controllers; *word;) {
		size_t n = strcspn(word, ",");

		if (n == length && memcmp(word, h->super, n) == 0)
			return true;
		word += n + (word[n] != '\0');
	}
	return false;
}

/* Where process @pid ("self", "42") is in hierarchy @h, without the leading slash, or NULL. A path may
 * hold colons: only the first two part the fields. */
static char *place_of(const struct cgroup_host *host, const char *pid, const struct hierarchy *h)
{
	_cleanup_free_ char *file = NULL;
	_cleanup_free_ char *text = NULL;
	char *save = NULL;

	if (asprintf(&file, "/proc/%s/cgroup", pid) < 0) {
		file = NULL;
		return NULL;
	}
	text = host_read(host, file);
	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *controllers = strchr(line, ':');
		char *path = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!path)
			continue;
		*controllers++ = '\0';
		*path++ = '\0';
		if (line_is_of(controllers, h))
			return strdup(path + (*path == '/'));
	}
	return NULL;
}

char *cgroup_place_of(const struct cgroup *cg, int index, pid_t pid)
{
	char number[24];

	snprintf(number, sizeof(number), "%d", (int)pid);
	return place_of(cg->host, number, &cg->host->hierarchies[index]);
}

bool path_is_below(const char *path, const char *parent)
{
	size_t length = strlen(parent);

	return strncmp(path, parent, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

bool cgroup_contains_self(const struct cgroup *cg)
{
	for (size_t i = 0; i < cg->host->count; i++) {
		_cleanup_free_ char *own = place_of(cg->host, "self", &cg->host->hierarchies[i]);

		if (own && path_is_below(own, cg->path))
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

bool tree_populated(const struct cgroup *cg)
{
	bool populated = false;

	for (size_t i = 0; i < cg->host->count && !populated; i++)
		tree_visit(cg, (int)i, visit_populated, &populated);
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

/* Opens the parent of @path below the hierarchy's root; *@name is the last part, inside @path. */
static int open_parent(const struct cgroup *cg, int index, const char *path, const char **name)
{
	_cleanup_fd_ int root = open_root(cg, index);
	_cleanup_free_ char *parent = NULL;
	const char *slash = strrchr(path, '/');

	*name = slash ? slash + 1 : path;
	if (root < 0)
		return root;
	if (!slash)
		return fd_steal(&root);
	parent = strndup(path, (size_t)(slash - path));
	return parent ? path_open(root, parent, O_PATH | O_DIRECTORY, 0, PATH_BENEATH) : -ENOMEM;
}

int tree_remove(const struct cgroup *cg, int index)
{
	_cleanup_dir_of_cgroup_ struct cgroup_dir dir = {.fd = -1};
	const char *name;
	_cleanup_fd_ int parent = open_parent(cg, index, cg->path, &name);
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

static bool is_marked(int parent, const char *name)
{
	_cleanup_fd_ int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 && fgetxattr(fd, CGROUP_MARK, NULL, 0) >= 0;
}

static void mark(int fd)
{
	_cleanup_fd_ int dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir >= 0 && fsetxattr(dir, CGROUP_MARK, "1", 1, 0) < 0)
		log_debug("cgroup", "cannot mark a cgroup as ours", "error", error_name(errno));
}

void tree_remove_parents(const struct cgroup *cg, int index)
{
	_cleanup_free_ char *path = strdup(cg->path);
	char *slash;

	while (path && (slash = strrchr(path, '/'))) {
		const char *name;
		_cleanup_fd_ int parent = -1;

		*slash = '\0';
		parent = open_parent(cg, index, path, &name);
		if (parent < 0 || !is_marked(parent, name) || unlinkat(parent, name, AT_REMOVEDIR) < 0)
			return;
	}
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
	_cleanup_fd_ int fd = open_root(cg, index);
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
		fd_close(fd);
		fd = next;
		part += length + 1;
	}
}

/* One level: makes @name in @fd when it is missing, enables, enters. The descriptor or -errno. */
static int enter(int fd, const char *name, bool *made)
{
	int next;

	*made = mkdirat(fd, name, 0755) == 0;
	if (!*made && errno != EEXIST)
		return -errno;
	next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (next < 0)
		return -errno;
	if (*made)
		mark(next);
	return next;
}

static int make_once(struct cgroup *cg, int index, uint32_t enable, bool *made)
{
	_cleanup_fd_ int fd = open_root(cg, index);
	const struct hierarchy *h = &cg->host->hierarchies[index];
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
		next = enter(fd, name, made);
		if (next < 0)
			return next;
		fd_close(fd);
		fd = next;
		part += length + !last;
	}
	return 0;
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
