/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_RESOURCES_H
#define ENGINE_RESOURCES_H

/* The wire's LinuxResources → plain struct cgroup_resources of src/cgroup. */

#include "base/arena.h"
#include "base/error.h"
#include "cgroup/cgroup.h"
#include "proto/oci.pb-c.h"

/* Everything that @out points to lives in @arena or in @in. Range checks name the property. 0 or -EINVAL. @in may be
 * NULL (all absent). */
int resources_convert(const Grpc__LinuxResources *in, struct arena *arena, struct cgroup_resources *out,
		      struct error *e);

#endif
