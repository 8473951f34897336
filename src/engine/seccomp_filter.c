/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiling seccomp profiles. libseccomp turns rules into BPF; what comes out is kept as bytes, so that the child needs
 * neither the library nor memory. seccomp_install.c has the child's half.
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

/* --- compiling ---------------------------------------------------------------------------------------------- */

struct compiler {
	scmp_filter_ctx context;
	bool zero_is_absent;
	bool notifies;
	uint32_t default_action;
};

static int bad(struct error *e, const char *property, const char *value)
{
	return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "linux.seccomp.%s: unknown value \"%s\"",
			 property, str_or_empty(value));
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

static int add_architectures(struct compiler *c, const Grpc__LinuxSeccomp *in, struct error *e)
{
	for (size_t i = 0; i < in->n_architectures; i++) {
		if (!seccomp_architecture_known(in->architectures[i]))
			return bad(e, "architectures", in->architectures[i]);
		char name[32] = "";
		const char *tail = in->architectures[i] + strlen("SCMP_ARCH_");
		for (size_t k = 0; tail[k] && k < sizeof(name) - 1; k++)
			name[k] = tail[k] >= 'A' && tail[k] <= 'Z' ? (char)(tail[k] - 'A' + 'a') : tail[k];
		uint32_t token = seccomp_arch_resolve_name(name);
		if (!token) {
			/* A machine of that kind has a library that knows it; here no such call can be made. */
			log_debug("engine", "seccomp architecture is left out", "architecture",
				  in->architectures[i]);
			continue;
		}
		int r = seccomp_arch_add(c->context, token);
		/* EDOM: of the other byte order, which no process here can have. */
		if (r < 0 && r != -EEXIST && r != -EDOM)
			return error_errno(e, -r, "linux.seccomp.architectures: add %s",
					   in->architectures[i]);
	}
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

static int add_rule(struct compiler *c, uint32_t action, const char *name, const struct scmp_arg_cmp *args,
		    unsigned count, struct error *e)
{
	int number = seccomp_syscall_resolve_name(name);
	if (number == __NR_SCMP_ERROR) {
		log_debug("engine", "system call is unknown to libseccomp and left out", "syscall", name);
		return 0;
	}
	int r = seccomp_rule_add_array(c->context, action, number, count, args);
	/* EDOM: none of the architectures has it. */
	if (r < 0 && r != -EEXIST && r != -EDOM)
		return error_errno(e, -r, "linux.seccomp.syscalls: add a rule for %s", name);
	return 0;
}

/* The library takes one comparison per argument and rule. Several on one argument are alternatives: a rule each. */
static int add_syscall(struct compiler *c, const Grpc__LinuxSyscall *in, struct error *e)
{
	enum { ARGS_MAX = 64 };
	struct scmp_arg_cmp args[ARGS_MAX];
	bool seen[6] = {false}, split = false;
	uint32_t action;

	int r = resolve_action(c, in->action, in->has_errnoret, in->errnoret, "syscalls[].action", &action,
			       e);
	if (r < 0)
		return r;
	if (!in->n_names)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "linux.seccomp.syscalls[].names: must not be empty");
	if (in->n_args > ARGS_MAX)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "linux.seccomp.syscalls[].args: more than %d", ARGS_MAX);
	for (size_t i = 0; i < in->n_args; i++) {
		r = convert_arg(in->args[i], &args[i], e);
		if (r < 0)
			return r;
		split = split || seen[args[i].arg];
		seen[args[i].arg] = true;
	}
	if (action == c->default_action)
		return 0;
	for (size_t i = 0; i < in->n_names; i++) {
		if (str_is_empty(in->names[i]))
			return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
					 "linux.seccomp.syscalls[].names: an empty name");
		for (size_t k = 0; split && r == 0 && k < in->n_args; k++)
			r = add_rule(c, action, in->names[i], &args[k], 1, e);
		if (!split)
			r = add_rule(c, action, in->names[i], args, (unsigned)in->n_args, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Highest number that the library has a name for. */
static int newest_syscall(void)
{
	static int newest;

	for (int i = 400, unknown = 0; !newest && i < 4096; i++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);
		unknown = name ? 0 : unknown + 1;
		free(name);
		/* Tables have holes, but no wide ones. */
		if (unknown == 32)
			newest = i - 32;
	}
	return newest;
}

/* In front of the program: native calls beyond @newest fail with ENOSYS; all else falls through. */
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

enum { PROLOGUE_LENGTH = 6 };

/* The library writes programs to descriptors only. */
static int export_program(struct compiler *c, bool prologue, struct seccomp_filter **out, struct error *e)
{
	_cleanup_fd_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
	if (fd < 0)
		return error_errno(e, errno, "linux.seccomp: memory for the program");
	int r = seccomp_export_bpf(c->context, fd);
	if (r < 0)
		return error_errno(e, -r, "linux.seccomp: compile the program");
	off_t size = lseek(fd, 0, SEEK_END);
	size_t count = size > 0 ? (size_t)size / sizeof(struct sock_filter) : 0;
	size_t extra = prologue ? PROLOGUE_LENGTH : 0;
	if (count == 0 || count + extra > BPF_MAXINSNS)
		return error_set(e, STATUS_INVALID_ARGUMENT, E2BIG,
				 "linux.seccomp: the program has %zu instructions", count);
	struct seccomp_filter *filter =
		malloc(sizeof(*filter) + (count + extra) * sizeof(struct sock_filter));
	if (!filter)
		return error_errno(e, ENOMEM, "linux.seccomp: memory for the program");
	*filter = (struct seccomp_filter){.references = 1, .count = (uint16_t)(count + extra)};
	if (prologue)
		enosys_prologue(filter->code, (uint32_t)newest_syscall());
	if (pread(fd, filter->code + extra, (size_t)size, 0) != size) {
		free(filter);
		return error_errno(e, EIO, "linux.seccomp: read the program back");
	}
	*out = filter;
	return 0;
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

/* Jump tables pay from some tens of calls on. */
enum { OPTIMIZE_FROM = 32, OPTIMIZE_TREE = 2 };

static int fill(struct compiler *c, const Grpc__LinuxSeccomp *in, struct error *e)
{
	size_t names = 0;

	(void)seccomp_attr_set(c->context, SCMP_FLTATR_CTL_NNP, 0);
	int r = add_architectures(c, in, e);
	for (size_t i = 0; r == 0 && i < in->n_syscalls; i++) {
		names += in->syscalls[i]->n_names;
		r = add_syscall(c, in->syscalls[i], e);
	}
	if (r == 0 && names >= OPTIMIZE_FROM)
		(void)seccomp_attr_set(c->context, SCMP_FLTATR_CTL_OPTIMIZE, OPTIMIZE_TREE);
	return r;
}

static int compile(const Grpc__LinuxSeccomp *in, bool zero_is_absent, struct seccomp_filter **out,
		   struct error *e)
{
	struct compiler c = {.zero_is_absent = zero_is_absent};
	unsigned load_flags = 0;

	int r = resolve_action(&c, in->defaultaction, in->has_defaulterrnoret, in->defaulterrnoret,
			       "defaultAction", &c.default_action, e);
	if (r < 0)
		return r;
	c.context = seccomp_init(c.default_action);
	if (!c.context)
		return error_errno(e, ENOMEM, "linux.seccomp: start a program");
	bool prologue = c.default_action == SCMP_ACT_ERRNO(EPERM) && !in->has_defaulterrnoret;
	r = fill(&c, in, e);
	if (r == 0)
		r = collect_flags(in, c.notifies, &load_flags, e);
	if (r == 0)
		r = export_program(&c, prologue, out, e);
	seccomp_release(c.context);
	if (r < 0)
		return r;
	(*out)->flags = load_flags;
	(*out)->notifies = c.notifies;
	return 0;
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
