/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Installing a seccomp program, and handing its listener to the agent that the profile names.
 *
 * A filter that notifies stops its own process at the first trapped call until the agent answers, and the agent cannot
 * answer before it has the listener. So the listener is sent by somebody who is not under the filter: a helper process
 * that shares our descriptor table and one page of memory. It learns the listener's number from that page (no system
 * call of ours is needed for it), sends it, and exits.
 */
#include "engine/seccomp_filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/str.h"
#include "engine/oci_state.h"
#include "engine/seccomp_program.h"

int seccomp_connect_listener(const Grpc__LinuxSeccomp *in, struct error *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = str_or_empty(in->listenerpath);
	size_t length = strlen(path);

	if (length == 0)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL,
				 "linux.seccomp.listenerPath: SCMP_ACT_NOTIFY is used, so it must be set");
	if (length >= sizeof(address.sun_path))
		return error_set(e, STATUS_INVALID_ARGUMENT, ENAMETOOLONG,
				 "linux.seccomp.listenerPath: \"%s\" is too long", path);
	memcpy(address.sun_path, path, length);
	/* Whoever does not accept must not keep us: we are in the loop. */
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_errno(e, errno, "linux.seccomp.listenerPath: socket");
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(e, errno, "linux.seccomp.listenerPath: connect to \"%s\"", path);
	int r = fd_nonblock(fd, false);
	return r < 0 ? error_errno(e, -r, "linux.seccomp.listenerPath") : fd_steal(&fd);
}

char *seccomp_process_state(const Grpc__LinuxSeccomp *in, pid_t pid, const char *state_json)
{
	struct buf out = BUF_INIT;

	buf_printf(&out, "{\"ociVersion\":\"%s\",\"fds\":[\"seccompFd\"],\"pid\":%d,",
		   OCI_RUNTIME_SPEC_VERSION, (int)pid);
	if (in->listenermetadata) {
		buf_append_string(&out, "\"metadata\":");
		json_append_quoted(&out, in->listenermetadata);
		buf_append_char(&out, ',');
	}
	buf_append_string(&out, "\"state\":");
	buf_append_string(&out, state_json);
	buf_append_char(&out, '}');
	const char *text = out.failed ? NULL : buf_string(&out);
	char *copy = text ? strdup(text) : NULL;
	buf_deinit(&out);
	return copy;
}

struct shared {
	atomic_int listener; /* 0: not yet; > 0: descriptor; < 0: there is none */
	atomic_int result;   /* 0 or a positive errno */
};

static void helper(struct shared *shared, int socket_fd, const char *state)
{
	const struct timespec pause = {.tv_nsec = 50 * 1000};
	int listener;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	while ((listener = atomic_load(&shared->listener)) == 0)
		nanosleep(&pause, NULL);
	if (listener < 0)
		_exit(0);
	size_t length = strlen(state);
	ssize_t sent = fd_send(socket_fd, state, length, &listener, 1);
	int r = sent < 0 ? (int)sent : fd_write_all(socket_fd, state + sent, length - (size_t)sent);
	atomic_store(&shared->result, -r);
	_exit(0);
}

static long load(const struct seccomp_filter *filter)
{
	struct sock_fprog program = {.len = filter->count, .filter = (struct sock_filter *)filter->code};
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, filter->flags, &program);
}

static int load_with_listener(const struct seccomp_filter *filter, int socket_fd, const char *state,
			      struct error *e)
{
	struct shared *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return error_errno(e, errno, "seccomp: memory for the listener's helper");
	/* No exit signal: nothing but our own wait learns of it. */
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES, NULL, NULL, NULL, NULL);
	if (pid < 0) {
		int errnum = errno;
		munmap(shared, sizeof(*shared));
		return error_errno(e, errnum, "seccomp: start the listener's helper");
	}
	if (pid == 0)
		helper(shared, socket_fd, state);
	long listener = load(filter);
	int errnum = errno;
	atomic_store(&shared->listener, listener < 0 ? -1 : (int)listener);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	int result = atomic_load(&shared->result);
	munmap(shared, sizeof(*shared));
	if (listener < 0)
		return error_errno(e, errnum, "seccomp: load the filter");
	fd_close((int)listener);
	return result ? error_errno(e, result, "seccomp: send the listener to its agent") : 0;
}

int seccomp_install(const struct seccomp_filter *filter, int listener, const char *process_state,
		    struct error *e)
{
	if (!filter)
		return 0;
	if (filter->notifies)
		return load_with_listener(filter, listener, process_state, e);
	if (load(filter) < 0)
		return error_errno(e, errno, "seccomp: load the filter");
	return 0;
}
