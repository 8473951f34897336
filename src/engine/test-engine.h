/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_TEST_ENGINE_H
#define ENGINE_TEST_ENGINE_H

/*
 * A stage for tests that run real containers: a root file system with busybox in a temporary directory, an engine, and
 * the asynchronous calls made synchronous. Needs root and a busybox; without either, tests skip.
 *
 * After each test nothing may be left: stage_check() compares mounts, descriptors, children and cgroups with what was
 * there before.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/path.h"
#include "base/str.h"
#include "engine/container.h"
#include "proto/json.h"

struct stage {
	struct loop *loop;
	struct engine *engine;
	char dir[64];
	char rootfs[96];
	unsigned serial;
	/* before a test */
	size_t fds, mounts, cgroups;
	/* not yet freed: what a failed test leaves */
	struct container *live[8];
};

struct outcome {
	bool done;
	int r;
	struct error error;
};

static struct stage stage;
static bool stage_usable;

static const char *const applets[] = {"sh",    "true",	  "cat",     "ls",     "mount",	   "id",       "env",
				      "sleep", "ps",	  "tty",     "stat",   "hostname", "readlink", "echo",
				      "touch", "mkdir",	  "rm",	     "dd",     "stty",	   "cut",      "grep",
				      "head",  "kill",	  "umount",  "mkfifo", "wc",	   "test",     "ln",
				      "pwd",   "nsenter", "unshare", "setsid", "chmod",	   "mv"};

static inline size_t count_fds(void)
{
	size_t count = 0;
	DIR *dir = opendir("/proc/self/fd");

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count;
}

static inline size_t count_mounts(void)
{
	char *text = NULL;
	size_t count = 0;

	if (file_read(AT_FDCWD, "/proc/self/mountinfo", 1 << 24, &text) > 0)
		for (char *c = text; *c; c++)
			count += *c == '\n';
	free(text);
	return count;
}

/* Directories named after us in every hierarchy that is mounted in the usual place. */
static inline size_t count_cgroups(void)
{
	char command[160], number[16] = "0";
	FILE *pipe;

	snprintf(command, sizeof(command),
		 "find /sys/fs/cgroup -maxdepth 4 -name 'engine-test-%d-*' 2>/dev/null | wc -l",
		 (int)getpid());
	pipe = popen(command, "r");
	if (pipe) {
		if (!fgets(number, sizeof(number), pipe))
			number[0] = '0';
		pclose(pipe);
	}
	return (size_t)atoi(number);
}

static inline bool copy_busybox(const char *to)
{
	int from = open("/bin/busybox", O_RDONLY | O_CLOEXEC);
	int fd = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	char block[65536];
	ssize_t n = -1;

	while (from >= 0 && fd >= 0 && (n = read(from, block, sizeof(block))) > 0)
		if (write(fd, block, (size_t)n) != n)
			break;
	fd_close(from);
	fd_close(fd);
	return n == 0;
}

static inline void make_rootfs(void)
{
	static const char *const dirs[] = {"bin", "proc", "sys", "dev", "etc", "tmp", "data"};
	char path[160];

	snprintf(stage.rootfs, sizeof(stage.rootfs), "%s/rootfs", stage.dir);
	assert_int_equal(mkdir(stage.rootfs, 0755), 0);
	for (size_t i = 0; i < array_length(dirs); i++) {
		snprintf(path, sizeof(path), "%s/%s", stage.rootfs, dirs[i]);
		assert_int_equal(mkdir(path, 0755), 0);
	}
	snprintf(path, sizeof(path), "%s/bin/busybox", stage.rootfs);
	assert_true(copy_busybox(path));
	for (size_t i = 0; i < array_length(applets); i++) {
		snprintf(path, sizeof(path), "%s/bin/%s", stage.rootfs, applets[i]);
		assert_int_equal(symlink("busybox", path), 0);
	}
}

static inline int stage_set_up(void **state)
{
	struct error e = ERROR_INIT;

	stage_usable = geteuid() == 0 && access("/bin/busybox", X_OK) == 0;
	if (!stage_usable)
		return 0;
	/* Mounts of ours are nobody else's, and the other way round: tests run beside each other. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
		return -1;
	log_init("test");
	log_set_level(LOG_ERROR);
	snprintf(stage.dir, sizeof(stage.dir), "/tmp/engine-test-XXXXXX");
	if (!mkdtemp(stage.dir))
		return -1;
	chmod(stage.dir, 0755);
	make_rootfs();
	stage.loop = loop_new();
	const struct engine_options options = {.loop = stage.loop, .create_timeout_ms = 20000};
	stage.engine = engine_new(&options, &e);
	return stage.loop && stage.engine ? 0 : -1;
}

static inline int stage_tear_down(void **state)
{
	if (!stage_usable)
		return 0;
	engine_free(stage.engine);
	loop_free(stage.loop);
	int tmp = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = path_remove_tree(tmp, stage.dir + strlen("/tmp/"));
	fd_close(tmp);
	return r;
}

static inline int stage_before(void **state)
{
	stage.fds = count_fds();
	stage.mounts = count_mounts();
	stage.cgroups = count_cgroups();
	return 0;
}

static inline void clear_stage(void);

static inline int stage_check(void **state)
{
	if (!stage_usable)
		return 0;
	clear_stage();
	/* Processes that ended by themselves are collected by the loop. */
	for (int i = 0; i < 20 && waitpid(-1, NULL, WNOHANG) >= 0; i++)
		loop_run_once(stage.loop, 20);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(count_mounts(), stage.mounts);
	assert_int_equal(count_fds(), stage.fds);
	assert_int_equal(count_cgroups(), stage.cgroups);
	return 0;
}

/* --- specs -------------------------------------------------------------------------------------------------- */

#define MOUNT_PROC                                                                                           \
	"{\"destination\":\"/"                                                                               \
	"proc\",\"type\":\"proc\",\"source\":\"proc\",\"options\":[\"nosuid\",\"noexec\",\"nodev\"]}"
#define MOUNT_DEV                                                                                            \
	"{\"destination\":\"/"                                                                               \
	"dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"strictatime\","             \
	"\"mode=755\",\"size=65536k\"]}"
#define MOUNT_PTS                                                                                            \
	"{\"destination\":\"/dev/"                                                                           \
	"pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"nosuid\",\"noexec\","                \
	"\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"]}"
#define MOUNT_SYS                                                                                            \
	"{\"destination\":\"/"                                                                               \
	"sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]" \
	"}"
#define MOUNTS MOUNT_PROC "," MOUNT_DEV "," MOUNT_PTS
#define NAMESPACES "{\"type\":\"pid\"},{\"type\":\"mount\"},{\"type\":\"ipc\"},{\"type\":\"uts\"}"
#define CAPS(list)                                                                                           \
	"\"capabilities\":{\"bounding\":[" list "],\"effective\":[" list "],\"permitted\":[" list            \
	"],\"inheritable\":[],\"ambient\":[]}"

struct part {
	const char *script;	/* of sh -c; or */
	const char *args;	/* a JSON list */
	const char *process;	/* further members of process, with a comma in front */
	const char *mounts;	/* NULL: MOUNTS */
	const char *namespaces; /* NULL: NAMESPACES */
	const char *linux;	/* further members of linux, with a comma in front */
	const char *top;	/* further members of the spec, likewise */
	const char *root;	/* further members of root, likewise */
	bool terminal;
};

static inline void append_quoted(struct buf *out, const char *text)
{
	buf_append_char(out, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			buf_append_char(out, '\\');
		if (*text == '\n')
			buf_append_string(out, "\\n");
		else
			buf_append_char(out, *text);
	}
	buf_append_char(out, '"');
}

static inline void process_json(const struct part *part, struct buf *out)
{
	buf_printf(out, "{\"terminal\":%s,\"user\":{\"uid\":0,\"gid\":0},\"cwd\":\"/\",\"args\":",
		   part->terminal ? "true" : "false");
	if (part->script) {
		buf_append_string(out, "[\"sh\",\"-c\",");
		append_quoted(out, part->script);
		buf_append_string(out, "]");
	} else {
		buf_append_string(out, part->args ? part->args : "[\"true\"]");
	}
	buf_append_string(out, ",\"env\":[\"PATH=/bin\"]");
	buf_append_string(
		out, part->process
			     ? part->process
			     : "," CAPS("\"CAP_SYS_ADMIN\",\"CAP_KILL\",\"CAP_CHOWN\",\"CAP_MKNOD\","
					"\"CAP_DAC_OVERRIDE\",\"CAP_FOWNER\",\"CAP_SETUID\",\"CAP_SETGID\""));
	buf_append_string(out, "}");
}

static inline Grpc__Spec *make_spec(const struct part *part, struct arena *arena)
{
	struct buf out = BUF_INIT;
	struct error e = ERROR_INIT;

	buf_append_string(&out, "{\"ociVersion\":\"1.2.0\",\"process\":");
	process_json(part, &out);
	buf_printf(&out, ",\"root\":{\"path\":\"%s\"%s}", stage.rootfs, part->root ? part->root : "");
	buf_printf(&out, ",\"hostname\":\"stage\",\"mounts\":[%s]", part->mounts ? part->mounts : MOUNTS);
	buf_printf(&out, ",\"linux\":{\"namespaces\":[%s]%s}%s}",
		   part->namespaces ? part->namespaces : NAMESPACES, part->linux ? part->linux : "",
		   part->top ? part->top : "");
	Grpc__Spec *spec =
		json_decode(&grpc__spec__descriptor, buf_string(&out), out.length, true, arena, &e);
	if (!spec)
		fail_msg("%s in %s", e.text, buf_string(&out));
	buf_deinit(&out);
	return spec;
}

static inline Grpc__Process *make_process(const struct part *part, struct arena *arena)
{
	struct buf out = BUF_INIT;
	struct error e = ERROR_INIT;

	process_json(part, &out);
	Grpc__Process *process =
		json_decode(&grpc__process__descriptor, buf_string(&out), out.length, true, arena, &e);
	if (!process)
		fail_msg("%s", e.text);
	buf_deinit(&out);
	return process;
}

/* --- synchronous calls -------------------------------------------------------------------------------------- */

static inline void on_done(struct container *container, int r, const struct error *e, void *data)
{
	struct outcome *outcome = data;

	assert_false(outcome->done);
	outcome->done = true;
	outcome->r = r;
	if (e)
		outcome->error = *e;
}

static inline int await_outcome(struct outcome *outcome)
{
	uint64_t end = loop_now() + 30000;

	while (!outcome->done) {
		assert_int_equal(loop_run_once(stage.loop, 1000), 0);
		assert_true(loop_now() < end);
	}
	return outcome->r;
}

static inline void await_exit(struct process *process)
{
	uint64_t end = loop_now() + 30000;

	while (!process->exited) {
		loop_run_once(stage.loop, 1000);
		assert_true(loop_now() < end);
	}
}

static inline struct container *create_with(const struct part *part, struct container_params *params,
					    struct outcome *outcome)
{
	static char id[64];

	snprintf(id, sizeof(id), "engine-test-%d-%u", (int)getpid(), ++stage.serial);
	params->id = id;
	params->bundle = stage.dir;
	params->arena = arena_new(0);
	params->spec = make_spec(part, params->arena);
	params->stdio.console_socket = -1;
	*outcome = (struct outcome){.error = ERROR_INIT};
	struct container *container = container_create(stage.engine, params, on_done, outcome);
	assert_non_null(container);
	for (size_t i = 0; i < array_length(stage.live); i++) {
		if (!stage.live[i]) {
			stage.live[i] = container;
			break;
		}
	}
	return container;
}

static inline void dispose(struct container *container)
{
	for (size_t i = 0; i < array_length(stage.live); i++)
		if (stage.live[i] == container)
			stage.live[i] = NULL;
	container_free(container);
}

static inline struct container *create(const struct part *part, struct outcome *outcome)
{
	struct container_params params = {.gate = -1};
	struct container *container = create_with(part, &params, outcome);

	await_outcome(outcome);
	return container;
}

static inline struct container *must_create(const struct part *part)
{
	struct outcome outcome;
	struct container *container = create(part, &outcome);

	if (outcome.r < 0)
		fail_msg("%s", outcome.error.text);
	return container;
}

static inline int start(struct container *container, struct outcome *outcome)
{
	*outcome = (struct outcome){.error = ERROR_INIT};
	container_start(container, on_done, outcome);
	return await_outcome(outcome);
}

static inline void must_start(struct container *container)
{
	struct outcome outcome;

	if (start(container, &outcome) < 0)
		fail_msg("%s", outcome.error.text);
}

static inline void must_delete(struct container *container)
{
	struct outcome outcome = {.error = ERROR_INIT};

	container_delete(container, true, on_done, &outcome);
	if (await_outcome(&outcome) < 0)
		fail_msg("%s", outcome.error.text);
	dispose(container);
}

static inline void clear_stage(void)
{
	for (size_t i = 0; i < array_length(stage.live); i++) {
		struct outcome outcome = {.error = ERROR_INIT};
		if (!stage.live[i])
			continue;
		container_delete(stage.live[i], true, on_done, &outcome);
		await_outcome(&outcome);
		dispose(stage.live[i]);
	}
}

/* Reads until the end, or (a terminal) EIO. */
static inline void read_all(int fd, struct buf *out)
{
	for (;;) {
		uint8_t *to = buf_reserve(out, 65536);
		ssize_t n = read(fd, to, 65536);
		if (n > 0) {
			buf_commit(out, (size_t)n);
		} else if (n < 0 && errno == EAGAIN) {
			struct pollfd poller = {.fd = fd, .events = POLLIN};
			if (poll(&poller, 1, 5000) == 0)
				return;
		} else {
			return;
		}
	}
}

/* Runs @part to its end; its stdout and stderr (or terminal) in @out. Returns the exit code. */
static inline int run_to(const struct part *part, struct buf *out)
{
	struct container *container = must_create(part);
	struct process *init = container_init(container);

	must_start(container);
	read_all(part->terminal ? init->master : init->stdout_fd, out);
	if (!part->terminal)
		read_all(init->stderr_fd, out);
	await_exit(init);
	int code = init->exit_code;
	must_delete(container);
	return code;
}

/* What it prints must be exactly @expected, and its exit code 0. */
static inline void expect_output(const struct part *part, const char *expected)
{
	struct buf out = BUF_INIT;
	int code = run_to(part, &out);

	assert_string_equal(buf_string(&out), expected);
	assert_int_equal(code, 0);
	buf_deinit(&out);
}

/* Its creation must fail, with @text in the error, and leave nothing behind (the tear-down looks). */
static inline void expect_failure(const struct part *part, const char *text)
{
	struct outcome outcome;
	struct container *container = create(part, &outcome);

	assert_true(outcome.r < 0);
	if (!strstr(outcome.error.text, text))
		fail_msg("\"%s\" is not in \"%s\"", text, outcome.error.text);
	dispose(container);
}

/* Starts @part as exec @id and waits for the answer. */
static inline struct process *exec_part(struct container *container, const char *id, const struct part *part,
					struct outcome *outcome)
{
	struct error e = ERROR_INIT;
	struct arena *arena = arena_new(0);
	const struct exec_params params = {
		.exec_id = id, .process = make_process(part, arena), .stdio = {.console_socket = -1}};

	*outcome = (struct outcome){.error = ERROR_INIT};
	struct process *process = container_exec(container, &params, on_done, outcome, &e);
	if (!process)
		fail_msg("%s", e.text);
	assert_ptr_equal(container_process(container, id), process);
	await_outcome(outcome);
	arena_free(arena);
	return process;
}

#define NEEDS_STAGE()                                                                                        \
	do {                                                                                                 \
		if (!stage_usable)                                                                           \
			skip();                                                                              \
	} while (0)
#define stage_test(function) cmocka_unit_test_setup_teardown(function, stage_before, stage_check)

#endif
