/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Knobs: the files of a cgroup's directory.
 *
 * A knob is opened without O_CREAT, so that a missing one says so, and is written in one write(2), because
 * that is what the kernel parses. What went wrong is told with value, file, cgroup and errno, and with the
 * controller that nobody could enable if that is the reason.
 */
#include "cgroup/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

enum { KNOB_TEXT_MAX = 1024, KNOB_READ_MAX = 1 << 20 };

static bool is_denied(int r)
{
	return r == -EACCES || r == -EPERM || r == -EROFS;
}

static int write_text(const struct cgroup_dir *dir, const char *file, const char *text)
{
	int r = file_write(dir->fd, file, text);

	/* Nobody but root may limit: a rootless runtime does without, where the caller said so. */
	return dir->cg->rootless && is_denied(r) ? 0 : r;
}

static int format_text(char **out, const char *format, va_list ap) __attribute__((format(printf, 2, 0)));
static int format_text(char **out, const char *format, va_list ap)
{
	int n = vasprintf(out, format, ap);

	if (n < 0) {
		*out = NULL;
		return -ENOMEM;
	}
	return 0;
}

int knob_error(const struct cgroup_dir *dir, struct error *e, int r, const char *file, const char *value)
{
	const char *dot = strchr(file, '.');
	int c = dot ? controller_find(file, (size_t)(dot - file)) : -1;
	int cause;

	if (r == -ENOENT && c >= 0 && dir->hierarchy->v2 && strncmp(file, "cgroup.", 7) != 0) {
		cause = dir->cg->enabling[c];
		if (!(dir->hierarchy->controllers & (1u << c)))
			error_errno(e, ENOENT, "controller \"%s\" is not available on this machine",
				    controller_name((enum controller)c, true));
		else if (cause)
			error_errno(e, cause, "controller \"%s\" could not be enabled",
				    controller_name((enum controller)c, true));
		else
			error_errno(e, ENOENT, "this kernel has no such file");
		error_prefix(e, "write \"%s\" to \"%s\" of cgroup \"%s\"", value, file, dir->cg->path);
		return r;
	}
	error_errno(e, -r, "write \"%s\" to \"%s\" of cgroup \"%s\"", value, file, dir->cg->path);
	return r;
}

int knob_write(const struct cgroup_dir *dir, struct error *e, const char *file, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;
	int r;

	va_start(ap, format);
	r = format_text(&text, format, ap);
	va_end(ap);
	if (r < 0)
		return error_errno(e, ENOMEM, "write to \"%s\"", file);
	r = write_text(dir, file, text);
	return r < 0 ? knob_error(dir, e, r, file, text) : 0;
}

int knob_try(const struct cgroup_dir *dir, const char *file, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;
	int r;

	va_start(ap, format);
	r = format_text(&text, format, ap);
	va_end(ap);
	return r < 0 ? r : write_text(dir, file, text);
}

bool knob_exists(const struct cgroup_dir *dir, const char *file)
{
	return faccessat(dir->fd, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

char *knob_read(const struct cgroup_dir *dir, const char *file)
{
	char *text = NULL;
	ssize_t n = file_read(dir->fd, file, KNOB_READ_MAX, &text);

	if (n < 0)
		return NULL;
	while (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	return text;
}

bool knob_read_u64(const struct cgroup_dir *dir, const char *file, uint64_t *out)
{
	_cleanup_free_ char *text = knob_read(dir, file);

	if (!text)
		return false;
	if (strcmp(text, "max") == 0) {
		*out = UINT64_MAX;
		return true;
	}
	return str_to_u64(text, 10, out) == 0;
}

bool text_key(const char *text, const char *key, uint64_t *out)
{
	size_t length = strlen(key);

	for (const char *line = text; line && *line;
	     line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		char number[24];
		size_t n;

		if (strncmp(line, key, length) != 0 || line[length] != ' ')
			continue;
		n = strcspn(line + length + 1, "\n");
		if (n >= sizeof(number))
			return false;
		memcpy(number, line + length + 1, n);
		number[n] = '\0';
		return str_to_u64(number, 10, out) == 0;
	}
	return false;
}

bool knob_read_key(const struct cgroup_dir *dir, const char *file, const char *key, uint64_t *out)
{
	_cleanup_free_ char *text = knob_read(dir, file);

	return text && text_key(text, key, out);
}
