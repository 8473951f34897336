/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The structure of a TOML document: lines, keys, tables, arrays.
 *
 * Where a table came from (its origin) decides who may still add to it; the rules are those of the specification, in one
 * place: step_into() and define_table(). Members are a list with hashes beside their keys; the bound on the number of
 * values keeps the search for duplicates cheap.
 */

#include "base/toml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/toml-parser.h"

enum origin {
	ORIGIN_IMPLIED, /* named on the way to a [header]: may get one of its own */
	ORIGIN_HEADER,	/* [header]: closed against a second one */
	ORIGIN_DOTTED,	/* by a dotted key */
	ORIGIN_INLINE,	/* { … } or [ … ]: complete */
	ORIGIN_TABLES,	/* an array of [[header]] */
};

static int read_value(struct toml_parser *parser, struct toml_node *value);

/* --- the cursor --- */

uint32_t toml_column(const struct toml_parser *parser)
{
	uint32_t column = 1;

	for (const char *p = parser->line_start; p < parser->at; p++)
		column += ((unsigned char)*p & 0xc0) != 0x80;
	return column;
}

int toml_fail(struct toml_parser *parser, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	int n = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return error_set(parser->error, STATUS_INVALID_ARGUMENT, EINVAL, "line %u, column %u: %s",
			 parser->line, toml_column(parser), n < 0 ? "error" : text);
}

static int fail_memory(struct toml_parser *parser)
{
	return error_set(parser->error, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
}

bool toml_newline(struct toml_parser *parser)
{
	size_t n = toml_peek(parser) == '\n' ? 1 : toml_at(parser, "\r\n", 2) ? 2 : 0;

	if (n == 0)
		return false;
	parser->at += n;
	parser->line++;
	parser->line_start = parser->at;
	return true;
}

static void skip_blanks(struct toml_parser *parser)
{
	while (toml_peek(parser) == ' ' || toml_peek(parser) == '\t')
		parser->at++;
}

static int skip_comment(struct toml_parser *parser)
{
	if (toml_peek(parser) != '#')
		return 0;
	for (int c = toml_peek(parser); c >= 0 && c != '\n'; c = toml_peek(parser)) {
		if (toml_at(parser, "\r\n", 2))
			break;
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return toml_fail(parser, "a control character in a comment");
		parser->at++;
	}
	return 0;
}

/* Blanks, comments and line ends. */
static int skip_space(struct toml_parser *parser)
{
	int r;

	do {
		skip_blanks(parser);
		r = skip_comment(parser);
	} while (r == 0 && toml_newline(parser));
	return r;
}

/* The rest of a line that has had its statement. */
static int end_line(struct toml_parser *parser)
{
	skip_blanks(parser);
	int r = skip_comment(parser);
	if (r < 0)
		return r;
	if (toml_peek(parser) >= 0 && !toml_newline(parser))
		return toml_fail(parser, "something behind the end of the statement");
	return 0;
}

/* --- the tree --- */

static uint32_t hash_key(const char *key)
{
	return (uint32_t)hash_bytes(key, strlen(key), 0);
}

static struct toml_node *find(const struct toml_node *table, const char *key)
{
	uint32_t hash = hash_key(key);
	struct toml_node *value;

	for (value = table->first; value; value = value->next)
		if (value->hash == hash && str_equal(value->key, key))
			return value;
	return NULL;
}

static int append(struct toml_parser *parser, struct toml_node *parent, const char *key,
		  struct toml_node **out)
{
	if (++parser->values > TOML_VALUES_MAX)
		return toml_fail(parser, "more than %d values", TOML_VALUES_MAX);
	struct toml_node *value = arena_new_object(parser->arena, struct toml_node);
	if (!value)
		return fail_memory(parser);
	value->key = key;
	if (key)
		value->hash = hash_key(key);
	if (parent->last)
		parent->last->next = value;
	else
		parent->first = value;
	parent->last = value;
	parent->count++;
	*out = value;
	return 0;
}

static int append_table(struct toml_parser *parser, struct toml_node *parent, const char *key,
			enum origin origin, struct toml_node **out)
{
	int r = append(parser, parent, key, out);

	if (r == 0) {
		(*out)->value.type = TOML_TABLE;
		(*out)->origin = origin;
	}
	return r;
}

/* From *@table into its member @key on the way to something deeper; @origin is that of what has to be made. */
static int step_into(struct toml_parser *parser, struct toml_node **table, const char *key,
		     enum origin origin)
{
	struct toml_node *value = find(*table, key);

	if (!value)
		return append_table(parser, *table, key, origin, table);
	if (origin != ORIGIN_DOTTED && value->value.type == TOML_ARRAY && value->origin == ORIGIN_TABLES)
		value = value->last;
	if (value->value.type != TOML_TABLE || value->origin == ORIGIN_INLINE)
		return toml_fail(parser, "\"%s\" is no table that could be added to", key);
	/* A dotted key adds to what dotted keys of this section have made, and to nothing else. */
	if (origin == ORIGIN_DOTTED && value->origin != ORIGIN_DOTTED)
		return toml_fail(parser, "\"%s\" was defined elsewhere", key);
	*table = value;
	return 0;
}

/* [header]: the last part of its key. */
static int define_table(struct toml_parser *parser, struct toml_node **table, const char *key)
{
	struct toml_node *value = find(*table, key);

	if (!value)
		return append_table(parser, *table, key, ORIGIN_HEADER, table);
	if (value->value.type != TOML_TABLE || value->origin != ORIGIN_IMPLIED)
		return toml_fail(parser, "\"%s\" is defined twice", key);
	value->origin = ORIGIN_HEADER;
	*table = value;
	return 0;
}

/* [[header]]: the last part of its key. */
static int define_element(struct toml_parser *parser, struct toml_node **table, const char *key)
{
	struct toml_node *array = find(*table, key);

	if (!array) {
		int r = append(parser, *table, key, &array);

		if (r < 0)
			return r;
		array->value.type = TOML_ARRAY;
		array->origin = ORIGIN_TABLES;
	}
	if (array->value.type != TOML_ARRAY || array->origin != ORIGIN_TABLES)
		return toml_fail(parser, "\"%s\" is no array of tables", key);
	return append_table(parser, array, NULL, ORIGIN_HEADER, table);
}

/* --- keys --- */

static bool is_bare_key(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
	       c == '-';
}

static int read_key(struct toml_parser *parser, const char **out)
{
	const char *start = parser->at;

	if (toml_peek(parser) == '"' || toml_peek(parser) == '\'') {
		size_t length;
		int r = toml_read_string(parser, out, &length);

		if (r == 0 && strlen(*out) != length)
			return toml_fail(parser, "a NUL in a key");
		return r;
	}
	while (is_bare_key(toml_peek(parser)))
		parser->at++;
	if (parser->at == start)
		return toml_fail(parser, "a key is missing");
	*out = arena_strndup(parser->arena, start, (size_t)(parser->at - start));
	return *out ? 0 : fail_memory(parser);
}

/* A dotted key: all parts but the last lead into *@table and add to the depth, the last is *@out. */
static int read_keys(struct toml_parser *parser, struct toml_node **table, enum origin origin,
		     const char **out)
{
	for (;;) {
		int r = read_key(parser, out);

		if (r < 0)
			return r;
		skip_blanks(parser);
		if (toml_peek(parser) != '.')
			return 0;
		if (++parser->depth >= TOML_DEPTH_MAX)
			return toml_fail(parser, "more than %d levels", TOML_DEPTH_MAX);
		r = step_into(parser, table, *out, origin);
		if (r < 0)
			return r;
		parser->at++;
		skip_blanks(parser);
	}
}

/* key = value, into @table. */
static int read_pair(struct toml_parser *parser, struct toml_node *table)
{
	struct toml_node *value;
	const char *key;
	unsigned int depth = parser->depth;
	int r = read_keys(parser, &table, ORIGIN_DOTTED, &key);

	if (r < 0)
		return r;
	if (toml_peek(parser) != '=')
		return toml_fail(parser, "\"=\" is missing");
	if (find(table, key))
		return toml_fail(parser, "\"%s\" is defined twice", key);
	parser->at++;
	skip_blanks(parser);
	r = append(parser, table, key, &value);
	if (r == 0)
		r = read_value(parser, value);
	parser->depth = depth;
	return r;
}

/* --- values --- */

static int read_array(struct toml_parser *parser, struct toml_node *array)
{
	array->value.type = TOML_ARRAY;
	array->origin = ORIGIN_INLINE;
	parser->at++;
	for (;;) {
		struct toml_node *value;
		int r = skip_space(parser);

		if (r < 0)
			return r;
		if (toml_peek(parser) == ']')
			break;
		r = append(parser, array, NULL, &value);
		if (r == 0)
			r = read_value(parser, value);
		if (r == 0)
			r = skip_space(parser);
		if (r < 0)
			return r;
		if (toml_peek(parser) == ']')
			break;
		if (toml_peek(parser) != ',')
			return toml_fail(parser, "\",\" or \"]\" is missing");
		parser->at++;
	}
	parser->at++;
	return 0;
}

/* What dotted keys have made within an inline table is complete with it. */
static void close_tables(struct toml_node *table)
{
	struct toml_node *value;

	table->origin = ORIGIN_INLINE;
	for (value = table->first; value; value = value->next)
		if (value->value.type == TOML_TABLE && value->origin == ORIGIN_DOTTED)
			close_tables(value);
}

static int read_inline_table(struct toml_parser *parser, struct toml_node *table)
{
	table->value.type = TOML_TABLE;
	parser->at++;
	skip_blanks(parser);
	while (toml_peek(parser) != '}') {
		int r = read_pair(parser, table);

		if (r < 0)
			return r;
		skip_blanks(parser);
		if (toml_peek(parser) == '}')
			break;
		if (toml_peek(parser) != ',')
			return toml_fail(parser, "\",\" or \"}\" is missing");
		parser->at++;
		skip_blanks(parser);
		if (toml_peek(parser) == '}')
			return toml_fail(parser, "a key is missing");
	}
	parser->at++;
	close_tables(table);
	return 0;
}

static int read_value(struct toml_parser *parser, struct toml_node *value)
{
	int c = toml_peek(parser), r;

	if (c == '"' || c == '\'') {
		value->value.type = TOML_STRING;
		return toml_read_any_string(parser, &value->value.string.text, &value->value.string.length);
	}
	if (c != '[' && c != '{')
		return toml_read_bare(parser, &value->value);
	if (parser->depth >= TOML_DEPTH_MAX)
		return toml_fail(parser, "more than %d levels", TOML_DEPTH_MAX);
	parser->depth++;
	r = c == '[' ? read_array(parser, value) : read_inline_table(parser, value);
	parser->depth--;
	return r;
}

/* --- the document --- */

/* [a.b] or [[a.b]]; *@table becomes what the lines below belong to. */
static int read_header(struct toml_parser *parser, struct toml_node *root, struct toml_node **table)
{
	bool element = toml_at(parser, "[[", 2);
	const char *key;

	parser->at += element ? 2 : 1;
	skip_blanks(parser);
	*table = root;
	/* What the header leads to counts for all that follows it. */
	parser->depth = 1;
	int r = read_keys(parser, table, ORIGIN_IMPLIED, &key);
	if (r < 0)
		return r;
	if (!toml_at(parser, "]]", element ? 2 : 1))
		return toml_fail(parser, "\"]\" is missing");
	r = element ? define_element(parser, table, key) : define_table(parser, table, key);
	parser->at += element ? 2 : 1;
	return r;
}

static int read_document(struct toml_parser *parser, struct toml_node *root)
{
	struct toml_node *table = root;

	for (;;) {
		int r = skip_space(parser);

		if (r < 0)
			return r;
		if (toml_peek(parser) < 0)
			return 0;
		r = toml_peek(parser) == '[' ? read_header(parser, root, &table) : read_pair(parser, table);
		if (r == 0)
			r = end_line(parser);
		if (r < 0)
			return r;
	}
}

/* Names the place of the first byte that is not UTF-8. */
static int check_encoding(struct toml_parser *parser)
{
	const char *start = parser->at;

	while (parser->at < parser->end) {
		size_t n = utf8_character(parser->at, (size_t)(parser->end - parser->at));

		if (n == 0)
			return toml_fail(parser, "not UTF-8");
		if (*parser->at == '\n') {
			parser->line++;
			parser->line_start = parser->at + 1;
		}
		parser->at += n;
	}
	parser->at = start;
	parser->line_start = start;
	parser->line = 1;
	return 0;
}

/* --- the result --- */

/* Turns the members of @node, which is as deep as TOML_DEPTH_MAX at most, into an array. 0 or -ENOMEM. */
static int finish(struct toml_parser *parser, const struct toml_node *node, struct toml_value *value)
{
	size_t i = 0;

	*value = node->value;
	if (node->value.type != TOML_TABLE && node->value.type != TOML_ARRAY)
		return 0;
	value->count = node->count;
	value->items = arena_array(parser->arena, node->count, sizeof(*value->items));
	if (!value->items)
		return fail_memory(parser);
	for (const struct toml_node *member = node->first; member; member = member->next, i++) {
		value->items[i].key = member->key;
		int r = finish(parser, member, &value->items[i].value);
		if (r < 0)
			return r;
	}
	return 0;
}

const struct toml_value *toml_parse(const char *text, size_t length, struct arena *arena, struct error *e)
{
	struct toml_node root = {.value.type = TOML_TABLE, .origin = ORIGIN_HEADER};
	struct toml_parser parser = {
		.arena = arena,
		.at = text,
		.end = text + length,
		.line_start = text,
		.line = 1,
		.error = e,
	};

	if (length > TOML_SIZE_MAX) {
		error_set(e, STATUS_INVALID_ARGUMENT, EFBIG, "more than %d bytes", TOML_SIZE_MAX);
		return NULL;
	}
	if (check_encoding(&parser) < 0 || read_document(&parser, &root) < 0)
		return NULL;
	struct toml_value *value = arena_new_object(arena, struct toml_value);
	if (!value)
		(void)fail_memory(&parser);
	return value && finish(&parser, &root, value) == 0 ? value : NULL;
}

const struct toml_value *toml_get(const struct toml_value *table, const char *key)
{
	if (!table || table->type != TOML_TABLE)
		return NULL;
	for (size_t i = 0; i < table->count; i++)
		if (str_equal(table->items[i].key, key))
			return &table->items[i].value;
	return NULL;
}
