/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/config_value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "cgroup/cgroup.h"

static const char *const driver_words[] = {[CGROUP_PIN_AUTO] = "auto",
					   [CGROUP_PIN_CGROUPFS] = "cgroupfs",
					   [CGROUP_PIN_SYSTEMD] = "systemd",
					   NULL};
static const char *const level_words[] = {[LOG_CRITICAL] = "critical",
					  [LOG_ERROR] = "error",
					  [LOG_WARNING] = "warn",
					  [LOG_INFO] = "info",
					  [LOG_DEBUG] = "debug",
					  [LOG_TRACE] = "trace",
					  NULL};

static int refuse(const char **why, const char *text)
{
	*why = text;
	return -EINVAL;
}

static int parse_switch(const char *text, bool *out, const char **why)
{
	uint64_t number;
	if (str_equal(text, "true") || str_equal(text, "false"))
		*out = text[0] == 't';
	else if (str_to_u64(text, 10, &number) == 0)
		*out = number != 0;
	else
		return refuse(why, "true, false, 1 or 0 is expected");
	return 0;
}

static int parse_unsigned(const char *text, uint64_t least, uint64_t most, uint64_t *out, const char **why)
{
	uint64_t number;
	if (*text == '+')
		text++;
	if (str_to_u64(text, 10, &number) < 0)
		return refuse(why, "a decimal number is expected");
	if (number < least || number > most)
		return refuse(why, "the number is out of range");
	*out = number;
	return 0;
}

static int find_word(const char *text, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		if (str_equal(words[i], text))
			return i;
	return -1;
}

/* scheme ":" "//" host, as far as an address of a proxy goes. */
static bool is_absolute_url(const char *text)
{
	const char *at = text;
	if (!isalpha((unsigned char)*at))
		return false;
	while (isalnum((unsigned char)*at) || *at == '+' || *at == '-' || *at == '.')
		at++;
	return str_starts_with(at, "://") && at[3] && at[3] != '/';
}

static int keep_text(const char *text, struct arena *arena, void *member, const char **why)
{
	char *copy = arena_strdup(arena, text);
	if (!copy)
		return refuse(why, "memory is out");
	*(const char **)member = copy;
	return 0;
}

int value_parse(enum value_kind kind, const char *text, const char *const *words, struct arena *arena,
		void *member, const char **why)
{
	uint64_t number = 0;
	int r, word;
	switch (kind) {
	case VALUE_FLAG:
	case VALUE_SWITCH:
		return parse_switch(text, member, why);
	case VALUE_PORT:
	case VALUE_SIZE:
		r = parse_unsigned(text, 0, INT32_MAX, &number, why);
		if (r == 0)
			*(uint32_t *)member = (uint32_t)number;
		return r;
	case VALUE_SECONDS:
		return parse_unsigned(text, 1, UINT64_MAX / 1000, member, why);
	case VALUE_U8:
		r = parse_unsigned(text, 0, UINT8_MAX, &number, why);
		if (r == 0)
			*(uint8_t *)member = (uint8_t)number;
		return r;
	case VALUE_U64:
		return parse_unsigned(text, 0, UINT64_MAX, member, why);
	case VALUE_I64:
		return str_to_i64(text, 10, member) < 0 ? refuse(why, "a decimal number is expected") : 0;
	case VALUE_LOG_LEVEL:
		/* The reference's names for critical. */
		if (str_equal(text, "fatal") || str_equal(text, "panic"))
			text = "critical";
		return log_level_parse(text, member) ? 0 : refuse(why, "no such log level");
	case VALUE_CGROUP_DRIVER:
		word = find_word(text, driver_words);
		if (word < 0)
			return refuse(why, "auto, cgroupfs or systemd is expected");
		*(enum cgroup_pin *)member = (enum cgroup_pin)word;
		return 0;
	case VALUE_URL:
		if (*text && !is_absolute_url(text))
			return refuse(why, "an absolute URL is expected");
		return keep_text(text, arena, member, why);
	case VALUE_WORD:
		if (find_word(text, words) < 0)
			return refuse(why, "it is none of the words that are known");
		return keep_text(text, arena, member, why);
	case VALUE_TEXT:
		return keep_text(text, arena, member, why);
	}
	return refuse(why, "of unknown kind");
}

void value_format(enum value_kind kind, const void *member, char *out, size_t size)
{
	switch (kind) {
	case VALUE_FLAG:
	case VALUE_SWITCH:
		snprintf(out, size, "%s", *(const bool *)member ? "true" : "false");
		return;
	case VALUE_PORT:
	case VALUE_SIZE:
		snprintf(out, size, "%" PRIu32, *(const uint32_t *)member);
		return;
	case VALUE_U8:
		snprintf(out, size, "%u", *(const uint8_t *)member);
		return;
	case VALUE_SECONDS:
	case VALUE_U64:
		snprintf(out, size, "%" PRIu64, *(const uint64_t *)member);
		return;
	case VALUE_I64:
		snprintf(out, size, "%" PRId64, *(const int64_t *)member);
		return;
	case VALUE_LOG_LEVEL:
		snprintf(out, size, "%s", level_words[*(const enum log_level *)member]);
		return;
	case VALUE_CGROUP_DRIVER:
		snprintf(out, size, "%s", driver_words[*(const enum cgroup_pin *)member]);
		return;
	case VALUE_TEXT:
	case VALUE_URL:
	case VALUE_WORD: {
		const char *text = *(const char *const *)member;
		utf8_sanitize(text, strlen(text), out, size);
		return;
	}
	}
}

bool value_takes_text(enum value_kind kind)
{
	return kind == VALUE_TEXT || kind == VALUE_URL || kind == VALUE_WORD || kind == VALUE_LOG_LEVEL ||
	       kind == VALUE_CGROUP_DRIVER;
}

bool value_takes_switch(enum value_kind kind)
{
	return kind == VALUE_FLAG || kind == VALUE_SWITCH;
}
