/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_NETDEVICE_H
#define ENGINE_NETDEVICE_H

/*
 * `linux.netDevices`: network interfaces of ours move into the container's network namespace, keep their permanent global
 * addresses, get their new names and come up. A move is one RTM_NEWLINK (namespace and name together); addresses, which the
 * kernel drops on the way, are read before and set again inside.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "proto/oci.pb-c.h"

/* A name that the kernel takes: 1 to 15 bytes, no "/", ":" or blank, not "." or "..". */
bool netdevice_name_valid(const char *name);

/*
 * Moves @devices from the caller's network namespace into the one of descriptor @netns. Changes the calling process's
 * network namespace for a moment: call it in a job or another forked child. 0 or -errno, naming the interface; those
 * moved before a failure are moved back.
 */
int netdevices_move(int netns, Grpc__Linux__NetDevicesEntry *const *devices, size_t count, struct error *e);

#endif
