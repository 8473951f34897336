/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The roots of the hierarchies, kept open: nearly every operation begins at one, and there are ten of them on v1.
 *
 * Forked jobs close what they did not ask for, so there a number remembered would name nothing, or something else. The
 * numbers therefore lie in a page that the kernel gives to a child as zeros. A child, and a kernel that cannot do
 * that, open a root when they need it. Nothing below a root is kept: what was removed and made again meanwhile must
 * never be mistaken for the old one.
 */
#include "cgroup/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

struct roots {
	int numbers[256]; /* descriptor + 1; 0: none, and in a child */
};

static struct roots *roots_map(void)
{
	struct roots *roots =
		mmap(NULL, sizeof(*roots), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (roots == MAP_FAILED)
		return NULL;
	if (madvise(roots, sizeof(*roots), MADV_WIPEONFORK) == 0)
		return roots;
	munmap(roots, sizeof(*roots));
	return NULL;
}

void roots_keep(struct cgroup_host *host)
{
	struct roots *roots = host->count ? roots_map() : NULL;

	host->roots = roots;
	for (size_t i = 0; roots && i < host->count && i < array_length(roots->numbers); i++) {
		int fd = open(host->hierarchies[i].mount, O_PATH | O_DIRECTORY | O_CLOEXEC);

		roots->numbers[i] = fd < 0 ? 0 : fd + 1;
		host->hierarchies[i].root = &roots->numbers[i];
	}
}

void roots_drop(struct cgroup_host *host)
{
	struct roots *roots = host->roots;

	if (!roots)
		return;
	for (size_t i = 0; i < array_length(roots->numbers); i++)
		fd_close(roots->numbers[i] - 1);
	munmap(roots, sizeof(*roots));
	host->roots = NULL;
}

int root_open(const struct cgroup_host *host, int index, int *owned)
{
	const struct hierarchy *hierarchy = &host->hierarchies[index];

	if (hierarchy->root && *hierarchy->root)
		return *hierarchy->root - 1;
	*owned = open(hierarchy->mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *owned < 0 ? -errno : *owned;
}
