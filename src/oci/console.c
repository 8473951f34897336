/* SPDX-License-Identifier: Apache-2.0 */
/* A path may be longer than a socket address takes, so it is opened first and named by its descriptor. */
#include "oci/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"
#include "base/path.h"

static int connect_to(const char *path, const char *what, struct error *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char by_fd[32];
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_fd_ int target = open(path, O_PATH | O_CLOEXEC);

	if (fd < 0 || target < 0)
		return error_errno(e, errno, "open the %s socket \"%s\"", what, path);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path_of_fd(by_fd, target));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(e, errno, "connect to the %s socket \"%s\"", what, path);
	return fd_steal(&fd);
}

int console_connect(const char *path, struct error *e)
{
	return connect_to(path, "console", e);
}

int pidfd_send(const char *path, int pidfd, struct error *e)
{
	static const char name[] = "pidfd";
	_cleanup_fd_ int fd = connect_to(path, "pidfd", e);

	if (fd < 0)
		return fd;
	/* It has ended already: there is nothing to be sent any more. */
	if (pidfd < 0)
		return 0;
	ssize_t n = fd_send(fd, name, strlen(name), &pidfd, 1);
	return n < 0 ? error_errno(e, (int)-n, "send the pidfd to \"%s\"", path) : 0;
}
