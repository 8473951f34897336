/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening socket, and its file.
 *
 * A socket file is bound under a temporary name and listens before it is renamed to its own: nobody ever sees
 * a file that does not answer, and a dead one of an earlier run is replaced in one step. Whether the old one
 * is dead is asked of it: a connect() that is refused. A file that is not a socket is never replaced.
 *
 * Where accept() fails for want of descriptors or memory, it would fail again at once: it pauses. So it does while there
 * are as many connections as there may be, each of which costs memory that its peer decides about.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "ttrpc/listener.h"

enum {
	BACKLOG = 128,
	ACCEPTS_PER_ROUND = 16,
	PAUSE_MS = 100,
};

static void on_pause_end(struct loop_timer *timer)
{
	struct listener *listener = container_of(timer, struct listener, pause);

	if (loop_fd_modify(&listener->source, EPOLLIN) < 0)
		loop_timer_set(listener->server->loop, &listener->pause, PAUSE_MS, on_pause_end);
}

static int take_connection(struct listener *listener)
{
	if (listener->server->n_connections >= SERVER_CONNECTIONS_MAX)
		return -EUSERS;
	int fd = accept4(listener->source.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	return fd < 0 ? -errno : connection_new(listener->server, fd);
}

static void on_connection(struct loop_fd *source, uint32_t events)
{
	struct listener *listener = container_of(source, struct listener, source);

	for (int i = 0; i < ACCEPTS_PER_ROUND; i++) {
		int r = take_connection(listener);

		if (r == -EAGAIN)
			return;
		if (r == 0)
			listener->failing = false;
		if (r == 0 || r == -EINTR || r == -ECONNABORTED)
			continue;
		if (!listener->failing)
			log_warning("ttrpc", "cannot accept a connection", "error", error_name(-r));
		listener->failing = true;
		loop_fd_modify(source, 0);
		loop_timer_set(listener->server->loop, &listener->pause, PAUSE_MS, on_pause_end);
		return;
	}
}

/* 1: somebody listens there; 0: nobody does, or there is nothing; -EEXIST: it is something else. */
static int probe(const struct ttrpc_address *address)
{
	_cleanup_fd_ int fd = -1;
	struct stat st;

	if (lstat(address->path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address->storage, address->length) == 0)
		return 1;
	if (errno == ECONNREFUSED || errno == ENOENT)
		return 0;
	/* A full backlog, a datagram socket, …: somebody is there. */
	return 1;
}

/* A name beside @path, short enough for sun_path by way of @directory, which stays open for it. */
static int bind_beside(int fd, const char *path, int *directory, char *name, size_t size)
{
	const char *slash = strrchr(path, '/');
	size_t parent_length = slash ? (size_t)(slash - path) + 1 : 2;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char parent[sizeof(sun.sun_path)];

	if (parent_length >= sizeof(parent))
		return -ENAMETOOLONG;
	memcpy(parent, slash ? path : "./", parent_length);
	parent[parent_length] = '\0';
	*directory = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*directory < 0)
		return -errno;
	if ((size_t)snprintf(name, size, ".ttrpc-%d", (int)getpid()) >= size)
		return -ENAMETOOLONG;
	if ((size_t)snprintf(sun.sun_path, sizeof(sun.sun_path), "/proc/self/fd/%d/%s", *directory, name) >=
	    sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	if (unlinkat(*directory, name, 0) < 0 && errno != ENOENT)
		return -errno;
	return bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0 ? -errno : 0;
}

/* Binds to the file, listens, and takes the file for the listener's own. */
static int listen_file(struct listener *listener, int fd, const struct ttrpc_address *address)
{
	_cleanup_fd_ int directory = -1;
	struct stat st;
	char name[32];
	int r = probe(address);

	if (r != 0)
		return -EADDRINUSE;
	listener->path = strdup(address->path);
	if (!listener->path)
		return -ENOMEM;
	r = bind_beside(fd, address->path, &directory, name, sizeof(name));
	if (r == 0 && (listen(fd, BACKLOG) < 0 || fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		       renameat(directory, name, AT_FDCWD, address->path) < 0)) {
		r = -errno;
		unlinkat(directory, name, 0);
	}
	if (r < 0) {
		free(steal_pointer(listener->path));
		return r;
	}
	listener->device = st.st_dev;
	listener->inode = st.st_ino;
	return 0;
}

static int listen_address(struct listener *listener, int fd, const struct ttrpc_address *address)
{
	if (address->path[0] != '\0')
		return listen_file(listener, fd, address);
	if (bind(fd, (const struct sockaddr *)&address->storage, address->length) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -errno;
	return 0;
}

int listener_new(struct ttrpc_server *server, const char *text, struct error *e)
{
	struct ttrpc_address address;
	struct listener *listener;
	_cleanup_fd_ int fd = -1;
	int r = ttrpc_address_parse(text, &address, e);

	if (r < 0)
		return r;
	if (address.hybrid_port != 0)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "cannot listen on \"%s\"", text);
	fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_errno(e, errno, "listen on \"%s\": socket", text);
	listener = calloc(1, sizeof(*listener));
	if (!listener)
		return error_errno(e, ENOMEM, "listen on \"%s\"", text);
	listener->server = server;
	listener->source.fd = -1;
	list_init(&listener->link);
	r = listen_address(listener, fd, &address);
	if (r == 0)
		r = loop_fd_add(server->loop, &listener->source, fd, EPOLLIN, on_connection);
	if (r < 0) {
		listener_free(listener);
		return error_errno(e, -r, "listen on \"%s\"", text);
	}
	listener->source.fd = fd_steal(&fd);
	list_append(&server->listeners, &listener->link);
	return 0;
}

static void remove_file(struct listener *listener)
{
	struct stat st;

	if (!listener->path || lstat(listener->path, &st) < 0)
		return;
	if (st.st_dev == listener->device && st.st_ino == listener->inode)
		unlink(listener->path);
}

void listener_free(struct listener *listener)
{
	int fd = listener->source.loop ? listener->source.fd : -1;

	remove_file(listener);
	loop_timer_remove(&listener->pause);
	loop_fd_remove(&listener->source);
	list_remove(&listener->link);
	fd_close(fd);
	free(listener->path);
	free(listener);
}
