/* SPDX-License-Identifier: Apache-2.0 */

/* The table of mount options: every word of the runtime-spec, precedence, what is left for the file system. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>

#include <cmocka.h>

#include "base/fd.h"
#include "engine/mount_options.h"

static struct arena *arena;

static int set_up(void **state)
{
	arena = arena_new(0);
	return arena ? 0 : -1;
}

static int tear_down(void **state)
{
	arena_free(arena);
	return 0;
}

#define PARSE(out, ...)                                                                                      \
	({                                                                                                   \
		char *options_[] = {__VA_ARGS__};                                                            \
		mount_options_parse(options_, array_length(options_), arena, (out), NULL);                   \
	})

static void the_table_is_sorted_and_whole(void **state)
{
	static const char *const spec[] = {
		"async",	  "atime",	"bind",		"defaults",    "dev",
		"diratime",	  "dirsync",	"exec",		"iversion",    "lazytime",
		"loud",		  "mand",	"noatime",	"nodev",       "nodiratime",
		"noexec",	  "noiversion", "nolazytime",	"nomand",      "norelatime",
		"nostrictatime",  "nosuid",	"nosymfollow",	"private",     "ratime",
		"rbind",	  "rdev",	"rdiratime",	"relatime",    "remount",
		"rexec",	  "rnoatime",	"rnodiratime",	"rnoexec",     "rnorelatime",
		"rnostrictatime", "rnosuid",	"rnosymfollow", "ro",	       "rprivate",
		"rrelatime",	  "rro",	"rrw",		"rshared",     "rslave",
		"rstrictatime",	  "rsuid",	"rsymfollow",	"runbindable", "rw",
		"shared",	  "silent",	"slave",	"strictatime", "suid",
		"symfollow",	  "sync",	"tmpcopyup",	"unbindable",  "idmap",
		"ridmap",	  "rnodev",
	};
	const char *const *words;
	size_t count = mount_options_known(&words);

	for (size_t i = 1; i < count; i++)
		assert_true(strcmp(words[i - 1], words[i]) < 0);
	for (size_t i = 0; i < array_length(spec); i++) {
		struct mount_options out;
		char word[32];
		strncpy(word, spec[i], sizeof(word) - 1);
		word[sizeof(word) - 1] = '\0';
		assert_int_equal(PARSE(&out, word), 0);
		assert_string_equal(out.data, ""); /* known: nothing is left over */
	}
}

static void later_wins(void **state)
{
	struct mount_options out;

	assert_int_equal(PARSE(&out, (char *)"ro", (char *)"nosuid", (char *)"rw"), 0);
	assert_int_equal(out.top.set, MOUNT_ATTR_NOSUID);
	assert_int_equal(out.top.clear, MOUNT_ATTR_RDONLY);
	assert_int_equal(mount_options_flags(&out), MS_NOSUID);

	assert_int_equal(PARSE(&out, (char *)"sync", (char *)"async", (char *)"dirsync"), 0);
	assert_int_equal(out.sb_set, MS_DIRSYNC);
	assert_int_equal(out.sb_clear, MS_SYNCHRONOUS);
}

static void access_time_is_one_field(void **state)
{
	struct mount_options out;

	assert_int_equal(PARSE(&out, (char *)"noatime", (char *)"strictatime"), 0);
	assert_int_equal(out.top.set, MOUNT_ATTR_STRICTATIME);
	assert_int_equal(out.top.clear, MOUNT_ATTR__ATIME);
	assert_int_equal(PARSE(&out, (char *)"relatime"), 0);
	assert_int_equal(out.top.set, 0);
	assert_int_equal(out.top.clear, MOUNT_ATTR__ATIME);
	assert_int_equal(PARSE(&out, (char *)"norelatime"), 0);
	assert_int_equal(out.top.set, MOUNT_ATTR_STRICTATIME);
	assert_int_equal(PARSE(&out, (char *)"strictatime", (char *)"atime"), 0);
	assert_int_equal(out.top.set, MOUNT_ATTR_RELATIME);
	/* nodiratime is a bit of its own. */
	assert_int_equal(PARSE(&out, (char *)"nodiratime", (char *)"noatime"), 0);
	assert_int_equal(out.top.set, MOUNT_ATTR_NODIRATIME | MOUNT_ATTR_NOATIME);
}

static void recursive_words_are_kept_apart(void **state)
{
	struct mount_options out;

	assert_int_equal(PARSE(&out, (char *)"rbind", (char *)"rro", (char *)"nodev", (char *)"rslave"), 0);
	assert_true(out.bind && out.recursive);
	assert_int_equal(out.top.set, MOUNT_ATTR_NODEV);
	assert_int_equal(out.below.set, MOUNT_ATTR_RDONLY);
	assert_int_equal(out.n_propagation, 1);
	assert_int_equal(out.propagation[0], MS_SLAVE | MS_REC);
	assert_int_equal(PARSE(&out, (char *)"ridmap", (char *)"tmpcopyup", (char *)"remount"), 0);
	assert_true(out.idmap && out.idmap_recursive && out.copy_up && out.remount);
}

static void the_rest_is_data(void **state)
{
	struct mount_options out;

	assert_int_equal(PARSE(&out, (char *)"mode=755", (char *)"nosuid", (char *)"", (char *)"size=64k"),
			 0);
	assert_string_equal(out.data, "mode=755,size=64k");
	assert_int_equal(PARSE(&out, (char *)"RO"), 0);
	assert_string_equal(out.data, "RO"); /* words are case-sensitive */
	assert_int_equal(mount_options_parse(NULL, 0, arena, &out, NULL), 0);
	assert_string_equal(out.data, "");
}

static void too_many_propagations_are_refused(void **state)
{
	char *options[MOUNT_PROPAGATIONS_MAX + 1];
	struct mount_options out;
	struct error e = ERROR_INIT;

	for (size_t i = 0; i < array_length(options); i++)
		options[i] = (char *)"shared";
	assert_int_equal(mount_options_parse(options, array_length(options), arena, &out, &e), -EINVAL);
	assert_int_equal(e.code, STATUS_INVALID_ARGUMENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_is_sorted_and_whole),
		cmocka_unit_test(later_wins),
		cmocka_unit_test(access_time_is_one_field),
		cmocka_unit_test(recursive_words_are_kept_apart),
		cmocka_unit_test(the_rest_is_data),
		cmocka_unit_test(too_many_propagations_are_refused),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
