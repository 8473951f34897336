/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

/*
 * Memory that belongs to one request (or to one container) and goes with it in one call.
 *
 * Allocation moves a pointer; nothing is freed singly. A first block is part of the arena's own allocation, so that a
 * parked request costs one small malloc. An arena may be given a limit: beyond it, allocation returns NULL, which
 * bounds what one hostile message can make of itself.
 */

#include <stddef.h>

struct arena;

/* @first is the size in bytes of the first block (0: a small default). NULL when memory is out. */
struct arena *arena_new(size_t first);
/* Takes NULL. Frees everything that came from it. */
void arena_free(struct arena *arena);

/* Bytes handed out may never exceed @bytes (0: no limit, the default). */
void arena_set_limit(struct arena *arena, size_t bytes);
/* Bytes that the arena holds from malloc. */
size_t arena_footprint(const struct arena *arena);

/* Zeroed, aligned for any type; NULL when memory or the limit is out. @size 0 gives a unique pointer. */
void *arena_alloc(struct arena *arena, size_t size);
/* As arena_alloc() but not zeroed. */
void *arena_alloc_raw(struct arena *arena, size_t size);
/* Zeroed array with the multiplication checked. */
void *arena_array(struct arena *arena, size_t count, size_t size);
void *arena_memdup(struct arena *arena, const void *data, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t max);
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define arena_new_object(arena, type) ((type *)arena_alloc((arena), sizeof(type)))

#endif
