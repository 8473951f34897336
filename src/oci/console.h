/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_CONSOLE_H
#define OCI_CONSOLE_H

/* The console socket: whoever asked for a terminal listens there for its master. */

#include "base/error.h"

/* Connected SOCK_STREAM descriptor, or -errno with @e set. */
int console_connect(const char *path, struct error *e);

#endif
