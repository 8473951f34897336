/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/passfd.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>

#include "base/fd.h"
#include "base/log.h"

static const char *const stream_names[] = {"stdin", "stdout", "stderr"};

struct passfd {
	struct loop *loop;
	struct port *port;
	bool any_peer;
	struct list streams; /* of struct unclaimed, oldest first */
	unsigned count;
	struct list claims;
};

struct unclaimed {
	struct list link;
	struct passfd *passfd;
	int fd;
	uint32_t peer_port;
	struct loop_timer expiry;
};

/* Takes it off the table; its descriptor is the caller's. */
static int unclaimed_take(struct unclaimed *stream)
{
	int fd = stream->fd;
	loop_timer_remove(&stream->expiry);
	list_remove(&stream->link);
	stream->passfd->count--;
	free(stream);
	return fd;
}

static void on_expiry(struct loop_timer *timer)
{
	struct unclaimed *stream = container_of(timer, struct unclaimed, expiry);
	log_warning("passfd_io", "a stream that nobody asked for is closed", "port",
		    LOG_NUMBER(stream->peer_port));
	fd_close(unclaimed_take(stream));
}

static bool complete(const struct passfd_claim *claim)
{
	for (int i = 0; i < 3; i++)
		if (claim->ports[i] && claim->fds[i] < 0)
			return false;
	return true;
}

static void unlink_claim(struct passfd_claim *claim)
{
	loop_timer_remove(&claim->timer);
	loop_defer_remove(&claim->defer);
	list_remove(&claim->link);
}

static void tell_complete(struct loop_defer *defer)
{
	struct passfd_claim *claim = container_of(defer, struct passfd_claim, defer);
	unlink_claim(claim);
	claim->done(claim, NULL);
}

static void close_streams(struct passfd_claim *claim)
{
	for (int i = 0; i < 3; i++)
		claim->fds[i] = fd_close(claim->fds[i]);
}

static void on_timeout(struct loop_timer *timer)
{
	struct passfd_claim *claim = container_of(timer, struct passfd_claim, timer);
	struct error e = ERROR_INIT;
	for (int i = 0; i < 3; i++)
		if (claim->ports[i] && claim->fds[i] < 0)
			error_set(&e, STATUS_UNAVAILABLE, ETIMEDOUT,
				  "no connection from port %u for %s came in time", claim->ports[i],
				  stream_names[i]);
	unlink_claim(claim);
	close_streams(claim);
	claim->done(claim, &e);
}

static bool offer(struct passfd_claim *claim, int fd, uint32_t peer_port)
{
	for (int i = 0; i < 3; i++)
		if (claim->ports[i] == peer_port && claim->fds[i] < 0) {
			claim->fds[i] = fd;
			return true;
		}
	return false;
}

void passfd_arrived(struct passfd *passfd, int fd, uint32_t peer_port)
{
	struct passfd_claim *claim;
	list_for_each_entry (claim, &passfd->claims, link)
		if (offer(claim, fd, peer_port)) {
			if (complete(claim))
				loop_defer_add(passfd->loop, &claim->defer, tell_complete);
			return;
		}
	if (passfd->count >= PASSFD_UNCLAIMED_MAX)
		fd_close(unclaimed_take(list_first_entry(&passfd->streams, struct unclaimed, link)));
	struct unclaimed *stream = calloc(1, sizeof(*stream));
	if (!stream) {
		fd_close(fd);
		return;
	}
	*stream = (struct unclaimed){.passfd = passfd, .fd = fd, .peer_port = peer_port};
	list_append(&passfd->streams, &stream->link);
	passfd->count++;
	loop_timer_set(passfd->loop, &stream->expiry, PASSFD_EXPIRE_MS, on_expiry);
}

static void on_accepted(int fd, const struct sockaddr *peer, void *data)
{
	struct passfd *passfd = data;
	const struct sockaddr_vm *vm = (const struct sockaddr_vm *)peer;
	if (peer->sa_family != AF_VSOCK || (vm->svm_cid != VMADDR_CID_HOST && !passfd->any_peer)) {
		log_warning("passfd_io", "a connection that is not the host's is closed");
		fd_close(fd);
		return;
	}
	passfd_arrived(passfd, fd, vm->svm_port);
}

struct passfd *passfd_table(struct loop *loop)
{
	struct passfd *passfd = calloc(1, sizeof(*passfd));
	if (!passfd)
		return NULL;
	passfd->loop = loop;
	list_init(&passfd->streams);
	list_init(&passfd->claims);
	return passfd;
}

struct passfd *passfd_new(struct loop *loop, uint32_t number, bool any_peer, struct error *e)
{
	struct passfd *passfd = passfd_table(loop);
	if (!passfd) {
		error_errno(e, ENOMEM, "pass-through streams");
		return NULL;
	}
	passfd->any_peer = any_peer;
	passfd->port = port_new(loop, number, on_accepted, passfd, e);
	if (passfd->port)
		return passfd;
	passfd_free(passfd);
	return NULL;
}

void passfd_free(struct passfd *passfd)
{
	if (!passfd)
		return;
	port_free(passfd->port);
	while (!list_empty(&passfd->streams))
		fd_close(unclaimed_take(list_first_entry(&passfd->streams, struct unclaimed, link)));
	free(passfd);
}

void passfd_claim(struct passfd *passfd, struct passfd_claim *claim, uint64_t timeout_ms)
{
	struct unclaimed *stream, *next;
	claim->passfd = passfd;
	for (int i = 0; i < 3; i++)
		claim->fds[i] = -1;
	list_append(&passfd->claims, &claim->link);
	list_for_each_entry_safe (stream, next, &passfd->streams, link)
		if (offer(claim, stream->fd, stream->peer_port))
			unclaimed_take(stream);
	if (complete(claim))
		loop_defer_add(passfd->loop, &claim->defer, tell_complete);
	else
		loop_timer_set(passfd->loop, &claim->timer, timeout_ms, on_timeout);
}

void passfd_abandon(struct passfd_claim *claim)
{
	if (!claim->passfd)
		return;
	unlink_claim(claim);
	close_streams(claim);
	claim->passfd = NULL;
}

void passfd_refuse(struct passfd *passfd, const uint32_t ports[3])
{
	struct unclaimed *stream, *next;
	list_for_each_entry_safe (stream, next, &passfd->streams, link)
		for (int i = 0; i < 3; i++)
			if (ports[i] && ports[i] == stream->peer_port) {
				fd_close(unclaimed_take(stream));
				break;
			}
}

void passfd_take(struct passfd_claim *claim, int fds[3])
{
	for (int i = 0; i < 3; i++)
		fds[i] = claim->passfd ? fd_steal(&claim->fds[i]) : -1;
	claim->passfd = NULL;
}

unsigned passfd_unclaimed(const struct passfd *passfd)
{
	return passfd->count;
}
