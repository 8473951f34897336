/* SPDX-License-Identifier: Apache-2.0 */

/* The kind of a hook is the name of the directory that its path is in, so a list of paths is all there is to keep. */

#include "agent/guest_hooks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

enum { SCAN_DEADLINE_MS = 10000 };

static const char *const kinds[] = {"prestart", "poststart", "poststop"};

/* --- in the child --- */

static bool is_hook(int directory, const char *name)
{
	struct stat st;
	return fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       (st.st_mode & 0111) && utf8_valid(name, strlen(name));
}

static void scan_kind(struct buf *result, const char *directory, const char *kind)
{
	_cleanup_free_ char *path = NULL;
	struct dirent **names;
	if (asprintf(&path, "%s/%s", directory, kind) < 0) {
		path = NULL;
		return;
	}
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int count = fd < 0 ? -1 : scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		if (is_hook(fd, names[i]->d_name)) {
			buf_printf(result, "%s/%s", path, names[i]->d_name);
			buf_append_char(result, '\0');
		}
		free(names[i]);
	}
	if (count >= 0)
		free(names);
}

static int job_scan(struct buf *result, void *argument, struct error *e)
{
	(void)e;
	for (size_t i = 0; i < array_length(kinds); i++)
		scan_kind(result, argument, kinds[i]);
	return 0;
}

/* --- in the parent --- */

struct job *guest_hooks_scan(struct loop *loop, const char *directory, job_done_fn done, void *data,
			     struct error *e)
{
	struct job_options options = {.name = "scan guest hooks", .deadline_ms = SCAN_DEADLINE_MS};
	return job_start(loop, &options, job_scan, (void *)directory, done, data, e);
}

void guest_hooks_set(struct guest_hooks *hooks, struct buf *found)
{
	guest_hooks_deinit(hooks);
	if (found->length == 0 || buf_begin(found)[found->length - 1] != '\0')
		return;
	hooks->paths = *found;
	*found = BUF_INIT;
}

void guest_hooks_deinit(struct guest_hooks *hooks)
{
	buf_deinit(&hooks->paths);
}

/* "prestart" of "/dir/prestart/name"; *@name is "name". */
static size_t kind_of(const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	for (size_t i = 0; slash && i < array_length(kinds); i++) {
		size_t length = strlen(kinds[i]);
		if ((size_t)(slash - path) <= length || slash[-(ptrdiff_t)length - 1] != '/')
			continue;
		if (memcmp(slash - length, kinds[i], length) != 0)
			continue;
		*name = slash + 1;
		return i;
	}
	return array_length(kinds);
}

static Grpc__Hook *make_hook(const char *path, const char *name, const char *kind, struct arena *arena)
{
	Grpc__Hook *hook = arena_new_object(arena, Grpc__Hook);
	char **args = arena_array(arena, 2, sizeof(*args));
	if (!hook || !args)
		return NULL;
	grpc__hook__init(hook);
	hook->path = arena_strdup(arena, path);
	hook->args = args;
	hook->n_args = 2;
	args[0] = arena_strdup(arena, name);
	args[1] = arena_strdup(arena, kind);
	return hook->path && args[0] && args[1] ? hook : NULL;
}

static int append(Grpc__Hook ***list, size_t *count, Grpc__Hook *hook, struct arena *arena)
{
	Grpc__Hook **grown = arena_array(arena, *count + 1, sizeof(*grown));
	if (!grown || !hook)
		return -ENOMEM;
	for (size_t i = 0; i < *count; i++)
		grown[i] = (*list)[i];
	grown[(*count)++] = hook;
	*list = grown;
	return 0;
}

int guest_hooks_append(const struct guest_hooks *hooks, Grpc__Spec *spec, struct arena *arena)
{
	const char *at = (const char *)buf_begin(&hooks->paths), *end = at + hooks->paths.length;
	if (hooks->paths.length == 0)
		return 0;
	if (!spec->hooks) {
		spec->hooks = arena_new_object(arena, Grpc__Hooks);
		if (!spec->hooks)
			return -ENOMEM;
		grpc__hooks__init(spec->hooks);
	}
	Grpc__Hooks *to = spec->hooks;
	Grpc__Hook ***lists[] = {&to->prestart, &to->poststart, &to->poststop};
	size_t *counts[] = {&to->n_prestart, &to->n_poststart, &to->n_poststop};
	for (; at < end; at += strlen(at) + 1) {
		const char *name;
		size_t kind = kind_of(at, &name);
		if (kind == array_length(kinds))
			continue;
		int r = append(lists[kind], counts[kind], make_hook(at, name, kinds[kind], arena), arena);
		if (r < 0)
			return r;
	}
	return 0;
}
