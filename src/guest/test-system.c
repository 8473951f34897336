/* SPDX-License-Identifier: Apache-2.0 */
/* The small ones: modules, entropy, clock, links, the guest's end. Nothing here changes the machine. */

#include "guest/test-root.h"

#include <sched.h>

#include "base/loop.h"
#include "guest/clock.h"
#include "guest/entropy.h"
#include "guest/link.h"
#include "guest/module.h"
#include "guest/power.h"

struct outcome {
	int ended, result;
	char text[1024];
};

static void ended(int r, const struct error *e, void *data)
{
	struct outcome *outcome = data;

	outcome->ended++;
	outcome->result = r;
	snprintf(outcome->text, sizeof(outcome->text), "%.1000s", r < 0 ? e->text : "");
}

static struct outcome load(const struct module_request *list, size_t count)
{
	struct loop *loop = loop_new();
	struct error e = ERROR_INIT;
	struct outcome outcome = {0};

	assert_non_null(modules_load(loop, list, count, ended, &outcome, &e));
	for (int i = 0; i < 100 && !outcome.ended; i++)
		loop_run_once(loop, 100);
	assert_int_equal(outcome.ended, 1);
	loop_free(loop);
	return outcome;
}

/* Puts a script in modprobe's place, for this process only. */
static bool modprobe_is(const struct test_root *root, const char *script)
{
	static bool private;

	if (!private && !test_own_mounts())
		return false;
	private = true;
	test_file(root, "modprobe", script);
	assert_int_equal(chmod(test_path(root, "modprobe"), 0755), 0);
	return mount(test_path(root, "modprobe"), "/sbin/modprobe", NULL, MS_BIND, NULL) == 0;
}

static void modules_are_loaded_in_order(void **state)
{
	const char *const parameters[] = {"a=1 2", "$(b)"};
	const struct module_request list[] = {{"one", parameters, 2}, {"two", NULL, 0}};
	struct test_root root;
	struct outcome outcome;
	char script[256];

	test_root_make(&root);
	snprintf(script, sizeof(script), "#!/bin/sh\nfor a; do printf '[%%s]' \"$a\"; done >>%s/log\n",
		 root.path);
	if (!modprobe_is(&root, script)) {
		test_root_remove(&root);
		skip();
	}
	outcome = load(list, 2);
	assert_string_equal(outcome.text, "");
	test_expect_file(&root, "log", "[-v][one][a=1 2][$(b)][-v][two]");
	assert_int_equal(umount("/sbin/modprobe"), 0);
	test_root_remove(&root);
}

static void a_failure_has_the_references_words(void **state)
{
	const struct module_request list[] = {{"bad", NULL, 0}, {"never", NULL, 0}};
	struct test_root root;
	bool replaced;

	test_root_make(&root);
	replaced = modprobe_is(&root, "#!/bin/sh\necho out\necho wrong $2 >&2\nexit 3\n");
	if (!replaced) {
		test_root_remove(&root);
		skip();
	}
	assert_string_equal(load(list, 2).text,
			    "load_kernel_module return code: 3 stdout:out\n stderr:wrong bad\n");
	test_file(&root, "modprobe", "#!/bin/sh\nkill -9 $$\n");
	assert_string_equal(load(list, 1).text, "Process terminated by signal");
	assert_int_equal(umount("/sbin/modprobe"), 0);
	test_root_remove(&root);
}

static void a_module_needs_a_name(void **state)
{
	const struct module_request list[] = {{"", NULL, 0}};

	assert_string_equal(load(list, 1).text, "Kernel module name is empty");
	assert_int_equal(load(NULL, 0).result, 0);
}

static void entropy_needs_data(void **state)
{
	unsigned char data[1300] = {0};
	struct error e = ERROR_INIT;
	int r;

	assert_true(entropy_reseed(data, 0, &e) < 0);
	assert_string_equal(e.text, "missing entropy data");
	memset(data, 7, sizeof(data));
	r = entropy_reseed(data, sizeof(data), &e);
	assert_true(r == 0 || r == -EPERM);
}

static void the_clock_refuses_nonsense(void **state)
{
	struct error e = ERROR_INIT;
	int64_t stepped = 1;

	assert_true(clock_set(1, -1, &e) < 0);
	assert_true(clock_set(1, 5000000, &e) < 0);
	/* A day's tolerance: whatever the machine has, nothing is changed. */
	if (clock_resync(86400000, &stepped, &e) == 0)
		assert_int_equal(stepped, 0);
}

static void links_come_up(void **state)
{
	struct error e = ERROR_INIT;

	assert_int_equal(link_up("nosuchlink", &e), -ENODEV);
	assert_true(link_up("", &e) < 0);
	assert_true(link_up("a-name-that-is-too-long", &e) < 0);
	/* In a network namespace of its own, whose loopback is down at first. */
	if (unshare(CLONE_NEWNET) < 0)
		skip();
	assert_int_equal(link_up("lo", &e), 0);
	assert_int_equal(link_up("lo", &e), 0);
}

static void only_pid_1_ends_the_machine(void **state)
{
	assert_int_equal(power_end(POWER_OFF, 0), -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(modules_are_loaded_in_order),
		cmocka_unit_test(a_failure_has_the_references_words),
		cmocka_unit_test(a_module_needs_a_name),
		cmocka_unit_test(entropy_needs_data),
		cmocka_unit_test(the_clock_refuses_nonsense),
		cmocka_unit_test(links_come_up),
		cmocka_unit_test(only_pid_1_ends_the_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
