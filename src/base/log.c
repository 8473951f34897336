/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring of log records and those who read it.
 *
 * Records are kept in the order of their numbers, bounded in bytes. Each reader (the main descriptor, and each sink)
 * has the number of the next record that it wants, and perhaps one record that is partly written: that one is pinned,
 * because half a line would spoil the stream. To make room, what every reader has had goes first; then the oldest
 * record below warning; then the oldest. Each reader counts what it so lost and gets a record that tells so.
 *
 * The main descriptor is borrowed and may be shared with other processes, so its O_NONBLOCK is left alone: a terminal
 * or pipe is opened a second time, a socket is written with MSG_DONTWAIT, and where neither can be done, small pieces
 * are written when poll(2) says that they fit.
 *
 * What it must never do: wait (once attached), fail, write half a line, let one reader hold up another.
 */

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log-block.h"
#include "base/log-line.h"
#include "base/log-rate.h"
#include "base/path.h"
#include "base/str.h"

enum {
	RING_MIN = 4 * LOG_LINE_MAX,
	ROUND_MAX = 64,	       /* records that a sink is given in one round */
	SMALL_WRITE = 256,     /* what a terminal takes whole when poll(2) calls it writable */
	RATE_NOTICE_MS = 1000, /* after which it is told how many were left out */
	DIRECT_MS = 500,       /* that a record which is written directly waits for a reader */
};

struct record {
	struct list link;
	uint64_t number;
	unsigned int pins;
	bool loose; /* not in the ring: the notice of loss */
	enum log_level level;
	size_t length;
	char text[];
};

enum reader_kind { READER_FILE, READER_SOCKET, READER_NONBLOCKING, READER_POLLED };

struct log_sink {
	struct list link;
	int fd; /* our own; -1: none */
	enum reader_kind kind;
	bool broken; /* to be ended from the loop */
	uint64_t next;
	uint64_t lost;
	struct record *partial;
	size_t offset; /* into it */
	struct loop_fd source;
};

static struct {
	const char *name;
	int fd;	      /* borrowed */
	dev_t device; /* what @fd stood for when it was set */
	ino_t inode;
	bool identified;
	enum log_form form;

	struct loop *loop; /* NULL unless attached */
	uint8_t *ours;	   /* a page that is wiped by fork(2): 1 in the process that attached */
	pid_t pid;	   /* of that process, where the kernel wipes none */
	size_t limit;
	size_t size;
	struct list records;
	uint64_t next_number;
	uint64_t dropped;
	struct log_sink main;
	struct list sinks;
	size_t n_sinks;
	struct loop_defer defer;
	struct log_rate *rate; /* NULL: nothing is too often */
	struct loop_timer rate_timer;
} log_state = {.name = "kata-agent", .fd = 2, .main.fd = -1};

static void main_flush(void);

/* --- who we are --- */

/* Process ids do not tell: the first process of a container's namespace has that of an agent which is process 1. */
static void mark_process(void)
{
	void *page = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	log_state.pid = getpid();
	if (page != MAP_FAILED && madvise(page, 1, MADV_WIPEONFORK) == 0) {
		log_state.ours = page;
		*log_state.ours = 1;
	} else if (page != MAP_FAILED) {
		(void)munmap(page, 1);
	}
}

static void unmark_process(void)
{
	if (log_state.ours)
		(void)munmap(log_state.ours, 1);
	log_state.ours = NULL;
}

/* False in forked children as well: the ring, the loop and the descriptors are the parent's. */
static bool is_attached(void)
{
	return log_state.loop && (log_state.ours ? *log_state.ours == 1 : log_state.pid == getpid());
}

/* --- records --- */

static size_t record_cost(const struct record *record)
{
	return sizeof(*record) + record->length;
}

static struct record *record_new(enum log_level level, const char *text, size_t length)
{
	struct record *record = log_block_take(sizeof(*record) + length);

	if (!record)
		return NULL;
	*record = (struct record){.level = level, .length = length};
	memcpy(record->text, text, length);
	return record;
}

static void record_drop(struct record *record)
{
	list_remove(&record->link);
	log_state.size -= record_cost(record);
	log_block_give(record);
}

/* Counts a record that is about to go for every reader that has not had it. */
static void count_loss(uint64_t number)
{
	bool lost = false;
	struct log_sink *sink;

	if (log_state.main.fd >= 0 && log_state.main.next <= number) {
		log_state.main.lost++;
		lost = true;
	}
	list_for_each_entry (sink, &log_state.sinks, link) {
		if (!sink->broken && sink->next <= number) {
			sink->lost++;
			lost = true;
		}
	}
	log_state.dropped += lost;
}

static bool is_unread(uint64_t number)
{
	struct log_sink *sink;

	if (log_state.main.fd >= 0 && log_state.main.next <= number)
		return true;
	list_for_each_entry (sink, &log_state.sinks, link)
		if (!sink->broken && sink->next <= number)
			return true;
	return false;
}

/* What goes to make room for a record of @level; NULL: nothing that is worth less. */
static struct record *choose_victim(enum log_level level)
{
	struct record *record, *oldest = NULL;

	list_for_each_entry (record, &log_state.records, link) {
		if (record->pins > 0)
			continue;
		if (record->level > LOG_WARNING || !is_unread(record->number))
			return record;
		if (!oldest)
			oldest = record;
	}
	return level > LOG_WARNING ? NULL : oldest;
}

static void ring_append(enum log_level level, const char *text, size_t length)
{
	uint64_t number = log_state.next_number++;
	struct record *record = record_new(level, text, length);

	while (record && log_state.size + record_cost(record) > log_state.limit) {
		struct record *victim = choose_victim(level);

		if (!victim) {
			log_block_give(record);
			record = NULL;
			break;
		}
		count_loss(victim->number);
		record_drop(victim);
	}
	if (!record) {
		count_loss(number);
		return;
	}
	record->number = number;
	log_state.size += record_cost(record);
	list_append(&log_state.records, &record->link);
}

/* --- readers --- */

static struct record *notice_new(uint64_t count)
{
	char line[LOG_LINE_MAX];
	char number[24];
	size_t n = log_line_text(line, log_state.name, LOG_ERROR, "root",
				 "log records were dropped: reader too slow", "count",
				 log_number(number, (int64_t)count), NULL);
	struct record *record = record_new(LOG_ERROR, line, n);

	if (record)
		record->loose = true;
	return record;
}

static struct record *find_record(uint64_t number)
{
	struct record *found = NULL;

	/* From the newest: a reader that keeps up wants that one. */
	for (struct list *at = log_state.records.prev; at != &log_state.records; at = at->prev) {
		struct record *record = list_entry(at, struct record, link);

		if (record->number < number)
			break;
		found = record;
	}
	return found;
}

/* The record to write from now, pinned; NULL when there is none. */
static struct record *reader_take(struct log_sink *reader)
{
	struct record *record;

	if (reader->partial)
		return reader->partial;
	if (reader->lost > 0) {
		record = notice_new(reader->lost);
		if (record)
			reader->lost = 0;
	} else {
		record = find_record(reader->next);
		if (record)
			reader->next = record->number + 1;
	}
	if (record) {
		record->pins++;
		reader->partial = record;
		reader->offset = 0;
	}
	return record;
}

static void reader_release(struct log_sink *reader)
{
	struct record *record = reader->partial;

	reader->partial = NULL;
	if (!record)
		return;
	record->pins--;
	if (record->loose)
		log_block_give(record);
}

static ssize_t reader_write(const struct log_sink *reader, const char *text, size_t length)
{
	struct pollfd p = {.fd = reader->fd, .events = POLLOUT};

	if (reader->kind == READER_SOCKET)
		return send(reader->fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (reader->kind == READER_POLLED) {
		if (poll(&p, 1, 0) <= 0) {
			errno = EAGAIN;
			return -1;
		}
		if (length > SMALL_WRITE)
			length = SMALL_WRITE;
	}
	return write(reader->fd, text, length);
}

/* 0: all written, or @most records; 1: it takes no more now; -errno: it is broken. */
static int reader_flush(struct log_sink *reader, int most)
{
	while (most > 0) {
		struct record *record = reader_take(reader);

		if (!record)
			return 0;
		ssize_t n =
			reader_write(reader, record->text + reader->offset, record->length - reader->offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 1 : -errno;
		reader->offset += (size_t)n;
		if (reader->offset == record->length) {
			reader_release(reader);
			most--;
		}
	}
	return 0;
}

static bool reader_is_behind(const struct log_sink *reader)
{
	return reader->partial || reader->lost > 0 || reader->next < log_state.next_number;
}

static void reader_close(struct log_sink *reader)
{
	loop_fd_remove(&reader->source);
	reader_release(reader);
	reader->fd = fd_close(reader->fd);
}

/* --- the main descriptor --- */

/* After an error: what is queued is given up, the next record tries again (a console may come back). */
static void main_skip(void)
{
	reader_release(&log_state.main);
	log_state.main.lost = 0;
	log_state.main.next = log_state.next_number;
}

static void on_main(struct loop_fd *source, uint32_t events)
{
	loop_fd_remove(source);
	main_flush();
}

static void main_flush(void)
{
	struct log_sink *reader = &log_state.main;

	if (reader->fd < 0 || reader->source.loop)
		return;
	int r = reader_flush(reader, INT_MAX);
	if (r == 1)
		r = loop_fd_add(log_state.loop, &reader->source, reader->fd, EPOLLOUT, on_main);
	if (r < 0)
		main_skip();
}

/* How a descriptor is written to whose flags are not ours to change. */
static enum reader_kind reader_kind_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return READER_FILE;
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))
		return READER_POLLED;
	return S_ISSOCK(st.st_mode) ? READER_SOCKET : READER_FILE;
}

static int reader_open(int fd, enum reader_kind *kind)
{
	char path[32];

	*kind = reader_kind_of(fd);
	if (*kind == READER_POLLED) {
		int again = open(path_of_fd(path, fd), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

		if (again >= 0) {
			*kind = READER_NONBLOCKING;
			return again;
		}
	}
	return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static void main_open(void)
{
	struct log_sink *reader = &log_state.main;

	reader_close(reader);
	if (log_state.fd >= 0)
		reader->fd = reader_open(log_state.fd, &reader->kind);
	main_skip();
}

/* --- sinks --- */

static void sink_end(struct log_sink *sink)
{
	list_remove(&sink->link);
	log_state.n_sinks--;
	reader_close(sink);
	free(sink);
}

static void sink_flush(struct log_sink *sink)
{
	int r = sink->broken ? -EPIPE : reader_flush(sink, ROUND_MAX);

	/* EPOLLPRI never comes; asking for it lets hang-ups be told to a sink that has nothing to write. */
	if (r >= 0)
		r = loop_fd_modify(&sink->source, r == 1 ? EPOLLOUT : EPOLLPRI);
	if (r < 0)
		sink_end(sink);
}

static void on_defer(struct loop_defer *defer)
{
	struct log_sink *sink, *next;
	bool more = false;

	list_for_each_entry_safe (sink, next, &log_state.sinks, link)
		if (sink->source.events != EPOLLOUT)
			sink_flush(sink);
	list_for_each_entry (sink, &log_state.sinks, link)
		more |= sink->source.events != EPOLLOUT && reader_is_behind(sink);
	if (more)
		loop_defer_add(log_state.loop, defer, on_defer);
}

static void on_sink(struct loop_fd *source, uint32_t events)
{
	struct log_sink *sink = container_of(source, struct log_sink, source);

	if (events & (EPOLLERR | EPOLLHUP)) {
		sink_end(sink);
		return;
	}
	sink_flush(sink);
	loop_defer_add(log_state.loop, &log_state.defer, on_defer);
}

struct log_sink *log_sink_new(int fd, bool with_history)
{
	struct log_sink *sink = log_state.loop ? calloc(1, sizeof(*sink)) : NULL;
	struct stat st;

	if (!sink || fstat(fd, &st) < 0 || fd_nonblock(fd, true) < 0 ||
	    loop_fd_add(log_state.loop, &sink->source, fd, EPOLLPRI, on_sink) < 0) {
		fd_close(fd);
		free(sink);
		return NULL;
	}
	sink->fd = fd;
	sink->kind = S_ISSOCK(st.st_mode) ? READER_SOCKET : READER_NONBLOCKING;
	sink->next = with_history ? 0 : log_state.next_number;
	list_append(&log_state.sinks, &sink->link);
	log_state.n_sinks++;
	loop_defer_add(log_state.loop, &log_state.defer, on_defer);
	return sink;
}

void log_sink_free(struct log_sink *sink)
{
	struct log_sink *one;

	if (!sink || !log_state.loop)
		return;
	list_for_each_entry (one, &log_state.sinks, link) {
		if (one == sink) {
			sink_end(sink);
			return;
		}
	}
}

size_t log_sink_count(void)
{
	return log_state.n_sinks;
}

/* --- attaching --- */

int log_attach(struct loop *loop, size_t bytes)
{
	if (log_state.loop)
		return -EBUSY;
	log_state.loop = loop;
	mark_process();
	log_state.limit = bytes > RING_MIN ? bytes : RING_MIN;
	list_init(&log_state.records);
	list_init(&log_state.sinks);
	main_open();
	return 0;
}

static int64_t now_ms(void)
{
	return (int64_t)loop_now();
}

/* Waits until one of the readers that are behind may take more. False when none is. */
static bool wait_behind(int timeout_ms)
{
	struct pollfd p[16];
	nfds_t n = 0;
	struct log_sink *sink;

	if (log_state.main.fd >= 0 && reader_is_behind(&log_state.main))
		p[n++] = (struct pollfd){.fd = log_state.main.fd, .events = POLLOUT};
	list_for_each_entry (sink, &log_state.sinks, link)
		if (n < array_length(p) && reader_is_behind(sink))
			p[n++] = (struct pollfd){.fd = sink->fd, .events = POLLOUT};
	if (n == 0)
		return false;
	(void)poll(p, n, timeout_ms);
	return true;
}

static void flush_all(void)
{
	struct log_sink *sink, *next;

	loop_fd_remove(&log_state.main.source);
	if (log_state.main.fd >= 0 && reader_flush(&log_state.main, INT_MAX) < 0)
		main_skip();
	list_for_each_entry_safe (sink, next, &log_state.sinks, link)
		if (reader_flush(sink, INT_MAX) < 0)
			sink_end(sink);
}

/* --- how often --- */

static void on_rate_timer(struct loop_timer *timer)
{
	char number[24];
	const char *message;
	uint32_t count;

	(void)timer;
	while (log_state.rate && (message = log_rate_suppressed(log_state.rate, &count)))
		log_write(LOG_WARNING, "root", "log records were left out: too many of a kind", "of", message,
			  "count", log_number(number, count), NULL);
}

/* Details are asked for, and the last words are said once. */
static bool is_too_often(enum log_level level, const char *message)
{
	if (!log_state.rate || level > LOG_INFO || level == LOG_CRITICAL || !is_attached() ||
	    log_rate_admit(log_state.rate, message, loop_now()))
		return false;
	if (!log_state.rate_timer.loop)
		(void)loop_timer_set(log_state.loop, &log_state.rate_timer, RATE_NOTICE_MS, on_rate_timer);
	return true;
}

void log_limit_rate(bool on)
{
	free(log_state.rate);
	log_state.rate = on ? calloc(1, sizeof(*log_state.rate)) : NULL;
	loop_timer_remove(&log_state.rate_timer);
}

void log_detach(int timeout_ms)
{
	struct log_sink *sink, *next_sink;
	struct record *record, *next_record;

	if (!log_state.loop)
		return;
	on_rate_timer(NULL);
	log_limit_rate(false);
	int64_t end = now_ms() + timeout_ms;
	flush_all();
	for (int64_t left = timeout_ms; left > 0 && wait_behind((int)left); left = end - now_ms())
		flush_all();

	list_for_each_entry_safe (sink, next_sink, &log_state.sinks, link)
		sink_end(sink);
	reader_close(&log_state.main);
	list_for_each_entry_safe (record, next_record, &log_state.records, link)
		record_drop(record);
	loop_defer_remove(&log_state.defer);
	log_state.loop = NULL;
	unmark_process();
}

/* --- writing --- */

/* A descriptor of a forked child may have become something else under its number. */
static bool is_same_file(void)
{
	struct stat st;

	return log_state.identified && fstat(log_state.fd, &st) == 0 && st.st_dev == log_state.device &&
	       st.st_ino == log_state.inode;
}

static void identify(void)
{
	struct stat st;

	log_state.identified = log_state.fd >= 0 && fstat(log_state.fd, &st) == 0;
	if (log_state.identified) {
		log_state.device = st.st_dev;
		log_state.inode = st.st_ino;
	}
}

/* 0 or -errno. Who does not read is waited for a little and then passed over. */
static int write_soon(const char *line, size_t length)
{
	struct log_sink reader = {.fd = log_state.fd, .kind = reader_kind_of(log_state.fd)};
	struct pollfd p = {.fd = reader.fd, .events = POLLOUT};

	while (length > 0) {
		ssize_t n = reader_write(&reader, line, length);

		if (n > 0) {
			line += n;
			length -= (size_t)n;
		} else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
			return n == 0 ? -EIO : -errno;
		} else if (errno == EAGAIN && poll(&p, 1, DIRECT_MS) == 0) {
			return -ETIMEDOUT;
		}
	}
	return 0;
}

/* Best effort, and without a SIGPIPE: the log's reader being gone must not end its writer. */
static void write_direct(const char *line, size_t length)
{
	const struct timespec none = {0};
	sigset_t pipe, saved;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	if (sigprocmask(SIG_BLOCK, &pipe, &saved) < 0)
		return;
	if (write_soon(line, length) == -EPIPE && sigismember(&saved, SIGPIPE) == 0)
		(void)sigtimedwait(&pipe, NULL, &none);
	(void)sigprocmask(SIG_SETMASK, &saved, NULL);
}

void log_write(enum log_level level, const char *subsystem, const char *message, ...)
{
	char line[LOG_LINE_MAX];
	int saved = errno;
	bool attached = is_attached();
	va_list pairs;

	if (!log_enabled(level) || (!attached && log_state.fd < 0) || is_too_often(level, message))
		return;
	va_start(pairs, message);
	size_t length =
		attached || log_state.form == LOG_FORM_KATA
			? log_line_format(line, log_state.name, level, subsystem, message, pairs)
			: log_line_logrus(line, log_state.form == LOG_FORM_JSON, level, message, pairs);
	va_end(pairs);

	if (attached) {
		ring_append(level, line, length);
		main_flush();
		if (log_state.n_sinks > 0)
			loop_defer_add(log_state.loop, &log_state.defer, on_defer);
	} else if (!log_state.loop || is_same_file()) {
		write_direct(line, length);
	}
	errno = saved;
}

/* --- settings --- */

void log_init(const char *name)
{
	log_state.name = name;
	identify();
}

void log_set_fd(int fd)
{
	log_state.fd = fd;
	identify();
	if (is_attached())
		main_open();
}

void log_set_form(enum log_form form)
{
	log_state.form = form;
}

int log_get_fd(void)
{
	return log_state.fd;
}

uint64_t log_dropped(void)
{
	return log_state.dropped;
}
