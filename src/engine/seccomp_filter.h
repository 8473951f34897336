/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_SECCOMP_FILTER_H
#define ENGINE_SECCOMP_FILTER_H

/*
 * Seccomp: a profile becomes a BPF program in the parent, and is installed by the child with one seccomp(2).
 *
 * Compiling costs milliseconds, and a container, its execs and its pod mostly share one profile: programs are cached by
 * the profile's full content (every field, unambiguously delimited; the hash only finds the place, the content is
 * compared). The cache is bounded. A program is an immutable, reference-counted object.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "proto/oci.pb-c.h"

struct seccomp_filter;

/*
 * [parent] Compiles, or finds in the cache. An errno of 0 in a rule or default is EPERM with @zero_is_absent (a proto3
 * host cannot say "absent" otherwise), and else as it stands. Syscall names that libseccomp or the architecture does not
 * know are skipped. *@out is referenced for the caller, NULL when @in is NULL or there is nothing to filter (everything
 * is allowed). 0, -EINVAL (INVALID_ARGUMENT, property in @e) or -errno.
 */
int seccomp_compile(const Grpc__LinuxSeccomp *in, bool zero_is_absent, struct seccomp_filter **out,
		    struct error *e);
struct seccomp_filter *seccomp_filter_ref(struct seccomp_filter *filter);
/* Takes NULL. */
void seccomp_filter_unref(struct seccomp_filter *filter);
/* Length of the program in bytes. */
size_t seccomp_filter_size(const struct seccomp_filter *filter);
/* Some action is SCMP_ACT_NOTIFY: a listener is needed. */
bool seccomp_filter_notifies(const struct seccomp_filter *filter);
/* Drops what is cached and unused. */
void seccomp_cache_clear(void);

/* [parent] Connects to the profile's listenerPath, in our own mount namespace, before the clone; the child inherits
 * it. Descriptor, or -errno with @e set. */
int seccomp_connect_listener(const Grpc__LinuxSeccomp *in, struct error *e);
/*
 * The OCI container process state that goes with the listener's descriptor. @state_json is the container's state as
 * oci_state_json() makes it; @pid is the process's in our pid namespace. malloc'ed; NULL when memory is out.
 */
char *seccomp_process_state(const Grpc__LinuxSeccomp *in, pid_t pid, const char *state_json);

/*
 * [child] Installs @filter (NULL: nothing to do). With CAP_SYS_ADMIN or no_new_privs. Where the filter notifies,
 * @listener is the socket of seccomp_connect_listener() and @process_state what is sent with the descriptor; the sending
 * is done by a helper that shares the descriptor table and is not under the filter, so that the filter may trap any
 * call. 0 or -errno.
 */
int seccomp_install(const struct seccomp_filter *filter, int listener, const char *process_state,
		    struct error *e);

/* Words of the runtime-spec. -EINVAL/false when unknown. */
bool seccomp_action_known(const char *action);
/* The action carries an errno or message (SCMP_ACT_ERRNO, SCMP_ACT_TRACE). */
bool seccomp_action_has_errno(const char *action);
bool seccomp_architecture_known(const char *architecture);
bool seccomp_operator_known(const char *operator);
bool seccomp_flag_known(const char *flag);

#endif
