/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_ADDRESS_H
#define GUEST_ADDRESS_H

/*
 * IP addresses of links.
 *
 * IPv6 addresses are set without duplicate address detection: they are assigned by an orchestrator, and a pod that
 * cannot bind to its address for its first second and a half is of no use to anybody.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/netlink.h"
#include "guest/ip.h"

struct address {
	int link; /* index */
	struct ip ip;
	struct ip peer; /* the other end's where the link is point-to-point, else as ip */
	uint8_t prefix;
	uint8_t scope;	/* RT_SCOPE_* */
	uint32_t flags; /* IFA_F_* */
};

struct addresses {
	struct address *items;
	size_t count;
};

/* False for a message that does not tell of one. */
bool address_from_message(const struct netlink_message *message, struct address *out);
/* All addresses of all links, IPv4 before IPv6. 0 or -errno with @e set. */
int addresses_read(int fd, struct addresses *out, struct error *e);
void addresses_deinit(struct addresses *addresses);
/* NULL: none. The same link, address and prefix; the peer where @address has one. */
const struct address *addresses_find(const struct addresses *addresses, const struct address *address);

/* Both: 0 or -errno with @e set. An address that is there already is brought up to date. */
int address_add(int fd, const struct address *address, struct error *e);
int address_remove(int fd, const struct address *address, struct error *e);

#define _cleanup_addresses_ __attribute__((cleanup(addresses_deinit)))

#endif
