/* SPDX-License-Identifier: Apache-2.0 */

/* Namespaces made and joined: a pod's, by path, user and time namespaces, identity and limits inside. */

#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>

#include "test-engine.h"

#define USER_MAPS                                                                                            \
	",\"uidMappings\":[{\"containerID\":0,\"hostID\":100000,\"size\":65536}],"                           \
	"\"gidMappings\":[{\"containerID\":0,\"hostID\":200000,\"size\":65536}]"
#define MOUNT_MQUEUE                                                                                         \
	"{\"destination\":\"/dev/"                                                                           \
	"mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\",\"options\":[\"nosuid\"]}"

#define MOUNT(destination, type, source)                                                                     \
	"{\"destination\":\"" destination "\",\"type\":\"" type "\",\"source\":\"" source "\"}"

/* A descriptor of a fresh namespace of @flag. */
static int make_namespace(int flag, const char *file)
{
	char path[64];
	int report[2], fd;
	char c;

	assert_int_equal(pipe2(report, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		if (unshare(flag) < 0)
			_exit(1);
		if (flag == CLONE_NEWUTS && sethostname("pod", 3) < 0)
			_exit(1);
		if (write(report[1], "x", 1) == 1)
			pause();
		_exit(0);
	}
	fd_close(report[1]);
	assert_int_equal(read(report[0], &c, 1), 1);
	fd_close(report[0]);
	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_true(fd >= 0);
	return fd;
}

static struct container *create_in_pod(const struct part *part, const struct namespace_fd *fds, size_t count)
{
	struct outcome outcome;
	struct container_params params = {.gate = -1, .namespaces = fds, .n_namespaces = count};
	struct container *container = create_with(part, &params, &outcome);

	/* The pod has the name. */
	params.spec->hostname = NULL;
	if (await_outcome(&outcome) < 0)
		fail_msg("%s", outcome.error.text);
	return container;
}

static void expect_stdout(struct container *container, const char *expected)
{
	struct buf out = BUF_INIT;

	must_start(container);
	read_all(container_init(container)->stdout_fd, &out);
	read_all(container_init(container)->stderr_fd, &out);
	await_exit(container_init(container));
	assert_string_equal(buf_string(&out), expected);
	buf_deinit(&out);
}

static void a_pods_containers_share(void **state)
{
	NEEDS_STAGE();
	int uts = make_namespace(CLONE_NEWUTS, "uts"), ipc = make_namespace(CLONE_NEWIPC, "ipc");
	const struct part pause_part = {.script = "exec sleep 100",
					.namespaces =
						"{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"}"};
	/* The sandbox's container has a pid namespace that the wire does not mention. */
	const struct namespace_fd first[] = {{CLONE_NEWUTS, uts}, {CLONE_NEWIPC, ipc}, {CLONE_NEWPID, -1}};
	struct container *pause_container = create_in_pod(&pause_part, first, 3);
	char path[64];

	must_start(pause_container);
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)container_init(pause_container)->pid);
	int pid = open(path, O_RDONLY | O_CLOEXEC);
	const struct namespace_fd second[] = {{CLONE_NEWUTS, uts}, {CLONE_NEWIPC, ipc}, {CLONE_NEWPID, pid}};
	const struct part part = {
		.script = "hostname; cat /proc/1/cmdline | grep -c sleep; test $$ -gt 1 && echo later",
		.namespaces = pause_part.namespaces};
	struct container *container = create_in_pod(&part, second, 3);
	expect_stdout(container, "pod\n1\nlater\n");
	must_delete(container);

	/* We ourselves are still where we were. */
	char own[64] = "", ours[64] = "";
	assert_true(readlink("/proc/self/ns/pid", own, sizeof(own) - 1) > 0);
	assert_true(readlink("/proc/self/ns/pid_for_children", ours, sizeof(ours) - 1) > 0);
	assert_string_equal(own, ours);

	/* When the first one of a pid namespace has ended, nobody is born there: an error, and we are back again. */
	must_delete(pause_container);
	struct outcome outcome;
	struct container_params params = {.gate = -1, .namespaces = second, .n_namespaces = 3};
	container = create_with(&part, &params, &outcome);
	params.spec->hostname = NULL;
	assert_true(await_outcome(&outcome) < 0);
	dispose(container);
	assert_true(readlink("/proc/self/ns/pid_for_children", ours, sizeof(ours) - 1) > 0);
	assert_string_equal(own, ours);
	fd_close(pid);
	fd_close(uts);
	fd_close(ipc);
}

static void namespaces_are_joined_by_path(void **state)
{
	NEEDS_STAGE();
	int net = make_namespace(CLONE_NEWNET, "net");
	char namespaces[256], own[64] = "", expected[80];

	snprintf(namespaces, sizeof(namespaces),
		 NAMESPACES ",{\"type\":\"network\",\"path\":\"/proc/%d/fd/%d\"}", (int)getpid(), net);
	snprintf(own, sizeof(own), "/proc/self/fd/%d", net);
	ssize_t n = readlink(own, expected, sizeof(expected) - 2);
	assert_true(n > 0);
	expected[n] = '\n';
	expected[n + 1] = '\0';
	const struct part part = {.script = "readlink /proc/self/ns/net", .namespaces = namespaces};
	expect_output(&part, expected);
	fd_close(net);
}

static void a_new_network_has_its_loopback_up(void **state)
{
	NEEDS_STAGE();
	const struct part part = {.script = "cat /sys/class/net/lo/flags; ls /sys/class/net",
				  .mounts = MOUNTS "," MOUNT_SYS,
				  .namespaces = NAMESPACES ",{\"type\":\"network\"}"};

	expect_output(&part, "0x9\nlo\n");
}

/* --- user namespaces ---------------------------------------------------------------------------------------- */

static void own_rootfs(uid_t uid, gid_t gid)
{
	assert_int_equal(chown(stage.rootfs, uid, gid), 0);
}

static void a_user_namespace_has_all_usual_mounts(void **state)
{
	NEEDS_STAGE();
	char private[256], mounts[2048];

	own_rootfs(100000, 200000);
	/* A source in a directory that only root may enter. */
	snprintf(private, sizeof(private), "%s/private", stage.dir);
	assert_int_equal(mkdir(private, 0700), 0);
	snprintf(mounts, sizeof(mounts),
		 MOUNTS "," MOUNT_SYS "," MOUNT_MQUEUE
			",{\"destination\":\"/tmp\",\"source\":\"%s/private/below\","
			"\"options\":[\"bind\",\"ro\"]}",
		 stage.dir);
	snprintf(private, sizeof(private), "%s/private/below", stage.dir);
	assert_int_equal(mkdir(private, 0755), 0);
	const struct part part = {.script = "id -u; cut -c1-40 /proc/self/uid_map; for p in /proc /sys /dev "
					    "/dev/pts /dev/mqueue /tmp; do grep -c \" "
					    "$p \" /proc/self/mountinfo; done; test -c /dev/null && echo x > "
					    "/dev/null && echo null; "
					    "stat -c %t:%T /dev/zero; touch /tmp/x 2>/dev/null || echo ro",
				  .mounts = mounts,
				  .namespaces = NAMESPACES ",{\"type\":\"user\"}",
				  .linux = USER_MAPS};
	expect_output(&part, "0\n         0     100000      65536\n1\n1\n1\n1\n1\n1\nnull\n1:5\nro\n");
	own_rootfs(0, 0);
	rmdir(private);
	snprintf(private, sizeof(private), "%s/private", stage.dir);
	rmdir(private);
}

static void a_user_namespace_can_be_entered(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome;
	struct error e = ERROR_INIT;
	struct buf out = BUF_INIT;
	const struct part part = {.script = "exec sleep 100",
				  .namespaces = NAMESPACES ",{\"type\":\"user\"}",
				  .linux = USER_MAPS};
	const struct part command = {.script = "id -u; test $(readlink /proc/self/ns/user) = $(readlink "
					       "/proc/1/ns/user) && echo same; tty",
				     .terminal = true,
				     .process = ""};

	own_rootfs(100000, 200000);
	struct container *container = must_create(&part);
	must_start(container);
	struct arena *arena = arena_new(0);
	const struct exec_params params = {
		.exec_id = "x", .process = make_process(&command, arena), .stdio = {.console_socket = -1}};
	outcome = (struct outcome){.error = ERROR_INIT};
	struct process *process = container_exec(container, &params, on_done, &outcome, &e);
	assert_non_null(process);
	if (await_outcome(&outcome) < 0)
		fail_msg("%s", outcome.error.text);
	read_all(process->master, &out);
	assert_string_equal(buf_string(&out), "0\r\nsame\r\n/dev/pts/0\r\n");
	buf_deinit(&out);
	await_exit(process);
	arena_free(arena);
	must_delete(container);
	own_rootfs(0, 0);
}

static void a_mount_takes_the_containers_mapping(void **state)
{
	NEEDS_STAGE();
	char volume[256], mounts[1024];

	own_rootfs(100000, 200000);
	snprintf(volume, sizeof(volume), "%s/volume", stage.dir);
	assert_int_equal(mkdir(volume, 0755), 0);
	assert_int_equal(chown(volume, 7, 8), 0);
	snprintf(mounts, sizeof(mounts),
		 MOUNTS ",{\"destination\":\"/data\",\"source\":\"%s\",\"options\":[\"bind\",\"idmap\"]}",
		 volume);
	const struct part part = {.script = "stat -c '%u %g' /data",
				  .mounts = mounts,
				  .namespaces = NAMESPACES ",{\"type\":\"user\"}",
				  .linux = USER_MAPS};
	expect_output(&part, "7 8\n");
	rmdir(volume);
	own_rootfs(0, 0);
}

/* What the helper opens outside is no peer of the guest's mount: nothing that is mounted on it comes out. */
static void mounts_do_not_travel_out_of_a_user_namespace(void **state)
{
	NEEDS_STAGE();
	char volume[256], mounts[1024];

	own_rootfs(100000, 200000);
	snprintf(volume, sizeof(volume), "%s/volume", stage.dir);
	assert_int_equal(mkdir(volume, 0755), 0);
	assert_int_equal(mount(volume, volume, NULL, MS_BIND, NULL), 0);
	assert_int_equal(mount(NULL, volume, NULL, MS_SHARED, NULL), 0);
	size_t outside = count_mounts();
	snprintf(mounts, sizeof(mounts),
		 MOUNTS ",{\"destination\":\"/data\",\"source\":\"%s\",\"options\":[\"bind\",\"idmap\"]}",
		 volume);
	const struct part part = {.script = "mkdir /data/x; mount -t tmpfs none /data/x && echo mounted; "
					    "exec cat",
				  .mounts = mounts,
				  .namespaces = NAMESPACES ",{\"type\":\"user\"}",
				  .linux = USER_MAPS};
	struct container *container = must_create(&part);
	struct pollfd poller = {.fd = container_init(container)->stdout_fd, .events = POLLIN};
	must_start(container);
	assert_int_equal(poll(&poller, 1, 5000), 1);
	size_t then = count_mounts();
	char line[16] = "";
	ssize_t n = read(poller.fd, line, sizeof(line) - 1);
	must_delete(container);
	(void)umount2(volume, MNT_DETACH);
	int dir = open(stage.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	(void)path_remove_tree(dir, "volume");
	fd_close(dir);
	own_rootfs(0, 0);
	assert_true(n > 0);
	assert_string_equal(line, "mounted\n");
	assert_int_equal(then, outside);
}

static void a_new_user_namespace_beside_joined_ones(void **state)
{
	NEEDS_STAGE();
	int uts = make_namespace(CLONE_NEWUTS, "uts");
	const struct namespace_fd fds[] = {{CLONE_NEWUTS, uts}};
	const struct part part = {.script = "hostname; id -u; echo $$",
				  .namespaces = NAMESPACES ",{\"type\":\"user\"}",
				  .linux = USER_MAPS};

	own_rootfs(100000, 200000);
	struct container *container = create_in_pod(&part, fds, 1);
	expect_stdout(container, "pod\n0\n1\n");
	must_delete(container);
	own_rootfs(0, 0);
	fd_close(uts);
}

/* Nobody special makes a container of one user namespace, with what his ids allow. */
static void an_ordinary_user_has_containers(void **state)
{
	NEEDS_STAGE();
	char mounts[1024];

	own_rootfs(1234, 1234);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct error e = ERROR_INIT;
		struct buf out = BUF_INIT;

		/* Not ours to free, and not lost. */
		const struct stage parents = stage;
		(void)parents;
		stage.loop = loop_new();
		if (setgroups(0, NULL) < 0 || setresgid(1234, 1234, 1234) < 0 ||
		    setresuid(1234, 1234, 1234) < 0)
			_exit(2);
		prctl(PR_SET_DUMPABLE, 1);
		const struct engine_options options = {.loop = stage.loop, .rootless = true};
		stage.engine = engine_new(&options, &e);
		if (!stage.engine)
			_exit(3);
		snprintf(mounts, sizeof(mounts), "%s", MOUNT_PROC "," MOUNT("/dev", "tmpfs", "tmpfs"));
		const struct part part = {
			.script = "id -u; echo $$; test -c /dev/null && echo null; exec cat",
			.mounts = mounts,
			.process = "",
			.namespaces = NAMESPACES ",{\"type\":\"user\"}",
			.linux = ",\"uidMappings\":[{\"containerID\":0,\"hostID\":1234,\"size\":1}],"
				 "\"gidMappings\":[{\"containerID\":0,\"hostID\":1234,\"size\":1}]"};
		struct outcome outcome;
		struct container *container = create(&part, &outcome);
		if (outcome.r < 0)
			fprintf(stderr, "%s\n", outcome.error.text);
		if (outcome.r < 0)
			_exit(4);
		must_start(container);
		/* And he enters it: through a middle process, since he may not leave its pid namespace again. */
		struct arena *arena = arena_new(0);
		const struct part command = {
			.script = "test $(readlink /proc/1/ns/pid) = $(readlink /proc/self/ns/pid)",
			.process = ""};
		const struct exec_params params = {.exec_id = "x",
						   .process = make_process(&command, arena),
						   .stdio = {.console_socket = -1}};
		outcome = (struct outcome){.error = ERROR_INIT};
		struct process *process = container_exec(container, &params, on_done, &outcome, &e);
		if (!process || await_outcome(&outcome) < 0) {
			fprintf(stderr, "%s%s\n", e.text, outcome.error.text);
			_exit(6);
		}
		await_exit(process);
		if (process->exit_code != 0)
			_exit(7);
		container_init(container)->stdin_fd = fd_close(container_init(container)->stdin_fd);
		read_all(container_init(container)->stdout_fd, &out);
		await_exit(container_init(container));
		_exit(str_equal(buf_string(&out), "0\n1\nnull\n") ? 0 : 5);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 0);
	own_rootfs(0, 0);
}

/* --- time --------------------------------------------------------------------------------------------------- */

static void a_time_namespace_has_its_offsets(void **state)
{
	NEEDS_STAGE();
	const struct part part = {.script = "cut -d. -f1 /proc/uptime; echo $$",
				  .namespaces = NAMESPACES ",{\"type\":\"time\"}",
				  .linux = ",\"timeOffsets\":{\"monotonic\":{\"secs\":1000000},\"boottime\":{"
					   "\"secs\":7000000}}"};
	struct buf out = BUF_INIT;

	if (access("/proc/self/ns/time", F_OK) < 0)
		skip();
	assert_int_equal(run_to(&part, &out), 0);
	assert_true(atol(buf_string(&out)) >= 7000000);
	assert_non_null(strstr(buf_string(&out), "\n1\n"));
	buf_deinit(&out);
}

static void all_namespaces_are_entered(void **state)
{
	NEEDS_STAGE();
	struct outcome outcome;
	struct error e = ERROR_INIT;
	struct buf out = BUF_INIT;
	const struct part part = {
		.script = "exec cat",
		.namespaces = NAMESPACES
		",{\"type\":\"time\"},{\"type\":\"cgroup\"},{\"type\":\"network\"},{\"type\":\"user\"}",
		.linux = USER_MAPS};
	const struct part command = {
		.script =
			"for n in mnt pid ipc uts net user cgroup time; do test $(readlink /proc/1/ns/$n) = "
			"$(readlink /proc/self/ns/$n) || echo not the same $n; done; echo done",
		.process = ""};

	if (access("/proc/self/ns/time", F_OK) < 0)
		skip();
	own_rootfs(100000, 200000);
	struct container *container = must_create(&part);
	must_start(container);
	struct arena *arena = arena_new(0);
	const struct exec_params params = {
		.exec_id = "x", .process = make_process(&command, arena), .stdio = {.console_socket = -1}};
	outcome = (struct outcome){.error = ERROR_INIT};
	struct process *process = container_exec(container, &params, on_done, &outcome, &e);
	assert_non_null(process);
	if (await_outcome(&outcome) < 0)
		fail_msg("%s", outcome.error.text);
	read_all(process->stdout_fd, &out);
	assert_string_equal(buf_string(&out), "done\n");
	buf_deinit(&out);
	await_exit(process);
	arena_free(arena);
	must_delete(container);
	own_rootfs(0, 0);
}

/* --- identity ----------------------------------------------------------------------------------------------- */

static void identity_and_limits_are_as_asked(void **state)
{
	NEEDS_STAGE();
	const struct part part = {
		.script = "id -u; id -g; ulimit -n; umask; grep -E '^(Groups|CapEff|NoNewPrivs|Seccomp):' "
			  "/proc/self/status; "
			  "cat /proc/self/oom_score_adj; echo $HOME; stat -c %u /proc/self/fd/1; pwd",
		.process = ",\"noNewPrivileges\":true,\"oomScoreAdj\":333,\"rlimits\":[{\"type\":\"RLIMIT_"
			   "NOFILE\",\"hard\":123,\"soft\":99}]"};
	struct outcome outcome;
	struct container_params params = {.gate = -1};
	struct container *container = create_with(&part, &params, &outcome);
	Grpc__User *user = params.spec->process->user;
	static uint32_t groups[] = {40, 41};

	user->uid = 1234;
	user->gid = 2345;
	user->umask = 027;
	user->has_umask = true;
	user->additionalgids = groups;
	user->n_additionalgids = 2;
	params.spec->process->cwd = arena_strdup(params.arena, "/tmp");
	if (await_outcome(&outcome) < 0)
		fail_msg("%s", outcome.error.text);
	expect_stdout(container, "1234\n2345\n99\n0027\nGroups:\t40 41 "
				 "\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t0\n"
				 "333\n/\n1234\n/tmp\n");
	must_delete(container);
}

/* The filter may forbid nearly everything that set-up needs: it comes last. */
static void a_filter_comes_last(void **state)
{
	NEEDS_STAGE();
	const char *const nnp[] = {"", ",\"noNewPrivileges\":true"};

	for (size_t i = 0; i < 2; i++) {
		const struct part part = {.script = "grep '^Seccomp:' /proc/self/status; mkdir /tmp/x "
						    "2>/dev/null || echo refused",
					  .process = nnp[i],
					  .linux = ",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\","
						   "\"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\","
						   "\"mount\",\"setns\",\"pivot_root\",\"sendmsg\","
						   "\"recvmsg\",\"openat2\",\"move_mount\",\"setresuid\","
						   "\"readlinkat\",\"umount2\",\"sethostname\"],\"action\":"
						   "\"SCMP_ACT_ERRNO\",\"errnoRet\":1}]}"};
		expect_output(&part, "Seccomp:\t2\nrefused\n");
	}
}

static void sysctls_are_the_containers(void **state)
{
	NEEDS_STAGE();
	const struct part part = {
		.script = "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_unprivileged_port_start",
		.namespaces = NAMESPACES ",{\"type\":\"network\"}",
		.linux = ",\"sysctl\":{\"kernel.msgmax\":\"12345\",\"net.ipv4.ip_unprivileged_port_start\":"
			 "\"77\"}"};

	expect_output(&part, "12345\n77\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		stage_test(a_pods_containers_share),
		stage_test(namespaces_are_joined_by_path),
		stage_test(a_new_network_has_its_loopback_up),
		stage_test(a_user_namespace_has_all_usual_mounts),
		stage_test(a_user_namespace_can_be_entered),
		stage_test(a_mount_takes_the_containers_mapping),
		stage_test(mounts_do_not_travel_out_of_a_user_namespace),
		stage_test(a_new_user_namespace_beside_joined_ones),
		stage_test(an_ordinary_user_has_containers),
		stage_test(a_time_namespace_has_its_offsets),
		stage_test(all_namespaces_are_entered),
		stage_test(identity_and_limits_are_as_asked),
		stage_test(a_filter_comes_last),
		stage_test(sysctls_are_the_containers),
	};
	return cmocka_run_group_tests(tests, stage_set_up, stage_tear_down);
}
