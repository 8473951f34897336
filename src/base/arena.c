/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of memory in a chain; the newest is carved from its front. Blocks double in size up to BLOCK_MAX, and what
 * is large against a block gets one of its own, so that the current block's rest is not wasted.
 *
 * With AddressSanitizer, what is not handed out is poisoned, with a gap behind each piece, so that an overflow within an
 * arena is seen as one on the heap would be.
 */

#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISON 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISON 1
#endif

#ifdef ARENA_POISON
#include <sanitizer/asan_interface.h>
enum { GAP = 16 };
#define poison(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define unpoison(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
enum { GAP = 0 };
#define poison(p, n) ((void)0)
#define unpoison(p, n) ((void)0)
#endif

enum {
	ALIGN = alignof(max_align_t),
	FIRST_DEFAULT = 512,
	BLOCK_MIN = 1024,
	BLOCK_MAX = 64 * 1024,
};

struct block {
	struct block *next;
	size_t size; /* bytes from malloc */
	alignas(max_align_t) char data[];
};

struct arena {
	struct block *blocks; /* those beyond the first */
	char *cursor;	      /* the current block's free part */
	char *end;
	size_t next_size; /* of the next block */
	size_t footprint;
	size_t used; /* bytes handed out */
	size_t limit;
	alignas(max_align_t) char first[];
};

struct arena *arena_new(size_t first)
{
	size_t size;

	if (first == 0)
		first = FIRST_DEFAULT - sizeof(struct arena);
	if (__builtin_add_overflow(sizeof(struct arena), first, &size))
		return NULL;
	struct arena *arena = malloc(size);
	if (!arena)
		return NULL;
	*arena = (struct arena){
		.cursor = arena->first,
		.end = arena->first + first,
		.next_size =
			first * 2 > BLOCK_MIN ? (first * 2 < BLOCK_MAX ? first * 2 : BLOCK_MAX) : BLOCK_MIN,
		.footprint = size,
	};
	poison(arena->first, first);
	return arena;
}

void arena_free(struct arena *arena)
{
	if (!arena)
		return;
	while (arena->blocks) {
		struct block *block = arena->blocks;

		arena->blocks = block->next;
		unpoison(block->data, block->size - sizeof(*block));
		free(block);
	}
	unpoison(arena->first, 1);
	free(arena);
}

void arena_set_limit(struct arena *arena, size_t bytes)
{
	arena->limit = bytes;
}

size_t arena_footprint(const struct arena *arena)
{
	return arena->footprint;
}

/* A block with room for @need bytes; makes it the current one unless it is for one large piece alone. */
static char *arena_extend(struct arena *arena, size_t need)
{
	bool alone = need > arena->next_size / 4;
	size_t size, capacity = alone ? need : arena->next_size;

	if (__builtin_add_overflow(sizeof(struct block), capacity, &size) || size > PTRDIFF_MAX)
		return NULL;
	struct block *block = malloc(size);
	if (!block)
		return NULL;
	block->next = arena->blocks;
	block->size = size;
	arena->blocks = block;
	arena->footprint += size;
	poison(block->data, capacity);
	if (alone)
		return block->data;

	arena->cursor = block->data + need;
	arena->end = block->data + capacity;
	if (arena->next_size < BLOCK_MAX)
		arena->next_size *= 2;
	return block->data;
}

void *arena_alloc_raw(struct arena *arena, size_t size)
{
	size_t need, used;
	char *p;

	if (size == 0)
		size = 1;
	if (__builtin_add_overflow(size, (size_t)GAP + ALIGN - 1, &need))
		return NULL;
	need &= ~((size_t)ALIGN - 1);
	if (__builtin_add_overflow(arena->used, size, &used) || (arena->limit && used > arena->limit))
		return NULL;

	if ((size_t)(arena->end - arena->cursor) >= need) {
		p = arena->cursor;
		arena->cursor += need;
	} else {
		p = arena_extend(arena, need);
		if (!p)
			return NULL;
	}
	arena->used = used;
	unpoison(p, size);
	return p;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	void *p = arena_alloc_raw(arena, size);

	if (p)
		memset(p, 0, size ? size : 1);
	return p;
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		return NULL;
	return arena_alloc(arena, bytes);
}

void *arena_memdup(struct arena *arena, const void *data, size_t size)
{
	void *p = arena_alloc_raw(arena, size);

	if (p && size > 0)
		memcpy(p, data, size);
	return p;
}

char *arena_strndup(struct arena *arena, const char *text, size_t max)
{
	size_t length = strnlen(text, max);
	char *p = arena_alloc_raw(arena, length + 1);

	if (p) {
		memcpy(p, text, length);
		p[length] = '\0';
	}
	return p;
}

char *arena_strdup(struct arena *arena, const char *text)
{
	return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int n = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (n < 0)
		return NULL;
	char *p = arena_alloc_raw(arena, (size_t)n + 1);
	if (!p)
		return NULL;
	va_start(arguments, format);
	(void)vsnprintf(p, (size_t)n + 1, format, arguments);
	va_end(arguments);
	return p;
}
