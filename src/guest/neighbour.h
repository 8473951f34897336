/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_NEIGHBOUR_H
#define GUEST_NEIGHBOUR_H

/* Entries of the neighbour tables (ARP, IPv6 neighbour discovery) that the host knows of. */

#include <stddef.h>

#include "base/error.h"
#include "guest/ip.h"
#include "guest/link.h"
#include "proto/types.pb-c.h"

struct neighbour {
	struct ip ip;
	int link;
	uint8_t address[LINK_ADDRESS_MAX]; /* of the link layer */
	size_t address_length;		   /* 0: none */
	uint16_t state;			   /* NUD_* */
	uint8_t flags;			   /* NTF_* */
};

/* The host's words, but for the link. State 0 is NUD_PERMANENT. 0 or -errno with @e set. */
int neighbour_from_request(const Types__ARPNeighbor *in, struct neighbour *out, struct error *e);
int neighbour_set(int fd, const struct neighbour *neighbour, struct error *e);
/*
 * Sets all that the host sent, after all were found to be in order. IPv6 ones on a link without IPv6 are passed over. 0 or
 * -errno with @e set, which names the neighbour.
 */
int neighbours_add(int fd, Types__ARPNeighbor *const *neighbours, size_t count, struct error *e);

#endif
