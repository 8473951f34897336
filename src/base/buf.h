/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

/*
 * Growing bytes. The first byte is at data + start: taking from the front is cheap, and the room is reclaimed on the
 * next growth. A failed allocation is remembered (`failed`) so that a writer may check once, at the end.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data;
	size_t start;  /* offset of the first byte that counts */
	size_t length; /* number of bytes that count */
	size_t size;   /* bytes allocated */
	bool failed;   /* an append was lost because memory was out */
};

#define BUF_INIT                                                                                             \
	(struct buf)                                                                                         \
	{                                                                                                    \
		.data = NULL                                                                                 \
	}

void buf_deinit(struct buf *buf);
/* Forgets the content, keeps the memory. */
void buf_clear(struct buf *buf);
/* Room for @more bytes behind the content; returns where they go, or NULL (failed is set). */
uint8_t *buf_reserve(struct buf *buf, size_t more);
/* Counts @count bytes that were written into reserved room. */
void buf_commit(struct buf *buf, size_t count);
/* 0 or -ENOMEM, here and below. */
int buf_append(struct buf *buf, const void *data, size_t length);
int buf_append_string(struct buf *buf, const char *text);
int buf_append_char(struct buf *buf, char c);
int buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts bytes in front of the content (what was read for a dead call is given back so). */
int buf_prepend(struct buf *buf, const void *data, size_t length);
/* Drops @count bytes (at most the length) from the front. */
void buf_consume(struct buf *buf, size_t count);
/* NUL-terminates (not counted in length) and returns the text; "" for an empty one; NULL when memory is out. */
const char *buf_string(struct buf *buf);

static inline uint8_t *buf_begin(const struct buf *buf)
{
	return buf->data ? buf->data + buf->start : NULL;
}

#define _cleanup_buf_ __attribute__((cleanup(buf_deinit)))

#endif
