/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams of a netlink socket: every reader of messages sees every message. What they accept must be safe to use: names
 * without a way out, lengths within bounds. Errors carry the kernel's sentence. The rest of the bytes, as texts, are places
 * and addresses.
 */

#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/netlink.h"
#include "guest/address.h"
#include "guest/link.h"
#include "guest/network_path.h"
#include "guest/route.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void read_links(const struct netlink_message *message)
{
	struct link link;
	char text[LINK_MAC_TEXT_MAX];

	if (!link_from_message(message, &link))
		return;
	if (link.index <= 0 || !link_name_valid(link.name) || link.address_length > LINK_ADDRESS_MAX)
		abort();
	link_mac_format(&link, text);
}

static void read_message(const struct netlink_message *message)
{
	struct address address;
	struct route route;
	struct error e = ERROR_INIT;
	char text[IP_TEXT_MAX];

	read_links(message);
	if (address_from_message(message, &address)) {
		if (address.prefix > ip_bits(address.ip.family))
			abort();
		ip_format_prefix(&address.ip, address.prefix, text);
	}
	if (route_from_message(message, &route)) {
		if (route.prefix > 128)
			abort();
		ip_format(&route.gateway, text);
	}
	int r = netlink_message_error(message, &e);
	if (r > 0 || (r < 0 && !*e.text))
		abort();
}

static void read_text(const unsigned char *data, size_t size)
{
	char *text = malloc(size + 1);
	struct network_path path;
	struct ip ip;
	uint8_t prefix;

	if (!text)
		return;
	memcpy(text, data, size);
	text[size] = '\0';
	if (network_path_parse(text, &path) == 0) {
		if (path.depth > NETWORK_PATH_DEPTH)
			abort();
		(void)network_path_matches(&path, text);
	}
	if (ip_parse_prefix(text, &ip, &prefix) == 0 && prefix > ip_bits(ip.family))
		abort();
	(void)network_path_parse("02/03", &path);
	(void)network_path_matches(&path, text);
	(void)link_name_valid(text);
	free(text);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct netlink_reader reader = netlink_reader(data, size);
	struct netlink_message message;

	while (netlink_next(&reader, &message))
		read_message(&message);
	read_text(data, size);
	return 0;
}
