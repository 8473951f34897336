/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiling seccomp profiles: reading them into plain rules, which seccomp_bpf.c (or, for the architectures that it does not
 * know, libseccomp) turns into BPF. What comes out is kept as bytes, so that the child needs neither the library nor
 * memory. seccomp_install.c has the child's half.
 *
 * The cache's key is the profile in its wire encoding, in which every field is delimited and presence is kept: two
 * profiles that differ anywhere have different keys, whatever their hash.
 *
 * Calls that are newer than everything that the library can name cannot be in any profile. Where a profile refuses the
 * unnamed with a bare SCMP_ACT_ERRNO, they fail with ENOSYS, as on a kernel without them, so that C libraries fall back
 * to what the profile allows.
 */
#include "engine/seccomp_filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "engine/seccomp_program.h"
#include "proto/proto.h"

/* --- words -------------------------------------------------------------------------------------------------- */

struct action_word {
	const char *name;
	uint32_t action;
	bool has_errno;
};
static const struct action_word actions[] = {
	{"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD, false},
	{"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD, false},
	{"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS, false},
	{"SCMP_ACT_TRAP", SCMP_ACT_TRAP, false},
	{"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0), true},
	{"SCMP_ACT_TRACE", SCMP_ACT_TRACE(0), true},
	{"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW, false},
	{"SCMP_ACT_LOG", SCMP_ACT_LOG, false},
	{"SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY, false},
};

static const struct action_word *find_action(const char *name)
{
	for (size_t i = 0; name && i < array_length(actions); i++) {
		if (strcmp(actions[i].name, name) == 0)
			return &actions[i];
	}
	return NULL;
}

bool seccomp_action_known(const char *action)
{
	return find_action(action) != NULL;
}

bool seccomp_action_has_errno(const char *action)
{
	const struct action_word *word = find_action(action);
	return word && word->has_errno;
}

/* As the runtime-spec lists them; the library's own name is the lower-case rest. */
static const char *const architectures[] = {
	"SCMP_ARCH_X86",     "SCMP_ARCH_X86_64",   "SCMP_ARCH_X32",	    "SCMP_ARCH_ARM",
	"SCMP_ARCH_AARCH64", "SCMP_ARCH_MIPS",	   "SCMP_ARCH_MIPS64",	    "SCMP_ARCH_MIPS64N32",
	"SCMP_ARCH_MIPSEL",  "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC",
	"SCMP_ARCH_PPC64",   "SCMP_ARCH_PPC64LE",  "SCMP_ARCH_S390",	    "SCMP_ARCH_S390X",
	"SCMP_ARCH_PARISC",  "SCMP_ARCH_PARISC64", "SCMP_ARCH_RISCV64",	    "SCMP_ARCH_LOONGARCH64",
	"SCMP_ARCH_M68K",    "SCMP_ARCH_SH",	   "SCMP_ARCH_SHEB",
};

bool seccomp_architecture_known(const char *architecture)
{
	for (size_t i = 0; i < array_length(architectures); i++) {
		if (str_equal(architectures[i], architecture))
			return true;
	}
	return false;
}

struct number_word {
	const char *name;
	uint32_t value;
};
static const struct number_word operators[] = {
	{"SCMP_CMP_NE", SCMP_CMP_NE},
	{"SCMP_CMP_LT", SCMP_CMP_LT},
	{"SCMP_CMP_LE", SCMP_CMP_LE},
	{"SCMP_CMP_EQ", SCMP_CMP_EQ},
	{"SCMP_CMP_GE", SCMP_CMP_GE},
	{"SCMP_CMP_GT", SCMP_CMP_GT},
	{"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
};
static const struct number_word flags[] = {
	{"SECCOMP_FILTER_FLAG_TSYNC", FILTER_TSYNC},
	{"SECCOMP_FILTER_FLAG_LOG", FILTER_LOG},
	{"SECCOMP_FILTER_FLAG_SPEC_ALLOW", FILTER_SPEC_ALLOW},
	{"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", FILTER_WAIT_KILLABLE_RECV},
};

static const struct number_word *find_number(const struct number_word *words, size_t count, const char *name)
{
	for (size_t i = 0; name && i < count; i++) {
		if (strcmp(words[i].name, name) == 0)
			return &words[i];
	}
	return NULL;
}

bool seccomp_operator_known(const char *operator)
{
	return find_number(operators, array_length(operators), operator) != NULL;
}

bool seccomp_flag_known(const char *flag)
{
	return find_number(flags, array_length(flags), flag) != NULL;
}

/* --- reading ------------------------------------------------------------------------------------------------ */

struct compiler {
	struct arena *arena;
	bool zero_is_absent;
	bool notifies;
	uint32_t *architectures;
	struct seccomp_rule *rules;
	struct seccomp_rules all; /* of the two above */
};

static int bad(struct error *e, const char *property, const char *value)
{
	return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "linux.seccomp.%s: unknown value \"%s\"",
			 property, str_or_empty(value));
}

static int no_memory(struct error *e)
{
	return error_errno(e, ENOMEM, "linux.seccomp: memory for the program");
}

static int resolve_action(struct compiler *c, const char *name, bool has_errno, uint32_t errnum,
			  const char *property, uint32_t *out, struct error *e)
{
	const struct action_word *word = find_action(name);
	if (!word)
		return bad(e, property, name);
	if (has_errno && errnum == 0 && c->zero_is_absent)
		has_errno = false;
	if (has_errno && !word->has_errno)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "linux.seccomp.%s: %s takes no errno",
				 property, name);
	if (has_errno && errnum > SECCOMP_RET_DATA)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "linux.seccomp.%s: errno %u is out of range", property, errnum);
	*out = word->action;
	if (word->has_errno)
		*out |= has_errno ? errnum : EPERM;
	if (word->action == SCMP_ACT_NOTIFY)
		c->notifies = true;
	return 0;
}

static void add_architecture(struct compiler *c, uint32_t token)
{
	for (size_t i = 0; i < c->all.n_architectures; i++) {
		if (c->architectures[i] == token)
			return;
	}
	c->architectures[c->all.n_architectures++] = token;
}

/* The native one is always among them. */
static int read_architectures(struct compiler *c, const Grpc__LinuxSeccomp *in, struct error *e)
{
	c->architectures = arena_array(c->arena, in->n_architectures + 1, sizeof(uint32_t));
	if (!c->architectures)
		return no_memory(e);
	add_architecture(c, seccomp_arch_native());
	for (size_t i = 0; i < in->n_architectures; i++) {
		if (!seccomp_architecture_known(in->architectures[i]))
			return bad(e, "architectures", in->architectures[i]);
		char name[32] = "";
		const char *tail = in->architectures[i] + strlen("SCMP_ARCH_");
		for (size_t k = 0; tail[k] && k < sizeof(name) - 1; k++)
			name[k] = tail[k] >= 'A' && tail[k] <= 'Z' ? (char)(tail[k] - 'A' + 'a') : tail[k];
		uint32_t token = seccomp_arch_resolve_name(name);
		/* A machine of that kind has a library that knows it; here no such call can be made. */
		if (token)
			add_architecture(c, token);
	}
	c->all.architectures = c->architectures;
	return 0;
}

static int convert_arg(const Grpc__LinuxSeccompArg *in, struct scmp_arg_cmp *out, struct error *e)
{
	const struct number_word *op = find_number(operators, array_length(operators), in->op);
	if (!op)
		return bad(e, "syscalls[].args[].op", in->op);
	if (in->index > 5)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "linux.seccomp.syscalls[].args[].index: %llu is not within 0 … 5",
				 (unsigned long long)in->index);
	*out = (struct scmp_arg_cmp){
		.arg = (unsigned int)in->index,
		.op = (enum scmp_compare)op->value,
		.datum_a = in->value,
		.datum_b = in->valuetwo,
	};
	return 0;
}

static void add_rule(struct compiler *c, uint32_t action, const char *name, const struct scmp_arg_cmp *args,
		     size_t count)
{
	c->rules[c->all.n_rules++] = (struct seccomp_rule){name, action, args, (unsigned)count};
}

/* One comparison per argument and rule. Several on one argument are alternatives: a rule each. */
static int read_syscall(struct compiler *c, const Grpc__LinuxSyscall *in, struct error *e)
{
	struct scmp_arg_cmp *args = arena_array(c->arena, in->n_args + 1, sizeof(*args));
	bool seen[6] = {false}, split = false;
	uint32_t action;

	if (!args)
		return no_memory(e);
	int r = resolve_action(c, in->action, in->has_errnoret, in->errnoret, "syscalls[].action", &action,
			       e);
	if (r < 0)
		return r;
	if (!in->n_names)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "linux.seccomp.syscalls[].names: must not be empty");
	for (size_t i = 0; i < in->n_args; i++) {
		r = convert_arg(in->args[i], &args[i], e);
		if (r < 0)
			return r;
		split = split || seen[args[i].arg];
		seen[args[i].arg] = true;
	}
	for (size_t i = 0; i < in->n_names; i++) {
		if (str_is_empty(in->names[i]))
			return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
					 "linux.seccomp.syscalls[].names: an empty name");
		for (size_t k = 0; split && k < in->n_args; k++)
			add_rule(c, action, in->names[i], &args[k], 1);
		if (!split)
			add_rule(c, action, in->names[i], args, in->n_args);
	}
	return 0;
}

/* Rules at most; 0 when it is more than anybody can mean. */
static size_t count_rules(const Grpc__LinuxSeccomp *in)
{
	enum { RULES_MAX = 1 << 16 };
	size_t count = 0;

	for (size_t i = 0; i < in->n_syscalls; i++) {
		size_t more, each = in->syscalls[i]->n_args ? in->syscalls[i]->n_args : 1;
		if (__builtin_mul_overflow(in->syscalls[i]->n_names, each, &more) || more > RULES_MAX ||
		    (count += more) > RULES_MAX)
			return 0;
	}
	return count + 1;
}

static int read_profile(struct compiler *c, const Grpc__LinuxSeccomp *in, struct error *e)
{
	size_t count = count_rules(in);

	int r = resolve_action(c, in->defaultaction, in->has_defaulterrnoret, in->defaulterrnoret,
			       "defaultAction", &c->all.default_action, e);
	if (r < 0)
		return r;
	if (!count)
		return error_set(e, STATUS_INVALID_ARGUMENT, E2BIG, "linux.seccomp.syscalls: too many rules");
	c->rules = arena_array(c->arena, count, sizeof(*c->rules));
	if (!c->rules)
		return no_memory(e);
	c->all.rules = c->rules;
	c->all.newer_is_missing = c->all.default_action == SCMP_ACT_ERRNO(EPERM) && !in->has_defaulterrnoret;
	r = read_architectures(c, in, e);
	for (size_t i = 0; r == 0 && i < in->n_syscalls; i++)
		r = read_syscall(c, in->syscalls[i], e);
	return r;
}

static int collect_flags(const Grpc__LinuxSeccomp *in, bool notifies, unsigned *out, struct error *e)
{
	/* As other runtimes: who asks for nothing is spared the speculation barrier. */
	*out = in->n_flags ? 0 : FILTER_SPEC_ALLOW;
	for (size_t i = 0; i < in->n_flags; i++) {
		const struct number_word *flag = find_number(flags, array_length(flags), in->flags[i]);
		if (!flag)
			return bad(e, "flags", in->flags[i]);
		*out |= flag->value;
	}
	if (notifies)
		*out |= FILTER_NEW_LISTENER | (*out & FILTER_TSYNC ? FILTER_TSYNC_ESRCH : 0);
	else
		*out &= ~(
			unsigned)FILTER_WAIT_KILLABLE_RECV; /* of the listener: the kernel refuses it alone */
	return 0;
}

/* --- compiling by the library ------------------------------------------------------------------------------- */

static int add_to_library(scmp_filter_ctx context, const struct seccomp_rules *all, struct error *e)
{
	(void)seccomp_attr_set(context, SCMP_FLTATR_CTL_NNP, 0);
	for (size_t i = 0; i < all->n_architectures; i++) {
		int r = seccomp_arch_add(context, all->architectures[i]);
		/* EDOM: of the other byte order, which no process here can have. */
		if (r < 0 && r != -EEXIST && r != -EDOM)
			return error_errno(e, -r, "linux.seccomp.architectures: add %#x",
					   all->architectures[i]);
	}
	for (size_t i = 0; i < all->n_rules; i++) {
		const struct seccomp_rule *rule = &all->rules[i];
		int number = seccomp_syscall_resolve_name(rule->name);
		if (number == __NR_SCMP_ERROR || rule->action == all->default_action)
			continue;
		int r = seccomp_rule_add_array(context, rule->action, number, rule->count, rule->args);
		/* EDOM: none of the architectures has it. */
		if (r < 0 && r != -EEXIST && r != -EDOM)
			return error_errno(e, -r, "linux.seccomp.syscalls: add a rule for %s", rule->name);
	}
	return 0;
}

/* In front of the library's program: native calls beyond @newest fail with ENOSYS; all else falls through. */
static size_t enosys_prologue(struct sock_filter *out, uint32_t newest)
{
	const uint32_t x32_bit = 0x40000000;
	const struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, seccomp_arch_native(), 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, x32_bit, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, newest, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
	};

	memcpy(out, code, sizeof(code));
	return array_length(code);
}

/* The library writes programs to descriptors only. The length, or -errno. */
static int compile_by_library(const struct seccomp_rules *all, struct sock_filter *out, struct error *e)
{
	_cleanup_fd_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
	scmp_filter_ctx context = seccomp_init(all->default_action);

	if (fd < 0 || !context) {
		seccomp_release(context);
		return error_errno(e, fd < 0 ? errno : ENOMEM, "linux.seccomp: start a program");
	}
	int r = add_to_library(context, all, e);
	if (r == 0) {
		(void)seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
		r = seccomp_export_bpf(context, fd);
		if (r < 0)
			error_errno(e, -r, "linux.seccomp: compile the program");
	}
	seccomp_release(context);
	if (r < 0)
		return r;
	size_t extra = all->newer_is_missing ? enosys_prologue(out, seccomp_newest_syscall()) : 0;
	ssize_t room = (ssize_t)((BPF_MAXINSNS - extra) * sizeof(*out)),
		size = pread(fd, out + extra, (size_t)room, 0);
	if (size <= 0 || size == room)
		return error_set(e, STATUS_INVALID_ARGUMENT, E2BIG, "linux.seccomp: the program is too long");
	return (int)(extra + (size_t)size / sizeof(*out));
}

/* --- compiling ---------------------------------------------------------------------------------------------- */

static int make_filter(struct compiler *c, const Grpc__LinuxSeccomp *in, struct sock_filter *code,
		       struct seccomp_filter **out, struct error *e)
{
	unsigned load_flags = 0;

	int r = read_profile(c, in, e);
	if (r == 0)
		r = collect_flags(in, c->notifies, &load_flags, e);
	if (r < 0)
		return r;
	int length = seccomp_generate(&c->all, c->arena, code);
	if (length == -EOPNOTSUPP)
		length = compile_by_library(&c->all, code, e);
	else if (length < 0)
		error_errno(e, -length, "linux.seccomp: compile the program");
	if (length < 0)
		return length;
	size_t bytes = (size_t)length * sizeof(*code);
	*out = malloc(sizeof(**out) + bytes);
	if (!*out)
		return no_memory(e);
	**out = (struct seccomp_filter){
		.references = 1, .flags = load_flags, .notifies = c->notifies, .count = (uint16_t)length};
	memcpy((*out)->code, code, bytes);
	return 0;
}

static int compile(const Grpc__LinuxSeccomp *in, bool zero_is_absent, struct seccomp_filter **out,
		   struct error *e)
{
	struct compiler c = {.zero_is_absent = zero_is_absent, .arena = arena_new(16 << 10)};
	_cleanup_free_ struct sock_filter *code = malloc(BPF_MAXINSNS * sizeof(*code));

	int r = c.arena && code ? make_filter(&c, in, code, out, e) : no_memory(e);
	arena_free(c.arena);
	return r;
}

/* --- cache -------------------------------------------------------------------------------------------------- */

enum { CACHE_SIZE = 8 };

static struct entry {
	uint64_t hash;
	uint64_t used; /* larger is later; 0: empty */
	void *key;
	size_t length;
	struct seccomp_filter *filter;
} cache[CACHE_SIZE];
static uint64_t cache_clock;

static void entry_clear(struct entry *entry)
{
	free(entry->key);
	seccomp_filter_unref(entry->filter);
	*entry = (struct entry){0};
}

static struct entry *cache_find(uint64_t hash, const struct buf *key)
{
	for (size_t i = 0; i < CACHE_SIZE; i++) {
		struct entry *entry = &cache[i];
		if (entry->used && entry->hash == hash && entry->length == key->length &&
		    memcmp(entry->key, buf_begin(key), key->length) == 0)
			return entry;
	}
	return NULL;
}

/* Best effort: what is not kept is compiled again. */
static void cache_insert(uint64_t hash, const struct buf *key, struct seccomp_filter *filter)
{
	struct entry *oldest = &cache[0];

	for (size_t i = 1; i < CACHE_SIZE; i++) {
		if (cache[i].used < oldest->used)
			oldest = &cache[i];
	}
	void *copy = malloc(key->length);
	if (!copy)
		return;
	memcpy(copy, buf_begin(key), key->length);
	entry_clear(oldest);
	*oldest = (struct entry){
		.hash = hash,
		.used = ++cache_clock,
		.key = copy,
		.length = key->length,
		.filter = seccomp_filter_ref(filter),
	};
}

void seccomp_cache_clear(void)
{
	for (size_t i = 0; i < CACHE_SIZE; i++)
		entry_clear(&cache[i]);
}

static bool allows_everything(const Grpc__LinuxSeccomp *in)
{
	return !in || (str_equal(in->defaultaction, "SCMP_ACT_ALLOW") && in->n_syscalls == 0) ||
	       (str_is_empty(in->defaultaction) && in->n_syscalls == 0 && in->n_architectures == 0);
}

int seccomp_compile(const Grpc__LinuxSeccomp *in, bool zero_is_absent, struct seccomp_filter **out,
		    struct error *e)
{
	_cleanup_buf_ struct buf key = BUF_INIT;

	*out = NULL;
	if (allows_everything(in))
		return 0;
	if (buf_append_char(&key, zero_is_absent ? 'a' : 'e') < 0 || proto_encode(in, &key) < 0)
		return error_errno(e, ENOMEM, "linux.seccomp: key of the cache");
	uint64_t hash = hash_bytes(buf_begin(&key), key.length, 0);
	struct entry *entry = cache_find(hash, &key);
	if (entry) {
		entry->used = ++cache_clock;
		*out = seccomp_filter_ref(entry->filter);
		return 0;
	}
	int r = compile(in, zero_is_absent, out, e);
	if (r < 0)
		return r;
	cache_insert(hash, &key, *out);
	return 0;
}

struct seccomp_filter *seccomp_filter_ref(struct seccomp_filter *filter)
{
	filter->references++;
	return filter;
}

void seccomp_filter_unref(struct seccomp_filter *filter)
{
	if (filter && --filter->references == 0)
		free(filter);
}

size_t seccomp_filter_size(const struct seccomp_filter *filter)
{
	return filter->count * sizeof(struct sock_filter);
}

bool seccomp_filter_notifies(const struct seccomp_filter *filter)
{
	return filter && filter->notifies;
}
