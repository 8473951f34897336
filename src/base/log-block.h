/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_LOG_BLOCK_H
#define BASE_LOG_BLOCK_H

/*
 * Memory for the log's records, which live long, come between all other allocations, and would hold a page of the heap
 * each when everything else on it has gone. They share blocks of their own instead; as they go in the order in which
 * they came, so do the blocks.
 */

#include <stddef.h>

/* @size bytes, aligned for any object; NULL when memory is out. */
void *log_block_take(size_t size);
/* NULL is fine. */
void log_block_give(void *piece);

#endif
