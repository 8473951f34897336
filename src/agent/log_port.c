/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/log_port.h"

#include "base/fd.h"
#include "base/log.h"

enum { READERS_MAX = 64 };

void log_port_accepted(int fd, const struct sockaddr *peer, void *data)
{
	if (log_sink_count() >= READERS_MAX) {
		fd_close(fd);
		log_warning("root", "too many readers of the log");
		return;
	}
	if (!log_sink_new(fd, true))
		log_warning("root", "no memory for a reader of the log");
}

struct port *log_port_new(struct loop *loop, uint32_t number, struct error *e)
{
	return port_new(loop, number, log_port_accepted, NULL, e);
}
