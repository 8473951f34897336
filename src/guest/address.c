/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses by rtnetlink(7): RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR. */

#include "guest/address.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

bool address_from_message(const struct netlink_message *message, struct address *out)
{
	struct ifaddrmsg header;
	struct netlink_attribute table[IFA_FLAGS + 1];

	if (message->type != RTM_NEWADDR ||
	    !netlink_parse(message->payload, message->length, &header, sizeof(header), table, IFA_FLAGS + 1))
		return false;
	*out = (struct address){
		.link = (int)header.ifa_index,
		.prefix = header.ifa_prefixlen,
		.scope = header.ifa_scope,
		.flags = netlink_u32(table[IFA_FLAGS], header.ifa_flags),
	};
	/* IPv6 has the second alone, unless the link is point-to-point. */
	struct netlink_attribute peer = table[IFA_ADDRESS],
				 local = table[IFA_LOCAL].data ? table[IFA_LOCAL] : peer;
	if (!ip_from_bytes(header.ifa_family, local.data, local.length, &out->ip) ||
	    out->prefix > ip_bits(header.ifa_family))
		return false;
	if (!ip_from_bytes(header.ifa_family, peer.data, peer.length, &out->peer))
		out->peer = out->ip;
	return true;
}

static int take_all(const struct buf *answer, struct addresses *out)
{
	struct netlink_message message;
	size_t count = 0;

	struct netlink_reader reader = netlink_reader(buf_begin(answer), answer->length);
	while (netlink_next(&reader, &message))
		count++;
	out->items = calloc(count + 1, sizeof(*out->items));
	if (!out->items)
		return -ENOMEM;
	reader = netlink_reader(buf_begin(answer), answer->length);
	while (netlink_next(&reader, &message) && out->count < count)
		if (address_from_message(&message, &out->items[out->count]))
			out->count++;
	return 0;
}

int addresses_read(int fd, struct addresses *out, struct error *e)
{
	struct netlink_request request;
	_cleanup_buf_ struct buf answer = BUF_INIT;

	*out = (struct addresses){.items = NULL};
	netlink_request_init(&request, RTM_GETADDR, NLM_F_DUMP, sizeof(struct ifaddrmsg));
	int r = netlink_exchange(fd, &request, &answer, e);
	if (r < 0)
		return error_prefix(e, "list addresses");
	return take_all(&answer, out) < 0 ? error_errno(e, ENOMEM, "list addresses") : 0;
}

void addresses_deinit(struct addresses *addresses)
{
	free(addresses->items);
	*addresses = (struct addresses){.items = NULL};
}

const struct address *addresses_find(const struct addresses *addresses, const struct address *address)
{
	for (size_t i = 0; i < addresses->count; i++) {
		const struct address *other = &addresses->items[i];
		if (other->link == address->link && other->prefix == address->prefix &&
		    ip_equal(&other->ip, &address->ip) &&
		    (!address->peer.family || ip_equal(&other->peer, &address->peer)))
			return other;
	}
	return NULL;
}

static void describe(struct netlink_request *request, uint16_t type, uint16_t flags,
		     const struct address *address)
{
	const struct ip *peer = address->peer.family ? &address->peer : &address->ip;
	struct ifaddrmsg *header = netlink_request_init(request, type, flags, sizeof(*header));
	uint8_t length = ip_length(address->ip.family);

	header->ifa_family = address->ip.family;
	header->ifa_prefixlen = address->prefix;
	header->ifa_scope = address->scope;
	header->ifa_index = (uint32_t)address->link;
	if (address->ip.family == AF_INET6)
		header->ifa_flags = IFA_F_NODAD;
	netlink_put(request, IFA_ADDRESS, peer->bytes, length);
	netlink_put(request, IFA_LOCAL, address->ip.bytes, length);
}

int address_add(int fd, const struct address *address, struct error *e)
{
	struct netlink_request request;
	char text[IP_TEXT_MAX];

	describe(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, address);
	/* Networks of one or two addresses have none to spare for all. */
	if (address->ip.family == AF_INET && address->prefix < 31) {
		struct ip broadcast = address->ip;
		ip_fill(&broadcast, address->prefix);
		netlink_put(&request, IFA_BROADCAST, broadcast.bytes, ip_length(AF_INET));
	}
	int r = netlink_exchange(fd, &request, NULL, e);
	if (r == 0)
		return 0;
	ip_format_prefix(&address->ip, address->prefix, text);
	return error_prefix(e, "add address %s", text);
}

int address_remove(int fd, const struct address *address, struct error *e)
{
	struct netlink_request request;
	char text[IP_TEXT_MAX];

	describe(&request, RTM_DELADDR, 0, address);
	int r = netlink_exchange(fd, &request, NULL, e);
	if (r == 0)
		return 0;
	ip_format_prefix(&address->ip, address->prefix, text);
	return error_prefix(e, "remove address %s", text);
}
