/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A D-Bus connection: the handshake, calls, and waiting, each bounded by a deadline.
 *
 * The socket does not block; whoever waits does so in poll(2) for what is left of the deadline. Messages are
 * taken one at a time, whole; a reply that nobody waits for (to a call that timed out) and calls to us are
 * dropped.
 */
#include "base/dbus.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

struct dbus {
	int fd;
	unsigned timeout_ms;
	uint32_t serial;
	bool dead;
	void (*on_signal)(const struct dbus_message *signal, void *data);
	void *data;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int wait_for(int fd, short events, uint64_t deadline)
{
	for (;;) {
		struct pollfd poller = {.fd = fd, .events = events};
		uint64_t now = now_ms();
		int n = now >= deadline ? 0 : poll(&poller, 1, (int)(deadline - now));

		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int send_all(struct dbus *dbus, const void *data, size_t length, uint64_t deadline)
{
	const uint8_t *p = data;

	while (length) {
		ssize_t n = send(dbus->fd, p, length, MSG_NOSIGNAL | MSG_DONTWAIT);
		int r;

		if (n > 0) {
			p += n;
			length -= (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return -errno;
		r = wait_for(dbus->fd, POLLOUT, deadline);
		if (r < 0)
			return r;
	}
	return 0;
}

static int receive_all(struct dbus *dbus, void *data, size_t length, uint64_t deadline)
{
	uint8_t *p = data;

	while (length) {
		ssize_t n = recv(dbus->fd, p, length, MSG_DONTWAIT);
		int r;

		if (n == 0)
			return -ECONNRESET;
		if (n > 0) {
			p += n;
			length -= (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		r = wait_for(dbus->fd, POLLIN, deadline);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- handshake ------------------------------------------------------------------------------------------ */

/* One line of the handshake, byte by byte: what comes behind the last one is a message already. */
static int receive_line(struct dbus *dbus, char *line, size_t size, uint64_t deadline)
{
	size_t n = 0;

	for (;;) {
		char c;
		int r = receive_all(dbus, &c, 1, deadline);

		if (r < 0)
			return r;
		if (c == '\n')
			break;
		if (n + 1 >= size)
			return -EPROTO;
		line[n++] = c;
	}
	while (n && line[n - 1] == '\r')
		n--;
	line[n] = '\0';
	return 0;
}

/*
 * BEGIN goes with the rest, before the answer: a first message that the peer read together with a later BEGIN
 * would be left in systemd's buffer (seen on its private socket with one CPU) until something else is sent.
 */
static int authenticate(struct dbus *dbus, struct error *e)
{
	uint64_t deadline = now_ms() + dbus->timeout_ms;
	char uid[16], hello[80], line[512];
	int n, r;

	snprintf(uid, sizeof(uid), "%u", (unsigned)geteuid());
	n = snprintf(hello, sizeof(hello), "%cAUTH EXTERNAL ", '\0');
	for (const char *p = uid; *p; p++)
		n += snprintf(hello + n, sizeof(hello) - (size_t)n, "%02x", (unsigned char)*p);
	n += snprintf(hello + n, sizeof(hello) - (size_t)n, "\r\nBEGIN\r\n");
	r = send_all(dbus, hello, (size_t)n, deadline);
	if (r == 0)
		r = receive_line(dbus, line, sizeof(line), deadline);
	if (r < 0)
		return error_errno(e, -r, "authenticate to D-Bus");
	if (!str_starts_with(line, "OK "))
		return error_set(e, STATUS_PERMISSION_DENIED, EACCES, "authenticate to D-Bus: refused");
	return 0;
}

struct dbus *dbus_open_fd(int fd, bool bus, unsigned timeout_ms, struct error *e)
{
	static const struct dbus_call hello = {
		.destination = "org.freedesktop.DBus",
		.path = "/org/freedesktop/DBus",
		.interface = "org.freedesktop.DBus",
		.member = "Hello",
	};
	struct dbus *dbus = calloc(1, sizeof(*dbus));

	if (!dbus) {
		fd_close(fd);
		error_errno(e, ENOMEM, "D-Bus");
		return NULL;
	}
	dbus->fd = fd;
	dbus->timeout_ms = timeout_ms;
	if (authenticate(dbus, e) < 0 || (bus && dbus_call(dbus, &hello, NULL, e) < 0)) {
		dbus_close(dbus);
		return NULL;
	}
	return dbus;
}

struct dbus *dbus_open(const char *path, bool bus, unsigned timeout_ms, struct error *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path)) {
		error_errno(e, fd < 0 ? errno : ENAMETOOLONG, "connect to \"%s\"", path);
		return NULL;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		error_errno(e, errno, "connect to \"%s\"", path);
		return NULL;
	}
	return dbus_open_fd(fd_steal(&fd), bus, timeout_ms, e);
}

void dbus_close(struct dbus *dbus)
{
	if (!dbus)
		return;
	fd_close(dbus->fd);
	free(dbus);
}

void dbus_set_timeout(struct dbus *dbus, unsigned timeout_ms)
{
	dbus->timeout_ms = timeout_ms;
}

void dbus_on_signal(struct dbus *dbus, void (*fn)(const struct dbus_message *signal, void *data), void *data)
{
	dbus->on_signal = fn;
	dbus->data = data;
}

/* --- messages ------------------------------------------------------------------------------------------- */

static int die(struct dbus *dbus, int r, struct error *e, const char *what)
{
	dbus->dead = true;
	return error_errno(e, -r, "D-Bus: %s", what);
}

static int receive_message(struct dbus *dbus, struct dbus_message *out, uint64_t deadline)
{
	_cleanup_free_ uint8_t *data = NULL;
	uint8_t header[16];
	ssize_t size;
	int r = receive_all(dbus, header, sizeof(header), deadline);

	if (r < 0)
		return r;
	size = dbus_message_size(header);
	if (size < 0)
		return (int)size;
	data = malloc((size_t)size);
	if (!data)
		return -ENOMEM;
	memcpy(data, header, sizeof(header));
	r = receive_all(dbus, data + sizeof(header), (size_t)size - sizeof(header), deadline);
	if (r < 0)
		return r;
	r = dbus_message_parse(steal_pointer(data), (size_t)size, out);
	if (r < 0)
		dbus_message_deinit(out);
	return r;
}

static void put_field(struct buf *out, uint8_t code, const char *type, const char *text)
{
	if (str_is_empty(text))
		return;
	dbus_put_struct(out);
	dbus_put_byte(out, code);
	dbus_put_signature(out, type);
	if (*type == 'g')
		dbus_put_signature(out, text);
	else
		dbus_put_string(out, text);
}

static void put_call(struct buf *out, uint32_t serial, const struct dbus_call *call)
{
	size_t fields;

	dbus_put_byte(out, 'l');
	dbus_put_byte(out, DBUS_CALL);
	dbus_put_byte(out, 0);
	dbus_put_byte(out, 1);
	dbus_put_u32(out, (uint32_t)(call->body ? call->body->length : 0));
	dbus_put_u32(out, serial);
	fields = dbus_array_begin(out, 8);
	put_field(out, 1, "o", call->path);
	put_field(out, 2, "s", call->interface);
	put_field(out, 3, "s", call->member);
	put_field(out, 6, "s", call->destination);
	put_field(out, 8, "g", call->signature);
	dbus_array_end(out, fields, 8);
	dbus_put_struct(out);
	if (call->body && call->body->length)
		buf_append(out, buf_begin(call->body), call->body->length);
}

/* "NAME: text"; the text is the error's first argument, if that is one. */
static int remote_error(const struct dbus_message *reply, struct error *e)
{
	struct dbus_reader reader = dbus_reader_of(reply);
	const char *text = reply->signature[0] == 's' ? dbus_get_string(&reader) : "";

	error_set(e, STATUS_INTERNAL, EREMOTEIO, "%.200s%s%.1000s", reply->error_name, *text ? ": " : "",
		  text);
	return -EREMOTEIO;
}

int dbus_call(struct dbus *dbus, const struct dbus_call *call, struct dbus_message *reply, struct error *e)
{
	uint64_t deadline = now_ms() + dbus->timeout_ms;
	_cleanup_buf_ struct buf out = BUF_INIT;
	int r;

	if (reply)
		*reply = (struct dbus_message){.data = NULL};
	if (dbus->dead)
		return error_errno(e, ENOTCONN, "D-Bus");
	if (++dbus->serial == 0)
		dbus->serial = 1;
	put_call(&out, dbus->serial, call);
	if (out.failed || (call->body && call->body->failed))
		return error_errno(e, ENOMEM, "D-Bus");
	r = send_all(dbus, buf_begin(&out), out.length, deadline);
	while (r == 0) {
		struct dbus_message m;

		r = receive_message(dbus, &m, deadline);
		if (r < 0)
			break;
		if ((m.type == DBUS_RETURN || m.type == DBUS_ERROR) && m.reply_serial == dbus->serial) {
			if (m.type == DBUS_ERROR)
				r = remote_error(&m, e);
			if (reply)
				*reply = m;
			else
				dbus_message_deinit(&m);
			return r;
		}
		if (m.type == DBUS_SIGNAL && dbus->on_signal)
			dbus->on_signal(&m, dbus->data);
		dbus_message_deinit(&m);
	}
	return die(dbus, r, e, call->member);
}

int dbus_wait(struct dbus *dbus, const bool *done, struct error *e)
{
	uint64_t deadline = now_ms() + dbus->timeout_ms;

	if (dbus->dead)
		return error_errno(e, ENOTCONN, "D-Bus");
	while (!*done) {
		struct dbus_message m;
		int r = receive_message(dbus, &m, deadline);

		if (r < 0)
			return die(dbus, r, e, "wait for a signal");
		if (m.type == DBUS_SIGNAL && dbus->on_signal)
			dbus->on_signal(&m, dbus->data);
		dbus_message_deinit(&m);
	}
	return 0;
}
