/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pieces of one file carry the same size and mode and different offsets; the agent renames the whole into place when
 * the size is reached. An empty file is one empty piece.
 */
#include "ctl/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "proto/agent.pb-c.h"

enum { PIECE = 1 << 20, MISSING_DIRECTORY = S_IFDIR | 0750 };

static int send_piece(struct agent *agent, const Grpc__CopyFileRequest *request, struct error *e)
{
	struct arena *arena = arena_new(0);
	int r;

	if (!arena)
		return error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
	r = agent_call_name(agent, "CopyFile", request, arena, NULL, e);
	arena_free(arena);
	return r;
}

static int copy_regular(struct agent *agent, const char *source, Grpc__CopyFileRequest *request,
			struct error *e)
{
	_cleanup_fd_ int fd = open(source, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ uint8_t *piece = malloc(PIECE);

	if (fd < 0)
		return error_errno(e, errno, "open \"%s\"", source);
	if (!piece)
		return error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
	request->data.data = piece;
	do {
		ssize_t n = fd_read_all(fd, piece, PIECE);

		if (n < 0)
			return error_errno(e, (int)-n, "read \"%s\"", source);
		/* It must not be waited for what will not come. */
		if (n == 0 && request->offset < request->file_size)
			return error_set(e, STATUS_ABORTED, EIO, "\"%s\" has become shorter", source);
		request->data.len = (size_t)n;
		if (send_piece(agent, request, e) < 0)
			return error_result(e);
		request->offset += n;
	} while (request->offset < request->file_size);
	return 0;
}

static int copy_link(struct agent *agent, const char *source, Grpc__CopyFileRequest *request, struct error *e)
{
	char target[PATH_MAX];
	ssize_t n = readlink(source, target, sizeof(target));

	if (n < 0 || n == sizeof(target))
		return error_errno(e, n < 0 ? errno : ENAMETOOLONG, "read link \"%s\"", source);
	request->data.data = (uint8_t *)target;
	request->data.len = (size_t)n;
	request->file_size = n;
	return send_piece(agent, request, e);
}

int copy_file(struct agent *agent, const char *source, const char *target, struct error *e)
{
	Grpc__CopyFileRequest request = GRPC__COPY_FILE_REQUEST__INIT;
	struct stat st;

	if (lstat(source, &st) < 0)
		return error_errno(e, errno, "\"%s\"", source);
	request.path = (char *)(uintptr_t)target;
	request.file_mode = st.st_mode;
	request.dir_mode = MISSING_DIRECTORY;
	request.uid = (int32_t)st.st_uid;
	request.gid = (int32_t)st.st_gid;
	if (S_ISDIR(st.st_mode))
		return send_piece(agent, &request, e);
	if (S_ISLNK(st.st_mode))
		return copy_link(agent, source, &request, e);
	if (!S_ISREG(st.st_mode))
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "\"%s\" is no file, link or directory",
				 source);
	request.file_size = st.st_size;
	return copy_regular(agent, source, &request, e);
}
