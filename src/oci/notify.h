/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_NOTIFY_H
#define OCI_NOTIFY_H

/*
 * Readiness for systemd (sd_notify(3)). When we have a NOTIFY_SOCKET, the container gets one of its own, at
 * /run/notify/notify.sock; a READY=1 on it is passed on, from us, since systemd takes no word from a process that is not of its
 * service. Nothing else that a container says is passed on.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/loop.h"
#include "oci/state_dir.h"
#include "proto/oci.pb-c.h"

struct notify {
	int fd; /* the container's socket; -1: nobody wants to know */
	struct loop_fd source;
};
#define NOTIFY_INIT                                                                                          \
	(struct notify)                                                                                      \
	{                                                                                                    \
		.fd = -1                                                                                     \
	}

/* create: makes the socket, and adds its mount and NOTIFY_SOCKET to @spec. Without our own NOTIFY_SOCKET: nothing. */
int notify_prepare(struct notify *notify, const struct state_dir *dir, Grpc__Spec *spec, struct arena *arena,
		   struct error *e);
/* start: opens the socket that `create` announced. Without one, or without our own NOTIFY_SOCKET: nothing. */
int notify_open(struct notify *notify, const struct state_dir *dir, struct error *e);
/* Waits for readiness, or for the end of @pid, which becomes the service's main process. */
void notify_wait(struct notify *notify, pid_t pid);
/* Passes readiness on while the loop runs; we stay the service's main process. */
void notify_follow(struct notify *notify, struct loop *loop);
void notify_unfollow(struct notify *notify);
void notify_deinit(struct notify *notify);

#endif
