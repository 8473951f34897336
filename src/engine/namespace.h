/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_NAMESPACE_H
#define ENGINE_NAMESPACE_H

/*
 * Which namespaces a container's init is made with, and who makes or joins each.
 *
 * The plan is made by the parent, before anything exists. What can be made at once, clone3(2) makes. A joined pid
 * namespace is entered by the parent for the moment of the clone (it only counts for children) and left again; the
 * others are joined by the child itself. The cgroup namespace is unshared by the child once it is in its cgroup.
 *
 * A middle process is needed only where something must be joined before something else can be made: a user namespace
 * that is joined while others are new, or new while others are joined; a new time namespace, whose offsets must be
 * written before it has a member; a joined pid namespace when we have no privilege to leave it again.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "engine/container.h"
#include "proto/oci.pb-c.h"

enum { NAMESPACE_TYPES = 8 };

struct namespaces {
	int created;		  /* CLONE_NEW* */
	int joined;		  /* CLONE_NEW*; its descriptor is in fds */
	int at_clone;		  /* of `created`: by clone3(2) */
	bool middle;		  /* a middle process joins (all of `joined`), then clones */
	bool privileged;	  /* we are root in the initial user namespace, or act so */
	int fds[NAMESPACE_TYPES]; /* by namespace_index(); -1 */
	bool owned[NAMESPACE_TYPES];
};

#define NAMESPACES_INIT                                                                                      \
	(struct namespaces)                                                                                  \
	{                                                                                                    \
		.fds = { -1, -1, -1, -1, -1, -1, -1, -1 }                                                    \
	}

/* [parent] Opens the paths of @spec; @fds (borrowed) win over it. 0 or -errno with @e set. */
int namespaces_plan(struct namespaces *ns, const Grpc__Spec *spec, const struct namespace_fd *fds,
		    size_t count, bool privileged, struct error *e);
void namespaces_deinit(struct namespaces *ns);
/* Descriptor of the namespace CLONE_NEW* @flag that is joined; -1. */
int namespaces_fd(const struct namespaces *ns, int flag);

/* [child or middle process] Joins those of @flags that are to be joined. 0 or -errno, naming the type. */
int namespaces_join(const struct namespaces *ns, int flags, struct error *e);
/* [middle process] A new time namespace for the children, with its offsets. @proc: procfs. 0 or -errno. */
int namespaces_unshare_time(int proc, const Grpc__Linux *linux, struct error *e);
/* [child] Becomes root of the user namespace that it is in, as far as 0 is mapped there. 0 or -errno. */
int namespaces_become_root(struct error *e);

#endif
