/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_INTERFACE_H
#define GUEST_INTERFACE_H

/*
 * A network interface as the host describes it, and making a link into that.
 *
 * The link is looked up by where it is in the machine (where the host says so), else by its MAC address. Then only what
 * differs is changed, on the living link: doing it again changes nothing, and a link is taken down only where the kernel
 * or its driver insist, with its routes and addresses put back. A step that fails undoes those before it. Addresses
 * converge: permanent ones that the host did not name go, but for link-local ones; when it named none, all stay.
 *
 * A link of the wanted name is taken for the interface, and given its MAC address, in one case only (a guest restored from
 * a template, whose link has the template's address): the wanted address has not come up in time, and the link is
 * the only Ethernet link that nobody has configured.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "guest/address.h"
#include "guest/link.h"
#include "proto/agent.pb-c.h"

struct interface {
	char name[IFNAMSIZ]; /* "": the one it has stays */
	bool has_mac;
	uint8_t mac[LINK_MAC_LENGTH];
	uint32_t mtu; /* 0: stays */
	bool no_arp;
	struct address *addresses; /* links are not set */
	size_t n_addresses;
};

/* Reads and validates the host's words; see interface_deinit(). 0 or -errno with @e set. */
int interface_init(struct interface *interface, const Types__Interface *in, struct error *e);
void interface_deinit(struct interface *interface);

enum interface_result {
	INTERFACE_DONE,
	INTERFACE_MISSING,   /* no link has its MAC address; @e says "Link not found (Address: …)" */
	INTERFACE_CANDIDATE, /* likewise, but there is a link that would be taken for it */
};

/*
 * @directory: of sysfs, holding the name of the link that it is ("/sys/devices/…/net"), or NULL; what cannot be found by
 * it is looked for by MAC address. @take: a candidate is taken. An enum interface_result, or -errno with @e set.
 */
int interface_update(int fd, const struct interface *interface, const char *directory, bool take,
		     struct error *e);

/* All interfaces as an answer in @arena. NULL with @e set. */
Grpc__Interfaces *interfaces_list(int fd, struct arena *arena, struct error *e);

#define _cleanup_interface_ __attribute__((cleanup(interface_deinit)))

#endif
