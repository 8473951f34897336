/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of work: in order, waiting for links and devices, abandoned. */

#include "guest/test-root.h"

#include "base/loop.h"
#include "guest/interface.h"
#include "guest/network.h"
#include "guest/route.h"
#include "guest/test-netns.h"
#include "proto/proto.h"

static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa};

enum { TIMEOUT_MS = 400 };

struct context {
	struct test_root root;
	struct loop *loop;
	struct uevents *uevents;
	struct network *network;
	int ended;
	char order[16];
};

struct call {
	struct context *context;
	char letter;
	bool done;
	int result;
	struct error error;
	size_t length;
};

static int setup(void **state)
{
	struct context *context = calloc(1, sizeof(*context));
	struct error e = ERROR_INIT;

	test_root_make(&context->root);
	context->loop = loop_new();
	assert_non_null(context->loop);
	context->uevents = uevents_new(context->loop, context->root.path, &e);
	assert_non_null(context->uevents);
	context->network = network_new(context->loop, context->uevents, TIMEOUT_MS);
	assert_non_null(context->network);
	*state = context;
	return 0;
}

static int teardown(void **state)
{
	struct context *context = *state;

	network_free(context->network);
	uevents_free(context->uevents);
	loop_free(context->loop);
	test_root_remove(&context->root);
	free(context);
	netns_delete("peer0");
	return 0;
}

static void ended(int r, const void *answer, size_t length, const struct error *e, void *data)
{
	struct call *call = data;

	(void)answer;
	assert_false(call->done);
	call->done = true;
	call->result = r;
	call->length = length;
	if (r < 0)
		call->error = *e;
	call->context->order[call->context->ended++] = call->letter;
}

static struct network_work *begin(struct context *context, struct call *call,
				  enum network_operation operation, const void *request)
{
	struct error e = ERROR_INIT;

	call->context = context;
	struct network_work *work = network_start(context->network, operation, request, ended, call, &e);
	if (!work)
		fail_msg("%s", e.text);
	assert_false(call->done);
	return work;
}

static void run_until(struct context *context, const bool *done, uint64_t at_most_ms)
{
	uint64_t end = loop_now() + at_most_ms;

	while (!*done && loop_now() < end)
		assert_int_equal(loop_run_once(context->loop, 20), 0);
}

static Types__Interface wanted(const char *name, const char *path)
{
	Types__Interface message = TYPES__INTERFACE__INIT;

	message.name = (char *)name;
	message.hwaddr = (char *)"02:00:00:00:00:0a";
	message.devicepath = (char *)path;
	return message;
}

static void test_in_order(void **state)
{
	struct context *context = *state;
	struct call calls[4] = {{.letter = 'a'}, {.letter = 'b'}, {.letter = 'c'}, {.letter = 'd'}};
	const Types__Interface eth5 = wanted("eth5", ""), eth6 = wanted("eth6", "");

	netns_veth("eth0", mac_a, "peer0");
	begin(context, &calls[0], NETWORK_UPDATE_INTERFACE, &eth5);
	begin(context, &calls[1], NETWORK_LIST_INTERFACES, NULL);
	begin(context, &calls[2], NETWORK_UPDATE_INTERFACE, &eth6);
	begin(context, &calls[3], NETWORK_LIST_ROUTES, NULL);
	run_until(context, &calls[3].done, 5000);
	assert_string_equal(context->order, "abcd");
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(calls[i].result, 0);
	assert_true(calls[1].length > 0);
	assert_true(netns_link("eth6").flags & IFF_UP);
	assert_int_equal(netns_link("eth5").index, 0);
}

static void test_link_that_comes_late(void **state)
{
	struct context *context = *state;
	struct call late = {.letter = 'l'}, other = {.letter = 'o'};
	const Types__Interface message = wanted("eth5", "");

	begin(context, &late, NETWORK_UPDATE_INTERFACE, &message);
	/* Nobody is held up by it. */
	begin(context, &other, NETWORK_LIST_ROUTES, NULL);
	run_until(context, &other.done, 5000);
	assert_string_equal(context->order, "o");
	netns_veth("eth0", mac_a, "peer0");
	uint64_t before = loop_now();
	run_until(context, &late.done, 5000);
	assert_int_equal(late.result, 0);
	assert_true(loop_now() - before < TIMEOUT_MS);
	assert_true(netns_link("eth5").flags & IFF_UP);
}

static void test_link_that_never_comes(void **state)
{
	struct context *context = *state;
	struct call call = {.letter = 'n'};
	const Types__Interface message = wanted("eth5", "");
	uint64_t before = loop_now();

	begin(context, &call, NETWORK_UPDATE_INTERFACE, &message);
	run_until(context, &call.done, 5000);
	assert_true(loop_now() - before >= TIMEOUT_MS);
	assert_int_equal(call.result, -ENODEV);
	assert_int_equal(call.error.code, STATUS_INTERNAL);
	assert_string_equal(call.error.text, "update interface: Link not found (Address: 02:00:00:00:00:0a)");
}

static void test_device_that_comes_late(void **state)
{
	static const char event[] =
		"add@/devices/pci0000:00/0000:00:02.0/0000:01:03.0/virtio1/net/eth0\0ACTION=add\0"
		"DEVPATH=/devices/pci0000:00/0000:00:02.0/0000:01:03.0/virtio1/net/eth0\0SUBSYSTEM=net\0"
		"INTERFACE=eth0\0SEQNUM=1\0";
	struct context *context = *state;
	struct call call = {.letter = 'd'}, other = {.letter = 'o'};
	const Types__Interface message = wanted("eth5", "02/03");

	netns_veth("eth0", mac_a, "peer0");
	begin(context, &call, NETWORK_UPDATE_INTERFACE, &message);
	begin(context, &other, NETWORK_LIST_ROUTES, NULL);
	run_until(context, &other.done, 5000);
	assert_false(call.done);
	uevents_inject(context->uevents, event, sizeof(event) - 1);
	run_until(context, &call.done, 5000);
	assert_int_equal(call.result, 0);
	assert_true(netns_link("eth5").flags & IFF_UP);
}

static void test_device_that_never_comes(void **state)
{
	struct context *context = *state;
	struct call call = {.letter = 'd'};
	const Types__Interface message = wanted("eth5", "02/03");

	begin(context, &call, NETWORK_UPDATE_INTERFACE, &message);
	run_until(context, &call.done, 5000);
	assert_int_equal(call.result, -ETIMEDOUT);
	assert_non_null(strstr(call.error.text, "interface not available: "));
	assert_non_null(strstr(call.error.text, "Link not found"));
}

static void test_nonsense_of_a_place(void **state)
{
	struct context *context = *state;
	struct error e = ERROR_INIT;
	struct call call = {.context = context};
	const Types__Interface message = wanted("eth5", "02/zz");

	assert_null(network_start(context->network, NETWORK_UPDATE_INTERFACE, &message, ended, &call, &e));
	assert_int_equal(e.code, STATUS_INTERNAL);
	assert_string_equal(e.text, "Invalid PCI path for network interface: 02/zz");
}

/* In each place that work can be: with its device, in the queue, running, with its link. */
static void test_abandoned(void **state)
{
	struct context *context = *state;
	struct call calls[4] = {{.letter = 'a'}, {.letter = 'b'}, {.letter = 'c'}, {.letter = 'd'}},
		    last = {.letter = 'l'};
	const Types__Interface eth5 = wanted("eth5", ""), placed = wanted("eth5", "02/03");

	struct network_work *device = begin(context, &calls[0], NETWORK_UPDATE_INTERFACE, &placed);
	struct network_work *missing = begin(context, &calls[1], NETWORK_UPDATE_INTERFACE, &eth5);
	run_until(context, &calls[0].done, 150);
	struct network_work *running = begin(context, &calls[2], NETWORK_LIST_ROUTES, NULL);
	assert_int_equal(loop_run_once(context->loop, 0), 0);
	struct network_work *queued = begin(context, &calls[3], NETWORK_LIST_ROUTES, NULL);
	network_abandon(device);
	network_abandon(missing);
	network_abandon(running);
	network_abandon(queued);
	begin(context, &last, NETWORK_LIST_ROUTES, NULL);
	run_until(context, &last.done, 5000);
	assert_string_equal(context->order, "l");
	run_until(context, &calls[0].done, TIMEOUT_MS + 100);
	assert_string_equal(context->order, "l");
	/* And all of it may go in the midst of work. */
	begin(context, &calls[0], NETWORK_UPDATE_INTERFACE, &placed);
	begin(context, &calls[1], NETWORK_UPDATE_INTERFACE, &eth5);
	begin(context, &calls[2], NETWORK_LIST_ROUTES, NULL);
	assert_int_equal(loop_run_once(context->loop, 0), 0);
}

static void test_failures_are_told(void **state)
{
	struct context *context = *state;
	Grpc__Routes routes = GRPC__ROUTES__INIT;
	Types__Route route = TYPES__ROUTE__INIT, *list[] = {&route};
	struct call call = {.letter = 'r'}, empty = {.letter = 'e'};

	route.device = (char *)"eth9";
	routes.routes = list;
	routes.n_routes = 1;
	begin(context, &call, NETWORK_UPDATE_ROUTES, &routes);
	run_until(context, &call.done, 5000);
	assert_int_equal(call.result, -ENODEV);
	assert_int_equal(strncmp(call.error.text, "Failed to update routes: ", 25), 0);
	assert_non_null(strstr(call.error.text, "Link not found (Name: eth9)"));
	routes.n_routes = 0;
	begin(context, &empty, NETWORK_UPDATE_ROUTES, &routes);
	run_until(context, &empty.done, 5000);
	assert_int_equal(empty.result, 0);
}

#define with_network(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_network(test_in_order),
		with_network(test_link_that_comes_late),
		with_network(test_link_that_never_comes),
		with_network(test_device_that_comes_late),
		with_network(test_device_that_never_comes),
		with_network(test_nonsense_of_a_place),
		with_network(test_abandoned),
		with_network(test_failures_are_told),
	};

	if (!netns_possible())
		return NETNS_SKIP;
	return cmocka_run_group_tests(tests, netns_enter, netns_leave);
}
