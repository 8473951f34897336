/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The wire form is host-endian, since both ends are one program on one machine: type, value, code, errno as four
 * 32-bit numbers, then the text of an error without its NUL. See handshake.h for who says what when.
 */

#include "engine/handshake.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/str.h"

enum { HEADER_SIZE = 16 };

size_t handshake_encode(const struct handshake_message *message, uint8_t *out)
{
	uint32_t header[4] = {(uint32_t)message->type, (uint32_t)message->value, 0, 0};
	size_t length = 0;

	if (message->type == HANDSHAKE_ERROR) {
		header[2] = message->error.code;
		header[3] = (uint32_t)message->error.errnum;
		length = strnlen(message->error.text, ERROR_TEXT_MAX - 1);
		memcpy(out + HEADER_SIZE, message->error.text, length);
	}
	memcpy(out, header, HEADER_SIZE);
	return HEADER_SIZE + length;
}

int handshake_decode(const uint8_t *data, size_t length, struct handshake_message *message)
{
	uint32_t header[4];
	size_t text;

	if (length < HEADER_SIZE || length >= HANDSHAKE_MAX)
		return -EPROTO;
	memcpy(header, data, HEADER_SIZE);
	text = length - HEADER_SIZE;
	if (header[0] < HANDSHAKE_ERROR || header[0] > HANDSHAKE_HOOKED)
		return -EPROTO;
	message->type = (enum handshake_type)header[0];
	message->value = (int32_t)header[1];
	message->error.code = STATUS_OK;
	message->error.errnum = 0;
	message->error.text[0] = '\0';
	if (message->type != HANDSHAKE_ERROR)
		return text == 0 && header[2] == 0 && header[3] == 0 ? 0 : -EPROTO;

	if (header[2] == STATUS_OK || header[2] > STATUS_UNAUTHENTICATED || header[3] > 4095)
		return -EPROTO;
	if (!utf8_valid(data + HEADER_SIZE, text) || memchr(data + HEADER_SIZE, 0, text))
		return -EPROTO;
	message->error.code = header[2];
	message->error.errnum = (int)header[3];
	memcpy(message->error.text, data + HEADER_SIZE, text);
	message->error.text[text] = '\0';
	return 0;
}

int handshake_pair(int pair[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	int r = fd_nonblock(pair[0], true);
	if (r < 0) {
		pair[0] = fd_close(pair[0]);
		pair[1] = fd_close(pair[1]);
	}
	return r;
}

static int send_message(int socket, const struct handshake_message *message, int fd)
{
	uint8_t bytes[HANDSHAKE_MAX];
	size_t length = handshake_encode(message, bytes);
	struct iovec iov = {.iov_base = bytes, .iov_len = length};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (fd >= 0) {
		header.msg_control = control.bytes;
		header.msg_controllen = sizeof(control.bytes);
		struct cmsghdr *c = CMSG_FIRSTHDR(&header);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	do {
		n = sendmsg(socket, &header, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int handshake_send(int socket, enum handshake_type type, int32_t value, int fd)
{
	struct handshake_message message = {.type = type, .value = value};
	return send_message(socket, &message, fd);
}

int handshake_send_error(int socket, const struct error *e)
{
	struct handshake_message message = {.type = HANDSHAKE_ERROR, .error = *e};

	if (message.error.code == STATUS_OK)
		message.error.code = STATUS_UNKNOWN;
	return send_message(socket, &message, -1);
}

/* Keeps the first descriptor of what came along and closes all others. */
static int take_descriptor(struct msghdr *header)
{
	int kept = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (kept < 0)
				kept = fd;
			else
				fd_close(fd);
		}
	}
	return kept;
}

int handshake_receive(int socket, struct handshake_message *message)
{
	uint8_t bytes[HANDSHAKE_MAX];
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(4 * sizeof(int))];
	} control = {0};
	struct msghdr header = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n;

	/* A peer that ended without reading all (an error met our GO on the way) is told as a reset, once, and before what it
	 * had said: that comes now. */
	for (int resets = 0;; resets += errno == ECONNRESET) {
		n = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
		if (n >= 0 || !(errno == EINTR || (errno == ECONNRESET && resets == 0)))
			break;
	}
	if (n < 0)
		return -errno;
	_cleanup_fd_ int fd = take_descriptor(&header);
	message->fd = -1;
	if (n == 0)
		return 0;
	if (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return -EPROTO;
	int r = handshake_decode(bytes, (size_t)n, message);
	if (r < 0)
		return r;
	if (message->type == HANDSHAKE_PID || message->type == HANDSHAKE_TERMINAL)
		message->fd = fd_steal(&fd);
	return 1;
}
