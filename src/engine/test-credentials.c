/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities, users, limits and priorities, applied by children to themselves and read back from the kernel. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/log.h"
#include "engine/credentials.h"
#include "engine/rlimits.h"
#include "engine/scheduling.h"
#include "engine/test-child.h"

#define BIT(n) (1ULL << (n))

static void names(void **state)
{
	assert_int_equal(capability_number("CAP_KILL"), CAP_KILL);
	assert_int_equal(capability_number("KILL"), CAP_KILL);
	assert_int_equal(capability_number("\"CAP_KILL\""), CAP_KILL);
	assert_int_equal(capability_number("\"KILL\""), CAP_KILL);
	assert_int_equal(capability_number("cap_kill"), CAP_KILL);
	assert_int_equal(capability_number("CAP_CHECKPOINT_RESTORE"), CAP_CHECKPOINT_RESTORE);
	assert_int_equal(capability_number("CAP_"), -1);
	assert_int_equal(capability_number(""), -1);
	assert_int_equal(capability_number("\""), -1);
	assert_int_equal(capability_number("KIL"), -1);
	assert_int_equal(capability_number("KILLS"), -1);
	assert_int_equal(capability_number(NULL), -1);
	for (int i = 0; capability_name(i); i++)
		assert_int_equal(capability_number(capability_name(i)), i);
	assert_null(capability_name(-1));
	assert_true(capabilities_known() & BIT(CAP_SYS_ADMIN));
	assert_false(capabilities_known() & BIT(63));
}

static void resolve(void **state)
{
	struct arena *arena = arena_new(0);
	struct capabilities caps;

	capabilities_resolve(from_json(&grpc__linux_capabilities__descriptor,
				       "{'bounding':['CAP_CHOWN','NET_RAW','CAP_FUTURE'],'ambient':['kill']}",
				       arena),
			     &caps);
	assert_int_equal(caps.bounding, BIT(CAP_CHOWN) | BIT(CAP_NET_RAW));
	assert_int_equal(caps.ambient, BIT(CAP_KILL));
	assert_int_equal(caps.effective, 0);
	capabilities_resolve(NULL, &caps);
	assert_int_equal(caps.bounding, 0);
	arena_free(arena);
}

static void init(void **state)
{
	struct arena *arena = arena_new(0);
	struct credentials c;
	Grpc__Process *own =
		from_json(&grpc__process__descriptor,
			  "{'noNewPrivileges':true,'capabilities':{'bounding':['KILL']}}", arena);
	Grpc__Process *exec =
		from_json(&grpc__process__descriptor,
			  "{'user':{'uid':5,'gid':6,'additionalGids':[7,8],'umask':63}}", arena);
	Grpc__Process *bare =
		from_json(&grpc__process__descriptor, "{'noNewPrivileges':false,'capabilities':{}}", arena);

	credentials_init(&c, exec, own);
	assert_int_equal(c.uid, 5);
	assert_int_equal(c.gid, 6);
	assert_int_equal(c.n_groups, 2);
	assert_int_equal(c.groups[1], 8);
	assert_int_equal(c.umask, 077);
	assert_true(c.no_new_privs);
	assert_int_equal(c.capabilities.bounding, BIT(CAP_KILL));
	credentials_init(&c, bare, own);
	assert_false(c.no_new_privs);
	assert_int_equal(c.capabilities.bounding, 0);
	assert_int_equal(c.umask, 022);
	credentials_init(&c, exec, NULL);
	assert_false(c.no_new_privs);
	arena_free(arena);
}

static uint64_t status_set(const char *name)
{
	_cleanup_free_ char *text = NULL;
	if (file_read(AT_FDCWD, "/proc/self/status", 65536, &text) < 0)
		return ~0ULL;
	const char *line = strstr(text, name);
	return line ? strtoull(line + strlen(name), NULL, 16) : ~0ULL;
}

static int as_user(void *argument)
{
	static const gid_t groups[] = {2001, 2002};
	struct error e = ERROR_INIT;
	struct credentials c = {
		.uid = 1234,
		.gid = 2345,
		.groups = groups,
		.n_groups = 2,
		.umask = 027,
		.no_new_privs = true,
		.capabilities = {.bounding = BIT(CAP_KILL) | BIT(CAP_CHOWN) | BIT(CAP_NET_RAW),
				 .permitted = BIT(CAP_KILL) | BIT(CAP_CHOWN),
				 .effective = BIT(CAP_KILL),
				 .inheritable = BIT(CAP_CHOWN) | BIT(CAP_KILL),
				 /* NET_RAW is not permitted: left out, not an error. */
				 .ambient = BIT(CAP_CHOWN) | BIT(CAP_NET_RAW)},
	};
	gid_t now[4];
	uid_t r, s, t;

	child_expect(credentials_switch(&c, &e) == 0);
	/* Between the two steps everything is still there, for seccomp(2). */
	child_expect(status_set("CapEff:") & BIT(CAP_SYS_ADMIN));
	child_expect(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
	child_expect(credentials_drop(&c, &e) == 0);
	child_expect(getresuid(&r, &s, &t) == 0 && r == 1234 && s == 1234 && t == 1234);
	child_expect(getgid() == 2345 && getegid() == 2345);
	child_expect(getgroups(4, now) == 2 && now[0] == 2001 && now[1] == 2002);
	child_expect(umask(0) == 027);
	child_expect(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	child_expect(prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0) == 0);
	child_expect(status_set("CapBnd:") == (BIT(CAP_KILL) | BIT(CAP_CHOWN) | BIT(CAP_NET_RAW)));
	child_expect(status_set("CapPrm:") == (BIT(CAP_KILL) | BIT(CAP_CHOWN)));
	child_expect(status_set("CapEff:") == BIT(CAP_KILL));
	child_expect(status_set("CapInh:") == (BIT(CAP_KILL) | BIT(CAP_CHOWN)));
	child_expect(status_set("CapAmb:") == BIT(CAP_CHOWN));
	child_expect(setuid(0) < 0);
	return 0;
}

/* Root of the container without capabilities has none. */
static int as_bare_root(void *argument)
{
	struct error e = ERROR_INIT;
	struct credentials c = {.umask = 022};

	child_expect(credentials_switch(&c, &e) == 0 && credentials_drop(&c, &e) == 0);
	child_expect(status_set("CapBnd:") == 0 && status_set("CapPrm:") == 0 && status_set("CapEff:") == 0);
	child_expect(getgroups(0, NULL) == 0);
	child_expect(chroot("/") < 0 && errno == EPERM);
	return 0;
}

/* What we do not have cannot be given; it is left out, twice in a row as well. */
static int less_than_asked(void *argument)
{
	struct error e = ERROR_INIT;
	struct credentials c = {.capabilities = {.bounding = BIT(CAP_KILL)}};
	struct capabilities all = {.bounding = ~0ULL,
				   .permitted = ~0ULL,
				   .effective = ~0ULL,
				   .inheritable = ~0ULL,
				   .ambient = ~0ULL};

	child_expect(credentials_switch(&c, &e) == 0);
	c.capabilities.permitted = BIT(CAP_KILL);
	child_expect(credentials_drop(&c, &e) == 0);
	child_expect(capabilities_limit_bounding(&all, &e) == 0);
	child_expect(capabilities_apply(&all, &e) == 0);
	child_expect(status_set("CapPrm:") == BIT(CAP_KILL) && status_set("CapAmb:") == BIT(CAP_KILL));
	return 0;
}

static void identity(void **state)
{
	if (geteuid() != 0)
		skip();
	assert_int_equal(in_child(as_user, NULL, NULL), 0);
	assert_int_equal(in_child(as_bare_root, NULL, NULL), 0);
	assert_int_equal(in_child(less_than_asked, NULL, NULL), 0);
}

static int unprivileged_switch(void *argument)
{
	struct error e = ERROR_INIT;
	struct credentials c = {.uid = 1, .capabilities.bounding = ~0ULL};

	child_expect(setresgid(4000, 4000, 4000) == 0 && setresuid(4000, 4000, 4000) == 0);
	child_expect(credentials_switch(&c, &e) == -EPERM);
	child_expect(strcmp(e.text, "setgroups failed: EPERM: Operation not permitted") == 0);
	c.keep_groups = true;
	c.gid = 4000;
	child_expect(credentials_switch(&c, &e) == -EPERM);
	child_expect(strstr(e.text, "change to uid 1: EPERM"));
	return 0;
}

static void switch_errors(void **state)
{
	if (geteuid() != 0)
		skip();
	assert_int_equal(in_child(unprivileged_switch, NULL, NULL), 0);
}

static int limits(void *argument)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;
	struct rlimit limit;
	Grpc__Process *p = from_json(&grpc__process__descriptor,
				     "{'rlimits':[{'type':'RLIMIT_NOFILE','soft':100,'hard':200},"
				     "{'type':'RLIMIT_CORE','soft':0,'hard':18446744073709551615}]}",
				     arena);

	child_expect(rlimits_apply(0, p->rlimits, p->n_rlimits, &e) == 0);
	child_expect(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 100 && limit.rlim_max == 200);
	child_expect(getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_cur == 0 &&
		     limit.rlim_max == RLIM_INFINITY);
	rlimits_reset(NULL, 0);
	child_expect(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max == 200);
	p = from_json(&grpc__process__descriptor, "{'rlimits':[{'type':'RLIMIT_CORE','soft':5,'hard':1}]}",
		      arena);
	child_expect(rlimits_apply(0, p->rlimits, 1, &e) == -EINVAL && strstr(e.text, "RLIMIT_CORE to 5:1"));
	return 0;
}

static int high_limit(void *argument)
{
	const struct rlimit high = {1 << 21, 1 << 21};
	struct rlimit limit;

	if (setrlimit(RLIMIT_NOFILE, &high) < 0)
		return 77;
	rlimits_reset(NULL, 0);
	child_expect(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 1024 &&
		     limit.rlim_max == 1048576);
	return 0;
}

static void resource_limits(void **state)
{
	assert_int_equal(in_child(limits, NULL, NULL), 0);
	int r = in_child(high_limit, NULL, NULL);
	/* fs.nr_open may be lower here. */
	assert_true(r == 0 || r == 77);
}

static int score(void *argument)
{
	struct error e = ERROR_INIT;
	_cleanup_fd_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;

	child_expect(oom_score_adj_write(proc, 321, false, &e) == 0);
	child_expect(file_read(proc, "self/oom_score_adj", 16, &text) > 0 && strcmp(text, "321\n") == 0);
	child_expect(oom_score_adj_write(proc, 2000, false, &e) == -EINVAL);
	if (geteuid() == 0) {
		child_expect(setresgid(4000, 4000, 4000) == 0 && setresuid(4000, 4000, 4000) == 0);
		child_expect(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0);
		child_expect(oom_score_adj_write(proc, -999, true, &e) == 0);
		child_expect(oom_score_adj_write(proc, -999, false, &e) == -EACCES);
	}
	return 0;
}

static void oom_score(void **state)
{
	assert_int_equal(in_child(score, NULL, NULL), 0);
}

static int own(void *argument)
{
	struct error e = ERROR_INIT;
	struct stat status;
	int ends[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);

	child_expect(null >= 0 && fstat(null, &status) == 0);
	uid_t before = status.st_uid;
	child_expect(pipe2(ends, O_CLOEXEC) == 0);
	child_expect(dup2(null, 0) == 0 && dup2(ends[1], 1) == 1 && close(2) == 0);
	child_expect(stdio_own(1234, &e) == 0);
	child_expect(fstat(1, &status) == 0 && status.st_uid == 1234);
	child_expect(fstat(0, &status) == 0 && status.st_uid == before);
	return 0;
}

static int keyring(void *argument)
{
	struct error e = ERROR_INIT;
	char text[256] = "";

	child_expect(keyring_join("test-container", &e) == 0);
	long length = syscall(SYS_keyctl, 6 /* KEYCTL_DESCRIBE */, -3 /* session */, text, sizeof(text), 0);
	child_expect(length < 0 || strstr(text, "_ses.test-container"));
	return 0;
}

static void stdio_and_keyring(void **state)
{
	if (geteuid() != 0)
		skip();
	assert_int_equal(in_child(own, NULL, NULL), 0);
	assert_int_equal(in_child(keyring, NULL, NULL), 0);
}

static int priorities(void *argument)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;
	Grpc__Process *p = from_json(
		&grpc__process__descriptor,
		"{'scheduler':{'policy':'SCHED_BATCH','nice':5,'flags':['SCHED_FLAG_RESET_ON_FORK']},"
		"'ioPriority':{'class':'IOPRIO_CLASS_BE','priority':6}}",
		arena);
	cpu_set_t set;

	child_expect(scheduler_apply(0, p->scheduler, &e) == 0);
	child_expect(sched_getscheduler(0) == (SCHED_BATCH | SCHED_RESET_ON_FORK));
	child_expect(getpriority(PRIO_PROCESS, 0) == 5);
	child_expect(io_priority_apply(p->iopriority, &e) == 0);
	child_expect(syscall(SYS_ioprio_get, 1, 0) == (2 << 13 | 6));
	child_expect(cpu_affinity_apply(0, "0", &e) == 0);
	child_expect(sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) == 1 &&
		     CPU_ISSET(0, &set));
	child_expect(cpu_affinity_apply(0, "8000", &e) == -EINVAL);
	child_expect(cpu_affinity_apply(0, "x", &e) == -EINVAL);
	cpu_affinity_reset();
	child_expect(sched_getaffinity(0, sizeof(set), &set) == 0 &&
		     CPU_COUNT(&set) == sysconf(_SC_NPROCESSORS_ONLN));
	child_expect(scheduler_apply(0, NULL, &e) == 0 && io_priority_apply(NULL, &e) == 0 &&
		     cpu_affinity_apply(0, NULL, &e) == 0 && memory_policy_apply(NULL, &e) == 0 &&
		     personality_apply(NULL, &e) == 0);
	Grpc__Linux *l = from_json(
		&grpc__linux__descriptor,
		"{'personality':{'domain':'LINUX32'},'memoryPolicy':{'mode':'MPOL_BIND','nodes':'0',"
		"'flags':['MPOL_F_STATIC_NODES']}}",
		arena);
	child_expect(personality_apply(l->personality, &e) == 0);
	int r = memory_policy_apply(l->memorypolicy, &e), mode = -1;
	/* Kernels without NUMA have no policies. */
	child_expect(r == 0 || r == -ENOSYS);
	if (r == 0)
		child_expect(syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0) == 0 && (mode & 0xfff) == 2);
	return 0;
}

static void scheduling(void **state)
{
	uint64_t mask[2];

	assert_int_equal(in_child(priorities, NULL, NULL), 0);
	assert_int_equal(number_list_parse("0-3,7,64", mask, 2), 0);
	assert_int_equal(mask[0], 0x8f);
	assert_int_equal(mask[1], 1);
	assert_int_equal(number_list_parse("128", mask, 2), -ERANGE);
	assert_int_equal(number_list_parse("99999999999999999999", mask, 2), -ERANGE);
	static const char *const bad[] = {"", ",", "1,", "-1", "1-", "1--2", "2-1", "1 ,2", "0x1", "+1"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(number_list_parse(bad[i], mask, 2), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),	 cmocka_unit_test(resolve),
		cmocka_unit_test(init),		 cmocka_unit_test(identity),
		cmocka_unit_test(switch_errors), cmocka_unit_test(resource_limits),
		cmocka_unit_test(oom_score),	 cmocka_unit_test(stdio_and_keyring),
		cmocka_unit_test(scheduling),
	};
	log_set_fd(-1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
