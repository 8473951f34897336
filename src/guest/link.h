/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_LINK_H
#define GUEST_LINK_H

/*
 * Network links: what there is, and one change at a time.
 *
 * @fd is a socket of netlink_open(NETLINK_ROUTE, 0); the links are those of its namespace. Changes block as long as the
 * kernel's driver takes. Each changes what it is named after and nothing else: flags are set by value and mask.
 */

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/netlink.h"

enum { LINK_ADDRESS_MAX = 32, LINK_MAC_LENGTH = 6, LINK_MAC_TEXT_MAX = LINK_ADDRESS_MAX * 3 };

struct link {
	int index;	/* 0: none */
	uint32_t flags; /* IFF_* */
	uint16_t type;	/* ARPHRD_* */
	uint32_t mtu;
	char name[IFNAMSIZ];
	uint8_t address[LINK_ADDRESS_MAX]; /* of the link layer */
	uint8_t address_length;
	bool stacked; /* it lies on another link (a VLAN, a macvlan), whose address it may share */
};

struct links {
	struct link *items;
	size_t count;
};

/* Sets the link named @name up. 0 or -errno with @e set (ENODEV when there is none). Needs no netlink. */
int link_up(const char *name, struct error *e);

/* 1 to 15 bytes, no '/', ':' or blank, not "." or "..": what the kernel takes for a name. */
bool link_name_valid(const char *name);
/* "02:00:00:00:00:01": six parts of one or two hexadecimal digits. 0 or -EINVAL. */
int link_mac_parse(const char *text, uint8_t out[LINK_MAC_LENGTH]);
/* Lower-case hexadecimal with ':'; an address of 4 bytes as IPv4 has it, one of 16 as IPv6. */
void link_mac_format(const struct link *link, char out[LINK_MAC_TEXT_MAX]);

/* False for a message that does not tell of a link. */
bool link_from_message(const struct netlink_message *message, struct link *out);
/* All links, in the order of their indices. 0 or -errno with @e set. */
int links_read(int fd, struct links *out, struct error *e);
void links_deinit(struct links *links);
/* NULL: none. */
const struct link *links_by_name(const struct links *links, const char *name);
const struct link *links_by_index(const struct links *links, int index);
/*
 * The link with this address. Of several: the one that is called @name, else the first that lies on no other link, else
 * the first. Never the loopback.
 */
const struct link *links_by_mac(const struct links *links, const uint8_t mac[LINK_MAC_LENGTH],
				const char *name);
/* As by name; -ENODEV and "Link not found (Name: NAME)", on which hosts try again. */
int links_need(const struct links *links, const char *name, const struct link **out, struct error *e);

/* All: 0 or the kernel's -errno with @e set. */
int link_set_flags(int fd, int index, uint32_t mask, uint32_t value, struct error *e);
int link_set_mtu(int fd, int index, uint32_t mtu, struct error *e);
int link_set_address(int fd, int index, const uint8_t *address, size_t length, struct error *e);
int link_set_name(int fd, int index, const char *name, struct error *e);

#define _cleanup_links_ __attribute__((cleanup(links_deinit)))

#endif
