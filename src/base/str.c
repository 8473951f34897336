/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict readings of texts that somebody else wrote.
 *
 * strtoull(3) and its kin skip blanks, take signs and know the locale; peers must not see that, so digits are read
 * here. Nothing depends on the locale.
 */

#include "base/str.h"

#include <errno.h>
#include <string.h>

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 10;
	return 99;
}

int str_to_u64(const char *text, int base, uint64_t *out)
{
	uint64_t value = 0;

	if (!text)
		return -EINVAL;
	if (base == 0) {
		base = 10;
		if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
			base = 16;
			text += 2;
		} else if (text[0] == '0' && text[1]) {
			base = 8;
			text++;
		}
	}
	if (!*text || base < 2 || base > 36)
		return -EINVAL;

	bool overflow = false;
	for (; *text; text++) {
		int digit = digit_value(*text);

		if (digit >= base)
			return -EINVAL;
		overflow |= __builtin_mul_overflow(value, (uint64_t)base, &value);
		overflow |= __builtin_add_overflow(value, (uint64_t)digit, &value);
	}
	if (overflow)
		return -ERANGE;
	*out = value;
	return 0;
}

int str_to_i64(const char *text, int base, int64_t *out)
{
	uint64_t magnitude;

	if (!text)
		return -EINVAL;
	bool negative = *text == '-';
	int r = str_to_u64(text + (*text == '-' || *text == '+'), base, &magnitude);
	if (r < 0)
		return r;
	if (magnitude > (uint64_t)INT64_MAX + negative)
		return -ERANGE;
	*out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
	return 0;
}

int str_to_u32(const char *text, int base, uint32_t *out)
{
	uint64_t value;
	int r = str_to_u64(text, base, &value);

	if (r < 0)
		return r;
	if (value > UINT32_MAX)
		return -ERANGE;
	*out = (uint32_t)value;
	return 0;
}

/* What a lead byte promises: length of the character and the range of its second byte (Unicode 15, table 3-7). */
static size_t utf8_lead(uint8_t lead, uint8_t *low, uint8_t *high)
{
	*low = 0x80;
	*high = 0xbf;
	if (lead < 0x80)
		return 1;
	if (lead < 0xc2 || lead > 0xf4)
		return 0;
	if (lead < 0xe0)
		return 2;
	if (lead < 0xf0) {
		if (lead == 0xe0)
			*low = 0xa0;
		if (lead == 0xed)
			*high = 0x9f;
		return 3;
	}
	if (lead == 0xf0)
		*low = 0x90;
	if (lead == 0xf4)
		*high = 0x8f;
	return 4;
}

/* How many of the @length bytes fit the character that the first one begins; *@need is that character's length. */
static size_t utf8_match(const uint8_t *p, size_t length, size_t *need)
{
	uint8_t low, high;
	size_t i;

	*need = utf8_lead(p[0], &low, &high);
	for (i = 1; i < *need && i < length; i++) {
		if (p[i] < low || p[i] > high)
			break;
		low = 0x80;
		high = 0xbf;
	}
	return i;
}

size_t utf8_character(const void *data, size_t length)
{
	size_t need;

	if (length == 0)
		return 0;
	return utf8_match(data, length, &need) == need ? need : 0;
}

size_t utf8_incomplete_tail(const void *data, size_t length)
{
	const uint8_t *p = data;

	for (size_t back = 1; back <= 3 && back <= length; back++) {
		const uint8_t *lead = p + length - back;
		size_t need;

		if ((*lead & 0xc0) == 0x80)
			continue;
		return utf8_match(lead, back, &need) == back && need > back ? back : 0;
	}
	return 0;
}

bool utf8_valid(const void *data, size_t length)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < length;) {
		size_t n = utf8_character(p + i, length - i);

		if (n == 0)
			return false;
		i += n;
	}
	return true;
}

size_t utf8_sanitize(const void *data, size_t length, char *out, size_t size)
{
	static const char replacement[] = "\xef\xbf\xbd";
	const uint8_t *p = data;
	size_t written = 0;

	if (size == 0)
		return 0;
	for (size_t i = 0; i < length;) {
		size_t need;
		size_t matched = utf8_match(p + i, length - i, &need);
		bool valid = matched == need;
		const void *from = valid ? (const void *)(p + i) : replacement;
		size_t n = valid ? need : sizeof(replacement) - 1;

		if (n > size - 1 - written)
			break;
		memcpy(out + written, from, n);
		written += n;
		i += matched;
	}
	out[written] = '\0';
	return written;
}

bool str_starts_with(const char *text, const char *prefix)
{
	return text && strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_ends_with(const char *text, const char *suffix)
{
	size_t length = strlen(suffix);
	size_t have = text ? strlen(text) : 0;

	return text && have >= length && memcmp(text + have - length, suffix, length) == 0;
}

static bool is_alphanumeric(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool id_valid(const char *text)
{
	size_t n = 0;

	if (!text || !is_alphanumeric(text[0]))
		return false;
	for (; text[n]; n++) {
		char c = text[n];

		if (n >= 255 || (!is_alphanumeric(c) && c != '.' && c != '-' && c != '_'))
			return false;
	}
	return true;
}

uint64_t hash_bytes(const void *data, size_t length, uint64_t seed)
{
	const uint8_t *p = data;
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ seed;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
	return hash;
}
