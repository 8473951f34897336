/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_TOML_PARSER_H
#define BASE_TOML_PARSER_H

/* The cursor that toml.c (structure) and toml-scalar.c (strings, numbers, dates) share. For these two alone. */

#include "base/toml.h"

/* A value while the document is read; it becomes a struct toml_value at the end, when its members are all known. */
struct toml_node {
	struct toml_value value; /* of a table or an array: the type alone */
	const char *key;	 /* in its table; NULL in an array and for the root */
	uint32_t hash;		 /* of the key */
	int origin;
	struct toml_node *next; /* in the same table or array */
	struct toml_node *first;
	struct toml_node *last;
	size_t count; /* members */
};

struct toml_parser {
	struct arena *arena;
	const char *at;
	const char *end;
	const char *line_start;
	uint32_t line;
	unsigned int depth;
	unsigned int values;
	struct error *error;
};

/* The next byte, or -1 at the end. */
static inline int toml_peek(const struct toml_parser *parser)
{
	return parser->at < parser->end ? (unsigned char)*parser->at : -1;
}

static inline bool toml_at(const struct toml_parser *parser, const char *text, size_t length)
{
	return (size_t)(parser->end - parser->at) >= length &&
	       __builtin_memcmp(parser->at, text, length) == 0;
}

/* Sets the error at the cursor. -EINVAL. */
int toml_fail(struct toml_parser *parser, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint32_t toml_column(const struct toml_parser *parser);
/* Takes LF or CRLF. False when there is none. */
bool toml_newline(struct toml_parser *parser);

/* Below: the cursor is at the first character of the thing; 0 or -errno with the error set. */

/* '…' or "…", on one line. *@length is in bytes. */
int toml_read_string(struct toml_parser *parser, const char **out, size_t *length);
/* A string in any of its four forms. */
int toml_read_any_string(struct toml_parser *parser, const char **out, size_t *length);
/* Boolean, number or date into @value. */
int toml_read_bare(struct toml_parser *parser, struct toml_value *value);

#endif
