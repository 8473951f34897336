/* SPDX-License-Identifier: Apache-2.0 */

/* Every key, in each of its sources: a good value, a bad one, none. And the sources' order. */

#include "agent/config.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/str.h"

/* @good as the description shows it. NULL where the source does not have the key. */
struct row {
	const char *name; /* as the description shows it */
	const char *initial;
	const char *cmdline_good, *cmdline_bad;
	const char *toml_good, *toml_bad;
	const char *environment_good, *environment_bad;
	const char *shown; /* the good value; the same in all sources */
};

#define NUMBER(key, initial, good, bad)                                                                      \
	{                                                                                                    \
		"agent." key, initial, "agent." key "=" good, "agent." key "=" bad, key " = " good,          \
			key " = true", NULL, NULL, good                                                      \
	}
#define SECONDS(key, initial) NUMBER(key, initial, "77", "0")
#define SWITCH(key, initial, good)                                                                           \
	{                                                                                                    \
		"agent." key, initial, "agent." key "=" good, "agent." key "=yes", key " = " good,           \
			key " = 1", NULL, NULL, good                                                         \
	}

static const struct row rows[] = {
	{"agent.server_addr", "vsock://-1:1024", "agent.server_addr=unix:///tmp/x=y",
	 "agent.server_addr=", "server_addr = \"unix:///tmp/x=y\"", "server_addr = 5",
	 "KATA_AGENT_SERVER_ADDR=unix:///tmp/x=y", NULL, "unix:///tmp/x=y"},
	{"agent.log", "info", "agent.log=debug", "agent.log=loud", "log_level = \"debug\"",
	 "log_level = \"loud\"", "KATA_AGENT_LOG_LEVEL=debug", "KATA_AGENT_LOG_LEVEL=loud", "debug"},
	{"agent.trace", "false", "agent.trace", "agent.trace=on", "tracing = true", "tracing = \"true\"",
	 "KATA_AGENT_TRACING=1", "KATA_AGENT_TRACING=maybe", "true"},
	{"agent.devmode", "false", "agent.devmode", "agent.devmode=x", "dev_mode = true", "dev_mode = 1",
	 NULL, NULL, "true"},
	{"agent.debug_console", "false", "agent.debug_console", "agent.debug_console=x",
	 "debug_console = true", "debug_console = 1", NULL, NULL, "true"},
	NUMBER("debug_console_vport", "0", "1026", "-1"),
	NUMBER("log_vport", "0", "1025", "x"),
	NUMBER("passfd_listener_port", "0", "1027", "4294967296"),
	NUMBER("container_pipe_size", "0", "65536", "-5"),
	SECONDS("hotplug_timeout", "3"),
	SECONDS("cdh_api_timeout", "50"),
	SECONDS("image_pull_timeout", "1200"),
	SECONDS("cdi_timeout", "100"),
	SECONDS("launch_process_timeout", "6"),
	SWITCH("visible_cdi_devices", "false", "true"),
	{"systemd.unified_cgroup_hierarchy", "false", "systemd.unified_cgroup_hierarchy=1",
	 "systemd.unified_cgroup_hierarchy=perhaps", "unified_cgroup_hierarchy = true",
	 "unified_cgroup_hierarchy = 1", NULL, NULL, "true"},
	{"cgroup_no_v1", "\"\"", "cgroup_no_v1=all", "cgroup_no_v1=memory", NULL, NULL, NULL, NULL, "all"},
	{"agent.cgroup_driver", "auto", "agent.cgroup_driver=cgroupfs", "agent.cgroup_driver=none",
	 "cgroup_driver = \"cgroupfs\"", "cgroup_driver = \"none\"", NULL, NULL, "cgroupfs"},
	{"agent.cgroup_devices", "auto", "agent.cgroup_devices=on", "agent.cgroup_devices=1",
	 "cgroup_devices = \"on\"", "cgroup_devices = true", NULL, NULL, "on"},
	{"agent.renew", "false", "agent.renew=true", "agent.renew=often", "renew = true", "renew = \"often\"",
	 "KATA_AGENT_RENEW=1", "KATA_AGENT_RENEW=maybe", "true"},
	{"agent.https_proxy", "\"\"", "agent.https_proxy=http://proxy:81/", "agent.https_proxy=proxy",
	 "https_proxy = \"http://proxy:81/\"", "https_proxy = \"http:/\"", NULL, NULL, "http://proxy:81/"},
	{"agent.no_proxy", "\"\"", "agent.no_proxy=a.b,c", "agent.no_proxy=", "no_proxy = \"a.b,c\"",
	 "no_proxy = []", NULL, NULL, "a.b,c"},
	{"agent.guest_components_rest_api", "resource", "agent.guest_components_rest_api=all",
	 "agent.guest_components_rest_api=none", "guest_components_rest_api = \"all\"",
	 "guest_components_rest_api = \"\"", NULL, NULL, "all"},
	{"agent.guest_components_procs", "api-server-rest", "agent.guest_components_procs=none",
	 "agent.guest_components_procs= none", "guest_components_procs = \"none\"",
	 "guest_components_procs = \"all\"", NULL, NULL, "none"},
	SWITCH("secure_storage_integrity", "true", "false"),
	{"policy_file", "\"\"", NULL, NULL, "policy_file = \"/p\"", "policy_file = 7",
	 "KATA_AGENT_POLICY_FILE=/p", NULL, "/p"},
	SWITCH("mem_agent_enable", "false", "true"),
	SWITCH("mem_agent_memcg_disable", "false", "true"),
	SWITCH("mem_agent_memcg_swap", "false", "true"),
	NUMBER("mem_agent_memcg_swappiness_max", "50", "255", "256"),
	NUMBER("mem_agent_memcg_period_secs", "600", "1", "-1"),
	NUMBER("mem_agent_memcg_period_psi_percent_limit", "1", "9", "1.5"),
	NUMBER("mem_agent_memcg_eviction_psi_percent_limit", "1", "9", ""),
	NUMBER("mem_agent_memcg_eviction_run_aging_count_min", "3", "12", "0x3"),
	SWITCH("mem_agent_compact_disable", "false", "true"),
	NUMBER("mem_agent_compact_period_secs", "600", "5", "five"),
	NUMBER("mem_agent_compact_period_psi_percent_limit", "1", "9", "1000"),
	NUMBER("mem_agent_compact_psi_percent_limit", "5", "9", "-9"),
	NUMBER("mem_agent_compact_sec_max", "300", "-7", "7s"),
	NUMBER("mem_agent_compact_order", "9", "3", "300"),
	NUMBER("mem_agent_compact_threshold", "1024", "2048", "x"),
	NUMBER("mem_agent_compact_force_times", "9223372036854775807", "12", "99999999999999999999"),
};

/* Value and source of @name in the description. */
static void assert_shown(const struct config *config, const char *name, const char *value, const char *source)
{
	char *text = config_describe(config), expected[256], got[256] = "";
	assert_non_null(text);
	snprintf(expected, sizeof(expected), "%-48s %-24s (%s)", name, value, source);
	for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ' ')
			snprintf(got, sizeof(got), "%s", line);
	free(text);
	assert_string_equal(got, expected);
}

static void check(const struct row *row, const char *cmdline, const char *toml, const char *environment,
		  const char *value, const char *source, size_t notes)
{
	struct config config;
	char *variables[] = {(char *)environment, NULL};
	assert_int_equal(config_init(&config), 0);
	if (cmdline)
		config_apply_cmdline(&config, cmdline);
	if (toml)
		config_apply_toml(&config, toml, strlen(toml), "test");
	if (environment)
		config_apply_environment(&config, variables);
	assert_shown(&config, row->name, value, source);
	assert_int_equal(config.n_notes, notes);
	config_deinit(&config);
}

static void every_key_in_every_source(void **state)
{
	for (size_t i = 0; i < array_length(rows); i++) {
		const struct row *row = &rows[i];
		check(row, "", "", NULL, row->initial, "default", 0);
		if (row->cmdline_good)
			check(row, row->cmdline_good, NULL, NULL, row->shown, "kernel command line", 0);
		if (row->cmdline_bad)
			check(row, row->cmdline_bad, NULL, NULL, row->initial, "default", 1);
		if (row->toml_good)
			check(row, NULL, row->toml_good, NULL, row->shown, "configuration file", 0);
		if (row->toml_bad)
			check(row, NULL, row->toml_bad, NULL, row->initial, "default", 1);
		if (row->environment_good)
			check(row, NULL, NULL, row->environment_good, row->shown, "environment", 0);
		if (row->environment_bad)
			check(row, NULL, NULL, row->environment_bad, row->initial, "default", 1);
	}
}

static void a_bad_value_leaves_the_earlier_one(void **state)
{
	check(&rows[1], "agent.log=debug agent.log=x", NULL, NULL, "debug", "kernel command line", 1);
}

static void later_sources_win(void **state)
{
	const struct row *log = &rows[1];
	check(log, "agent.log=error agent.log=warn", NULL, NULL, "warn", "kernel command line", 0);
	check(log, "agent.log=error", "log_level = \"debug\"", NULL, "debug", "configuration file", 0);
	check(log, "agent.log=error", "log_level = \"debug\"", "KATA_AGENT_LOG_LEVEL=trace", "trace",
	      "environment", 0);
}

static void unknown_agent_keys_are_told_once(void **state)
{
	struct config config;
	assert_int_equal(config_init(&config), 0);
	config_apply_cmdline(
		&config,
		"console=ttyS0 agent.nonsense=1 quiet agent.nonsense=1 agent.debug_consolex agentx=2\n");
	assert_int_equal(config.n_notes, 2);
	assert_non_null(strstr(config.notes[0], "agent.nonsense"));
	assert_non_null(strstr(config.notes[1], "agent.debug_consolex"));
	config_deinit(&config);
}

static void memory_agent_keys_count_in_any_order(void **state)
{
	struct config config;
	assert_int_equal(config_init(&config), 0);
	config_apply_cmdline(
		&config,
		"agent.mem_agent_compact_order=4 agent.mem_agent_compact_disable=1 agent.mem_agent_enable=1");
	assert_true(config.mem_agent.enable && config.mem_agent.compact_disable);
	assert_int_equal(config.mem_agent.compact_order, 4);
	assert_int_equal(config.n_notes, 0);
	config_deinit(&config);
}

static void durations_as_the_reference_writes_them(void **state)
{
	static const char *const spellings[] = {"hotplug_timeout = { secs = 10, nanos = 0 }",
						"hotplug_timeout = [10, 0]", "hotplug_timeout = 10",
						"[hotplug_timeout]\nsecs = 10\n"};
	for (size_t i = 0; i < array_length(spellings); i++) {
		struct config config;
		assert_int_equal(config_init(&config), 0);
		config_apply_toml(&config, spellings[i], strlen(spellings[i]), "test");
		assert_int_equal(config.hotplug_timeout, 10);
		assert_int_equal(config.n_notes, 0);
		config_deinit(&config);
	}
}

static void a_broken_file_changes_nothing(void **state)
{
	struct config config;
	const char *text = "log_level = \"debug\"\nserver_addr = ";
	assert_int_equal(config_init(&config), 0);
	config_apply_toml(&config, text, strlen(text), "broken.toml");
	assert_int_equal(config.log_level, LOG_INFO);
	assert_int_equal(config.n_notes, 1);
	assert_non_null(strstr(config.notes[0], "broken.toml"));
	assert_non_null(strstr(config.notes[0], "line 2"));
	config_deinit(&config);
}

static void either_spelling_asks_for_cgroup_v2(void **state)
{
	static const struct {
		const char *cmdline;
		bool v2;
	} cases[] = {{"", false},
		     {"cgroup_no_v1=all", true},
		     {"cgroup_no_v1=memory", false},
		     {"systemd.unified_cgroup_hierarchy=1", true},
		     {"systemd.unified_cgroup_hierarchy=true", true},
		     {"systemd.unified_cgroup_hierarchy=0", false},
		     {"cgroup_no_v1=all systemd.unified_cgroup_hierarchy=0", true}};
	for (size_t i = 0; i < array_length(cases); i++) {
		struct config config;
		assert_int_equal(config_init(&config), 0);
		config_apply_cmdline(&config, cases[i].cmdline);
		assert_int_equal(config_wants_cgroup_v2(&config), cases[i].v2);
		config_deinit(&config);
	}
}

struct files {
	char directory[32];
	char cmdline[64];
	char toml[64];
};

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int make_files(void **state)
{
	static struct files files;
	snprintf(files.directory, sizeof(files.directory), "/tmp/test-config.XXXXXX");
	if (!mkdtemp(files.directory))
		return -1;
	snprintf(files.cmdline, sizeof(files.cmdline), "%s/cmdline", files.directory);
	snprintf(files.toml, sizeof(files.toml), "%s/agent.toml", files.directory);
	*state = &files;
	return 0;
}

static int remove_files(void **state)
{
	struct files *files = *state;
	unlink(files->cmdline);
	unlink(files->toml);
	return rmdir(files->directory);
}

static void a_file_named_on_the_kernel_command_line(void **state)
{
	struct files *files = *state;
	struct config config;
	char text[128], *environment[] = {(char *)"KATA_AGENT_TRACING=true", NULL};
	snprintf(text, sizeof(text), "agent.log=error agent.config_file=%s agent.log_vport=1025\n",
		 files->toml);
	write_file(files->cmdline, text);
	write_file(files->toml, "log_level = \"debug\"\n");
	assert_int_equal(config_init(&config), 0);
	config_load(&config, NULL, files->cmdline, environment);
	assert_int_equal(config.log_level, LOG_DEBUG);
	assert_int_equal(config.log_vport, 1025);
	assert_true(config.trace);
	assert_string_equal(config.config_file, files->toml);
	assert_int_equal(config.n_notes, 0);
	config_deinit(&config);
}

static void a_file_named_by_an_argument(void **state)
{
	struct files *files = *state;
	struct config config;
	char *environment[] = {NULL};
	write_file(files->cmdline, "agent.log=error agent.log_vport=1025\n");
	write_file(files->toml, "server_addr = \"unix:///x\"\n");
	assert_int_equal(config_init(&config), 0);
	config_load(&config, files->toml, files->cmdline, environment);
	assert_int_equal(config.log_level, LOG_INFO);
	assert_int_equal(config.log_vport, 0);
	assert_string_equal(config.server_addr, "unix:///x");
	config_deinit(&config);
}

static void a_missing_file_is_told(void **state)
{
	struct files *files = *state;
	struct config config;
	char *environment[] = {NULL};
	unlink(files->toml);
	unlink(files->cmdline);
	assert_int_equal(config_init(&config), 0);
	config_load(&config, files->toml, files->cmdline, environment);
	assert_int_equal(config.n_notes, 1);
	assert_string_equal(config.server_addr, "vsock://-1:1024");
	config_deinit(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_in_every_source),
		cmocka_unit_test(a_bad_value_leaves_the_earlier_one),
		cmocka_unit_test(later_sources_win),
		cmocka_unit_test(unknown_agent_keys_are_told_once),
		cmocka_unit_test(memory_agent_keys_count_in_any_order),
		cmocka_unit_test(durations_as_the_reference_writes_them),
		cmocka_unit_test(a_broken_file_changes_nothing),
		cmocka_unit_test(either_spelling_asks_for_cgroup_v2),
		cmocka_unit_test_setup_teardown(a_file_named_on_the_kernel_command_line, make_files,
						remove_files),
		cmocka_unit_test_setup_teardown(a_file_named_by_an_argument, make_files, remove_files),
		cmocka_unit_test_setup_teardown(a_missing_file_is_told, make_files, remove_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
