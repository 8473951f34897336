/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A generator of seccomp programs. libseccomp's own takes 16 ms for the usual profile with the three architectures of x86,
 * more than all the rest of a container's creation; this one takes a fraction of one. The library still knows the numbers of
 * the calls.
 *
 * A program asks for the architecture, then for the call's number by binary search: calls are sorted, neighbours for which
 * the same happens are one segment, whatever is between is a segment of the default. A segment's leaf is a return, or the
 * comparisons of a call with conditions. Every call is so decided in about ten instructions.
 *
 * Which architectures: those of 64 and 32 bits in little-endian order whose calls are all direct, and i386, which has
 * socketcall(2) and ipc(2) beside its direct calls: a rule for, say, bind also counts for socketcall(SYS_BIND, …), where it
 * has no conditions (arguments behind a pointer cannot be compared).
 */
#include "engine/seccomp_program.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"

enum { X32_BIT = 0x40000000 };
#define NO_CALL 0xffffffffU /* -1: a tracer's "skip it" */

/* --- output ------------------------------------------------------------------------------------------------- */

struct program {
	struct sock_filter *code;
	size_t count;
	bool full;
};

static void emit(struct program *p, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	if (p->count >= BPF_MAXINSNS) {
		p->full = true;
		return;
	}
	p->code[p->count++] = (struct sock_filter){code, jt, jf, k};
}

static void emit_return(struct program *p, uint32_t action)
{
	emit(p, BPF_RET | BPF_K, 0, 0, action);
}

static void emit_load(struct program *p, size_t offset)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

/* Targets of comparisons within a clause: PASS goes on behind the comparison, FAIL behind the clause; patched later. */
enum { NEXT = 0, PASS = 254, FAIL = 255 };

static void emit_compare(struct program *p, uint16_t op, uint32_t k, uint8_t jt, uint8_t jf)
{
	emit(p, (uint16_t)(BPF_JMP | BPF_K | op), jt, jf, k);
}

/* Turns @mark in the instructions from @from on into jumps to the present end. */
static void patch(struct program *p, size_t from, uint8_t mark)
{
	for (size_t i = from; i < p->count; i++) {
		struct sock_filter *f = &p->code[i];
		if (BPF_CLASS(f->code) != BPF_JMP || BPF_OP(f->code) == BPF_JA)
			continue;
		uint8_t distance = (uint8_t)(p->count - i - 1);
		if (f->jt == mark)
			f->jt = distance;
		if (f->jf == mark)
			f->jf = distance;
	}
}

/* --- comparisons -------------------------------------------------------------------------------------------- */

static size_t low_word(unsigned arg)
{
	return offsetof(struct seccomp_data, args) + arg * sizeof(uint64_t);
}

static void emit_masked(struct program *p, size_t offset, uint32_t mask, uint32_t value)
{
	emit_load(p, offset);
	emit(p, BPF_ALU | BPF_AND | BPF_K, 0, 0, mask);
	emit_compare(p, BPF_JEQ, value & mask, NEXT, FAIL);
}

/* The lower word decides. */
static void emit_low(struct program *p, const struct scmp_arg_cmp *arg)
{
	uint32_t value = (uint32_t)arg->datum_a;

	emit_load(p, low_word(arg->arg));
	switch (arg->op) {
	case SCMP_CMP_NE:
		emit_compare(p, BPF_JEQ, value, FAIL, PASS);
		break;
	case SCMP_CMP_LT:
		emit_compare(p, BPF_JGE, value, FAIL, PASS);
		break;
	case SCMP_CMP_LE:
		emit_compare(p, BPF_JGT, value, FAIL, PASS);
		break;
	case SCMP_CMP_GE:
		emit_compare(p, BPF_JGE, value, PASS, FAIL);
		break;
	case SCMP_CMP_GT:
		emit_compare(p, BPF_JGT, value, PASS, FAIL);
		break;
	default:
		emit_compare(p, BPF_JEQ, value, PASS, FAIL);
		break;
	}
}

/* The upper word decides, unless it is equal. */
static void emit_high(struct program *p, const struct scmp_arg_cmp *arg)
{
	uint32_t value = (uint32_t)(arg->datum_a >> 32);

	emit_load(p, low_word(arg->arg) + 4);
	switch (arg->op) {
	case SCMP_CMP_NE:
		emit_compare(p, BPF_JEQ, value, NEXT, PASS);
		break;
	case SCMP_CMP_LT:
	case SCMP_CMP_LE:
		emit_compare(p, BPF_JGT, value, FAIL, NEXT);
		emit_compare(p, BPF_JEQ, value, NEXT, PASS);
		break;
	case SCMP_CMP_GE:
	case SCMP_CMP_GT:
		emit_compare(p, BPF_JGT, value, PASS, NEXT);
		emit_compare(p, BPF_JEQ, value, NEXT, FAIL);
		break;
	default:
		emit_compare(p, BPF_JEQ, value, NEXT, FAIL);
		break;
	}
}

static void emit_condition(struct program *p, const struct scmp_arg_cmp *arg, bool wide)
{
	size_t from = p->count;

	if (arg->op == SCMP_CMP_MASKED_EQ) {
		if (wide)
			emit_masked(p, low_word(arg->arg) + 4, (uint32_t)(arg->datum_a >> 32),
				    (uint32_t)(arg->datum_b >> 32));
		emit_masked(p, low_word(arg->arg), (uint32_t)arg->datum_a, (uint32_t)arg->datum_b);
	} else {
		if (wide)
			emit_high(p, arg);
		emit_low(p, arg);
	}
	patch(p, from, PASS);
}

/* --- calls of one architecture ------------------------------------------------------------------------------ */

static const struct architecture {
	uint32_t token;
	uint32_t audit;
	bool wide; /* arguments of 64 bits; of the others only the lower words are compared, as libseccomp does */
} architectures[] = {
	{SCMP_ARCH_X86_64, AUDIT_ARCH_X86_64, true}, {SCMP_ARCH_X32, AUDIT_ARCH_X86_64, false},
	{SCMP_ARCH_X86, AUDIT_ARCH_I386, false},     {SCMP_ARCH_AARCH64, AUDIT_ARCH_AARCH64, true},
	{SCMP_ARCH_ARM, AUDIT_ARCH_ARM, false},	     {SCMP_ARCH_RISCV64, AUDIT_ARCH_RISCV64, true},
};

static const struct architecture *find_architecture(uint32_t token)
{
	for (size_t i = 0; i < array_length(architectures); i++) {
		if (architectures[i].token == token)
			return &architectures[i];
	}
	return NULL;
}

/* i386: asm/unistd_32.h, linux/net.h, linux/ipc.h. 0: there is no direct call. */
static const struct multiplexed {
	const char *name;
	uint16_t direct;
	bool ipc;
	uint16_t sub;
} multiplexed[] = {
	{"socket", 359, false, 1},	{"bind", 361, false, 2},	{"connect", 362, false, 3},
	{"listen", 363, false, 4},	{"accept", 0, false, 5},	{"getsockname", 367, false, 6},
	{"getpeername", 368, false, 7}, {"socketpair", 360, false, 8},	{"send", 0, false, 9},
	{"recv", 0, false, 10},		{"sendto", 369, false, 11},	{"recvfrom", 371, false, 12},
	{"shutdown", 373, false, 13},	{"setsockopt", 366, false, 14}, {"getsockopt", 365, false, 15},
	{"sendmsg", 370, false, 16},	{"recvmsg", 372, false, 17},	{"accept4", 364, false, 18},
	{"recvmmsg", 337, false, 19},	{"sendmmsg", 345, false, 20},	{"semop", 0, true, 1},
	{"semget", 393, true, 2},	{"semctl", 394, true, 3},	{"semtimedop", 0, true, 4},
	{"msgsnd", 400, true, 11},	{"msgrcv", 401, true, 12},	{"msgget", 399, true, 13},
	{"msgctl", 402, true, 14},	{"shmat", 397, true, 21},	{"shmdt", 398, true, 22},
	{"shmget", 395, true, 23},	{"shmctl", 396, true, 24},
};
enum { I386_SOCKETCALL = 102, I386_IPC = 117 };

struct call {
	uint32_t number;
	uint32_t order; /* of the rule in the profile */
	uint32_t action;
	const struct scmp_arg_cmp *args;
	unsigned count;
	bool wide;
};

struct calls {
	struct call *list;
	size_t count;
	struct arena *arena;
	bool failed;
};

static void add_call(struct calls *calls, uint32_t number, const struct seccomp_rule *rule, size_t order,
		     bool wide)
{
	calls->list[calls->count++] =
		(struct call){number, (uint32_t)order, rule->action, rule->args, rule->count, wide};
}

static void add_multiplexed(struct calls *calls, const struct multiplexed *m, const struct seccomp_rule *rule,
			    size_t order)
{
	if (m->direct)
		add_call(calls, m->direct, rule, order, false);
	if (rule->count)
		return;
	struct scmp_arg_cmp *sub = arena_new_object(calls->arena, struct scmp_arg_cmp);
	if (!sub) {
		calls->failed = true;
		return;
	}
	*sub = (struct scmp_arg_cmp){.arg = 0, .op = SCMP_CMP_EQ, .datum_a = m->sub};
	const struct seccomp_rule one = {.action = rule->action, .args = sub, .count = 1};
	add_call(calls, m->ipc ? I386_IPC : I386_SOCKETCALL, &one, order, false);
}

static void add_rule(struct calls *calls, const struct architecture *arch, const struct seccomp_rule *rule,
		     size_t order)
{
	if (arch->token == SCMP_ARCH_X86) {
		for (size_t i = 0; i < array_length(multiplexed); i++) {
			if (strcmp(multiplexed[i].name, rule->name) == 0) {
				add_multiplexed(calls, &multiplexed[i], rule, order);
				return;
			}
		}
	}
	int number = seccomp_syscall_resolve_name_arch(arch->token, rule->name);
	/* Negative: it has no such call. */
	if (number >= 0)
		add_call(calls, (uint32_t)number, rule, order, arch->wide);
}

/* By number, then unconditional ones, then by order. */
static int compare_calls(const void *a, const void *b)
{
	const struct call *x = a, *y = b;

	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	if (!x->count != !y->count)
		return x->count ? 1 : -1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* --- segments ----------------------------------------------------------------------------------------------- */

/* What happens from @start up to the next segment's. */
struct segment {
	uint32_t start;
	uint32_t action;	    /* without clauses: at once; with: when none holds */
	const struct call *clauses; /* of one call */
	size_t n_clauses;
};

struct segments {
	struct segment *list;
	size_t count;
};

static void add_segment(struct segments *s, uint32_t start, uint32_t action, const struct call *clauses,
			size_t count)
{
	struct segment *last = s->count ? &s->list[s->count - 1] : NULL;

	/* It begins where the last one does: that one was empty. */
	if (last && last->start == start)
		s->count--;
	last = s->count ? &s->list[s->count - 1] : NULL;
	if (last && !last->n_clauses && !count && last->action == action)
		return;
	s->list[s->count++] = (struct segment){start, action, clauses, count};
}

static void emit_leaf(struct program *p, const struct segment *segment)
{
	for (size_t i = 0; i < segment->n_clauses; i++) {
		const struct call *clause = &segment->clauses[i];
		size_t from = p->count;
		for (unsigned k = 0; k < clause->count; k++)
			emit_condition(p, &clause->args[k], clause->wide);
		emit_return(p, clause->action);
		patch(p, from, FAIL);
	}
	emit_return(p, segment->action);
}

/* Binary search over segments @first … @last; the accumulator has the call's number. */
static void emit_search(struct program *p, const struct segments *s, size_t first, size_t last)
{
	if (first == last) {
		emit_leaf(p, &s->list[first]);
		return;
	}
	size_t middle = first + (last - first + 1) / 2, at = p->count;
	emit_compare(p, BPF_JGE, s->list[middle].start, 0, 0);
	emit_search(p, s, first, middle - 1);
	size_t length = p->count - at - 1;
	if (p->full)
		return;
	if (length <= UINT8_MAX) {
		p->code[at].jt = (uint8_t)length;
	} else {
		/* Too far for a conditional jump: one without condition goes between. Jumps inside are relative. */
		emit_return(p, 0);
		if (p->full)
			return;
		memmove(&p->code[at + 2], &p->code[at + 1], length * sizeof(*p->code));
		p->code[at].jf = 1;
		p->code[at + 1] = (struct sock_filter){BPF_JMP | BPF_JA, 0, 0, (uint32_t)length};
	}
	emit_search(p, s, middle, last);
}

/* --- the whole ---------------------------------------------------------------------------------------------- */

static bool has_token(const struct seccomp_rules *rules, uint32_t token)
{
	for (size_t i = 0; i < rules->n_architectures; i++) {
		if (rules->architectures[i] == token)
			return true;
	}
	return false;
}

static int collect(const struct seccomp_rules *rules, const struct architecture *arch, struct calls *calls)
{
	/* A rule of i386 can become two calls; x86_64 and x32 are in one list. */
	calls->list = arena_array(calls->arena, rules->n_rules * 2 + 1, sizeof(struct call));
	if (!calls->list)
		return -ENOMEM;
	for (size_t i = 0; i < rules->n_rules; i++) {
		add_rule(calls, arch, &rules->rules[i], i);
		if (arch->token == SCMP_ARCH_X86_64 && has_token(rules, SCMP_ARCH_X32))
			add_rule(calls, find_architecture(SCMP_ARCH_X32), &rules->rules[i], i);
	}
	qsort(calls->list, calls->count, sizeof(struct call), compare_calls);
	return calls->failed ? -ENOMEM : 0;
}

/* What happens to calls without a rule, from @number on. */
static uint32_t gap_action(const struct seccomp_rules *rules, const struct architecture *arch,
			   uint32_t number)
{
	if (number == NO_CALL)
		return rules->default_action;
	if (arch->token == SCMP_ARCH_X86_64 && number >= X32_BIT)
		return has_token(rules, SCMP_ARCH_X32) ? rules->default_action : SECCOMP_RET_KILL_THREAD;
	if (rules->newer_is_missing && arch->token == seccomp_arch_native() &&
	    number > seccomp_newest_syscall())
		return SECCOMP_RET_ERRNO | ENOSYS;
	return rules->default_action;
}

/* Gap segments from @from up to @to (exclusive), split where their action changes. */
static void add_gap(struct segments *s, const struct seccomp_rules *rules, const struct architecture *arch,
		    uint32_t from, uint64_t to)
{
	const uint64_t marks[] = {from, (uint64_t)seccomp_newest_syscall() + 1, X32_BIT, NO_CALL};

	for (size_t i = 0; i < array_length(marks); i++) {
		if (marks[i] >= from && marks[i] < to)
			add_segment(s, (uint32_t)marks[i], gap_action(rules, arch, (uint32_t)marks[i]), NULL,
				    0);
	}
}

static int segment(const struct seccomp_rules *rules, const struct architecture *arch,
		   const struct calls *calls, struct segments *s)
{
	uint64_t next = 0;

	s->list = arena_array(calls->arena, calls->count * 5 + 8, sizeof(struct segment));
	if (!s->list)
		return -ENOMEM;
	for (size_t i = 0; i < calls->count;) {
		const struct call *call = &calls->list[i];
		size_t count = 1;
		while (i + count < calls->count && calls->list[i + count].number == call->number)
			count++;
		if (call->number > next)
			add_gap(s, rules, arch, (uint32_t)next, call->number);
		if (call->count == 0)
			add_segment(s, call->number, call->action, NULL, 0);
		else
			add_segment(s, call->number, gap_action(rules, arch, call->number), call, count);
		next = (uint64_t)call->number + 1;
		i += count;
	}
	if (next <= NO_CALL)
		add_gap(s, rules, arch, (uint32_t)next, (uint64_t)NO_CALL + 1);
	return 0;
}

static int emit_architecture(struct program *p, const struct seccomp_rules *rules,
			     const struct architecture *arch, struct arena *arena)
{
	struct calls calls = {.arena = arena};
	struct segments segments = {0};

	int r = collect(rules, arch, &calls);
	if (r == 0)
		r = segment(rules, arch, &calls, &segments);
	if (r < 0)
		return r;
	/* The accumulator has the architecture. The block is longer than a conditional jump reaches. */
	size_t at = p->count;
	emit_compare(p, BPF_JEQ, arch->audit, 1, 0);
	emit(p, BPF_JMP | BPF_JA, 0, 0, 0);
	emit_load(p, offsetof(struct seccomp_data, nr));
	emit_search(p, &segments, 0, segments.count - 1);
	if (p->full)
		return -E2BIG;
	p->code[at + 1].k = (uint32_t)(p->count - at - 2);
	return 0;
}

uint32_t seccomp_newest_syscall(void)
{
	static uint32_t newest;

	for (int i = 400, unknown = 0; !newest && i < 4096; i++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);
		unknown = name ? 0 : unknown + 1;
		free(name);
		/* Tables have holes, but no wide ones. */
		if (unknown == 32)
			newest = (uint32_t)i - 32;
	}
	return newest;
}

int seccomp_generate(const struct seccomp_rules *rules, struct arena *arena, struct sock_filter *out)
{
	struct program p = {.code = out};

	for (size_t i = 0; i < rules->n_architectures; i++) {
		if (!find_architecture(rules->architectures[i]))
			return -EOPNOTSUPP;
	}
	emit_load(&p, offsetof(struct seccomp_data, arch));
	for (size_t i = 0; i < rules->n_architectures; i++) {
		const struct architecture *arch = find_architecture(rules->architectures[i]);
		/* It is the upper half of x86_64, which is always there with it. */
		if (arch->token == SCMP_ARCH_X32)
			continue;
		int r = emit_architecture(&p, rules, arch, arena);
		if (r < 0)
			return r;
	}
	/* As libseccomp: an architecture that the profile does not have. */
	emit_return(&p, SECCOMP_RET_KILL_THREAD);
	return p.full ? -E2BIG : (int)p.count;
}
