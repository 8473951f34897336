/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growing bytes: see buf.h. Growth doubles, so that appending is linear over all; the front's room is taken back by
 * moving only when at least half of the memory is front, so that a queue that is consumed as it grows stays linear too.
 */

#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_FIRST = 64 };

void buf_deinit(struct buf *buf)
{
	free(buf->data);
	*buf = BUF_INIT;
}

void buf_clear(struct buf *buf)
{
	buf->start = 0;
	buf->length = 0;
	buf->failed = false;
}

static uint8_t *buf_fail(struct buf *buf)
{
	buf->failed = true;
	return NULL;
}

/* New memory of at least @need bytes with the content at offset @start. */
static bool buf_move(struct buf *buf, size_t need, size_t start)
{
	size_t size = buf->size > BUF_FIRST ? buf->size : BUF_FIRST;

	while (size < need)
		if (__builtin_mul_overflow(size, 2, &size))
			return false;
	uint8_t *data = malloc(size);
	if (!data)
		return false;
	if (buf->length > 0)
		memcpy(data + start, buf->data + buf->start, buf->length);
	free(buf->data);
	buf->data = data;
	buf->start = start;
	buf->size = size;
	return true;
}

uint8_t *buf_reserve(struct buf *buf, size_t more)
{
	size_t need;

	if (__builtin_add_overflow(buf->length, more, &need) || need > PTRDIFF_MAX)
		return buf_fail(buf);
	if (buf->data && buf->size - buf->start - buf->length >= more)
		return buf->data + buf->start + buf->length;

	if (buf->data && need <= buf->size && buf->start >= buf->size / 2) {
		memmove(buf->data, buf->data + buf->start, buf->length);
		buf->start = 0;
	} else if (buf->data && buf->start == 0) {
		size_t size = buf->size;

		while (size < need)
			size *= 2;
		uint8_t *data = realloc(buf->data, size);
		if (!data)
			return buf_fail(buf);
		buf->data = data;
		buf->size = size;
	} else if (!buf_move(buf, need + buf->length, 0)) {
		return buf_fail(buf);
	}
	return buf->data + buf->start + buf->length;
}

void buf_commit(struct buf *buf, size_t count)
{
	buf->length += count;
}

int buf_append(struct buf *buf, const void *data, size_t length)
{
	if (length == 0)
		return 0;
	uint8_t *to = buf_reserve(buf, length);
	if (!to)
		return -ENOMEM;
	memcpy(to, data, length);
	buf->length += length;
	return 0;
}

int buf_append_string(struct buf *buf, const char *text)
{
	return buf_append(buf, text, strlen(text));
}

int buf_append_char(struct buf *buf, char c)
{
	return buf_append(buf, &c, 1);
}

int buf_printf(struct buf *buf, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int n = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	uint8_t *to = n < 0 ? buf_fail(buf) : buf_reserve(buf, (size_t)n + 1);
	if (!to)
		return -ENOMEM;

	va_start(arguments, format);
	n = vsnprintf((char *)to, (size_t)n + 1, format, arguments);
	va_end(arguments);
	buf->length += (size_t)n;
	return 0;
}

int buf_prepend(struct buf *buf, const void *data, size_t length)
{
	if (length == 0)
		return 0;
	if (buf->start < length) {
		size_t need;

		if (__builtin_add_overflow(buf->length, length, &need) || need > PTRDIFF_MAX / 2 ||
		    !buf_move(buf, need, length)) {
			buf->failed = true;
			return -ENOMEM;
		}
	}
	buf->start -= length;
	memcpy(buf->data + buf->start, data, length);
	buf->length += length;
	return 0;
}

void buf_consume(struct buf *buf, size_t count)
{
	if (count >= buf->length) {
		buf->start = 0;
		buf->length = 0;
		return;
	}
	buf->start += count;
	buf->length -= count;
}

const char *buf_string(struct buf *buf)
{
	if (buf->length == 0)
		return "";
	uint8_t *end = buf_reserve(buf, 1);
	if (!end)
		return NULL;
	*end = '\0';
	return (const char *)buf->data + buf->start;
}
