/* SPDX-License-Identifier: Apache-2.0 */
/* Neighbours by rtnetlink(7): RTM_NEWNEIGH. */

#include "guest/neighbour.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"

int neighbour_from_request(const Types__ARPNeighbor *in, struct neighbour *out, struct error *e)
{
	const char *address = in->toipaddress ? in->toipaddress->address : "";
	struct neighbour neighbour = {.state = in->state ? (uint16_t)in->state : NUD_PERMANENT,
				      .flags = (uint8_t)(in->flags & 0xff)};

	if (str_is_empty(address))
		return error_set(e, STATUS_INTERNAL, EINVAL, "no address");
	if (ip_parse(address, &neighbour.ip) < 0)
		return error_set(e, STATUS_INTERNAL, EINVAL, "\"%s\" is no address", address);
	if (!link_name_valid(in->device))
		return error_set(e, STATUS_INTERNAL, EINVAL, "\"%s\" is no name of a link", in->device);
	if (in->state < 0 || in->state > UINT16_MAX)
		return error_set(e, STATUS_INTERNAL, EINVAL, "state %d is out of range", in->state);
	if (!str_is_empty(in->lladdr)) {
		if (link_mac_parse(in->lladdr, neighbour.address) < 0)
			return error_set(e, STATUS_INTERNAL, EINVAL, "\"%s\" is no MAC address", in->lladdr);
		neighbour.address_length = LINK_MAC_LENGTH;
	}
	*out = neighbour;
	return 0;
}

int neighbour_set(int fd, const struct neighbour *neighbour, struct error *e)
{
	struct netlink_request request;
	struct ndmsg *header =
		netlink_request_init(&request, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*header));

	header->ndm_family = neighbour->ip.family;
	header->ndm_ifindex = neighbour->link;
	header->ndm_state = neighbour->state;
	header->ndm_flags = neighbour->flags;
	netlink_put(&request, NDA_DST, neighbour->ip.bytes, ip_length(neighbour->ip.family));
	if (neighbour->address_length > 0)
		netlink_put(&request, NDA_LLADDR, neighbour->address, neighbour->address_length);
	return netlink_exchange(fd, &request, NULL, e);
}

static int describe(const Types__ARPNeighbor *neighbour, struct error *e)
{
	return error_prefix(e, "neighbour \"%s\" at \"%s\" on \"%s\"",
			    neighbour->toipaddress ? neighbour->toipaddress->address : "", neighbour->lladdr,
			    neighbour->device);
}

int neighbours_add(int fd, Types__ARPNeighbor *const *in, size_t count, struct error *e)
{
	_cleanup_links_ struct links links = {0};
	_cleanup_free_ struct neighbour *neighbours = calloc(count + 1, sizeof(*neighbours));

	if (!neighbours)
		return error_errno(e, ENOMEM, "neighbours");
	if (links_read(fd, &links, e) < 0)
		return error_result(e);
	for (size_t i = 0; i < count; i++) {
		const struct link *link;
		if (neighbour_from_request(in[i], &neighbours[i], e) < 0 ||
		    links_need(&links, in[i]->device, &link, e) < 0)
			return describe(in[i], e);
		if (neighbours[i].ip.family == AF_INET || ipv6_usable(link->name))
			neighbours[i].link = link->index;
	}
	for (size_t i = 0; i < count; i++)
		if (neighbours[i].link && neighbour_set(fd, &neighbours[i], e) < 0)
			return describe(in[i], e);
	return 0;
}
