/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of toml.c and toml-scalar.c: what has to be read, how, and what has to be refused. */

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/toml.h"

/* --- a plain form to compare with: {a=1,b=[s:x,true]} --- */

static void show(struct buf *out, const struct toml_value *value)
{
	switch (value->type) {
	case TOML_STRING:
		assert_true(utf8_valid(value->string.text, value->string.length));
		assert_int_equal(value->string.text[value->string.length], 0);
		buf_append_string(out, "s:");
		buf_append(out, value->string.text, value->string.length);
		break;
	case TOML_DATETIME:
		buf_printf(out, "d:%s", value->string.text);
		break;
	case TOML_INTEGER:
		buf_printf(out, "%" PRId64, value->integer);
		break;
	case TOML_FLOAT:
		buf_printf(out, "f:%g", value->number);
		break;
	case TOML_BOOLEAN:
		buf_append_string(out, value->boolean ? "true" : "false");
		break;
	default:
		buf_append_char(out, value->type == TOML_TABLE ? '{' : '[');
		for (size_t i = 0; i < value->count; i++) {
			if (i > 0)
				buf_append_char(out, ',');
			assert_int_equal(value->items[i].key != NULL, value->type == TOML_TABLE);
			if (value->items[i].key)
				buf_printf(out, "%s=", value->items[i].key);
			show(out, &value->items[i].value);
		}
		buf_append_char(out, value->type == TOML_TABLE ? '}' : ']');
	}
}

static const struct toml_value *parse(struct arena *arena, const char *text, size_t length, struct error *e)
{
	/* Exactly as long as the text, so that a sanitizer sees what is read behind it. */
	char *copy = malloc(length ? length : 1);

	assert_non_null(copy);
	memcpy(copy, text, length);
	const struct toml_value *root = toml_parse(copy, length, arena, e);
	free(copy);
	return root;
}

static void assert_reads(const char *text, const char *expected)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;
	const struct toml_value *root = parse(arena, text, strlen(text), &e);

	if (!root)
		print_error("%s\n-> %s\n", text, e.text);
	assert_non_null(root);
	show(&out, root);
	assert_string_equal(buf_string(&out), expected);
	arena_free(arena);
}

static void assert_refused(const char *text, const char *where)
{
	struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;

	if (parse(arena, text, strlen(text), &e))
		print_error("accepted: %s\n", text);
	assert_int_equal(e.code, STATUS_INVALID_ARGUMENT);
	if (!str_starts_with(e.text, where))
		print_error("%s\n-> %s\n", text, e.text);
	assert_true(str_starts_with(e.text, where));
	arena_free(arena);
}

struct good {
	const char *text;
	const char *shown;
};

struct bad {
	const char *text;
	const char *where;
};

static void check_good(const struct good *cases, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_reads(cases[i].text, cases[i].shown);
}

static void check_bad(const struct bad *cases, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_refused(cases[i].text, cases[i].where);
}

static void test_documents(void **state)
{
	static const struct good cases[] = {
		{"", "{}"},
		{"\n\r\n# only a comment", "{}"},
		{"a = 1", "{a=1}"},
		{"a=1 # comment\r\n\tb = 2\n", "{a=1,b=2}"},
		{"1 = 1\n-_- = 2\n", "{1=1,-_-=2}"},
		{"\"a b\" = 1\n'c.d' = 2\n\"\" = 3", "{a b=1,c.d=2,=3}"},
		{"\"\\u00e4\" = 1", "{\xc3\xa4=1}"},
		{"# \xe2\x82\xac\na = '\xe2\x82\xac'", "{a=s:\xe2\x82\xac}"},
	};
	static const struct bad bad[] = {
		{"a", "line 1, column 2:"},
		{"a =", "line 1, column 4:"},
		{"= 1", "line 1, column 1:"},
		{"a = 1 b = 2", "line 1, column 7:"},
		{"a = 1\na = 2", "line 2, column 3:"},
		{"\xe2\x82\xac = 1", "line 1, column 1:"},
		{"a = 1\rb = 2", "line 1, column 6:"},
		{"# bell \a", "line 1, column 8:"},
		{"# cr \r x", "line 1, column 6:"},
		{"a = 1\nb = '\xff'", "line 2, column 6:"},
		{"\xef\xbb\xbf"
		 "a = 1",
		 "line 1, column 1:"},
		{"'''a''' = 1", "line 1, column 3:"},
		{"a\n= 1", "line 1, column 2:"},
		{"\"a\\u0000\" = 1", "line 1, column 10:"},
	};

	check_good(cases, array_length(cases));
	check_bad(bad, array_length(bad));
}

static void test_strings(void **state)
{
	static const struct good cases[] = {
		{"a = \"\"", "{a=s:}"},
		{"a = ''", "{a=s:}"},
		{"a = \"x\\b\\t\\n\\f\\r\\\"\\\\y\"", "{a=s:x\b\t\n\f\r\"\\y}"},
		{"a = \"\\u20ac\\U0001F433\"", "{a=s:\xe2\x82\xac\xf0\x9f\x90\xb3}"},
		{"a = 'C:\\x\\n'", "{a=s:C:\\x\\n}"},
		{"a = \"tab\there\"", "{a=s:tab\there}"},
		{"a = \"\"\"\"\"\"", "{a=s:}"},
		{"a = \"\"\"\none\r\ntwo\"\"\"", "{a=s:one\ntwo}"},
		{"a = \"\"\"one \\\n\n   \t two\"\"\"", "{a=s:one two}"},
		{"a = \"\"\"one \\  \r\n  two\"\"\"", "{a=s:one two}"},
		{"a = \"\"\"\"q\"\"\"", "{a=s:\"q}"},
		{"a = \"\"\"q\"\"\"\"", "{a=s:q\"}"},
		{"a = \"\"\"\"\"q\"\"\"\"\"", "{a=s:\"\"q\"\"}"},
		{"a = \"\"\"x\\\"\"\"\"", "{a=s:x\"}"},
		{"a = \"\"\"x\\\\\"\"\"\nb = \"\"\"\"\"\"", "{a=s:x\\,b=s:}"},
		{"a = '''\n'x' \\ \"\"\"\ny'''", "{a=s:'x' \\ \"\"\"\ny}"},
		{"a = '''''x'''''", "{a=s:''x''}"},
	};
	static const struct bad bad[] = {
		{"a = \"x", "line 1, column 7:"},
		{"a = 'x\n'", "line 1, column 7:"},
		{"a = \"\"\"x\n\ny", "line 3, column 2:"},
		{"a = '''x''", "line 1, column 11:"},
		{"a = \"\\q\"", "line 1, column 7:"},
		{"a = \"\\", "line 1, column 7:"},
		{"a = \"\\u12\"", "line 1, column 8:"},
		{"a = \"\\ud800\"", "line 1, column 8:"},
		{"a = \"\\U00110000\"", "line 1, column 8:"},
		{"a = \"\\U0011", "line 1, column 8:"},
		{"a = \"\\u+123\"", "line 1, column 8:"},
		{"a = \"\x01\"", "line 1, column 6:"},
		{"a = '\x7f'", "line 1, column 6:"},
		{"a = \"\"\"\x1b\"\"\"", "line 1, column 8:"},
		{"a = '''\r'''", "line 1, column 8:"},
		{"a = \"\"\"x \\ y\"\"\"", "line 1, column 11:"},
		{"a = \"\"\"\"\"\"\"\"\"", "line 1, column 13:"},
	};

	check_good(cases, array_length(cases));
	check_bad(bad, array_length(bad));
}

static void test_a_string_may_hold_nul(void **state)
{
	struct arena *arena = arena_new(0);
	const struct toml_value *root = toml_parse("a = \"x\\u0000y\"", 14, arena, NULL);
	const struct toml_value *a = toml_get(root, "a");

	assert_non_null(a);
	assert_int_equal(a->string.length, 3);
	assert_memory_equal(a->string.text, "x\0y", 4);
	assert_null(toml_get(root, "b"));
	assert_null(toml_get(a, "b"));
	assert_null(toml_get(NULL, "b"));
	/* A NUL byte itself is a control character, wherever it stands. */
	static const char *const bare[] = {"a = 1\0", "a\0 = 1", "a = '\0'", "#\0xxxx"};
	for (size_t i = 0; i < array_length(bare); i++)
		assert_null(toml_parse(bare[i], 7, arena, NULL));
	arena_free(arena);
}

static void test_numbers(void **state)
{
	static const struct good cases[] = {
		{"a = 0", "{a=0}"},
		{"a = +0", "{a=0}"},
		{"a = -17", "{a=-17}"},
		{"a = 1_000_000", "{a=1000000}"},
		{"a = 9223372036854775807", "{a=9223372036854775807}"},
		{"a = -9223372036854775808", "{a=-9223372036854775808}"},
		{"a = 0xDEAD_beef", "{a=3735928559}"},
		{"a = 0o755", "{a=493}"},
		{"a = 0b1101_0110", "{a=214}"},
		{"a = 0x00", "{a=0}"},
		{"a = 1.5", "{a=f:1.5}"},
		{"a = -0.0", "{a=f:-0}"},
		{"a = 5e+22", "{a=f:5e+22}"},
		{"a = 1E06", "{a=f:1e+06}"},
		{"a = 6.626e-34", "{a=f:6.626e-34}"},
		{"a = 224_617.445_991", "{a=f:224617}"},
		{"a = inf\nb = -inf\nc = +inf", "{a=f:inf,b=f:-inf,c=f:inf}"},
		{"a = true\nb = false", "{a=true,b=false}"},
	};
	static const char *const bad[] = {"01",
					  "-01",
					  "+",
					  "-",
					  "1_",
					  "_1",
					  "1__0",
					  "0x",
					  "0x_1",
					  "0X1",
					  "-0x1",
					  "+0b1",
					  "0o8",
					  "0b2",
					  "1.",
					  ".5",
					  "1.e5",
					  "1e",
					  "1e_5",
					  "1._5",
					  "1_.5",
					  "03.14",
					  "True",
					  "TRUE",
					  "yes",
					  "infinity",
					  "1.2.3",
					  "9223372036854775808",
					  "-9223372036854775809",
					  "0xffffffffffffffff",
					  "++1",
					  "0x1p3",
					  "1e1.5",
					  "nul",
					  "NaN",
					  "1 2"};

	check_good(cases, array_length(cases));
	for (size_t i = 0; i < array_length(bad); i++) {
		char text[64];

		snprintf(text, sizeof(text), "a = %s", bad[i]);
		assert_refused(text, "line 1, column ");
	}
	struct arena *arena = arena_new(0);
	const struct toml_value *root = toml_parse("a = -nan", 8, arena, NULL);
	assert_true(isnan(toml_get(root, "a")->number));
	arena_free(arena);
}

static void test_dates(void **state)
{
	static const char *const good[] = {"1979-05-27T07:32:00Z", "1979-05-27t00:32:00.999999-07:00",
					   "1979-05-27 07:32:00z", "1979-05-27T07:32:00",
					   "1979-05-27",	   "07:32:00",
					   "00:32:00.999999",	   "1979-05-27 07:32:00.5+00:00"};
	static const char *const bad[] = {"1979-5-27",
					  "1979-13-01",
					  "1979-00-01",
					  "1979-01-32",
					  "24:00:00",
					  "07:60:00",
					  "07:32",
					  "07:32:00.",
					  "1979-05-27T",
					  "1979-05-27T07:32",
					  "1979-05-27T07:32:00+7",
					  "1979-05-27T07:32:00Zx",
					  "79-05-27",
					  "1979-05-27  07:32:00"};

	for (size_t i = 0; i < array_length(good); i++) {
		char text[64], shown[64];

		snprintf(text, sizeof(text), "a = [%s]", good[i]);
		snprintf(shown, sizeof(shown), "{a=[d:%s]}", good[i]);
		assert_reads(text, shown);
	}
	for (size_t i = 0; i < array_length(bad); i++) {
		char text[64];

		snprintf(text, sizeof(text), "a = %s", bad[i]);
		assert_refused(text, "line 1, column ");
	}
	assert_reads("a = 1979-05-27 # 07:00:00", "{a=d:1979-05-27}");
}

static void test_arrays_and_inline_tables(void **state)
{
	static const struct good cases[] = {
		{"a = []", "{a=[]}"},
		{"a = [1,2,3,]", "{a=[1,2,3]}"},
		{"a = [ # x\n 1 , # y\r\n\n 'b', [true, []]\n]", "{a=[1,s:b,[true,[]]]}"},
		{"a = {}", "{a={}}"},
		{"a = { secs = 10, nanos = 0 }", "{a={secs=10,nanos=0}}"},
		{"a = {b.c = 1, b.d = {e = 2}, 'f' = [{}]}", "{a={b={c=1,d={e=2}},f=[{}]}}"},
	};
	static const struct bad bad[] = {
		{"a = [1 2]", "line 1, column 8:"},
		{"a = [1", "line 1, column 7:"},
		{"a = [,]", "line 1, column 6:"},
		{"a = [1,,2]", "line 1, column 8:"},
		{"a = {b = 1,}", "line 1, column 12:"},
		{"a = {b = 1\n}", "line 1, column 11:"},
		{"a = {b = 1 c = 2}", "line 1, column 12:"},
		{"a = {b = 1, b = 2}", "line 1, column 15:"},
		{"a = {,}", "line 1, column 6:"},
		{"a = {", "line 1, column 6:"},
		{"a = {b = {c = 1}, b.d = 2}", "line 1, column 20:"},
		{"a = {b.c = 1}\na.b.d = 2", "line 2, column 2:"},
		{"a = {}\n[a]", "line 2, column 3:"},
		{"a = {}\n[a.b]", "line 2, column 3:"},
		{"a = [{}]\n[[a]]", "line 2, column 4:"},
		{"a = [{}]\n[a.b]", "line 2, column 3:"},
	};

	check_good(cases, array_length(cases));
	check_bad(bad, array_length(bad));
}

static void test_tables(void **state)
{
	static const struct good cases[] = {
		{"[a]\nb = 1\n[c]\n", "{a={b=1},c={}}"},
		{"[a.b.c]\nx = 1\n[a]\ny = 2", "{a={b={c={x=1}},y=2}}"},
		{"[ a . \"b.c\" ]\nx = 1", "{a={b.c={x=1}}}"},
		{"a.b = 1\na.c.d = 2\na.c.e = 3", "{a={b=1,c={d=2,e=3}}}"},
		{"a . b = 1\n'a'.\"c\" = 2", "{a={b=1,c=2}}"},
		{"3.14 = 'pi'", "{3={14=s:pi}}"},
		{"[fruit]\napple.color = 1\n[fruit.apple.taste]\nsweet = true",
		 "{fruit={apple={color=1,taste={sweet=true}}}}"},
		{"[[p]]\na = 1\n[[p]]\n[[p]]\nb = 2", "{p=[{a=1},{},{b=2}]}"},
		{"[[f]]\nn = 1\n[f.p]\nc = 2\n[[f.v]]\nx = 3\n[[f.v]]\n[[f]]\n[[f.v]]\ny = 4",
		 "{f=[{n=1,p={c=2},v=[{x=3},{}]},{v=[{y=4}]}]}"},
	};
	static const struct bad bad[] = {
		{"[a]\n[a]", "line 2, column 3:"},
		{"a = 1\n[a]", "line 2, column 3:"},
		{"a = 1\n[a.b]", "line 2, column 3:"},
		{"[a]\nb = 1\n[a.b]", "line 3, column 5:"},
		{"[a]\nb = 1\nb.c = 2", "line 3, column 2:"},
		{"a.b = 1\n[a]", "line 2, column 3:"},
		{"[f]\na.c = 1\n[f.a]", "line 3, column 5:"},
		{"[a.b]\nx = 1\n[a]\nb.y = 2", "line 4, column 2:"},
		{"[a]\n[[a]]", "line 2, column 4:"},
		{"[[a]]\n[a]", "line 2, column 3:"},
		{"[[a.b]]\n[a.b]", "line 2, column 5:"},
		{"a = []\n[[a]]", "line 2, column 4:"},
		{"[]", "line 1, column 2:"},
		{"[a", "line 1, column 3:"},
		{"[a]]", "line 1, column 4:"},
		{"[[a] ]", "line 1, column 4:"},
		{"[a.]", "line 1, column 4:"},
		{"[.a]", "line 1, column 2:"},
		{"[a] b = 1", "line 1, column 5:"},
		{"a..b = 1", "line 1, column 3:"},
		{"a. = 1", "line 1, column 4:"},
		{"a.b = 1\na.b.c = 2", "line 2, column 4:"},
	};

	check_good(cases, array_length(cases));
	check_bad(bad, array_length(bad));
}

static struct error parse_repeated(const char *head, const char *piece, size_t times, const char *tail)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;

	buf_append_string(&text, head);
	for (size_t i = 0; i < times; i++)
		buf_append_string(&text, piece);
	buf_append_string(&text, tail);
	(void)toml_parse((const char *)buf_begin(&text), text.length, arena, &e);
	/* What a document makes of itself is bounded by its size. */
	assert_in_range(arena_footprint(arena), 0, 64 * text.length + 200 * TOML_VALUES_MAX);
	arena_free(arena);
	return e;
}

static void test_bounds(void **state)
{
	assert_int_equal(parse_repeated("a = ", "[", 30, "").code, STATUS_INVALID_ARGUMENT);
	assert_non_null(strstr(parse_repeated("a = ", "[", 100000, "").text, "levels"));
	assert_non_null(strstr(parse_repeated("a = ", "{a=", 100000, "").text, "levels"));
	assert_non_null(strstr(parse_repeated("a", ".a", 100000, " = 1").text, "levels"));
	assert_non_null(strstr(parse_repeated("[a", ".a", 100000, "]").text, "levels"));
	assert_non_null(
		strstr(parse_repeated("[a", ".a", 20, "]\na.a.a.a.a.a.a.a.a.a.a.a.a = 1").text, "levels"));
	assert_int_equal(parse_repeated("[a", ".a", 20, "]\na.a.a.a = 1\nb.a.a.a = {}\n[b]\nx = []").code,
			 STATUS_OK);
	assert_non_null(strstr(parse_repeated("a = [", "1,", 100000, "]").text, "values"));
	assert_int_equal(parse_repeated("a = [", "1,", 16000, "]").code, STATUS_OK);
	assert_int_equal(parse_repeated("a = [", "\"x\",", 16000, "]").code, STATUS_OK);
	assert_int_equal(parse_repeated("a = [", "\"\"\"\\\\\"\"\",", 16000, "]").code, STATUS_OK);
	assert_int_equal(parse_repeated("", "#", TOML_SIZE_MAX, "").code, STATUS_OK);
	assert_int_equal(parse_repeated("", "#", TOML_SIZE_MAX + 1, "").errnum, EFBIG);
}

/* Every beginning of a document that has everything in it: an answer, and no byte read behind it. */
static void test_every_prefix(void **state)
{
	static const char text[] =
		"# c\r\n[a.'b']\nk = \"\\u20ac\\n\"\nl = '''\nx'''\nm = \"\"\"a\\\n b\"\"\"\"\n"
		"n = [1, 2.5e3, true, {x.y = 0xff}]\n[[t]]\nd = 1979-05-27 07:32:00.5-07:00\n";
	int accepted = 0;

	for (size_t n = 0; n < sizeof(text); n++) {
		struct arena *arena = arena_new(0);
		struct error e = ERROR_INIT;

		if (parse(arena, text, n, &e))
			accepted++;
		else
			assert_true(str_starts_with(e.text, "line "));
		arena_free(arena);
	}
	assert_in_range(accepted, 10, sizeof(text) - 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_documents),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_a_string_may_hold_nul),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_arrays_and_inline_tables),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_every_prefix),
	};

	return cmocka_run_group_tests_name("toml", tests, NULL, NULL);
}
