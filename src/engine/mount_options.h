/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_MOUNT_OPTIONS_H
#define ENGINE_MOUNT_OPTIONS_H

/*
 * The options of one entry of `mounts`, as the runtime-spec lists them, sorted by what the kernel does with them.
 *
 * Later options win. An attribute of a mount (MOUNT_ATTR_*) is set, cleared or left alone; the same for the
 * recursive spelling (`rro`), the flags of the superblock (`sync`) and the propagation. What is none of these is data
 * of the file system and is kept in order.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

struct mount_attributes {
	uint64_t set;	/* MOUNT_ATTR_* */
	uint64_t clear; /* includes MOUNT_ATTR__ATIME where an access time mode is asked for */
};

enum { MOUNT_PROPAGATIONS_MAX = 8 };

struct mount_options {
	struct mount_attributes top;   /* of the one mount */
	struct mount_attributes below; /* of it and all below it (`rro`) */
	unsigned sb_set, sb_clear; /* MS_SYNCHRONOUS, MS_DIRSYNC, MS_MANDLOCK, MS_LAZYTIME, MS_I_VERSION, … */
	unsigned long
		propagation[MOUNT_PROPAGATIONS_MAX]; /* MS_SHARED, … with MS_REC where recursive, in order */
	size_t n_propagation;
	bool bind, recursive; /* `bind`, `rbind` */
	bool remount;
	bool copy_up;		     /* `tmpcopyup` */
	bool idmap, idmap_recursive; /* `idmap`, `ridmap` */
	const char *data;	     /* what is left, comma-separated; "" for nothing */
};

/* Everything in @out lives in @arena or in @options. 0, -EINVAL with @e set, or -ENOMEM. */
int mount_options_parse(char *const *options, size_t count, struct arena *arena, struct mount_options *out,
			struct error *e);
/* For mount(2), where the descriptor calls do not serve: MS_* of the top mount and the superblock. */
unsigned long mount_options_flags(const struct mount_options *options);
/* All words that are known, sorted, for `features`. Returns their number. */
size_t mount_options_known(const char *const **words);

#endif
