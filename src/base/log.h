/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

/*
 * Log records: one JSON object a line, every value a string, in the form that Kata's hosts parse
 * (msg, level, ts, version, pid, name, source, subsystem, then the record's own keys).
 *
 * Never blocks and never fails: records go into a bounded ring and from there to sinks as they take them. When the
 * ring is full the oldest records below warning level go first; how many were lost is told by a record of its own when
 * there is room again. The level is tested before anything is formatted. A line is at most LOG_LINE_MAX bytes (values
 * are cut), always valid UTF-8. Nothing at any level above debug holds environments, specs or secrets.
 *
 * Before log_attach(), and in forked children, records are written straight to the descriptor, best effort: a reader
 * that does not read is waited for half a second.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"

enum log_level { LOG_CRITICAL, LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_TRACE };

enum { LOG_LINE_MAX = 8192 };

/* @name is the program's name; @subsystem of a record defaults to "root". Level LOG_INFO until set. */
void log_init(const char *name);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* "trace" "debug" "info" "warn" "error" "critical" (also "warning", "crit", "fatal", "panic"); false when unknown. */
bool log_level_parse(const char *text, enum log_level *level);

/* The form of records that are written directly: Kata's, or those of logrus, by which OCI runtimes tell (level, msg, time). */
enum log_form { LOG_FORM_KATA, LOG_FORM_TEXT, LOG_FORM_JSON };
void log_set_form(enum log_form form);
/* Where records go: a descriptor that is borrowed; -1 for none. Default 2. Its file status flags are never changed. In
 * forked children nothing is written once the number stands for another file (a container's stderr). */
void log_set_fd(int fd);
int log_get_fd(void);
/* From now on records are queued in a ring of @bytes and written from @loop. 0 or -errno. */
int log_attach(struct loop *loop, size_t bytes);
/* Writes out what is queued, for at most @timeout_ms, then writes directly again. */
void log_detach(int timeout_ms);
/* Whether records of one message are left out while they come too often (log-rate.h): told a second later, with their
 * number. Below info, and while not attached, never. Off until set. */
void log_limit_rate(bool on);
/* Records lost so far. */
uint64_t log_dropped(void);

/*
 * Additional readers (the log port): each sees the records queued from now on, and the ring's content before where it
 * asks for that; one that does not keep up loses the oldest. See log_sink_* in log.c's tests for use.
 */
struct log_sink;
/*
 * @fd (a stream socket or a pipe) is taken, made non-blocking and closed with the sink. A sink whose peer has gone ends
 * by itself, from the loop; log_sink_free() of one that has ended does nothing. NULL, with @fd closed, when memory is
 * out or the log is not attached. log_detach() ends all.
 */
struct log_sink *log_sink_new(int fd, bool with_history);
void log_sink_free(struct log_sink *sink);
size_t log_sink_count(void);

/*
 * log_write(LOG_INFO, "rpc", "container created", "container-id", id, "pid", pid_text, NULL): pairs of key and text.
 * Numbers go through LOG_NUMBER(). A NULL value leaves its key out.
 */
void log_write(enum log_level level, const char *subsystem, const char *message, ...)
	__attribute__((sentinel));

#define log_enabled(level) ((level) <= log_get_level())
#define log_record(level, subsystem, ...)                                                                    \
	do {                                                                                                 \
		if (log_enabled(level))                                                                      \
			log_write((level), (subsystem), __VA_ARGS__, NULL);                                  \
	} while (0)
#define log_error(subsystem, ...) log_record(LOG_ERROR, subsystem, __VA_ARGS__)
#define log_warning(subsystem, ...) log_record(LOG_WARNING, subsystem, __VA_ARGS__)
#define log_info(subsystem, ...) log_record(LOG_INFO, subsystem, __VA_ARGS__)
#define log_debug(subsystem, ...) log_record(LOG_DEBUG, subsystem, __VA_ARGS__)

/* A number as text that lives until the end of the enclosing block. */
#define LOG_NUMBER(value) (log_number((char[24]){0}, (int64_t)(value)))
const char *log_number(char buffer[24], int64_t value);

#endif
