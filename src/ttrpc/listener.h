/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TTRPC_LISTENER_H
#define TTRPC_LISTENER_H

/* A listening socket of a server. Internal to the room. */

#include <sys/stat.h>

#include "ttrpc/address.h"
#include "ttrpc/server.h"

struct listener {
	struct ttrpc_server *server;
	struct list link; /* of server->listeners */
	struct loop_fd source;
	struct loop_timer pause;
	bool failing; /* accept() failed last time, which has been logged */
	char *path;   /* of a socket file that is ours; NULL: none */
	dev_t device;
	ino_t inode;
};

/* As ttrpc_server_listen(). */
int listener_new(struct ttrpc_server *server, const char *address, struct error *e);
/* Closes it and removes its socket file, unless somebody has put another in its place. */
void listener_free(struct listener *listener);

#endif
