/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which devices a cgroup's processes may use.
 *
 * v1 has two files that take one rule a line. v2 has a hook for a BPF program, which is generated here, rule
 * by rule from the last to the first, loaded with bpf(2) and attached to the directory. Programs of all
 * levels must agree, so ours can only restrict. An update replaces our program in one step, so that there is
 * no moment without one, and leaves programs of others (systemd's) alone: ours is known by its name.
 *
 * What is restricted at all is not decided here: without rules nothing is touched.
 */
#include "cgroup/devices.h"
#include "cgroup/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"

enum {
	ACCESS_ALL = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE,
	INSNS_PER_RULE = 8,
	RULES_MAX = 16384,
	ATTACHED_MAX = 64,
};
#define PROGRAM_NAME "kata_devices"

unsigned devices_access(const char *access)
{
	unsigned bits = 0;

	if (str_is_empty(access))
		return ACCESS_ALL;
	for (; *access; access++)
		bits |= *access == 'r'	 ? BPF_DEVCG_ACC_READ
			: *access == 'w' ? BPF_DEVCG_ACC_WRITE
			: *access == 'm' ? BPF_DEVCG_ACC_MKNOD
					 : 0;
	return bits;
}

static bool covers_everything(const struct cgroup_device_rule *rule)
{
	return rule->type == 'a' && rule->major < 0 && rule->minor < 0 &&
	       devices_access(rule->access) == ACCESS_ALL;
}

/* --- v1 ------------------------------------------------------------------------------------------------- */

static void number_or_any(int64_t number, char *out, size_t size)
{
	if (number < 0)
		snprintf(out, size, "*");
	else
		snprintf(out, size, "%" PRId64, number);
}

void devices_line(const struct cgroup_device_rule *rule, char type, char *out, size_t size)
{
	unsigned bits = devices_access(rule->access);
	char major[24], minor[24];

	number_or_any(rule->major, major, sizeof(major));
	number_or_any(rule->minor, minor, sizeof(minor));
	snprintf(out, size, "%c %s:%s %s%s%s", type, major, minor, bits & BPF_DEVCG_ACC_READ ? "r" : "",
		 bits & BPF_DEVCG_ACC_WRITE ? "w" : "", bits & BPF_DEVCG_ACC_MKNOD ? "m" : "");
}

/* The two files, opened when the first rule needs them. */
struct v1_files {
	const struct cgroup_dir *dir;
	int deny, allow;
};

static int v1_write(struct v1_files *files, bool allow, const char *line)
{
	int *fd = allow ? &files->allow : &files->deny;
	size_t length = strlen(line);
	ssize_t n;

	if (*fd < 0)
		*fd = openat(files->dir->fd, allow ? "devices.allow" : "devices.deny",
			     O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	if (*fd < 0)
		return -errno;
	do
		n = write(*fd, line, length);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (size_t)n == length ? 0 : -EIO;
}

/* "a" means everything to v1, whatever follows it, and is refused for a cgroup with children: then, and
 * for a part of everything, both types are named. */
static int v1_rule(struct v1_files *files, const struct cgroup_device_rule *rule, struct error *e)
{
	const char *file = rule->allow ? "devices.allow" : "devices.deny";
	const char *types = rule->type == 'a' ? "bc" : rule->type == 'b' ? "b" : "c";
	char line[64];

	if (devices_access(rule->access) == 0)
		return 0;
	if (covers_everything(rule)) {
		int r = v1_write(files, rule->allow, "a");

		if (r != -EINVAL && r != -EPERM)
			return r < 0 ? knob_error(files->dir, e, r, file, "a") : 0;
	}
	for (; *types; types++) {
		int r;

		devices_line(rule, *types, line, sizeof(line));
		r = v1_write(files, rule->allow, line);
		/* Nobody but root may limit: a rootless runtime does without. */
		if (r < 0 && !(files->dir->cg->rootless && (r == -EACCES || r == -EPERM || r == -EROFS)))
			return knob_error(files->dir, e, r, file, line);
	}
	return 0;
}

int v1_set_devices(const struct cgroup_dir *dir, const struct cgroup_resources *resources, struct error *e)
{
	struct v1_files files = {.dir = dir, .deny = -1, .allow = -1};
	int r = 0;

	if (!resources->devices_set)
		return 0;
	for (size_t i = 0; i < resources->n_devices && r == 0; i++)
		r = v1_rule(&files, &resources->devices[i], e);
	fd_close(files.deny);
	fd_close(files.allow);
	return r;
}

/* --- the program ---------------------------------------------------------------------------------------- */

struct writer {
	struct bpf_insn *insns;
	size_t count;
};

/* Registers of the program. */
enum { R_RESULT = 0, R_CONTEXT = 1, R_ACCESS = 2, R_TYPE = 3, R_MAJOR = 4, R_MINOR = 5 };

static void emit(struct writer *w, unsigned code, unsigned dst, unsigned src, int off, int32_t imm)
{
	w->insns[w->count++] = (struct bpf_insn){
		.code = (uint8_t)code,
		.dst_reg = dst & 0xf,
		.src_reg = src & 0xf,
		.off = (int16_t)off,
		.imm = imm,
	};
}

static void emit_load(struct writer *w, unsigned dst, int off)
{
	emit(w, BPF_LDX | BPF_MEM | BPF_W, dst, R_CONTEXT, off, 0);
}

static void emit_return(struct writer *w, int value)
{
	emit(w, BPF_ALU64 | BPF_MOV | BPF_K, R_RESULT, 0, 0, value);
	emit(w, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void emit_prologue(struct writer *w)
{
	emit_load(w, R_ACCESS, offsetof(struct bpf_cgroup_dev_ctx, access_type));
	emit_load(w, R_MAJOR, offsetof(struct bpf_cgroup_dev_ctx, major));
	emit_load(w, R_MINOR, offsetof(struct bpf_cgroup_dev_ctx, minor));
	emit(w, BPF_ALU64 | BPF_MOV | BPF_X, R_TYPE, R_ACCESS, 0, 0);
	emit(w, BPF_ALU64 | BPF_AND | BPF_K, R_TYPE, 0, 0, 0xffff);
	emit(w, BPF_ALU64 | BPF_RSH | BPF_K, R_ACCESS, 0, 0, 16);
}

/* Jumps that leave the rule are emitted with offset 0 and mended when its end is known. */
static void emit_unless_equal(struct writer *w, unsigned reg, int64_t value)
{
	emit(w, BPF_JMP | BPF_JNE | BPF_K, reg, 0, 0, (int32_t)value);
}

/*
 * R_ACCESS holds what is asked for and not granted yet. A rule that allows takes its kinds out; when nothing
 * is left, the answer is yes. A rule that denies says no if one of its kinds is still in.
 */
static void emit_rule(struct writer *w, const struct cgroup_device_rule *rule)
{
	unsigned access = devices_access(rule->access);
	size_t start = w->count;

	if (rule->type != 'a')
		emit_unless_equal(w, R_TYPE, rule->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
	if (rule->major >= 0)
		emit_unless_equal(w, R_MAJOR, rule->major);
	if (rule->minor >= 0)
		emit_unless_equal(w, R_MINOR, rule->minor);
	if (access != ACCESS_ALL && rule->allow) {
		emit(w, BPF_ALU64 | BPF_AND | BPF_K, R_ACCESS, 0, 0, (int32_t)~access);
		emit_unless_equal(w, R_ACCESS, 0);
	} else if (access != ACCESS_ALL) {
		emit(w, BPF_ALU64 | BPF_MOV | BPF_X, R_RESULT, R_ACCESS, 0, 0);
		emit(w, BPF_ALU64 | BPF_AND | BPF_K, R_RESULT, 0, 0, (int32_t)access);
		emit(w, BPF_JMP | BPF_JEQ | BPF_K, R_RESULT, 0, 0, 0);
	}
	emit_return(w, rule->allow);
	for (size_t i = start; i < w->count; i++) {
		unsigned op = BPF_OP(w->insns[i].code);

		if (BPF_CLASS(w->insns[i].code) == BPF_JMP && (op == BPF_JNE || op == BPF_JEQ))
			w->insns[i].off = (int16_t)(w->count - i - 1);
	}
}

static bool rule_valid(const struct cgroup_device_rule *rule)
{
	return (rule->type == 'a' || rule->type == 'b' || rule->type == 'c') && rule->major <= INT32_MAX &&
	       rule->minor <= INT32_MAX;
}

struct bpf_insn *devices_program(const struct cgroup_device_rule *rules, size_t n, size_t *count)
{
	struct writer w = {.insns = NULL};

	errno = E2BIG;
	if (n > RULES_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		errno = EINVAL;
		if (!rule_valid(&rules[i]))
			return NULL;
	}
	w.insns = calloc(n * INSNS_PER_RULE + 8, sizeof(*w.insns));
	if (!w.insns)
		return NULL;
	emit_prologue(&w);
	for (size_t i = n; i-- > 0;) {
		if (devices_access(rules[i].access) == 0)
			continue;
		emit_rule(&w, &rules[i]);
		/* Nothing gets past it, and the kernel takes no code that cannot be reached. */
		if (covers_everything(&rules[i])) {
			*count = w.count;
			return w.insns;
		}
	}
	emit_return(&w, 1);
	*count = w.count;
	return w.insns;
}

/* --- bpf(2) --------------------------------------------------------------------------------------------- */

static int bpf(int command, union bpf_attr *attr)
{
	long r = syscall(SYS_bpf, command, attr, sizeof(*attr));

	return r < 0 ? -errno : (int)r;
}

/* Kernels before 5.11 count programs as locked memory of the user. */
static void raise_memlock(void)
{
	struct rlimit limit = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};

	setrlimit(RLIMIT_MEMLOCK, &limit);
}

static int program_load(const struct bpf_insn *insns, size_t count)
{
	union bpf_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insns = (uint64_t)(uintptr_t)insns;
	attr.insn_cnt = (uint32_t)count;
	attr.license = (uint64_t)(uintptr_t) "Apache-2.0";
	memcpy(attr.prog_name, PROGRAM_NAME, sizeof(PROGRAM_NAME));
	fd = bpf(BPF_PROG_LOAD, &attr);
	if (fd == -EPERM) {
		raise_memlock();
		fd = bpf(BPF_PROG_LOAD, &attr);
	}
	return fd;
}

/* A descriptor of the program @id if it is one of ours, else -1. */
static int program_open_ours(uint32_t id)
{
	struct bpf_prog_info info;
	union bpf_attr attr;
	_cleanup_fd_ int fd = -1;

	memset(&attr, 0, sizeof(attr));
	attr.prog_id = id;
	fd = bpf(BPF_PROG_GET_FD_BY_ID, &attr);
	if (fd < 0)
		return -1;
	memset(&attr, 0, sizeof(attr));
	memset(&info, 0, sizeof(info));
	attr.info.bpf_fd = (uint32_t)fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = (uint64_t)(uintptr_t)&info;
	if (bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) < 0 ||
	    strncmp(info.name, PROGRAM_NAME, sizeof(info.name)) != 0)
		return -1;
	return fd_steal(&fd);
}

/* Our programs on the cgroup: count, at most ATTACHED_MAX, or -errno. The descriptors are the caller's. */
static int programs_of(int cgroup_fd, int fds[ATTACHED_MAX])
{
	uint32_t ids[ATTACHED_MAX];
	union bpf_attr attr;
	int n = 0, r;

	memset(&attr, 0, sizeof(attr));
	attr.query.target_fd = (uint32_t)cgroup_fd;
	attr.query.attach_type = BPF_CGROUP_DEVICE;
	attr.query.prog_ids = (uint64_t)(uintptr_t)ids;
	attr.query.prog_cnt = ATTACHED_MAX;
	r = bpf(BPF_PROG_QUERY, &attr);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < attr.query.prog_cnt && i < ATTACHED_MAX; i++) {
		int fd = program_open_ours(ids[i]);

		if (fd >= 0)
			fds[n++] = fd;
	}
	return n;
}

static int program_attach(int cgroup_fd, int program, int replaced)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)cgroup_fd;
	attr.attach_bpf_fd = (uint32_t)program;
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	if (replaced >= 0) {
		attr.attach_flags |= BPF_F_REPLACE;
		attr.replace_bpf_fd = (uint32_t)replaced;
	}
	return bpf(BPF_PROG_ATTACH, &attr);
}

static void program_detach(int cgroup_fd, int program)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)cgroup_fd;
	attr.attach_bpf_fd = (uint32_t)program;
	attr.attach_type = BPF_CGROUP_DEVICE;
	bpf(BPF_PROG_DETACH, &attr);
}

/* In one step where the kernel can (5.6); else the new one first, so that there is no gap. */
static int attach_or_replace(int cgroup_fd, int program)
{
	int old[ATTACHED_MAX];
	int n = programs_of(cgroup_fd, old);
	int r = -EINVAL, keep = 0;

	if (n < 0)
		return n;
	if (n > 0) {
		r = program_attach(cgroup_fd, program, old[0]);
		keep = r == 0;
	}
	if (r < 0)
		r = program_attach(cgroup_fd, program, -1);
	for (int i = 0; i < n; i++) {
		if (r == 0 && i >= keep)
			program_detach(cgroup_fd, old[i]);
		fd_close(old[i]);
	}
	return r;
}

int v2_set_devices(const struct cgroup_dir *dir, const struct cgroup_resources *resources, struct error *e)
{
	_cleanup_free_ struct bpf_insn *insns = NULL;
	_cleanup_fd_ int program = -1;
	_cleanup_fd_ int fd = -1;
	size_t count = 0;
	int r;

	if (!resources->devices_set)
		return 0;
	insns = devices_program(resources->devices, resources->n_devices, &count);
	if (!insns)
		return error_errno(e, errno, "device rules of cgroup \"%s\"", dir->cg->path);
	fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, errno, "open cgroup \"%s\"", dir->cg->path);
	program = program_load(insns, count);
	r = program < 0 ? program : attach_or_replace(fd, program);
	if (r == -EPERM && dir->cg->rootless) {
		log_warning("cgroup", "devices are not restricted: only root may", "cgroup", dir->cg->path);
		return 0;
	}
	return r < 0 ? error_errno(e, -r, "restrict devices of cgroup \"%s\"", dir->cg->path) : 0;
}
