/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds every file of the directories and files given as arguments to a fuzz target, once: what the fuzzers found stays
 * found, in every build and with every compiler. Fails when there was nothing to feed.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fail(const char *what, const char *path)
{
	fprintf(stderr, "replay: %s %s: %s\n", what, path, strerror(errno));
	exit(1);
}

static void feed_file(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		fail("open", name);
	/* Exactly as many bytes as there are, so that a sanitizer sees one that is read too many. */
	size_t size = (size_t)st.st_size, done = 0;
	uint8_t *data = malloc(size ? size : 1);
	if (!data)
		fail("read", name);
	while (done < size) {
		ssize_t n = read(fd, data + done, size - done);

		if (n <= 0)
			fail("read", name);
		done += (size_t)n;
	}
	(void)close(fd);
	(void)LLVMFuzzerTestOneInput(data, size);
	free(data);
}

static int feed_directory(const char *path)
{
	DIR *dir = opendir(path);
	int count = 0;

	if (!dir)
		fail("open", path);
	for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
		if (entry->d_name[0] == '.')
			continue;
		feed_file(dirfd(dir), entry->d_name);
		count++;
	}
	(void)closedir(dir);
	return count;
}

int main(int argc, char **argv)
{
	int count = 0;

	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) < 0)
			fail("open", argv[i]);
		if (S_ISDIR(st.st_mode)) {
			count += feed_directory(argv[i]);
		} else {
			feed_file(AT_FDCWD, argv[i]);
			count++;
		}
	}
	printf("%d inputs\n", count);
	return count > 0 ? 0 : 1;
}
