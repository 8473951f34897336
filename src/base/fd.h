/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_FD_H
#define BASE_FD_H

/*
 * Descriptors, and the cleanup attributes that keep them and other locals from leaking. All are close-on-exec from
 * birth. fd_close() never touches errno.
 */

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

/* Closes unless negative; returns -1, for `x = fd_close(x)`. Keeps errno. */
int fd_close(int fd);
/* Takes the descriptor out of *@fd and leaves -1. */
int fd_steal(int *fd);
/* Sets or clears O_NONBLOCK. 0 or -errno. */
int fd_nonblock(int fd, bool on);
int fd_cloexec(int fd, bool on);
/* Writes all, in blocking manner (waits where the descriptor is non-blocking), restarting on EINTR. 0 or -errno. */
int fd_write_all(int fd, const void *data, size_t length);
/* Reads until @length or end of file. Bytes read or -errno. */
ssize_t fd_read_all(int fd, void *data, size_t length);
/*
 * Reads the whole file at @path below @dirfd (AT_FDCWD allowed) into malloc'ed, NUL-terminated *@out; more than @max
 * bytes: -EFBIG. Works for files of procfs and sysfs. Returns the length or -errno.
 */
ssize_t file_read(int dirfd, const char *path, size_t max, char **out);
/* One open (O_WRONLY|O_CLOEXEC|O_NOFOLLOW, never O_CREAT), one write of @text, close. 0 or -errno. */
int file_write(int dirfd, const char *path, const char *text);
/* Sends/receives bytes with up to @count descriptors by SCM_RIGHTS. Bytes or -errno; 0 is end of file.
 * On receive *@count is the room in and the number out; received ones are close-on-exec. */
ssize_t fd_send(int socket, const void *data, size_t length, const int *fds, size_t count);
ssize_t fd_receive(int socket, void *data, size_t length, int *fds, size_t *count);
/*
 * Closes every descriptor from 3 up but those of @keep (any order, negatives ignored). For forked children that do
 * not execute at once, so that no pipe end of another container lives on in them. At most 64 are kept.
 */
void fd_close_all_but(const int *keep, size_t count);

static inline void fd_closep(int *fd)
{
	fd_close(*fd);
}
static inline void freep(void *pointer)
{
	free(*(void **)pointer);
}
static inline void file_closep(FILE **file)
{
	if (*file)
		fclose(*file);
}
static inline void dir_closep(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

#define _cleanup_fd_ __attribute__((cleanup(fd_closep)))
#define _cleanup_free_ __attribute__((cleanup(freep)))
#define _cleanup_file_ __attribute__((cleanup(file_closep)))
#define _cleanup_dir_ __attribute__((cleanup(dir_closep)))

/* The value of a pointer variable, which is left NULL: ownership leaves. */
#define steal_pointer(variable)                                                                              \
	({                                                                                                   \
		__typeof__(variable) *stolen_from_ = &(variable);                                            \
		__typeof__(variable) stolen_ = *stolen_from_;                                                \
		*stolen_from_ = NULL;                                                                        \
		stolen_;                                                                                     \
	})

#define array_length(array) (sizeof(array) / sizeof((array)[0]))
#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

#endif
