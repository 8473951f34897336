/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One row a key: its names in the sources, how its value is read, where it goes. Everything else is a walk over the rows.
 * A new key is a new row and a member of struct config.
 */

#include "agent/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config_value.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/toml.h"

enum { CMDLINE_MAX = 64 << 10, FILE_MAX = 1 << 20, VALUE_SHOWN = 200 };

struct key {
	const char *cmdline;	 /* whole name on the kernel command line, or NULL */
	const char *toml;	 /* name in the file, or NULL */
	const char *environment; /* variable, or NULL */
	enum value_kind kind;
	size_t offset;
	const char *initial;	  /* the default, in the form of the kernel command line */
	const char *const *words; /* of VALUE_WORD */
};

static const char *const rest_api_words[] = {"all", "attestation", "resource", NULL};
static const char *const procs_words[] = {"none", "attestation-agent", "confidential-data-hub",
					  "api-server-rest", NULL};
static const char *const no_v1_words[] = {"", "all", NULL};
static const char *const cgroup_devices_words[] = {"auto", "off", "on", NULL};

#define AT(member) offsetof(struct config, member)
#define AGENT(name, kind, initial)                                                                           \
	{                                                                                                    \
		"agent." #name, #name, NULL, kind, AT(name), initial, NULL                                   \
	}
#define MEM_AGENT(name, kind, initial)                                                                       \
	{                                                                                                    \
		"agent.mem_agent_" #name, "mem_agent_" #name, NULL, kind, AT(mem_agent.name), initial, NULL  \
	}

static const struct key keys[] = {
	{"agent.server_addr", "server_addr", "KATA_AGENT_SERVER_ADDR", VALUE_TEXT, AT(server_addr),
	 CONFIG_SERVER_ADDR, NULL},
	{"agent.log", "log_level", "KATA_AGENT_LOG_LEVEL", VALUE_LOG_LEVEL, AT(log_level), "info", NULL},
	{"agent.trace", "tracing", "KATA_AGENT_TRACING", VALUE_SWITCH, AT(trace), "false", NULL},
	{"agent.devmode", "dev_mode", NULL, VALUE_FLAG, AT(devmode), "false", NULL},
	{"agent.debug_console", "debug_console", NULL, VALUE_FLAG, AT(debug_console), "false", NULL},
	AGENT(debug_console_vport, VALUE_PORT, "0"),
	AGENT(log_vport, VALUE_PORT, "0"),
	AGENT(passfd_listener_port, VALUE_PORT, "0"),
	AGENT(container_pipe_size, VALUE_SIZE, "0"),
	AGENT(hotplug_timeout, VALUE_SECONDS, "3"),
	AGENT(cdh_api_timeout, VALUE_SECONDS, "50"),
	AGENT(image_pull_timeout, VALUE_SECONDS, "1200"),
	AGENT(cdi_timeout, VALUE_SECONDS, "100"),
	AGENT(launch_process_timeout, VALUE_SECONDS, "6"),
	AGENT(visible_cdi_devices, VALUE_SWITCH, "false"),
	{"systemd.unified_cgroup_hierarchy", "unified_cgroup_hierarchy", NULL, VALUE_SWITCH,
	 AT(unified_cgroup_hierarchy), "false", NULL},
	{"cgroup_no_v1", NULL, NULL, VALUE_WORD, AT(cgroup_no_v1), "", no_v1_words},
	AGENT(cgroup_driver, VALUE_CGROUP_DRIVER, "auto"),
	{"agent.cgroup_devices", "cgroup_devices", NULL, VALUE_WORD, AT(cgroup_devices), "auto",
	 cgroup_devices_words},
	{"agent.renew", "renew", "KATA_AGENT_RENEW", VALUE_SWITCH, AT(renew), "false", NULL},
	AGENT(https_proxy, VALUE_URL, ""),
	AGENT(no_proxy, VALUE_TEXT, ""),
	{"agent.guest_components_rest_api", "guest_components_rest_api", NULL, VALUE_WORD,
	 AT(guest_components_rest_api), "resource", rest_api_words},
	{"agent.guest_components_procs", "guest_components_procs", NULL, VALUE_WORD,
	 AT(guest_components_procs), "api-server-rest", procs_words},
	AGENT(secure_storage_integrity, VALUE_SWITCH, "true"),
	{NULL, "policy_file", "KATA_AGENT_POLICY_FILE", VALUE_TEXT, AT(policy_file), "", NULL},
	MEM_AGENT(enable, VALUE_SWITCH, "false"),
	MEM_AGENT(memcg_disable, VALUE_SWITCH, "false"),
	MEM_AGENT(memcg_swap, VALUE_SWITCH, "false"),
	MEM_AGENT(memcg_swappiness_max, VALUE_U8, "50"),
	MEM_AGENT(memcg_period_secs, VALUE_U64, "600"),
	MEM_AGENT(memcg_period_psi_percent_limit, VALUE_U8, "1"),
	MEM_AGENT(memcg_eviction_psi_percent_limit, VALUE_U8, "1"),
	MEM_AGENT(memcg_eviction_run_aging_count_min, VALUE_U64, "3"),
	MEM_AGENT(compact_disable, VALUE_SWITCH, "false"),
	MEM_AGENT(compact_period_secs, VALUE_U64, "600"),
	MEM_AGENT(compact_period_psi_percent_limit, VALUE_U8, "1"),
	MEM_AGENT(compact_psi_percent_limit, VALUE_U8, "5"),
	MEM_AGENT(compact_sec_max, VALUE_I64, "300"),
	MEM_AGENT(compact_order, VALUE_U8, "9"),
	MEM_AGENT(compact_threshold, VALUE_U64, "1024"),
	MEM_AGENT(compact_force_times, VALUE_U64, "9223372036854775807"),
};
_Static_assert(array_length(keys) <= CONFIG_KEYS_MAX, "struct config has too few sources");

static const char *const source_names[] = {"default", "kernel command line", "configuration file",
					   "environment"};

static void note(struct config *config, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same sentence is kept once; beyond the room, sentences are dropped. */
static void note(struct config *config, const char *format, ...)
{
	char text[512], clean[512];
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (length < 0)
		return;
	utf8_sanitize(text, strlen(text), clean, sizeof(clean));
	for (size_t i = 0; i < config->n_notes; i++)
		if (str_equal(config->notes[i], clean))
			return;
	char *kept = arena_strdup(config->arena, clean);
	if (kept && config->n_notes < CONFIG_NOTES_MAX)
		config->notes[config->n_notes++] = kept;
}

static void set(struct config *config, const struct key *key, const char *value, enum config_source source)
{
	const char *why = NULL;
	void *member = (char *)config + key->offset;
	if (value_parse(key->kind, value, key->words, config->arena, member, &why) == 0) {
		config->sources[key - keys] = (uint8_t)source;
		return;
	}
	const char *name = source == CONFIG_CMDLINE ? key->cmdline
			   : source == CONFIG_FILE  ? key->toml
						    : key->environment;
	char current[VALUE_SHOWN];
	value_format(key->kind, member, current, sizeof(current));
	note(config, "%s: \"%.*s\" of the %s is not used: %s; it stays %s", name, VALUE_SHOWN, value,
	     source_names[source], why, *current ? current : "\"\"");
}

int config_init(struct config *config)
{
	*config = (struct config){.arena = arena_new(2048), .config_file = ""};
	if (!config->arena)
		return -ENOMEM;
	for (size_t i = 0; i < array_length(keys); i++) {
		const char *why;
		if (value_parse(keys[i].kind, keys[i].initial, keys[i].words, config->arena,
				(char *)config + keys[i].offset, &why) < 0)
			return -ENOMEM;
	}
	return 0;
}

void config_deinit(struct config *config)
{
	arena_free(config->arena);
	*config = (struct config){.arena = NULL};
}

/* --- kernel command line ------------------------------------------------------------------------------------ */

static const struct key *find_cmdline(const char *name, size_t length)
{
	for (size_t i = 0; i < array_length(keys); i++)
		if (keys[i].cmdline && strlen(keys[i].cmdline) == length &&
		    !memcmp(keys[i].cmdline, name, length))
			return &keys[i];
	return NULL;
}

static void apply_token(struct config *config, const char *token)
{
	const char *equals = strchr(token, '=');
	size_t length = equals ? (size_t)(equals - token) : strlen(token);
	const struct key *key = find_cmdline(token, length);
	if (length == strlen("agent.config_file") && str_starts_with(token, "agent.config_file")) {
		if (equals && equals[1])
			config->config_file = arena_strdup(config->arena, equals + 1) ?: "";
		else
			note(config, "agent.config_file names no file");
	} else if (!key) {
		if (str_starts_with(token, "agent."))
			note(config, "%.*s on the kernel command line is no key of this agent",
			     (int)(length < 100 ? length : 100), token);
	} else if (!equals && (key->kind == VALUE_FLAG || key->offset == AT(trace))) {
		set(config, key, "true", CONFIG_CMDLINE);
	} else if (!equals) {
		note(config, "%s on the kernel command line has no value", key->cmdline);
	} else if (key->kind == VALUE_TEXT && !equals[1]) {
		note(config, "%s on the kernel command line has an empty value", key->cmdline);
	} else {
		set(config, key, equals + 1, CONFIG_CMDLINE);
	}
}

void config_apply_cmdline(struct config *config, const char *text)
{
	static const char blanks[] = " \t\n\r\f";
	_cleanup_free_ char *copy = strdup(text);
	char *rest = copy, *token;
	while (copy && (token = strsep(&rest, blanks)))
		if (*token)
			apply_token(config, token);
}

/* --- file --------------------------------------------------------------------------------------------------- */

static const struct key *find_toml(const char *name)
{
	for (size_t i = 0; i < array_length(keys); i++)
		if (str_equal(keys[i].toml, name))
			return &keys[i];
	return NULL;
}

static void apply_member(struct config *config, const char *name, const struct toml_value *value)
{
	const struct key *key = find_toml(name);
	char text[64];
	const char *given = NULL;
	if (!key) {
		note(config, "%.100s in the configuration file is no key of this agent", name);
		return;
	}
	switch (value->type) {
	case TOML_STRING:
		if (value_takes_text(key->kind) && strlen(value->string.text) == value->string.length)
			given = value->string.text;
		break;
	case TOML_INTEGER:
		if (!value_takes_text(key->kind) && !value_takes_switch(key->kind)) {
			snprintf(text, sizeof(text), "%lld", (long long)value->integer);
			given = text;
		}
		break;
	case TOML_BOOLEAN:
		if (value_takes_switch(key->kind))
			given = value->boolean ? "true" : "false";
		break;
	case TOML_TABLE:
		/* { secs = 10, nanos = 0 }: how the reference's file writes a duration. */
		if (key->kind == VALUE_SECONDS) {
			const struct toml_value *secs = toml_get(value, "secs");
			if (secs && secs->type == TOML_INTEGER) {
				snprintf(text, sizeof(text), "%lld", (long long)secs->integer);
				given = text;
			}
		}
		break;
	case TOML_ARRAY:
		if (key->kind == VALUE_SECONDS && value->count == 2 &&
		    value->items[0].value.type == TOML_INTEGER) {
			snprintf(text, sizeof(text), "%lld", (long long)value->items[0].value.integer);
			given = text;
		}
		break;
	default:
		break;
	}
	if (given)
		set(config, key, given, CONFIG_FILE);
	else
		note(config, "%s in the configuration file has a value of the wrong type", key->toml);
}

void config_apply_toml(struct config *config, const char *text, size_t length, const char *name)
{
	struct error e = ERROR_INIT;
	struct arena *arena = arena_new(4096);
	const struct toml_value *root = arena ? toml_parse(text, length, arena, &e) : NULL;
	if (!root)
		note(config, "configuration file %.200s is not used: %.200s", name, e.text);
	for (size_t i = 0; root && i < root->count; i++)
		apply_member(config, root->items[i].key, &root->items[i].value);
	arena_free(arena);
}

static void apply_file(struct config *config, const char *path)
{
	_cleanup_free_ char *text = NULL;
	ssize_t length = file_read(AT_FDCWD, path, FILE_MAX, &text);
	if (length < 0)
		note(config, "configuration file %.200s cannot be read: %s", path, strerror((int)-length));
	else
		config_apply_toml(config, text, (size_t)length, path);
	config->config_file = arena_strdup(config->arena, path) ?: "";
}

/* --- environment -------------------------------------------------------------------------------------------- */

void config_apply_environment(struct config *config, char *const *environment)
{
	for (size_t i = 0; i < array_length(keys); i++) {
		size_t length = keys[i].environment ? strlen(keys[i].environment) : 0;
		for (char *const *at = environment; length && at && *at; at++)
			if (!strncmp(*at, keys[i].environment, length) && (*at)[length] == '=')
				set(config, &keys[i], *at + length + 1, CONFIG_ENVIRONMENT);
	}
}

/* --- all ---------------------------------------------------------------------------------------------------- */

void config_load(struct config *config, const char *file, const char *cmdline, char *const *environment)
{
	if (!file) {
		_cleanup_free_ char *text = NULL;
		ssize_t length = file_read(AT_FDCWD, cmdline, CMDLINE_MAX, &text);
		if (length >= 0)
			config_apply_cmdline(config, text);
		else
			note(config, "%s cannot be read: %s", cmdline, strerror((int)-length));
		file = *config->config_file ? config->config_file : NULL;
	}
	if (file)
		apply_file(config, file);
	config_apply_environment(config, environment);
}

bool config_wants_cgroup_v2(const struct config *config)
{
	return config->unified_cgroup_hierarchy || str_equal(config->cgroup_no_v1, "all");
}

char *config_describe(const struct config *config)
{
	struct buf out = BUF_INIT;
	char text[VALUE_SHOWN];
	for (size_t i = 0; i < array_length(keys); i++) {
		value_format(keys[i].kind, (const char *)config + keys[i].offset, text, sizeof(text));
		buf_printf(&out, "%-48s %-24s (%s)\n", keys[i].cmdline ? keys[i].cmdline : keys[i].toml,
			   *text ? text : "\"\"", source_names[config->sources[i]]);
	}
	if (*config->config_file)
		buf_printf(&out, "%-48s %s\n", "agent.config_file", config->config_file);
	for (size_t i = 0; i < config->n_notes; i++)
		buf_printf(&out, "warning: %s\n", config->notes[i]);
	buf_append_char(&out, '\0');
	if (out.failed) {
		buf_deinit(&out);
		return NULL;
	}
	char *result = strdup((const char *)buf_begin(&out));
	buf_deinit(&out);
	return result;
}

void config_log_notes(const struct config *config)
{
	for (size_t i = 0; i < config->n_notes; i++)
		log_warning("root", "configuration", "problem", config->notes[i]);
}
