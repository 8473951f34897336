/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building the text of an error: format, make it valid UTF-8, cut it to fit.
 *
 * Texts carry what hostile peers sent (names, paths), so formatted bytes are sanitised before they are kept. When room
 * is short the errno's description, which hosts look for, is kept and what stands before it is cut. Nothing here
 * allocates: errors must work when memory is out.
 */

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

enum {
	/* A prefix that does not fit may take this much of the text in front of the rest. */
	PREFIX_MIN = 512,
};

static const struct {
	const char *name;
	int errnum; /* what a function returns for it where no system call failed */
} status_table[] = {
	[STATUS_OK] = {"OK", EIO},
	[STATUS_CANCELLED] = {"CANCELLED", ECANCELED},
	[STATUS_UNKNOWN] = {"UNKNOWN", EIO},
	[STATUS_INVALID_ARGUMENT] = {"INVALID_ARGUMENT", EINVAL},
	[STATUS_DEADLINE_EXCEEDED] = {"DEADLINE_EXCEEDED", ETIMEDOUT},
	[STATUS_NOT_FOUND] = {"NOT_FOUND", ENOENT},
	[STATUS_ALREADY_EXISTS] = {"ALREADY_EXISTS", EEXIST},
	[STATUS_PERMISSION_DENIED] = {"PERMISSION_DENIED", EPERM},
	[STATUS_RESOURCE_EXHAUSTED] = {"RESOURCE_EXHAUSTED", ENOSPC},
	[STATUS_FAILED_PRECONDITION] = {"FAILED_PRECONDITION", EBUSY},
	[STATUS_ABORTED] = {"ABORTED", ECONNABORTED},
	[STATUS_OUT_OF_RANGE] = {"OUT_OF_RANGE", ERANGE},
	[STATUS_UNIMPLEMENTED] = {"UNIMPLEMENTED", ENOSYS},
	[STATUS_INTERNAL] = {"INTERNAL", EIO},
	[STATUS_UNAVAILABLE] = {"UNAVAILABLE", EAGAIN},
	[STATUS_DATA_LOSS] = {"DATA_LOSS", EIO},
	[STATUS_UNAUTHENTICATED] = {"UNAUTHENTICATED", EACCES},
};

enum { STATUS_COUNT = sizeof(status_table) / sizeof(status_table[0]) };

/* Formats into @out, at most @size - 1 bytes, as valid UTF-8. Returns the length. */
static __attribute__((format(printf, 3, 0))) size_t text_format(char *out, size_t size, const char *format,
								va_list arguments)
{
	char raw[ERROR_TEXT_MAX];
	int n = vsnprintf(raw, sizeof(raw), format, arguments);

	if (n < 0)
		n = snprintf(raw, sizeof(raw), "(error text could not be formatted)");
	size_t length = (size_t)n < sizeof(raw) ? (size_t)n : sizeof(raw) - 1;

	/* A character that the buffer's end has split is not invalid input: leave it out. */
	if ((size_t)n >= sizeof(raw))
		length -= utf8_incomplete_tail(raw, length);
	return utf8_sanitize(raw, length, out, size);
}

int error_result(const struct error *e)
{
	if (e->errnum > 0)
		return -e->errnum;
	return e->code < STATUS_COUNT ? -status_table[e->code].errnum : -EIO;
}

int error_set(struct error *e, enum status_code code, int errnum, const char *format, ...)
{
	struct error scratch;
	va_list arguments;

	if (!e) {
		scratch.code = code;
		scratch.errnum = errnum;
		return error_result(&scratch);
	}

	/* The arguments may point into the text that is replaced. */
	char text[ERROR_TEXT_MAX];
	va_start(arguments, format);
	size_t length = text_format(text, sizeof(text), format, arguments);
	va_end(arguments);

	e->code = code;
	e->errnum = errnum > 0 ? errnum : 0;
	memcpy(e->text, text, length + 1);
	return error_result(e);
}

int error_errno(struct error *e, int errnum, const char *format, ...)
{
	va_list arguments;

	if (errnum < 0)
		errnum = -errnum;
	if (errnum == 0)
		errnum = EIO;
	if (!e)
		return -errnum;

	const char *description = strerrordesc_np(errnum);
	char suffix[128];
	int n = snprintf(suffix, sizeof(suffix), ": %s: %s", error_name(errnum),
			 description ? description : "Unknown error");
	size_t suffix_length = n > 0 && (size_t)n < sizeof(suffix) ? (size_t)n : strlen(suffix);

	char text[ERROR_TEXT_MAX];
	va_start(arguments, format);
	size_t length = text_format(text, sizeof(text) - suffix_length, format, arguments);
	va_end(arguments);

	e->code = STATUS_INTERNAL;
	e->errnum = errnum;
	memcpy(e->text, text, length);
	memcpy(e->text + length, suffix, suffix_length + 1);
	return -errnum;
}

int error_prefix(struct error *e, const char *format, ...)
{
	va_list arguments;

	if (!e)
		return -EIO;

	size_t old = strnlen(e->text, sizeof(e->text) - 1);
	size_t room = sizeof(e->text) - 1 - old;
	/* "PREFIX: " may have what is free, but never less than PREFIX_MIN. */
	size_t limit = room > PREFIX_MIN ? room : PREFIX_MIN;
	char text[ERROR_TEXT_MAX];

	va_start(arguments, format);
	size_t length = text_format(text, limit - 2 + 1, format, arguments);
	va_end(arguments);
	memcpy(text + length, ": ", 2);
	length += 2;

	if (old > sizeof(e->text) - 1 - length) {
		old = sizeof(e->text) - 1 - length;
		old -= utf8_incomplete_tail(e->text, old);
	}
	memmove(e->text + length, e->text, old);
	memcpy(e->text, text, length);
	e->text[length + old] = '\0';
	return error_result(e);
}

const char *error_name(int errnum)
{
	static char unknown[24];
	const char *name = errnum > 0 ? strerrorname_np(errnum) : NULL;

	if (name)
		return name;
	(void)snprintf(unknown, sizeof(unknown), "E%d", errnum);
	return unknown;
}

const char *status_name(uint32_t code)
{
	static char unknown[24];

	if (code < STATUS_COUNT)
		return status_table[code].name;
	(void)snprintf(unknown, sizeof(unknown), "CODE %u", code);
	return unknown;
}
