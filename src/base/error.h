/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

/*
 * What went wrong, as a sentence for a person and a code for a program.
 *
 * A function that can fail returns 0 or a negative errno and fills a `struct error` that its caller lent it. Each
 * caller may put in front what it was doing, so that the text reads outside-in:
 *
 *     create container "web": mount "/data": open source "/dev/vdb": ENOENT: No such file or directory
 *
 * The object is a plain value without pointers: it can be copied, sent through a pipe and left behind. Its text is
 * always valid UTF-8 and NUL-terminated; what does not fit is cut at a character's boundary.
 */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* The status codes of ttRPC and gRPC (google.rpc.Code). They travel on the wire. */
enum status_code {
	STATUS_OK = 0,
	STATUS_CANCELLED = 1,
	STATUS_UNKNOWN = 2,
	STATUS_INVALID_ARGUMENT = 3,
	STATUS_DEADLINE_EXCEEDED = 4,
	STATUS_NOT_FOUND = 5,
	STATUS_ALREADY_EXISTS = 6,
	STATUS_PERMISSION_DENIED = 7,
	STATUS_RESOURCE_EXHAUSTED = 8,
	STATUS_FAILED_PRECONDITION = 9,
	STATUS_ABORTED = 10,
	STATUS_OUT_OF_RANGE = 11,
	STATUS_UNIMPLEMENTED = 12,
	STATUS_INTERNAL = 13,
	STATUS_UNAVAILABLE = 14,
	STATUS_DATA_LOSS = 15,
	STATUS_UNAUTHENTICATED = 16,
};

enum { ERROR_TEXT_MAX = 2048 };

struct error {
	uint32_t code;		   /* enum status_code; STATUS_OK while nothing was set */
	int errnum;		   /* positive errno, or 0 where no system call failed */
	char text[ERROR_TEXT_MAX]; /* valid UTF-8, NUL-terminated */
};

#define ERROR_INIT                                                                                           \
	(struct error)                                                                                       \
	{                                                                                                    \
		.code = STATUS_OK                                                                            \
	}

/*
 * Sets code and text; @errnum (positive errno or 0) is kept but not shown. @e may be NULL.
 * Returns -@errnum, or, where that is 0, the negative errno that fits @code best (-EINVAL, -ENOENT, …): never 0.
 */
int error_set(struct error *e, enum status_code code, int errnum, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/*
 * Sets STATUS_INTERNAL and "TEXT: ENAME: description of errno", the form that hosts look for
 * (`ESRCH: No such process`). Returns -@errnum (-EIO where @errnum is 0).
 */
int error_errno(struct error *e, int errnum, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "TEXT: " in front of what @e says; code and errno stay. Returns the negative errno of @e. */
int error_prefix(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The negative errno that stands for @e, never 0. */
int error_result(const struct error *e);

/* "ENOENT"; "E<number>" in a static buffer for an unknown one. */
const char *error_name(int errnum);

/* "NOT_FOUND"; "CODE <number>" for an unknown one. */
const char *status_name(uint32_t code);

#endif
