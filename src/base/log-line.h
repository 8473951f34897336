/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_LOG_LINE_H
#define BASE_LOG_LINE_H

/* One log record as a line of JSON. For log.c alone; see log.h. */

#include <stdarg.h>
#include <stddef.h>

#include "base/log.h"

/*
 * Writes the record and its newline to @line (no NUL) and returns the length. @pairs are keys and values up to a NULL
 * key. A key that is given twice, or that the logger sets too, keeps the value given last, except msg, level and ts.
 */
size_t log_line_format(char line[LOG_LINE_MAX], const char *name, enum log_level level, const char *subsystem,
		       const char *message, va_list pairs);
/* In one of logrus's forms: `time="…" level=warning msg="…" key="value"`, or the same as JSON. */
size_t log_line_logrus(char line[LOG_LINE_MAX], bool json, enum log_level level, const char *message,
		       va_list pairs);
size_t log_line_text(char line[LOG_LINE_MAX], const char *name, enum log_level level, const char *subsystem,
		     const char *message, ...) __attribute__((sentinel));

#endif
