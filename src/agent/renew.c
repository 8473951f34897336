/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/renew.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/random.h>

#include "base/fd.h"
#include "base/log.h"
#include "guest/clock.h"
#include "guest/entropy.h"

enum { DEADLINE_MS = 2000, DEVICE_MS = 500, DEVICE_BYTES = 64, TOLERANCE_MS = 1000 };

struct renewal {
	const void *salt;
	size_t length;
};

/* How many bytes the hypervisor's device gave. */
static size_t read_device(unsigned char *bytes, size_t size)
{
	_cleanup_fd_ int fd = open("/dev/hwrng", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t length = 0;
	for (int waited = 0; fd >= 0 && length < size && waited <= DEVICE_MS;) {
		ssize_t n = read(fd, bytes + length, size - length);
		if (n > 0) {
			length += (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			(void)poll(NULL, 0, 10);
			waited += 10;
		} else {
			break;
		}
	}
	return length;
}

/* Mixed in, but not counted: it differs, and is no secret. */
static int stir(const void *salt, size_t length)
{
	_cleanup_fd_ int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	if (fd < 0 || (length > 0 && write(fd, salt, length) < 0))
		return -errno;
	return ioctl(fd, RNDRESEEDCRNG, NULL) < 0 ? -errno : 0;
}

static int renew_entropy(const struct renewal *renewal, struct error *e)
{
	unsigned char bytes[DEVICE_BYTES];
	int r = stir(renewal->salt, renewal->length);
	if (r < 0)
		return error_errno(e, -r, "renew random numbers");
	size_t length = read_device(bytes, sizeof(bytes));
	if (length > 0 && entropy_reseed(bytes, length, e) < 0)
		return error_prefix(e, "renew random numbers");
	explicit_bzero(bytes, sizeof(bytes));
	log_debug("renew", "random numbers renewed", "device-bytes", LOG_NUMBER(length));
	return 0;
}

static int renew_clock(struct error *e)
{
	int64_t stepped = 0;
	int r = clock_resync(TOLERANCE_MS, &stepped, e);
	if (r == -ENODEV)
		return 0;
	if (r == 0 && stepped != 0)
		log_info("renew", "clock set to the hypervisor's", "stepped-ms", LOG_NUMBER(stepped));
	return r;
}

static int renew(struct buf *result, void *argument, struct error *e)
{
	struct error clock = ERROR_INIT;
	int c = renew_clock(&clock);
	int r = renew_entropy(argument, e);
	(void)result;
	if (r == 0 && c < 0) {
		*e = clock;
		r = c;
	}
	return r;
}

struct job *renew_start(struct loop *loop, const void *salt, size_t length, job_done_fn done, void *data,
			struct error *e)
{
	const struct job_options options = {.name = "renew", .deadline_ms = DEADLINE_MS};
	struct renewal renewal = {.salt = salt, .length = length};
	return job_start(loop, &options, renew, &renewal, done, data, e);
}
