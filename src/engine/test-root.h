/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_TEST_ROOT_H
#define ENGINE_TEST_ROOT_H

/* Files and mounts on the stage, for tests of the container's root. */

#include <sys/sysmacros.h>

#include "base/path.h"
#include "test-engine.h"

#define MOUNT(destination, type, source, options)                                                            \
	"{\"destination\":\"" destination "\",\"type\":\"" type "\",\"source\":\"" source                    \
	"\",\"options\":[" options "]}"
#define BIND(destination, source, options)                                                                   \
	"{\"destination\":\"" destination "\",\"source\":\"" source "\",\"options\":[\"bind\"" options "]}"

static inline void in_stage(char path[256], const char *name)
{
	snprintf(path, 256, "%s/%s", stage.dir, name);
}

static inline void in_rootfs(char path[256], const char *name)
{
	snprintf(path, 256, "%s/%s", stage.rootfs, name);
}

static inline void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	fd_close(fd);
}

static inline void expect_file(const char *path, const char *text)
{
	char *got = NULL;

	assert_true(file_read(AT_FDCWD, path, 65536, &got) >= 0);
	assert_string_equal(got, text);
	free(got);
}

/* `volume` in the stage's directory, with a sub-mount (a tmpfs) at `volume/sub`. */
static inline void make_volume(void)
{
	char path[256];

	in_stage(path, "volume");
	assert_int_equal(mkdir(path, 0755), 0);
	in_stage(path, "volume/file");
	write_file(path, "volume\n");
	in_stage(path, "volume/sub");
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(mount("tmpfs", path, "tmpfs", MS_NODEV, "size=1m"), 0);
}

static inline void remove_volume(void)
{
	char path[256];
	int dir = open(stage.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	in_stage(path, "volume/sub");
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	assert_int_equal(path_remove_tree(dir, "volume"), 0);
	fd_close(dir);
}

#endif
