/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's command line, a configuration file and the environment, each with the same bytes; and what is told of it. */

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *described;
	struct config config;

	if (!text)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	char *environment[] = {text, NULL};
	for (int source = 0; source < 3; source++) {
		if (config_init(&config) < 0)
			break;
		if (source == 0)
			config_apply_cmdline(&config, text);
		else if (source == 1)
			config_apply_toml(&config, text, size, "fuzz");
		else
			config_apply_environment(&config, environment);
		assert(config.n_notes <= CONFIG_NOTES_MAX);
		assert(config.server_addr && config.cgroup_no_v1 && config.config_file);
		described = config_describe(&config);
		assert(!described || strstr(described, "agent.server_addr"));
		free(described);
		config_deinit(&config);
	}
	free(text);
	return 0;
}
