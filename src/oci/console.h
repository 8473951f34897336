/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_CONSOLE_H
#define OCI_CONSOLE_H

/* The sockets of --console-socket and --pidfd-socket: who started us listens there for a descriptor. */

#include "base/error.h"

/* Connected SOCK_STREAM descriptor, or -errno with @e set. */
int console_connect(const char *path, struct error *e);
/*
 * Sends the descriptor of a process (pidfd_open(2)) to whoever listens at the UNIX socket @path, by SCM_RIGHTS with the
 * bytes "pidfd", as runc's --pidfd-socket does. @pidfd stays the caller's. 0 or -errno with @e set.
 */
int pidfd_send(const char *path, int pidfd, struct error *e);

#endif
