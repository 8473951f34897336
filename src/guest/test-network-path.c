/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of the network: places of devices, addresses, names. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/fd.h"
#include "guest/ip.h"
#include "guest/link.h"
#include "guest/network_path.h"

static void test_paths(void **state)
{
	struct network_path path;
	static const char *const bad[] = {"",	      "/",	   "02/",     "/02", "20",  "20/00",
					  "02/20",    "02.8",	   "2.",      ".0",  "002", "02/x",
					  "02//03",   "02 ",	   "-1",      "0x2", "+2",  "1f.7.0",
					  "0.4.0001", "0.0.12345", "21/22/03"};

	(void)state;
	assert_int_equal(network_path_parse("02/01", &path), 0);
	assert_int_equal(path.root, 0);
	assert_int_equal(path.depth, 2);
	assert_int_equal(network_path_parse("02/00/01", &path), 0);
	assert_int_equal(path.root, 0);
	assert_int_equal(path.depth, 3);
	assert_int_equal(network_path_parse("20/00/02", &path), 0);
	assert_int_equal(path.root, 0x20);
	assert_int_equal(path.depth, 2);
	assert_int_equal(network_path_parse("05.0/1f.7", &path), 0);
	assert_int_equal(path.walk[1].slot, 0x1f);
	assert_int_equal(path.walk[1].function, 7);
	assert_int_equal(network_path_parse("0.0.0a1f", &path), 0);
	assert_true(path.ccw);
	for (size_t i = 0; i < array_length(bad); i++)
		if (network_path_parse(bad[i], &path) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
	char deep[200] = "01";
	for (int i = 0; i < NETWORK_PATH_DEPTH; i++)
		memcpy(deep + 2 + 3 * i, "/01", 4);
	assert_int_equal(network_path_parse(deep, &path), -EINVAL);
}

static void test_matches(void **state)
{
	static const struct {
		const char *path, *devpath;
		bool matches;
	} table[] = {
		{"02", "/devices/pci0000:00/0000:00:02.0/virtio1/net/eth0", true},
		{"02", "/devices/pci0000:00/0000:00:02.0/net/eth0", true},
		{"02", "/devices/pci0000:00/0000:00:02.1/net/eth0", false},
		{"02.1", "/devices/pci0000:00/0000:00:02.1/net/eth0", true},
		{"02", "/devices/pci0000:00/0000:00:02.0/virtio1/block/vda", false},
		{"02", "/devices/pci0000:20/0000:20:02.0/net/eth0", false},
		{"20/01/02", "/devices/pci0000:20/0000:20:01.0/0000:21:02.0/virtio1/net/eth0", true},
		/* Whatever bus lies behind the bridge. */
		{"02/03", "/devices/pci0000:00/0000:00:02.0/0000:17:03.0/virtio9/net/eth5", true},
		{"02", "/devices/pci0000:00/0000:00:02.0/0000:17:03.0/virtio9/net/eth5", false},
		{"03", "/devices/pci0000:00/0000:00:02.0/0000:17:03.0/virtio9/net/eth5", false},
		{"02/03/04", "/devices/pci0000:00/0000:00:02.0/0000:17:03.0/virtio9/net/eth5", false},
		{"02", "/devices/platform/4010000000.pcie/pci0000:00/0000:00:02.0/virtio1/net/eth0", true},
		{"02", "/devices/pci0000:00/0000:00:02.0/virtio1/net/", false},
		{"02", "/devices/pci0000:00/0000:00:02.0/virtio1/net", false},
		{"02", "/devices/pci0000:00/0000:00:02.0", false},
		{"02", "/devices/virtual/net/eth0", false},
		{"02", "", false},
		{"0.0.0005", "/devices/css0/0.0.0003/0.0.0005/virtio3/net/eth0", true},
		{"0.0.5", "/devices/css0/0.0.0003/0.0.0005/virtio3/net/eth0", true},
		{"0.0.0005", "/devices/css0/0.0.0003/0.0.0006/virtio3/net/eth0", false},
		{"0.1.0005", "/devices/css0/0.0.0003/0.0.0005/virtio3/net/eth0", false},
		{"0.0.0005", "/devices/css0/0.0.0003/0.0.0005/virtio3/block/vda", false},
	};

	(void)state;
	for (size_t i = 0; i < array_length(table); i++) {
		struct network_path path;
		assert_int_equal(network_path_parse(table[i].path, &path), 0);
		if (network_path_matches(&path, table[i].devpath) != table[i].matches)
			fail_msg("%s, %s", table[i].path, table[i].devpath);
	}
}

static void test_addresses(void **state)
{
	static const struct {
		const char *text, *out; /* NULL: refused */
	} table[] = {
		{"10.0.0.1", "10.0.0.1/32"},
		{"10.0.0.1/8", "10.0.0.1/8"},
		{"0.0.0.0/0", "0.0.0.0/0"},
		{"10.0.0.0/255.255.0.0", "10.0.0.0/16"},
		{"10.0.0.0/255.255.255.255", "10.0.0.0/32"},
		{"10.0.0.0/0.0.0.0", "10.0.0.0/0"},
		{"::/0", "::/0"},
		{"FD00::1", "fd00::1/128"},
		{"fd00::1/64", "fd00::1/64"},
		{"::ffff:10.0.0.1/128", "::ffff:10.0.0.1/128"},
		{"10.0.0.0/255.0.255.0", NULL},
		{"10.0.0.0/33", NULL},
		{"10.0.0.0/-1", NULL},
		{"10.0.0.0/", NULL},
		{"10.0.0/8", NULL},
		{"fd00::/129", NULL},
		{"fd00::/255.0.0.0", NULL},
		{"fe80::1%eth0", NULL},
		{" 10.0.0.1", NULL},
		{"", NULL},
		{"/24", NULL},
		{"1111:2222:3333:4444:5555:6666:7777:8888:9999:1111:2222:3333/64", NULL},
	};

	(void)state;
	for (size_t i = 0; i < array_length(table); i++) {
		struct ip ip;
		uint8_t prefix;
		char text[IP_TEXT_MAX];
		int r = ip_parse_prefix(table[i].text, &ip, &prefix);
		if ((r == 0) != (table[i].out != NULL))
			fail_msg("\"%s\": %d", table[i].text, r);
		if (r < 0)
			continue;
		ip_format_prefix(&ip, prefix, text);
		assert_string_equal(text, table[i].out);
	}
}

static void test_masks(void **state)
{
	struct ip ip;
	char text[IP_TEXT_MAX];

	(void)state;
	assert_int_equal(ip_parse("10.255.255.255", &ip), 0);
	ip_mask(&ip, 12);
	ip_format(&ip, text);
	assert_string_equal(text, "10.240.0.0");
	ip_fill(&ip, 20);
	ip_format(&ip, text);
	assert_string_equal(text, "10.240.15.255");
	ip_mask(&ip, 32);
	ip_format(&ip, text);
	assert_string_equal(text, "10.240.15.255");
	ip_mask(&ip, 0);
	assert_true(ip_is_unspecified(&ip));
	assert_int_equal(ip_parse("ffff:ffff:ffff::1", &ip), 0);
	ip_mask(&ip, 33);
	ip_format(&ip, text);
	assert_string_equal(text, "ffff:ffff:8000::");
}

static void test_macs_and_names(void **state)
{
	static const char *const macs[] = {"",
					   "02:00:00:00:00",
					   "02:00:00:00:00:01:",
					   "02:00:00:00:00:0g",
					   "002:00:00:00:00:1",
					   "02::00:00:00:01",
					   "02-00-00-00-00-01",
					   "+2:00:00:00:00:01",
					   "02:00:00:00:00:01:02"};
	static const char *const names[] = {"", ".", "..", "a/b", "a:b", "a b", "abcdefghijklmnop"};
	uint8_t mac[LINK_MAC_LENGTH];
	char text[LINK_MAC_TEXT_MAX];

	(void)state;
	assert_int_equal(link_mac_parse("AB:0C:de:12:4:56", mac), 0);
	struct link link = {.address_length = 6};
	memcpy(link.address, mac, 6);
	link_mac_format(&link, text);
	assert_string_equal(text, "ab:0c:de:12:04:56");
	link = (struct link){.address_length = 4, .address = {1, 2, 3, 4}};
	link_mac_format(&link, text);
	assert_string_equal(text, "1.2.3.4");
	link.address_length = LINK_ADDRESS_MAX;
	link_mac_format(&link, text);
	assert_int_equal(strlen(text), LINK_ADDRESS_MAX * 3 - 1);
	for (size_t i = 0; i < array_length(macs); i++)
		assert_int_equal(link_mac_parse(macs[i], mac), -EINVAL);
	for (size_t i = 0; i < array_length(names); i++)
		assert_false(link_name_valid(names[i]));
	assert_true(link_name_valid("abcdefghijklmno"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),	       cmocka_unit_test(test_matches),
		cmocka_unit_test(test_addresses),      cmocka_unit_test(test_masks),
		cmocka_unit_test(test_macs_and_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
