/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CONFIG_H
#define AGENT_CONFIG_H

/*
 * The agent's configuration: one table of keys, three sources.
 *
 * Sources, later ones win: the defaults; the kernel command line; the file that `agent.config_file=` there, or
 * --config, names (with --config the kernel command line is not looked at); the environment. Keys, units, defaults and
 * spelling are the reference's (reference 02, section 3), with `agent.cgroup_driver` and `agent.cgroup_devices` on top.
 *
 * Nothing here is fatal: as PID 1 a typing error must not be a kernel panic. A value that is no good leaves the key as
 * it was and is told in `notes`, once, and so is a key that begins with `agent.` and is unknown. `agent.mem_agent_*` keys
 * count in whatever order they come, and switches that the reference wants spelled "true" or "false" may be 1 or 0.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "cgroup/cgroup.h"

enum config_source { CONFIG_DEFAULT, CONFIG_CMDLINE, CONFIG_FILE, CONFIG_ENVIRONMENT };

enum { CONFIG_KEYS_MAX = 48, CONFIG_NOTES_MAX = 64 };

/* Where the server listens by default. */
#define CONFIG_SERVER_ADDR "vsock://-1:1024"

struct config {
	struct arena *arena; /* all text */

	const char *server_addr;
	enum log_level log_level;
	bool trace;
	bool devmode;
	bool debug_console;
	uint32_t debug_console_vport;  /* 0: the serial console */
	uint32_t log_vport;	       /* 0: stdout */
	uint32_t passfd_listener_port; /* 0: off */
	uint32_t container_pipe_size;  /* bytes; 0: the kernel's default */
	uint64_t hotplug_timeout;      /* seconds, as the following */
	uint64_t cdh_api_timeout;
	uint64_t image_pull_timeout;
	uint64_t cdi_timeout;
	uint64_t launch_process_timeout;
	bool visible_cdi_devices;
	bool unified_cgroup_hierarchy;
	const char *cgroup_no_v1; /* "" or "all" */
	enum cgroup_pin cgroup_driver;
	const char *cgroup_devices; /* "auto", "off" or "on": enum resources_devices */
	bool renew; /* random numbers and clock with each sandbox (renew.h); always as PID 1 */
	const char *https_proxy;
	const char *no_proxy;
	const char *guest_components_rest_api;
	const char *guest_components_procs;
	bool secure_storage_integrity;
	const char *policy_file;
	struct {
		bool enable;
		bool memcg_disable;
		bool memcg_swap;
		uint8_t memcg_swappiness_max;
		uint64_t memcg_period_secs;
		uint8_t memcg_period_psi_percent_limit;
		uint8_t memcg_eviction_psi_percent_limit;
		uint64_t memcg_eviction_run_aging_count_min;
		bool compact_disable;
		uint64_t compact_period_secs;
		uint8_t compact_period_psi_percent_limit;
		uint8_t compact_psi_percent_limit;
		int64_t compact_sec_max;
		uint8_t compact_order;
		uint64_t compact_threshold;
		uint64_t compact_force_times;
	} mem_agent;

	const char *config_file;	     /* that was read, or "" */
	uint8_t sources[CONFIG_KEYS_MAX];    /* enum config_source of each key, in the table's order */
	const char *notes[CONFIG_NOTES_MAX]; /* what was wrong, a sentence each */
	size_t n_notes;
};

/* Defaults. 0 or -ENOMEM. */
int config_init(struct config *config);
void config_deinit(struct config *config);

/*
 * Reads all sources. @file is the argument of --config or NULL; @cmdline the kernel command line's path
 * ("/proc/cmdline"); @environment the program's. Never fails: see `notes`.
 */
void config_load(struct config *config, const char *file, const char *cmdline, char *const *environment);

/* One source each, for config_load() and its tests. */
void config_apply_cmdline(struct config *config, const char *text);
void config_apply_toml(struct config *config, const char *text, size_t length, const char *name);
void config_apply_environment(struct config *config, char *const *environment);

/* v2 as PID 1: asked for in either spelling. */
bool config_wants_cgroup_v2(const struct config *config);
/* Writes every key with its value and where it comes from, then the notes: what --check-config prints. malloc'ed. */
char *config_describe(const struct config *config);
/* Writes the notes to the log. */
void config_log_notes(const struct config *config);

#endif
