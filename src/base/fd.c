/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small operations on descriptors, done whole: interrupted calls are restarted, short writes continued, errors returned
 * as negative errno. None of them changes errno behind a caller's back while closing, and none waits for a peer unless
 * its contract says so.
 */

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/close_range.h>

enum {
	KEEP_MAX = 64,	 /* descriptors that fd_close_all_but() can keep */
	RIGHTS_MAX = 253 /* SCM_MAX_FD of the kernel: descriptors in one message */
};

int fd_close(int fd)
{
	if (fd >= 0) {
		int saved = errno;

		/* Linux has closed it even on EINTR. */
		(void)close(fd);
		errno = saved;
	}
	return -1;
}

int fd_steal(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

static int change_flag(int fd, int get, int set, int flag, bool on)
{
	int flags = fcntl(fd, get);

	if (flags < 0)
		return -errno;
	int wanted = on ? flags | flag : flags & ~flag;
	if (wanted != flags && fcntl(fd, set, wanted) < 0)
		return -errno;
	return 0;
}

int fd_nonblock(int fd, bool on)
{
	return change_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int fd_cloexec(int fd, bool on)
{
	return change_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

/* After EAGAIN on a non-blocking descriptor: waits until it is ready. 0 or -errno. */
static int wait_ready(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	if (poll(&p, 1, -1) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

int fd_write_all(int fd, const void *data, size_t length)
{
	const char *p = data;

	while (length > 0) {
		ssize_t n = write(fd, p, length);

		if (n < 0) {
			int r = -errno;

			if (r == -EAGAIN)
				r = wait_ready(fd, POLLOUT);
			if (r < 0 && r != -EINTR)
				return r;
			continue;
		}
		p += n;
		length -= (size_t)n;
	}
	return 0;
}

ssize_t fd_read_all(int fd, void *data, size_t length)
{
	size_t done = 0;

	while (done < length) {
		ssize_t n = read(fd, (char *)data + done, length - done);

		if (n < 0) {
			int r = -errno;

			if (r == -EAGAIN)
				r = wait_ready(fd, POLLIN);
			if (r < 0 && r != -EINTR)
				return r;
			continue;
		}
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* Makes room for one more byte than *@size says can be needed; at most @limit bytes. */
static int grow(char **data, size_t *size, size_t limit)
{
	size_t larger = *size ? *size * 2 : 4096;

	if (larger > limit)
		larger = limit;
	char *moved = realloc(*data, larger);
	if (!moved)
		return -ENOMEM;
	*data = moved;
	*size = larger;
	return 0;
}

ssize_t file_read(int dirfd, const char *path, size_t max, char **out)
{
	/* Non-blocking, so that a FIFO put in the place of a file cannot stop us. */
	_cleanup_fd_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	_cleanup_free_ char *data = NULL;
	size_t length = 0, size = 0, limit;

	if (fd < 0)
		return -errno;
	/* One byte to notice that there is more than @max, one for the NUL. */
	if (__builtin_add_overflow(max, 2, &limit))
		limit = SIZE_MAX;
	for (;;) {
		if (size - length < 2 && size < limit) {
			int r = grow(&data, &size, limit);
			if (r < 0)
				return r;
		}
		ssize_t n = read(fd, data + length, size - length - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		length += (size_t)n;
		if (length > max)
			return -EFBIG;
	}
	data[length] = '\0';
	*out = steal_pointer(data);
	return (ssize_t)length;
}

int file_write(int dirfd, const char *path, const char *text)
{
	_cleanup_fd_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	size_t length = strlen(text);
	ssize_t n;

	if (fd < 0)
		return -errno;
	do
		n = write(fd, text, length);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == length ? 0 : -EIO;
}

union rights {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(RIGHTS_MAX * sizeof(int))];
};

ssize_t fd_send(int socket, const void *data, size_t length, const int *fds, size_t count)
{
	struct iovec iov = {.iov_base = (void *)data, .iov_len = length};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	union rights rights;
	ssize_t n;

	if (count > RIGHTS_MAX)
		return -EINVAL;
	if (count > 0) {
		memset(&rights, 0, sizeof(rights));
		message.msg_control = rights.bytes;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	}
	do
		n = sendmsg(socket, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Moves the descriptors of @message to @fds; closes those beyond @room. Returns the number kept; *@lost those closed. */
static size_t take_rights(struct msghdr *message, int *fds, size_t room, size_t *lost)
{
	size_t kept = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (kept < room) {
				fds[kept++] = fd;
			} else {
				fd_close(fd);
				(*lost)++;
			}
		}
	}
	return kept;
}

ssize_t fd_receive(int socket, void *data, size_t length, int *fds, size_t *count)
{
	struct iovec iov = {.iov_base = data, .iov_len = length};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	size_t room = count ? *count : 0, lost = 0, kept;
	union rights rights;
	ssize_t n;

	if (room > RIGHTS_MAX)
		room = RIGHTS_MAX;
	if (room > 0) {
		message.msg_control = rights.bytes;
		message.msg_controllen = CMSG_SPACE(room * sizeof(int));
	}
	do
		n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;

	kept = take_rights(&message, fds, room, &lost);
	if (lost > 0 || (room > 0 && (message.msg_flags & MSG_CTRUNC))) {
		/* Part of a set of descriptors is of no use to anybody. */
		while (kept > 0)
			fd_close(fds[--kept]);
		n = -EMSGSIZE;
	}
	if (count)
		*count = kept;
	return n;
}

static bool is_kept(const int *keep, size_t count, int fd)
{
	for (size_t i = 0; i < count; i++)
		if (keep[i] == fd)
			return true;
	return false;
}

/* For kernels without close_range(2). */
static void close_listed(const int *keep, size_t count)
{
	_cleanup_dir_ DIR *dir = opendir("/proc/self/fd");

	if (!dir)
		return;
	for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
		char *end;
		long fd = strtol(entry->d_name, &end, 10);

		if (*end == '\0' && fd >= 3 && fd != dirfd(dir) && !is_kept(keep, count, (int)fd))
			(void)close((int)fd);
	}
}

static int compare_fds(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

void fd_close_all_but(const int *keep, size_t count)
{
	int sorted[KEEP_MAX];
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		if (keep[i] >= 3 && n < KEEP_MAX)
			sorted[n++] = keep[i];
	qsort(sorted, n, sizeof(sorted[0]), compare_fds);

	unsigned int first = 3;
	for (size_t i = 0; i <= n; i++) {
		unsigned int end = i < n ? (unsigned int)sorted[i] : ~0U;

		if (end > first && close_range(first, i < n ? end - 1 : ~0U, 0) < 0) {
			close_listed(sorted, n);
			return;
		}
		if (i < n && end >= first)
			first = end + 1;
	}
}
