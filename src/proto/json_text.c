/* SPDX-License-Identifier: Apache-2.0 */
/* One walk looks for a large integer; only where there is one does a second make the changed text. */
#include "proto/json_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

/* INT64_MIN has 20 characters; the largest text that can still be one of these has no more. */
enum { INT64_DIGITS_MIN = 19, INT64_TEXT_MAX = 20 };

/* The end of the text that begins with the quote at @at. */
static size_t text_end(const char *text, size_t at, size_t length)
{
	for (at++; at < length && text[at] != '"'; at++) {
		if (text[at] == '\\')
			at++;
	}
	return at < length ? at + 1 : length;
}

static size_t number_end(const char *text, size_t at, size_t length)
{
	while (at < length && (isdigit((unsigned char)text[at]) || (text[at] && strchr("+-.eE", text[at]))))
		at++;
	return at;
}

static bool is_large_integer(const char *number, size_t length)
{
	size_t digits = length - (number[0] == '-');
	char copy[INT64_TEXT_MAX + 1];
	int64_t value;

	/* A leading zero is no JSON: the parser shall see it. */
	if (digits < INT64_DIGITS_MIN || number[length - digits] == '0')
		return false;
	for (size_t i = length - digits; i < length; i++) {
		if (!isdigit((unsigned char)number[i]))
			return false;
	}
	if (length > INT64_TEXT_MAX)
		return true;
	memcpy(copy, number, length);
	copy[length] = 0;
	return str_to_i64(copy, 10, &value) < 0;
}

/* The next large integer at or behind *@at, which is moved to it; *@end is its end. */
static bool next_large(const char *text, size_t length, size_t *at, size_t *end)
{
	while (*at < length) {
		if (text[*at] == '"') {
			*at = text_end(text, *at, length);
		} else if (text[*at] == '-' || isdigit((unsigned char)text[*at])) {
			*end = number_end(text, *at, length);
			if (is_large_integer(text + *at, *end - *at))
				return true;
			*at = *end;
		} else {
			++*at;
		}
	}
	return false;
}

/* A control character that occurs nowhere as an escape (raw ones are not allowed in JSON), or 0. */
static char free_mark(const char *text, size_t length)
{
	for (char mark = 1; mark < 10; mark++) {
		char escape[8];

		snprintf(escape, sizeof(escape), "\\u%04x", (unsigned)mark);
		if (!memmem(text, length, escape, strlen(escape)))
			return mark;
	}
	return 0;
}

int json_text_mark_integers(const char *text, size_t length, struct buf *out, char *mark, struct error *e)
{
	size_t at = 0;
	size_t done = 0;
	size_t end;

	*mark = 0;
	if (!next_large(text, length, &at, &end))
		return 0;
	*mark = free_mark(text, length);
	if (!*mark)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "JSON: an integer is out of range");
	do {
		buf_append(out, text + done, at - done);
		buf_printf(out, "\"\\u%04x", (unsigned)*mark);
		buf_append(out, text + at, end - at);
		buf_append_char(out, '"');
		at = done = end;
	} while (next_large(text, length, &at, &end));
	buf_append(out, text + done, length - done);
	if (out->failed)
		return error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "JSON: out of memory");
	return 0;
}
