/* SPDX-License-Identifier: Apache-2.0 */
/* CPUs and memory blocks of a made-up sysfs coming online. */

#include "guest/test-root.h"

#include "base/loop.h"
#include "guest/cpu_memory.h"

struct context {
	struct test_root root;
	struct loop *loop;
	int ended, result;
	char text[256];
};

static int setup(void **state)
{
	struct context *context = calloc(1, sizeof(*context));

	test_root_make(&context->root);
	context->loop = loop_new();
	assert_non_null(context->loop);
	*state = context;
	return 0;
}

static int teardown(void **state)
{
	struct context *context = *state;

	loop_free(context->loop);
	test_root_remove(&context->root);
	free(context);
	return 0;
}

static void ended(int r, const struct error *e, void *data)
{
	struct context *context = data;

	context->ended++;
	context->result = r;
	snprintf(context->text, sizeof(context->text), "%.255s", r < 0 ? e->text : "");
}

static void run(struct context *context)
{
	for (int i = 0; i < 300 && !context->ended; i++)
		assert_int_equal(loop_run_once(context->loop, 100), 0);
	assert_int_equal(context->ended, 1);
}

static void lists_are_counted(void **state)
{
	assert_int_equal(cpu_list_count(""), 0);
	assert_int_equal(cpu_list_count("\n"), 0);
	assert_int_equal(cpu_list_count("0\n"), 1);
	assert_int_equal(cpu_list_count("0-3,5\n"), 5);
	assert_int_equal(cpu_list_count("0-0"), 1);
	assert_int_equal(cpu_list_count("3-0"), -EINVAL);
	assert_int_equal(cpu_list_count("0-"), -EINVAL);
	assert_int_equal(cpu_list_count("a"), -EINVAL);
	assert_int_equal(cpu_list_count("0,,1"), -EINVAL);
	assert_int_equal(cpu_list_count("0-4294967295"), -EINVAL);
}

static void offline_cpus_are_switched_on(void **state)
{
	struct context *context = *state;

	test_file(&context->root, "sys/devices/system/cpu/online", "0-1\n");
	test_mkdir(&context->root, "sys/devices/system/cpu/cpu0");
	test_file(&context->root, "sys/devices/system/cpu/cpu1/online", "1");
	test_file(&context->root, "sys/devices/system/cpu/cpu2/online", "0");
	test_file(&context->root, "sys/devices/system/cpu/cpufreq/online", "0");
	test_file(&context->root, "sys/devices/system/cpu/cpu3x/online", "0");
	/* The list is the kernel's to change; here it stays. */
	assert_int_equal(online_cpus_once(context->root.path, 4), 2);
	test_expect_file(&context->root, "sys/devices/system/cpu/cpu2/online", "1");
	test_expect_file(&context->root, "sys/devices/system/cpu/cpufreq/online", "0");
	test_expect_file(&context->root, "sys/devices/system/cpu/cpu3x/online", "0");
}

static void no_more_cpus_than_asked_for(void **state)
{
	struct context *context = *state;
	int on = 0;

	test_file(&context->root, "sys/devices/system/cpu/online", "0\n");
	for (int i = 1; i < 5; i++) {
		char name[64];

		snprintf(name, sizeof(name), "sys/devices/system/cpu/cpu%d/online", i);
		test_file(&context->root, name, "0");
	}
	assert_int_equal(online_cpus_once(context->root.path, 3), 1);
	for (int i = 1; i < 5; i++) {
		char name[64], text[2] = "";
		int fd;

		snprintf(name, sizeof(name), "sys/devices/system/cpu/cpu%d/online", i);
		fd = open(test_path(&context->root, name), O_RDONLY | O_CLOEXEC);
		assert_int_equal(read(fd, text, 1), 1);
		close(fd);
		on += text[0] == '1';
	}
	assert_int_equal(on, 2);
	assert_int_equal(online_cpus_once(context->root.path, 1), 1);
}

static void the_request_fails_in_the_references_words(void **state)
{
	struct context *context = *state;
	const struct online_request request = {.cpus = 3, .rounds = 3};
	struct error e = ERROR_INIT;

	test_file(&context->root, "sys/devices/system/cpu/online", "0\n");
	assert_non_null(online_start(context->loop, context->root.path, &request, ended, context, &e));
	assert_int_equal(context->ended, 0);
	run(context);
	assert_true(context->result < 0);
	assert_string_equal(context->text, "online cpus: failed to online 2 CPU(s) after 3 retries");
}

static void cpus_and_memory_in_one_request(void **state)
{
	struct context *context = *state;
	const struct online_request request = {.cpus = 1, .memory = true};
	struct error e = ERROR_INIT;

	test_file(&context->root, "sys/devices/system/cpu/online", "0\n");
	test_file(&context->root, "sys/devices/system/memory/memory0/online", "1");
	test_file(&context->root, "sys/devices/system/memory/memory32/online", "0");
	test_file(&context->root, "sys/devices/system/memory/memory33/state", "offline");
	assert_non_null(online_start(context->loop, context->root.path, &request, ended, context, &e));
	run(context);
	assert_int_equal(context->result, 0);
	test_expect_file(&context->root, "sys/devices/system/memory/memory32/online", "1");
}

static void without_memory_blocks_it_is_an_error(void **state)
{
	struct context *context = *state;
	const struct online_request request = {.memory = true};
	struct error e = ERROR_INIT;

	assert_non_null(online_start(context->loop, context->root.path, &request, ended, context, &e));
	run(context);
	assert_int_equal(context->result, -ENOENT);
	assert_string_equal(context->text, "online memory: ENOENT: No such file or directory");
}

static void a_cancelled_request_is_silent(void **state)
{
	struct context *context = *state;
	const struct online_request request = {.cpus = 9};
	struct error e = ERROR_INIT;

	test_file(&context->root, "sys/devices/system/cpu/online", "0\n");
	online_cancel(online_start(context->loop, context->root.path, &request, ended, context, &e));
	online_cancel(NULL);
	for (int i = 0; i < 3; i++)
		loop_run_once(context->loop, 20);
	assert_int_equal(context->ended, 0);
}

static void memory_that_is_announced_comes_online(void **state)
{
	static const char event[] = "add@/devices/system/memory/memory40\0ACTION=add\0"
				    "DEVPATH=/devices/system/memory/memory40\0SUBSYSTEM=memory\0";
	struct context *context = *state;
	struct error e = ERROR_INIT;
	struct uevents *uevents = uevents_new(context->loop, context->root.path, &e);
	struct memory_onliner *onliner = memory_onliner_new(context->loop, uevents, context->root.path);
	char text[2] = "0";

	test_file(&context->root, "sys/devices/system/memory/memory40/online", "0");
	uevents_inject(uevents, event, sizeof(event) - 1);
	uevents_inject(uevents, event, sizeof(event) - 1);
	for (int i = 0; i < 100 && text[0] == '0'; i++) {
		int fd;

		loop_run_once(context->loop, 20);
		fd = open(test_path(&context->root, "sys/devices/system/memory/memory40/online"),
			  O_RDONLY | O_CLOEXEC);
		assert_int_equal(read(fd, text, 1), 1);
		close(fd);
	}
	assert_string_equal(text, "1");
	memory_onliner_free(onliner);
	uevents_free(uevents);
}

static void the_block_size_is_hexadecimal(void **state)
{
	struct context *context = *state;
	struct error e = ERROR_INIT;
	uint64_t bytes = 1;

	assert_int_equal(memory_block_size(context->root.path, &bytes, &e), 0);
	assert_int_equal(bytes, 0);
	test_file(&context->root, "sys/devices/system/memory/block_size_bytes", "8000000\n");
	assert_int_equal(memory_block_size(context->root.path, &bytes, &e), 0);
	assert_int_equal(bytes, 0x8000000);
	test_file(&context->root, "sys/devices/system/memory/block_size_bytes", "");
	assert_true(memory_block_size(context->root.path, &bytes, &e) < 0);
	assert_string_equal(e.text, "Invalid block size");
}

static void addresses_are_probed(void **state)
{
	static const uint64_t addresses[] = {0x40000000, 0xabcdef0000};
	struct context *context = *state;
	struct error e = ERROR_INIT;
	bool supported = true;

	assert_int_equal(memory_probe_supported(context->root.path, &supported, &e), 0);
	assert_false(supported);
	assert_int_equal(memory_probe(context->root.path, addresses, 2, &e), -ENOENT);
	test_file(&context->root, "sys/devices/system/memory/probe", "");
	assert_int_equal(memory_probe_supported(context->root.path, &supported, &e), 0);
	assert_true(supported);
	assert_int_equal(memory_probe(context->root.path, addresses, 1, &e), 0);
	test_expect_file(&context->root, "sys/devices/system/memory/probe", "0x40000000");
	assert_int_equal(memory_probe(context->root.path, addresses, 2, &e), 0);
	test_expect_file(&context->root, "sys/devices/system/memory/probe", "0xABCDEF0000");
}

/* A kernel that takes its time over a block: here a FIFO that nobody reads yet. */
static void probing_does_not_hold_the_loop_up(void **state)
{
	struct context *context = *state;
	uint64_t address = 0x40000000;
	struct error e = ERROR_INIT;
	char path[4096], text[32] = "";

	test_mkdir(&context->root, "sys/devices/system/memory");
	snprintf(path, sizeof(path), "%s/sys/devices/system/memory/probe", context->root.path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(
		memory_probe_start(context->loop, context->root.path, &address, 1, ended, context, &e), 0);
	address = 0;
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_run_once(context->loop, 10), 0);
	assert_int_equal(context->ended, 0);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, text, sizeof(text) - 1), 10);
	close(fd);
	assert_string_equal(text, "0x40000000");
	for (int i = 0; i < 500 && !context->ended; i++)
		assert_int_equal(loop_run_once(context->loop, 10), 0);
	assert_int_equal(context->ended, 1);
	assert_int_equal(context->result, 0);
	/* What it says when there is no such file. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(
		memory_probe_start(context->loop, context->root.path, &address, 1, ended, context, &e), 0);
	for (int i = 0; i < 500 && context->ended < 2; i++)
		assert_int_equal(loop_run_once(context->loop, 10), 0);
	assert_int_equal(context->result, -ENOENT);
	assert_string_equal(context->text, "probe memory at 0x0: ENOENT: No such file or directory");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_are_counted),
		TEST(offline_cpus_are_switched_on),
		TEST(no_more_cpus_than_asked_for),
		TEST(the_request_fails_in_the_references_words),
		TEST(cpus_and_memory_in_one_request),
		TEST(without_memory_blocks_it_is_an_error),
		TEST(a_cancelled_request_is_silent),
		TEST(probing_does_not_hold_the_loop_up),
		TEST(memory_that_is_announced_comes_online),
		TEST(the_block_size_is_hexadecimal),
		TEST(addresses_are_probed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
