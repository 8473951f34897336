/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_NETWORK_H
#define GUEST_NETWORK_H

/*
 * The guest's network, for callers that must not wait: what the host asks for, done one after the other.
 *
 * Each piece of work runs in a job, since bringing a device up may take its driver a while, and the kernel has one lock
 * for all of rtnetlink. They run one at a time, in the order in which they came, so that two interfaces that swap their
 * names do not meet. Work on an interface whose device is not there yet waits beside the queue and holds nobody up:
 * for its place in the machine (`devicePath`) by uevents, for its MAC address by the kernel's news of links. Both end with
 * the time-out for hot-plugging.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "guest/uevent.h"

enum network_operation {
	NETWORK_UPDATE_INTERFACE, /* request: Types__Interface; no answer */
	NETWORK_UPDATE_ROUTES,	  /* Grpc__Routes; answer: Grpc__Routes, all there are */
	NETWORK_ADD_NEIGHBOURS,	  /* Grpc__ARPNeighbors; no answer */
	NETWORK_LIST_INTERFACES,  /* NULL; answer: Grpc__Interfaces */
	NETWORK_LIST_ROUTES,	  /* NULL; answer: Grpc__Routes */
};

struct network;
struct network_work;

/* @uevents may be NULL: then no place is waited for. NULL when memory is out. */
struct network *network_new(struct loop *loop, struct uevents *uevents, uint64_t hotplug_timeout_ms);
/* Takes NULL. Nobody is called any more. */
void network_free(struct network *network);

/*
 * @answer is a message as bytes and ends with the call. @r: 0, or -errno with @e set: texts as of the reference, "update
 * interface: Link not found (…)" where there is no such link.
 */
typedef void (*network_done_fn)(int r, const void *answer, size_t length, const struct error *e, void *data);

/* @request must live until @done, which is called once, from the loop, never before this returns. NULL with @e set. */
struct network_work *network_start(struct network *network, enum network_operation operation,
				   const void *request, network_done_fn done, void *data, struct error *e);
/* Its `done` is not called any more, its request not read. What runs already goes on to its end. Takes NULL; not to be
 * called after `done`. */
void network_abandon(struct network_work *work);

#endif
