/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocking work with one deadline over all of it, on a non-blocking socket.
 *
 * The VMM's answer to CONNECT is read byte by byte: what comes behind its line end belongs to the guest, and
 * a buffered reader would swallow it (reference 01, 2.6).
 */

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"
#include "ttrpc/address.h"
#include "ttrpc/dial.h"

enum {
	ANSWER_MAX = 128, /* bytes of the VMM's line */
	RETRY_MS = 10,	  /* while the listener's backlog is full */
};

struct deadline {
	bool never;
	uint64_t at; /* loop_now() */
};

/* Milliseconds for poll(). */
static int time_left(const struct deadline *deadline)
{
	uint64_t now = loop_now();

	if (deadline->never)
		return -1;
	return now >= deadline->at ? 0 : (int)(deadline->at - now);
}

static int wait_for(int fd, short events, const struct deadline *deadline)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};
	int r;

	do
		r = poll(&poll_fd, 1, time_left(deadline));
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return r == 0 ? -ETIMEDOUT : 0;
}

static int finish_connect(int fd, const struct deadline *deadline)
{
	socklen_t size = sizeof(int);
	int error = 0, r = wait_for(fd, POLLOUT, deadline);

	if (r < 0)
		return r;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		return -errno;
	return -error;
}

static int connect_to(int fd, const struct ttrpc_address *address, const struct deadline *deadline)
{
	for (;;) {
		if (connect(fd, (const struct sockaddr *)&address->storage, address->length) == 0)
			return 0;
		if (errno == EINPROGRESS || errno == EINTR)
			return finish_connect(fd, deadline);
		/* A UNIX socket whose backlog is full says so, and cannot be waited for. */
		if (errno != EAGAIN)
			return -errno;
		if (time_left(deadline) == 0)
			return -ETIMEDOUT;
		nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000L}, NULL);
	}
}

/* One line without its end; -EMSGSIZE where it is longer than ANSWER_MAX, -ECONNRESET where it does not come.
 * */
static int read_line(int fd, char line[ANSWER_MAX], const struct deadline *deadline)
{
	size_t length = 0;

	while (length < ANSWER_MAX) {
		ssize_t n = recv(fd, &line[length], 1, 0);
		int r;

		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n < 0) {
			r = wait_for(fd, POLLIN, deadline);
			if (r < 0)
				return r;
		} else if (line[length] == '\n') {
			line[length] = '\0';
			return 0;
		} else {
			length++;
		}
	}
	return -EMSGSIZE;
}

static int handshake(int fd, uint32_t port, const struct deadline *deadline, struct error *e)
{
	char request[32], answer[ANSWER_MAX];
	int length = snprintf(request, sizeof(request), "CONNECT %u\n", port), r;

	/* So short a line always fits into a fresh socket. */
	if (send(fd, request, (size_t)length, MSG_NOSIGNAL) != length)
		return error_errno(e, errno, "hybrid vsock: send CONNECT");
	r = read_line(fd, answer, deadline);
	if (r < 0)
		return error_errno(e, -r, "hybrid vsock: no answer to CONNECT %u", port);
	if (strncmp(answer, "OK", 2) != 0)
		return error_set(e, STATUS_UNAVAILABLE, ECONNREFUSED, "hybrid vsock: CONNECT %u was refused",
				 port);
	return 0;
}

int dial(const char *text, int timeout_ms, struct error *e)
{
	struct deadline deadline = {.never = timeout_ms < 0};
	struct ttrpc_address address;
	_cleanup_fd_ int fd = -1;
	int r = ttrpc_address_parse(text, &address, e);

	if (r < 0)
		return r;
	if (!deadline.never)
		deadline.at = loop_now() + (uint64_t)timeout_ms;
	fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_errno(e, errno, "connect to \"%s\": socket", text);
	r = connect_to(fd, &address, &deadline);
	if (r < 0) {
		r = error_errno(e, -r, "connect to \"%s\"", text);
	} else if (address.hybrid_port != 0) {
		r = handshake(fd, address.hybrid_port, &deadline, e);
		if (r < 0)
			error_prefix(e, "connect to \"%s\"", text);
	}
	if (r < 0) {
		if (e && e->code == STATUS_INTERNAL)
			e->code = STATUS_UNAVAILABLE;
		return r;
	}
	return fd_steal(&fd);
}
