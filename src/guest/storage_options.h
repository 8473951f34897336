/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_STORAGE_OPTIONS_H
#define GUEST_STORAGE_OPTIONS_H

/* Options of a storage → flags and data of mount(2) (reference 06, 4.1). */

#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

struct storage_options {
	unsigned long flags;	   /* MS_*, without propagation */
	unsigned long propagation; /* MS_SHARED, … with MS_REC; made in a call of its own; 0: none */
	struct buf data;	   /* comma-separated, for the file system */
};

#define STORAGE_OPTIONS_INIT                                                                                 \
	(struct storage_options)                                                                             \
	{                                                                                                    \
		.flags = 0                                                                                   \
	}

/* Left to right; the last of contradicting ones wins. Options that are Kata's own ("io.katacontainers.", "X-kata.")
 * are left out. 0 or -errno with @e set: "Invalid mount option: loop", "Mount option exceeds 4K size". */
int storage_options_parse(char *const *options, size_t count, struct storage_options *out, struct error *e);
/* Adds "KEY" or "KEY=VALUE" to the data. */
int storage_options_add(struct storage_options *options, const char *text, struct error *e);
void storage_options_deinit(struct storage_options *options);

/* The value of the last "@key=value" in @options, or NULL. */
const char *storage_options_value(char *const *options, size_t count, const char *key);

#endif
