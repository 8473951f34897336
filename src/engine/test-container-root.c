/* SPDX-License-Identifier: Apache-2.0 */

/* The container's root: mounts with all their options, /dev, masked and read-only paths. */

#include <sys/sysmacros.h>

#include "base/path.h"
#include <sched.h>

#include <sys/xattr.h>

#include "test-root.h"

/* Options column of the mount at @point, as mountinfo tells it ("ro,nosuid,…"). */
#define OPTIONS_OF(point) "grep ' " point " ' /proc/self/mountinfo | cut -d' ' -f6; "

/* --- options ------------------------------------------------------------------------------------------------ */

static void new_file_systems_get_their_options(void **state)
{
	NEEDS_STAGE();
	const struct part part = {.script = OPTIONS_OF("/data") "stat -c %a /data; " OPTIONS_OF(
					  "/b") "touch /b/x 2>/dev/null || echo ro",
				  .mounts = MOUNTS "," MOUNT(
					  "/data", "tmpfs", "tmpfs",
					  "\"nosuid\",\"nodev\",\"noexec\",\"noatime\",\"mode=1750\",\"size="
					  "64k\"") "," MOUNT("/b", "tmpfs", "tmpfs",
							     "\"rw\",\"ro\",\"nosymfollow\",\"nodiratime\"")};

	expect_output(&part,
		      "rw,nosuid,nodev,noexec,noatime\n1750\nro,nodiratime,relatime,nosymfollow\nro\n");
}

static void binds_keep_what_the_source_has(void **state)
{
	NEEDS_STAGE();
	char mounts[2048];

	make_volume();
	snprintf(mounts, sizeof(mounts),
		 MOUNT_PROC ",{\"destination\":\"/data\",\"source\":\"%s/volume/"
			    "sub\",\"options\":[\"bind\",\"ro\",\"nosuid\"]}",
		 stage.dir);
	const struct part part = {.script = OPTIONS_OF("/data") "touch /data/x 2>/dev/null || echo refused",
				  .mounts = mounts};
	/* nodev is the source's own. */
	expect_output(&part, "ro,nosuid,nodev,relatime\nrefused\n");
	remove_volume();
}

static void recursive_read_only_reaches_below(void **state)
{
	NEEDS_STAGE();
	char mounts[2048];
	const char *const options[] = {"\"rbind\",\"ro\"", "\"rbind\",\"rro\"",
				       "\"rbind\",\"rnosuid\",\"rnoexec\""};
	const char *const expected[] = {"ro,relatime\nrw,nodev,relatime\n",
					"ro,relatime\nro,nodev,relatime\n",
					"rw,nosuid,noexec,relatime\nrw,nosuid,nodev,noexec,relatime\n"};

	make_volume();
	for (size_t i = 0; i < array_length(options); i++) {
		snprintf(mounts, sizeof(mounts),
			 MOUNT_PROC ",{\"destination\":\"/data\",\"source\":\"%s/volume\",\"options\":[%s]}",
			 stage.dir, options[i]);
		const struct part part = {.script = OPTIONS_OF("/data") OPTIONS_OF("/data/sub"),
					  .mounts = mounts};
		expect_output(&part, expected[i]);
	}
	remove_volume();
}

static void propagation_is_applied_to_all_mounts(void **state)
{
	NEEDS_STAGE();
	const struct part part = {.script = "for p in /data /b; do grep \" $p \" /proc/self/mountinfo | cut "
					    "-d' ' -f7 | cut -d: -f1; done",
				  .mounts = MOUNT_PROC
				  "," MOUNT("/data", "tmpfs", "tmpfs", "\"shared\"") "," MOUNT(
					  "/b", "tmpfs", "tmpfs", "\"unbindable\"")};

	expect_output(&part, "shared\nunbindable\n");
}

static void root_propagation_is_the_containers(void **state)
{
	NEEDS_STAGE();
	const struct part shared = {
		.script = "grep ' / / \\| / rw' /proc/self/mountinfo | cut -d' ' -f7 | cut -d: -f1",
		.linux = ",\"rootfsPropagation\":\"shared\"",
		.mounts = MOUNT_PROC};
	expect_output(&shared, "shared\n");
	const struct part private = {.script = "grep -c shared: /proc/self/mountinfo",
				     .linux = ",\"rootfsPropagation\":\"private\"",
				     .mounts = MOUNT_PROC};
	struct buf out = BUF_INIT;
	run_to(&private, &out);
	assert_string_equal(buf_string(&out), "0\n");
	buf_deinit(&out);
}

static void remount_changes_what_is_there(void **state)
{
	NEEDS_STAGE();
	const struct part part = {.script = OPTIONS_OF("/data"),
				  .mounts = MOUNT_PROC
				  "," MOUNT("/data", "tmpfs", "tmpfs", "\"nosuid\",\"size=64k\"") "," MOUNT(
					  "/data", "tmpfs", "tmpfs", "\"remount\",\"ro\",\"noexec\"")};

	expect_output(&part, "ro,nosuid,noexec,relatime\n");
}

static void copies_up_into_a_tmpfs(void **state)
{
	NEEDS_STAGE();
	char path[256];

	in_rootfs(path, "data/dir");
	assert_int_equal(mkdir(path, 0750), 0);
	in_rootfs(path, "data/dir/file");
	write_file(path, "content\n");
	assert_int_equal(chown(path, 12, 34), 0);
	assert_int_equal(chmod(path, 04711), 0);
	in_rootfs(path, "data/link");
	assert_int_equal(symlink("dir/file", path), 0);
	const struct part part = {.script = "cat /data/link; stat -c '%a %u %g' /data/dir/file /data/dir; rm "
					    "-r /data/dir; readlink /data/link",
				  .mounts = MOUNT_PROC "," MOUNT("/data", "tmpfs", "tmpfs", "\"tmpcopyup\"")};
	expect_output(&part, "content\n4711 12 34\n750 0 0\ndir/file\n");
	/* The image's own is as it was. */
	in_rootfs(path, "data/dir/file");
	expect_file(path, "content\n");
	unlink(path);
	in_rootfs(path, "data/dir");
	rmdir(path);
	in_rootfs(path, "data/link");
	unlink(path);
}

/* A container whose ping has its right from its file would have lost it. */
static void file_capabilities_are_copied_up(void **state)
{
	NEEDS_STAGE();
	/* vfs_cap_data, revision 2, effective: CAP_NET_RAW */
	static const uint8_t capability[20] = {1, 0, 0, 2, 0, 0x20};
	uint8_t got[64];
	char path[256];

	in_rootfs(path, "data/tool");
	write_file(path, "tool\n");
	assert_int_equal(chown(path, 12, 34), 0);
	if (setxattr(path, "security.capability", capability, sizeof(capability), 0) < 0) {
		unlink(path);
		skip();
	}
	const struct part part = {.script = "true",
				  .mounts = MOUNT_PROC "," MOUNT("/data", "tmpfs", "tmpfs", "\"tmpcopyup\"")};
	struct container *container = must_create(&part);
	snprintf(path, sizeof(path), "/proc/%d/root/data/tool", (int)container_init(container)->pid);
	assert_int_equal(getxattr(path, "security.capability", got, sizeof(got)), sizeof(capability));
	assert_memory_equal(got, capability, sizeof(capability));
	must_delete(container);
	in_rootfs(path, "data/tool");
	assert_int_equal(unlink(path), 0);
}

static void idmapped_mounts_map(void **state)
{
	NEEDS_STAGE();
	char mounts[2048], path[256];

	make_volume();
	in_stage(path, "volume/file");
	assert_int_equal(chown(path, 1000, 1001), 0);
	snprintf(mounts, sizeof(mounts),
		 MOUNT_PROC ",{\"destination\":\"/data\",\"source\":\"%s/"
			    "volume\",\"options\":[\"bind\",\"idmap\"],\"uidMappings\":[{"
			    "\"containerID\":1000,\"hostID\":5000,\"size\":2}],\"gidMappings\":[{"
			    "\"containerID\":1000,\"hostID\":6000,"
			    "\"size\":2}]}",
		 stage.dir);
	const struct part part = {.script = "stat -c '%u %g' /data/file", .mounts = mounts};
	expect_output(&part, "5000 6001\n");
	snprintf(mounts, sizeof(mounts),
		 MOUNT_PROC
		 ",{\"destination\":\"/data\",\"source\":\"%s/volume\",\"options\":[\"bind\",\"idmap\"]}",
		 stage.dir);
	expect_failure(&part, "idmap");
	remove_volume();
}

static void destinations_may_be_odd(void **state)
{
	NEEDS_STAGE();
	const struct part part = {
		.script = "for p in '/..a' /a..b /relative /process /deep/er; do grep -c \" $p \" "
			  "/proc/self/mountinfo; done",
		.mounts = MOUNT_PROC
		"," MOUNT("/..a", "tmpfs", "x", "") "," MOUNT("/a..b", "tmpfs", "x", "") "," MOUNT(
			"relative", "tmpfs", "x", "") "," MOUNT("/process", "tmpfs", "x",
								"") "," MOUNT("/x/../deep/er", "tmpfs", "x",
									      "")};

	expect_output(&part, "1\n1\n1\n1\n1\n");
}

static void cgroups_are_visible_inside(void **state)
{
	NEEDS_STAGE();
	const struct part part = {.script = "test -d /sys/fs/cgroup/memory && cat "
					    "/sys/fs/cgroup/memory/cgroup.procs | grep -c ^1$; "
					    "touch /sys/fs/cgroup/x 2>/dev/null || echo ro",
				  .mounts = MOUNTS "," MOUNT_SYS
						   "," MOUNT("/sys/fs/cgroup", "cgroup", "cgroup",
							     "\"nosuid\",\"noexec\",\"nodev\",\"ro\"")};

	if (cgroup_host_layout(engine_cgroups(stage.engine)) == CGROUP_V2)
		skip();
	expect_output(&part, "1\nro\n");
}

static void a_cgroup_namespace_hides_the_path(void **state)
{
	NEEDS_STAGE();
	const struct part part = {.script = "grep -v ':/$' /proc/self/cgroup | wc -l",
				  .namespaces = NAMESPACES ",{\"type\":\"cgroup\"}"};

	expect_output(&part, "0\n");
}

/* Where mounts of ours are shared, and the container's are to be, ours stay as they were. */
static void shared_mounts_do_not_come_back(void **state)
{
	NEEDS_STAGE();
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct error e = ERROR_INIT;
		int code = 0;

		if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL) < 0)
			_exit(1);
		/* Not ours to free, and not lost. */
		const struct stage parents = stage;
		(void)parents;
		stage.loop = loop_new();
		for (int no_pivot = 0; no_pivot < 2; no_pivot++) {
			const struct engine_options options = {.loop = stage.loop, .no_pivot = no_pivot};
			const struct part part = {.script = "true",
						  .linux = ",\"rootfsPropagation\":\"rshared\""};
			size_t before = count_mounts();
			struct buf out = BUF_INIT;

			stage.engine = engine_new(&options, &e);
			if (!stage.engine || run_to(&part, &out) != 0)
				_exit(2);
			buf_deinit(&out);
			if (count_mounts() != before || access("/etc", F_OK) < 0 ||
			    access("/proc/self", F_OK) < 0)
				code = 3 + no_pivot;
			engine_free(stage.engine);
		}
		_exit(code);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void remount_takes_file_system_options(void **state)
{
	NEEDS_STAGE();
	const struct part part = {.script = "grep ' /data ' /proc/self/mountinfo | cut -d' ' -f6; grep -o "
					    "size=128k /proc/self/mountinfo",
				  .mounts = MOUNT_PROC
				  "," MOUNT("/data", "tmpfs", "tmpfs", "\"nosuid\",\"size=64k\"") "," MOUNT(
					  "/data", "tmpfs", "tmpfs", "\"remount\",\"noexec\",\"size=128k\"")};

	expect_output(&part, "rw,nosuid,noexec,relatime\nsize=128k\n");
}

/* --- the root ----------------------------------------------------------------------------------------------- */

static void a_read_only_root_keeps_its_mounts_writable(void **state)
{
	NEEDS_STAGE();
	const struct part part = {.script = "touch /x 2>/dev/null || echo ro; touch /dev/x && echo rw",
				  .root = ",\"readonly\":true"};

	expect_output(&part, "ro\nrw\n");
}

static void a_read_only_dev_has_its_nodes(void **state)
{
	NEEDS_STAGE();
	const struct part part = {
		.script = "touch /dev/x 2>/dev/null || echo ro; test -c /dev/null && echo null",
		.mounts = MOUNT_PROC "," MOUNT("/dev", "tmpfs", "tmpfs", "\"nosuid\",\"ro\",\"mode=755\"")};

	expect_output(&part, "ro\nnull\n");
}

static void the_old_root_is_gone(void **state)
{
	NEEDS_STAGE();
	const struct part part = {.script = "cat /proc/self/mountinfo | wc -l; ls / | grep -c usr",
				  .mounts = MOUNT_PROC};
	struct buf out = BUF_INIT;

	run_to(&part, &out);
	assert_string_equal(buf_string(&out), "2\n0\n");
	buf_deinit(&out);
}

static void an_initramfs_is_covered(void **state)
{
	NEEDS_STAGE();
	struct error e = ERROR_INIT;
	const struct engine_options options = {.loop = stage.loop, .no_pivot = true};
	struct engine *usual = stage.engine;
	const struct part part = {
		.script = "ls -d /usr /work 2>/dev/null; cut -d' ' -f5 /proc/self/mountinfo | head -n 3; "
			  "test -e /tmp && echo in"};

	stage.engine = engine_new(&options, &e);
	assert_non_null(stage.engine);
	/* The old "/" itself stays below, out of reach and sight. */
	expect_output(&part, "/\n/proc\n/dev\nin\n");
	engine_free(stage.engine);
	stage.engine = usual;
}

static void without_a_mount_namespace_the_root_is_changed(void **state)
{
	NEEDS_STAGE();
	const struct part part = {.script = "ls / | grep -c bin; ls -d /usr 2>/dev/null; hostname",
				  .namespaces = "{\"type\":\"pid\"},{\"type\":\"uts\"}",
				  .mounts = ""};
	char path[256];

	expect_output(&part, "1\nstage\n");
	/* Its nodes are in the directory itself. */
	in_rootfs(path, "dev/null");
	assert_int_equal(access(path, F_OK), 0);
}

static void the_cwd_is_made(void **state)
{
	NEEDS_STAGE();
	char path[256];
	struct container *container;
	struct outcome outcome;
	const struct part part = {.script = "pwd"};
	struct container_params params = {.gate = -1};

	/* A cwd through a link of the image stays in the root. */
	in_rootfs(path, "away");
	assert_int_equal(symlink("/tmp/../../../made", path), 0);
	container = create_with(&part, &params, &outcome);
	params.spec->process->cwd = arena_strdup(params.arena, "/away/deep");
	assert_int_equal(await_outcome(&outcome), 0);
	must_delete(container);
	unlink(path);
	in_rootfs(path, "made/deep");
	assert_int_equal(rmdir(path), 0);
	in_rootfs(path, "made");
	assert_int_equal(rmdir(path), 0);
}

/* --- masked and read-only ----------------------------------------------------------------------------------- */

static void masked_paths_are_empty(void **state)
{
	NEEDS_STAGE();
	char path[256];

	in_rootfs(path, "data/secret");
	write_file(path, "secret\n");
	const struct part part = {.script = "ls /data; cat /proc/keys; ls /sys/firmware /proc/bus | grep -v "
					    ":; touch /data/x 2>/dev/null || echo ro; "
					    "cat /etc/passwd; stat -c %t:%T /etc/passwd",
				  .mounts = MOUNTS "," MOUNT_SYS,
				  .linux = ",\"maskedPaths\":[\"/data\",\"/proc/keys\",\"/sys/firmware\",\"/"
					   "proc/bus\",\"/etc/passwd\",\"/not/there\","
					   "\"/etc/passwd/below\"]"};
	char passwd[256];
	in_rootfs(passwd, "etc/passwd");
	write_file(passwd, "root:x:0:0::/root:/bin/sh\n");
	expect_output(&part, "\nro\n1:3\n");
	unlink(passwd);
	unlink(path);
}

static void read_only_paths_keep_their_flags(void **state)
{
	NEEDS_STAGE();
	char mounts[2048];

	make_volume();
	snprintf(mounts, sizeof(mounts),
		 MOUNT_PROC
		 ",{\"destination\":\"/data\",\"source\":\"%s/volume\",\"options\":[\"rbind\",\"nosuid\"]}",
		 stage.dir);
	const struct part part = {.script = "for p in /proc/sys /data /data/sub; do grep \" $p \" "
					    "/proc/self/mountinfo | cut -d' ' -f6 | tail -n 1; "
					    "done",
				  .mounts = mounts,
				  .linux = ",\"readonlyPaths\":[\"/proc/sys\",\"/data\",\"/not/there\"]"};
	struct buf out = BUF_INIT;

	run_to(&part, &out);
	/* tail is no applet of the stage: all lines come, the covering mount last. */
	assert_non_null(strstr(buf_string(&out), "ro,nosuid,nodev,noexec,relatime"));
	buf_deinit(&out);
	const struct part write = {
		.script = "touch /data/x 2>/dev/null || echo ro; touch /data/sub/x 2>/dev/null || echo ro; "
			  "echo 1 2>/dev/null > /proc/sys/kernel/panic || echo ro",
		.mounts = mounts,
		.linux = part.linux};
	run_to(&write, &out);
	assert_non_null(strstr(buf_string(&out), "ro\nro\n"));
	assert_null(strstr(buf_string(&out), "rw"));
	buf_deinit(&out);
	remove_volume();
}

/* --- devices ------------------------------------------------------------------------------------------------ */

static void devices_are_made_as_asked(void **state)
{
	NEEDS_STAGE();
	const struct part part = {
		.script = "cd /dev; stat -c '%n %F %t:%T %a %u' null zero full random urandom tty mine block "
			  "fifo sub/dir /tmp/outside; "
			  "for l in ptmx core fd; do readlink $l; done",
		.mounts = MOUNTS "," MOUNT("/tmp", "tmpfs", "tmpfs", ""),
		.linux =
			",\"devices\":["
			"{\"path\":\"/dev/"
			"mine\",\"type\":\"c\",\"major\":1,\"minor\":3,\"fileMode\":416,\"uid\":12,\"gid\":"
			"34},"
			"{\"path\":\"/dev/block\",\"type\":\"b\",\"major\":7,\"minor\":300,\"fileMode\":384},"
			"{\"path\":\"/dev/fifo\",\"type\":\"p\",\"fileMode\":438},"
			"{\"path\":\"/dev/sub/dir\",\"type\":\"u\",\"major\":1,\"minor\":5,\"fileMode\":438},"
			"{\"path\":\"/tmp/outside\",\"type\":\"c\",\"major\":1,\"minor\":7,\"fileMode\":438},"
			"{\"path\":\"/dev/zero\",\"type\":\"c\",\"major\":1,\"minor\":5,\"fileMode\":384}]"};

	expect_output(
		&part,
		"null character special file 1:3 666 0\nzero character special file 1:5 600 0\n"
		"full character special file 1:7 666 0\nrandom character special file 1:8 666 0\n"
		"urandom character special file 1:9 666 0\ntty character special file 5:0 666 0\n"
		"mine character special file 1:3 640 12\nblock block special file 7:12c 600 0\n"
		"fifo fifo 0:0 666 0\nsub/dir character special file 1:5 666 0\n"
		"/tmp/outside character special file 1:7 666 0\npts/ptmx\n/proc/kcore\n/proc/self/fd\n");
}

static void existing_nodes_must_match(void **state)
{
	NEEDS_STAGE();
	char path[256];
	const struct part part = {.script = "stat -c %t:%T /dev/null /data/node",
				  .mounts = MOUNT_PROC,
				  .linux =
					  ",\"devices\":[{\"path\":\"/data/"
					  "node\",\"type\":\"c\",\"major\":1,\"minor\":3,\"fileMode\":438}]"};

	in_rootfs(path, "data/node");
	assert_int_equal(mknod(path, S_IFCHR | 0666, makedev(1, 3)), 0);
	/* /dev of the image itself: made once, found again. */
	expect_output(&part, "1:3\n1:3\n");
	expect_output(&part, "1:3\n1:3\n");
	unlink(path);
	assert_int_equal(mknod(path, S_IFCHR | 0666, makedev(1, 5)), 0);
	expect_failure(&part, "something else is at \"node\"");
	unlink(path);
	write_file(path, "");
	expect_failure(&part, "something else is at \"node\"");
	unlink(path);
}

static void a_bound_dev_is_left_alone(void **state)
{
	NEEDS_STAGE();
	char mounts[1024], path[256];

	in_stage(path, "dev");
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(mounts, sizeof(mounts),
		 MOUNT_PROC ",{\"destination\":\"/dev\",\"source\":\"%s\",\"options\":[\"bind\"]}", path);
	const struct part part = {.script = "ls /dev | wc -l", .mounts = mounts};
	expect_output(&part, "0\n");
	assert_int_equal(rmdir(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		stage_test(new_file_systems_get_their_options),
		stage_test(binds_keep_what_the_source_has),
		stage_test(recursive_read_only_reaches_below),
		stage_test(propagation_is_applied_to_all_mounts),
		stage_test(root_propagation_is_the_containers),
		stage_test(remount_changes_what_is_there),
		stage_test(remount_takes_file_system_options),
		stage_test(shared_mounts_do_not_come_back),
		stage_test(copies_up_into_a_tmpfs),
		stage_test(file_capabilities_are_copied_up),
		stage_test(idmapped_mounts_map),
		stage_test(destinations_may_be_odd),
		stage_test(cgroups_are_visible_inside),
		stage_test(a_cgroup_namespace_hides_the_path),
		stage_test(a_read_only_root_keeps_its_mounts_writable),
		stage_test(a_read_only_dev_has_its_nodes),
		stage_test(the_old_root_is_gone),
		stage_test(an_initramfs_is_covered),
		stage_test(without_a_mount_namespace_the_root_is_changed),
		stage_test(the_cwd_is_made),
		stage_test(masked_paths_are_empty),
		stage_test(read_only_paths_keep_their_flags),
		stage_test(devices_are_made_as_asked),
		stage_test(existing_nodes_must_match),
		stage_test(a_bound_dev_is_left_alone),
	};
	return cmocka_run_group_tests(tests, stage_set_up, stage_tear_down);
}
