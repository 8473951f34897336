/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/port.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>

#include "base/fd.h"
#include "base/log.h"

enum { BACKLOG = 16, ACCEPTS_A_ROUND = 16, PAUSE_MS = 100 };

struct port {
	struct loop *loop;
	int listener;
	struct loop_fd source;
	struct loop_timer pause;
	port_accepted accepted;
	void *data;
};

static void resume(struct loop_timer *timer)
{
	loop_fd_modify(&container_of(timer, struct port, pause)->source, EPOLLIN);
}

static void on_connection(struct loop_fd *source, uint32_t events)
{
	struct port *port = container_of(source, struct port, source);
	for (int i = 0; i < ACCEPTS_A_ROUND; i++) {
		struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
		socklen_t length = sizeof(peer);
		int fd = accept4(port->listener, (struct sockaddr *)&peer, &length,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			port->accepted(fd, (struct sockaddr *)&peer, port->data);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			log_warning("root", "cannot accept a connection", "error", error_name(errno));
			loop_fd_modify(source, 0);
			loop_timer_set(port->loop, &port->pause, PAUSE_MS, resume);
		}
		return;
	}
}

struct port *port_adopt(struct loop *loop, int listener, port_accepted accepted, void *data, struct error *e)
{
	struct port *port = calloc(1, sizeof(*port));
	int r = port ? fd_nonblock(listener, true) : -ENOMEM;
	if (r == 0) {
		*port = (struct port){.loop = loop, .listener = listener, .accepted = accepted, .data = data};
		r = loop_fd_add(loop, &port->source, listener, EPOLLIN, on_connection);
	}
	if (r < 0) {
		error_errno(e, -r, "listen");
		fd_close(listener);
		free(port);
		return NULL;
	}
	return port;
}

struct port *port_new(struct loop *loop, uint32_t number, port_accepted accepted, void *data, struct error *e)
{
	struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = number};
	_cleanup_fd_ int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, BACKLOG) < 0) {
		error_errno(e, errno, "listen on vsock port %u", number);
		return NULL;
	}
	return port_adopt(loop, fd_steal(&fd), accepted, data, e);
}

void port_free(struct port *port)
{
	if (!port)
		return;
	loop_fd_remove(&port->source);
	loop_timer_remove(&port->pause);
	fd_close(port->listener);
	free(port);
}
