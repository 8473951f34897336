/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_CPU_MEMORY_H
#define GUEST_CPU_MEMORY_H

/*
 * CPUs and memory that the host plugs in: bringing them online, and what the kernel says of memory blocks.
 *
 * The work is done in a job: a CPU's start and a block's initialisation take their time, and hosts ask before ACPI
 * has told the guest of the new devices, so it is tried again for 5 seconds.
 *
 * @root is "/" or, for tests, a directory that holds sys/.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "guest/uevent.h"

struct online_request {
	uint32_t cpus;	 /* total that shall be online; 0: leave CPUs alone */
	bool memory;	 /* online every memory block too */
	unsigned rounds; /* tries for the CPUs, 50 ms apart; 0: 100 */
};

struct online;
typedef void (*online_done)(int r, const struct error *e, void *data);

/* @done once, never before this returns. NULL with @e set. Errors are "online cpus: failed to online N CPU(s) after
 * 100 retries" and "online memory: …". */
struct online *online_start(struct loop *loop, const char *root, const struct online_request *request,
			    online_done done, void *data, struct error *e);
/* Its `done` is not called any more. Takes NULL. */
void online_cancel(struct online *online);

/* One pass over CPUs; blocking. Number of CPUs online after it, or -errno. */
int online_cpus_once(const char *root, uint32_t want);
/* One pass over memory blocks; blocking. What refuses is skipped. 0 or -errno when the directory cannot be read. */
int online_memory_once(const char *root);
/* CPUs in a list such as "0-3,5"; -EINVAL for what is not one. */
int cpu_list_count(const char *list);

/* Onlines memory blocks by itself when the kernel announces them. NULL when memory is out. */
struct memory_onliner;
struct memory_onliner *memory_onliner_new(struct loop *loop, struct uevents *uevents, const char *root);
void memory_onliner_free(struct memory_onliner *onliner);

/* *@bytes is 0 where the kernel has no memory hot-plug. "Invalid block size" for an unreadable number. 0 or -errno. */
int memory_block_size(const char *root, uint64_t *bytes, struct error *e);
int memory_probe_supported(const char *root, bool *supported, struct error *e);
/* Tells the kernel of memory at each address (0x + upper-case hex into `probe`). The first failure ends it. */
int memory_probe(const char *root, const uint64_t *addresses, size_t count, struct error *e);
/* The same in a job: the kernel makes its structures for each block while the writer waits. @addresses must live until this
 * returns only. @done as above. 0 or -errno with @e set. */
int memory_probe_start(struct loop *loop, const char *root, const uint64_t *addresses, size_t count,
		       online_done done, void *data, struct error *e);

#endif
