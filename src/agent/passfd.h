/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_PASSFD_H
#define AGENT_PASSFD_H

/*
 * Pass-through stdio: connections that the host's VMM relays to a container's streams on the host (reference 01, 2.7).
 *
 * Each connection to the port is kept under its peer's port number until a CreateContainer or ExecProcess names that
 * number. Whichever comes first waits for the other, for a bounded time: a request whose stream does not come gets an
 * error instead of a container without output; a connection that nobody names is closed. Only the host (CID 2) is
 * listened to, since a container that could guess a number would own another one's stdio.
 */

#include <stdbool.h>
#include <stdint.h>

#include "agent/port.h"
#include "base/error.h"
#include "base/list.h"
#include "base/loop.h"

enum {
	PASSFD_WAIT_MS = 2000,	  /* a request for its streams */
	PASSFD_EXPIRE_MS = 60000, /* a stream for its request */
	PASSFD_UNCLAIMED_MAX = 256,
};

struct passfd;

/* One request's streams; embedded in its owner. */
struct passfd_claim {
	struct list link;
	struct passfd *passfd;
	uint32_t ports[3]; /* stdin, stdout, stderr; 0: none */
	int fds[3];	   /* -1: none, or not here yet */
	struct loop_timer timer;
	struct loop_defer defer;
	/* Called once, never from passfd_claim(): @e NULL and `fds` are the owner's, or UNAVAILABLE naming the stream. */
	void (*done)(struct passfd_claim *claim, const struct error *e);
};

/* Listens on vsock port @number. @any_peer also takes connections from within the guest (tests). NULL with @e set. */
struct passfd *passfd_new(struct loop *loop, uint32_t number, bool any_peer, struct error *e);
/* Takes NULL. Claims must have ended. */
void passfd_free(struct passfd *passfd);

/* Wants the streams of the ports in @claim, whose `ports` and `done` are set. */
void passfd_claim(struct passfd *passfd, struct passfd_claim *claim, uint64_t timeout_ms);
/* Gives up; `done` is not called, streams that had come are closed. */
void passfd_abandon(struct passfd_claim *claim);

/* A request that names @ports is refused: those of its streams that are here are closed, as its caller expects. */
void passfd_refuse(struct passfd *passfd, const uint32_t ports[3]);
/* Moves the streams that a claim was given to @fds; -1 where there is none. */
void passfd_take(struct passfd_claim *claim, int fds[3]);

/* What the port does with a connection from @peer_port; @fd is taken. For tests without vsock. */
void passfd_arrived(struct passfd *passfd, int fd, uint32_t peer_port);
/* A table without a listener, for tests. */
struct passfd *passfd_table(struct loop *loop);
/* Connections that nobody has named yet. */
unsigned passfd_unclaimed(const struct passfd *passfd);

#endif
