/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_CREDENTIALS_H
#define ENGINE_CREDENTIALS_H

/*
 * Who a process is: user, groups, umask, no_new_privs, capabilities, session keyring, oom_score_adj.
 *
 * Two steps, because a seccomp filter without no_new_privs is installed between them, while CAP_SYS_ADMIN is still there:
 *
 *     credentials_switch()   bounding set, groups, gid, uid; all permitted capabilities kept and effective
 *     (seccomp_install() here, when no_new_privs is not asked for)
 *     credentials_drop()     capset, ambient
 *     (gate, startContainer hooks, and seccomp_install() here when no_new_privs is asked for)
 *
 * All calls are made by the child on itself; it has one thread.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "engine/capabilities.h"
#include "proto/oci.pb-c.h"

struct credentials {
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* borrowed */
	size_t n_groups;
	bool keep_groups; /* setgroups(2) is denied in our user namespace (rootless) and not called */
	mode_t umask;	  /* user.umask, 022 where absent */
	bool no_new_privs;
	struct capabilities capabilities;
};

/* [parent] From `process`; @fallback (the container's own process, or NULL) gives the capabilities where @process has
 * none, and no_new_privs where it has none. Borrows from @process. Allocates nothing. */
void credentials_init(struct credentials *out, const Grpc__Process *process, const Grpc__Process *fallback);

/* [child] 0 or -errno, text naming the step. umask is set too. */
int credentials_switch(const struct credentials *credentials, struct error *e);
/* [child] Gives up everything that is not granted, then sets no_new_privs. 0 or -errno. */
int credentials_drop(const struct credentials *credentials, struct error *e);

/* [child] A new session keyring named after the container, which everybody in the container with that uid may search.
 * Kernels without keyrings, or where keyctl(2) is not allowed: nothing happens. The SELinux label goes through
 * selinux_key_label() before. 0 or -errno (-EDQUOT, -ENOMEM, …). */
int keyring_join(const char *container_id, struct error *e);

/*
 * [child] Writes @value (-1000 … 1000) below the procfs @proc (a descriptor of a procfs's root that can see the caller).
 * @best_effort: no permission to lower it is no error (rootless). 0 or -errno.
 */
int oom_score_adj_write(int proc, int64_t value, bool best_effort, struct error *e);

/* [child] 0, 1 and 2 become @uid's, so that it can reopen them by /proc/self/fd; those that are a null device (char 1:3),
 * or on file systems that refuse, are left alone. 0 or -errno. */
int stdio_own(uid_t uid, struct error *e);

#endif
