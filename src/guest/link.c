/* SPDX-License-Identifier: Apache-2.0 */
/* A link's IFF_UP flag, by the socket ioctls of netdevice(7): for one flag of one link no netlink is needed. */

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "guest/link.h"

int link_up(const char *name, struct error *e)
{
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};
	size_t length = strlen(name);

	if (length == 0 || length >= sizeof(request.ifr_name))
		return error_set(e, STATUS_INTERNAL, EINVAL, "\"%.64s\" is no name of a link", name);
	/* A guest kernel may come without IPv4. */
	if (fd < 0)
		fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_errno(e, errno, "set link \"%s\" up", name);
	memcpy(request.ifr_name, name, length + 1);
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return error_errno(e, errno, "set link \"%s\" up", name);
	if (request.ifr_flags & IFF_UP)
		return 0;
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return error_errno(e, errno, "set link \"%s\" up", name);
	return 0;
}
