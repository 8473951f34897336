/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "cgroup/internal.h"

/* Every combination of the four things that the choice depends on, by the rule's own words. */
static void test_choice_over_every_combination(void **state)
{
	static const struct {
		const char *path;
		bool form;
	} paths[] = {
		{"kubepods-podU.slice:cri-containerd:ID", true},
		{"system.slice:docker:ID", true},
		{":cri-containerd:ID", true},
		{"::", true},
		{"-.slice:p:n", true},
		{"a.slice::n", true},
		{"a.slice:p:", true},
		{"/kubepods/podU/ID", false},
		{"", false},
		{NULL, false},
		{"a:b", false},
		{"a:b:c:d", false},
		{":::", false},
		{"a:b:c", true},
		{"-a.slice:b:c", true},
		{"a--b.slice:b:c", true},
		{".slice:b:c", true},
		{"/a.slice:b:c", false},
		{"a.slice:b:c/d", false},
		{"a.slice:b@:c", false},
		{"a.slice:\xff:c", false},
	};

	(void)state;
	for (size_t i = 0; i < array_length(paths); i++) {
		assert_int_equal(cgroup_path_is_systemd(paths[i].path), paths[i].form);
		for (unsigned bits = 0; bits < 4; bits++) {
			for (unsigned pin = CGROUP_PIN_AUTO; pin <= CGROUP_PIN_SYSTEMD; pin++) {
				bool pid1 = bits & 1, running = bits & 2;
				const char *why = NULL;
				enum cgroup_driver expected = CGROUP_CGROUPFS;

				if (!pid1 && running)
					expected = pin == CGROUP_PIN_SYSTEMD ? CGROUP_SYSTEMD
						   : pin == CGROUP_PIN_AUTO && paths[i].form
							   ? CGROUP_SYSTEMD
							   : CGROUP_CGROUPFS;
				assert_int_equal(cgroup_choose(pid1, paths[i].path, running,
							       (enum cgroup_pin)pin, &why),
						 expected);
				assert_true(why && *why);
				assert_int_equal(cgroup_choose(pid1, paths[i].path, running,
							       (enum cgroup_pin)pin, NULL),
						 expected);
			}
		}
	}
}

static void test_w03_a_guest_without_systemd_gets_cgroupfs(void **state)
{
	(void)state;
	assert_int_equal(cgroup_choose(false, "a.slice:p:n", false, CGROUP_PIN_AUTO, NULL), CGROUP_CGROUPFS);
	assert_int_equal(cgroup_choose(false, "a.slice:p:n", false, CGROUP_PIN_SYSTEMD, NULL),
			 CGROUP_CGROUPFS);
}

static void translates(const char *path, const char *expected)
{
	struct error e = ERROR_INIT;
	_cleanup_free_ char *out = cgroup_path_translate(path, "ID", &e);

	if (expected) {
		assert_non_null(out);
		assert_string_equal(out, expected);
	} else {
		assert_null(out);
		assert_int_equal(e.code, STATUS_INVALID_ARGUMENT);
		assert_non_null(strstr(e.text, "cgroup path"));
		assert_true(utf8_valid(e.text, strlen(e.text)));
	}
}

static void test_translation(void **state)
{
	(void)state;
	translates("kubepods-besteffort-podU.slice:cri-containerd:CID",
		   "kubepods-besteffort-podU.slice/cri-containerd/CID");
	translates("system.slice:docker:CID", "system.slice/docker/CID");
	translates(":cri-containerd:CID", "cri-containerd/CID");
	translates("a.slice::CID", "a.slice/CID");
	translates("/kubepods/burstable/podU/CID", "kubepods/burstable/podU/CID");
	translates("kubepods/podU/CID", "kubepods/podU/CID");
	translates("/default/CID", "default/CID");
	translates("//a///b/", "a/b");
	translates("", "ID");
	translates(NULL, "ID");
	translates("/", "ID");
	translates("a:b:c:d", "a/b/c/d");
	translates("/x/\xc3\xa4", "x/\xc3\xa4");
}

static void test_w01_no_path_is_the_root_or_shared(void **state)
{
	struct error e = ERROR_INIT;

	(void)state;
	translates("::", "ID");
	translates(":", "ID");
	translates(":::", "ID");
	translates("a.slice:p:", "a.slice/p/ID");
	translates("a::", "a/ID");
	translates("::b", "b");
	assert_null(cgroup_path_translate("", "", &e));
	assert_null(cgroup_path_translate("::", "..", &e));
	assert_null(cgroup_path_translate("::", "a/b", &e));
	assert_null(cgroup_path_translate("/", NULL, &e));
}

static void test_w09_paths_that_lead_elsewhere_are_refused(void **state)
{
	char big[300], longer[8000];

	(void)state;
	translates("..", NULL);
	translates("/../../tmp", NULL);
	translates("a/../b", NULL);
	translates("/a/.", NULL);
	translates("./a", NULL);
	translates("a.slice:..:x", NULL);
	translates("a.slice:x:..", NULL);
	translates("a\nb", NULL);
	translates("a\x7f", NULL);
	translates("\xff\xfe", NULL);
	translates("a/\xc0\xaf/b", NULL);
	translates("...", "...");
	memset(big, 'x', sizeof(big));
	big[255] = '\0';
	translates(big, big);
	big[255] = 'x';
	big[256] = '\0';
	translates(big, NULL);
	for (size_t i = 0; i + 1 < sizeof(longer); i++)
		longer[i] = i % 2 ? '/' : 'y';
	longer[sizeof(longer) - 1] = '\0';
	translates(longer + 1, NULL);
	longer[4000] = '\0';
	longer[3999] = 'z';
	translates(longer, longer);
}

static void parses(const char *path, const char *slice, const char *unit, const char *cgroup)
{
	struct error e = ERROR_INIT;
	char *s = NULL, *u = NULL, *c = NULL;
	int r = systemd_parse(path, "ID", &s, &u, &c, &e);

	if (slice) {
		assert_int_equal(r, 0);
		assert_string_equal(s, slice);
		assert_string_equal(u, unit);
		assert_string_equal(c, cgroup);
	} else {
		assert_true(r < 0);
		assert_int_equal(e.code, STATUS_INVALID_ARGUMENT);
		assert_null(s);
	}
	free(s);
	free(u);
	free(c);
}

static void test_systemd_names(void **state)
{
	char name[300];

	(void)state;
	parses("system.slice:kata_agent:123", "system.slice", "kata_agent-123.scope",
	       "system.slice/kata_agent-123.scope");
	parses("a-b-c.slice:p:n", "a-b-c.slice", "p-n.scope", "a.slice/a-b.slice/a-b-c.slice/p-n.scope");
	parses("-.slice:p:n", "-.slice", "p-n.scope", "p-n.scope");
	/* No slice: it is served all the same. */
	parses("a:b:c", "system.slice", "b-c.scope", "system.slice/b-c.scope");
	parses("-a.slice:b:c", "system.slice", "b-c.scope", "system.slice/b-c.scope");
	parses("a--b.slice:b:c", "system.slice", "b-c.scope", "system.slice/b-c.scope");
	parses(":p:n", "system.slice", "p-n.scope", "system.slice/p-n.scope");
	parses("a.slice::n", "a.slice", "n.scope", "a.slice/n.scope");
	parses("a.slice:p:", "a.slice", "p-ID.scope", "a.slice/p-ID.scope");
	parses("a.slice:p:n.slice", "a.slice", "p-n.slice.scope", "a.slice/p-n.slice.scope");
	/* systemd escapes what looks like a file of the kernel's. */
	parses(":_p:n", "system.slice", "_p-n.scope", "system.slice/__p-n.scope");
	parses(":.:n", "system.slice", ".-n.scope", "system.slice/_.-n.scope");
	parses("memory.slice:cpu.x:n", "memory.slice", "cpu.x-n.scope", "_memory.slice/_cpu.x-n.scope");
	parses(":cgroup.x:n", "system.slice", "cgroup.x-n.scope", "system.slice/_cgroup.x-n.scope");
	parses("::", "system.slice", "kata_agent-ID.scope", "system.slice/kata_agent-ID.scope");
	/* A pinned systemd gets whatever form. */
	parses("/kubepods/x", "system.slice", "kata_agent-ID.scope", "system.slice/kata_agent-ID.scope");
	parses("", "system.slice", "kata_agent-ID.scope", "system.slice/kata_agent-ID.scope");
	memset(name, 'n', sizeof(name));
	memcpy(name, "a.slice:p:", 10);
	name[sizeof(name) - 1] = '\0';
	/* No unit can be called so: it is no systemd's form, and a pin still gets a scope. */
	assert_false(cgroup_path_is_systemd(name));
	parses(name, "system.slice", "kata_agent-ID.scope", "system.slice/kata_agent-ID.scope");
}

static void test_shares_and_weights(void **state)
{
	(void)state;
	/* The linear rule: 512 is 20. */
	assert_int_equal(cpu_weight_of_shares(512), 20);
	assert_int_equal(cpu_weight_of_shares(1024), 39);
	assert_int_equal(cpu_weight_of_shares(2), 1);
	assert_int_equal(cpu_weight_of_shares(262144), 10000);
	assert_int_equal(io_weight_of_blkio(10), 1);
	assert_int_equal(io_weight_of_blkio(1000), 10000);
	assert_int_equal(io_weight_of_blkio(500), 1 + 490 * 9999 / 990);
}

static void test_w16_shares_out_of_range_are_clamped(void **state)
{
	(void)state;
	assert_int_equal(cpu_weight_of_shares(0), 1);
	assert_int_equal(cpu_weight_of_shares(1), 1);
	assert_int_equal(cpu_weight_of_shares(262145), 10000);
	assert_int_equal(cpu_weight_of_shares(UINT64_MAX), 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choice_over_every_combination),
		cmocka_unit_test(test_w03_a_guest_without_systemd_gets_cgroupfs),
		cmocka_unit_test(test_translation),
		cmocka_unit_test(test_w01_no_path_is_the_root_or_shared),
		cmocka_unit_test(test_w09_paths_that_lead_elsewhere_are_refused),
		cmocka_unit_test(test_systemd_names),
		cmocka_unit_test(test_shares_and_weights),
		cmocka_unit_test(test_w16_shares_out_of_range_are_clamped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
