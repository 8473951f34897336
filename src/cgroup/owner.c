/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owners: which container a cgroup is of.
 *
 * Nothing keeps two containers from naming one cgroup. While the first has processes in it the second is
 * refused; once the first has stopped its directory is empty and is taken over, and then the end of the first
 * must not be the end of the second. So who takes a directory writes his name onto it, as an extended
 * attribute in one hierarchy, and who wants to kill or remove reads it before. An owner's name is its id and
 * the moment of its birth, since an id comes again.
 *
 * Where attributes cannot be had (an ordinary user, a kernel without them) everything is as if there were no
 * names.
 */
#include "cgroup/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/path.h"
#include "base/str.h"

#define OWNER_MARK "trusted.kata_owner"

int cgroup_set_owner(struct cgroup *cg, uint64_t born)
{
	char *owner = NULL;

	if (asprintf(&owner, "%s %" PRIu64, cg->id, born) < 0)
		return -ENOMEM;
	free(cg->owner);
	cg->owner = owner;
	return 0;
}

/* The directory that bears the name: readable, since attributes want that. */
static int open_marked(const struct cgroup *cg)
{
	_cleanup_fd_ int owned = -1;
	int index = host_v2(cg->host), root;

	if (cg->host->count == 0 || !cg->owner)
		return -ENOENT;
	root = root_open(cg->host, index >= 0 ? index : 0, &owned);
	return root < 0 ? root : path_open(root, cg->path, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
}

/* Of an empty text when there is none. */
static void read_mark(int fd, char out[OWNER_TEXT])
{
	ssize_t n = fgetxattr(fd, OWNER_MARK, out, OWNER_TEXT - 1);

	out[n < 0 ? 0 : n] = '\0';
}

static void write_mark(int fd, const char *text)
{
	if (*text)
		(void)fsetxattr(fd, OWNER_MARK, text, strlen(text), 0);
	else
		(void)fremovexattr(fd, OWNER_MARK);
}

void owner_claim(const struct cgroup *cg, char before[OWNER_TEXT])
{
	_cleanup_fd_ int fd = open_marked(cg);

	before[0] = '\0';
	if (fd < 0 || strlen(cg->owner) >= OWNER_TEXT)
		return;
	read_mark(fd, before);
	write_mark(fd, cg->owner);
}

void owner_give_back(const struct cgroup *cg, const char *before)
{
	_cleanup_fd_ int fd = open_marked(cg);

	if (fd >= 0)
		write_mark(fd, before);
}

/* Whether the directory bears another's name, which is in @name then. */
static bool is_anothers(const struct cgroup *cg, char name[OWNER_TEXT])
{
	_cleanup_fd_ int fd = open_marked(cg);

	if (fd < 0)
		return false;
	read_mark(fd, name);
	return *name && strcmp(name, cg->owner) != 0;
}

bool owner_is_another(const struct cgroup *cg)
{
	char name[OWNER_TEXT];

	return is_anothers(cg, name);
}

int cgroup_check_owner(const struct cgroup *cg, struct error *e)
{
	char name[OWNER_TEXT];

	if (!is_anothers(cg, name))
		return 0;
	name[strcspn(name, " ")] = '\0';
	return error_set(e, STATUS_FAILED_PRECONDITION, EBUSY, "cgroup \"%s\" is container \"%.100s\"'s",
			 cg->path, name);
}
