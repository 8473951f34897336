/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: which hierarchies are mounted where, and which controllers they have.
 *
 * Read once from /proc/self/mountinfo, the only place that tells the truth in every layout: v1 with one
 * controller a mount or several, v1 with names, v2, and both at once. A hierarchy counts by its first mount.
 * The layout is v2 when there is nothing else, v1 when there is no v2, hybrid when both are there. Everything
 * is found below a root that a test may choose. Nothing is mounted, made or changed here.
 */
#include "cgroup/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"

enum { PROC_FILE_MAX = 1 << 20 };

static const struct {
	const char *v1, *v2;
} controller_names[CONTROLLER_COUNT] = {
	[CONTROLLER_IO] = {"blkio", "io"},
	[CONTROLLER_MEMORY] = {"memory", "memory"},
	[CONTROLLER_PIDS] = {"pids", "pids"},
	[CONTROLLER_CPUSET] = {"cpuset", "cpuset"},
	[CONTROLLER_CPUACCT] = {"cpuacct", "cpuacct"},
	[CONTROLLER_CPU] = {"cpu", "cpu"},
	[CONTROLLER_DEVICES] = {"devices", "devices"},
	[CONTROLLER_FREEZER] = {"freezer", "freezer"},
	[CONTROLLER_NET_CLS] = {"net_cls", "net_cls"},
	[CONTROLLER_NET_PRIO] = {"net_prio", "net_prio"},
	[CONTROLLER_PERF_EVENT] = {"perf_event", "perf_event"},
	[CONTROLLER_HUGETLB] = {"hugetlb", "hugetlb"},
	[CONTROLLER_RDMA] = {"rdma", "rdma"},
	[CONTROLLER_MISC] = {"misc", "misc"},
	[CONTROLLER_DMEM] = {"dmem", "dmem"},
};

static bool is_word(const char *word, size_t length, const char *expected)
{
	return strlen(expected) == length && memcmp(word, expected, length) == 0;
}

int controller_find(const char *name, size_t length)
{
	for (int c = 0; c < CONTROLLER_COUNT; c++)
		if (is_word(name, length, controller_names[c].v1) ||
		    is_word(name, length, controller_names[c].v2))
			return c;
	return -1;
}

const char *controller_name(enum controller c, bool v2)
{
	return v2 ? controller_names[c].v2 : controller_names[c].v1;
}

char *host_read(const struct cgroup_host *host, const char *path)
{
	_cleanup_free_ char *full = NULL;
	char *text = NULL;

	if (asprintf(&full, "%s%s", host->root, path) < 0) {
		full = NULL;
		return NULL;
	}
	return file_read(AT_FDCWD, full, PROC_FILE_MAX, &text) < 0 ? NULL : text;
}

int host_find(const struct cgroup_host *host, enum controller c)
{
	for (size_t i = 0; i < host->count; i++)
		if (host->hierarchies[i].controllers & (1u << c))
			return (int)i;
	return -1;
}

int host_v2(const struct cgroup_host *host)
{
	for (size_t i = 0; i < host->count; i++)
		if (host->hierarchies[i].v2)
			return (int)i;
	return -1;
}

/* Words of @text, parted by any of @separators, that name controllers. */
static uint32_t controllers_of(const char *text, const char *separators)
{
	uint32_t bits = 0;

	while (*text) {
		size_t length = strcspn(text, separators);
		int c = controller_find(text, length);

		if (c >= 0)
			bits |= 1u << c;
		text += length + (text[length] != '\0');
	}
	return bits;
}

/* Mount points have blanks and backslashes written as \ooo. In place. */
static void unescape_octal(char *text)
{
	char *out = text;

	for (const char *in = text; *in; out++) {
		if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] >= '0' && in[2] <= '7' &&
		    in[3] >= '0' && in[3] <= '7') {
			*out = (char)((in[1] - '0') * 64 + (in[2] - '0') * 8 + (in[3] - '0'));
			in += 4;
		} else {
			*out = *in++;
		}
	}
	*out = '\0';
}

static bool host_knows(const struct cgroup_host *host, bool v2, const char *super)
{
	for (size_t i = 0; i < host->count; i++) {
		const struct hierarchy *h = &host->hierarchies[i];

		if (h->v2 == v2 && (v2 || str_equal(h->super, super)))
			return true;
	}
	return false;
}

/* Super block options without those that are no identity ("rw", "xattr", "release_agent=…"). In place. */
static void strip_options(char *super)
{
	char *out = super, *save = NULL;
	char *copy = strdup(super);

	if (!copy)
		return;
	for (char *word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		size_t length = strlen(word);

		if (controller_find(word, length) < 0 && strncmp(word, "name=", 5) != 0)
			continue;
		if (out != super)
			*out++ = ',';
		memcpy(out, word, length);
		out += length;
	}
	*out = '\0';
	free(copy);
}

static int host_add(struct cgroup_host *host, const char *mount, bool v2, char *super)
{
	struct hierarchy *grown, *h;

	if (!v2)
		strip_options(super);
	if ((!v2 && !*super) || host_knows(host, v2, super))
		return 0;
	grown = realloc(host->hierarchies, (host->count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	host->hierarchies = grown;
	h = &grown[host->count];
	*h = (struct hierarchy){.v2 = v2, .super = strdup(super)};
	if (asprintf(&h->mount, "%s%s", host->root, mount) < 0)
		h->mount = NULL;
	if (!h->mount || !h->super) {
		free(h->mount);
		free(h->super);
		return -ENOMEM;
	}
	host->count++;
	if (!v2)
		h->controllers = controllers_of(super, ",");
	return 0;
}

/* One line of mountinfo; what is not a cgroup mount, or malformed, is passed over. */
static int host_add_line(struct cgroup_host *host, char *line)
{
	char *tail = strstr(line, " - ");
	char *save = NULL, *field = NULL, *type, *super;
	int n = 0;

	if (!tail)
		return 0;
	*tail = '\0';
	tail += 3;
	for (field = strtok_r(line, " ", &save); field && n < 4; n++)
		field = strtok_r(NULL, " ", &save);
	type = strtok_r(tail, " ", &save);
	if (!field || !type || !strtok_r(NULL, " ", &save))
		return 0;
	super = strtok_r(NULL, " ", &save);
	if (!super || (strcmp(type, "cgroup") != 0 && strcmp(type, "cgroup2") != 0))
		return 0;
	unescape_octal(field);
	return host_add(host, field, strcmp(type, "cgroup2") == 0, super);
}

static void read_v2_controllers(struct hierarchy *h)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ char *text = NULL;

	if (asprintf(&path, "%s/cgroup.controllers", h->mount) < 0) {
		path = NULL;
		return;
	}
	if (file_read(AT_FDCWD, path, PROC_FILE_MAX, &text) >= 0)
		h->controllers = controllers_of(text, " \n");
}

/* The lowest controller number decides; v2 and named hierarchies come last. */
static int hierarchy_order(const void *a, const void *b)
{
	const struct hierarchy *x = a, *y = b;
	unsigned kx = x->v2 ? 1000 : x->controllers ? (unsigned)__builtin_ctz(x->controllers) : 100;
	unsigned ky = y->v2 ? 1000 : y->controllers ? (unsigned)__builtin_ctz(y->controllers) : 100;

	return kx < ky ? -1 : kx > ky;
}

/* "hugepages-2048kB" → "2MB". */
static char *hugepage_name(const char *entry)
{
	static const char *const units[] = {"KB", "MB", "GB", "TB"};
	char number[24];
	uint64_t size;
	size_t length, unit = 0;
	char *name = NULL;

	if (!str_starts_with(entry, "hugepages-") || !str_ends_with(entry, "kB"))
		return NULL;
	entry += strlen("hugepages-");
	length = strlen(entry) - 2;
	if (length >= sizeof(number))
		return NULL;
	memcpy(number, entry, length);
	number[length] = '\0';
	if (str_to_u64(number, 10, &size) < 0 || size == 0)
		return NULL;
	for (; size % 1024 == 0 && unit + 1 < array_length(units); unit++)
		size /= 1024;
	return asprintf(&name, "%llu%s", (unsigned long long)size, units[unit]) < 0 ? NULL : name;
}

static void read_hugepages(struct cgroup_host *host)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;

	if (asprintf(&path, "%s/sys/kernel/mm/hugepages", host->root) < 0) {
		path = NULL;
		return;
	}
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		char *name = hugepage_name(entry->d_name);
		char **grown =
			name ? realloc(host->hugepages, (host->n_hugepages + 1) * sizeof(*grown)) : NULL;

		if (!grown) {
			free(name);
			continue;
		}
		host->hugepages = grown;
		host->hugepages[host->n_hugepages++] = name;
	}
}

static int host_read_mounts(struct cgroup_host *host)
{
	_cleanup_free_ char *text = host_read(host, "/proc/self/mountinfo");
	char *save = NULL;
	bool v1 = false;
	int v2, r = 0;

	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line && r == 0;
	     line = strtok_r(NULL, "\n", &save))
		r = host_add_line(host, line);
	if (r < 0)
		return r;
	if (host->count)
		qsort(host->hierarchies, host->count, sizeof(*host->hierarchies), hierarchy_order);
	v2 = host_v2(host);
	v1 = host->count > (v2 >= 0 ? 1u : 0u);
	host->layout = v1 && v2 >= 0 ? CGROUP_HYBRID : v1 ? CGROUP_V1 : v2 >= 0 ? CGROUP_V2 : CGROUP_NONE;
	if (v2 >= 0)
		read_v2_controllers(&host->hierarchies[v2]);
	return 0;
}

struct cgroup_host *cgroup_host_new(const char *root, struct error *e)
{
	struct cgroup_host *host = calloc(1, sizeof(*host));
	size_t length = strlen(root);

	while (length && root[length - 1] == '/')
		length--;
	if (host)
		host->root = strndup(root, length);
	if (!host || !host->root || host_read_mounts(host) < 0) {
		cgroup_host_free(host);
		error_errno(e, ENOMEM, "look for control groups");
		return NULL;
	}
	read_hugepages(host);
	roots_keep(host);
	return host;
}

void cgroup_host_free(struct cgroup_host *host)
{
	if (!host)
		return;
	roots_drop(host);
	for (size_t i = 0; i < host->count; i++) {
		free(host->hierarchies[i].mount);
		free(host->hierarchies[i].super);
	}
	for (size_t i = 0; i < host->n_hugepages; i++)
		free(host->hugepages[i]);
	free(host->hugepages);
	free(host->hierarchies);
	free(host->root);
	free(host);
}

enum cgroup_layout cgroup_host_layout(const struct cgroup_host *host)
{
	return host->layout;
}

bool cgroup_host_has(const struct cgroup_host *host, const char *controller)
{
	int c = controller_find(controller, strlen(controller));

	return c >= 0 && host_find(host, (enum controller)c) >= 0;
}

static bool answers(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		return false;
	memcpy(address.sun_path, path, strlen(path) + 1);
	return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

bool cgroup_systemd_running(void)
{
	struct stat st;

	return lstat("/run/systemd/system", &st) == 0 && S_ISDIR(st.st_mode) &&
	       (answers("/run/systemd/private") || answers("/run/dbus/system_bus_socket"));
}
