/* SPDX-License-Identifier: Apache-2.0 */
/* Reading bundles, and the little files around a container. */
#include "oci/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/str.h"
#include "proto/json.h"

enum { OBJECT_MAX = 16 << 20 };

char *bundle_path(const char *path, struct error *e)
{
	char *absolute = realpath(str_is_empty(path) ? "." : path, NULL);

	if (!absolute)
		error_errno(e, errno, "bundle \"%s\"", str_is_empty(path) ? "." : path);
	return absolute;
}

/* Regular files, pipes, stdin. */
static int read_whole(int fd, struct buf *out)
{
	for (;;) {
		uint8_t *room = buf_reserve(out, 16 << 10);
		if (!room)
			return -ENOMEM;
		ssize_t n = read(fd, room, 16 << 10);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		buf_commit(out, (size_t)n);
		if (out->length > OBJECT_MAX)
			return -EFBIG;
	}
}

void *bundle_load_object(const ProtobufCMessageDescriptor *descriptor, const char *path, struct arena *arena,
			 struct error *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	bool standard = strcmp(path, "-") == 0;
	_cleanup_fd_ int fd =
		standard ? fcntl(0, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int r = fd < 0 ? -errno : read_whole(fd, &text);

	if (r < 0) {
		error_errno(e, -r, "open %s", path);
		return NULL;
	}
	void *object = json_decode(descriptor, (const char *)buf_begin(&text), text.length, false, arena, e);
	if (!object)
		error_prefix(e, "%s", path);
	return object;
}

Grpc__Spec *bundle_load(const char *bundle, const char *config, struct arena *arena, struct error *e)
{
	const char *path = !config ? arena_printf(arena, "%s/config.json", bundle)
			   : config[0] == '/' || strcmp(config, "-") == 0
				   ? config
				   : arena_printf(arena, "%s/%s", bundle, config);

	if (!path) {
		error_errno(e, ENOMEM, "load the configuration");
		return NULL;
	}
	Grpc__Spec *spec = bundle_load_object(&grpc__spec__descriptor, path, arena, e);
	if (spec && spec->root && !str_is_empty(spec->root->path) && spec->root->path[0] != '/') {
		spec->root->path = arena_printf(arena, "%s/%s", bundle, spec->root->path);
		if (!spec->root->path) {
			error_errno(e, ENOMEM, "load the configuration");
			return NULL;
		}
	}
	return spec;
}

int process_add_env(Grpc__Process *process, const char *entry, struct arena *arena)
{
	char **env = arena_array(arena, process->n_env + 1, sizeof(*env));
	char *copy = arena_strdup(arena, entry);

	if (!env || !copy)
		return -ENOMEM;
	if (process->n_env)
		memcpy(env, process->env, process->n_env * sizeof(*env));
	env[process->n_env++] = copy;
	process->env = env;
	return 0;
}

int pid_file_write(const char *path, pid_t pid, struct error *e)
{
	_cleanup_free_ char *temporary = NULL;
	char text[16];

	(void)snprintf(text, sizeof(text), "%d", (int)pid);
	if (asprintf(&temporary, "%s.%d.tmp", path, (int)getpid()) < 0) {
		temporary = NULL;
		return error_errno(e, ENOMEM, "write the pid file");
	}
	_cleanup_fd_ int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
	int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0 && fd >= 0)
		(void)unlink(temporary);
	return r < 0 ? error_errno(e, -r, "write the pid file \"%s\"", path) : 0;
}
