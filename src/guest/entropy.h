/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_ENTROPY_H
#define GUEST_ENTROPY_H

/* The kernel's random number generator. */

#include <stddef.h>

#include "base/error.h"

/*
 * ReseedRandomDev: mixes @data in, counted as full entropy (RNDADDENTROPY, 8 bits a byte), and has the generator reseed
 * from it at once. Needs CAP_SYS_ADMIN. No data: "missing entropy data". 0 or -errno with @e set. See random(4).
 */
int entropy_reseed(const void *data, size_t length, struct error *e);

#endif
