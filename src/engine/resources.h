/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_RESOURCES_H
#define ENGINE_RESOURCES_H

/* The wire's LinuxResources → plain struct cgroup_resources of src/cgroup. */

#include "base/arena.h"
#include "base/error.h"
#include "cgroup/cgroup.h"
#include "proto/oci.pb-c.h"

/*
 * The operator's switch for device access. Hosts strip all device rules before the guest sees them, those of
 * privileged containers too, and give no sign of it: so by default only a list that denies something is
 * enforced.
 */
enum resources_devices {
	RESOURCES_DEVICES_AUTO, /* as asked for, if the list denies something */
	RESOURCES_DEVICES_OFF,	/* never restricted */
	RESOURCES_DEVICES_ON, /* at create always: nothing but the list, the spec's nodes and the defaults */
};
void resources_set_devices(enum resources_devices mode);

/*
 * Everything that @out points to lives in @arena or in @in. Range checks name the property. 0 or -EINVAL. @in
 * may be NULL (all absent). @wire: from a Kata host, whose zeros are absent (pids). To a device list that is enforced, the devices that every OCI container has
 * (null, zero, full, random, urandom, tty, console, ptmx, pts, net/tun, and making nodes) are added last, so
 * that no rule takes them away.
 */
int resources_convert(const Grpc__LinuxResources *in, bool wire, struct arena *arena,
		      struct cgroup_resources *out, struct error *e);

/*
 * For a new container, after resources_convert(): where the operator wants devices restricted always, denies
 * all but @out's own rules, @nodes (linux.devices of the spec) and the defaults. Else nothing. 0 or -ENOMEM.
 */
int resources_restrict_devices(struct cgroup_resources *out, Grpc__LinuxDevice *const *nodes, size_t n_nodes,
			       struct arena *arena, struct error *e);

#endif
