/* SPDX-License-Identifier: Apache-2.0 */
/* Interfaces move between network namespaces of the test's own, with their addresses. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "engine/netdevice.h"
#include "engine/test-child.h"

static void names(void **state)
{
	assert_true(netdevice_name_valid("eth0"));
	assert_true(netdevice_name_valid("a-b.c_d@e"));
	assert_true(netdevice_name_valid("123456789012345"));
	static const char *const bad[] = {"", ".", "..", "a/b", "a b", "a:b", "1234567890123456"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(netdevice_name_valid(bad[i]));
	assert_false(netdevice_name_valid(NULL));
}

static int run(const char *command)
{
	return system(command);
}

static int other_namespace(void)
{
	int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (own < 0 || unshare(CLONE_NEWNET) < 0)
		return -1;
	int other = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int r = setns(own, CLONE_NEWNET);
	close(own);
	return r < 0 ? -1 : other;
}

static int move_child(void *argument)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;

	child_expect(unshare(CLONE_NEWNET) == 0);
	int inside = other_namespace();
	child_expect(inside >= 0);
	if (run("ip link add dev one type veth peer name two && ip link set two up && ip addr add "
		"192.0.2.7/24 dev "
		"one && "
		"ip link set one up && ip -6 addr add 2001:db8::7/64 dev one nodad") != 0)
		return 77;
	Grpc__Linux *l =
		from_json(&grpc__linux__descriptor, "{'netDevices':{'one':{'name':'eth5'},'two':{}}}", arena);
	child_expect(netdevices_move(inside, l->netdevices, l->n_netdevices, &e) == 0);
	/* We are back in our own namespace, where they are no longer. */
	child_expect(if_nametoindex("one") == 0 && if_nametoindex("two") == 0);
	child_expect(setns(inside, CLONE_NEWNET) == 0);
	child_expect(if_nametoindex("eth5") != 0 && if_nametoindex("two") != 0);
	child_expect(run("ip addr show dev eth5 | grep -q 'inet 192.0.2.7/24 .*scope global'") == 0);
	child_expect(run("ip addr show dev eth5 | grep -q 'inet6 2001:db8::7/64 scope global'") == 0);
	child_expect(run("ip link show dev eth5 | grep -q '[<,]UP[,>]'") == 0);
	return 0;
}

/* The second one is missing: the first comes back, with its address and its name. */
static int undo_child(void *argument)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;

	child_expect(unshare(CLONE_NEWNET) == 0);
	int inside = other_namespace();
	child_expect(inside >= 0);
	if (run("ip link add dev one type veth peer name two && ip link set two up && ip addr add "
		"192.0.2.7/24 dev one && ip link set one up") != 0)
		return 77;
	Grpc__Linux *l = from_json(&grpc__linux__descriptor,
				   "{'netDevices':{'one':{'name':'eth5'},'missing':{}}}", arena);
	child_expect(netdevices_move(inside, l->netdevices, l->n_netdevices, &e) == -ENODEV);
	child_expect(strstr(e.text, "move \"missing\" into the container"));
	child_expect(run("ip addr show dev one | grep -q 'inet 192.0.2.7/24'") == 0);
	child_expect(run("ip link show dev one | grep -q '[<,]UP[,>]'") == 0);
	return 0;
}

static void moves(void **state)
{
	if (geteuid() != 0 || access("/sbin/ip", X_OK) < 0)
		skip();
	int r = in_child(move_child, NULL, NULL);
	if (r == 77)
		skip();
	assert_int_equal(r, 0);
	assert_int_equal(in_child(undo_child, NULL, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(moves)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
