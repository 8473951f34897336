/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `events` and `stats`: one JSON object a line, in the form that runc made common: statistics at intervals, and a line for
 * each out-of-memory kill, until the container has gone.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/str.h"
#include "engine/oci_state.h"
#include "oci/session.h"

/* --- one object --------------------------------------------------------------------------------------------- */

static void append_cpu(struct buf *out, const struct cgroup_stats *s)
{
	buf_printf(out, "\"cpu\":{\"usage\":{\"total\":%" PRIu64, s->cpu.total_ns);
	for (size_t i = 0; i < s->cpu.n_percpu; i++)
		buf_printf(out, "%s%" PRIu64, i ? "," : ",\"percpu\":[", s->cpu.percpu_ns[i]);
	buf_printf(out, "%s,\"kernel\":%" PRIu64 ",\"user\":%" PRIu64 "}", s->cpu.n_percpu ? "]" : "",
		   s->cpu.kernel_ns, s->cpu.user_ns);
	buf_printf(out,
		   ",\"throttling\":{\"periods\":%" PRIu64 ",\"throttledPeriods\":%" PRIu64
		   ",\"throttledTime\":%" PRIu64 "}}",
		   s->cpu.periods, s->cpu.throttled_periods, s->cpu.throttled_ns);
}

static void append_memory_data(struct buf *out, const char *name, const struct cgroup_memory_data *data)
{
	buf_printf(out,
		   ",\"%s\":{\"limit\":%" PRIu64 ",\"usage\":%" PRIu64 ",\"max\":%" PRIu64
		   ",\"failcnt\":%" PRIu64 "}",
		   name, data->limit, data->usage, data->max_usage, data->failcnt);
}

static void append_memory(struct buf *out, const struct cgroup_stats *s)
{
	buf_printf(out, ",\"memory\":{\"cache\":%" PRIu64, s->memory.cache);
	append_memory_data(out, "usage", &s->memory.usage);
	append_memory_data(out, "swap", &s->memory.swap);
	append_memory_data(out, "kernel", &s->memory.kernel);
	buf_append_string(out, ",\"raw\":{");
	for (size_t i = 0; i < s->memory.n_stats; i++) {
		buf_append_string(out, i ? "," : "");
		json_append_quoted(out, s->memory.stats[i].name);
		buf_printf(out, ":%" PRIu64, s->memory.stats[i].value);
	}
	buf_append_string(out, "}}");
}

static void append_io_table(struct buf *out, const char *name, const struct cgroup_io_table *table,
			    bool first)
{
	buf_printf(out, "%s\"%s\":[", first ? "" : ",", name);
	for (size_t i = 0; i < table->count; i++) {
		const struct cgroup_io_entry *entry = &table->entries[i];
		buf_printf(out, "%s{\"major\":%" PRIu64 ",\"minor\":%" PRIu64 ",\"op\":", i ? "," : "",
			   entry->major, entry->minor);
		json_append_quoted(out, entry->op);
		buf_printf(out, ",\"value\":%" PRIu64 "}", entry->value);
	}
	buf_append_char(out, ']');
}

static void append_io(struct buf *out, const struct cgroup_stats *s)
{
	buf_append_string(out, ",\"blkio\":{");
	append_io_table(out, "ioServiceBytesRecursive", &s->io.service_bytes, true);
	append_io_table(out, "ioServicedRecursive", &s->io.serviced, false);
	append_io_table(out, "ioQueueRecursive", &s->io.queued, false);
	append_io_table(out, "ioServiceTimeRecursive", &s->io.service_time, false);
	append_io_table(out, "ioWaitTimeRecursive", &s->io.wait_time, false);
	append_io_table(out, "ioMergedRecursive", &s->io.merged, false);
	append_io_table(out, "ioTimeRecursive", &s->io.time, false);
	append_io_table(out, "sectorsRecursive", &s->io.sectors, false);
	buf_append_char(out, '}');
}

static void append_hugepages(struct buf *out, const struct cgroup_stats *s)
{
	buf_append_string(out, ",\"hugetlb\":{");
	for (size_t i = 0; i < s->n_hugepages; i++) {
		const struct cgroup_hugepage_stats *page = &s->hugepages[i];
		buf_append_string(out, i ? "," : "");
		json_append_quoted(out, page->size);
		buf_printf(out, ":{\"usage\":%" PRIu64 ",\"max\":%" PRIu64 ",\"failcnt\":%" PRIu64 "}",
			   page->usage, page->max_usage, page->failcnt);
	}
	buf_append_char(out, '}');
}

static int print_line(struct buf *out)
{
	buf_append_char(out, '\n');
	return out->failed ? -ENOMEM : fd_write_all(1, buf_begin(out), out->length);
}

static int print_stats(struct session *s, struct error *e)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct cgroup_stats stats = {0};
	struct arena *arena = arena_new(0);
	struct cgroup *cgroup = container_cgroup(s->container);

	int r = !arena	 ? error_errno(e, ENOMEM, "statistics")
		: cgroup ? cgroup_stats(cgroup, arena, &stats, e)
			 : 0;
	if (r == 0) {
		buf_append_string(&out, "{\"type\":\"stats\",\"id\":");
		json_append_quoted(&out, s->dir.id);
		buf_append_string(&out, ",\"data\":{");
		append_cpu(&out, &stats);
		append_memory(&out, &stats);
		buf_printf(&out, ",\"pids\":{\"current\":%" PRIu64, stats.pids.current);
		if (stats.pids.limit)
			buf_printf(&out, ",\"limit\":%" PRIu64, stats.pids.limit);
		buf_append_char(&out, '}');
		append_io(&out, &stats);
		append_hugepages(&out, &stats);
		buf_append_string(&out, ",\"intel_rdt\":{},\"network_interfaces\":null}}");
		r = print_line(&out);
		if (r < 0)
			error_errno(e, -r, "write");
	}
	arena_free(arena);
	return r;
}

/* --- the stream --------------------------------------------------------------------------------------------- */

struct stream {
	struct session *session;
	struct loop_timer timer;
	uint64_t interval_ms;
	int r;
	struct error error;
};

static void on_oom(uint64_t kills, void *data)
{
	struct stream *stream = data;
	_cleanup_buf_ struct buf out = BUF_INIT;

	for (uint64_t i = 0; i < kills && i < 1000; i++) {
		buf_clear(&out);
		buf_append_string(&out, "{\"type\":\"oom\",\"id\":");
		json_append_quoted(&out, stream->session->dir.id);
		buf_append_char(&out, '}');
		if (print_line(&out) < 0)
			loop_quit(stream->session->loop, 0);
	}
}

static void on_interval(struct loop_timer *timer)
{
	struct stream *stream = container_of(timer, struct stream, timer);

	stream->r = print_stats(stream->session, &stream->error);
	if (stream->r < 0 ||
	    loop_timer_set(stream->session->loop, timer, stream->interval_ms, on_interval) < 0)
		loop_quit(stream->session->loop, 0);
}

static void on_gone(struct process *process, void *data)
{
	struct stream *stream = data;
	loop_quit(stream->session->loop, 0);
}

static int follow(struct session *s, uint64_t interval_ms, struct error *e)
{
	struct stream stream = {.session = s, .interval_ms = interval_ms};
	struct process *init = container_init(s->container);
	struct error ignored = ERROR_INIT;
	struct cgroup *cgroup = container_cgroup(s->container);
	struct cgroup_oom *oom = cgroup ? cgroup_oom_watch(cgroup, s->loop, on_oom, &stream, &ignored) : NULL;

	init->on_exit = on_gone;
	init->on_exit_data = &stream;
	int r = loop_timer_set(s->loop, &stream.timer, interval_ms, on_interval);
	if (r == 0 && !init->exited)
		(void)loop_run(s->loop);
	init->on_exit = NULL;
	loop_timer_remove(&stream.timer);
	cgroup_oom_free(oom);
	if (stream.r < 0)
		*e = stream.error;
	return r < 0 ? error_errno(e, -r, "start a timer") : stream.r;
}

/* "5s", "500ms", "1m", "2" (seconds). 0 where it is none, or nothing. */
static uint64_t parse_interval(const char *text)
{
	char *end;
	errno = 0;
	uint64_t value = strtoull(text, &end, 10);
	uint64_t unit = strcmp(end, "ms") == 0			? 1
			: strcmp(end, "s") == 0 || *end == '\0' ? 1000
			: strcmp(end, "m") == 0			? 60000
			: strcmp(end, "h") == 0			? 3600000
								: 0;
	return errno || *text == '-' || __builtin_mul_overflow(value, unit, &value) ? 0 : value;
}

int command_events(struct oci *oci, int argc, char **argv)
{
	static const struct option options[] = {{"stats", no_argument, NULL, 's'},
						{"interval", required_argument, NULL, 'i'},
						{NULL, 0, NULL, 0}};
	struct session s = SESSION_INIT;
	struct error e = ERROR_INIT;
	bool once = strcmp(argv[0], "stats") == 0;
	uint64_t interval_ms = 5000;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return oci_usage(oci);
		if (c == 's')
			once = true;
		else if ((interval_ms = parse_interval(optarg)) == 0)
			return oci_complain(oci, "invalid value \"%s\" for --interval", optarg);
	}
	const char *id = oci_only_id(oci, argc, argv, optind);
	if (!id)
		return 1;
	int r = session_open(&s, oci, id, STATE_UNLOCKED, false, &e);
	if (r == 0 && s.record.status == CONTAINER_STOPPED)
		r = error_set(&e, STATUS_FAILED_PRECONDITION, ESRCH, "container not running: \"%s\"", id);
	if (r == 0)
		r = once ? print_stats(&s, &e) : follow(&s, interval_ms, &e);
	int status = r < 0 ? oci_fail(oci, &e) : 0;
	session_close(&s);
	return status;
}
