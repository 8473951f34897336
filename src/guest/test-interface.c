/* SPDX-License-Identifier: Apache-2.0 */
/* Interfaces as hosts describe them, made out of veth and tap links in a namespace of our own. */

#include <errno.h>
#include <linux/if_addr.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "guest/interface.h"
#include "guest/route.h"
#include "guest/test-netns.h"

static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa}, mac_b[6] = {2, 0, 0, 0, 0, 0xb},
		     mac_c[6] = {2, 0, 0, 0, 0, 0xc};

static int links_make(void **state)
{
	(void)state;
	netns_veth("eth0", mac_a, "peer0");
	netns_veth("eth1", mac_b, "peer1");
	return 0;
}

static int links_remove(void **state)
{
	static const char *const names[] = {"peer0", "peer1", "peer2"};

	(void)state;
	for (size_t i = 0; i < array_length(names); i++)
		netns_delete(names[i]);
	return 0;
}

struct wanted {
	const char *name, *mac, *addresses[4], *path;
	uint64_t mtu;
	uint32_t flags;
};

static int update_at(const struct wanted *wanted, const char *directory, bool take, struct error *e)
{
	Types__Interface message = TYPES__INTERFACE__INIT;
	Types__IPAddress addresses[4], *list[4];
	char texts[4][64], *slash;
	_cleanup_interface_ struct interface interface = {0};

	message.name = (char *)wanted->name;
	message.hwaddr = (char *)wanted->mac;
	message.devicepath = (char *)(wanted->path ? wanted->path : "");
	message.mtu = wanted->mtu;
	message.raw_flags = wanted->flags;
	message.ipaddresses = list;
	for (size_t i = 0; i < 4 && wanted->addresses[i]; i++) {
		types__ipaddress__init(&addresses[i]);
		(void)snprintf(texts[i], sizeof(texts[i]), "%s", wanted->addresses[i]);
		slash = strchr(texts[i], '/');
		*slash = '\0';
		addresses[i].address = texts[i];
		addresses[i].mask = slash + 1;
		list[message.n_ipaddresses++] = &addresses[i];
	}
	int r = interface_init(&interface, &message, e);
	return r < 0 ? r : interface_update(netns_fd, &interface, directory, take, e);
}

static int update(const struct wanted *wanted, struct error *e)
{
	return update_at(wanted, NULL, false, e);
}

static void assert_updated(const struct wanted *wanted)
{
	struct error e = ERROR_INIT;
	int r = update(wanted, &e);

	if (r != INTERFACE_DONE)
		fail_msg("%d: %s", r, e.text);
}

static void test_all_of_it(void **state)
{
	static const struct wanted wanted = {
		.name = "net7",
		.mac = "2:0:0:0:0:A",
		.addresses = {"10.88.0.5/16", "fd00:88::5/64", "10.9.9.9/32"},
		.mtu = 1400,
	};
	uint32_t flags = 0;

	(void)state;
	assert_updated(&wanted);
	assert_int_equal(netns_link("eth0").index, 0);
	struct link link = netns_link("net7");
	assert_int_equal(link.mtu, 1400);
	assert_true(link.flags & IFF_UP);
	assert_false(link.flags & IFF_NOARP);
	assert_true(netns_has("net7", "10.88.0.5/16", NULL));
	assert_true(netns_has("net7", "10.9.9.9/32", NULL));
	/* Of use at once. */
	assert_true(netns_has("net7", "fd00:88::5/64", &flags));
	assert_true(flags & IFA_F_NODAD);
	assert_false(flags & IFA_F_TENTATIVE);
}

/* The kernel's late news of earlier changes (its watch of carriers, detection of duplicates): until there is none. */
static void drain(int news)
{
	struct pollfd wait = {.fd = news, .events = POLLIN};
	_cleanup_buf_ struct buf events = BUF_INIT;

	while (poll(&wait, 1, 1500) > 0)
		netlink_receive_event(news, &events);
}

/* The kernel tells of no change at all. */
static void test_again_changes_nothing(void **state)
{
	static const struct wanted wanted = {
		.name = "eth0",
		.mac = "02:00:00:00:00:0a",
		.addresses = {"10.88.0.5/16", "fd00:88::5/64"},
		.mtu = 1400,
		.flags = IFF_NOARP,
	};
	_cleanup_buf_ struct buf events = BUF_INIT;

	(void)state;
	assert_updated(&wanted);
	assert_true(netns_link("eth0").flags & IFF_NOARP);
	_cleanup_fd_ int news = netlink_open(NETLINK_ROUTE, RTMGRP_LINK | RTMGRP_IPV4_IFADDR |
								    RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE);
	drain(news);
	for (int i = 0; i < 3; i++)
		assert_updated(&wanted);
	assert_int_equal(netlink_receive_event(news, &events), -EAGAIN);
	assert_true(netns_link("eth0").flags & IFF_NOARP);
}

static void test_arp_can_be_had_back(void **state)
{
	struct wanted wanted = {.name = "eth0", .mac = "02:00:00:00:00:0a", .flags = IFF_NOARP | IFF_PROMISC};

	(void)state;
	assert_updated(&wanted);
	assert_true(netns_link("eth0").flags & IFF_NOARP);
	assert_false(netns_link("eth0").flags & IFF_PROMISC);
	wanted.flags = 0;
	assert_updated(&wanted);
	assert_false(netns_link("eth0").flags & IFF_NOARP);
	assert_true(netns_link("eth0").flags & IFF_UP);
}

static void test_swap_of_names(void **state)
{
	static const struct wanted one = {
		.name = "eth1", .mac = "02:00:00:00:00:0a", .addresses = {"10.1.0.1/24"}};
	static const struct wanted two = {
		.name = "eth0", .mac = "02:00:00:00:00:0b", .addresses = {"10.2.0.1/24"}};
	int a = netns_link("eth0").index, b = netns_link("eth1").index;

	(void)state;
	assert_updated(&two);
	assert_int_equal(netns_link("eth1").index, a);
	assert_int_equal(netns_link("eth0").index, b);
	/* The other one stays as it was, down. */
	assert_false(netns_link("eth1").flags & IFF_UP);
	assert_updated(&one);
	assert_int_equal(netns_link("eth1").index, a);
	assert_true(netns_has("eth0", "10.2.0.1/24", NULL));
	assert_true(netns_has("eth1", "10.1.0.1/24", NULL));
	assert_true(netns_link("eth0").flags & IFF_UP);
}

/* A configured link that has to give its name away keeps its addresses, its routes, and stays up. */
static void test_swap_keeps_the_others_routes(void **state)
{
	static const struct wanted first = {
		.name = "eth0", .mac = "02:00:00:00:00:0a", .addresses = {"10.1.0.1/24", "fd00:1::1/64"}};
	static const struct wanted second = {.name = "eth0", .mac = "02:00:00:00:00:0b"};
	struct route route = {.family = AF_INET, .prefix = 24, .scope = RT_SCOPE_LINK};
	struct error e = ERROR_INIT;

	(void)state;
	assert_updated(&first);
	assert_int_equal(ip_parse("10.50.0.0", &route.destination), 0);
	route.link = netns_link("eth0").index;
	assert_int_equal(route_set(netns_fd, &route, &e), 0);
	assert_updated(&second);
	assert_true(netns_link("eth1").flags & IFF_UP);
	assert_true(netns_has("eth1", "10.1.0.1/24", NULL));
	assert_true(netns_has("eth1", "fd00:1::1/64", NULL));
	_cleanup_routes_ struct routes routes = {0};
	assert_int_equal(routes_read(netns_fd, &routes, &e), 0);
	bool found = false;
	for (size_t i = 0; i < routes.count; i++)
		found = found || (routes.items[i].link == route.link &&
				  ip_equal(&routes.items[i].destination, &route.destination));
	assert_true(found);
}

static void test_long_names_swap(void **state)
{
	static const struct wanted one = {.name = "abcdefghijklmno", .mac = "02:00:00:00:00:0a"};
	static const struct wanted two = {.name = "abcdefghijklmno", .mac = "02:00:00:00:00:0b"};

	(void)state;
	assert_updated(&one);
	assert_updated(&two);
	assert_memory_equal(netns_link("abcdefghijklmno").address, mac_b, 6);
	assert_memory_equal(netns_link("eth1").address, mac_a, 6);
}

static void test_addresses_converge(void **state)
{
	struct wanted wanted = {.name = "eth0",
				.mac = "02:00:00:00:00:0a",
				.addresses = {"10.88.0.4/16", "10.88.0.5/16", "fd00:88::5/64", "fe80::5/64"}};

	(void)state;
	assert_updated(&wanted);
	/* .5 is secondary to .4 and goes with it, for a moment. */
	wanted.addresses[0] = "10.88.0.5/16";
	wanted.addresses[1] = "fd00:88::6/64";
	wanted.addresses[2] = wanted.addresses[3] = NULL;
	assert_updated(&wanted);
	assert_false(netns_has("eth0", "10.88.0.4/16", NULL));
	assert_true(netns_has("eth0", "10.88.0.5/16", NULL));
	assert_false(netns_has("eth0", "fd00:88::5/64", NULL));
	assert_true(netns_has("eth0", "fd00:88::6/64", NULL));
	assert_true(netns_has("eth0", "fe80::5/64", NULL));
	/* Another prefix is another address. */
	wanted.addresses[0] = "10.88.0.5/24";
	assert_updated(&wanted);
	assert_false(netns_has("eth0", "10.88.0.5/16", NULL));
	assert_true(netns_has("eth0", "10.88.0.5/24", NULL));
	/* None named: all stay. */
	wanted.addresses[0] = NULL;
	assert_updated(&wanted);
	assert_true(netns_has("eth0", "10.88.0.5/24", NULL));
}

/* An address that went through duplicate address detection and is not through with it. */
static void test_tentative_address_is_made_usable(void **state)
{
	static const struct wanted wanted = {
		.name = "eth0", .mac = "02:00:00:00:00:0a", .addresses = {"fd00:88::5/64"}};
	struct netlink_request request;
	struct error e = ERROR_INIT;
	struct ip ip;
	uint32_t flags = 0;

	(void)state;
	assert_int_equal(ip_parse("fd00:88::5", &ip), 0);
	struct ifaddrmsg *header =
		netlink_request_init(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*header));
	header->ifa_family = AF_INET6;
	header->ifa_prefixlen = 64;
	header->ifa_index = (uint32_t)netns_link("eth0").index;
	netlink_put(&request, IFA_LOCAL, ip.bytes, 16);
	assert_int_equal(netlink_exchange(netns_fd, &request, NULL, &e), 0);
	assert_true(netns_has("eth0", "fd00:88::5/64", &flags));
	assert_true(flags & IFA_F_TENTATIVE);
	assert_updated(&wanted);
	assert_true(netns_has("eth0", "fd00:88::5/64", &flags));
	assert_false(flags & IFA_F_TENTATIVE);
}

static void assert_untouched(void)
{
	struct link eth0 = netns_link("eth0"), eth1 = netns_link("eth1");

	assert_memory_equal(eth0.address, mac_a, 6);
	assert_memory_equal(eth1.address, mac_b, 6);
	assert_int_equal(eth0.mtu, 1500);
	assert_int_equal(eth1.mtu, 1500);
	assert_false(eth0.flags & (IFF_UP | IFF_NOARP));
	assert_false(eth1.flags & IFF_UP);
	assert_false(netns_has("eth0", "10.88.0.5/16", NULL));
}

static void test_failure_is_undone(void **state)
{
	struct error e = ERROR_INIT;
	/* Names are swapped, then the MTU is refused. */
	static const struct wanted mtu = {
		.name = "eth1", .mac = "02:00:00:00:00:0a", .addresses = {"10.88.0.5/16"}, .mtu = 20};
	/* All the rest is done, then an address is refused. */
	static const struct wanted address = {.name = "eth1",
					      .mac = "02:00:00:00:00:0a",
					      .addresses = {"10.88.0.5/16", "ff02::5/64"},
					      .mtu = 1400,
					      .flags = IFF_NOARP};

	(void)state;
	assert_int_equal(update(&mtu, &e), -EINVAL);
	assert_non_null(strstr(e.text, "set MTU 20: EINVAL: Invalid argument"));
	assert_untouched();
	assert_true(update(&address, &e) < 0);
	assert_non_null(strstr(e.text, "add address ff02::5/64"));
	assert_untouched();
}

static void test_words_are_checked_first(void **state)
{
	static const struct wanted bad[] = {
		{.name = "eth0", .mac = ""},
		{.name = "eth0", .mac = "02:00:00:00:00"},
		{.name = "a/b", .mac = "02:00:00:00:00:0a"},
		{.name = "abcdefghijklmnop", .mac = "02:00:00:00:00:0a"},
		{.name = "eth0", .mac = "02:00:00:00:00:0a", .mtu = 1ull << 32},
		{.name = "eth0", .mac = "02:00:00:00:00:0a", .addresses = {"10.0.0.1/33"}},
		{.name = "eth0", .mac = "02:00:00:00:00:0a", .addresses = {"10.0.0.1/"}},
		{.name = "eth0", .mac = "02:00:00:00:00:0a", .addresses = {"10.0.0/24"}},
		{.name = "eth0", .mac = "02:00:00:00:00:0a", .addresses = {"10.88.0.5/16", "fd00::1/129"}},
	};

	(void)state;
	for (size_t i = 0; i < array_length(bad); i++) {
		struct error e = ERROR_INIT;
		assert_int_equal(update(&bad[i], &e), -EINVAL);
		assert_int_equal(e.code, STATUS_INTERNAL);
		assert_null(strstr(e.text, "Link not found"));
	}
	assert_untouched();
}

static void test_missing_link(void **state)
{
	struct error e = ERROR_INIT;
	/* A veth of that name is somebody's: it is not taken. */
	static const struct wanted wanted = {.name = "eth0", .mac = "02:00:00:00:00:0f"};

	(void)state;
	assert_int_equal(update_at(&wanted, NULL, true, &e), INTERFACE_MISSING);
	assert_string_equal(e.text, "Link not found (Address: 02:00:00:00:00:0f)");
	static const struct wanted loopback = {.name = "lo", .mac = "00:00:00:00:00:00"};
	assert_int_equal(update_at(&loopback, NULL, true, &e), INTERFACE_MISSING);
	assert_untouched();
}

static void test_template_link_is_taken_when_alone(void **state)
{
	struct error e = ERROR_INIT;
	static const struct wanted wanted = {
		.name = "tap0", .mac = "02:00:00:00:00:0f", .addresses = {"10.7.0.1/24"}, .mtu = 1450};
	_cleanup_fd_ int tap = netns_tap("tap0", mac_c);

	(void)state;
	if (tap < 0)
		skip();
	assert_int_equal(update_at(&wanted, NULL, false, &e), INTERFACE_CANDIDATE);
	assert_non_null(strstr(e.text, "Link not found"));
	assert_memory_equal(netns_link("tap0").address, mac_c, 6);
	{
		/* Two of them: nobody knows which one is meant. */
		_cleanup_fd_ int other = netns_tap("tap1", mac_b);
		assert_true(other >= 0);
		assert_int_equal(update_at(&wanted, NULL, true, &e), INTERFACE_MISSING);
	}
	assert_int_equal(update_at(&wanted, NULL, true, &e), INTERFACE_DONE);
	assert_int_equal(netns_link("tap0").address[5], 0xf);
	assert_true(netns_has("tap0", "10.7.0.1/24", NULL));
	/* Now it is somebody's. */
	static const struct wanted thief = {.name = "tap0", .mac = "02:00:00:00:00:0e"};
	assert_int_equal(update_at(&thief, NULL, true, &e), INTERFACE_MISSING);
}

/* Found by its place, whatever its address is; that is then set. */
static void test_link_by_its_place(void **state)
{
	char directory[] = "/tmp/kata-test-net-XXXXXX", entry[64];
	struct error e = ERROR_INIT;
	static const struct wanted wanted = {
		.name = "vf0", .mac = "02:00:00:00:00:0f", .path = "02", .addresses = {"10.7.0.1/24"}};

	(void)state;
	assert_non_null(mkdtemp(directory));
	(void)snprintf(entry, sizeof(entry), "%s/eth1", directory);
	assert_int_equal(mkdir(entry, 0700), 0);
	int r = update_at(&wanted, directory, false, &e);
	rmdir(entry);
	rmdir(directory);
	assert_int_equal(r, INTERFACE_DONE);
	assert_int_equal(netns_link("vf0").address[5], 0xf);
	assert_int_equal(netns_link("eth1").index, 0);
	assert_true(netns_has("vf0", "10.7.0.1/24", NULL));
}

/* Some drivers take no address while the link is up; those of this kernel all do. */
static bool busy_while_up;
int __real_link_set_address(int fd, int index, const uint8_t *address, size_t length, struct error *e);
int __wrap_link_set_address(int fd, int index, const uint8_t *address, size_t length, struct error *e);

int __wrap_link_set_address(int fd, int index, const uint8_t *address, size_t length, struct error *e)
{
	_cleanup_links_ struct links links = {0};

	assert_int_equal(links_read(fd, &links, e), 0);
	if (busy_while_up && (links_by_index(&links, index)->flags & IFF_UP))
		return error_errno(e, EBUSY, "set the link's address");
	return __real_link_set_address(fd, index, address, length, e);
}

static bool has_route(const struct route *route)
{
	_cleanup_routes_ struct routes routes = {0};
	struct error e = ERROR_INIT;
	bool found = false;

	assert_int_equal(routes_read(netns_fd, &routes, &e), 0);
	for (size_t i = 0; i < routes.count; i++)
		found = found || (routes.items[i].link == route->link &&
				  ip_equal(&routes.items[i].destination, &route->destination) &&
				  ip_equal(&routes.items[i].gateway, &route->gateway));
	return found;
}

/* What a link loses by going down for its new MAC address is put back. */
static void test_link_that_has_to_go_down(void **state)
{
	char directory[] = "/tmp/kata-test-net-XXXXXX", entry[64];
	struct wanted wanted = {.name = "eth0",
				.mac = "02:00:00:00:00:0a",
				.path = "02",
				.addresses = {"10.7.0.1/24", "fd00:7::1/64"}};
	struct route route = {.family = AF_INET6, .prefix = 64}, route4 = {.family = AF_INET, .prefix = 24};
	struct error e = ERROR_INIT;

	(void)state;
	assert_updated(&wanted);
	route.link = route4.link = netns_link("eth0").index;
	assert_int_equal(ip_parse("fd00:9::", &route.destination), 0);
	assert_int_equal(ip_parse("fd00:7::2", &route.gateway), 0);
	assert_int_equal(route_set(netns_fd, &route, &e), 0);
	assert_int_equal(ip_parse("10.9.0.0", &route4.destination), 0);
	assert_int_equal(ip_parse("10.7.0.2", &route4.gateway), 0);
	assert_int_equal(route_set(netns_fd, &route4, &e), 0);
	assert_non_null(mkdtemp(directory));
	(void)snprintf(entry, sizeof(entry), "%s/eth0", directory);
	assert_int_equal(mkdir(entry, 0700), 0);
	wanted.mac = "02:00:00:00:00:0e";
	busy_while_up = true;
	int r = update_at(&wanted, directory, false, &e);
	busy_while_up = false;
	rmdir(entry);
	rmdir(directory);
	assert_int_equal(r, INTERFACE_DONE);
	assert_int_equal(netns_link("eth0").address[5], 0xe);
	assert_true(netns_link("eth0").flags & IFF_UP);
	assert_true(netns_has("eth0", "fd00:7::1/64", NULL));
	assert_true(has_route(&route));
	assert_true(has_route(&route4));
}

static void test_without_ipv6(void **state)
{
	static const struct wanted wanted = {
		.name = "eth0", .mac = "02:00:00:00:00:0a", .addresses = {"fd00:88::5/64", "10.88.0.5/16"}};

	(void)state;
	assert_int_equal(file_write(AT_FDCWD, "/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1"), 0);
	assert_updated(&wanted);
	assert_false(netns_has("eth0", "fd00:88::5/64", NULL));
	assert_true(netns_has("eth0", "10.88.0.5/16", NULL));
}

static void test_list(void **state)
{
	static const struct wanted wanted = {.name = "eth0",
					     .mac = "02:00:00:00:00:0a",
					     .addresses = {"10.88.0.5/16", "fd00:88::5/64"},
					     .mtu = 1400};
	struct error e = ERROR_INIT;
	struct arena *arena = arena_new(0);

	(void)state;
	assert_updated(&wanted);
	const Grpc__Interfaces *list = interfaces_list(netns_fd, arena, &e);
	assert_non_null(list);
	assert_int_equal(list->n_interfaces, 5);
	assert_string_equal(list->interfaces[0]->name, "lo");
	const Types__Interface *eth0 = NULL;
	for (size_t i = 0; i < list->n_interfaces; i++)
		if (strcmp(list->interfaces[i]->name, "eth0") == 0)
			eth0 = list->interfaces[i];
	assert_non_null(eth0);
	assert_string_equal(eth0->hwaddr, "02:00:00:00:00:0a");
	assert_int_equal(eth0->mtu, 1400);
	assert_true(eth0->n_ipaddresses >= 2);
	assert_string_equal(eth0->ipaddresses[0]->address, "10.88.0.5");
	assert_string_equal(eth0->ipaddresses[0]->mask, "16");
	assert_int_equal(eth0->ipaddresses[0]->family, TYPES__IPFAMILY__v4);
	assert_int_equal(eth0->ipaddresses[1]->family, TYPES__IPFAMILY__v6);
	arena_free(arena);
}

#define on_links(test) cmocka_unit_test_setup_teardown(test, links_make, links_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_links(test_all_of_it),
		on_links(test_again_changes_nothing),
		on_links(test_arp_can_be_had_back),
		on_links(test_swap_of_names),
		on_links(test_swap_keeps_the_others_routes),
		on_links(test_long_names_swap),
		on_links(test_addresses_converge),
		on_links(test_tentative_address_is_made_usable),
		on_links(test_failure_is_undone),
		on_links(test_words_are_checked_first),
		on_links(test_missing_link),
		on_links(test_template_link_is_taken_when_alone),
		on_links(test_link_by_its_place),
		on_links(test_link_that_has_to_go_down),
		on_links(test_without_ipv6),
		on_links(test_list),
	};

	if (!netns_possible())
		return NETNS_SKIP;
	return cmocka_run_group_tests(tests, netns_enter, netns_leave);
}
