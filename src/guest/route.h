/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_ROUTE_H
#define GUEST_ROUTE_H

/*
 * Routes of the main table: what the host sends, what the kernel has, and putting the one into the other.
 *
 * A route that is set takes the place of one to the same destination (with the same metric, which the wire does not carry);
 * nothing else is removed. The family is told by the texts, as hosts get the field wrong; it decides only where there is
 * no address at all.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/netlink.h"
#include "guest/ip.h"
#include "guest/link.h"
#include "proto/agent.pb-c.h"

struct route {
	uint8_t family;
	struct ip destination; /* family 0: the default route */
	uint8_t prefix;
	struct ip gateway; /* family 0: none; may be of the other family */
	struct ip source;  /* preferred; family 0: none */
	struct ip from;	   /* only packets from there; family 0: all */
	uint8_t from_prefix;
	int link;	/* index */
	uint8_t scope;	/* RT_SCOPE_*; IPv4 only */
	uint32_t flags; /* RTNH_F_ONLINK, RTNH_F_PERVASIVE */
	uint32_t mtu;	/* 0: the link's */
};

struct routes {
	struct route *items;
	size_t count;
};

/* The host's words, but for the link. Host bits of the destination and flags that are no setting are dropped. 0 or -errno
 * with @e set. */
int route_from_request(const Types__Route *in, struct route *out, struct error *e);
/* False for a message that tells of none, or of one of another table. */
bool route_from_message(const struct netlink_message *message, struct route *out);

/* All routes of the main table, IPv4 before IPv6. 0 or -errno with @e set. */
int routes_read(int fd, struct routes *out, struct error *e);
void routes_deinit(struct routes *routes);

int route_set(int fd, const struct route *route, struct error *e);
/*
 * Sets all that the host sent: first validated as a whole, then those without a gateway before the others, and again those
 * whose gateway could not be reached before others were there. IPv6 routes over a link without IPv6 are passed over. 0 or
 * -errno with @e set, which names the route; those that were set stay.
 */
int routes_update(int fd, Types__Route *const *routes, size_t count, struct error *e);
/* The main table as an answer in @arena. NULL with @e set. */
Grpc__Routes *routes_list(int fd, struct arena *arena, struct error *e);

/* What goes when the link is taken down: remembers the routes over it in every table, as the kernel tells them, and puts
 * them back. */
int routes_save(int fd, int link, struct buf *out, struct error *e);
void routes_restore(int fd, const struct buf *saved);

#define _cleanup_routes_ __attribute__((cleanup(routes_deinit)))

#endif
