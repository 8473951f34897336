/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resource limits by prlimit(2). Values are taken as they are: RLIM_INFINITY of the kernel is the largest 64-bit number,
 * which is also what engines write for "unlimited".
 */
#include "engine/rlimits.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "base/str.h"
#include "engine/validate.h"

/* A login session's limits as systemd and the kernel have them by default. */
enum { LOGIN_NOFILE_SOFT = 1024, LOGIN_NOFILE_HARD = 1048576 };

int rlimits_apply(pid_t pid, Grpc__POSIXRlimit *const *limits, size_t count, struct error *e)
{
	for (size_t i = 0; i < count; i++) {
		const Grpc__POSIXRlimit *in = limits[i];
		int resource = rlimit_resource(in->type);
		if (resource < 0)
			return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
					 "process.rlimits[%zu].type: unknown limit \"%s\"", i,
					 str_or_empty(in->type));
		struct rlimit limit = {.rlim_cur = in->soft, .rlim_max = in->hard};
		if (prlimit(pid, (enum __rlimit_resource)resource, &limit, NULL) < 0)
			return error_errno(e, errno, "process.rlimits[%zu]: set %s to %llu:%llu", i, in->type,
					   (unsigned long long)in->soft, (unsigned long long)in->hard);
	}
	return 0;
}

void rlimits_reset(Grpc__POSIXRlimit *const *limits, size_t count)
{
	struct rlimit limit;

	for (size_t i = 0; i < count; i++) {
		if (rlimit_resource(limits[i]->type) == RLIMIT_NOFILE)
			return;
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max <= LOGIN_NOFILE_HARD)
		return;
	limit = (struct rlimit){.rlim_cur = LOGIN_NOFILE_SOFT, .rlim_max = LOGIN_NOFILE_HARD};
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}
