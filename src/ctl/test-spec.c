/* SPDX-License-Identifier: Apache-2.0 */
/* From a command line to an OCI configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "ctl/launch.h"
#include "ctl/spec.h"

static struct arena *arena;
static const struct ctl_command command = {.name = "run", .arguments = "", .help = "test"};

static int set_up(void **state)
{
	arena = arena_new(0);
	return 0;
}

static int tear_down(void **state)
{
	arena_free(arena);
	return 0;
}

#define LIST(...) ((const char *[]){__VA_ARGS__})
#define PARSE(launch, kind, ...)                                                                             \
	launch_parse(&(launch), (kind), &command, (int)array_length(LIST(__VA_ARGS__)),                      \
		     (char **)(uintptr_t)LIST(__VA_ARGS__, NULL), arena)

static Grpc__Spec *spec_of(const struct spec_options *options)
{
	struct error e = ERROR_INIT;
	Grpc__Spec *spec = spec_new("id", options, arena, &e);

	if (!spec)
		fail_msg("%s", e.text);
	return spec;
}

static void assert_refused(const struct spec_options *options, const char *why)
{
	struct error e = ERROR_INIT;

	assert_null(spec_new("id", options, arena, &e));
	assert_string_equal(e.text, why);
}

static void test_options(void **state)
{
	struct launch launch;

	assert_int_equal(PARSE(launch, LAUNCH_RUN, "run", "-t", "-e", "A=1", "--env", "B=2", "--name", "n",
			       "-m", "64m", "--cpus=2", "-u", "1:2", "-w", "/w", "--cgroup", "/c", "-d",
			       "--keep", "/root", "cmd", "-x", "--tty"),
			 -1);
	assert_true(launch.spec.tty);
	assert_true(launch.interactive);
	assert_true(launch.detach);
	assert_true(launch.keep);
	assert_int_equal(launch.spec.n_env, 2);
	assert_string_equal(launch.spec.env[1], "B=2");
	assert_string_equal(launch.name, "n");
	assert_string_equal(launch.spec.memory, "64m");
	assert_string_equal(launch.spec.cpus, "2");
	assert_string_equal(launch.spec.user, "1:2");
	assert_string_equal(launch.spec.cwd, "/w");
	assert_string_equal(launch.spec.cgroup, "/c");
	/* What follows the first word is the container's business. */
	assert_int_equal(launch.n_words, 4);
	assert_string_equal(launch.words[2], "-x");
}

static void test_options_of_the_other_commands(void **state)
{
	struct launch launch;
	int null = dup(STDERR_FILENO);

	assert_int_equal(PARSE(launch, LAUNCH_EXEC, "exec", "--cwd", "/w", "--exec-id", "e", "c", "ls"), -1);
	assert_string_equal(launch.spec.cwd, "/w");
	assert_string_equal(launch.exec_id, "e");
	assert_int_equal(PARSE(launch, LAUNCH_ATTACH, "attach", "--exec", "e", "-i", "c"), -1);
	assert_string_equal(launch.exec_id, "e");
	assert_true(launch.interactive);
	assert_false(launch.spec.tty);
	/* Silence for what complains. */
	assert_non_null(freopen("/dev/null", "w", stderr));
	assert_int_equal(PARSE(launch, LAUNCH_EXEC, "exec", "--memory", "1m", "c", "ls"), CTL_OWN_FAILURE);
	assert_int_equal(PARSE(launch, LAUNCH_CREATE, "create", "-d", "/root"), CTL_OWN_FAILURE);
	assert_int_equal(PARSE(launch, LAUNCH_RUN, "run", "--name"), CTL_OWN_FAILURE);
	dup2(null, STDERR_FILENO);
	close(null);
}

static void test_default_spec(void **state)
{
	char *args[] = {(char *)(uintptr_t) "/bin/sh"};
	struct spec_options options = {.rootfs = "/r", .args = args, .n_args = 1};
	Grpc__Spec *spec = spec_of(&options);

	assert_string_equal(spec->root->path, "/r");
	assert_string_equal(spec->process->args[0], "/bin/sh");
	assert_string_equal(spec->process->cwd, "/");
	assert_string_equal(spec->process->env[0],
			    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	assert_false(spec->process->terminal);
	assert_string_equal(spec->hostname, "id");
	assert_string_equal(spec->linux->cgroupspath, "/kata-ctl-id");
	assert_int_equal(spec->linux->n_namespaces, 5);
	assert_int_equal(spec->n_mounts, 7);
	assert_true(spec->linux->n_maskedpaths > 5);
	assert_int_equal(spec->process->capabilities->n_bounding, 13);
	assert_int_equal(spec->process->capabilities->n_ambient, 0);
}

static void test_everything(void **state)
{
	const char *env[] = {"A=1", "B=2", "A=3", "PATH=/p", "TEST_SPEC_HERE", "TEST_SPEC_NOT_HERE"};
	const char *volumes[] = {"/a:/b", "/c:/d:ro,nosuid"};
	const char *drop[] = {"all"};
	const char *add[] = {"kill", "CAP_CHOWN", "KILL"};
	struct spec_options options = {
		.rootfs = "/r",
		.env = env,
		.n_env = 6,
		.volumes = volumes,
		.n_volumes = 2,
		.cap_drop = drop,
		.n_cap_drop = 1,
		.cap_add = add,
		.n_cap_add = 3,
		.cwd = "/w",
		.user = "7:8",
		.hostname = "",
		.cgroup = "a:b:c",
		.memory = "1m",
		.cpus = "0.5",
		.pids = "9",
		.readonly = true,
		.tty = true,
	};
	Grpc__Spec *spec;

	setenv("TEST_SPEC_HERE", "yes", 1);
	spec = spec_of(&options);
	assert_string_equal(spec->process->env[0], "PATH=/p");
	assert_true(strncmp(spec->process->env[1], "TERM=", 5) == 0);
	assert_string_equal(spec->process->env[2], "A=3");
	assert_string_equal(spec->process->env[3], "B=2");
	assert_string_equal(spec->process->env[4], "TEST_SPEC_HERE=yes");
	assert_int_equal(spec->process->n_env, 5);
	assert_string_equal(spec->mounts[8]->source, "/c");
	assert_string_equal(spec->mounts[8]->destination, "/d");
	assert_int_equal(spec->mounts[8]->n_options, 3);
	assert_string_equal(spec->mounts[8]->options[0], "rbind");
	assert_string_equal(spec->mounts[8]->options[2], "nosuid");
	assert_int_equal(spec->process->capabilities->n_effective, 2);
	assert_string_equal(spec->process->capabilities->effective[0], "CAP_CHOWN");
	assert_string_equal(spec->process->capabilities->effective[1], "CAP_KILL");
	assert_int_equal(spec->process->user->uid, 7);
	assert_int_equal(spec->process->user->gid, 8);
	assert_string_equal(spec->hostname, "");
	assert_string_equal(spec->linux->cgroupspath, "a:b:c");
	assert_true(spec->linux->resources->memory->limit == 1 << 20);
	assert_true(spec->linux->resources->cpu->quota == 50000);
	assert_true(spec->linux->resources->cpu->period == 100000);
	assert_true(spec->linux->resources->pids->limit == 9);
	assert_true(spec->root->readonly);
	assert_true(spec->process->terminal);
	assert_string_equal(spec->process->cwd, "/w");
}

static void test_privileged(void **state)
{
	const char *drop[] = {"SYS_BOOT"};
	struct spec_options options = {.rootfs = "/r", .privileged = true, .cap_drop = drop, .n_cap_drop = 1};
	Grpc__Spec *spec = spec_of(&options);

	assert_int_equal(spec->process->capabilities->n_permitted, 40);
	assert_int_equal(spec->linux->n_maskedpaths, 0);
	assert_int_equal(spec->linux->n_readonlypaths, 0);
	assert_false(spec->process->nonewprivileges);
}

static void test_wrong_values(void **state)
{
	const char *volume[] = {"/a"};
	const char *relative[] = {"a:/b"};
	const char *capability[] = {"CAP_NOTHING"};
	const char *env[] = {"=x"};

	assert_refused(&(struct spec_options){.memory = "much"}, "memory \"much\" is not an amount");
	assert_refused(&(struct spec_options){.memory = "0"}, "memory \"0\" is not an amount");
	assert_refused(&(struct spec_options){.cpus = "0"}, "cpus \"0\" is not a number above 0");
	assert_refused(&(struct spec_options){.pids = "x"}, "pids limit \"x\" is not a number");
	assert_refused(&(struct spec_options){.user = "root"}, "user \"root\" is not UID or UID:GID");
	assert_refused(&(struct spec_options){.volumes = volume, .n_volumes = 1},
		       "volume \"/a\" is not /SOURCE:/DESTINATION[:OPTIONS]");
	assert_refused(&(struct spec_options){.volumes = relative, .n_volumes = 1},
		       "volume \"a:/b\" is not /SOURCE:/DESTINATION[:OPTIONS]");
	assert_refused(&(struct spec_options){.cap_add = capability, .n_cap_add = 1},
		       "unknown capability \"CAP_NOTHING\"");
	assert_refused(&(struct spec_options){.env = env, .n_env = 1}, "environment \"=x\" has no name");
}

static void test_long_names(void **state)
{
	struct error e = ERROR_INIT;
	struct spec_options options = {.rootfs = "/r"};
	char id[201];
	Grpc__Spec *spec;

	memset(id, 'a', 200);
	id[200] = 0;
	spec = spec_new(id, &options, arena, &e);
	assert_non_null(spec);
	assert_int_equal(strlen(spec->hostname), 64);
	assert_int_equal(strlen(spec->linux->cgroupspath), 200 + strlen("/kata-ctl-"));
}

static void test_exec_process(void **state)
{
	char *args[] = {(char *)(uintptr_t) "ls"};
	struct spec_options options = {.args = args, .n_args = 1};
	struct error e = ERROR_INIT;
	Grpc__Process *process = spec_process(&options, arena, &e);

	assert_non_null(process);
	assert_int_equal(process->n_args, 1);
	assert_int_equal(process->n_env, 1);
	assert_string_equal(process->cwd, "/");
	/* Absent means the container's. */
	assert_null(process->capabilities);
	assert_true(process->user->has_uid);
}

static void test_config_file(void **state)
{
	char directory[] = "/tmp/test-spec-XXXXXX";
	struct error e = ERROR_INIT;
	struct spec_options options = {.cwd = "/w"};
	Grpc__Spec *spec;
	char *path;
	FILE *file;

	assert_non_null(mkdtemp(directory));
	path = arena_printf(arena, "%s/config.json", directory);
	file = fopen(path, "w");
	fputs("{\"root\": {\"path\": \"rootfs\"}, \"process\": {\"args\": [\"a\"], \"cwd\": \"/x\"}, \"vm\": "
	      "1}",
	      file);
	fclose(file);
	spec = spec_read(path, arena, &e);
	assert_non_null(spec);
	assert_string_equal(spec->root->path, arena_printf(arena, "%s/rootfs", directory));
	assert_int_equal(spec_apply(spec, &options, arena, &e), 0);
	assert_string_equal(spec->process->cwd, "/w");
	assert_string_equal(spec->process->args[0], "a");
	unlink(path);
	rmdir(directory);
	assert_null(spec_read(path, arena, &e));
	assert_non_null(strstr(e.text, "ENOENT: No such file or directory"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_options),	 TEST(test_options_of_the_other_commands),
		TEST(test_default_spec), TEST(test_everything),
		TEST(test_privileged),	 TEST(test_wrong_values),
		TEST(test_long_names),	 TEST(test_exec_process),
		TEST(test_config_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
