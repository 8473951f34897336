/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Environment, look-up and execution, in the container's root and with its credentials. Everything that is read here was
 * put there by an image: the passwd file is opened without waiting (it may be a FIFO), read up to a bound, and parsed by
 * lines; a program is judged by what the kernel says about it, not by what its name looks like.
 */
#include "engine/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

enum { PASSWD_MAX = 1 << 20, HOME_MAX = PATH_MAX };

/* --- environment -------------------------------------------------------------------------------------------- */

/* A field of a line: its start, and its end in *@end; *@line is moved to the next field, NULL after the last. */
static const char *take_field(const char **line, const char *line_end, const char **end)
{
	const char *field = *line;
	const char *colon = memchr(field, ':', (size_t)(line_end - field));

	*end = colon ? colon : line_end;
	*line = colon ? colon + 1 : NULL;
	return field;
}

static bool number_is(const char *text, const char *end, uid_t wanted)
{
	uint64_t value = 0;

	if (text == end || end - text > 10)
		return false;
	for (; text < end; text++) {
		if (*text < '0' || *text > '9')
			return false;
		value = value * 10 + (uint64_t)(*text - '0');
	}
	return value == wanted;
}

/* name:password:uid:gid:comment:home:shell */
static bool home_of_line(const char *line, const char *line_end, uid_t uid, const char **home, size_t *length)
{
	for (int i = 0; line && i < 6; i++) {
		const char *end, *field = take_field(&line, line_end, &end);
		if (i == 2 && !number_is(field, end, uid))
			return false;
		if (i == 5) {
			*home = field;
			*length = (size_t)(end - field);
			return end > field;
		}
	}
	return false;
}

int passwd_home(const char *text, size_t length, uid_t uid, char *home, size_t size)
{
	const char *end = text + length;

	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *line_end = newline ? newline : end, *found;
		size_t found_length;
		if (home_of_line(text, line_end, uid, &found, &found_length) &&
		    !memchr(found, '\0', found_length)) {
			if (found_length >= size)
				return -ENAMETOOLONG;
			memcpy(home, found, found_length);
			home[found_length] = '\0';
			return 0;
		}
		text = newline ? newline + 1 : end;
	}
	return -ENOENT;
}

/* As much of the image's passwd file as we are willing to look at. */
static ssize_t read_passwd(char **out)
{
	_cleanup_fd_ int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	size_t size = status.st_size > PASSWD_MAX ? PASSWD_MAX : (size_t)status.st_size;
	_cleanup_free_ char *text = malloc(size + 1);
	if (!text)
		return -ENOMEM;
	ssize_t length = fd_read_all(fd, text, size);
	if (length >= 0)
		*out = steal_pointer(text);
	return length;
}

static int add_home(struct program *program, uid_t uid)
{
	_cleanup_free_ char *text = NULL;
	char home[HOME_MAX];

	ssize_t length = read_passwd(&text);
	if (length < 0 || passwd_home(text, (size_t)length, uid, home, sizeof(home)) < 0)
		(void)snprintf(home, sizeof(home), "/");
	if (asprintf(&program->home, "HOME=%s", home) < 0) {
		program->home = NULL;
		return -ENOMEM;
	}
	return 0;
}

static const char *value_of(const char *entry, const char *key, size_t key_length)
{
	return strncmp(entry, key, key_length) == 0 && entry[key_length] == '=' ? entry + key_length + 1
										: NULL;
}

const char *environment_get(char *const *envp, const char *key)
{
	const char *found = NULL;
	size_t length = strlen(key);

	for (; *envp; envp++) {
		const char *value = value_of(*envp, key, length);
		found = value ? value : found;
	}
	return found;
}

/* A later entry has the same key. Quadratic in the worst case, so only asked up to a bound of entries. */
static bool overridden(char *const *env, size_t count, size_t i)
{
	const char *equals = strchr(env[i], '=');

	if (!equals)
		return false;
	for (size_t k = i + 1; k < count; k++) {
		if (value_of(env[k], env[i], (size_t)(equals - env[i])))
			return true;
	}
	return false;
}

int program_init(struct program *program, const Grpc__Process *process, struct error *e)
{
	enum { DEDUPLICATE_MAX = 4096 };
	size_t n = 0;

	*program = (struct program){0};
	program->argv = calloc(process->n_args + 1, sizeof(char *));
	program->envp = calloc(process->n_env + 2, sizeof(char *));
	if (!program->argv || !program->envp)
		goto memory;
	if (process->n_args)
		memcpy(program->argv, process->args, process->n_args * sizeof(char *));
	for (size_t i = 0; i < process->n_env; i++) {
		if (process->n_env > DEDUPLICATE_MAX || !overridden(process->env, process->n_env, i))
			program->envp[n++] = process->env[i];
	}
	if (!environment_get(program->envp, "HOME")) {
		if (add_home(program, process->user ? process->user->uid : 0) < 0)
			goto memory;
		program->envp[n] = program->home;
	}
	return 0;
memory:
	program_deinit(program);
	return error_errno(e, ENOMEM, "environment of the process");
}

int program_fill_home(struct program *program, const Grpc__Process *process, struct error *e)
{
	for (size_t i = 0; program->envp[i]; i++) {
		if (program->home || !str_equal(program->envp[i], "HOME="))
			continue;
		if (add_home(program, process->user ? process->user->uid : 0) < 0)
			return error_errno(e, ENOMEM, "environment of the process");
		program->envp[i] = program->home;
	}
	return 0;
}

void program_deinit(struct program *program)
{
	free(program->path);
	free(program->argv);
	free(program->envp);
	free(program->home);
	*program = (struct program){0};
}

/* --- look-up ------------------------------------------------------------------------------------------------ */

/* 0, or the negative errno for which the kernel would refuse to execute @path. */
static int judge(const char *path)
{
	struct stat status;

	if (stat(path, &status) < 0)
		return -errno;
	if (S_ISDIR(status.st_mode))
		return -EISDIR;
	if (!S_ISREG(status.st_mode))
		return -EACCES;
	/* AT_EACCESS: what counts are the ids and capabilities that we have now. */
	if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
		return -errno;
	return 0;
}

static int not_found(const char *name, bool searched, struct error *e)
{
	if (searched)
		return error_set(
			e, STATUS_NOT_FOUND, ENOENT,
			"the file %s was not found\nexec: \"%s\": executable file not found in $PATH", name,
			name);
	return error_set(e, STATUS_NOT_FOUND, ENOENT,
			 "the file %s was not found\nexec: \"%s\": stat %s: no such file or directory", name,
			 name, name);
}

static int refused(const char *name, const char *path, int r, struct error *e)
{
	switch (r) {
	case -EACCES:
	case -EPERM:
		return error_set(e, STATUS_PERMISSION_DENIED, EACCES, "exec: \"%s\": permission denied (%s)",
				 name, path);
	case -EISDIR:
		return error_set(e, STATUS_PERMISSION_DENIED, EACCES,
				 "exec: \"%s\": is a directory: permission denied (%s)", name, path);
	default:
		return error_errno(e, -r, "exec: \"%s\": look up %s", name, path);
	}
}

/* In the order of PATH; an entry that may not be executed is remembered, and a later one may still do. */
static int search(struct program *program, const char *name, struct error *e)
{
	const char *path = environment_get(program->envp, "PATH");
	_cleanup_free_ char *refused_path = NULL;
	int refusal = 0;

	while (path) {
		size_t length = strcspn(path, ":");
		_cleanup_free_ char *candidate = NULL;
		/* An empty part is the working directory, as POSIX has it. */
		if (asprintf(&candidate, "%.*s%s%s", (int)length, path, length ? "/" : "./", name) < 0) {
			candidate = NULL;
			return error_errno(e, ENOMEM, "exec: \"%s\": look up", name);
		}
		int r = judge(candidate);
		if (r == 0) {
			program->path = steal_pointer(candidate);
			return 0;
		}
		if (!refusal && (r == -EACCES || r == -EPERM)) {
			refusal = r;
			refused_path = steal_pointer(candidate);
		}
		path = path[length] ? path + length + 1 : NULL;
	}
	return refusal ? refused(name, refused_path, refusal, e) : not_found(name, true, e);
}

int program_find(struct program *program, struct error *e)
{
	const char *name = str_or_empty(program->argv[0]);

	free(program->path);
	program->path = NULL;
	if (!*name)
		return not_found(name, true, e);
	if (!strchr(name, '/'))
		return search(program, name, e);
	int r = judge(name);
	if (r == -ENOENT || r == -ENOTDIR)
		return not_found(name, false, e);
	if (r < 0)
		return refused(name, name, r, e);
	program->path = strdup(name);
	return program->path ? 0 : error_errno(e, ENOMEM, "exec: \"%s\": look up", name);
}

/* --- execution ---------------------------------------------------------------------------------------------- */

/* What the kernel could not find or understand, for a file that is there. */
static void explain(const char *path, int errnum, char *out, size_t size)
{
	char head[256] = "";

	*out = '\0';
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t length = fd < 0 ? -1 : fd_read_all(fd, head, sizeof(head) - 1);
	if (length <= 0) {
		if (length == 0 && errnum == ENOEXEC)
			(void)snprintf(out, size, " (the file is empty)");
		return;
	}
	head[length] = '\0';
	if (strncmp(head, "#!", 2) == 0) {
		char *line = head + 2 + strspn(head + 2, " \t");
		/* It is the image's word, and goes to logs and terminals: up to the first byte that is not plain. */
		for (char *at = line;; at++)
			if (*at <= ' ' || *at > '~') {
				*at = '\0';
				break;
			}
		if (errnum == ENOENT)
			(void)snprintf(out, size, " (its interpreter \"%s\" is missing)", line);
		return;
	}
	if (length >= 4 && memcmp(head, "\177ELF", 4) == 0) {
		(void)snprintf(out, size, "%s",
			       errnum == ENOENT	   ? " (its dynamic loader is missing)"
			       : errnum == ENOEXEC ? " (it is built for another architecture, or damaged)"
						   : "");
		return;
	}
	if (errnum == ENOEXEC)
		(void)snprintf(out, size, " (it is neither an ELF program nor a script that begins with #!)");
}

int program_exec(const struct program *program, struct error *e)
{
	char hint[320];

	execve(program->path, program->argv, program->envp);
	int errnum = errno;
	explain(program->path, errnum, hint, sizeof(hint));
	static const char *const lower[] = {[ENOENT] = "no such file or directory",
					    [EACCES] = "permission denied",
					    [ENOEXEC] = "exec format error"};
	const char *words = (size_t)errnum < array_length(lower) ? lower[errnum] : NULL;
	enum status_code code = errnum == ENOENT   ? STATUS_NOT_FOUND
				: errnum == EACCES ? STATUS_PERMISSION_DENIED
						   : STATUS_INTERNAL;
	if (words)
		return error_set(e, code, errnum, "exec %s: %s%s", program->path, words, hint);
	return error_errno(e, errnum, "exec %s%s", program->path, hint);
}
