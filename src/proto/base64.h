/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_BASE64_H
#define PROTO_BASE64_H

/* Base64 (RFC 4648, section 4). */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

/* Appends the text, padded. 0 or -ENOMEM. */
int base64_encode(const void *data, size_t length, struct buf *out);
/*
 * Into @out, which has room for 3 * @length / 4 + 3 bytes. The padding may be absent and the URL's alphabet is
 * understood too; anything else, also a blank, is -EINVAL. Returns the number of bytes.
 */
ssize_t base64_decode(const char *text, size_t length, uint8_t *out);

#endif
