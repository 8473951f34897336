/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random profiles, whose programs are interpreted and held against the rules read one by one; and against libseccomp's
 * programs, as far as each call has one rule (of several that overlap the library loses some). Interpreting instead of
 * loading lets foreign architectures be asked, too.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "engine/seccomp_program.h"

/* A verdict, or 0xdead0000 for a program that leaves its bounds. */
static uint32_t interpret(const struct sock_filter *code, size_t count, const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (size_t pc = 0; pc < count; pc++) {
		const struct sock_filter *f = &code[pc];
		bool yes;
		switch (f->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(f->k + 4 <= sizeof(*data) && f->k % 4 == 0);
			memcpy(&a, (const char *)data + f->k, 4);
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= f->k;
			break;
		case BPF_RET | BPF_K:
			return f->k;
		case BPF_JMP | BPF_JA:
			pc += f->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
		case BPF_JMP | BPF_JGE | BPF_K:
		case BPF_JMP | BPF_JGT | BPF_K:
			yes = BPF_OP(f->code) == BPF_JEQ   ? a == f->k
			      : BPF_OP(f->code) == BPF_JGE ? a >= f->k
							   : a > f->k;
			pc += yes ? f->jt : f->jf;
			break;
		default:
			fail_msg("instruction %#x", f->code);
		}
	}
	return 0xdead0000;
}

static const uint32_t x86[] = {SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32};
static const uint32_t arm[] = {SCMP_ARCH_X86_64, SCMP_ARCH_AARCH64, SCMP_ARCH_ARM};

static size_t by_library(const struct seccomp_rules *rules, struct sock_filter *out)
{
	scmp_filter_ctx context = seccomp_init(rules->default_action);
	int fd = memfd_create("test", MFD_CLOEXEC);

	seccomp_arch_remove(context, seccomp_arch_native());
	for (size_t i = 0; i < rules->n_architectures; i++)
		assert_int_equal(seccomp_arch_add(context, rules->architectures[i]), 0);
	for (size_t i = 0; i < rules->n_rules; i++) {
		const struct seccomp_rule *r = &rules->rules[i];
		if (r->action == rules->default_action)
			continue;
		int number = seccomp_syscall_resolve_name(r->name);
		int result = seccomp_rule_add_array(context, r->action, number, r->count, r->args);
		assert_true(result == 0 || result == -EEXIST || result == -EDOM);
	}
	assert_int_equal(seccomp_export_bpf(context, fd), 0);
	seccomp_release(context);
	ssize_t size = pread(fd, out, BPF_MAXINSNS * sizeof(*out), 0);
	close(fd);
	assert_true(size > 0);
	return (size_t)size / sizeof(*out);
}

static uint32_t seed = 1;
static uint32_t pick(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % below;
}

static const char *const names[] = {"read",   "write",	     "close",  "openat", "clone",	 "clone3",
				    "ioctl",  "personality", "mmap",   "exit",	 "getpid",	 "kill",
				    "ptrace", "mount",	     "futex",  "stat",	 "rt_sigreturn", "execve",
				    "prctl",  "setns",	     "fchown", "lseek",	 "truncate",	 "rseq",
				    "socket", "connect",     "semop",  "accept4"};
enum { N_NAMES = array_length(names), FIRST_MULTIPLEXED = N_NAMES - 4 };
static const uint32_t actions[] = {SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(5), SCMP_ACT_KILL_PROCESS, SCMP_ACT_TRAP,
				   SCMP_ACT_LOG};

static uint64_t value(void)
{
	static const uint64_t values[] = {0,
					  1,
					  2,
					  7,
					  0xff,
					  0x7fffffff,
					  0x80000000,
					  0xffffffff,
					  0x100000000,
					  0x1ffffffff,
					  0x7fffffffffffffff,
					  0x8000000000000000,
					  0xffffffffffffffff};
	return values[pick(array_length(values))];
}

/* Some names, each with a rule, or with up to @most - 1 alternatives. @small: values that 32 bits hold. */
static size_t random_rules(struct seccomp_rule *rules, struct scmp_arg_cmp *args, bool small, uint32_t most)
{
	size_t n = 0, n_args = 0;

	for (size_t i = 0; i < N_NAMES; i++) {
		uint32_t action = actions[pick(array_length(actions))];
		unsigned alternatives = i >= FIRST_MULTIPLEXED ? 0 : pick(most);
		if (pick(3) == 0)
			continue;
		if (alternatives == 0) {
			rules[n++] = (struct seccomp_rule){names[i], action, NULL, 0};
			continue;
		}
		for (unsigned k = 0; k < alternatives; k++) {
			unsigned count = 1 + pick(3);
			rules[n++] = (struct seccomp_rule){names[i], action, &args[n_args], count};
			for (unsigned j = 0; j < count; j++) {
				uint64_t a = value(), b = value();
				args[n_args++] = (struct scmp_arg_cmp){
					.arg = j * 2,
					.op = (enum scmp_compare)(SCMP_CMP_NE + pick(7)),
					.datum_a = small ? a & 0xffffffff : a,
					.datum_b = small ? b & 0xffffffff : b,
				};
			}
		}
	}
	return n;
}

static bool holds(const struct scmp_arg_cmp *c, uint64_t value, bool wide)
{
	uint64_t a = wide ? c->datum_a : (uint32_t)c->datum_a, b = wide ? c->datum_b : (uint32_t)c->datum_b;

	value = wide ? value : (uint32_t)value;

	switch (c->op) {
	case SCMP_CMP_NE:
		return value != a;
	case SCMP_CMP_LT:
		return value < a;
	case SCMP_CMP_LE:
		return value <= a;
	case SCMP_CMP_EQ:
		return value == a;
	case SCMP_CMP_GE:
		return value >= a;
	case SCMP_CMP_GT:
		return value > a;
	default:
		return (value & a) == (b & a);
	}
}

static uint32_t token_of(const struct seccomp_data *data)
{
	switch (data->arch) {
	case AUDIT_ARCH_X86_64:
		return (uint32_t)data->nr >= 0x40000000 ? SCMP_ARCH_X32 : SCMP_ARCH_X86_64;
	case AUDIT_ARCH_I386:
		return SCMP_ARCH_X86;
	case AUDIT_ARCH_AARCH64:
		return SCMP_ARCH_AARCH64;
	case AUDIT_ARCH_ARM:
		return SCMP_ARCH_ARM;
	default:
		return 1;
	}
}

/* What the rules say, read one by one. */
static uint32_t expected(const struct seccomp_rules *rules, const struct seccomp_data *data)
{
	uint32_t token = token_of(data), verdict = rules->default_action;
	bool known = false, found = false;

	if (data->nr == -1)
		token = data->arch == AUDIT_ARCH_X86_64 ? SCMP_ARCH_X86_64 : token;
	for (size_t i = 0; i < rules->n_architectures; i++)
		known = known || rules->architectures[i] == token;
	if (!known)
		return SECCOMP_RET_KILL_THREAD;
	for (size_t i = 0; i < rules->n_rules; i++) {
		const struct seccomp_rule *rule = &rules->rules[i];
		bool all = true;
		if (seccomp_syscall_resolve_name_arch(token, rule->name) != data->nr || data->nr == -1)
			continue;
		for (unsigned k = 0; k < rule->count; k++)
			all = all && holds(&rule->args[k], data->args[rule->args[k].arg],
					   token == SCMP_ARCH_X86_64 || token == SCMP_ARCH_AARCH64);
		if (rule->count == 0)
			return rule->action;
		if (all && !found) {
			verdict = rule->action;
			found = true;
		}
	}
	return verdict;
}

static void random_call(struct seccomp_data *data)
{
	static const uint32_t audits[] = {AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64,
					  AUDIT_ARCH_ARM, 0x12345678};

	*data = (struct seccomp_data){.arch = audits[pick(array_length(audits))]};
	bool wide = data->arch != AUDIT_ARCH_I386 && data->arch != AUDIT_ARCH_ARM;
	/* Mostly calls that may have a rule. */
	int number = pick(3) ? seccomp_syscall_resolve_name_arch(token_of(data), names[pick(N_NAMES)]) : -1;
	data->nr = number >= 0 ? number : (int)pick(470);
	if (pick(4) == 0 && data->arch == AUDIT_ARCH_X86_64)
		data->nr |= 0x40000000;
	if (pick(50) == 0)
		data->nr = -1;
	for (size_t k = 0; k < 6; k++)
		data->args[k] = (pick(4) ? value() : pick(30)) & (wide ? ~0ULL : 0xffffffff);
}

/* i386's calls that are multiplexed: not resolved by name. */
static bool is_multiplexed(const struct seccomp_data *data)
{
	return data->arch == AUDIT_ARCH_I386 && (data->nr == 102 || data->nr == 117 || data->nr >= 359);
}

static void compare(const struct seccomp_rules *rules, bool library)
{
	static struct sock_filter ours[BPF_MAXINSNS], theirs[BPF_MAXINSNS];
	struct arena *arena = arena_new(0);
	int count = seccomp_generate(rules, arena, ours);

	assert_true(count > 0);
	size_t their_count = library ? by_library(rules, theirs) : 0;
	for (size_t i = 0; i < 3000; i++) {
		struct seccomp_data data;
		random_call(&data);
		uint32_t verdict = interpret(ours, (size_t)count, &data);
		uint32_t wanted = is_multiplexed(&data) ? verdict : expected(rules, &data);
		uint32_t other = library ? interpret(theirs, their_count, &data) : verdict;
		if (verdict != wanted || verdict != other)
			fail_msg("arch %#x nr %d args %#llx %#llx %#llx: %#x, by the rules %#x, by "
				 "libseccomp %#x",
				 data.arch, data.nr, (unsigned long long)data.args[0],
				 (unsigned long long)data.args[2], (unsigned long long)data.args[4], verdict,
				 wanted, other);
	}
	arena_free(arena);
}

static void run_round(int round, bool small, bool library)
{
	struct seccomp_rule list[N_NAMES * 4];
	struct scmp_arg_cmp args[N_NAMES * 16];
	struct seccomp_rules rules = {.rules = list};

	seed = (uint32_t)round * 7919 + 1;
	rules.default_action = actions[pick(array_length(actions))];
	rules.architectures = round % 3 == 0 ? arm : x86;
	rules.n_architectures = 1 + pick(3);
	rules.n_rules = random_rules(list, args, small, library ? 2 : 4);
	compare(&rules, library);
}

static void as_the_rules_say(void **state)
{
	for (int round = 0; round < 200; round++)
		run_round(round, round % 2, false);
}

static void as_the_library(void **state)
{
	for (int round = 0; round < 15; round++)
		run_round(round, true, true);
}

/* Several rules of one call: an unconditional one wins, then the first that holds. Long programs keep their jumps. */
static void order_and_length(void **state)
{
	static struct sock_filter code[BPF_MAXINSNS];
	const struct scmp_arg_cmp one = {.arg = 0, .op = SCMP_CMP_EQ, .datum_a = 1};
	const struct scmp_arg_cmp less = {.arg = 0, .op = SCMP_CMP_LT, .datum_a = 5};
	const struct seccomp_rule list[] = {
		{"read", SCMP_ACT_ERRNO(11), &one, 1},	{"read", SCMP_ACT_ERRNO(12), &less, 1},
		{"close", SCMP_ACT_ERRNO(13), &one, 1}, {"close", SCMP_ACT_ALLOW, NULL, 0},
		{"close", SCMP_ACT_ERRNO(14), NULL, 0}, {"no_such_call", SCMP_ACT_ALLOW, NULL, 0},
	};
	struct seccomp_rules rules = {.default_action = SCMP_ACT_ERRNO(1),
				      .newer_is_missing = true,
				      .architectures = x86,
				      .n_architectures = 1,
				      .rules = list,
				      .n_rules = array_length(list)};
	struct arena *arena = arena_new(0);
	struct seccomp_data data = {.arch = AUDIT_ARCH_X86_64, .nr = 0, .args = {1}};
	int count = seccomp_generate(&rules, arena, code);

	assert_int_equal(interpret(code, (size_t)count, &data), SCMP_ACT_ERRNO(11));
	data.args[0] = 4;
	assert_int_equal(interpret(code, (size_t)count, &data), SCMP_ACT_ERRNO(12));
	data.args[0] = 5;
	assert_int_equal(interpret(code, (size_t)count, &data), SCMP_ACT_ERRNO(1));
	data.nr = 3;
	data.args[0] = 1;
	assert_int_equal(interpret(code, (size_t)count, &data), SCMP_ACT_ALLOW);
	data.nr = (int)seccomp_newest_syscall() + 1;
	assert_int_equal(interpret(code, (size_t)count, &data), SCMP_ACT_ERRNO(ENOSYS));
	data.nr--;
	assert_int_equal(interpret(code, (size_t)count, &data), SCMP_ACT_ERRNO(1));
	data.nr = 0x40000000;
	assert_int_equal(interpret(code, (size_t)count, &data), SECCOMP_RET_KILL_THREAD);
	data.nr = -1;
	assert_int_equal(interpret(code, (size_t)count, &data), SCMP_ACT_ERRNO(1));

	/* A thousand clauses: beyond the reach of conditional jumps, within what the kernel takes. */
	enum { MANY = 1000 };
	struct seccomp_rule *many = arena_array(arena, MANY, sizeof(*many));
	struct scmp_arg_cmp *args = arena_array(arena, MANY, sizeof(*args));
	for (int i = 0; i < MANY; i++) {
		args[i] = (struct scmp_arg_cmp){.arg = 0, .op = SCMP_CMP_EQ, .datum_a = (uint64_t)i};
		many[i] = (struct seccomp_rule){names[i % 20], SCMP_ACT_ERRNO((uint32_t)i + 2), &args[i], 1};
	}
	rules.rules = many;
	rules.n_rules = 700;
	count = seccomp_generate(&rules, arena, code);
	assert_true(count > 1000);
	for (int i = 0; i < 700; i++) {
		data.nr = seccomp_syscall_resolve_name(names[i % 20]);
		data.args[0] = (uint64_t)i;
		assert_int_equal(interpret(code, (size_t)count, &data), SCMP_ACT_ERRNO((uint32_t)i + 2));
	}
	rules.n_rules = MANY;
	assert_int_equal(seccomp_generate(&rules, arena, code), -E2BIG);
	static const uint32_t odd[] = {SCMP_ARCH_X86_64, SCMP_ARCH_S390X};
	rules.architectures = odd;
	rules.n_architectures = 2;
	assert_int_equal(seccomp_generate(&rules, arena, code), -EOPNOTSUPP);
	arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_the_rules_say),
		cmocka_unit_test(as_the_library),
		cmocka_unit_test(order_and_length),
	};
	/* The tables and numbers in here are those of x86. */
	if (seccomp_arch_native() != SCMP_ARCH_X86_64)
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
