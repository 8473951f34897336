/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers with units are an integer, an optional fraction of up to nine digits, and a word out of a table. */
#include "ctl/units.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "base/fd.h"
#include "base/str.h"

enum { GIGA = 1000000000 };

struct unit {
	const char *word;
	int64_t factor;
};

/* Reads `12` or `12.5` as 12 and 500000000; returns what follows, or NULL. */
static const char *decimal_parse(const char *text, int64_t *whole, int64_t *billionths)
{
	int64_t weight = GIGA;

	*whole = *billionths = 0;
	if (!isdigit((unsigned char)*text))
		return NULL;
	for (; isdigit((unsigned char)*text); text++) {
		if (__builtin_mul_overflow(*whole, 10, whole) ||
		    __builtin_add_overflow(*whole, *text - '0', whole))
			return NULL;
	}
	if (*text != '.')
		return text;
	if (!isdigit((unsigned char)*++text))
		return NULL;
	for (; isdigit((unsigned char)*text); text++) {
		weight /= 10;
		*billionths += weight * (*text - '0');
	}
	return text;
}

/* whole.billionths times @factor. */
static int decimal_scale(int64_t whole, int64_t billionths, int64_t factor, int64_t *out)
{
	__int128 value = (__int128)whole * factor + (__int128)billionths * factor / GIGA;

	if (value > INT64_MAX)
		return -EINVAL;
	*out = (int64_t)value;
	return 0;
}

static int amount_parse(const char *text, const struct unit *units, size_t count, int64_t *out)
{
	int64_t whole;
	int64_t billionths;
	const char *word = decimal_parse(text, &whole, &billionths);

	if (!word)
		return -EINVAL;
	for (size_t i = 0; i < count; i++) {
		if (strcasecmp(word, units[i].word) == 0)
			return decimal_scale(whole, billionths, units[i].factor, out);
	}
	return -EINVAL;
}

int duration_parse(const char *text, int64_t *ns)
{
	static const struct unit units[] = {
		{"ns", 1},   {"us", 1000},	 {"µs", 1000},	       {"ms", 1000000},
		{"s", GIGA}, {"m", 60LL * GIGA}, {"h", 3600LL * GIGA},
	};

	if (strcmp(text, "0") == 0) {
		*ns = 0;
		return 0;
	}
	return amount_parse(text, units, array_length(units), ns);
}

int size_parse(const char *text, int64_t *bytes)
{
	static const struct unit units[] = {
		{"", 1},	   {"b", 1},	       {"k", 1LL << 10},
		{"kb", 1LL << 10}, {"kib", 1LL << 10}, {"m", 1LL << 20},
		{"mb", 1LL << 20}, {"mib", 1LL << 20}, {"g", 1LL << 30},
		{"gb", 1LL << 30}, {"gib", 1LL << 30}, {"t", 1LL << 40},
		{"tb", 1LL << 40}, {"tib", 1LL << 40},
	};

	if (strcmp(text, "-1") == 0) {
		*bytes = -1;
		return 0;
	}
	return amount_parse(text, units, array_length(units), bytes);
}

int cpus_parse(const char *text, int64_t *thousandths)
{
	static const struct unit units[] = {{"", 1000}};

	if (amount_parse(text, units, array_length(units), thousandths) < 0 || *thousandths == 0)
		return -EINVAL;
	return 0;
}

/* `RTMIN`, `RTMIN+3`, `RTMAX-1`. */
static int realtime_parse(const char *name, uint32_t *number)
{
	bool from_min = strncasecmp(name, "RTMIN", 5) == 0;
	uint32_t distance = 0;

	if (!from_min && strncasecmp(name, "RTMAX", 5) != 0)
		return -EINVAL;
	name += 5;
	if (*name && (*name != (from_min ? '+' : '-') || str_to_u32(name + 1, 10, &distance) < 0))
		return -EINVAL;
	if (distance > (uint32_t)(SIGRTMAX - SIGRTMIN))
		return -EINVAL;
	*number = from_min ? (uint32_t)SIGRTMIN + distance : (uint32_t)SIGRTMAX - distance;
	return 0;
}

int signal_parse(const char *text, uint32_t *number)
{
	const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;

	if (isdigit((unsigned char)*text))
		return str_to_u32(text, 10, number) == 0 && *number >= 1 && *number <= 64 ? 0 : -EINVAL;
	for (int i = 1; i < SIGRTMIN; i++) {
		const char *known = sigabbrev_np(i);

		if (known && strcasecmp(known, name) == 0) {
			*number = (uint32_t)i;
			return 0;
		}
	}
	return realtime_parse(name, number);
}

int user_parse(const char *text, uint32_t *uid, uint32_t *gid)
{
	const char *colon = strchr(text, ':');
	_cleanup_free_ char *head = colon ? strndup(text, (size_t)(colon - text)) : strdup(text);

	*gid = 0;
	if (!head || str_to_u32(head, 10, uid) < 0 || (colon && str_to_u32(colon + 1, 10, gid) < 0))
		return -EINVAL;
	return 0;
}

void random_id(char *out, size_t size)
{
	static const char digits[] = "0123456789abcdef";

	/* Never short for so few bytes, and never interrupted once the pool is ready. */
	while (getrandom(out, size, 0) != (ssize_t)size)
		;
	for (size_t i = 0; i + 1 < size; i++)
		out[i] = digits[out[i] & 15];
	out[size - 1] = 0;
}
