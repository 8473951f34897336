/* SPDX-License-Identifier: Apache-2.0 */
/* Routes and neighbours as hosts send them, in a namespace of our own with one configured veth link. */

#include <errno.h>
#include <linux/neighbour.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "guest/neighbour.h"
#include "guest/route.h"
#include "guest/test-netns.h"

static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa}, mac_b[6] = {2, 0, 0, 0, 0, 0xb};

static void configure(const char *name, const char *const *texts, size_t count)
{
	struct link link = netns_link(name), peer;
	struct error e = ERROR_INIT;
	char other[IFNAMSIZ] = "peer0";

	other[4] = name[3];
	peer = netns_link(other);
	assert_int_equal(link_set_flags(netns_fd, link.index, IFF_UP, IFF_UP, &e), 0);
	assert_int_equal(link_set_flags(netns_fd, peer.index, IFF_UP, IFF_UP, &e), 0);
	for (size_t i = 0; i < count; i++) {
		struct address address = {.link = link.index};
		assert_int_equal(ip_parse_prefix(texts[i], &address.ip, &address.prefix), 0);
		assert_int_equal(address_add(netns_fd, &address, &e), 0);
	}
}

static int links_make(void **state)
{
	static const char *const zero[] = {"10.88.0.5/16", "fd00:88::5/64"}, *const one[] = {"10.99.0.5/16"};

	(void)state;
	netns_veth("eth0", mac_a, "peer0");
	netns_veth("eth1", mac_b, "peer1");
	configure("eth0", zero, array_length(zero));
	configure("eth1", one, array_length(one));
	return 0;
}

static int links_remove(void **state)
{
	(void)state;
	netns_delete("peer0");
	netns_delete("peer1");
	return 0;
}

struct sent {
	const char *dest, *gateway, *device, *source;
	uint32_t scope, flags, mtu, family;
};

enum { SENT_MAX = 8 };

static int send_routes(const struct sent *sent, size_t count, struct error *e)
{
	Types__Route routes[SENT_MAX], *list[SENT_MAX];

	for (size_t i = 0; i < count; i++) {
		types__route__init(&routes[i]);
		routes[i].dest = (char *)sent[i].dest;
		routes[i].gateway = (char *)(sent[i].gateway ? sent[i].gateway : "");
		routes[i].device = (char *)(sent[i].device ? sent[i].device : "eth0");
		routes[i].source = (char *)(sent[i].source ? sent[i].source : "");
		routes[i].scope = sent[i].scope;
		routes[i].flags = sent[i].flags;
		routes[i].mtu = sent[i].mtu;
		routes[i].family = (Types__IPFamily)sent[i].family;
		list[i] = &routes[i];
	}
	return routes_update(netns_fd, list, count, e);
}

static void assert_sent(const struct sent *sent, size_t count)
{
	struct error e = ERROR_INIT;

	if (send_routes(sent, count, &e) < 0)
		fail_msg("%s", e.text);
}

/* How often the answer has "DEST GATEWAY DEVICE SOURCE SCOPE FLAGS MTU FAMILY". */
static int listed(const char *wanted)
{
	struct error e = ERROR_INIT;
	struct arena *arena = arena_new(0);
	const Grpc__Routes *routes = routes_list(netns_fd, arena, &e);
	char text[256];
	int count = 0;

	assert_non_null(routes);
	for (size_t i = 0; i < routes->n_routes; i++) {
		const Types__Route *r = routes->routes[i];
		(void)snprintf(text, sizeof(text), "%s %s %s %s %u %u %u %d", r->dest, r->gateway, r->device,
			       r->source, r->scope, r->flags, r->mtu, (int)r->family);
		count += strcmp(text, wanted) == 0;
	}
	arena_free(arena);
	return count;
}

static void test_dual_stack_defaults(void **state)
{
	static const struct sent sent[] = {
		{.dest = "0.0.0.0/0", .gateway = "10.88.0.1", .source = "10.88.0.5"},
		{.dest = "::/0", .gateway = "fd00:88::1", .source = "fd00:88::5", .family = 1, .mtu = 1300},
	};

	(void)state;
	/* Twice: hosts repeat. */
	for (int i = 0; i < 2; i++) {
		assert_sent(sent, array_length(sent));
		assert_int_equal(listed("0.0.0.0/0 10.88.0.1 eth0 10.88.0.5 0 0 0 0"), 1);
		assert_int_equal(listed("::/0 fd00:88::1 eth0 fd00:88::5 0 0 1300 1"), 1);
	}
	assert_int_equal(listed("10.88.0.0/16  eth0 10.88.0.5 253 0 0 0"), 1);
}

/* Calico: the gateway becomes reachable by a route that the host sends after the one that needs it. */
static void test_order_does_not_matter(void **state)
{
	static const struct sent sent[] = {
		{.dest = "", .gateway = "169.254.1.1"},
		{.dest = "169.254.1.1/32", .scope = 253},
	};
	/* No link route, but a gateway that says itself on-link. */
	static const struct sent onlink = {
		.dest = "172.16.0.0/12", .gateway = "192.168.7.1", .flags = 4 | 1 | 16};

	(void)state;
	assert_sent(sent, array_length(sent));
	assert_int_equal(listed("0.0.0.0/0 169.254.1.1 eth0  0 0 0 0"), 1);
	assert_int_equal(listed("169.254.1.1/32  eth0  253 0 0 0"), 1);
	/* Dead and link-down are states, no settings. */
	assert_sent(&onlink, 1);
	assert_int_equal(listed("172.16.0.0/12 192.168.7.1 eth0  0 4 0 0"), 1);
}

static void test_words_that_hosts_get_wrong(void **state)
{
	static const struct sent sent[] = {
		{.dest = "192.168.7.9/24", .scope = 253},	       /* host bits */
		{.dest = "192.168.8.0/255.255.255.0", .scope = 253},   /* a netmask */
		{.dest = "192.168.9.0/24", .scope = 253, .family = 1}, /* the family */
		{.dest = "fd00:99::/64", .gateway = "fd00:88::1", .family = 0},
		{.dest = "192.168.10.0/24", .gateway = "0.0.0.0", .scope = 253},
	};

	(void)state;
	assert_sent(sent, array_length(sent));
	assert_int_equal(listed("192.168.7.0/24  eth0  253 0 0 0"), 1);
	assert_int_equal(listed("192.168.8.0/24  eth0  253 0 0 0"), 1);
	assert_int_equal(listed("192.168.9.0/24  eth0  253 0 0 0"), 1);
	assert_int_equal(listed("fd00:99::/64 fd00:88::1 eth0  0 0 0 1"), 1);
	assert_int_equal(listed("192.168.10.0/24  eth0  253 0 0 0"), 1);
}

static void test_routes_replace(void **state)
{
	static const struct sent first = {.dest = "0.0.0.0/0", .gateway = "10.88.0.1"};
	static const struct sent second = {.dest = "0.0.0.0/0", .gateway = "10.99.0.1", .device = "eth1"};
	static const struct sent only_device = {.dest = "", .scope = 253};

	(void)state;
	assert_sent(&first, 1);
	assert_sent(&second, 1);
	assert_int_equal(listed("0.0.0.0/0 10.88.0.1 eth0  0 0 0 0"), 0);
	assert_int_equal(listed("0.0.0.0/0 10.99.0.1 eth1  0 0 0 0"), 1);
	assert_sent(&only_device, 1);
	assert_int_equal(listed("0.0.0.0/0  eth0  253 0 0 0"), 1);
}

static void test_bad_routes_change_nothing(void **state)
{
	static const struct sent good = {.dest = "192.168.7.0/24", .scope = 253};
	static const struct {
		struct sent bad;
		const char *text;
	} table[] = {
		{{.dest = "x", .scope = 253}, "destination \"x\" is no address"},
		{{.dest = "10.0.0.0/8", .gateway = "y"}, "gateway \"y\" is no address"},
		{{.dest = "10.0.0.0/8", .gateway = "fd00::1"}, "addresses of two families"},
		{{.dest = "10.0.0.0/8", .source = "z"}, "source \"z\" is no address"},
		{{.dest = "10.0.0.0/8", .scope = 256}, "scope 256 is out of range"},
		{{.dest = "10.0.0.0/8", .device = "eth9"}, "Link not found (Name: eth9)"},
		{{.dest = "10.0.0.0/8", .device = "../x"}, "is no name of a link"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(table); i++) {
		const struct sent both[] = {good, table[i].bad};
		struct error e = ERROR_INIT;
		assert_true(send_routes(both, 2, &e) < 0);
		assert_non_null(strstr(e.text, table[i].text));
		assert_int_equal(listed("192.168.7.0/24  eth0  253 0 0 0"), 0);
	}
	/* One that only the kernel can refuse is named; it does not keep others back that come before it. */
	static const struct sent both[] = {{.dest = "1.2.3.0/24", .gateway = "99.0.0.1"},
					   {.dest = "192.168.7.0/24", .scope = 253}};
	struct error e = ERROR_INIT;
	assert_int_equal(send_routes(both, 2, &e), -ENETUNREACH);
	assert_non_null(strstr(e.text, "route to \"1.2.3.0/24\" via \"99.0.0.1\""));
	assert_non_null(strstr(e.text, "ENETUNREACH: Network is unreachable"));
	assert_int_equal(listed("192.168.7.0/24  eth0  253 0 0 0"), 1);
}

static void test_routes_without_ipv6(void **state)
{
	static const struct sent sent[] = {
		{.dest = "::/0", .gateway = "fd00:88::1", .family = 1},
		{.dest = "0.0.0.0/0", .gateway = "10.88.0.1"},
	};

	(void)state;
	assert_int_equal(file_write(AT_FDCWD, "/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1"), 0);
	assert_sent(sent, array_length(sent));
	assert_int_equal(listed("0.0.0.0/0 10.88.0.1 eth0  0 0 0 0"), 1);
}

static void test_saved_routes_come_back(void **state)
{
	static const struct sent sent[] = {
		{.dest = "0.0.0.0/0", .gateway = "169.254.1.1"},
		{.dest = "169.254.1.1/32", .scope = 253},
		{.dest = "fd00:99::/64", .gateway = "fd00:88::1", .family = 1, .mtu = 1300},
	};
	struct link link = netns_link("eth0");
	struct address address = {.link = link.index, .prefix = 64};
	struct error e = ERROR_INIT;
	_cleanup_buf_ struct buf saved = BUF_INIT;

	(void)state;
	assert_sent(sent, array_length(sent));
	assert_int_equal(routes_save(netns_fd, link.index, &saved, &e), 0);
	assert_int_equal(link_set_flags(netns_fd, link.index, IFF_UP, 0, &e), 0);
	assert_int_equal(listed("0.0.0.0/0 169.254.1.1 eth0  0 0 0 0"), 0);
	assert_int_equal(link_set_flags(netns_fd, link.index, IFF_UP, IFF_UP, &e), 0);
	assert_int_equal(ip_parse("fd00:88::5", &address.ip), 0);
	assert_int_equal(address_add(netns_fd, &address, &e), 0);
	routes_restore(netns_fd, &saved);
	assert_int_equal(listed("0.0.0.0/0 169.254.1.1 eth0  0 0 0 0"), 1);
	assert_int_equal(listed("169.254.1.1/32  eth0  253 0 0 0"), 1);
	assert_int_equal(listed("fd00:99::/64 fd00:88::1 eth0  0 0 1300 1"), 1);
}

/* --- neighbours --------------------------------------------------------------------------------------------- */

/* State of the neighbour @ip; -1: none. */
static int neighbour_state(const char *ip, uint8_t *flags)
{
	struct netlink_request request;
	struct netlink_message message;
	struct error e = ERROR_INIT;
	_cleanup_buf_ struct buf answer = BUF_INIT;
	struct ip wanted, found;

	assert_int_equal(ip_parse(ip, &wanted), 0);
	netlink_request_init(&request, RTM_GETNEIGH, NLM_F_DUMP, sizeof(struct ndmsg));
	assert_int_equal(netlink_exchange(netns_fd, &request, &answer, &e), 0);
	struct netlink_reader reader = netlink_reader(buf_begin(&answer), answer.length);
	while (netlink_next(&reader, &message)) {
		struct ndmsg header;
		struct netlink_attribute table[NDA_LLADDR + 1];
		assert_true(netlink_parse(message.payload, message.length, &header, sizeof(header), table,
					  NDA_LLADDR + 1));
		if (!ip_from_bytes(header.ndm_family, table[NDA_DST].data, table[NDA_DST].length, &found) ||
		    !ip_equal(&found, &wanted))
			continue;
		if (flags)
			*flags = header.ndm_flags;
		return header.ndm_state;
	}
	return -1;
}

struct told {
	const char *ip, *device, *mac;
	int32_t state, flags;
};

static int send_neighbours(const struct told *told, size_t count, struct error *e)
{
	Types__ARPNeighbor neighbours[SENT_MAX], *list[SENT_MAX];
	Types__IPAddress addresses[SENT_MAX];

	for (size_t i = 0; i < count; i++) {
		types__arpneighbor__init(&neighbours[i]);
		types__ipaddress__init(&addresses[i]);
		addresses[i].address = (char *)(told[i].ip ? told[i].ip : "");
		neighbours[i].toipaddress = told[i].ip ? &addresses[i] : NULL;
		neighbours[i].device = (char *)(told[i].device ? told[i].device : "eth0");
		neighbours[i].lladdr = (char *)told[i].mac;
		neighbours[i].state = told[i].state;
		neighbours[i].flags = told[i].flags;
		list[i] = &neighbours[i];
	}
	return neighbours_add(netns_fd, list, count, e);
}

static void test_neighbours(void **state)
{
	static const struct told told[] = {
		{.ip = "10.88.0.1", .mac = "8a:11:22:33:44:55"},
		{.ip = "10.88.0.2", .mac = "8a:11:22:33:44:56", .state = NUD_REACHABLE},
		{.ip = "fd00:88::1", .mac = "8a:11:22:33:44:57", .state = NUD_PERMANENT, .flags = NTF_ROUTER},
	};
	struct error e = ERROR_INIT;
	uint8_t flags = 0;

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(send_neighbours(told, array_length(told), &e), 0);
	assert_int_equal(neighbour_state("10.88.0.1", NULL), NUD_PERMANENT);
	assert_int_equal(neighbour_state("10.88.0.2", NULL), NUD_REACHABLE);
	assert_int_equal(neighbour_state("fd00:88::1", &flags), NUD_PERMANENT);
	assert_int_equal(flags & NTF_ROUTER, NTF_ROUTER);
}

static void test_bad_neighbours_change_nothing(void **state)
{
	static const struct told good = {.ip = "10.88.0.1", .mac = "8a:11:22:33:44:55"};
	static const struct {
		struct told bad;
		const char *text;
	} table[] = {
		{{.ip = NULL, .mac = "8a:11:22:33:44:55"}, "no address"},
		{{.ip = "", .mac = "8a:11:22:33:44:55"}, "no address"},
		{{.ip = "10.88.0.300", .mac = "8a:11:22:33:44:55"}, "\"10.88.0.300\" is no address"},
		{{.ip = "10.88.0.3", .mac = "8a:11"}, "\"8a:11\" is no MAC address"},
		{{.ip = "10.88.0.3", .mac = "8a:11:22:33:44:55", .device = "eth9"},
		 "Link not found (Name: eth9)"},
		{{.ip = "10.88.0.3", .mac = "8a:11:22:33:44:55", .state = -1}, "state -1 is out of range"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(table); i++) {
		const struct told both[] = {good, table[i].bad};
		struct error e = ERROR_INIT;
		assert_true(send_neighbours(both, 2, &e) < 0);
		assert_non_null(strstr(e.text, table[i].text));
		assert_int_equal(neighbour_state("10.88.0.1", NULL), -1);
	}
	/* Permanent needs an address. */
	static const struct told kernels = {.ip = "10.88.0.3", .mac = ""};
	struct error e = ERROR_INIT;
	assert_int_equal(send_neighbours(&kernels, 1, &e), -EINVAL);
}

#define on_links(test) cmocka_unit_test_setup_teardown(test, links_make, links_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_links(test_dual_stack_defaults),	      on_links(test_order_does_not_matter),
		on_links(test_words_that_hosts_get_wrong),    on_links(test_routes_replace),
		on_links(test_bad_routes_change_nothing),     on_links(test_routes_without_ipv6),
		on_links(test_saved_routes_come_back),	      on_links(test_neighbours),
		on_links(test_bad_neighbours_change_nothing),
	};

	if (!netns_possible())
		return NETNS_SKIP;
	return cmocka_run_group_tests(tests, netns_enter, netns_leave);
}
