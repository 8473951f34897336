/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What only the parent can do to a process that has just been born, while it sets itself up or waits for GO. With cgroupfs
 * these are a few writes; whatever asks somebody else (systemd, newuidmap) is a job.
 */

#include "engine/placement.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "engine/idmap.h"
#include "engine/netdevice.h"
#include "engine/resources.h"

static Grpc__Linux *linux_of(const struct launch *launch)
{
	return launch->container->spec->linux;
}

/* --- ids --- */

static int map_ids_job(struct buf *result, void *argument, struct error *e)
{
	const struct launch *launch = argument;

	return idmap_write(launch->container->engine->proc, launch->process->pid, linux_of(launch), true,
			   false, e);
}

int placement_map_ids(struct launch *launch, struct error *e)
{
	const struct engine *engine = launch->container->engine;

	if (!(launch->plan.namespaces.created & CLONE_NEWUSER))
		return 0;
	if (idmap_needs_helper(linux_of(launch)))
		return launch_job(launch, "map ids", map_ids_job, e);
	return idmap_write(engine->proc, launch->process->pid, linux_of(launch), false, geteuid() != 0, e);
}

/* --- cgroups --- */

static int attach_job(struct buf *result, void *argument, struct error *e)
{
	const struct launch *launch = argument;
	struct cgroup_resources resources;
	int r = container_resources(launch->container, &resources, e);

	if (r == 0)
		r = cgroup_attach(launch->container->cgroup, launch->process->pid, e);
	if (r == 0)
		r = cgroup_check_owner(launch->container->cgroup, e);
	return r < 0 ? r : cgroup_set(launch->container->cgroup, &resources, e);
}

int placement_enter_cgroup(struct launch *launch, struct error *e)
{
	struct container *container = launch->container;

	launch->plan.cgroup = fd_close(launch->plan.cgroup);
	if (cgroup_driver_of(container->cgroup) == CGROUP_SYSTEMD)
		return launch_job(launch, "enter cgroup", attach_job, e);
	bool there = launch->plan.in_cgroup_at_birth &&
		     cgroup_host_layout(container->engine->cgroups) == CGROUP_V2;
	int r = there ? 0 : cgroup_attach(container->cgroup, launch->process->pid, e);
	/* Another runtime may have found the same one empty: the last of us to take it is in there. */
	return r < 0 ? r : cgroup_check_owner(container->cgroup, e);
}

static int join_cgroup(const struct launch *launch, struct error *e)
{
	struct cgroup *cgroup = launch->container->cgroup;
	pid_t pid = launch->process->pid;

	if (launch->n_cgroups)
		return cgroup_attach_places(cgroup, pid, launch->cgroups, launch->n_cgroups, e);
	return cgroup_attach_exec(cgroup, pid, launch->plan.init_pid, e);
}

static int join_cgroup_job(struct buf *result, void *argument, struct error *e)
{
	return join_cgroup(argument, e);
}

int placement_join_cgroup(struct launch *launch, struct error *e)
{
	struct container *container = launch->container;

	launch->plan.cgroup = fd_close(launch->plan.cgroup);
	if (launch->plan.in_cgroup_at_birth && cgroup_host_layout(container->engine->cgroups) == CGROUP_V2)
		return 0;
	if (cgroup_driver_of(container->cgroup) == CGROUP_SYSTEMD)
		return launch_job(launch, "enter cgroup", join_cgroup_job, e);
	return join_cgroup(launch, e);
}

/* --- the rest --- */

static int set_oom_score(struct launch *launch, struct error *e)
{
	const struct engine *engine = launch->container->engine;
	const Grpc__Process *process = launch->plan.process, *init = launch->container->spec->process;
	bool said = process->has_oomscoreadj;
	int64_t value = said ? process->oomscoreadj : 0;
	char path[64], text[24];

	if (!said && init && init->has_oomscoreadj) {
		said = true;
		value = init->oomscoreadj;
	}
	/* What nobody said is inherited, but for what an agent has for itself. */
	if ((!said && !engine->options.wire) || value == engine->oom_score_adj)
		return 0;
	snprintf(path, sizeof(path), "%d/oom_score_adj", (int)launch->process->pid);
	snprintf(text, sizeof(text), "%d", (int)value);
	int r = file_write(engine->proc, path, text);
	if (r < 0 && !(engine->options.rootless && (r == -EACCES || r == -EPERM)))
		return error_errno(e, -r, "write oom_score_adj %s", text);
	return 0;
}

int placement_enter_rdt(struct launch *launch, struct error *e)
{
	int r = set_oom_score(launch, e);

	return r < 0 ? r : rdt_attach(launch->container->rdt, launch->process->pid, e);
}

static int netdevices_job(struct buf *result, void *argument, struct error *e)
{
	const struct launch *launch = argument;
	const Grpc__Linux *linux = linux_of(launch);
	int joined = namespaces_fd(&launch->plan.namespaces, CLONE_NEWNET);
	char path[64];

	if (joined >= 0)
		return netdevices_move(joined, linux->netdevices, linux->n_netdevices, e);
	snprintf(path, sizeof(path), "%d/ns/net", (int)launch->process->pid);
	_cleanup_fd_ int own = openat(launch->container->engine->proc, path, O_RDONLY | O_CLOEXEC);
	if (own < 0)
		return error_errno(e, errno, "open the network namespace");
	return netdevices_move(own, linux->netdevices, linux->n_netdevices, e);
}

/* A namespace that the child joins by itself may not be its own yet: then its descriptor tells. */
int placement_move_netdevices(struct launch *launch, struct error *e)
{
	const Grpc__Linux *linux = linux_of(launch);

	if (!linux || !linux->n_netdevices)
		return 0;
	return launch_job(launch, "move network devices", netdevices_job, e);
}
