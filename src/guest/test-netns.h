/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_TEST_NETNS_H
#define GUEST_TEST_NETNS_H

/* A network namespace of the test's own, with links to play with. It ends with the process. */

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/netlink.h"
#include "guest/address.h"
#include "guest/link.h"

static int netns_fd = -1; /* a socket in it */

/* For cmocka's group setup. */
static inline int netns_enter(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	netns_fd = netlink_open(NETLINK_ROUTE, 0);
	return netns_fd < 0 ? -1 : 0;
}

static inline int netns_leave(void **state)
{
	(void)state;
	netns_fd = fd_close(netns_fd);
	return 0;
}

/* A pair of veth links. */
static inline void netns_veth(const char *name, const uint8_t mac[6], const char *peer)
{
	struct netlink_request request;
	struct error e = ERROR_INIT;

	netlink_request_init(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	netlink_put_string(&request, IFLA_IFNAME, name);
	netlink_put(&request, IFLA_ADDRESS, mac, 6);
	size_t info = netlink_nest(&request, IFLA_LINKINFO);
	netlink_put_string(&request, IFLA_INFO_KIND, "veth");
	size_t data = netlink_nest(&request, IFLA_INFO_DATA);
	size_t other = netlink_nest(&request, VETH_INFO_PEER);
	static const struct ifinfomsg header;
	/* Room for its header, which is no attribute. */
	memcpy(request.bytes + request.header.nlmsg_len, &header, sizeof(header));
	request.header.nlmsg_len += sizeof(header);
	netlink_put_string(&request, IFLA_IFNAME, peer);
	netlink_nest_end(&request, other);
	netlink_nest_end(&request, data);
	netlink_nest_end(&request, info);
	if (netlink_exchange(netns_fd, &request, NULL, &e) < 0)
		fail_msg("veth: %s", e.text);
}

/* Kernels without veth have nothing to play with: the program then ends with this status. */
enum { NETNS_SKIP = 77 };

static inline bool netns_possible(void)
{
	struct error e = ERROR_INIT;
	struct netlink_request request;
	_cleanup_fd_ int fd = netlink_open(NETLINK_ROUTE, 0);

	netlink_request_init(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	/* No name that could be: the kind is looked up first, and nothing is made. */
	netlink_put_string(&request, IFLA_IFNAME, "a/b");
	size_t info = netlink_nest(&request, IFLA_LINKINFO);
	netlink_put_string(&request, IFLA_INFO_KIND, "veth");
	netlink_nest_end(&request, info);
	return netlink_exchange(fd, &request, NULL, &e) != -EOPNOTSUPP;
}

/* A tap link, which like a machine's device lies on no other. It lives until the returned descriptor is closed. */
static inline int netns_tap(const char *name, const uint8_t mac[6])
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	struct error e = ERROR_INIT;
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -1;
	memcpy(request.ifr_name, name, strlen(name) + 1);
	assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
	assert_int_equal(link_set_address(netns_fd, (int)if_nametoindex(name), mac, 6, &e), 0);
	return fd;
}

static inline void netns_delete(const char *name)
{
	struct netlink_request request;
	struct ifinfomsg *header = netlink_request_init(&request, RTM_DELLINK, 0, sizeof(*header));

	header->ifi_index = (int)if_nametoindex(name);
	if (header->ifi_index)
		(void)netlink_exchange(netns_fd, &request, NULL, NULL);
}

/* The link as it is now; index 0: none. */
static inline struct link netns_link(const char *name)
{
	_cleanup_links_ struct links links = {0};
	struct error e = ERROR_INIT;

	assert_int_equal(links_read(netns_fd, &links, &e), 0);
	const struct link *link = links_by_name(&links, name);
	return link ? *link : (struct link){0};
}

/* Whether the link has the address "ADDRESS/PREFIX"; its flags. */
static inline bool netns_has(const char *name, const char *text, uint32_t *flags)
{
	_cleanup_addresses_ struct addresses addresses = {0};
	struct error e = ERROR_INIT;
	struct address wanted = {.link = (int)if_nametoindex(name)};

	assert_int_equal(ip_parse_prefix(text, &wanted.ip, &wanted.prefix), 0);
	assert_int_equal(addresses_read(netns_fd, &addresses, &e), 0);
	const struct address *found = addresses_find(&addresses, &wanted);
	if (found && flags)
		*flags = found->flags;
	return found;
}

#endif
