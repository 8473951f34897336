/* SPDX-License-Identifier: Apache-2.0 */
/* The packet filter's programs, played by scripts. */

#include "guest/test-root.h"

#include "base/fd.h"
#include "guest/iptables.h"

struct context {
	struct test_root root;
	struct loop *loop;
	const char *directories[3];
	int ended, result;
	char out[256], text[2048];
	size_t length;
};

static int setup(void **state)
{
	struct context *c = calloc(1, sizeof(*c));

	test_root_make(&c->root);
	test_mkdir(&c->root, "first");
	test_mkdir(&c->root, "second");
	c->directories[0] = strdup(test_path(&c->root, "first"));
	c->directories[1] = strdup(test_path(&c->root, "second"));
	c->loop = loop_new();
	assert_non_null(c->loop);
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct context *c = *state;

	loop_free(c->loop);
	test_root_remove(&c->root);
	free((char *)c->directories[0]);
	free((char *)c->directories[1]);
	free(c);
	return 0;
}

static void script(struct context *c, const char *name, const char *text)
{
	char whole[1024];

	snprintf(whole, sizeof(whole), "#!/bin/sh\n%s\n", text);
	test_file(&c->root, name, whole);
	assert_int_equal(chmod(test_path(&c->root, name), 0755), 0);
}

static void ended(int r, const struct buf *out, const struct error *e, void *data)
{
	struct context *c = data;

	c->ended++;
	c->result = r;
	c->length = out->length;
	snprintf(c->out, sizeof(c->out), "%.*s", (int)(out->length < 200 ? out->length : 200),
		 out->length ? (const char *)out->data + out->start : "");
	snprintf(c->text, sizeof(c->text), "%s", r < 0 ? e->text : "");
}

static void run(struct context *c)
{
	for (int i = 0; i < 1000 && !c->ended; i++)
		assert_int_equal(loop_run_once(c->loop, 20), 0);
	assert_int_equal(c->ended, 1);
	c->ended = 0;
}

static void get(struct context *c, bool ipv6)
{
	struct error e = ERROR_INIT;

	assert_int_equal(iptables_get(c->loop, c->directories, ipv6, ended, c, &e), 0);
	run(c);
}

static void set(struct context *c, bool ipv6, const char *rules)
{
	struct error e = ERROR_INIT;

	assert_int_equal(
		iptables_set(c->loop, c->directories, ipv6, rules, rules ? strlen(rules) : 0, ended, c, &e),
		0);
	run(c);
}

static void each_has_its_program(void **state)
{
	struct context *c = *state;

	script(c, "first/iptables-save", "echo four $#");
	script(c, "second/ip6tables-save", "echo six $#");
	script(c, "first/iptables-restore", "echo restore four \"$@\"; cat");
	script(c, "second/ip6tables-restore", "echo restore six \"$@\"; cat");
	script(c, "second/iptables-save", "echo not this one");
	get(c, false);
	assert_int_equal(c->result, 0);
	assert_string_equal(c->out, "four 0\n");
	get(c, true);
	assert_string_equal(c->out, "six 0\n");
	set(c, false, "*filter\nCOMMIT\n");
	assert_int_equal(c->result, 0);
	assert_string_equal(c->out, "restore four --wait 5\n*filter\nCOMMIT\n");
	set(c, true, "");
	assert_string_equal(c->out, "restore six --wait 5\n");
	set(c, true, NULL);
	assert_string_equal(c->out, "restore six --wait 5\n");
}

static void what_goes_wrong(void **state)
{
	struct context *c = *state;
	char expected[1024];

	get(c, false);
	assert_int_equal(c->result, -ENOENT);
	assert_string_equal(c->text, "iptables-save: ENOENT: No such file or directory");
	set(c, true, "x");
	assert_string_equal(c->text, "ip6tables-restore: ENOENT: No such file or directory");
	script(c, "second/iptables-restore",
	       "cat >/dev/null; echo out; printf 'line 1\\nfailed\\n' >&2; exit 2");
	set(c, false, "garbage");
	assert_int_equal(c->result, -EIO);
	snprintf(expected, sizeof(expected), "%s/iptables-restore failed: \"line 1 failed\"",
		 c->directories[1]);
	assert_string_equal(c->text, expected);
	assert_int_equal(c->length, 0);
	script(c, "first/iptables-save", "echo half; kill -9 $$");
	get(c, false);
	assert_int_equal(c->result, -EIO);
	/* More than one answer carries is not cut. */
	script(c, "first/ip6tables-save", "head -c 4194304 /dev/zero");
	get(c, true);
	assert_int_equal(c->result, -EMSGSIZE);
	script(c, "first/ip6tables-save", "head -c 4190208 /dev/zero");
	get(c, true);
	assert_int_equal(c->result, 0);
	assert_int_equal(c->length, 4190208);
	/* One that does not read what it is given. */
	script(c, "first/iptables-restore", "exit 0");
	char *large = calloc(1, 1 << 20);
	memset(large, '#', (1 << 20) - 1);
	set(c, false, large);
	assert_int_equal(c->result, 0);
	free(large);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_has_its_program),
		TEST(what_goes_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
