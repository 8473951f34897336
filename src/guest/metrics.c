/* SPDX-License-Identifier: Apache-2.0 */
/* See metrics.h. A family's head is written with its first sample, so that there is none without. */

#include "guest/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"

struct family {
	struct buf *out;
	const char *name, *type, *help;
	bool begun;
};

struct label {
	const char *name, *value;
};

#define FAMILY(out, name, type, help)                                                                        \
	{                                                                                                    \
		out, name, type, help, false                                                                 \
	}

/* --- writing --- */

static void append_label(struct buf *out, const struct label *label)
{
	char clean[1024];

	(void)utf8_sanitize(label->value, strlen(label->value), clean, sizeof(clean));
	buf_append_string(out, label->name);
	buf_append_string(out, "=\"");
	for (const char *p = clean; *p; p++) {
		if (*p == '\n')
			buf_append_string(out, "\\n");
		else if (*p == '"' || *p == '\\')
			buf_printf(out, "\\%c", *p);
		else
			buf_append_char(out, *p);
	}
	buf_append_char(out, '"');
}

/* Labels in the order of their names; one without a name ends them. */
static void sample(struct family *family, const struct label labels[4], const char *value)
{
	struct buf *out = family->out;

	if (!family->begun)
		buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
			   family->type);
	family->begun = true;
	buf_append_string(out, family->name);
	for (size_t i = 0; labels[i].name; i++) {
		buf_append_char(out, i == 0 ? '{' : ',');
		append_label(out, &labels[i]);
	}
	buf_printf(out, "%s %s\n", labels[0].name ? "}" : "", value);
}

static const struct label none[4];

static void number(struct family *family, const struct label labels[4], uint64_t value)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRIu64, value);
	sample(family, labels, text);
}

static void item(struct family *family, const char *name, uint64_t value)
{
	const struct label labels[4] = {{"item", name}};

	number(family, labels, value);
}

static void single(struct buf *out, const char *name, const char *type, const char *help, uint64_t value)
{
	struct family family = FAMILY(out, name, type, help);

	number(&family, none, value);
}

static void seconds(struct buf *out, const char *name, const char *type, const char *help, uint64_t ticks,
		    const struct metrics_input *input)
{
	struct family family = FAMILY(out, name, type, help);
	char text[48];

	(void)snprintf(text, sizeof(text), "%" PRIu64 ".%02" PRIu64, ticks / input->ticks,
		       ticks % input->ticks * 100 / input->ticks);
	sample(&family, none, text);
}

/* --- reading --- */

static bool read_number(const char *text, uint64_t *value)
{
	return text && str_to_u64(text, 10, value) == 0;
}

static uint64_t times(uint64_t value, uint64_t factor)
{
	uint64_t product;

	return __builtin_mul_overflow(value, factor, &product) ? UINT64_MAX : product;
}

/* Splits @line into at most @most fields at blanks; their number. */
static size_t split(char *line, char **fields, size_t most)
{
	size_t count = 0;
	char *rest = NULL;

	for (char *f = strtok_r(line, " \t\n", &rest); f && count < most; f = strtok_r(NULL, " \t\n", &rest))
		fields[count++] = f;
	return count;
}

/* "Name:   value …" or "name value": the number behind a name of @text, which is left as it is. */
static bool find_number(const char *text, const char *name, uint64_t *value)
{
	size_t length = strlen(name);

	for (const char *line = text; line && *line;
	     line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		char digits[24];
		size_t n;

		if (strncmp(line, name, length) != 0 || (line[length] != ':' && line[length] != ' '))
			continue;
		line += length + 1;
		line += strspn(line, " \t");
		n = strspn(line, "0123456789");
		if (n == 0 || n >= sizeof(digits))
			return false;
		memcpy(digits, line, n);
		digits[n] = '\0';
		return read_number(digits, value);
	}
	return false;
}

/* Items by name of a text, in the order of the table; what is not there is 0. */
struct named {
	const char *item, *name;
};

static void items(struct family *family, const char *text, const struct named *named, size_t count,
		  uint64_t factor)
{
	for (size_t i = 0; text && i < count; i++) {
		uint64_t value = 0;

		(void)find_number(text, named[i].name, &value);
		item(family, named[i].item, times(value, factor));
	}
}

/* --- the program --- */

enum {
	STAT_UTIME = 11,
	STAT_STIME,
	STAT_CUTIME,
	STAT_CSTIME,
	STAT_THREADS = 17,
	STAT_START = 19,
	STAT_VSIZE,
	STAT_RSS,
	STAT_FIELDS
};

static const struct named io_items[] = {
	{"rchar", "rchar"},
	{"wchar", "wchar"},
	{"syscr", "syscr"},
	{"syscw", "syscw"},
	{"read_bytes", "read_bytes"},
	{"write_bytes", "write_bytes"},
	{"cancelled_write_bytes", "cancelled_write_bytes"},
};

static const struct named status_items[] = {
	{"vmpeak", "VmPeak"},
	{"vmsize", "VmSize"},
	{"vmlck", "VmLck"},
	{"vmpin", "VmPin"},
	{"vmhwm", "VmHWM"},
	{"vmrss", "VmRSS"},
	{"rssanon", "RssAnon"},
	{"rssfile", "RssFile"},
	{"rssshmem", "RssShmem"},
	{"vmdata", "VmData"},
	{"vmstk", "VmStk"},
	{"vmexe", "VmExe"},
	{"vmlib", "VmLib"},
	{"vmpte", "VmPTE"},
	{"vmswap", "VmSwap"},
	{"hugetlbpages", "HugetlbPages"},
	{"voluntary_ctxt_switches", "voluntary_ctxt_switches"},
	{"nonvoluntary_ctxt_switches", "nonvoluntary_ctxt_switches"},
};

/* Of /proc/PID/stat, behind the name, which may hold anything. False: it is not of its form. */
static bool parse_stat(char *text, uint64_t stat[STAT_FIELDS])
{
	char *fields[STAT_FIELDS], *end = text ? strrchr(text, ')') : NULL;
	size_t count = end ? split(end + 1, fields, STAT_FIELDS) : 0;

	memset(stat, 0, sizeof(*stat) * STAT_FIELDS);
	/* The first is a letter; some may be negative. */
	for (size_t i = 1; i < count; i++)
		(void)read_number(fields[i], &stat[i]);
	return count == STAT_FIELDS;
}

static void format_process(const struct metrics_input *input, const uint64_t *stat, struct buf *out)
{
	uint64_t value;

	if (stat)
		seconds(out, "kata_agent_process_cpu_seconds_total", "counter",
			"CPU time of the agent in seconds", stat[STAT_UTIME] + stat[STAT_STIME], input);
	if (find_number(input->text[METRICS_SELF_LIMITS], "Max open files", &value))
		single(out, "kata_agent_process_max_fds", "gauge", "descriptors that the agent may have open",
		       value);
	single(out, "kata_agent_process_open_fds", "gauge", "descriptors that the agent has open",
	       input->descriptors);
	if (!stat)
		return;
	single(out, "kata_agent_process_resident_memory_bytes", "gauge",
	       "resident memory of the agent in bytes", times(stat[STAT_RSS], input->page_size));
	if (find_number(input->text[METRICS_STAT], "btime", &value))
		seconds(out, "kata_agent_process_start_time_seconds", "gauge",
			"start of the agent in seconds since 1970",
			times(value, input->ticks) + stat[STAT_START], input);
	single(out, "kata_agent_process_virtual_memory_bytes", "gauge",
	       "virtual memory of the agent in bytes", stat[STAT_VSIZE]);
}

static void format_agent(struct metrics_input *input, struct buf *out)
{
	struct family io = FAMILY(out, "kata_agent_io_stat", "gauge", "input and output of the agent");
	struct family ticks =
		FAMILY(out, "kata_agent_proc_stat", "gauge", "times of the agent in clock ticks");
	struct family status = FAMILY(out, "kata_agent_proc_status", "gauge", "memory of the agent in kB");
	uint64_t stat[STAT_FIELDS];
	bool known = parse_stat(input->text[METRICS_SELF_STAT], stat);

	items(&io, input->text[METRICS_SELF_IO], io_items, array_length(io_items), 1);
	if (known) {
		item(&ticks, "utime", stat[STAT_UTIME]);
		item(&ticks, "stime", stat[STAT_STIME]);
		item(&ticks, "cutime", stat[STAT_CUTIME]);
		item(&ticks, "cstime", stat[STAT_CSTIME]);
	}
	items(&status, input->text[METRICS_SELF_STATUS], status_items, array_length(status_items), 1);
	format_process(input, known ? stat : NULL, out);
	single(out, "kata_agent_scrape_count", "counter", "calls of GetMetrics", input->scrapes);
	if (!known)
		return;
	single(out, "kata_agent_threads", "gauge", "threads of the agent", stat[STAT_THREADS]);
	single(out, "kata_agent_total_rss", "gauge", "resident memory of the agent in bytes",
	       times(stat[STAT_RSS], input->page_size));
	seconds(out, "kata_agent_total_time", "gauge", "CPU time of the agent in seconds",
		stat[STAT_UTIME] + stat[STAT_STIME], input);
	single(out, "kata_agent_total_vm", "gauge", "virtual memory of the agent in bytes", stat[STAT_VSIZE]);
}

/* --- the guest --- */

/* Columns of one line under the names of @columns. */
static void columns(struct family *family, struct label labels[4], struct label *name, char **fields,
		    size_t count, const char *const *names, size_t n_names, uint64_t numerator,
		    uint64_t denominator)
{
	for (size_t i = 0; i < n_names; i++) {
		uint64_t value = 0;

		if (i < count)
			(void)read_number(fields[i], &value);
		name->value = names[i];
		number(family, labels, times(value, numerator) / denominator);
	}
}

static void format_cpus(struct metrics_input *input, struct buf *out)
{
	static const char *const names[] = {"user", "nice",    "system", "idle",  "iowait",
					    "irq",  "softirq", "steal",	 "guest", "guest_nice"};
	struct family family =
		FAMILY(out, "kata_guest_cpu_time", "gauge", "CPU time of the guest in milliseconds");
	char *rest = input->text[METRICS_STAT], *line, *fields[11];

	while ((line = strsep(&rest, "\n"))) {
		size_t count;

		if (!str_starts_with(line, "cpu"))
			continue;
		count = split(line, fields, array_length(fields));
		if (count < 5 || strlen(fields[0]) != 3 + strspn(fields[0] + 3, "0123456789"))
			continue;
		struct label labels[4] = {{"cpu", fields[0][3] ? fields[0] + 3 : "total"}, {"item", NULL}};
		columns(&family, labels, &labels[1], fields + 1, count - 1, names, array_length(names), 1000,
			input->ticks);
	}
}

static void format_disks(struct metrics_input *input, struct buf *out)
{
	static const char *const names[] = {"reads",
					    "merged",
					    "sectors_read",
					    "time_reading",
					    "writes",
					    "writes_merged",
					    "sectors_written",
					    "time_writing",
					    "in_progress",
					    "time_in_progress",
					    "weighted_time_in_progress",
					    "discards",
					    "discards_merged",
					    "sectors_discarded",
					    "time_discarding",
					    "flushes",
					    "time_flushing"};
	struct family family = FAMILY(out, "kata_guest_diskstat", "gauge", "disks of the guest");
	char *rest = input->text[METRICS_DISKSTATS], *line, *fields[20];

	while ((line = strsep(&rest, "\n"))) {
		size_t count = split(line, fields, array_length(fields));

		if (count < 14)
			continue;
		struct label labels[4] = {{"disk", fields[2]}, {"item", NULL}};
		columns(&family, labels, &labels[1], fields + 3, count - 3, names, array_length(names), 1, 1);
	}
}

static void format_interfaces(struct metrics_input *input, struct buf *out)
{
	static const char *const names[] = {
		"recv_bytes", "recv_packets", "recv_errs",	 "recv_drop",
		"recv_fifo",  "recv_frame",   "recv_compressed", "recv_multicast",
		"sent_bytes", "sent_packets", "sent_errs",	 "sent_drop",
		"sent_fifo",  "sent_colls",   "sent_carrier",	 "sent_compressed"};
	struct family family =
		FAMILY(out, "kata_guest_netdev_stat", "gauge", "network interfaces of the guest");
	char *rest = input->text[METRICS_NETDEV], *line, *fields[16];

	while ((line = strsep(&rest, "\n"))) {
		/* Names may hold a colon. */
		char *end = strrchr(line, ':'), *name = line + strspn(line, " ");
		struct label labels[4] = {{"interface", name}, {"item", NULL}};

		if (!end || strchr(line, '|') || split(end + 1, fields, 16) < 16)
			continue;
		*end = '\0';
		columns(&family, labels, &labels[1], fields, 16, names, array_length(names), 1, 1);
	}
}

/* "0.25" and the like. */
static bool is_decimal(const char *text)
{
	size_t whole = strspn(text, "0123456789"), part;

	if (whole == 0 || text[whole] != '.')
		return false;
	part = strspn(text + whole + 1, "0123456789");
	return part > 0 && text[whole + 1 + part] == '\0' && whole + part < 24;
}

static void format_load(struct metrics_input *input, struct buf *out)
{
	static const char *const names[] = {"load1", "load5", "load15"};
	struct family load = FAMILY(out, "kata_guest_load", "gauge", "load of the guest");
	char *fields[5];
	size_t count = input->text[METRICS_LOADAVG] ? split(input->text[METRICS_LOADAVG], fields, 5) : 0;

	for (size_t i = 0; i < 3 && count == 5; i++) {
		const struct label labels[4] = {{"item", names[i]}};

		if (is_decimal(fields[i]))
			sample(&load, labels, fields[i]);
	}
	/* Its fourth field is of the family of tasks, which comes later. */
	input->text[METRICS_LOADAVG] = count == 5 ? fields[3] : NULL;
}

static void format_tasks(struct metrics_input *input, struct buf *out)
{
	struct family family = FAMILY(out, "kata_guest_tasks", "gauge", "tasks of the guest");
	char *current = input->text[METRICS_LOADAVG], *all = current ? strchr(current, '/') : NULL;
	uint64_t value;

	if (!all)
		return;
	*all++ = '\0';
	if (read_number(current, &value))
		item(&family, "cur", value);
	if (read_number(all, &value))
		item(&family, "max", value);
}

static void format_vmstat(struct metrics_input *input, struct buf *out)
{
	struct family family = FAMILY(out, "kata_guest_vm_stat", "gauge", "virtual memory of the guest");
	char *rest = input->text[METRICS_VMSTAT], *line, *fields[2];
	uint64_t value;

	while ((line = strsep(&rest, "\n")))
		if (split(line, fields, 2) == 2 && read_number(fields[1], &value))
			item(&family, fields[0], value);
}

static const struct named memory_bytes[] = {
	{"mem_total", "MemTotal"},
	{"mem_free", "MemFree"},
	{"mem_available", "MemAvailable"},
	{"buffers", "Buffers"},
	{"cached", "Cached"},
	{"swap_cached", "SwapCached"},
	{"active", "Active"},
	{"inactive", "Inactive"},
	{"active_anon", "Active(anon)"},
	{"inactive_anon", "Inactive(anon)"},
	{"active_file", "Active(file)"},
	{"inactive_file", "Inactive(file)"},
	{"unevictable", "Unevictable"},
	{"mlocked", "Mlocked"},
	{"high_total", "HighTotal"},
	{"high_free", "HighFree"},
	{"low_total", "LowTotal"},
	{"low_free", "LowFree"},
	{"mmap_copy", "MmapCopy"},
	{"swap_total", "SwapTotal"},
	{"swap_free", "SwapFree"},
	{"dirty", "Dirty"},
	{"writeback", "Writeback"},
	{"anon_pages", "AnonPages"},
	{"mapped", "Mapped"},
	{"shmem", "Shmem"},
	{"slab", "Slab"},
	{"s_reclaimable", "SReclaimable"},
	{"s_unreclaim", "SUnreclaim"},
	{"kernel_stack", "KernelStack"},
	{"page_tables", "PageTables"},
	{"quicklists", "Quicklists"},
	{"nfs_unstable", "NFS_Unstable"},
	{"bounce", "Bounce"},
	{"writeback_tmp", "WritebackTmp"},
	{"commit_limit", "CommitLimit"},
	{"committed_as", "Committed_AS"},
	{"vmalloc_total", "VmallocTotal"},
	{"vmalloc_used", "VmallocUsed"},
	{"vmalloc_chunk", "VmallocChunk"},
	{"hardware_corrupted", "HardwareCorrupted"},
	{"anon_hugepages", "AnonHugePages"},
	{"shmem_hugepages", "ShmemHugePages"},
	{"shmem_pmd_mapped", "ShmemPmdMapped"},
	{"cma_total", "CmaTotal"},
	{"cma_free", "CmaFree"},
	{"hugepagesize", "Hugepagesize"},
	{"direct_map_4k", "DirectMap4k"},
	{"direct_map_4M", "DirectMap4M"},
	{"direct_map_2M", "DirectMap2M"},
	{"direct_map_1G", "DirectMap1G"},
	{"hugetlb", "Hugetlb"},
	{"per_cpu", "Percpu"},
	{"k_reclaimable", "KReclaimable"},
};

static const struct named memory_counts[] = {
	{"hugepages_total", "HugePages_Total"},
	{"hugepages_free", "HugePages_Free"},
	{"hugepages_rsvd", "HugePages_Rsvd"},
	{"hugepages_surp", "HugePages_Surp"},
};

static void format_memory(struct metrics_input *input, struct buf *out)
{
	struct family family = FAMILY(out, "kata_guest_meminfo", "gauge", "memory of the guest in bytes");
	uint64_t value;

	if (!find_number(input->text[METRICS_MEMINFO], "MemTotal", &value))
		return;
	items(&family, input->text[METRICS_MEMINFO], memory_bytes, array_length(memory_bytes), 1024);
	items(&family, input->text[METRICS_MEMINFO], memory_counts, array_length(memory_counts), 1);
}

/* --- file systems --- */

enum { VOLUMES_MAX = 256 };

struct volume {
	const char *device, *mount, *number;
	struct volume_stats stats;
};

static bool has_word(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
		if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0'))
			return true;
	return false;
}

/* A line of mountinfo: what is worth a look, and not looked at yet. */
static bool parse_volume(char *line, const struct volume *known, size_t count, struct volume *volume)
{
	static const char kinds[] = "ext4,xfs,btrfs,vfat,overlay";
	char *dash = strstr(line, " - "), *before[6], *after[3], *slash;

	if (!dash)
		return false;
	*dash = '\0';
	if (split(line, before, 6) < 6 || split(dash + 3, after, 3) < 3 || strchr(after[0], ',') ||
	    !has_word(kinds, after[0]) || has_word(after[2], "ro"))
		return false;
	for (size_t i = 0; i < count; i++)
		if (str_equal(known[i].number, before[2]))
			return false;
	slash = strrchr(after[1], '/');
	volume->number = before[2];
	volume->mount = before[4];
	volume->device = str_equal(after[1], "none") ? before[2] : slash && slash[1] ? slash + 1 : after[1];
	return true;
}

static void volume_samples(struct family *family, const struct volume *volume,
			   const struct volume_usage *usage)
{
	const struct {
		const char *name;
		uint64_t value;
	} samples[] = {{"available", usage->available}, {"total", usage->total}, {"used", usage->used}};

	for (size_t i = 0; i < array_length(samples); i++) {
		const struct label labels[4] = {
			{"device", volume->device}, {"item", samples[i].name}, {"mount", volume->mount}};

		number(family, labels, samples[i].value);
	}
}

static void format_volumes(struct metrics_input *input, struct buf *out)
{
	struct family bytes =
		FAMILY(out, "kata_guest_filesystem_bytes", "gauge", "file systems of the guest in bytes");
	struct family inodes = FAMILY(out, "kata_guest_filesystem_inodes", "gauge",
				      "inodes of the file systems of the guest");
	struct volume *volumes = calloc(VOLUMES_MAX, sizeof(*volumes));
	char *rest = input->text[METRICS_MOUNTINFO], *line;
	size_t count = 0;

	while (volumes && count < VOLUMES_MAX && (line = strsep(&rest, "\n")))
		if (parse_volume(line, volumes, count, &volumes[count]) &&
		    input->look(volumes[count].mount, &volumes[count].stats))
			count++;
	for (size_t i = 0; i < count; i++)
		volume_samples(&bytes, &volumes[i], &volumes[i].stats.bytes);
	for (size_t i = 0; i < count; i++)
		volume_samples(&inodes, &volumes[i], &volumes[i].stats.inodes);
	free(volumes);
}

/* Sorted by name. */
void metrics_format(struct metrics_input *input, struct buf *out)
{
	format_agent(input, out);
	format_cpus(input, out);
	format_disks(input, out);
	format_volumes(input, out);
	format_load(input, out);
	format_memory(input, out);
	format_interfaces(input, out);
	format_tasks(input, out);
	format_vmstat(input, out);
}
