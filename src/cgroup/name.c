/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of cgroups: the two forms in which hosts send them, the choice of the driver, and the translation of
 * either form to a path below a hierarchy's root.
 *
 * All of it is pure. The text is the host's, so hostile: what could leave the hierarchy, name its root, or be
 * no file name is refused, or (where the reference would have taken the root) made safe with the container's
 * id.
 */
#include "cgroup/internal.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"

enum { PATH_TOTAL_MAX = 4000, SLICE_TOTAL_MAX = PATH_TOTAL_MAX - NAME_MAX - 1 };

static int refuse(struct error *e, const char *path, const char *what)
{
	return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "cgroup path \"%.200s\": %s", path, what);
}

/* Why @part cannot be a directory's name, or NULL. */
static const char *part_fault(const char *part, size_t length)
{
	if (length > NAME_MAX)
		return "a part is longer than 255 bytes";
	if ((length == 1 && part[0] == '.') || (length == 2 && part[0] == '.' && part[1] == '.'))
		return "\".\" and \"..\" are not allowed";
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)part[i] < 0x20 || part[i] == 0x7f)
			return "control characters are not allowed";
	return NULL;
}

/* Appends @part as a further level. */
static int append_part(struct buf *out, const char *part, size_t length)
{
	if (out->length)
		buf_append_char(out, '/');
	return buf_append(out, part, length);
}

char *cgroup_path_translate(const char *path, const char *id, struct error *e)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	const char *in = str_or_empty(path), *fault = NULL;
	/* The last part of systemd's form is the name: without one, containers would share a directory. */
	bool nameless = *in && in[strlen(in) - 1] == ':';
	const char *text;

	if (!utf8_valid(in, strlen(in)))
		fault = "not valid UTF-8";
	for (const char *part = in; !fault && *part;) {
		size_t length = strcspn(part, "/:");

		if (length && !(fault = part_fault(part, length)))
			append_part(&out, part, length);
		part += length + (part[length] != '\0');
	}
	if (!fault && (out.length == 0 || nameless)) {
		fault = str_is_empty(id) || strchr(id, '/') ? "it names nothing" : part_fault(id, strlen(id));
		if (!fault)
			append_part(&out, id, strlen(id));
	}
	if (!fault && out.length > PATH_TOTAL_MAX)
		fault = "longer than 4000 bytes";
	if (fault) {
		refuse(e, utf8_valid(in, strlen(in)) ? in : "(not UTF-8)", fault);
		return NULL;
	}
	text = buf_string(&out);
	text = text && !out.failed ? strdup(text) : NULL;
	if (!text)
		error_errno(e, ENOMEM, "cgroup path");
	return (char *)text;
}

/* --- systemd's names ------------------------------------------------------------------------------------ */

static bool unit_chars_valid(const char *text)
{
	for (; *text; text++)
		if (!((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
		      (*text >= '0' && *text <= '9') || strchr(":-_.", *text)))
			return false;
	return true;
}

/* systemd puts a "_" in front of a directory that could be taken for one of the kernel's files. */
static bool needs_escape(const char *name, size_t length)
{
	static const char *const files[] = {"notify_on_release", "release_agent", "tasks"};
	const char *dot = memchr(name, '.', length);

	for (size_t i = 0; i < array_length(files); i++)
		if (length == strlen(files[i]) && memcmp(name, files[i], length) == 0)
			return true;
	if (name[0] == '_' || name[0] == '.')
		return true;
	return dot && (controller_find(name, (size_t)(dot - name)) >= 0 || strncmp(name, "cgroup.", 7) == 0);
}

/* As append_part(), escaped: @name and @suffix are one name. */
static int append_unit(struct buf *out, const char *name, size_t length, const char *suffix)
{
	_cleanup_free_ char *whole = NULL;

	if (asprintf(&whole, "%.*s%s", (int)length, name, suffix) < 0) {
		whole = NULL;
		return -ENOMEM;
	}
	append_part(out, "_", needs_escape(whole, strlen(whole)));
	return buf_append_string(out, whole);
}

/* "a-b.slice" → "a.slice/a-b.slice"; "-.slice" → "". */
static int expand_slice(const char *slice, struct buf *out)
{
	size_t length = strlen(slice), stem;
	const char *dash;

	if (!str_ends_with(slice, ".slice") || length == strlen(".slice"))
		return -EINVAL;
	if (strcmp(slice, "-.slice") == 0)
		return 0;
	stem = length - strlen(".slice");
	if (slice[0] == '-' || slice[stem - 1] == '-' || strstr(slice, "--"))
		return -EINVAL;
	for (dash = strchr(slice, '-'); dash; dash = strchr(dash + 1, '-')) {
		if (append_unit(out, slice, (size_t)(dash - slice), ".slice") < 0)
			return -ENOMEM;
	}
	return append_unit(out, slice, length, "");
}

/* A copy of @slice if systemd could have it, else of the slice in which it puts what has no place. */
static char *valid_slice(const char *slice, size_t length)
{
	_cleanup_buf_ struct buf expanded = BUF_INIT;
	_cleanup_free_ char *copy = strndup(slice, length);

	if (copy && length < NAME_MAX && expand_slice(copy, &expanded) == 0 &&
	    expanded.length <= SLICE_TOTAL_MAX)
		return steal_pointer(copy);
	return strdup("system.slice");
}

bool cgroup_path_is_systemd(const char *path)
{
	const char *first = path ? strchr(path, ':') : NULL;
	const char *second = first ? strchr(first + 1, ':') : NULL;

	/* The unit will be called PREFIX-NAME.scope. */
	return second && !strchr(second + 1, ':') && unit_chars_valid(path) &&
	       strlen(first) + strlen(".scope") < NAME_MAX;
}

enum cgroup_driver cgroup_choose(bool pid1, const char *path, bool systemd_running, enum cgroup_pin pin,
				 const char **why)
{
	const char *unused;
	bool form = cgroup_path_is_systemd(path);

	if (!why)
		why = &unused;
	if (pid1)
		*why = "the agent is PID 1: there is no systemd to ask";
	else if (pin == CGROUP_PIN_CGROUPFS)
		*why = "the operator pinned cgroupfs";
	else if (pin != CGROUP_PIN_SYSTEMD && !form)
		*why = "the path is not in systemd's form";
	else if (!systemd_running)
		*why = pin == CGROUP_PIN_SYSTEMD ? "the operator pinned systemd, but it does not run here"
						 : "systemd does not run here";
	else if (pin == CGROUP_PIN_SYSTEMD)
		*why = "the operator pinned systemd";
	else
		*why = "the path is in systemd's form, and systemd runs";
	return !pid1 && systemd_running && pin != CGROUP_PIN_CGROUPFS && (form || pin == CGROUP_PIN_SYSTEMD)
		       ? CGROUP_SYSTEMD
		       : CGROUP_CGROUPFS;
}

/* Always a scope: systemd puts no processes into slices, whatever the name ends in. */
static char *unit_name(const char *prefix, size_t prefix_length, const char *name)
{
	char *unit = NULL;
	int n;

	if (prefix_length)
		n = asprintf(&unit, "%.*s-%s.scope", (int)prefix_length, prefix, name);
	else
		n = asprintf(&unit, "%s.scope", name);
	return n < 0 ? NULL : unit;
}

/* The unit's path below the hierarchy's root, or NULL: @slice expanded, then @unit. */
static char *unit_path(const char *slice, const char *unit)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	const char *text;

	if (expand_slice(slice, &out) < 0)
		return NULL;
	if (append_unit(&out, unit, strlen(unit), "") < 0)
		return NULL;
	text = out.failed ? NULL : buf_string(&out);
	return text ? strdup(text) : NULL;
}

int systemd_parse(const char *path, const char *id, char **slice, char **unit, char **cgroup_path,
		  struct error *e)
{
	_cleanup_free_ char *fallback = NULL;
	_cleanup_free_ char *s = NULL;
	_cleanup_free_ char *u = NULL;
	char *p;
	const char *first, *second;

	/* A pinned systemd serves other forms, and "::", in its default slice. */
	if (!cgroup_path_is_systemd(path) || strcmp(path, "::") == 0) {
		if (asprintf(&fallback, "system.slice:kata_agent:%s", str_or_empty(id)) < 0) {
			fallback = NULL;
			return error_errno(e, ENOMEM, "cgroup path");
		}
		path = fallback;
	}
	if (strlen(path) > PATH_TOTAL_MAX || !unit_chars_valid(path))
		return refuse(e, utf8_valid(path, strlen(path)) ? path : "(not UTF-8)",
			      "not a name of systemd's");
	first = strchr(path, ':');
	second = strchr(first + 1, ':');
	s = valid_slice(path, (size_t)(first - path));
	u = unit_name(first + 1, (size_t)(second - first - 1), second[1] ? second + 1 : str_or_empty(id));
	if (!s || !u)
		return error_errno(e, ENOMEM, "cgroup path");
	/* One byte is kept for an escape. */
	if (strlen(u) >= NAME_MAX || !unit_chars_valid(u) || strchr(u, ':'))
		return refuse(e, path, "not a name of systemd's");
	p = unit_path(s, u);
	if (!p)
		return error_errno(e, ENOMEM, "cgroup path");
	*slice = steal_pointer(s);
	*unit = steal_pointer(u);
	*cgroup_path = p;
	return 0;
}
