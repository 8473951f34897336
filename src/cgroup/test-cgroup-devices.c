/* SPDX-License-Identifier: Apache-2.0 */
/* The generated program, run by a small interpreter, against the rule in words; the kernel's word is in
 * the live test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "cgroup/devices.h"

static uint32_t load(const struct bpf_cgroup_dev_ctx *context, int off)
{
	uint32_t value;

	assert_true(off == 0 || off == 4 || off == 8);
	memcpy(&value, (const char *)context + off, 4);
	return value;
}

static int run(const struct bpf_insn *insns, size_t count, const struct bpf_cgroup_dev_ctx *context)
{
	uint64_t r[11] = {0};

	for (size_t pc = 0, steps = 0; pc < count && steps < 100000; steps++) {
		const struct bpf_insn *i = &insns[pc++];
		uint64_t imm = (uint64_t)(int64_t)i->imm;

		switch (i->code) {
		case BPF_LDX | BPF_MEM | BPF_W:
			r[i->dst_reg] = load(context, i->off);
			break;
		case BPF_ALU64 | BPF_MOV | BPF_X:
			r[i->dst_reg] = r[i->src_reg];
			break;
		case BPF_ALU64 | BPF_MOV | BPF_K:
			r[i->dst_reg] = imm;
			break;
		case BPF_ALU64 | BPF_AND | BPF_K:
			r[i->dst_reg] &= imm;
			break;
		case BPF_ALU64 | BPF_RSH | BPF_K:
			r[i->dst_reg] >>= imm;
			break;
		case BPF_JMP | BPF_JNE | BPF_K:
			pc += r[i->dst_reg] != imm ? (size_t)i->off : 0;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += r[i->dst_reg] == imm ? (size_t)i->off : 0;
			break;
		case BPF_JMP | BPF_EXIT:
			return (int)r[0];
		default:
			fail_msg("instruction %02x", i->code);
		}
	}
	fail_msg("the program does not end");
	return -1;
}

/* For each kind of access that is asked for, the last rule that matches decides; none: allowed. */
static bool in_words(const struct cgroup_device_rule *rules, size_t n, char type, unsigned access,
		     int64_t major, int64_t minor)
{
	for (unsigned bit = 1; bit <= 4; bit <<= 1) {
		bool allowed = true;

		for (size_t i = 0; i < n; i++)
			if ((rules[i].type == 'a' || rules[i].type == type) &&
			    (rules[i].major < 0 || rules[i].major == major) &&
			    (rules[i].minor < 0 || rules[i].minor == minor) &&
			    (devices_access(rules[i].access) & bit))
				allowed = rules[i].allow;
		if ((access & bit) && !allowed)
			return false;
	}
	return true;
}

static void compare(const struct cgroup_device_rule *rules, size_t n)
{
	static const int64_t numbers[] = {0, 1, 3, 5};
	size_t count = 0;
	struct bpf_insn *insns = devices_program(rules, n, &count);

	assert_non_null(insns);
	for (unsigned t = 0; t < 2; t++)
		for (unsigned access = 1; access < 8; access++)
			for (size_t a = 0; a < array_length(numbers); a++)
				for (size_t b = 0; b < array_length(numbers); b++) {
					struct bpf_cgroup_dev_ctx context = {
						.access_type = access << 16 |
							       (t ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK),
						.major = (uint32_t)numbers[a],
						.minor = (uint32_t)numbers[b],
					};

					assert_int_equal(run(insns, count, &context),
							 in_words(rules, n, t ? 'c' : 'b', access, numbers[a],
								  numbers[b]));
				}
	free(insns);
}

static void test_w06_the_program_says_what_the_rules_say(void **state)
{
	static const struct cgroup_device_rule lists[][4] = {
		{{false, 'a', -1, -1, "rwm"},
		 {true, 'c', 1, 3, "rwm"},
		 {true, 'c', -1, -1, "m"},
		 {true, 'b', 3, -1, "r"}},
		{{true, 'a', -1, -1, "rwm"},
		 {false, 'c', 1, 3, "m"},
		 {false, 'b', -1, 5, "w"},
		 {true, 'b', 5, 5, "w"}},
		{{false, 'a', -1, -1, ""},
		 {true, 'a', 1, -1, "rw"},
		 {false, 'c', 1, 5, "r"},
		 {true, 'a', -1, -1, "m"}},
		{{false, 'c', 1, 3, "rwm"},
		 {false, 'b', -1, -1, "rwm"},
		 {true, 'b', 1, 1, "r"},
		 {true, 'c', 1, 3, "w"}},
	};

	(void)state;
	for (size_t i = 0; i < array_length(lists); i++)
		for (size_t n = 0; n <= 4; n++)
			compare(lists[i], n);
}

/* A deny of one kind must also stop a request for that kind with others. */
static void test_a_partial_deny_stops_the_whole_request(void **state)
{
	static const struct cgroup_device_rule rules[] = {{true, 'c', 1, 3, "rwm"}, {false, 'c', 1, 3, "m"}};

	(void)state;
	compare(rules, 2);
}

static void test_random_lists(void **state)
{
	static const char *const accesses[] = {"r", "w", "m", "rw", "rm", "wm", "rwm", ""};
	static const int64_t numbers[] = {-1, 0, 1, 3, 5};
	unsigned seed = 12345;

	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		struct cgroup_device_rule rules[12];
		size_t n = (size_t)rand_r(&seed) % array_length(rules);

		for (size_t i = 0; i < n; i++) {
			rules[i] = (struct cgroup_device_rule){
				.allow = rand_r(&seed) & 1,
				.type = "abc"[rand_r(&seed) % 3],
				.major = numbers[rand_r(&seed) % 5],
				.minor = numbers[rand_r(&seed) % 5],
			};
			snprintf(rules[i].access, sizeof(rules[i].access), "%s", accesses[rand_r(&seed) % 8]);
		}
		compare(rules, n);
	}
}

static void test_what_cannot_be_is_refused(void **state)
{
	struct cgroup_device_rule rule = {true, 'x', 1, 1, "r"};
	size_t count;

	(void)state;
	assert_null(devices_program(&rule, 1, &count));
	assert_int_equal(errno, EINVAL);
	rule.type = 'c';
	rule.major = (int64_t)1 << 40;
	assert_null(devices_program(&rule, 1, &count));
}

static void test_w13_wildcards_of_v1(void **state)
{
	char line[64];

	(void)state;
	devices_line(&(struct cgroup_device_rule){true, 'c', -1, -1, "m"}, 'c', line, sizeof(line));
	assert_string_equal(line, "c *:* m");
	devices_line(&(struct cgroup_device_rule){true, 'a', 136, -1, ""}, 'b', line, sizeof(line));
	assert_string_equal(line, "b 136:* rwm");
	devices_line(&(struct cgroup_device_rule){true, 'c', 0, 0, "mr"}, 'c', line, sizeof(line));
	assert_string_equal(line, "c 0:0 rm");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_w06_the_program_says_what_the_rules_say),
		cmocka_unit_test(test_a_partial_deny_stops_the_whole_request),
		cmocka_unit_test(test_random_lists),
		cmocka_unit_test(test_what_cannot_be_is_refused),
		cmocka_unit_test(test_w13_wildcards_of_v1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
