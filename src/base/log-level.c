/* SPDX-License-Identifier: Apache-2.0 */
/* The level up to which records are written, and its names as configurations write them (reference 02, 3.6). */

#include "base/log.h"

#include "base/fd.h"
#include "base/str.h"

static enum log_level current = LOG_INFO;

void log_set_level(enum log_level level)
{
	current = level;
}

enum log_level log_get_level(void)
{
	return current;
}

bool log_level_parse(const char *text, enum log_level *level)
{
	static const struct {
		const char *name;
		enum log_level level;
	} names[] = {
		{"trace", LOG_TRACE},	    {"debug", LOG_DEBUG},     {"info", LOG_INFO},
		{"warn", LOG_WARNING},	    {"warning", LOG_WARNING}, {"error", LOG_ERROR},
		{"critical", LOG_CRITICAL}, {"crit", LOG_CRITICAL},   {"fatal", LOG_CRITICAL},
		{"panic", LOG_CRITICAL},
	};

	for (size_t i = 0; text && i < array_length(names); i++) {
		if (str_equal(text, names[i].name)) {
			*level = names[i].level;
			return true;
		}
	}
	return false;
}
