/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container sees a directory, not the socket itself, so that `start` can put a new socket where `create`, which has
 * ended since, had its own.
 */
#include "oci/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "oci/bundle.h"
#include "proto/proto.h"

#define DIRECTORY "notify"
#define SOCKET DIRECTORY "/notify.sock"
#define INSIDE "/run/notify"

static int bind_socket(struct notify *notify, const struct state_dir *dir, struct error *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)unlinkat(dir->fd, SOCKET, 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" SOCKET, dir->fd);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(e, errno, "make the container's notify socket");
	/* Whoever the program runs as. */
	(void)fchmodat(dir->fd, SOCKET, 0777, 0);
	notify->fd = fd_steal(&fd);
	return 0;
}

static int add_mount(Grpc__Spec *spec, const char *source, struct arena *arena)
{
	Grpc__Mount **mounts = arena_array(arena, spec->n_mounts + 1, sizeof(*mounts));
	Grpc__Mount *mount = proto_new(&grpc__mount__descriptor, arena);
	char **mount_options = arena_array(arena, 4, sizeof(*mount_options));

	if (!mounts || !mount || !mount_options)
		return -ENOMEM;
	mount_options[0] = (char *)"bind";
	mount_options[1] = (char *)"nosuid";
	mount_options[2] = (char *)"noexec";
	mount_options[3] = (char *)"nodev";
	mount->destination = (char *)INSIDE;
	mount->type = (char *)"bind";
	mount->source = (char *)source;
	mount->options = mount_options;
	mount->n_options = 4;
	if (spec->n_mounts)
		memcpy(mounts, spec->mounts, spec->n_mounts * sizeof(*mounts));
	mounts[spec->n_mounts++] = mount;
	spec->mounts = mounts;
	return 0;
}

int notify_prepare(struct notify *notify, const struct state_dir *dir, Grpc__Spec *spec, struct arena *arena,
		   struct error *e)
{
	char link[32], root[4096];

	if (str_is_empty(getenv("NOTIFY_SOCKET")) || !spec->process)
		return 0;
	if (mkdirat(dir->fd, DIRECTORY, 0755) < 0 && errno != EEXIST)
		return error_errno(e, errno, "make the container's notify socket");
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", dir->fd);
	ssize_t length = readlink(link, root, sizeof(root) - 1);
	if (length < 0)
		return error_errno(e, errno, "find the state directory");
	root[length] = '\0';
	const char *source = arena_printf(arena, "%s/" DIRECTORY, root);
	if (!source || add_mount(spec, source, arena) < 0 ||
	    process_add_env(spec->process, "NOTIFY_SOCKET=" INSIDE "/notify.sock", arena) < 0)
		return error_errno(e, ENOMEM, "announce the notify socket");
	return bind_socket(notify, dir, e);
}

int notify_open(struct notify *notify, const struct state_dir *dir, struct error *e)
{
	if (str_is_empty(getenv("NOTIFY_SOCKET")) || faccessat(dir->fd, DIRECTORY, F_OK, 0) < 0)
		return 0;
	return bind_socket(notify, dir, e);
}

/* To systemd. Best effort. */
static void tell(const char *text)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length = strlen(path);
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (length >= sizeof(address.sun_path) || fd < 0)
		return;
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
}

/* Reads one message. Was it readiness? */
static bool is_ready(int fd)
{
	char text[4096];
	ssize_t length = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (length <= 0)
		return false;
	text[length] = '\0';
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, "READY=1", 7) == 0 && (line[7] == '\0' || line[7] == '\n'))
			return true;
	}
	return false;
}

void notify_wait(struct notify *notify, pid_t pid)
{
	char text[64];
	_cleanup_fd_ int pidfd = notify->fd < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd fds[] = {{.fd = notify->fd, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};

	while (pidfd >= 0) {
		if (poll(fds, array_length(fds), -1) < 0 && errno != EINTR)
			return;
		if (fds[0].revents && is_ready(notify->fd))
			break;
		if (fds[1].revents)
			return;
	}
	if (pidfd < 0)
		return;
	(void)snprintf(text, sizeof(text), "MAINPID=%d\nREADY=1", (int)pid);
	tell(text);
}

static void on_message(struct loop_fd *source, uint32_t events)
{
	struct notify *notify = container_of(source, struct notify, source);

	if (!is_ready(notify->fd))
		return;
	tell("READY=1");
	notify_unfollow(notify);
}

void notify_follow(struct notify *notify, struct loop *loop)
{
	if (notify->fd < 0)
		return;
	(void)loop_fd_add(loop, &notify->source, notify->fd, EPOLLIN, on_message);
}

void notify_unfollow(struct notify *notify)
{
	loop_fd_remove(&notify->source);
}

void notify_deinit(struct notify *notify)
{
	notify_unfollow(notify);
	notify->fd = fd_close(notify->fd);
}
