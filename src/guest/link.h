/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_LINK_H
#define GUEST_LINK_H

/* One network link's state, for the guest's start. */

#include "base/error.h"

/* Sets the link named @name up. 0 or -errno with @e set (ENODEV when there is none). */
int link_up(const char *name, struct error *e);

#endif
