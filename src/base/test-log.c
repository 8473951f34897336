/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of log.c and log-line.c. */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

/* --- a strict reader of the lines: {"key":"value",…} with strings only --- */

enum { KEYS_MAX = 64 };

struct line {
	size_t n;
	char keys[KEYS_MAX][256];
	char values[KEYS_MAX][LOG_LINE_MAX];
};

static const char *parse_string(const char *p, char *out, size_t size)
{
	size_t n = 0;

	assert_int_equal(*p, '"');
	for (p++; *p != '"'; p++) {
		char c = *p;

		assert_true((unsigned char)c >= 0x20);
		if (c == '\\') {
			static const char from[] = "nrt\"\\", to[] = "\n\r\t\"\\";
			p++;
			if (*p == 'u') {
				char hex[5] = {p[1], p[2], p[3], p[4], 0};
				uint64_t v;

				assert_int_equal(str_to_u64(hex, 16, &v), 0);
				c = (char)v;
				p += 4;
			} else {
				const char *at = strchr(from, *p);

				assert_non_null(at);
				c = to[at - from];
			}
		}
		assert_true(n + 1 < size);
		out[n++] = c;
	}
	out[n] = '\0';
	return p + 1;
}

static const char *parse_line(const char *p, struct line *line)
{
	const char *end = strchr(p, '\n');

	assert_non_null(end);
	assert_true((size_t)(end + 1 - p) <= LOG_LINE_MAX);
	assert_true(utf8_valid(p, (size_t)(end - p)));
	line->n = 0;
	assert_int_equal(*p, '{');
	do {
		assert_true(line->n < KEYS_MAX);
		p = parse_string(p + 1, line->keys[line->n], 256);
		assert_int_equal(*p, ':');
		p = parse_string(p + 1, line->values[line->n], LOG_LINE_MAX);
		for (size_t i = 0; i < line->n; i++)
			assert_string_not_equal(line->keys[i], line->keys[line->n]);
		line->n++;
	} while (*p == ',');
	assert_int_equal(*p, '}');
	assert_ptr_equal(p + 1, end);
	return end + 1;
}

static const char *value_of(const struct line *line, const char *key)
{
	for (size_t i = 0; i < line->n; i++)
		if (strcmp(line->keys[i], key) == 0)
			return line->values[i];
	return NULL;
}

/* --- the stage --- */

struct stage {
	struct loop *loop;
	int in[2]; /* a socket pair: the log writes to [1] */
	struct buf text;
	struct line line;
};

static int setup(void **state)
{
	struct stage *stage = calloc(1, sizeof(*stage));
	int small = 4096;

	if (!stage || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stage->in) < 0)
		return -1;
	stage->loop = loop_new();
	setsockopt(stage->in[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	log_init("kata-agent");
	log_set_level(LOG_INFO);
	log_set_fd(stage->in[1]);
	*state = stage;
	return stage->loop ? 0 : -1;
}

static int teardown(void **state)
{
	struct stage *stage = *state;

	log_detach(0);
	log_set_fd(-1);
	loop_free(stage->loop);
	fd_close(stage->in[0]);
	fd_close(stage->in[1]);
	buf_deinit(&stage->text);
	free(stage);
	return 0;
}

/* Appends what @fd has now. */
static void drain(int fd, struct buf *into)
{
	for (;;) {
		uint8_t *to = buf_reserve(into, 4096);
		ssize_t n = recv(fd, to, 4096, MSG_DONTWAIT);

		if (n <= 0)
			return;
		buf_commit(into, (size_t)n);
	}
}

static void pump(struct stage *stage, int fd, struct buf *into)
{
	for (int i = 0; i < 500; i++) {
		size_t before = into->length;

		loop_run_once(stage->loop, 0);
		drain(fd, into);
		if (into->length == before && i > 5)
			return;
	}
}

static const struct line *read_line(struct stage *stage)
{
	drain(stage->in[0], &stage->text);
	const char *text = buf_string(&stage->text);
	const char *end = parse_line(text, &stage->line);
	buf_consume(&stage->text, (size_t)(end - text));
	return &stage->line;
}

/* --- the form of a record --- */

static void test_form(void **state)
{
	struct stage *stage = *state;
	char pid[24];

	log_info("rpc", "container created", "container-id", "web", "count", LOG_NUMBER(-5), "absent", NULL);
	const struct line *line = read_line(stage);
	static const char *const order[] = {"msg",  "level",  "ts",	   "version",	   "pid",
					    "name", "source", "subsystem", "container-id", "count"};
	assert_int_equal(line->n, array_length(order));
	for (size_t i = 0; i < array_length(order); i++)
		assert_string_equal(line->keys[i], order[i]);
	assert_string_equal(value_of(line, "msg"), "container created");
	assert_string_equal(value_of(line, "level"), "INFO");
	assert_string_equal(value_of(line, "version"), "0.1.0");
	assert_string_equal(value_of(line, "pid"), log_number(pid, getpid()));
	assert_string_equal(value_of(line, "name"), "kata-agent");
	assert_string_equal(value_of(line, "source"), "agent");
	assert_string_equal(value_of(line, "subsystem"), "rpc");
	assert_string_equal(value_of(line, "container-id"), "web");
	assert_string_equal(value_of(line, "count"), "-5");
}

static void test_time_is_rfc3339_in_utc(void **state)
{
	struct stage *stage = *state;
	struct tm tm = {0};
	time_t before = time(NULL);

	log_info(NULL, "x");
	const char *ts = value_of(read_line(stage), "ts");
	assert_int_equal(strlen(ts), strlen("2024-02-29T12:34:56.123456789Z"));
	const char *rest = strptime(ts, "%Y-%m-%dT%H:%M:%S", &tm);
	assert_non_null(rest);
	assert_int_equal(*rest, '.');
	assert_int_equal(ts[strlen(ts) - 1], 'Z');
	assert_in_range(timegm(&tm), before - 1, time(NULL) + 1);
}

static void test_levels(void **state)
{
	struct stage *stage = *state;
	static const char *const names[] = {"CRIT", "ERRO", "WARN", "INFO", "DEBG", "TRCE"};
	enum log_level level;

	log_set_level(LOG_TRACE);
	for (int i = 0; i <= LOG_TRACE; i++) {
		log_record((enum log_level)i, "root", "x");
		assert_string_equal(value_of(read_line(stage), "level"), names[i]);
	}
	log_set_level(LOG_WARNING);
	log_info("root", "not this");
	log_write(LOG_INFO, "root", "nor this", NULL);
	log_warning("root", "this");
	assert_string_equal(value_of(read_line(stage), "msg"), "this");
	assert_int_equal(stage->text.length, 0);

	assert_true(log_level_parse("trace", &level) && level == LOG_TRACE);
	assert_true(log_level_parse("warning", &level) && level == LOG_WARNING);
	assert_true(log_level_parse("crit", &level) && level == LOG_CRITICAL);
	assert_false(log_level_parse("INFO", &level));
	assert_false(log_level_parse("", &level));
	assert_false(log_level_parse(NULL, &level));
}

static void test_keys_are_unique_and_the_nearest_wins(void **state)
{
	struct stage *stage = *state;

	log_info("rpc", "m", "pid", "7", "a", "1", "a", "2", "level", "spoof", "msg", "spoof", "subsystem",
		 "own");
	const struct line *line = read_line(stage);
	assert_string_equal(value_of(line, "pid"), "7");
	assert_string_equal(value_of(line, "a"), "2");
	assert_string_equal(value_of(line, "level"), "INFO");
	assert_string_equal(value_of(line, "msg"), "m");
	assert_string_equal(value_of(line, "subsystem"), "own");
}

static void test_hostile_values(void **state)
{
	struct stage *stage = *state;

	log_info("rpc", "a\nb\"}\\\t\x01\x7f", "v", "\xff\xc3(\xed\xa0\x80\xe2\x82\xac", "k\"\n", "{}");
	const struct line *line = read_line(stage);
	assert_string_equal(value_of(line, "msg"), "a\nb\"}\\\t\x01\x7f");
	assert_string_equal(value_of(line, "v"),
			    "\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xe2\x82\xac");
	assert_string_equal(value_of(line, "k\"\n"), "{}");
	assert_int_equal(stage->text.length, 0);
}

static void test_long_values_are_cut(void **state)
{
	struct stage *stage = *state;
	static char text[40000];
	size_t n = 0;

	log_attach(stage->loop, 0);
	for (; n + 4 < sizeof(text); n += 3)
		memcpy(text + n, "\xe2\x82\xac", 3);
	text[n] = '\0';
	log_info("rpc", text, "one", text, "two", text, "three", "short");
	pump(stage, stage->in[0], &stage->text);
	const struct line *line = read_line(stage);
	assert_in_range(strlen(value_of(line, "msg")), 4000, 4096);
	assert_in_range(strlen(value_of(line, "one")), 500, 4096);
	assert_in_range(strlen(value_of(line, "two")), 500, 4096);
	assert_string_equal(value_of(line, "three"), "short");

	/* Escapes six times as long as what they stand for. */
	memset(text, 1, sizeof(text) - 1);
	log_info(text, text, text, text, "last", text);
	pump(stage, stage->in[0], &stage->text);
	(void)read_line(stage);
	assert_int_equal(stage->text.length, 0);
}

static void test_too_many_pairs(void **state)
{
	struct stage *stage = *state;

	log_info("rpc", "m", "1", "", "2", "", "3", "", "4", "", "5", "", "6", "", "7", "", "8", "", "9", "",
		 "10", "", "11", "", "12", "", "13", "", "14", "", "15", "", "16", "", "17", "", "18", "",
		 "19", "", "20", "", "21", "", "22", "", "23", "", "24", "", "25", "", "26", "", "27", "",
		 "28", "", "29", "", "30", "");
	const struct line *line = read_line(stage);
	assert_non_null(value_of(line, "27"));
}

static void test_errno_is_kept(void **state)
{
	errno = ENOTTY;
	log_info("rpc", "x");
	assert_int_equal(errno, ENOTTY);
}

/* --- the ring --- */

static void test_order_and_nothing_lost(void **state)
{
	struct stage *stage = *state;
	uint64_t dropped = log_dropped();

	assert_int_equal(log_attach(stage->loop, 1 << 20), 0);
	assert_int_equal(log_attach(stage->loop, 1 << 20), -EBUSY);
	for (int i = 0; i < 500; i++)
		log_info("rpc", LOG_NUMBER(i));
	pump(stage, stage->in[0], &stage->text);
	for (int i = 0; i < 500; i++)
		assert_string_equal(value_of(read_line(stage), "msg"), LOG_NUMBER(i));
	assert_int_equal(stage->text.length, 0);
	assert_true(log_dropped() == dropped);
}

static void test_too_many_of_a_kind(void **state)
{
	struct stage *stage = *state;
	unsigned floods = 0, others = 0;

	assert_int_equal(log_attach(stage->loop, 4 << 20), 0);
	log_set_level(LOG_DEBUG);
	log_limit_rate(true);
	for (int i = 0; i < 3000; i++) {
		log_warning("rpc", "flood");
		if (i % 100 == 0)
			log_error("rpc", "other");
	}
	pump(stage, stage->in[0], &stage->text);
	while (stage->text.length > 0) {
		const char *message = value_of(read_line(stage), "msg");

		floods += strcmp(message, "flood") == 0;
		others += strcmp(message, "other") == 0;
	}
	assert_in_range(floods, 1000, 1500);
	assert_int_equal(others, 30);
	/* How many is told by itself, a second later. */
	for (uint64_t start = loop_now(); stage->text.length == 0 && loop_now() < start + 5000;) {
		loop_run_once(stage->loop, 100);
		pump(stage, stage->in[0], &stage->text);
	}
	const struct line *line = read_line(stage);
	assert_string_equal(value_of(line, "msg"), "log records were left out: too many of a kind");
	assert_string_equal(value_of(line, "of"), "flood");
	assert_int_equal(atoi(value_of(line, "count")), 3000 - floods);
	/* Who wants details gets them all. */
	for (int i = 0; i < 3000; i++)
		log_debug("rpc", "detail");
	pump(stage, stage->in[0], &stage->text);
	for (int i = 0; i < 3000; i++)
		assert_string_equal(value_of(read_line(stage), "msg"), "detail");
	/* The end tells what is not told yet. */
	for (int i = 0; i < 3000; i++)
		log_warning("rpc", "flood");
	pump(stage, stage->in[0], &stage->text);
	log_detach(1000);
	pump(stage, stage->in[0], &stage->text);
	assert_non_null(strstr(buf_string(&stage->text), "too many of a kind"));
	buf_clear(&stage->text);
	log_set_level(LOG_INFO);
}

/*
 * Nobody reads. What is kept when the reader comes back: every warning, the newest of the rest, whole lines only, and a
 * record that tells the true number of those lost.
 */
static void test_overflow(void **state)
{
	struct stage *stage = *state;
	uint64_t before = log_dropped();
	int got = 0, warnings = 0, last = -1;
	uint64_t told = 0;

	log_attach(stage->loop, 64 * 1024);
	for (int i = 0; i < 2000; i++) {
		if (i % 100 == 50)
			log_warning("rpc", LOG_NUMBER(i));
		else
			log_info("rpc", LOG_NUMBER(i));
	}
	uint64_t dropped = log_dropped() - before;
	assert_true(dropped > 1000);
	pump(stage, stage->in[0], &stage->text);
	while (stage->text.length > 0) {
		const struct line *line = read_line(stage);
		uint64_t count;

		if (value_of(line, "count")) {
			assert_string_equal(value_of(line, "level"), "ERRO");
			assert_int_equal(str_to_u64(value_of(line, "count"), 10, &count), 0);
			told += count;
			continue;
		}
		int number = atoi(value_of(line, "msg"));
		assert_true(number > last);
		last = number;
		got++;
		warnings += number % 100 == 50;
	}
	assert_int_equal(warnings, 20);
	assert_int_equal(last, 1999);
	assert_true(told == dropped);
	assert_int_equal((uint64_t)got + dropped, 2000);
}

static void test_only_warnings_overflow_too(void **state)
{
	struct stage *stage = *state;
	int last = -1;

	log_attach(stage->loop, 0);
	for (int i = 0; i < 1000; i++)
		log_error("rpc", LOG_NUMBER(i));
	/* Worth less than anything that is queued: this one goes. */
	log_info("rpc", "minor");
	pump(stage, stage->in[0], &stage->text);
	while (stage->text.length > 0) {
		const struct line *line = read_line(stage);

		assert_string_not_equal(value_of(line, "msg"), "minor");
		if (!value_of(line, "count"))
			last = atoi(value_of(line, "msg"));
	}
	assert_int_equal(last, 999);
}

static void test_dead_reader_disturbs_nobody(void **state)
{
	struct stage *stage = *state;

	log_attach(stage->loop, 0);
	stage->in[0] = fd_close(stage->in[0]);
	for (int i = 0; i < 500; i++) {
		log_info("rpc", "into the void");
		loop_run_once(stage->loop, 0);
	}
	/* Nothing is due: the loop sleeps. */
	uint64_t start = loop_now();
	loop_run_once(stage->loop, 30);
	assert_true(loop_now() - start >= 29);
}

static void test_flags_of_a_borrowed_pipe_are_kept(void **state)
{
	struct stage *stage = *state;
	char bytes[8192];
	int p[2], total = 0;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	log_set_fd(p[1]);
	log_attach(stage->loop, 0);
	assert_false(fcntl(p[1], F_GETFL) & O_NONBLOCK);
	/* More than a pipe holds, and nobody reads: must not block. */
	alarm(10);
	for (int i = 0; i < 2000; i++)
		log_info("rpc", "a record of some length for the pipe");
	alarm(0);
	fd_nonblock(p[0], true);
	for (int i = 0; i < 100; i++) {
		ssize_t n;

		while ((n = read(p[0], bytes, sizeof(bytes))) > 0)
			total += (int)n;
		loop_run_once(stage->loop, 0);
	}
	assert_in_range(total, 65536, 150000);
	log_set_fd(stage->in[1]);
	fd_close(p[0]);
	fd_close(p[1]);
}

static void test_regular_file(void **state)
{
	struct stage *stage = *state;
	char path[] = "/tmp/test-log-XXXXXX";
	_cleanup_fd_ int fd = mkstemp(path);
	_cleanup_free_ char *text = NULL;

	unlink(path);
	log_set_fd(fd);
	log_attach(stage->loop, 0);
	log_info("rpc", "one");
	log_info("rpc", "two");
	log_detach(100);
	log_info("rpc", "three");
	char proc[64];
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	assert_true(file_read(AT_FDCWD, proc, 100000, &text) > 0);
	const char *p = text;
	static const char *const expected[] = {"one", "two", "three"};
	for (size_t i = 0; i < 3; i++) {
		p = parse_line(p, &stage->line);
		assert_string_equal(value_of(&stage->line, "msg"), expected[i]);
	}
	assert_int_equal(*p, '\0');
	log_set_fd(stage->in[1]);
}

static void test_detach_flushes(void **state)
{
	struct stage *stage = *state;
	static char long_text[3000];
	int status;

	memset(long_text, 'x', sizeof(long_text) - 1);
	log_attach(stage->loop, 1 << 20);
	for (int i = 0; i < 50; i++)
		log_info("rpc", long_text);
	pid_t pid = fork();
	if (pid == 0) {
		char bytes[4096];
		int total = 0;
		ssize_t n;

		close(stage->in[1]);
		while (total < 50 * 3000 && (n = read(stage->in[0], bytes, sizeof(bytes))) > 0) {
			total += (int)n;
			usleep(100);
		}
		_exit(total >= 50 * 3000 ? 0 : 1);
	}
	log_detach(10000);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);

	/* Nobody reads: the time is kept. */
	log_attach(stage->loop, 1 << 20);
	for (int i = 0; i < 50; i++)
		log_info("rpc", long_text);
	uint64_t start = loop_now();
	log_detach(50);
	assert_in_range(loop_now() - start, 45, 2000);
}

/* --- forked children --- */

static void test_children_write_directly(void **state)
{
	struct stage *stage = *state;
	int status, other[2];
	char byte;

	assert_int_equal(pipe2(other, O_CLOEXEC | O_NONBLOCK), 0);
	log_attach(stage->loop, 0);
	pid_t pid = fork();
	if (pid == 0) {
		log_info("rpc", "from the child");
		/* The number now stands for a container's file. */
		dup2(other[1], stage->in[1]);
		log_info("rpc", "not this");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_string_equal(value_of(read_line(stage), "msg"), "from the child");
	assert_int_equal(stage->text.length, 0);
	assert_int_equal(read(other[0], &byte, 1), -1);
	assert_int_equal(errno, EAGAIN);
	fd_close(other[0]);
	fd_close(other[1]);
}

static void test_no_sigpipe_when_direct(void **state)
{
	struct stage *stage = *state;
	int status;

	stage->in[0] = fd_close(stage->in[0]);
	pid_t pid = fork();
	if (pid == 0) {
		loop_child_reset();
		log_info("rpc", "nobody hears");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Process 1 of a namespace with an attached log, as the agent in a guest. */
static _Noreturn void log_as_agent(struct stage *stage, void (*child)(struct stage *stage))
{
	int status;

	if (getpid() != 1 || log_attach(stage->loop, 0) < 0 || unshare(CLONE_NEWPID) < 0)
		_exit(1);
	pid_t pid = fork();
	if (pid == 0) {
		child(stage);
		_exit(0);
	}
	_exit(waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 2);
}

/* A container's first process: numbers that were the log's stand for other files now, which must be left alone. */
static void log_as_container(struct stage *stage)
{
	int copy = fcntl(stage->in[1], F_DUPFD_CLOEXEC, 500), other = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int keep[] = {copy, fcntl(other, F_DUPFD_CLOEXEC, 501)};
	struct stat st;

	fd_close_all_but(keep, 2);
	while (fcntl(keep[1], F_DUPFD_CLOEXEC, 3) < 100)
		;
	if (getpid() != 1)
		_exit(3);
	log_set_fd(copy);
	log_info("rpc", "from process 1");
	for (int i = 3; i < 100; i++)
		if (fstat(i, &st) < 0 || !S_ISCHR(st.st_mode))
			_exit(4);
}

/* Its process id is that of the agent, which is process 1 too. */
static void test_first_process_of_a_namespace_is_a_child(void **state)
{
	struct stage *stage = *state;
	int status;

	pid_t middle = fork();
	if (middle == 0) {
		if (unshare(CLONE_NEWPID) < 0)
			_exit(77);
		pid_t pid = fork();
		if (pid == 0)
			log_as_agent(stage, log_as_container);
		_exit(waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 5);
	}
	assert_int_equal(waitpid(middle, &status, 0), middle);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_string_equal(value_of(read_line(stage), "msg"), "from process 1");
	assert_int_equal(stage->text.length, 0);
}

/* A console that is held up holds up neither a job nor a container's start. */
static void test_stuck_reader_does_not_stop_children(void **state)
{
	struct stage *stage = *state;
	int status, full[2];
	char page[4096] = {0};

	assert_int_equal(pipe2(full, O_CLOEXEC), 0);
	fd_nonblock(full[1], true);
	while (write(full[1], page, sizeof(page)) > 0)
		;
	fd_nonblock(full[1], false);
	log_set_fd(full[1]);
	log_attach(stage->loop, 0);
	pid_t pid = fork();
	if (pid == 0) {
		loop_child_reset();
		alarm(10);
		log_info("rpc", "nobody reads");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	fd_close(full[0]);
	fd_close(full[1]);
	log_set_fd(-1);
}

/* --- sinks --- */

static int open_sink(int *ours)
{
	int s[2], small = 4096;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	setsockopt(s[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	*ours = s[0];
	return s[1];
}

static int count_lines(struct buf *text, struct line *line)
{
	const char *p = buf_string(text);
	int n = 0;

	for (; *p; n++)
		p = parse_line(p, line);
	return n;
}

static void test_sinks(void **state)
{
	struct stage *stage = *state;
	_cleanup_buf_ struct buf old_text = BUF_INIT;
	_cleanup_buf_ struct buf new_text = BUF_INIT;
	int old_fd, new_fd;

	assert_null(log_sink_new(open_sink(&old_fd), true));
	fd_close(old_fd);
	log_attach(stage->loop, 1 << 20);
	for (int i = 0; i < 10; i++)
		log_info("rpc", "before");
	struct log_sink *with = log_sink_new(open_sink(&old_fd), true);
	struct log_sink *without = log_sink_new(open_sink(&new_fd), false);
	assert_non_null(with);
	assert_non_null(without);
	assert_int_equal(log_sink_count(), 2);
	for (int i = 0; i < 300; i++)
		log_info("rpc", "after");
	pump(stage, old_fd, &old_text);
	pump(stage, new_fd, &new_text);
	pump(stage, stage->in[0], &stage->text);
	assert_int_equal(count_lines(&old_text, &stage->line), 310);
	assert_int_equal(count_lines(&new_text, &stage->line), 300);
	assert_int_equal(count_lines(&stage->text, &stage->line), 310);

	log_sink_free(with);
	log_sink_free(with);
	assert_int_equal(log_sink_count(), 1);
	fd_close(new_fd);
	log_info("rpc", "one more");
	loop_run_once(stage->loop, 0);
	loop_run_once(stage->loop, 0);
	assert_int_equal(log_sink_count(), 0);
	log_sink_free(without);
	log_sink_free(NULL);
	fd_close(old_fd);
}

static void test_idle_sink_notices_a_hangup(void **state)
{
	struct stage *stage = *state;
	int fd;

	log_attach(stage->loop, 0);
	assert_non_null(log_sink_new(open_sink(&fd), false));
	loop_run_once(stage->loop, 0);
	fd_close(fd);
	loop_run_once(stage->loop, 1000);
	assert_int_equal(log_sink_count(), 0);
}

/* `nc </dev/null`: the peer closes its sending half and goes on reading. */
static void test_half_closed_sink_lives(void **state)
{
	struct stage *stage = *state;
	_cleanup_buf_ struct buf text = BUF_INIT;
	int fd;

	log_attach(stage->loop, 0);
	assert_non_null(log_sink_new(open_sink(&fd), false));
	shutdown(fd, SHUT_WR);
	loop_run_once(stage->loop, 0);
	uint64_t start = loop_now();
	loop_run_once(stage->loop, 30);
	assert_true(loop_now() - start >= 29);
	log_info("rpc", "still there");
	pump(stage, fd, &text);
	assert_int_equal(count_lines(&text, &stage->line), 1);
	fd_close(fd);
}

/* A sink that does not read loses, is told so, and holds up neither the main descriptor nor another sink. */
static void test_slow_sink(void **state)
{
	struct stage *stage = *state;
	_cleanup_buf_ struct buf fast_text = BUF_INIT;
	_cleanup_buf_ struct buf slow_text = BUF_INIT;
	int fast, slow, got = 0;
	uint64_t told = 0;

	log_attach(stage->loop, 64 * 1024);
	log_sink_new(open_sink(&slow), false);
	log_sink_new(open_sink(&fast), false);
	for (int i = 0; i < 2000; i++) {
		log_info("rpc", "text");
		if (i % 10 == 0) {
			pump(stage, fast, &fast_text);
			drain(stage->in[0], &stage->text);
		}
	}
	pump(stage, fast, &fast_text);
	pump(stage, stage->in[0], &stage->text);
	assert_int_equal(count_lines(&fast_text, &stage->line), 2000);
	assert_int_equal(count_lines(&stage->text, &stage->line), 2000);

	pump(stage, slow, &slow_text);
	for (const char *p = buf_string(&slow_text); *p;) {
		uint64_t count;

		p = parse_line(p, &stage->line);
		if (value_of(&stage->line, "count")) {
			assert_int_equal(str_to_u64(value_of(&stage->line, "count"), 10, &count), 0);
			told += count;
		} else {
			got++;
		}
	}
	assert_true(told > 0);
	assert_int_equal((uint64_t)got + told, 2000);
	fd_close(fast);
	fd_close(slow);
}

#define log_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		log_test(test_form),
		log_test(test_time_is_rfc3339_in_utc),
		log_test(test_levels),
		log_test(test_keys_are_unique_and_the_nearest_wins),
		log_test(test_hostile_values),
		log_test(test_long_values_are_cut),
		log_test(test_too_many_pairs),
		log_test(test_errno_is_kept),
		log_test(test_order_and_nothing_lost),
		log_test(test_too_many_of_a_kind),
		log_test(test_overflow),
		log_test(test_only_warnings_overflow_too),
		log_test(test_dead_reader_disturbs_nobody),
		log_test(test_flags_of_a_borrowed_pipe_are_kept),
		log_test(test_regular_file),
		log_test(test_detach_flushes),
		log_test(test_children_write_directly),
		log_test(test_no_sigpipe_when_direct),
		log_test(test_first_process_of_a_namespace_is_a_child),
		log_test(test_stuck_reader_does_not_stop_children),
		log_test(test_sinks),
		log_test(test_idle_sink_notices_a_hangup),
		log_test(test_half_closed_sink_lives),
		log_test(test_slow_sink),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
