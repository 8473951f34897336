/* SPDX-License-Identifier: Apache-2.0 */
/* The features object is JSON and has what the runtime-spec asks for. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <jansson.h>

#include <cmocka.h>

#include "engine/oci_features.h"

static void is_complete(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	const struct features_context context = {.version = "1 \"x\"", .cgroup_v2 = true};
	json_error_t error;

	assert_int_equal(features_json(&context, &out), 0);
	json_t *root = json_loads(buf_string(&out), JSON_REJECT_DUPLICATES, &error);
	if (!root)
		fail_msg("line %d: %s", error.line, error.text);
	const char *min = NULL, *max = NULL;
	json_t *hooks, *options, *namespaces, *capabilities;
	int v1, v2, seccomp;
	assert_int_equal(
		json_unpack_ex(root, &error, 0, "{s:s, s:s, s:o, s:o, s:{s:o, s:o, s:{s:b, s:b}, s:{s:b}}}",
			       "ociVersionMin", &min, "ociVersionMax", &max, "hooks", &hooks, "mountOptions",
			       &options, "linux", "namespaces", &namespaces, "capabilities", &capabilities,
			       "cgroup", "v1", &v1, "v2", &v2, "seccomp", "enabled", &seccomp),
		0);
	assert_string_equal(min, "1.0.0");
	assert_string_equal(max, "1.3.0");
	assert_int_equal(json_array_size(hooks), 6);
	assert_int_equal(json_array_size(namespaces), 8);
	assert_true(json_array_size(capabilities) > 30);
	assert_true(json_array_size(options) > 40);
	assert_true(!v1 && v2 && seccomp);
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(is_complete)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
