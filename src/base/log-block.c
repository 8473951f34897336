/* SPDX-License-Identifier: Apache-2.0 */

/* A block is given back when the last of its pieces is, and nothing more can be carved from it. */

#include "base/log-block.h"

#include <stdalign.h>
#include <stdlib.h>

enum { BLOCK_SIZE = 16 * 1024 };

struct block {
	size_t size, used; /* bytes of data */
	size_t pieces;
	alignas(max_align_t) char data[];
};

struct piece {
	struct block *block;
	alignas(max_align_t) char data[];
};

static struct block *current;

static void settle(struct block *block)
{
	if (block->pieces > 0)
		return;
	if (block == current)
		block->used = 0;
	else
		free(block);
}

static struct block *block_new(size_t size)
{
	struct block *block;

	if (size < BLOCK_SIZE - sizeof(*block))
		size = BLOCK_SIZE - sizeof(*block);
	block = malloc(sizeof(*block) + size);
	if (block)
		*block = (struct block){.size = size};
	return block;
}

void *log_block_take(size_t size)
{
	const size_t align = alignof(struct piece);
	size_t whole;

	if (__builtin_add_overflow(size, sizeof(struct piece) + align - 1, &whole))
		return NULL;
	whole -= whole % align;
	if (!current || current->size - current->used < whole) {
		struct block *last = current, *next = block_new(whole);

		if (!next)
			return NULL;
		current = next;
		if (last)
			settle(last);
	}
	struct piece *piece = (struct piece *)(void *)(current->data + current->used);
	piece->block = current;
	current->used += whole;
	current->pieces++;
	return piece->data;
}

void log_block_give(void *data)
{
	if (!data)
		return;
	struct piece *piece = (struct piece *)(void *)((char *)data - offsetof(struct piece, data));
	struct block *block = piece->block;

	block->pieces--;
	settle(block);
}
