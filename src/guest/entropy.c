/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entropy from the host.
 *
 * The reference counts bytes where the kernel counts bits, and in a second call, between which another guest of the
 * same snapshot could have drawn; RNDADDENTROPY mixes and counts in one. The kernel takes any length, but holds it in one
 * allocation, so it is fed piece by piece.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "guest/entropy.h"

enum { PIECE = 512 };

static int entropy_add(int fd, const unsigned char *data, size_t length)
{
	/* rand_pool_info ends in a flexible array: the bytes lie right behind it. */
	_Alignas(struct rand_pool_info) unsigned char room[sizeof(struct rand_pool_info) + PIECE];
	struct rand_pool_info *info = (struct rand_pool_info *)room;
	int r;

	info->entropy_count = (int)length * 8;
	info->buf_size = (int)length;
	memcpy(room + sizeof(*info), data, length);
	r = ioctl(fd, RNDADDENTROPY, info) < 0 ? -errno : 0;
	explicit_bzero(room, sizeof(room));
	return r;
}

int entropy_reseed(const void *data, size_t length, struct error *e)
{
	_cleanup_fd_ int fd = -1;
	const unsigned char *from = data;
	int r;

	if (length == 0)
		return error_set(e, STATUS_INTERNAL, EINVAL, "missing entropy data");
	fd = open("/dev/random", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, errno, "open /dev/random");
	for (size_t at = 0; at < length; at += PIECE) {
		r = entropy_add(fd, from + at, length - at < PIECE ? length - at : PIECE);
		if (r < 0)
			return error_errno(e, -r, "add entropy");
	}
	if (ioctl(fd, RNDRESEEDCRNG, NULL) < 0)
		return error_errno(e, errno, "reseed the random number generator");
	return 0;
}
