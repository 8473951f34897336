/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpusets: lists of CPUs and memory nodes.
 *
 * A cpuset of v1 inherits nothing: a new one is empty and takes no process, so each level is filled from the
 * one above when it is made, and follows when CPUs or memory nodes are plugged in later. On v2 an empty list
 * means the parent's, and the kernel follows by itself.
 */
#include "cgroup/internal.h"
#include "cgroup/cpuset.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"

static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
static const char *const pins[] = {CGROUP_MARK ".cpus", CGROUP_MARK ".mems"};

/* --- lists ---------------------------------------------------------------------------------------------- */

static bool parse_number(const char **text, unsigned long *out)
{
	unsigned long value = 0;
	const char *p = *text;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		value = value * 10 + (unsigned long)(*p - '0');
		if (value >= CPU_SET_BITS)
			return false;
	}
	*text = p;
	*out = value;
	return true;
}

bool cpu_list_parse(const char *text, struct cpu_list *out)
{
	memset(out, 0, sizeof(*out));
	while (*text) {
		unsigned long first, last;

		if (!parse_number(&text, &first))
			return false;
		last = first;
		if (*text == '-') {
			text++;
			if (!parse_number(&text, &last) || last < first)
				return false;
		}
		for (unsigned long n = first; n <= last; n++)
			out->bits[n / 8] |= (uint8_t)(1u << n % 8);
		if (*text == ',')
			text++;
		else if (*text == '\n' && text[1] == '\0')
			break;
		else if (*text)
			return false;
	}
	return true;
}

bool cpu_list_has(const struct cpu_list *list, unsigned n)
{
	return list->bits[n / 8] & (1u << n % 8);
}

size_t cpu_list_bytes(const struct cpu_list *list)
{
	size_t n = sizeof(list->bits);

	while (n && list->bits[n - 1] == 0)
		n--;
	return n;
}

bool cpu_list_within(const struct cpu_list *list, const struct cpu_list *all)
{
	for (size_t i = 0; i < sizeof(list->bits); i++)
		if (list->bits[i] & ~all->bits[i])
			return false;
	return true;
}

bool cpu_list_intersect(struct cpu_list *list, const struct cpu_list *with)
{
	for (size_t i = 0; i < sizeof(list->bits); i++)
		list->bits[i] &= with->bits[i];
	return cpu_list_bytes(list) > 0;
}

char *cpu_list_text(const struct cpu_list *list)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	const char *text;

	for (unsigned n = 0; n < CPU_SET_BITS; n++) {
		unsigned last = n;

		if (!cpu_list_has(list, n))
			continue;
		while (last + 1 < CPU_SET_BITS && cpu_list_has(list, last + 1))
			last++;
		buf_printf(&out, last > n ? "%s%u-%u" : "%s%u", out.length ? "," : "", n, last);
		n = last;
	}
	text = out.failed ? NULL : buf_string(&out);
	return text ? strdup(text) : NULL;
}

/* --- v1: filling and following -------------------------------------------------------------------------- */

/* Text of a file of the list kind, without the newline; NULL when missing. */
static char *read_list(int fd, const char *file)
{
	char *text = NULL;
	ssize_t n = file_read(fd, file, 65536, &text);

	if (n < 0)
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	return text;
}

/* Gives @fd what @parent has, where @fd has nothing. */
static int inherit(int parent, int fd, bool fresh, const char *file)
{
	_cleanup_free_ char *own = fresh ? NULL : read_list(fd, file);
	_cleanup_free_ char *above = NULL;

	if (!fresh && (!own || *own))
		return 0;
	above = read_list(parent, file);
	return str_is_empty(above) ? 0 : file_write(fd, file, above);
}

/*
 * A level that we made, and whose list nobody chose by name, follows what the level above has now. Whoever
 * was given CPUs by name keeps them: cpuset_pin() left a mark.
 */
static int follow(int parent, int fd, const char *file, const char *pin)
{
	_cleanup_fd_ int dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *own = read_list(fd, file);
	_cleanup_free_ char *above = read_list(parent, file);

	if (!own || str_is_empty(above) || str_equal(own, above))
		return 0;
	if (dir < 0 || fgetxattr(dir, CGROUP_MARK, NULL, 0) < 0 || fgetxattr(dir, pin, NULL, 0) >= 0)
		return 0;
	return file_write(fd, file, above);
}

/* Calls @fn for each level of the path, from the top, with the one above it; the last one may be @fresh. */
static int each_level(const struct cgroup *cg, int index, bool fresh,
		      int (*fn)(int above, int fd, bool fresh))
{
	const char *part = cg->path;
	_cleanup_fd_ int owned = -1;
	int above = root_open(cg->host, index, &owned);
	int r = 0;

	if (above < 0)
		return above;
	while (r == 0) {
		size_t length = strcspn(part, "/");
		_cleanup_free_ char *name = strndup(part, length);
		int next = name ? openat(above, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;

		r = next < 0 ? -errno : fn(above, next, fresh && part[length] == '\0');
		fd_close(owned);
		above = owned = next;
		if (part[length] == '\0')
			break;
		part += length + 1;
	}
	return r;
}

static int fill_level(int above, int fd, bool fresh)
{
	int r = 0;

	for (size_t i = 0; i < array_length(files) && r == 0; i++)
		r = inherit(above, fd, fresh, files[i]);
	return r;
}

int cpuset_fill(struct cgroup *cg, int index, bool made, struct error *e)
{
	int r = each_level(cg, index, made, fill_level);

	if (r < 0 && !cg->rootless)
		return error_errno(e, -r, "fill the cpuset of cgroup \"%s\"", cg->path);
	return 0;
}

static int follow_level(int above, int fd, bool fresh)
{
	int first = 0;

	(void)fresh;
	for (size_t i = 0; i < array_length(files); i++) {
		int r = follow(above, fd, files[i], pins[i]);

		first = first ? first : r;
	}
	return first;
}

void cpuset_pin(const struct cgroup_dir *dir, bool cpus)
{
	_cleanup_fd_ int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && fsetxattr(fd, pins[cpus ? 0 : 1], "1", 1, 0) < 0)
		log_debug("cgroup", "cannot mark a chosen cpuset", "error", error_name(errno));
}

int cgroup_refresh_cpuset(struct cgroup *cg, struct error *e)
{
	int index = host_find(cg->host, CONTROLLER_CPUSET);
	int r;

	if (index < 0 || cg->host->hierarchies[index].v2)
		return 0;
	r = each_level(cg, index, false, follow_level);
	if (r < 0 && r != -ENOENT)
		return error_errno(e, -r, "widen the cpuset of cgroup \"%s\"", cg->path);
	return 0;
}
