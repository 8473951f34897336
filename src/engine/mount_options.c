/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One table, sorted by word. An access time mode is not a bit but a field of MOUNT_ATTR_*: words that choose one
 * clear the whole field first.
 */

#include "engine/mount_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/fd.h"

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif
/* In the kernel's headers but in none of the C library's. */
#define SB_POSIXACL (1U << 16)
#define SB_SILENT (1U << 15)
#define SB_I_VERSION (1U << 23)
#define SB_LAZYTIME (1U << 25)

enum kind { ATTRIBUTE, NO_ATTRIBUTE, SUPERBLOCK, NO_SUPERBLOCK, PROPAGATION, BIND, SPECIAL, NOTHING };
enum special { REMOUNT, COPY_UP, IDMAP, RECURSIVE_IDMAP };

struct word {
	const char *name;
	enum kind kind;
	bool recursive;
	uint64_t value;
};

#define ATIME MOUNT_ATTR__ATIME

static const struct word words[] = {
	{"acl", SUPERBLOCK, false, SB_POSIXACL},
	{"async", NO_SUPERBLOCK, false, MS_SYNCHRONOUS},
	{"atime", NO_ATTRIBUTE, false, MOUNT_ATTR_NOATIME},
	{"bind", BIND, false, 0},
	{"defaults", NOTHING, false, 0},
	{"dev", NO_ATTRIBUTE, false, MOUNT_ATTR_NODEV},
	{"diratime", NO_ATTRIBUTE, false, MOUNT_ATTR_NODIRATIME},
	{"dirsync", SUPERBLOCK, false, MS_DIRSYNC},
	{"exec", NO_ATTRIBUTE, false, MOUNT_ATTR_NOEXEC},
	{"idmap", SPECIAL, false, IDMAP},
	{"iversion", SUPERBLOCK, false, SB_I_VERSION},
	{"lazytime", SUPERBLOCK, false, SB_LAZYTIME},
	{"loud", NO_SUPERBLOCK, false, SB_SILENT},
	{"mand", SUPERBLOCK, false, MS_MANDLOCK},
	{"noacl", NO_SUPERBLOCK, false, SB_POSIXACL},
	{"noatime", ATTRIBUTE, false, MOUNT_ATTR_NOATIME},
	{"nodev", ATTRIBUTE, false, MOUNT_ATTR_NODEV},
	{"nodiratime", ATTRIBUTE, false, MOUNT_ATTR_NODIRATIME},
	{"noexec", ATTRIBUTE, false, MOUNT_ATTR_NOEXEC},
	{"noiversion", NO_SUPERBLOCK, false, SB_I_VERSION},
	{"nolazytime", NO_SUPERBLOCK, false, SB_LAZYTIME},
	{"nomand", NO_SUPERBLOCK, false, MS_MANDLOCK},
	{"norelatime", NO_ATTRIBUTE, false, MOUNT_ATTR_RELATIME},
	{"nostrictatime", NO_ATTRIBUTE, false, MOUNT_ATTR_STRICTATIME},
	{"nosuid", ATTRIBUTE, false, MOUNT_ATTR_NOSUID},
	{"nosymfollow", ATTRIBUTE, false, MOUNT_ATTR_NOSYMFOLLOW},
	{"private", PROPAGATION, false, MS_PRIVATE},
	{"ratime", NO_ATTRIBUTE, true, MOUNT_ATTR_NOATIME},
	{"rbind", BIND, true, 0},
	{"rdev", NO_ATTRIBUTE, true, MOUNT_ATTR_NODEV},
	{"rdiratime", NO_ATTRIBUTE, true, MOUNT_ATTR_NODIRATIME},
	{"relatime", ATTRIBUTE, false, MOUNT_ATTR_RELATIME},
	{"remount", SPECIAL, false, REMOUNT},
	{"rexec", NO_ATTRIBUTE, true, MOUNT_ATTR_NOEXEC},
	{"ridmap", SPECIAL, false, RECURSIVE_IDMAP},
	{"rnoatime", ATTRIBUTE, true, MOUNT_ATTR_NOATIME},
	{"rnodev", ATTRIBUTE, true, MOUNT_ATTR_NODEV},
	{"rnodiratime", ATTRIBUTE, true, MOUNT_ATTR_NODIRATIME},
	{"rnoexec", ATTRIBUTE, true, MOUNT_ATTR_NOEXEC},
	{"rnorelatime", NO_ATTRIBUTE, true, MOUNT_ATTR_RELATIME},
	{"rnostrictatime", NO_ATTRIBUTE, true, MOUNT_ATTR_STRICTATIME},
	{"rnosuid", ATTRIBUTE, true, MOUNT_ATTR_NOSUID},
	{"rnosymfollow", ATTRIBUTE, true, MOUNT_ATTR_NOSYMFOLLOW},
	{"ro", ATTRIBUTE, false, MOUNT_ATTR_RDONLY},
	{"rprivate", PROPAGATION, true, MS_PRIVATE},
	{"rrelatime", ATTRIBUTE, true, MOUNT_ATTR_RELATIME},
	{"rro", ATTRIBUTE, true, MOUNT_ATTR_RDONLY},
	{"rrw", NO_ATTRIBUTE, true, MOUNT_ATTR_RDONLY},
	{"rshared", PROPAGATION, true, MS_SHARED},
	{"rslave", PROPAGATION, true, MS_SLAVE},
	{"rstrictatime", ATTRIBUTE, true, MOUNT_ATTR_STRICTATIME},
	{"rsuid", NO_ATTRIBUTE, true, MOUNT_ATTR_NOSUID},
	{"rsymfollow", NO_ATTRIBUTE, true, MOUNT_ATTR_NOSYMFOLLOW},
	{"runbindable", PROPAGATION, true, MS_UNBINDABLE},
	{"rw", NO_ATTRIBUTE, false, MOUNT_ATTR_RDONLY},
	{"shared", PROPAGATION, false, MS_SHARED},
	{"silent", SUPERBLOCK, false, SB_SILENT},
	{"slave", PROPAGATION, false, MS_SLAVE},
	{"strictatime", ATTRIBUTE, false, MOUNT_ATTR_STRICTATIME},
	{"suid", NO_ATTRIBUTE, false, MOUNT_ATTR_NOSUID},
	{"symfollow", NO_ATTRIBUTE, false, MOUNT_ATTR_NOSYMFOLLOW},
	{"sync", SUPERBLOCK, false, MS_SYNCHRONOUS},
	{"tmpcopyup", SPECIAL, false, COPY_UP},
	{"unbindable", PROPAGATION, false, MS_UNBINDABLE},
};

static int compare_word(const void *key, const void *element)
{
	return strcmp(key, ((const struct word *)element)->name);
}

static bool is_access_time_mode(const struct word *word)
{
	return (word->value & ~(uint64_t)ATIME) == 0;
}

static void attribute(struct mount_attributes *to, const struct word *word)
{
	bool set = word->kind == ATTRIBUTE;

	if (is_access_time_mode(word)) {
		/* "no" of the mode that is the default asks for the other one. */
		uint64_t mode = set ? word->value : MOUNT_ATTR_RELATIME;
		if (!set && word->value == MOUNT_ATTR_RELATIME)
			mode = MOUNT_ATTR_STRICTATIME;
		to->clear |= ATIME;
		to->set = (to->set & ~(uint64_t)ATIME) | mode;
		return;
	}
	if (set) {
		to->set |= word->value;
		to->clear &= ~word->value;
	} else {
		to->clear |= word->value;
		to->set &= ~word->value;
	}
}

static void special(struct mount_options *out, enum special which)
{
	switch (which) {
	case REMOUNT:
		out->remount = true;
		break;
	case COPY_UP:
		out->copy_up = true;
		break;
	case IDMAP:
		out->idmap = true;
		break;
	case RECURSIVE_IDMAP:
		out->idmap = out->idmap_recursive = true;
		break;
	}
}

static int apply(struct mount_options *out, const struct word *word, struct error *e)
{
	switch (word->kind) {
	case ATTRIBUTE:
	case NO_ATTRIBUTE:
		attribute(word->recursive ? &out->below : &out->top, word);
		break;
	case SUPERBLOCK:
		out->sb_set |= (unsigned)word->value;
		out->sb_clear &= ~(unsigned)word->value;
		break;
	case NO_SUPERBLOCK:
		out->sb_clear |= (unsigned)word->value;
		out->sb_set &= ~(unsigned)word->value;
		break;
	case PROPAGATION:
		if (out->n_propagation == MOUNT_PROPAGATIONS_MAX)
			return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
					 "more than %d propagation options", MOUNT_PROPAGATIONS_MAX);
		out->propagation[out->n_propagation++] = word->value | (word->recursive ? MS_REC : 0);
		break;
	case BIND:
		out->bind = true;
		out->recursive = word->recursive || out->recursive;
		break;
	case SPECIAL:
		special(out, (enum special)word->value);
		break;
	case NOTHING:
		break;
	}
	return 0;
}

int mount_options_parse(char *const *options, size_t count, struct arena *arena, struct mount_options *out,
			struct error *e)
{
	size_t length = 1;

	*out = (struct mount_options){.data = ""};
	for (size_t i = 0; i < count; i++)
		length += strlen(options[i]) + 1;
	char *data = arena_alloc_raw(arena, length);
	if (!data)
		return error_errno(e, ENOMEM, "mount options");
	size_t used = 0;
	for (size_t i = 0; i < count; i++) {
		const struct word *word =
			bsearch(options[i], words, array_length(words), sizeof(words[0]), compare_word);
		if (word) {
			int r = apply(out, word, e);
			if (r < 0)
				return r;
			continue;
		}
		size_t size = strlen(options[i]);
		if (size == 0)
			continue;
		if (used > 0)
			data[used++] = ',';
		memcpy(data + used, options[i], size);
		used += size;
	}
	data[used] = '\0';
	out->data = data;
	return 0;
}

unsigned long mount_options_flags(const struct mount_options *options)
{
	static const struct {
		uint64_t attribute;
		unsigned long flag;
	} pairs[] = {
		{MOUNT_ATTR_RDONLY, MS_RDONLY},
		{MOUNT_ATTR_NOSUID, MS_NOSUID},
		{MOUNT_ATTR_NODEV, MS_NODEV},
		{MOUNT_ATTR_NOEXEC, MS_NOEXEC},
		{MOUNT_ATTR_NOATIME, MS_NOATIME},
		{MOUNT_ATTR_NODIRATIME, MS_NODIRATIME},
		{MOUNT_ATTR_STRICTATIME, MS_STRICTATIME},
		{MOUNT_ATTR_NOSYMFOLLOW, 0x100 /* MS_NOSYMFOLLOW */},
	};
	unsigned long flags = options->sb_set;

	for (size_t i = 0; i < array_length(pairs); i++)
		if (options->top.set & pairs[i].attribute)
			flags |= pairs[i].flag;
	return flags;
}

size_t mount_options_known(const char *const **out)
{
	static const char *names[array_length(words)];

	for (size_t i = 0; i < array_length(words); i++)
		names[i] = words[i].name;
	*out = names;
	return array_length(words);
}
