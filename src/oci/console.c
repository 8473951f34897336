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

int console_connect(const char *path, struct error *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char by_fd[32];
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_fd_ int target = open(path, O_PATH | O_CLOEXEC);

	if (fd < 0 || target < 0)
		return error_errno(e, errno, "open the console socket \"%s\"", path);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path_of_fd(by_fd, target));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(e, errno, "connect to the console socket \"%s\"", path);
	return fd_steal(&fd);
}
