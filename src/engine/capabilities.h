/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_CAPABILITIES_H
#define ENGINE_CAPABILITIES_H

/*
 * The five capability sets of a process: from names to bits, and onto the calling thread.
 *
 * What the kernel has is asked from the kernel by prctl(2), never read from a /proc that somebody may have forged.
 * Capabilities that the kernel lacks, or that we do not have ourselves, cannot be given: they are left out (with a
 * warning, the runtime-spec's rule), so a container loses at most what nobody could have given it.
 */

#include <stdint.h>

#include "base/error.h"
#include "proto/oci.pb-c.h"

struct capabilities {
	uint64_t bounding, effective, inheritable, permitted, ambient; /* bit N: capability N */
};

/* Number of a capability: "CAP_KILL", "KILL", "cap_kill", each also in double quotes. -1 when unknown. */
int capability_number(const char *name);
/* "CAP_KILL", NULL when unknown. */
const char *capability_name(int number);

/* The bits of those that this kernel knows (its bounding set's size); a handful of prctl(2), asked once. */
uint64_t capabilities_known(void);

/* Names to bits. Names that we or the kernel do not know are logged as a warning and skipped. @in NULL: all empty. */
void capabilities_resolve(const Grpc__LinuxCapabilities *in, struct capabilities *out);

/* [child] Drops from the bounding set what @caps does not have. Needs CAP_SETPCAP.
 * 0 or -errno. */
int capabilities_limit_bounding(const struct capabilities *caps, struct error *e);

/* [child] Everything permitted becomes effective (after a uid change with kept capabilities). 0 or -errno. */
int capabilities_raise_effective(struct error *e);

/* [child] Effective, permitted and inheritable in one capset(2), then ambient in ascending order. What the thread may
 * not have (not permitted now) is left out with a warning. 0 or -errno. */
int capabilities_apply(const struct capabilities *caps, struct error *e);

#endif
