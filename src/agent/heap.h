/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_HEAP_H
#define AGENT_HEAP_H

/*
 * What a hundred containers needed goes back to the kernel when they are gone: the C library by itself gives back only what
 * lies at the heap's end.
 */

#include <stddef.h>

/* After @gone containers were freed and @left are there. Mostly does nothing; at most some dozen microseconds. */
void heap_settle(size_t gone, size_t left);

#endif
