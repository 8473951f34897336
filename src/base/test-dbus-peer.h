/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_TEST_DBUS_PEER_H
#define BASE_TEST_DBUS_PEER_H

/* For tests: the other end of a D-Bus connection, in a child process. It asserts nothing; it leaves with a
 * code. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/dbus.h"
#include "base/fd.h"

static inline bool peer_read(int fd, void *data, size_t length)
{
	return fd_read_all(fd, data, length) == (ssize_t)length;
}

/* The handshake as a server. */
static inline void peer_authenticate(int fd, const char *answer)
{
	char line[128], c = 'x';
	size_t n = 0;

	if (!peer_read(fd, &c, 1) || c != '\0')
		_exit(10);
	while (c != '\n' && n < sizeof(line) - 1 && peer_read(fd, &c, 1))
		line[n++] = c;
	line[n] = '\0';
	if (strncmp(line, "AUTH EXTERNAL ", 14) != 0 || fd_write_all(fd, answer, strlen(answer)) < 0)
		_exit(11);
	if (strncmp(answer, "OK ", 3) != 0)
		_exit(0);
	for (n = 0, c = 'x'; c != '\n' && n < sizeof(line) - 1 && peer_read(fd, &c, 1);)
		line[n++] = c;
	if (strncmp(line, "BEGIN\r\n", 7) != 0)
		_exit(12);
}

/* False at the end of the connection. */
static inline bool peer_receive(int fd, struct dbus_message *out)
{
	uint8_t header[16], *data;
	ssize_t size;

	if (!peer_read(fd, header, sizeof(header)))
		return false;
	size = dbus_message_size(header);
	data = size < 0 ? NULL : malloc((size_t)size);
	if (!data)
		_exit(13);
	memcpy(data, header, sizeof(header));
	if (!peer_read(fd, data + sizeof(header), (size_t)size - sizeof(header)) ||
	    dbus_message_parse(data, (size_t)size, out) < 0)
		_exit(14);
	return true;
}

static inline void peer_field(struct buf *out, uint8_t code, const char *type, const char *text)
{
	if (!text)
		return;
	dbus_put_struct(out);
	dbus_put_byte(out, code);
	dbus_put_signature(out, type);
	if (*type == 'g')
		dbus_put_signature(out, text);
	else
		dbus_put_string(out, text);
}

/* Any message. @to is the serial that it answers, 0 for a signal. */
static inline void peer_build(struct buf *out, uint8_t type, uint32_t to, const char *member_or_error,
			      const char *signature, const struct buf *body)
{
	bool signal = type == DBUS_SIGNAL;
	size_t mark;

	dbus_put_byte(out, 'l');
	dbus_put_byte(out, type);
	dbus_put_byte(out, 1);
	dbus_put_byte(out, 1);
	dbus_put_u32(out, body ? (uint32_t)body->length : 0);
	dbus_put_u32(out, 77);
	mark = dbus_array_begin(out, 8);
	peer_field(out, 1, "o", signal ? "/org/freedesktop/systemd1" : NULL);
	peer_field(out, 2, "s", signal ? "org.freedesktop.systemd1.Manager" : NULL);
	peer_field(out, 3, "s", signal ? member_or_error : NULL);
	peer_field(out, 4, "s", type == DBUS_ERROR ? member_or_error : NULL);
	if (to) {
		dbus_put_struct(out);
		dbus_put_byte(out, 5);
		dbus_put_signature(out, "u");
		dbus_put_u32(out, to);
	}
	peer_field(out, 7, "s", ":1.1");
	peer_field(out, 8, "g", body && body->length ? signature : NULL);
	dbus_array_end(out, mark, 8);
	dbus_put_struct(out);
	if (body)
		buf_append(out, buf_begin(body), body->length);
}

static inline void peer_send(int fd, uint8_t type, uint32_t to, const char *member_or_error,
			     const char *signature, const struct buf *body)
{
	_cleanup_buf_ struct buf out = BUF_INIT;

	peer_build(&out, type, to, member_or_error, signature, body);
	if (out.failed || fd_write_all(fd, buf_begin(&out), out.length) < 0)
		_exit(15);
}

#endif
