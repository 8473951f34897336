/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_STR_H
#define BASE_STR_H

/* Texts: strict numbers, UTF-8, identifiers. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Whole text, no blanks, no sign for unsigned, overflow is an error. 0, -EINVAL or -ERANGE; *@out is kept on error.
 * @base is 2 to 36 (no "0x" in front), or 0: "0x" and "0" in front say hexadecimal and octal, as in C.
 */
int str_to_u64(const char *text, int base, uint64_t *out);
int str_to_i64(const char *text, int base, int64_t *out);
int str_to_u32(const char *text, int base, uint32_t *out);

/* Strict UTF-8 (no surrogates, no over-long forms, at most U+10FFFF). */
bool utf8_valid(const void *data, size_t length);
/* Copies at most @size - 1 bytes, replaces what is not UTF-8 by U+FFFD, never splits a character, NUL-terminates.
 * Returns the length written. */
size_t utf8_sanitize(const void *data, size_t length, char *out, size_t size);
/* Bytes (1 to 4) of the valid character that @data begins with; 0 when it begins with none. */
size_t utf8_character(const void *data, size_t length);
/* Bytes at the end of @data that begin a character which the end cuts off (0 to 3). */
size_t utf8_incomplete_tail(const void *data, size_t length);

static inline bool str_equal(const char *a, const char *b)
{
	return __builtin_strcmp(a ? a : "", b ? b : "") == 0;
}
static inline const char *str_or_empty(const char *text)
{
	return text ? text : "";
}
static inline bool str_is_empty(const char *text)
{
	return !text || !*text;
}
bool str_starts_with(const char *text, const char *prefix);
bool str_ends_with(const char *text, const char *suffix);

/*
 * Ids of containers and of processes: 1 to 255 bytes of ASCII letters, digits, `.`, `-`, `_`, the first a letter or a
 * digit. (Containers of one character are refused by the reference; accepting them harms nobody. "." and ".." cannot
 * occur.)
 */
bool id_valid(const char *text);

/* FNV-1a, for tables and caches that verify the key afterwards. */
uint64_t hash_bytes(const void *data, size_t length, uint64_t seed);

#endif
