/* SPDX-License-Identifier: Apache-2.0 */

/* As in stream.c, one function pumps and `pumping` keeps it from recursing. */

#include "agent/input.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"

struct input {
	struct loop *loop;
	int fd; /* -1: closed, or nobody reads */
	bool terminal;
	bool closing;
	bool pumping;
	bool wrote;
	uint8_t last;	     /* last byte accepted */
	uint8_t farewell[2]; /* VEOF, perhaps twice, still to be written */
	size_t n_farewell;
	int failure; /* errno that ended it */
	struct list writes;
	struct loop_fd source;
};

struct input *input_new(struct loop *loop, int fd, bool terminal)
{
	struct input *in = calloc(1, sizeof(*in));
	if (!in) {
		if (!terminal)
			fd_close(fd);
		return NULL;
	}
	in->loop = loop;
	in->fd = fd;
	in->terminal = terminal;
	list_init(&in->writes);
	return in;
}

static void shut(struct input *in)
{
	loop_fd_remove(&in->source);
	if (!in->terminal)
		fd_close(in->fd);
	in->fd = -1;
}

static void finish_write(struct input_write *write, const struct error *e)
{
	list_remove(&write->link);
	write->input = NULL;
	write->done(write, e);
}

static void refuse(struct input *in, struct input_write *write)
{
	struct error e = ERROR_INIT;
	if (in->failure)
		error_errno(&e, in->failure, "write");
	else
		error_set(&e, STATUS_INTERNAL, EBADF, "Cannot get writer");
	finish_write(write, &e);
}

static ssize_t write_some(int fd, const void *data, size_t size)
{
	ssize_t n;
	do
		n = write(fd, data, size);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* True when @byte leaves the terminal's line empty behind it. */
static bool ends_line(const struct termios *t, uint8_t byte)
{
	static const int control[] = {VEOF, VEOL, VEOL2, VKILL, VINTR, VQUIT, VSUSP};
	if (byte == '\n' || (byte == '\r' && (t->c_iflag & ICRNL)))
		return true;
	for (size_t i = 0; i < array_length(control); i++)
		if (byte != _POSIX_VDISABLE && byte == t->c_cc[control[i]])
			return true;
	return false;
}

static void prepare_farewell(struct input *in)
{
	struct termios t;
	if (tcgetattr(in->fd, &t) < 0 || !(t.c_lflag & ICANON) || t.c_cc[VEOF] == _POSIX_VDISABLE)
		return;
	in->farewell[0] = in->farewell[1] = t.c_cc[VEOF];
	in->n_farewell = in->wrote && !ends_line(&t, in->last) ? 2 : 1;
}

static void fail_all(struct input *in, int errnum)
{
	in->failure = errnum;
	in->n_farewell = 0;
	shut(in);
	while (!list_empty(&in->writes))
		refuse(in, list_first_entry(&in->writes, struct input_write, link));
}

/* One try for the first write. False: the pipe is full. */
static bool push_write(struct input *in, struct input_write *write)
{
	size_t left = write->length - write->offset;
	ssize_t n = left > 0 ? write_some(in->fd, write->data + write->offset, left) : 0;
	if (n == -EAGAIN)
		return false;
	if (n < 0) {
		fail_all(in, (int)-n);
		return true;
	}
	if (n > 0) {
		write->offset += (size_t)n;
		in->wrote = true;
		in->last = write->data[write->offset - 1];
	}
	if (write->offset == write->length)
		finish_write(write, NULL);
	return true;
}

static bool push_farewell(struct input *in)
{
	ssize_t n = write_some(in->fd, in->farewell, in->n_farewell);
	if (n == -EAGAIN)
		return false;
	in->n_farewell = n < 0 ? 0 : in->n_farewell - (size_t)n;
	return true;
}

/* The writes that were there before the close are through. */
static void say_farewell(struct input *in)
{
	if (in->terminal)
		prepare_farewell(in);
	else
		shut(in);
}

static void writable(struct loop_fd *source, uint32_t events);

static void watch(struct input *in)
{
	bool wanted = in->fd >= 0 && (!list_empty(&in->writes) || in->n_farewell > 0);
	if (in->source.loop)
		loop_fd_modify(&in->source, wanted ? EPOLLOUT : 0);
	else if (wanted)
		loop_fd_add(in->loop, &in->source, in->fd, EPOLLOUT, writable);
}

static void pump(struct input *in)
{
	if (in->pumping)
		return;
	in->pumping = true;
	while (in->fd >= 0 && !list_empty(&in->writes)) {
		if (!push_write(in, list_first_entry(&in->writes, struct input_write, link)))
			break;
		if (in->closing && list_empty(&in->writes))
			say_farewell(in);
	}
	while (in->fd >= 0 && in->n_farewell > 0)
		if (!push_farewell(in))
			break;
	in->pumping = false;
	watch(in);
}

static void writable(struct loop_fd *source, uint32_t events)
{
	(void)events;
	pump(list_entry(source, struct input, source));
}

void input_write(struct input *in, struct input_write *write)
{
	write->input = in;
	write->offset = 0;
	list_init(&write->link);
	if (in->fd < 0 || in->closing) {
		refuse(in, write);
		return;
	}
	list_append(&in->writes, &write->link);
	pump(in);
}

void input_forget(struct input_write *write)
{
	struct input *in = write->input;
	list_remove(&write->link);
	write->input = NULL;
	if (!in || in->pumping)
		return;
	if (in->closing && list_empty(&in->writes) && in->fd >= 0 && in->n_farewell == 0)
		say_farewell(in);
	pump(in);
}

void input_close(struct input *in)
{
	if (in->closing || in->fd < 0)
		return;
	in->closing = true;
	if (list_empty(&in->writes))
		say_farewell(in);
	pump(in);
}

void input_exited(struct input *in)
{
	struct pollfd p = {.fd = in->fd, .events = 0};
	if (in->fd >= 0 && !in->terminal && !in->pumping && poll(&p, 1, 0) == 1 && (p.revents & POLLERR))
		fail_all(in, EPIPE);
}

void input_free(struct input *in)
{
	if (!in)
		return;
	in->pumping = true;
	in->failure = 0;
	while (!list_empty(&in->writes))
		refuse(in, list_first_entry(&in->writes, struct input_write, link));
	shut(in);
	free(in);
}
