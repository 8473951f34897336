/* SPDX-License-Identifier: Apache-2.0 */
/* Messages built and read, hostile ones too; exchanges with the kernel in a network namespace of our own. */

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/netlink.h"

static int own_namespace(void **state)
{
	(void)state;
	return unshare(CLONE_NEWNET) < 0 ? -1 : 0;
}

static void test_built_is_read(void **state)
{
	struct netlink_request request;
	struct netlink_attribute table[IFLA_IFNAME + 1], inner[3];
	struct netlink_message message;
	struct ifinfomsg header;
	char name[IFNAMSIZ];

	(void)state;
	struct ifinfomsg *out = netlink_request_init(&request, RTM_NEWLINK, NLM_F_CREATE, sizeof(*out));
	out->ifi_index = 7;
	netlink_put_string(&request, IFLA_IFNAME, "eth0");
	size_t nest = netlink_nest(&request, IFLA_ADDRESS);
	netlink_put_u32(&request, 2, 0x01020304);
	netlink_put(&request, 1, "abc", 3);
	netlink_nest_end(&request, nest);
	assert_false(request.overflow);

	struct netlink_reader reader = netlink_reader(request.bytes, request.header.nlmsg_len);
	assert_true(netlink_next(&reader, &message));
	assert_int_equal(message.type, RTM_NEWLINK);
	assert_int_equal(message.flags, NLM_F_REQUEST | NLM_F_CREATE);
	assert_true(netlink_parse(message.payload, message.length, &header, sizeof(header), table,
				  IFLA_IFNAME + 1));
	assert_int_equal(header.ifi_index, 7);
	assert_true(netlink_string(table[IFLA_IFNAME], name, sizeof(name)));
	assert_string_equal(name, "eth0");
	netlink_parse_nest(table[IFLA_ADDRESS], inner, 3);
	assert_int_equal(netlink_u32(inner[2], 0), 0x01020304);
	assert_int_equal(inner[1].length, 3);
	assert_memory_equal(inner[1].data, "abc", 3);
	assert_null(inner[0].data);
	assert_false(netlink_next(&reader, &message));
}

static void test_too_much_is_refused(void **state)
{
	struct netlink_request request;
	struct error e = ERROR_INIT;
	uint8_t data[400] = {0};
	_cleanup_fd_ int fd = netlink_open(NETLINK_ROUTE, 0);

	(void)state;
	assert_true(fd >= 0);
	netlink_request_init(&request, RTM_NEWLINK, 0, sizeof(struct ifinfomsg));
	for (int i = 0; i < 3; i++)
		netlink_put(&request, 1, data, sizeof(data));
	assert_true(request.overflow);
	assert_true(request.header.nlmsg_len <= NETLINK_REQUEST_MAX);
	assert_int_equal(netlink_exchange(fd, &request, NULL, &e), -EMSGSIZE);
	netlink_request_init(&request, RTM_NEWLINK, 0, sizeof(struct ifinfomsg));
	netlink_put(&request, 1, data, SIZE_MAX - 2);
	assert_true(request.overflow);
}

static void test_lying_lengths(void **state)
{
	struct netlink_message message;
	struct netlink_attribute table[4];
	struct nlmsghdr header = {.nlmsg_len = sizeof(header) + 1};
	uint8_t bytes[64] = {0};
	char text[4];

	(void)state;
	/* A message longer than what was received, one shorter than its header, a header cut off. */
	memcpy(bytes, &header, sizeof(header));
	struct netlink_reader reader = netlink_reader(bytes, sizeof(header));
	assert_false(netlink_next(&reader, &message));
	header.nlmsg_len = 3;
	memcpy(bytes, &header, sizeof(header));
	reader = netlink_reader(bytes, sizeof(bytes));
	assert_false(netlink_next(&reader, &message));
	reader = netlink_reader(bytes, sizeof(header) - 1);
	assert_false(netlink_next(&reader, &message));
	/* The last message's padding is not there. */
	header.nlmsg_len = sizeof(header) + 1;
	memcpy(bytes, &header, sizeof(header));
	reader = netlink_reader(bytes, sizeof(header) + 1);
	assert_true(netlink_next(&reader, &message));
	assert_int_equal(message.length, 1);
	assert_false(netlink_next(&reader, &message));

	/* Attributes: one that is whole, then one that is longer than what is left, then one of length 0. */
	static const uint8_t lies[] = {5, 0, 1, 0, 'x', 0, 0, 0, 200, 0, 2, 0, 1, 2, 3, 4};
	netlink_parse_nest((struct netlink_attribute){lies, sizeof(lies)}, table, 4);
	assert_int_equal(table[1].length, 1);
	assert_null(table[2].data);
	static const uint8_t zero[] = {0, 0, 3, 0, 8, 0, 2, 0, 1, 2, 3, 4};
	netlink_parse_nest((struct netlink_attribute){zero, sizeof(zero)}, table, 4);
	assert_null(table[2].data);
	assert_null(table[3].data);

	/* Values of another size, texts without an end, too long, not UTF-8. */
	assert_int_equal(netlink_u32((struct netlink_attribute){lies, 3}, 77), 77);
	assert_int_equal(netlink_u32((struct netlink_attribute){NULL, 4}, 77), 77);
	assert_false(
		netlink_string((struct netlink_attribute){(const uint8_t *)"abc", 3}, text, sizeof(text)));
	assert_false(
		netlink_string((struct netlink_attribute){(const uint8_t *)"abcd", 5}, text, sizeof(text)));
	assert_false(
		netlink_string((struct netlink_attribute){(const uint8_t *)"\xff", 2}, text, sizeof(text)));
	assert_string_equal(text, "");
	assert_true(
		netlink_string((struct netlink_attribute){(const uint8_t *)"abc", 4}, text, sizeof(text)));
}

static void test_hostile_errors(void **state)
{
	struct error e = ERROR_INIT;
	struct nlmsgerr answer = {.error = -ENODEV};
	struct netlink_message message = {
		.type = NLMSG_ERROR, .payload = (const uint8_t *)&answer, .length = 3};

	(void)state;
	assert_int_equal(netlink_message_error(&message, &e), -EBADMSG);
	message.length = sizeof(answer);
	assert_int_equal(netlink_message_error(&message, &e), -ENODEV);
	assert_string_equal(e.text, "ENODEV: No such device");
	/* The request that it claims to repeat is longer than all of it. */
	answer.msg.nlmsg_len = UINT32_MAX;
	message.flags = NLM_F_ACK_TLVS;
	assert_int_equal(netlink_message_error(&message, &e), -ENODEV);
	answer.error = INT32_MIN;
	assert_int_equal(netlink_message_error(&message, &e), -EBADMSG);
	answer.error = 5;
	assert_int_equal(netlink_message_error(&message, &e), -EBADMSG);
	answer.error = 0;
	assert_int_equal(netlink_message_error(&message, &e), 0);
}

static void ask_for(int index, struct netlink_request *request)
{
	struct ifinfomsg *header = netlink_request_init(request, RTM_GETLINK, 0, sizeof(*header));

	header->ifi_index = index;
}

static void test_exchanges(void **state)
{
	struct netlink_request request;
	struct netlink_message message;
	struct error e = ERROR_INIT;
	_cleanup_buf_ struct buf answer = BUF_INIT;
	_cleanup_fd_ int fd = netlink_open(NETLINK_ROUTE, 0);

	(void)state;
	assert_true(fd >= 0);
	ask_for(1, &request);
	assert_int_equal(netlink_exchange(fd, &request, &answer, &e), 0);
	struct netlink_reader reader = netlink_reader(buf_begin(&answer), answer.length);
	assert_true(netlink_next(&reader, &message));
	assert_int_equal(message.type, RTM_NEWLINK);
	assert_false(netlink_next(&reader, &message));

	ask_for(99, &request);
	assert_int_equal(netlink_exchange(fd, &request, NULL, &e), -ENODEV);
	assert_non_null(strstr(e.text, "ENODEV: No such device"));
	/* Answers follow their requests, whatever came between. */
	netlink_request_init(&request, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
	buf_clear(&answer);
	assert_int_equal(netlink_exchange(fd, &request, &answer, &e), 0);
	assert_true(answer.length > 0);
	/* The kernel's own words. */
	struct ifinfomsg *header = netlink_request_init(&request, RTM_NEWLINK, 0, sizeof(*header));
	header->ifi_index = 1;
	netlink_put_string(&request, IFLA_IFNAME, "a/b");
	assert_true(netlink_exchange(fd, &request, NULL, &e) < 0);
	assert_non_null(strstr(e.text, "EINVAL"));
}

/* What a process of the guest sends to our socket is not taken for the kernel's. */
static void test_forged_messages_are_dropped(void **state)
{
	struct sockaddr_nl ours = {0};
	socklen_t length = sizeof(ours);
	_cleanup_fd_ int fd = netlink_open(NETLINK_ROUTE, RTMGRP_LINK),
			 forger = netlink_open(NETLINK_ROUTE, 0);
	struct netlink_request forged;
	_cleanup_buf_ struct buf out = BUF_INIT;

	(void)state;
	assert_int_equal(netlink_receive_event(fd, &out), -EAGAIN);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ours, &length), 0);
	netlink_request_init(&forged, RTM_NEWLINK, 0, sizeof(struct ifinfomsg));
	ours.nl_groups = 0;
	assert_true(sendto(forger, forged.bytes, forged.header.nlmsg_len, 0, (struct sockaddr *)&ours,
			   sizeof(ours)) > 0);
	assert_int_equal(netlink_receive_event(fd, &out), 0);
	assert_int_equal(out.length, 0);
	assert_int_equal(netlink_receive_event(fd, &out), -EAGAIN);
}

static void test_events(void **state)
{
	_cleanup_fd_ int fd = netlink_open(NETLINK_ROUTE, RTMGRP_LINK),
			 other = netlink_open(NETLINK_ROUTE, 0);
	struct netlink_request request;
	struct netlink_message message;
	struct error e = ERROR_INIT;
	_cleanup_buf_ struct buf out = BUF_INIT;

	(void)state;
	struct ifinfomsg *header = netlink_request_init(&request, RTM_NEWLINK, 0, sizeof(*header));
	header->ifi_index = 1;
	header->ifi_flags = header->ifi_change = IFF_UP;
	assert_int_equal(netlink_exchange(other, &request, NULL, &e), 0);
	assert_true(netlink_receive_event(fd, &out) > 0);
	struct netlink_reader reader = netlink_reader(buf_begin(&out), out.length);
	assert_true(netlink_next(&reader, &message));
	assert_int_equal(message.type, RTM_NEWLINK);
}

int main(void)
{
	const struct CMUnitTest pure[] = {
		cmocka_unit_test(test_built_is_read),
		cmocka_unit_test(test_lying_lengths),
		cmocka_unit_test(test_hostile_errors),
	};
	const struct CMUnitTest live[] = {
		cmocka_unit_test(test_too_much_is_refused),
		cmocka_unit_test(test_exchanges),
		cmocka_unit_test(test_forged_messages_are_dropped),
		cmocka_unit_test(test_events),
	};
	int failed = cmocka_run_group_tests(pure, NULL, NULL);

	return failed + cmocka_run_group_tests(live, own_namespace, NULL);
}
