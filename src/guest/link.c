/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links by rtnetlink(7). At the guest's start the loopback is set up by the socket ioctls of netdevice(7): for one flag of one
 * link no netlink is needed.
 */

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/str.h"
#include "guest/link.h"

int link_up(const char *name, struct error *e)
{
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};
	size_t length = strlen(name);

	if (length == 0 || length >= sizeof(request.ifr_name))
		return error_set(e, STATUS_INTERNAL, EINVAL, "\"%.64s\" is no name of a link", name);
	/* A guest kernel may come without IPv4. */
	if (fd < 0)
		fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_errno(e, errno, "set link \"%s\" up", name);
	memcpy(request.ifr_name, name, length + 1);
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return error_errno(e, errno, "set link \"%s\" up", name);
	if (request.ifr_flags & IFF_UP)
		return 0;
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return error_errno(e, errno, "set link \"%s\" up", name);
	return 0;
}

/* --- texts -------------------------------------------------------------------------------------------------- */

bool link_name_valid(const char *name)
{
	size_t length = strlen(str_or_empty(name));

	if (length == 0 || length >= IFNAMSIZ || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	for (; *name; name++)
		if (*name == '/' || *name == ':' || isspace((unsigned char)*name))
			return false;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int link_mac_parse(const char *text, uint8_t out[LINK_MAC_LENGTH])
{
	uint8_t mac[LINK_MAC_LENGTH];

	for (int i = 0; i < LINK_MAC_LENGTH; i++) {
		if (i > 0 && *text++ != ':')
			return -EINVAL;
		int digit = hex_digit(*text);
		if (digit < 0)
			return -EINVAL;
		mac[i] = (uint8_t)digit;
		digit = hex_digit(*++text);
		if (digit >= 0) {
			mac[i] = (uint8_t)(mac[i] << 4 | digit);
			text++;
		}
	}
	if (*text)
		return -EINVAL;
	memcpy(out, mac, sizeof(mac));
	return 0;
}

void link_mac_format(const struct link *link, char out[LINK_MAC_TEXT_MAX])
{
	static const char digits[] = "0123456789abcdef";
	char *to = out;

	*out = '\0';
	if (link->address_length == 4 || link->address_length == 16) {
		int family = link->address_length == 4 ? AF_INET : AF_INET6;
		if (!inet_ntop(family, link->address, out, LINK_MAC_TEXT_MAX))
			*out = '\0';
		return;
	}
	for (uint8_t i = 0; i < link->address_length; i++) {
		if (i > 0)
			*to++ = ':';
		*to++ = digits[link->address[i] >> 4];
		*to++ = digits[link->address[i] & 15];
	}
	*to = '\0';
}

/* --- reading ------------------------------------------------------------------------------------------------ */

bool link_from_message(const struct netlink_message *message, struct link *out)
{
	struct ifinfomsg header;
	struct netlink_attribute table[IFLA_LINK + 1], address;

	/* An AF_BRIDGE message tells of a port, not of a link. */
	if (message->type != RTM_NEWLINK ||
	    !netlink_parse(message->payload, message->length, &header, sizeof(header), table,
			   IFLA_LINK + 1) ||
	    header.ifi_index <= 0 || header.ifi_family != AF_UNSPEC)
		return false;
	*out = (struct link){
		.index = header.ifi_index,
		.flags = header.ifi_flags,
		.type = header.ifi_type,
		.mtu = netlink_u32(table[IFLA_MTU], 0),
	};
	/* The other end of a veth in another namespace is told of too; that is no stacking, but does no harm here. */
	out->stacked = netlink_u32(table[IFLA_LINK], 0) != 0;
	if (!netlink_string(table[IFLA_IFNAME], out->name, sizeof(out->name)) || !link_name_valid(out->name))
		return false;
	address = table[IFLA_ADDRESS];
	if (address.data && address.length <= sizeof(out->address)) {
		memcpy(out->address, address.data, address.length);
		out->address_length = (uint8_t)address.length;
	}
	return true;
}

int links_read(int fd, struct links *out, struct error *e)
{
	struct netlink_request request;
	_cleanup_buf_ struct buf answer = BUF_INIT;
	struct netlink_message message;
	size_t count = 0;

	*out = (struct links){.items = NULL};
	netlink_request_init(&request, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
	int r = netlink_exchange(fd, &request, &answer, e);
	if (r < 0)
		return error_prefix(e, "list links");
	struct netlink_reader reader = netlink_reader(buf_begin(&answer), answer.length);
	while (netlink_next(&reader, &message))
		count++;
	out->items = calloc(count + 1, sizeof(*out->items));
	if (!out->items)
		return error_errno(e, ENOMEM, "list links");
	reader = netlink_reader(buf_begin(&answer), answer.length);
	while (netlink_next(&reader, &message) && out->count < count)
		if (link_from_message(&message, &out->items[out->count]))
			out->count++;
	return 0;
}

void links_deinit(struct links *links)
{
	free(links->items);
	*links = (struct links){.items = NULL};
}

const struct link *links_by_name(const struct links *links, const char *name)
{
	for (size_t i = 0; i < links->count; i++)
		if (strcmp(links->items[i].name, name) == 0)
			return &links->items[i];
	return NULL;
}

const struct link *links_by_index(const struct links *links, int index)
{
	for (size_t i = 0; i < links->count; i++)
		if (links->items[i].index == index)
			return &links->items[i];
	return NULL;
}

const struct link *links_by_mac(const struct links *links, const uint8_t mac[LINK_MAC_LENGTH],
				const char *name)
{
	const struct link *found = NULL;

	for (size_t i = 0; i < links->count; i++) {
		const struct link *link = &links->items[i];
		if (link->address_length != LINK_MAC_LENGTH || (link->flags & IFF_LOOPBACK) ||
		    memcmp(link->address, mac, LINK_MAC_LENGTH) != 0)
			continue;
		if (strcmp(link->name, name) == 0)
			return link;
		if (!found || (found->stacked && !link->stacked))
			found = link;
	}
	return found;
}

int links_need(const struct links *links, const char *name, const struct link **out, struct error *e)
{
	*out = links_by_name(links, name);
	return *out ? 0 : error_set(e, STATUS_INTERNAL, ENODEV, "Link not found (Name: %s)", name);
}

/* --- changes ------------------------------------------------------------------------------------------------ */

static struct ifinfomsg *change(struct netlink_request *request, int index)
{
	struct ifinfomsg *link = netlink_request_init(request, RTM_NEWLINK, 0, sizeof(*link));

	link->ifi_index = index;
	return link;
}

int link_set_flags(int fd, int index, uint32_t mask, uint32_t value, struct error *e)
{
	struct netlink_request request;
	struct ifinfomsg *link = change(&request, index);

	link->ifi_change = mask;
	link->ifi_flags = value & mask;
	int r = netlink_exchange(fd, &request, NULL, e);
	return r < 0 ? error_prefix(e, "set flags %#x to %#x", mask, value & mask) : 0;
}

int link_set_mtu(int fd, int index, uint32_t mtu, struct error *e)
{
	struct netlink_request request;

	change(&request, index);
	netlink_put_u32(&request, IFLA_MTU, mtu);
	int r = netlink_exchange(fd, &request, NULL, e);
	return r < 0 ? error_prefix(e, "set MTU %u", mtu) : 0;
}

int link_set_address(int fd, int index, const uint8_t *address, size_t length, struct error *e)
{
	struct netlink_request request;

	change(&request, index);
	netlink_put(&request, IFLA_ADDRESS, address, length);
	int r = netlink_exchange(fd, &request, NULL, e);
	return r < 0 ? error_prefix(e, "set the link's address") : 0;
}

int link_set_name(int fd, int index, const char *name, struct error *e)
{
	struct netlink_request request;

	change(&request, index);
	netlink_put_string(&request, IFLA_IFNAME, name);
	int r = netlink_exchange(fd, &request, NULL, e);
	return r < 0 ? error_prefix(e, "rename to \"%s\"", name) : 0;
}
