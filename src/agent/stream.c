/* SPDX-License-Identifier: Apache-2.0 */

/*
 * pump() serves reads for as long as it can, and says to epoll what it waits for. It is entered from a new read, from the
 * descriptor, from the grace timer and from the settling of a read; `pumping` keeps one of those that happens inside
 * another from recursing, so that thousands of waiting reads cost no stack.
 */

#include "agent/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"

struct stream {
	struct loop *loop;
	int fd; /* -1: the end was reached */
	bool terminal;
	bool exited;
	bool silent; /* nothing came for the whole grace after the exit */
	bool pumping;
	struct list reads;
	struct stream_read *carried;
	struct buf returned; /* came back, goes out first */
	struct loop_fd source;
	struct loop_timer grace;
};

struct stream *stream_new(struct loop *loop, int fd, bool terminal)
{
	struct stream *s = calloc(1, sizeof(*s));
	if (!s) {
		if (!terminal)
			fd_close(fd);
		return NULL;
	}
	s->loop = loop;
	s->fd = fd;
	s->terminal = terminal;
	list_init(&s->reads);
	return s;
}

static void end_of_stream(struct stream *s)
{
	loop_fd_remove(&s->source);
	loop_timer_remove(&s->grace);
	if (!s->terminal)
		fd_close(s->fd);
	s->fd = -1;
}

static void finish_read(struct stream *s, struct stream_read *read, const struct error *e)
{
	list_remove(&read->link);
	if (read->length > 0)
		s->carried = read;
	else
		read->stream = NULL;
	read->deliver(read, e);
}

static void answer_error(struct stream *s, struct stream_read *read, const char *what, int errnum)
{
	struct error e = ERROR_INIT;
	error_errno(&e, errnum, "%s", what);
	read->length = 0;
	finish_read(s, read, &e);
}

static void answer_end(struct stream *s, struct stream_read *read)
{
	read->length = 0;
	finish_read(s, read, NULL);
}

static void serve_returned(struct stream *s, struct stream_read *read)
{
	size_t length = read->max < s->returned.length ? read->max : s->returned.length;
	read->data = read->room(read, length);
	if (!read->data) {
		answer_error(s, read, "read", ENOMEM);
		return;
	}
	memcpy(read->data, buf_begin(&s->returned), length);
	buf_consume(&s->returned, length);
	if (s->returned.length == 0)
		buf_deinit(&s->returned);
	read->length = length;
	finish_read(s, read, NULL);
}

static void grace_over(struct loop_timer *timer);

/* Nothing there now. True when that is an answer. */
static bool nothing_yet(struct stream *s, struct stream_read *read)
{
	if (!s->exited)
		return false;
	if (s->silent) {
		answer_end(s, read);
		return true;
	}
	if (!s->grace.loop && loop_timer_set(s->loop, &s->grace, STREAM_GRACE_MS, grace_over) < 0) {
		answer_end(s, read);
		return true;
	}
	return false;
}

/* read(2) gave @n (-errno: failed). True when the read was answered. */
static bool judge(struct stream *s, struct stream_read *read, ssize_t n)
{
	if (n > 0) {
		s->silent = false;
		loop_timer_remove(&s->grace);
		read->length = (size_t)n;
		finish_read(s, read, NULL);
		return true;
	}
	if (n == -EAGAIN)
		return nothing_yet(s, read);
	if (n == 0 || (n == -EIO && s->terminal)) {
		/* A terminal whose last opener is gone may be opened again while its process lives. */
		if (s->exited || !s->terminal)
			end_of_stream(s);
		answer_end(s, read);
		return true;
	}
	answer_error(s, read, "read", (int)-n);
	return true;
}

static ssize_t read_some(int fd, void *data, size_t size)
{
	ssize_t n;
	do
		n = read(fd, data, size);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* How much there is decides how much memory the answer takes; a read that has to wait takes none. */
static bool serve_fresh(struct stream *s, struct stream_read *read)
{
	uint8_t probe[256];
	int available = 0;
	size_t size = read->max < STREAM_READ_MAX ? read->max : STREAM_READ_MAX;
	if (ioctl(s->fd, FIONREAD, &available) == 0 && available > 0) {
		if ((size_t)available < size)
			size = (size_t)available;
		read->data = read->room(read, size);
		if (!read->data) {
			answer_error(s, read, "read", ENOMEM);
			return true;
		}
		return judge(s, read, read_some(s->fd, read->data, size));
	}
	ssize_t n = read_some(s->fd, probe, size < sizeof(probe) ? size : sizeof(probe));
	if (n > 0) {
		read->data = read->room(read, (size_t)n);
		if (!read->data) {
			buf_append(&s->returned, probe, (size_t)n);
			answer_error(s, read, "read", ENOMEM);
			return true;
		}
		memcpy(read->data, probe, (size_t)n);
	}
	return judge(s, read, n);
}

static bool serve(struct stream *s, struct stream_read *read)
{
	if (read->max == 0) {
		answer_end(s, read);
		return true;
	}
	if (s->returned.length > 0) {
		serve_returned(s, read);
		return true;
	}
	if (s->fd < 0) {
		answer_end(s, read);
		return true;
	}
	return serve_fresh(s, read);
}

static void readable(struct loop_fd *source, uint32_t events);

static void watch(struct stream *s)
{
	bool wanted = s->fd >= 0 && !list_empty(&s->reads) && !s->carried;
	if (s->source.loop)
		loop_fd_modify(&s->source, wanted ? EPOLLIN : 0);
	else if (wanted)
		loop_fd_add(s->loop, &s->source, s->fd, EPOLLIN, readable);
}

static void pump(struct stream *s)
{
	if (s->pumping)
		return;
	s->pumping = true;
	while (!s->carried && !list_empty(&s->reads))
		if (!serve(s, list_first_entry(&s->reads, struct stream_read, link)))
			break;
	s->pumping = false;
	watch(s);
}

static void readable(struct loop_fd *source, uint32_t events)
{
	(void)events;
	pump(list_entry(source, struct stream, source));
}

static void grace_over(struct loop_timer *timer)
{
	struct stream *s = list_entry(timer, struct stream, grace);
	s->silent = true;
	pump(s);
}

void stream_ask(struct stream *s, struct stream_read *read)
{
	read->stream = s;
	read->data = NULL;
	read->length = 0;
	list_append(&s->reads, &read->link);
	pump(s);
}

void stream_forget(struct stream_read *read)
{
	struct stream *s = read->stream;
	list_remove(&read->link);
	read->stream = NULL;
	if (s && !s->pumping)
		watch(s);
}

void stream_settle(struct stream_read *read, bool arrived)
{
	struct stream *s = read->stream;
	if (!s)
		return;
	read->stream = NULL;
	s->carried = NULL;
	if (!arrived && buf_prepend(&s->returned, read->data, read->length) < 0)
		log_error("stream", "output lost: no memory to keep it", "bytes", LOG_NUMBER(read->length));
	pump(s);
}

void stream_exited(struct stream *s)
{
	s->exited = true;
	if (!list_empty(&s->reads)) {
		pump(s);
		return;
	}
	/* Nobody waits: where all was read and all writers are gone, the descriptor need not wait either. */
	struct pollfd p = {.fd = s->fd, .events = POLLIN};
	if (s->fd >= 0 && poll(&p, 1, 0) == 1 && (p.revents & POLLHUP) && !(p.revents & POLLIN))
		end_of_stream(s);
}

bool stream_drained(const struct stream *s)
{
	return s->fd < 0 && s->returned.length == 0 && !s->carried;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	s->pumping = true;
	while (!list_empty(&s->reads))
		answer_end(s, list_first_entry(&s->reads, struct stream_read, link));
	if (s->carried)
		s->carried->stream = NULL;
	end_of_stream(s);
	buf_deinit(&s->returned);
	free(s);
}
