/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strings, numbers, booleans and dates of TOML.
 *
 * A decoded string is never longer than its source, so one piece of the arena, as long as the source, holds it. Bare values are cut out first, up to what can end one, and then have to match one form as a whole.
 */

#include "base/toml-parser.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

enum { BARE_MAX = 128 };

/* --- strings --- */

static char *put_utf8(char *out, uint32_t c)
{
	if (c < 0x80) {
		*out++ = (char)c;
	} else if (c < 0x800) {
		*out++ = (char)(0xc0 | c >> 6);
		*out++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*out++ = (char)(0xe0 | c >> 12);
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	} else {
		*out++ = (char)(0xf0 | c >> 18);
		*out++ = (char)(0x80 | (c >> 12 & 0x3f));
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	}
	return out;
}

/* After "\u" or "\U": @digits hexadecimal digits. */
static int read_unicode(struct toml_parser *parser, size_t digits, char **out)
{
	char hex[9] = {0};
	uint32_t c;

	if ((size_t)(parser->end - parser->at) < digits)
		return toml_fail(parser, "unfinished escape");
	memcpy(hex, parser->at, digits);
	if (strlen(hex) != digits || str_to_u32(hex, 16, &c) < 0)
		return toml_fail(parser, "an escape needs %zu hexadecimal digits", digits);
	if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return toml_fail(parser, "escape of a character that cannot be");
	parser->at += digits;
	*out = put_utf8(*out, c);
	return 0;
}

/* At the character behind a backslash. */
static int read_escape(struct toml_parser *parser, char **out)
{
	static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
	int c = toml_peek(parser);

	if (c == 'u' || c == 'U') {
		parser->at++;
		return read_unicode(parser, c == 'u' ? 4 : 8, out);
	}
	const char *found = c > 0 ? strchr(from, c) : NULL;
	if (!found)
		return toml_fail(parser, "unknown escape");
	parser->at++;
	*(*out)++ = to[found - from];
	return 0;
}

/* One plain character of a string or, for @multi, a line end. */
static int read_plain(struct toml_parser *parser, bool multi, char **out)
{
	int c = toml_peek(parser);

	if (c < 0)
		return toml_fail(parser, "unfinished string");
	if (multi && (c == '\n' || c == '\r')) {
		if (!toml_newline(parser))
			return toml_fail(parser, "a carriage return without a line feed");
		*(*out)++ = '\n';
		return 0;
	}
	if (c == '\n' || c == '\r')
		return toml_fail(parser, "unfinished string");
	if ((c < 0x20 && c != '\t') || c == 0x7f)
		return toml_fail(parser, "a control character in a string");
	*(*out)++ = (char)c;
	parser->at++;
	return 0;
}

static void skip_blanks(struct toml_parser *parser)
{
	while (toml_peek(parser) == ' ' || toml_peek(parser) == '\t')
		parser->at++;
}

/* Behind a backslash: blanks and a line end swallow all white space up to the next text. True when so. */
static bool skip_line_end(struct toml_parser *parser)
{
	const char *start = parser->at;

	skip_blanks(parser);
	if (!toml_newline(parser)) {
		parser->at = start;
		return false;
	}
	do
		skip_blanks(parser);
	while (toml_newline(parser));
	return true;
}

/* Bytes up to the closing quote, or to where the string breaks off. */
static size_t source_length(const struct toml_parser *parser, char quote, bool multi)
{
	const char *p = parser->at;

	while (p < parser->end) {
		if (*p == quote && (!multi || (parser->end - p >= 3 && p[1] == quote && p[2] == quote)))
			break;
		if (*p == '\n' && !multi)
			break;
		p += *p == '\\' && quote == '"' && parser->end - p > 1 ? 2 : 1;
	}
	return (size_t)(p - parser->at);
}

/* Room for all that the string can become. */
static char *string_room(struct toml_parser *parser, char quote, bool multi)
{
	/* Two more quotes may belong to the content in front of the closing three. */
	char *room = arena_alloc_raw(parser->arena, source_length(parser, quote, multi) + 3);

	if (!room)
		error_set(parser->error, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
	return room;
}

int toml_read_string(struct toml_parser *parser, const char **out, size_t *length)
{
	char quote = *parser->at++;
	char *text = string_room(parser, quote, false), *p = text;

	if (!text)
		return -ENOMEM;
	while (toml_peek(parser) != quote) {
		int r;

		if (quote == '"' && toml_peek(parser) == '\\') {
			parser->at++;
			r = read_escape(parser, &p);
		} else {
			r = read_plain(parser, false, &p);
		}
		if (r < 0)
			return r;
	}
	parser->at++;
	*p = '\0';
	*out = text;
	*length = (size_t)(p - text);
	return 0;
}

/* At the closing quotes, three to five of them: all but the last three are content. */
static char *close_multi(struct toml_parser *parser, char quote, char *p)
{
	parser->at += 3;
	for (int i = 0; i < 2 && toml_peek(parser) == quote; i++) {
		parser->at++;
		*p++ = quote;
	}
	return p;
}

static int read_multi(struct toml_parser *parser, const char **out, size_t *length)
{
	char quote = *parser->at;
	const char close[] = {quote, quote, quote};

	parser->at += 3;
	char *text = string_room(parser, quote, true), *p = text;
	if (!text)
		return -ENOMEM;
	(void)toml_newline(parser);
	while (!toml_at(parser, close, 3)) {
		int r = 0;

		if (quote == '"' && toml_peek(parser) == '\\') {
			parser->at++;
			if (!skip_line_end(parser))
				r = read_escape(parser, &p);
		} else {
			r = read_plain(parser, true, &p);
		}
		if (r < 0)
			return r;
	}
	p = close_multi(parser, quote, p);
	*p = '\0';
	*out = text;
	*length = (size_t)(p - text);
	return 0;
}

int toml_read_any_string(struct toml_parser *parser, const char **out, size_t *length)
{
	if (toml_at(parser, "\"\"\"", 3) || toml_at(parser, "'''", 3))
		return read_multi(parser, out, length);
	return toml_read_string(parser, out, length);
}

/* --- dates --- */

/* Reads two digits between @low and @high; NULL when they are not there. */
static const char *two_digits(const char *p, int low, int high)
{
	if (!p || p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9')
		return NULL;
	int value = (p[0] - '0') * 10 + p[1] - '0';
	return value >= low && value <= high ? p + 2 : NULL;
}

static const char *one_of(const char *p, const char *set)
{
	return p && *p && strchr(set, *p) ? p + 1 : NULL;
}

static const char *match_date(const char *p)
{
	p = two_digits(two_digits(p, 0, 99), 0, 99);
	p = one_of(two_digits(one_of(p, "-"), 1, 12), "-");
	return two_digits(p, 1, 31);
}

static const char *match_time(const char *p)
{
	p = one_of(two_digits(p, 0, 23), ":");
	p = two_digits(one_of(two_digits(p, 0, 59), ":"), 0, 60);
	if (p && *p == '.') {
		size_t n = strspn(p + 1, "0123456789");

		p = n > 0 ? p + 1 + n : NULL;
	}
	return p;
}

static bool is_date(const char *text)
{
	const char *p = match_time(text);

	if (p)
		return *p == '\0';
	p = match_date(text);
	if (!p || *p == '\0')
		return p;
	p = match_time(one_of(p, "Tt "));
	if (!p || *p == '\0')
		return p;
	if (*p == 'Z' || *p == 'z')
		return p[1] == '\0';
	p = two_digits(one_of(two_digits(one_of(p, "+-"), 0, 23), ":"), 0, 59);
	return p && *p == '\0';
}

/* --- numbers --- */

/* Copies @text without its underscores, each of which must stand between two digits. */
static bool drop_underscores(const char *text, char out[BARE_MAX])
{
	const char *digits = text[0] == '0' && text[1] == 'x' ? "0123456789abcdefABCDEF" : "0123456789";
	size_t n = 0;

	for (size_t i = 0; text[i]; i++) {
		if (text[i] != '_') {
			out[n++] = text[i];
			continue;
		}
		if (i == 0 || !strchr(digits, text[i - 1]) || !text[i + 1] || !strchr(digits, text[i + 1]))
			return false;
	}
	out[n] = '\0';
	return true;
}

static bool leading_zero(const char *digits)
{
	return digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9';
}

/* 1: an integer; 0: not of that form; -ERANGE. */
static int match_integer(const char *text, int64_t *out)
{
	int base = 10, r;

	if (text[0] == '0' && text[1])
		base = text[1] == 'x' ? 16 : text[1] == 'o' ? 8 : text[1] == 'b' ? 2 : 10;
	if (base != 10)
		text += 2;
	if (base != 10 && (*text == '+' || *text == '-'))
		return 0;
	if (base == 10 && leading_zero(text + (*text == '+' || *text == '-')))
		return 0;
	r = str_to_i64(text, base, out);
	return r == -ERANGE ? r : r == 0;
}

static const char *match_digits(const char *p)
{
	size_t n = strspn(p, "0123456789");

	return n > 0 ? p + n : NULL;
}

static bool match_float(const char *text, double *out)
{
	const char *p = text + (*text == '+' || *text == '-');

	if (str_equal(p, "inf") || str_equal(p, "nan")) {
		*out = *p == 'i' ? (double)INFINITY : (double)NAN;
		if (*text == '-')
			*out = -*out;
		return true;
	}
	if (leading_zero(p))
		return false;
	const char *whole = p = match_digits(p);
	if (p && *p == '.')
		p = match_digits(p + 1);
	if (p && (*p == 'e' || *p == 'E')) {
		p++;
		p = match_digits(p + (*p == '+' || *p == '-'));
	}
	if (!p || *p || p == whole)
		return false;
	*out = strtod(text, NULL);
	return true;
}

/* --- bare values --- */

static bool ends_bare(int c)
{
	return c < 0 || strchr(" \t\r\n,]}#=", c);
}

/* Copies the bare word at the cursor. Its length; 0 when it is empty or too long. */
static size_t cut_bare(const struct toml_parser *parser, char out[BARE_MAX])
{
	const char *p = parser->at;
	size_t n = 0;

	while (n < BARE_MAX - 1 && p + n < parser->end && p[n] && !ends_bare((unsigned char)p[n])) {
		out[n] = p[n];
		n++;
	}
	out[n] = '\0';
	/* A date may be parted from its time by one blank. */
	if (n == 10 && p + n + 1 < parser->end && p[n] == ' ' && p[n + 1] >= '0' && p[n + 1] <= '9' &&
	    is_date(out)) {
		do {
			out[n] = p[n];
			n++;
		} while (n < BARE_MAX - 1 && p + n < parser->end && p[n] && !ends_bare((unsigned char)p[n]));
		out[n] = '\0';
	}
	return n < BARE_MAX - 1 ? n : 0;
}

int toml_read_bare(struct toml_parser *parser, struct toml_value *value)
{
	char word[BARE_MAX], plain[BARE_MAX];
	size_t length = cut_bare(parser, word);
	int r;

	if (length == 0)
		return toml_fail(parser, "a value is missing");
	if (str_equal(word, "true") || str_equal(word, "false")) {
		value->type = TOML_BOOLEAN;
		value->boolean = word[0] == 't';
	} else if (is_date(word)) {
		value->type = TOML_DATETIME;
		value->string.length = strlen(word);
		value->string.text = arena_strdup(parser->arena, word);
		if (!value->string.text)
			return error_set(parser->error, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
	} else if (!drop_underscores(word, plain)) {
		return toml_fail(parser, "an underscore must stand between digits");
	} else if ((r = match_integer(plain, &value->integer)) != 0) {
		if (r < 0)
			return toml_fail(parser, "integer out of range");
		value->type = TOML_INTEGER;
	} else if (match_float(plain, &value->number)) {
		value->type = TOML_FLOAT;
	} else {
		return toml_fail(parser, "\"%s\" is no value", word);
	}
	parser->at += length;
	return 0;
}
