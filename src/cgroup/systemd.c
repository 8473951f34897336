/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/internal.h"
#include <errno.h>
int systemd_start(struct cgroup *cg, pid_t pid, struct error *e)
{
	return error_set(e, STATUS_UNAVAILABLE, ENOSYS, "systemd is not reachable");
}
int systemd_set(struct cgroup *cg, const struct cgroup_resources *resources, struct error *e)
{
	return error_set(e, STATUS_UNAVAILABLE, ENOSYS, "systemd is not reachable");
}
int systemd_freeze(struct cgroup *cg, bool freeze, struct error *e)
{
	return error_set(e, STATUS_UNAVAILABLE, ENOSYS, "systemd is not reachable");
}
void systemd_stop(struct cgroup *cg)
{
}
