/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_LSM_H
#define ENGINE_LSM_H

/*
 * SELinux and AppArmor by their kernel files; no library. Labels are written through a procfs of our own (@proc: a
 * descriptor of its root), never through the container's /proc, which an image could have forged.
 */

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "proto/oci.pb-c.h"

/* The kernel has SELinux and a policy is loaded. */
bool selinux_enabled(void);
/* The kernel has AppArmor and it is on. */
bool apparmor_enabled(void);

/* USER:ROLE:TYPE[:LEVEL], each part of letters, digits, `_`, `.`, `-`; the level also `:` and `,`. */
bool selinux_label_valid(const char *label);

/*
 * [parent] Can what `process` and `linux` ask for be had here? SELinux label without SELinux, an AppArmor profile that
 * is not loaded or without AppArmor: FAILED_PRECONDITION with the name. "" and NULL ask for nothing, nor does
 * AppArmor's "unconfined" where there is no AppArmor. @process and @linux may be NULL. 0 or -errno.
 */
int lsm_check(const Grpc__Process *process, const Grpc__Linux *linux, struct error *e);

/*
 * [parent] Hosts send the profile of their own machine's container engine, which a guest hardly has, and the reference
 * ignores it (reference 04): one that is not loaded here is taken out of @process (may be NULL), with a warning that
 * names the container @id. Never fails.
 */
void lsm_drop_profile(Grpc__Process *process, const char *id);

/* [child] What the next execve(2) runs under. NULL and "": nothing. 0 or -errno. */
int lsm_set_exec(int proc, const char *apparmor_profile, const char *selinux_label, struct error *e);

/* [child] Label of keys made from now on (NULL: the default again). Without SELinux: nothing. 0 or -errno. */
int selinux_key_label(int proc, const char *label, struct error *e);

/*
 * Is a new file system of @type to be mounted with context=@label? proc, sysfs, mqueue, cgroup file systems and binds take
 * none; nothing does without SELinux or a label (NULL, "").
 */
bool selinux_takes_context(const char *type, const char *label);
/*
 * Mount data with `context="LABEL"` added, where selinux_takes_context(); @data itself otherwise. In @arena; NULL when memory
 * is out; @data may be NULL or "".
 */
const char *selinux_mount_data(const char *type, const char *data, const char *label, struct arena *arena);
/* mqueue: labelled by an extended attribute after mounting. The path's mount is @fd. 0 or -errno. */
int selinux_label_mount(int fd, const char *type, const char *label, struct error *e);

#endif
