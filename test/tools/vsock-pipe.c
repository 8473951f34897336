/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A connection to a vsock port, for plays in a virtual machine: what comes on standard input goes to it, what comes from it
 * goes to standard output, until it ends.
 *
 * Usage: vsock-pipe CID PORT [FILE]
 *
 * FILE gets the number of the connection's own port, as soon as it is there.
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

static int fail(const char *what)
{
	fprintf(stderr, "vsock-pipe: %s: %s\n", what, strerror(errno));
	return 1;
}

/* False at the source's end. */
static int copy(int from, int to)
{
	char piece[16384];
	ssize_t n = read(from, piece, sizeof(piece));
	for (ssize_t done = 0, w; done < n; done += w)
		if ((w = write(to, piece + done, (size_t)(n - done))) < 0)
			return 0;
	return n > 0;
}

static int write_port(int fd, const char *path)
{
	struct sockaddr_vm own;
	socklen_t length = sizeof(own);
	char part[4096];
	if (getsockname(fd, (struct sockaddr *)&own, &length) < 0)
		return -1;
	if (snprintf(part, sizeof(part), "%s.part", path) >= (int)sizeof(part))
		return -1;
	FILE *file = fopen(part, "w");
	if (!file)
		return -1;
	fprintf(file, "%u\n", own.svm_port);
	return fclose(file) == 0 ? rename(part, path) : -1;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return fprintf(stderr, "usage: vsock-pipe CID PORT [FILE]\n") ? 2 : 2;
	struct sockaddr_vm peer = {.svm_family = AF_VSOCK,
				   .svm_cid = (unsigned)strtoul(argv[1], NULL, 10),
				   .svm_port = (unsigned)strtoul(argv[2], NULL, 10)};
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&peer, sizeof(peer)) < 0)
		return fail("connect");
	if (argc > 3 && write_port(fd, argv[3]) < 0)
		return fail(argv[3]);
	struct pollfd polls[] = {{.fd = fd, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
	while (poll(polls, 2, -1) >= 0) {
		if (polls[0].revents && !copy(fd, 1))
			return 0;
		if (polls[1].revents && !copy(0, fd)) {
			shutdown(fd, SHUT_WR);
			polls[1].fd = -1;
		}
	}
	return fail("poll");
}
