/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/pump.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"

enum { PIECE = 32 << 10, PIECES_A_ROUND = 8 };

/* Never ready by itself, so that only EPOLLERR and EPOLLHUP are told. */
#define HANGUPS EPOLLPRI

struct pump {
	struct loop *loop;
	struct loop_fd from, to;
	int from_fd, to_fd;
	uint8_t *left; /* read and refused by the target; NULL: nothing */
	size_t left_start, left_length;
	int result;
	bool over;
	struct loop_defer end;
	pump_done done;
	void *data;
};

static void tell_end(struct loop_defer *defer)
{
	struct pump *pump = container_of(defer, struct pump, end);
	pump->done(pump, pump->result, pump->data);
}

static void finish(struct pump *pump, int r)
{
	if (pump->over)
		return;
	pump->over = true;
	pump->result = r;
	loop_fd_remove(&pump->from);
	loop_fd_remove(&pump->to);
	loop_defer_add(pump->loop, &pump->end, tell_end);
}

/* Bytes that the target took, or -errno; -EAGAIN is 0. */
static ssize_t give(struct pump *pump, const uint8_t *data, size_t length)
{
	ssize_t n;
	do
		n = write(pump->to_fd, data, length);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return n;
}

static void keep(struct pump *pump, const uint8_t *data, size_t length)
{
	pump->left = malloc(length);
	if (!pump->left) {
		finish(pump, -ENOMEM);
		return;
	}
	__builtin_memcpy(pump->left, data, length);
	pump->left_start = 0;
	pump->left_length = length;
	loop_fd_modify(&pump->from, 0);
	loop_fd_modify(&pump->to, EPOLLOUT);
}

static void on_readable(struct loop_fd *source, uint32_t events)
{
	struct pump *pump = container_of(source, struct pump, from);
	uint8_t piece[PIECE];
	for (int i = 0; i < PIECES_A_ROUND; i++) {
		ssize_t n = read(pump->from_fd, piece, sizeof(piece));
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			finish(pump, n == 0 || errno == EIO || errno == ECONNRESET ? 0 : -errno);
			return;
		}
		ssize_t taken = give(pump, piece, (size_t)n);
		if (taken < 0) {
			finish(pump, (int)taken);
			return;
		}
		if (taken < n) {
			keep(pump, piece + taken, (size_t)(n - taken));
			return;
		}
	}
}

static void on_writable(struct loop_fd *source, uint32_t events)
{
	struct pump *pump = container_of(source, struct pump, to);
	if (!pump->left) {
		/* Nobody waits for room: the target has gone. */
		if (events & (EPOLLERR | EPOLLHUP))
			finish(pump, -EPIPE);
		return;
	}
	ssize_t taken = give(pump, pump->left + pump->left_start, pump->left_length);
	if (taken < 0) {
		finish(pump, (int)taken);
		return;
	}
	pump->left_start += (size_t)taken;
	pump->left_length -= (size_t)taken;
	if (pump->left_length)
		return;
	free(pump->left);
	pump->left = NULL;
	loop_fd_modify(&pump->to, HANGUPS);
	loop_fd_modify(&pump->from, EPOLLIN);
}

struct pump *pump_new(struct loop *loop, int from, int to, pump_done done, void *data)
{
	struct pump *pump = calloc(1, sizeof(*pump));
	if (!pump) {
		fd_close(from);
		fd_close(to);
		errno = ENOMEM;
		return NULL;
	}
	*pump = (struct pump){.loop = loop, .from_fd = from, .to_fd = to, .done = done, .data = data};
	int r = fd_nonblock(from, true);
	if (r == 0)
		r = fd_nonblock(to, true);
	if (r == 0)
		r = loop_fd_add(loop, &pump->from, from, EPOLLIN, on_readable);
	if (r == 0)
		r = loop_fd_add(loop, &pump->to, to, HANGUPS, on_writable);
	if (r < 0) {
		pump_free(pump);
		errno = -r;
		return NULL;
	}
	return pump;
}

void pump_free(struct pump *pump)
{
	if (!pump)
		return;
	loop_fd_remove(&pump->from);
	loop_fd_remove(&pump->to);
	loop_defer_remove(&pump->end);
	fd_close(pump->from_fd);
	fd_close(pump->to_fd);
	free(pump->left);
	free(pump);
}

bool pump_busy(const struct pump *pump)
{
	return pump->left != NULL;
}

int pump_source(const struct pump *pump)
{
	return pump->from_fd;
}

int pump_target(const struct pump *pump)
{
	return pump->to_fd;
}
