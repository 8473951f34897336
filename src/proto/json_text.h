/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_JSON_TEXT_H
#define PROTO_JSON_TEXT_H

/*
 * A JSON text on its way into a parser whose integers end at INT64_MAX, although 18446744073709551615 (RLIM_INFINITY)
 * is a usual number in a config.json. Integers that do not fit are turned into texts that begin with a mark: a control
 * character that the text does not contain otherwise. Room-private.
 */

#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

/*
 * Appends the text with its large integers marked, and sets *@mark; or sets *@mark to 0 and appends nothing where the
 * text can be parsed as it is. Knows just enough of JSON to tell numbers from texts; what is not JSON stays so.
 * 0 or -errno with @e set.
 */
int json_text_mark_integers(const char *text, size_t length, struct buf *out, char *mark, struct error *e);

#endif
