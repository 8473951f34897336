/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a log record (reference: Kata's logging library): one JSON object, every value a string, keys unique,
 * valid UTF-8, never longer than LOG_LINE_MAX. What is too long is cut between characters: the message to half a
 * line, the values to an equal share of what is left, so that every key that fits is there.
 *
 * Time is broken down here because gmtime_r(3) may read /etc/localtime, which in a child can be a container's.
 */

#include "base/log-line.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"

enum {
	PAIRS_MAX = 32,
	TIME_SIZE = 48,
	TAIL = 2, /* "}\n" */
};

struct pair {
	const char *key;
	const char *value;
};

struct line {
	char *out;
	size_t length;
	size_t limit;
};

/* The bytes that stand for the character at @p in a JSON string; *@used is how many of @length they replace. */
static size_t escape(const char *p, size_t length, char out[8], size_t *used)
{
	static const char names[] = {['"'] = '"', ['\\'] = '\\', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
	unsigned char c = (unsigned char)*p;

	*used = 1;
	if (c < sizeof(names) && names[c]) {
		out[0] = '\\';
		out[1] = names[c];
		return 2;
	}
	if (c < 0x20 || c == 0x7f)
		return (size_t)snprintf(out, 8, "\\u%04x", c);

	size_t n = utf8_character(p, length);
	if (n == 0) {
		memcpy(out, "\xef\xbf\xbd", 3);
		return 3;
	}
	memcpy(out, p, n);
	*used = n;
	return n;
}

/* Appends @text, escaped, as far as it fits @max more bytes. */
static void line_escaped(struct line *line, const char *text, size_t max)
{
	size_t length = strlen(text);

	if (max > line->limit - line->length)
		max = line->limit - line->length;
	while (length > 0) {
		char out[8];
		size_t used, n = escape(text, length, out, &used);

		if (n > max)
			return;
		memcpy(line->out + line->length, out, n);
		line->length += n;
		max -= n;
		text += used;
		length -= used;
	}
}

static void line_raw(struct line *line, const char *text, size_t n)
{
	memcpy(line->out + line->length, text, n);
	line->length += n;
}

/* Appends "key":"value" with at most @max bytes for the value, or nothing where not even an empty value fits. */
static void line_pair(struct line *line, const char *key, const char *value, size_t max)
{
	size_t start = line->length, key_room = strlen(key) * 6 + sizeof(",\"\":\"\"");

	if (key_room > line->limit - line->length)
		return;
	line_raw(line, start == 0 ? "{\"" : ",\"", 2);
	line_escaped(line, key, line->limit);
	line_raw(line, "\":\"", 3);
	/* The closing quote's place. */
	line->limit--;
	line_escaped(line, value, max);
	line->limit++;
	line_raw(line, "\"", 1);
}

/* Days since 1970-01-01 to a date of the Gregorian calendar, counted in years that begin in March. */
static void civil_date(int64_t days, int64_t *year, unsigned int *month, unsigned int *day)
{
	days += 719468; /* from 0000-03-01 */
	int64_t era = days / 146097;
	unsigned int of_era = (unsigned int)(days % 146097);
	unsigned int year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	unsigned int of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	unsigned int from_march = (5 * of_year + 2) / 153;

	*day = of_year - (153 * from_march + 2) / 5 + 1;
	*month = from_march < 10 ? from_march + 3 : from_march - 9;
	*year = (int64_t)year_of_era + era * 400 + (*month <= 2);
}

static void format_time(char out[TIME_SIZE])
{
	struct timespec now;
	int64_t year;
	unsigned int month, day;

	clock_gettime(CLOCK_REALTIME, &now);
	int64_t seconds = now.tv_sec > 0 ? now.tv_sec : 0;
	unsigned int of_day = (unsigned int)(seconds % 86400);
	civil_date(seconds / 86400, &year, &month, &day);
	(void)snprintf(out, TIME_SIZE, "%04d-%02u-%02uT%02u:%02u:%02u.%09ldZ", (int)year, month, day,
		       of_day / 3600, of_day / 60 % 60, of_day % 60, now.tv_nsec);
}

static const char *level_name(enum log_level level)
{
	static const char *const names[] = {
		[LOG_CRITICAL] = "CRIT", [LOG_ERROR] = "ERRO", [LOG_WARNING] = "WARN",
		[LOG_INFO] = "INFO",	 [LOG_DEBUG] = "DEBG", [LOG_TRACE] = "TRCE",
	};

	return (unsigned int)level <= LOG_TRACE ? names[level] : "TRCE";
}

static bool is_fixed(const char *key)
{
	return str_equal(key, "msg") || str_equal(key, "level") || str_equal(key, "ts");
}

static void pair_set(struct pair *pairs, size_t *n, const char *key, const char *value)
{
	for (size_t i = 0; i < *n; i++) {
		if (str_equal(pairs[i].key, key)) {
			pairs[i].value = value;
			return;
		}
	}
	if (*n < PAIRS_MAX)
		pairs[(*n)++] = (struct pair){key, value};
}

size_t log_line_format(char out[LOG_LINE_MAX], const char *name, enum log_level level, const char *subsystem,
		       const char *message, va_list arguments)
{
	struct line line = {.out = out, .limit = LOG_LINE_MAX - TAIL};
	struct pair pairs[PAIRS_MAX];
	size_t n = 0;
	char time[TIME_SIZE], pid[24];

	pair_set(pairs, &n, "version", "0.1.0");
	pair_set(pairs, &n, "pid", log_number(pid, getpid()));
	pair_set(pairs, &n, "name", name);
	pair_set(pairs, &n, "source", "agent");
	pair_set(pairs, &n, "subsystem", subsystem ? subsystem : "root");
	for (const char *key; (key = va_arg(arguments, const char *));) {
		const char *value = va_arg(arguments, const char *);

		if (value && !is_fixed(key))
			pair_set(pairs, &n, key, value);
	}

	format_time(time);
	line_pair(&line, "msg", str_or_empty(message), LOG_LINE_MAX / 2);
	line_pair(&line, "level", level_name(level), TIME_SIZE);
	line_pair(&line, "ts", time, TIME_SIZE);
	for (size_t i = 0; i < n; i++)
		line_pair(&line, pairs[i].key, pairs[i].value, (line.limit - line.length) / (n - i));
	line_raw(&line, "}\n", 2);
	return line.length;
}

/* KEY="VALUE" with a blank before all but the first. */
static void line_word(struct line *line, const char *key, const char *value, size_t max)
{
	size_t key_length = strlen(key);

	if (key_length + sizeof(" =\"\"") > line->limit - line->length)
		return;
	if (line->length > 0)
		line_raw(line, " ", 1);
	line_raw(line, key, key_length);
	line_raw(line, "=\"", 2);
	line->limit--;
	line_escaped(line, value, max);
	line->limit++;
	line_raw(line, "\"", 1);
}

size_t log_line_logrus(char out[LOG_LINE_MAX], bool json, enum log_level level, const char *message,
		       va_list arguments)
{
	static const char *const names[] = {
		[LOG_CRITICAL] = "fatal", [LOG_ERROR] = "error", [LOG_WARNING] = "warning",
		[LOG_INFO] = "info",	  [LOG_DEBUG] = "debug", [LOG_TRACE] = "trace",
	};
	const char *name = (unsigned int)level <= LOG_TRACE ? names[level] : "trace";
	struct line line = {.out = out, .limit = LOG_LINE_MAX - TAIL};
	void (*const add)(struct line *, const char *, const char *, size_t) = json ? line_pair : line_word;
	char time[TIME_SIZE];

	format_time(time);
	add(&line, "time", time, TIME_SIZE);
	if (json) {
		line_pair(&line, "level", name, TIME_SIZE);
	} else {
		line_raw(&line, " level=", 7);
		line_raw(&line, name, strlen(name));
	}
	add(&line, "msg", str_or_empty(message), LOG_LINE_MAX / 2);
	for (const char *key; (key = va_arg(arguments, const char *));) {
		const char *value = va_arg(arguments, const char *);

		if (value && !is_fixed(key))
			add(&line, key, value, LOG_LINE_MAX);
	}
	line_raw(&line, json ? "}\n" : "\n", json ? 2 : 1);
	return line.length;
}

size_t log_line_text(char line[LOG_LINE_MAX], const char *name, enum log_level level, const char *subsystem,
		     const char *message, ...)
{
	va_list pairs;

	va_start(pairs, message);
	size_t length = log_line_format(line, name, level, subsystem, message, pairs);
	va_end(pairs);
	return length;
}

const char *log_number(char buffer[24], int64_t value)
{
	(void)snprintf(buffer, 24, "%" PRId64, value);
	return buffer;
}
