/* SPDX-License-Identifier: Apache-2.0 */
/* Sysctls in namespaces of a child's own, LSM labels, resctrl in a stand-in directory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/log.h"
#include "engine/lsm.h"
#include "engine/rdt.h"
#include "engine/sysctl.h"
#include "engine/test-child.h"

static void sysctl_paths(void **state)
{
	static const struct {
		const char *key, *path;
	} list[] = {
		{"net.ipv4.ip_forward", "net/ipv4/ip_forward"},
		{"net/ipv4/ip_forward", "net/ipv4/ip_forward"},
		{"net.ipv4.conf.eth0/1.rp_filter", "net/ipv4/conf/eth0.1/rp_filter"},
		{"net/ipv4/conf/eth0.1/rp_filter", "net/ipv4/conf/eth0.1/rp_filter"},
		{"single", "single"},
		{"", NULL},
		{"/net", NULL},
		{"net/", NULL},
		{"net//a", NULL},
		{"net/../kernel", NULL},
		{"..", NULL},
		{"a.b//c", "a/b..c"},
		{"a./c", "a/.c"},
		{"a..c", NULL},
	};
	char path[SYSCTL_PATH_MAX], text[SYSCTL_PATH_MAX + 2];

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		int r = sysctl_path(list[i].key, path);
		if (r != (list[i].path ? 0 : -EINVAL) || (list[i].path && strcmp(path, list[i].path) != 0))
			fail_msg("%s: %d %s", list[i].key, r, r ? "" : path);
	}
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(sysctl_path(text, path), -ENAMETOOLONG);
	assert_int_equal(sysctl_path(NULL, path), -EINVAL);
}

static void sysctl_rules(void **state)
{
	struct error e = ERROR_INIT;

	assert_int_equal(sysctl_validate("kernel.shmmax", CLONE_NEWIPC, false, &e), 0);
	assert_int_equal(sysctl_validate("kernel.shmmax", CLONE_NEWNET, true, &e), -EINVAL);
	assert_int_equal(sysctl_validate("fs/mqueue/msg_max", CLONE_NEWIPC, false, &e), 0);
	assert_int_equal(sysctl_validate("fs.mqueue", CLONE_NEWIPC, false, &e), -EINVAL);
	assert_int_equal(sysctl_validate("kernel.semx", CLONE_NEWIPC, false, &e), -EINVAL);
	assert_int_equal(sysctl_validate("kernel.domainname", CLONE_NEWUTS, true, &e), 0);
	assert_int_equal(sysctl_validate("kernel.hostname", CLONE_NEWUTS, false, &e), -EINVAL);
	assert_int_equal(sysctl_validate("kernel.hostname", CLONE_NEWUTS, true, &e), -EINVAL);
	assert_int_equal(sysctl_validate("user.max_user_namespaces", 0, false, &e), -EINVAL);
	assert_int_equal(sysctl_validate("user.max_user_namespaces", CLONE_NEWUSER, false, &e), 0);
	assert_int_equal(sysctl_validate("net.core.somaxconn", 0, true, &e), 0);
}

static int sysctl_child(void *argument)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;
	_cleanup_free_ char *text = NULL;
	_cleanup_fd_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	Grpc__Linux *l = from_json(&grpc__linux__descriptor,
				   "{'sysctl':{'kernel.msgmax':'4321','fs/mqueue/msg_max':'11'}}", arena);

	child_expect(unshare(CLONE_NEWIPC) == 0);
	child_expect(sysctl_apply(proc, l->sysctl, l->n_sysctl, false, &e) == 0);
	child_expect(file_read(proc, "sys/kernel/msgmax", 64, &text) > 0 && strcmp(text, "4321\n") == 0);
	l = from_json(&grpc__linux__descriptor, "{'sysctl':{'kernel.no_such_thing':'1'}}", arena);
	child_expect(sysctl_apply(proc, l->sysctl, l->n_sysctl, true, &e) == 0);
	child_expect(sysctl_apply(proc, l->sysctl, l->n_sysctl, false, &e) == -ENOENT);
	child_expect(strstr(e.text, "linux.sysctl: set kernel.no_such_thing to \"1\": ENOENT"));
	l = from_json(&grpc__linux__descriptor, "{'sysctl':{'kernel.msgmax':'much'}}", arena);
	child_expect(sysctl_apply(proc, l->sysctl, l->n_sysctl, false, &e) == -EINVAL);
	return 0;
}

static void sysctl_writes(void **state)
{
	if (geteuid() != 0)
		skip();
	assert_int_equal(in_child(sysctl_child, NULL, NULL), 0);
}

static void labels(void **state)
{
	assert_true(selinux_label_valid("system_u:system_r:container_t:s0:c123,c456"));
	assert_true(selinux_label_valid("u:r:t"));
	assert_true(selinux_label_valid("a_b:c-d:e.f:s0-s0:c0.c1023"));
	static const char *const bad[] = {
		"", "a", "a:b", "a:b:", "::", "a:b:c:", "a b:c:d", "a:b:c:s0;", "a:b:c\"", ":b:c"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(selinux_label_valid(bad[i]));
}

static void security_modules(void **state)
{
	struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;
	const ProtobufCMessageDescriptor *type = &grpc__process__descriptor;

	assert_int_equal(lsm_check(NULL, NULL, &e), 0);
	assert_int_equal(
		lsm_check(from_json(type, "{'apparmorProfile':'','selinuxLabel':''}", arena), NULL, &e), 0);
	assert_int_equal(lsm_check(from_json(type, "{'apparmorProfile':'unconfined'}", arena), NULL, &e), 0);
	int r = lsm_check(from_json(type, "{'apparmorProfile':'no-such-profile-4711'}", arena), NULL, &e);
	assert_true(r == -ENOENT || r == -EOPNOTSUPP);
	assert_int_equal(e.code, STATUS_FAILED_PRECONDITION);
	assert_non_null(strstr(e.text, "no-such-profile-4711"));
	if (!selinux_enabled()) {
		assert_int_equal(lsm_check(from_json(type, "{'selinuxLabel':'u:r:t:s0'}", arena), NULL, &e),
				 -EOPNOTSUPP);
		assert_string_equal(
			e.text, "SELinux label for the process is provided but SELinux is not enabled on the "
				"running kernel");
		/* Without SELinux mounts stay as they are. */
		assert_string_equal(selinux_mount_data("tmpfs", "mode=755", "u:r:t:s0", arena), "mode=755");
	}
	assert_string_equal(selinux_mount_data("tmpfs", NULL, NULL, arena), "");
	assert_int_equal(lsm_set_exec(-1, NULL, "", &e), 0);
	assert_int_equal(selinux_label_mount(-1, "tmpfs", "x", &e), 0);
	arena_free(arena);
}

/* --- resctrl --- */

static char root[] = "/tmp/rdt-test-XXXXXX";

static int set_up(void **state)
{
	log_set_fd(-1);
	return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

static char *path(struct arena *arena, const char *name)
{
	return arena_printf(arena, "%s/%s", root, name);
}

/* The kernel fills a new group; here the test does. */
static void group(struct arena *arena, const char *name, const char *schemata)
{
	assert_int_equal(mkdir(path(arena, name), 0755), 0);
	assert_int_equal(mkdir(path(arena, arena_printf(arena, "%s/mon_groups", name)), 0755), 0);
	static const char *const files[] = {"schemata", "tasks"};
	for (int i = 0; i < 2; i++) {
		int fd = open(path(arena, arena_printf(arena, "%s/%s", name, files[i])),
			      O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		assert_true(fd >= 0);
		if (i == 0)
			assert_int_equal(fd_write_all(fd, schemata, strlen(schemata)), 0);
		close(fd);
	}
}

static void resctrl(void **state)
{
	struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;
	struct rdt *rdt = (void *)1;
	const ProtobufCMessageDescriptor *type = &grpc__linux_intel_rdt__descriptor;

	assert_int_equal(rdt_new(root, NULL, "c", &rdt, &e), 0);
	assert_null(rdt);
	assert_int_equal(rdt_new(NULL, from_json(type, "{}", arena), "c", &rdt, &e), -ENOENT);

	/* Only named: it must be there. */
	assert_int_equal(rdt_new(root, from_json(type, "{'closID':'gold'}", arena), "c", &rdt, &e), -ENOENT);
	group(arena, "gold", "    L3:0=00f;1=0ff\n    MB:0=100;1=20\n");
	assert_int_equal(rdt_new(root, from_json(type, "{'closID':'gold'}", arena), "c", &rdt, &e), 0);
	assert_int_equal(rdt_attach(rdt, 42, &e), 0);
	char *text = NULL;
	assert_true(file_read(AT_FDCWD, path(arena, "gold/tasks"), 64, &text) > 0);
	assert_string_equal(text, "42");
	free(text);
	assert_int_equal(rdt_remove(rdt, &e), 0);
	rdt_free(rdt);
	assert_int_equal(access(path(arena, "gold"), F_OK), 0);

	/* With the same schemata it may be joined, with others not. */
	assert_int_equal(
		rdt_new(root,
			from_json(type,
				  "{'closID':'gold','l3CacheSchema':'L3:0=f;1=ff','memBwSchema':'MB:1=20'}",
				  arena),
			"c", &rdt, &e),
		0);
	rdt_free(rdt);
	assert_int_equal(rdt_new(root,
				 from_json(type, "{'closID':'gold','l3CacheSchema':'L3:0=f;1=f'}", arena),
				 "c", &rdt, &e),
			 -EEXIST);
	assert_null(rdt);
	assert_int_equal(rdt_new(root, from_json(type, "{'closID':'gold','schemata':['L2:0=f']}", arena), "c",
				 &rdt, &e),
			 -EEXIST);

	/* The container's own class, with monitoring: made and removed. */
	assert_int_equal(rdt_new(root, from_json(type, "{}", arena), "mine", &rdt, &e), 0);
	assert_int_equal(access(path(arena, "mine"), F_OK), 0);
	assert_int_equal(rdt_remove(rdt, &e), 0);
	rdt_free(rdt);
	assert_int_equal(access(path(arena, "mine"), F_OK), -1);
	assert_int_equal(rdt_new(root, from_json(type, "{'closID':'gold','enableMonitoring':true}", arena),
				 "mine", &rdt, &e),
			 0);
	assert_int_equal(access(path(arena, "gold/mon_groups/mine"), F_OK), 0);
	rdt_free(rdt);
	/* A later process finds and removes what was made. */
	rdt = rdt_find(root, from_json(type, "{'closID':'gold','enableMonitoring':true}", arena), "mine");
	assert_non_null(rdt);
	assert_int_equal(rdt_remove(rdt, &e), 0);
	rdt_free(rdt);
	assert_int_equal(access(path(arena, "gold/mon_groups/mine"), F_OK), -1);
	assert_int_equal(access(path(arena, "gold"), F_OK), 0);

	/* A failure (no schemata file appears in a plain directory) leaves nothing behind. */
	assert_int_equal(
		rdt_new(root, from_json(type, "{'l3CacheSchema':'L3:0=f'}", arena), "mine", &rdt, &e),
		-ENOENT);
	assert_int_equal(access(path(arena, "mine"), F_OK), -1);
	assert_int_equal(
		rdt_update(root, from_json(type, "{'closID':'gold','memBwSchema':'MB:0=7'}", arena), "c", &e),
		0);
	assert_true(file_read(AT_FDCWD, path(arena, "gold/schemata"), 256, &text) > 0);
	assert_non_null(strstr(text, "MB:0=7\n"));
	free(text);
	assert_int_equal(rdt_update(root, from_json(type, "{'memBwSchema':'MB:0=7'}", arena), "none", &e),
			 -ENOENT);
	assert_int_equal(rdt_attach(NULL, 1, &e), 0);
	assert_int_equal(rdt_remove(NULL, &e), 0);
	assert_null(rdt_find(root, NULL, "c"));
	arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sysctl_paths),	    cmocka_unit_test(sysctl_rules),
		cmocka_unit_test(sysctl_writes),    cmocka_unit_test(labels),
		cmocka_unit_test(security_modules), cmocka_unit_test(resctrl),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
