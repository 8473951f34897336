/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_NETWORK_PATH_H
#define GUEST_NETWORK_PATH_H

/*
 * Where in the machine a network device is: the host's `devicePath`, held against the kernel's device paths.
 *
 * A PCI path is a walk from the root bus: "02/03" is slot 3 behind the bridge in slot 2, each "SLOT[.FUNCTION]" in
 * hexadecimal. With three or more elements a first one of 20 or more is the number of a root bus other than 00. On s390x it is
 * a CCW id, "0.SET.NUMBER". The walk is compared with the device's own path, in which every bridge is an element too, so
 * that bus numbers, which the kernel gives as it likes, do not matter.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NETWORK_PATH_DEPTH = 16 };

struct network_path {
	bool ccw;
	uint8_t root; /* bus, or the CCW's subchannel set */
	struct {
		uint8_t slot, function;
	} walk[NETWORK_PATH_DEPTH];
	size_t depth;
	uint16_t number; /* of the CCW device */
};

/* 0 or -EINVAL. */
int network_path_parse(const char *text, struct network_path *out);
/* Whether the network device at @devpath ("/devices/…/net/eth0") is the one. */
bool network_path_matches(const struct network_path *path, const char *devpath);

#endif
