/* SPDX-License-Identifier: Apache-2.0 */
/* One table of words; what is not in it is the file system's. */

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>

#include "base/fd.h"
#include "base/str.h"
#include "guest/storage_options.h"

enum { DATA_MAX = 4096 }; /* a page: what mount(2) copies */

#ifndef MS_MANDLOCK
#define MS_MANDLOCK 64
#endif

static const struct word {
	const char *name;
	bool clear;
	bool propagation;
	unsigned long flags;
} words[] = {
	{"defaults", false, false, 0},
	{"ro", false, false, MS_RDONLY},
	{"rw", true, false, MS_RDONLY},
	{"nosuid", false, false, MS_NOSUID},
	{"suid", true, false, MS_NOSUID},
	{"nodev", false, false, MS_NODEV},
	{"dev", true, false, MS_NODEV},
	{"noexec", false, false, MS_NOEXEC},
	{"exec", true, false, MS_NOEXEC},
	{"sync", false, false, MS_SYNCHRONOUS},
	{"async", true, false, MS_SYNCHRONOUS},
	{"remount", false, false, MS_REMOUNT},
	{"mand", false, false, MS_MANDLOCK},
	{"nomand", true, false, MS_MANDLOCK},
	{"dirsync", false, false, MS_DIRSYNC},
	{"noatime", false, false, MS_NOATIME},
	{"atime", true, false, MS_NOATIME},
	{"nodiratime", false, false, MS_NODIRATIME},
	{"diratime", true, false, MS_NODIRATIME},
	{"relatime", false, false, MS_RELATIME},
	{"norelatime", true, false, MS_RELATIME},
	{"strictatime", false, false, MS_STRICTATIME},
	{"nostrictatime", true, false, MS_STRICTATIME},
	{"iversion", false, false, MS_I_VERSION},
	{"noiversion", true, false, MS_I_VERSION},
	{"silent", false, false, MS_SILENT},
	{"loud", true, false, MS_SILENT},
	{"bind", false, false, MS_BIND},
	{"rbind", false, false, MS_BIND | MS_REC},
	{"private", false, true, MS_PRIVATE},
	{"rprivate", false, true, MS_PRIVATE | MS_REC},
	{"shared", false, true, MS_SHARED},
	{"rshared", false, true, MS_SHARED | MS_REC},
	{"slave", false, true, MS_SLAVE},
	{"rslave", false, true, MS_SLAVE | MS_REC},
	{"unbindable", false, true, MS_UNBINDABLE},
	{"runbindable", false, true, MS_UNBINDABLE | MS_REC},
};

static const struct word *word_find(const char *name)
{
	for (size_t i = 0; i < array_length(words); i++)
		if (strcmp(words[i].name, name) == 0)
			return &words[i];
	return NULL;
}

static void word_apply(const struct word *word, struct storage_options *out)
{
	if (word->propagation)
		out->propagation = word->flags;
	else if (word->clear)
		out->flags &= ~word->flags;
	else
		out->flags |= word->flags;
}

int storage_options_add(struct storage_options *options, const char *text, struct error *e)
{
	if (options->data.length > 0)
		buf_append_char(&options->data, ',');
	if (buf_append_string(&options->data, text) < 0)
		return error_errno(e, ENOMEM, "mount options");
	if (options->data.length >= DATA_MAX)
		return error_set(e, STATUS_INTERNAL, EINVAL, "Mount option exceeds 4K size");
	return 0;
}

int storage_options_parse(char *const *options, size_t count, struct storage_options *out, struct error *e)
{
	for (size_t i = 0; i < count; i++) {
		const char *option = options[i];
		const struct word *word = word_find(option);
		int r;

		if (word) {
			word_apply(word, out);
			continue;
		}
		if (strcmp(option, "loop") == 0)
			return error_set(e, STATUS_INTERNAL, EINVAL, "Invalid mount option: loop");
		if (!*option || str_starts_with(option, "io.katacontainers.") ||
		    str_starts_with(option, "X-kata."))
			continue;
		r = storage_options_add(out, option, e);
		if (r < 0)
			return r;
	}
	return 0;
}

void storage_options_deinit(struct storage_options *options)
{
	buf_deinit(&options->data);
}

const char *storage_options_value(char *const *options, size_t count, const char *key)
{
	size_t length = strlen(key);
	const char *found = NULL;

	for (size_t i = 0; i < count; i++)
		if (strncmp(options[i], key, length) == 0 && options[i][length] == '=')
			found = options[i] + length + 1;
	return found;
}
