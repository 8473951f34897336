/* SPDX-License-Identifier: Apache-2.0 */

/* Half of the containers that there were since the last time must be gone, and a good deal of memory with them. */

#include "agent/heap.h"

#include <malloc.h>

enum { WORTH_IT = 128 * 1024 }; /* bytes */

void heap_settle(size_t gone, size_t left)
{
	static size_t most;

	if (gone + left > most)
		most = gone + left;
	if (left > most / 2)
		return;
#ifdef __GLIBC__
	if (mallinfo2().fordblks < WORTH_IT)
		return;
	(void)malloc_trim(0);
#endif
	most = left;
}
