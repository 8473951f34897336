/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting what a cgroup has used.
 *
 * Each directory is opened once and each file read once; nothing waits. A file that is missing, unreadable or
 * of an unknown form leaves its numbers 0: statistics are never a reason for an error. A part is present when
 * the machine has its controller. Lines are taken by their keys, never by position, because kernels add keys.
 *
 * Hosts were written against v1: on v2 the map of memory.stat also has v1's names, so that working sets come
 * out right. Swap is what the hierarchy says it is: memory+swap on v1, swap alone on v2.
 */
#include "cgroup/internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

static uint64_t number_of(const struct cgroup_dir *dir, const char *file, uint64_t missing)
{
	uint64_t value;

	return knob_read_u64(dir, file, &value) ? value : missing;
}

static uint64_t key_of(const char *text, const char *key)
{
	uint64_t value = 0;

	return text && text_key(text, key, &value) ? value : 0;
}

static uint64_t saturated(uint64_t a, uint64_t factor)
{
	uint64_t r;

	return __builtin_mul_overflow(a, factor, &r) ? UINT64_MAX : r;
}

/* Room for every word of the text: a hostile or odd line may repeat a key. */
static size_t count_words(const char *text)
{
	size_t n = 1;

	for (; *text; text++)
		n += *text == ' ' || *text == '\n';
	return n;
}

/* --- cpu ------------------------------------------------------------------------------------------------ */

static int read_percpu(const struct cgroup_dir *dir, struct arena *arena, struct cgroup_stats *out)
{
	_cleanup_free_ char *text = knob_read(dir, "cpuacct.usage_percpu");
	char *save = NULL;
	size_t n = 0;

	if (!text)
		return 0;
	out->cpu.percpu_ns = arena_array(arena, count_words(text), sizeof(uint64_t));
	if (!out->cpu.percpu_ns)
		return -ENOMEM;
	for (char *word = strtok_r(text, " \n", &save); word; word = strtok_r(NULL, " \n", &save))
		if (str_to_u64(word, 10, &out->cpu.percpu_ns[n]) == 0)
			n++;
	out->cpu.n_percpu = n;
	return 0;
}

static int v1_cpuacct(const struct cgroup_dir *dir, struct arena *arena, struct cgroup_stats *out)
{
	_cleanup_free_ char *text = knob_read(dir, "cpuacct.stat");
	long hertz = sysconf(_SC_CLK_TCK);
	uint64_t tick = 1000000000u / (uint64_t)(hertz > 0 ? hertz : 100);

	out->cpu.total_ns = number_of(dir, "cpuacct.usage", 0);
	out->cpu.user_ns = saturated(key_of(text, "user"), tick);
	out->cpu.kernel_ns = saturated(key_of(text, "system"), tick);
	return read_percpu(dir, arena, out);
}

static int v1_cpu(const struct cgroup_dir *dir, struct arena *arena, struct cgroup_stats *out)
{
	_cleanup_free_ char *text = knob_read(dir, "cpu.stat");

	(void)arena;
	out->cpu.periods = key_of(text, "nr_periods");
	out->cpu.throttled_periods = key_of(text, "nr_throttled");
	out->cpu.throttled_ns = key_of(text, "throttled_time");
	return 0;
}

/* cpu.stat has its first three keys in every v2 cgroup, with or without the controller. */
static int v2_cpu(const struct cgroup_dir *dir, struct arena *arena, struct cgroup_stats *out)
{
	_cleanup_free_ char *text = knob_read(dir, "cpu.stat");

	(void)arena;
	out->cpu.total_ns = saturated(key_of(text, "usage_usec"), 1000);
	out->cpu.user_ns = saturated(key_of(text, "user_usec"), 1000);
	out->cpu.kernel_ns = saturated(key_of(text, "system_usec"), 1000);
	out->cpu.periods = key_of(text, "nr_periods");
	out->cpu.throttled_periods = key_of(text, "nr_throttled");
	out->cpu.throttled_ns = saturated(key_of(text, "throttled_usec"), 1000);
	return 0;
}

/* --- memory --------------------------------------------------------------------------------------------- */

/* v1's names for what v2 counts; all are also given with "total_" in front, since v2 always counts the
 * whole tree. */
static const struct {
	const char *v1, *v2;
} memory_names[] = {
	{"cache", "file"},	  {"rss", "anon"},
	{"rss_huge", "anon_thp"}, {"mapped_file", "file_mapped"},
	{"dirty", "file_dirty"},  {"writeback", "file_writeback"},
	{"inactive_anon", NULL},  {"active_anon", NULL},
	{"inactive_file", NULL},  {"active_file", NULL},
	{"unevictable", NULL},	  {"pgfault", NULL},
	{"pgmajfault", NULL},
};

static size_t count_lines(const char *text)
{
	size_t n = 1;

	for (; text && *text; text++)
		n += *text == '\n';
	return n;
}

static int stat_add(struct arena *arena, struct cgroup_stats *out, const char *name, uint64_t value)
{
	char *copy = arena_strdup(arena, name);

	if (!copy)
		return -ENOMEM;
	out->memory.stats[out->memory.n_stats++] = (struct cgroup_named_u64){copy, value};
	return 0;
}

/* "key number" lines into the list; @room more entries are reserved. */
static int read_memory_stat(char *text, size_t room, struct arena *arena, struct cgroup_stats *out)
{
	char *save = NULL;

	out->memory.stats = arena_array(arena, count_lines(text) + room, sizeof(*out->memory.stats));
	if (!out->memory.stats)
		return -ENOMEM;
	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *blank = strchr(line, ' ');
		uint64_t value;

		if (!blank || blank == line || str_to_u64(blank + 1, 10, &value) < 0)
			continue;
		*blank = '\0';
		if (stat_add(arena, out, line, value) < 0)
			return -ENOMEM;
	}
	return 0;
}

static const uint64_t *stat_find(const struct cgroup_stats *stats, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(stats->memory.stats[i].name, name) == 0)
			return &stats->memory.stats[i].value;
	return NULL;
}

static int add_v1_names(struct arena *arena, struct cgroup_stats *out)
{
	size_t n = out->memory.n_stats;

	for (size_t i = 0; i < array_length(memory_names); i++) {
		const char *v2 = memory_names[i].v2 ? memory_names[i].v2 : memory_names[i].v1;
		const uint64_t *found = stat_find(out, n, v2);
		uint64_t value = found ? *found : 0;
		char total[64];

		if (!found)
			continue;
		snprintf(total, sizeof(total), "total_%s", memory_names[i].v1);
		if (stat_add(arena, out, total, value) < 0 ||
		    (memory_names[i].v2 && stat_add(arena, out, memory_names[i].v1, value) < 0))
			return -ENOMEM;
	}
	if (stat_add(arena, out, "swap", out->memory.swap.usage) < 0 ||
	    stat_add(arena, out, "total_swap", out->memory.swap.usage) < 0)
		return -ENOMEM;
	return stat_add(arena, out, "hierarchical_memory_limit", out->memory.usage.limit);
}

static struct cgroup_memory_data v1_memory_data(const struct cgroup_dir *dir, const char *kind)
{
	struct cgroup_memory_data data;
	char file[64];

	snprintf(file, sizeof(file), "memory.%susage_in_bytes", kind);
	data.present = knob_read_u64(dir, file, &data.usage);
	if (!data.present)
		return (struct cgroup_memory_data){.limit = *kind == 'k' ? UINT64_MAX : 0};
	snprintf(file, sizeof(file), "memory.%smax_usage_in_bytes", kind);
	data.max_usage = number_of(dir, file, 0);
	snprintf(file, sizeof(file), "memory.%sfailcnt", kind);
	data.failcnt = number_of(dir, file, 0);
	snprintf(file, sizeof(file), "memory.%slimit_in_bytes", kind);
	data.limit = number_of(dir, file, UINT64_MAX);
	return data;
}

static int v1_memory(const struct cgroup_dir *dir, struct arena *arena, struct cgroup_stats *out)
{
	_cleanup_free_ char *text = knob_read(dir, "memory.stat");

	out->memory.usage = v1_memory_data(dir, "");
	out->memory.swap = v1_memory_data(dir, "memsw.");
	out->memory.kernel = v1_memory_data(dir, "kmem.");
	out->memory.use_hierarchy = number_of(dir, "memory.use_hierarchy", 0) == 1;
	out->memory.cache = key_of(text, "cache");
	return read_memory_stat(text, 0, arena, out);
}

static int v2_memory(const struct cgroup_dir *dir, struct arena *arena, struct cgroup_stats *out)
{
	_cleanup_free_ char *text = knob_read(dir, "memory.stat");
	uint64_t value = 0;
	int r;

	out->memory.usage.present = knob_read_u64(dir, "memory.current", &out->memory.usage.usage);
	out->memory.usage.max_usage = number_of(dir, "memory.peak", 0);
	out->memory.usage.failcnt = knob_read_key(dir, "memory.events", "max", &value) ? value : 0;
	out->memory.usage.limit = number_of(dir, "memory.max", UINT64_MAX);
	out->memory.swap.present = knob_read_u64(dir, "memory.swap.current", &out->memory.swap.usage);
	if (out->memory.swap.present) {
		out->memory.swap.max_usage = number_of(dir, "memory.swap.peak", 0);
		out->memory.swap.failcnt =
			knob_read_key(dir, "memory.swap.events", "fail", &value) ? value : 0;
		out->memory.swap.limit = number_of(dir, "memory.swap.max", UINT64_MAX);
	}
	out->memory.kernel.present = text && text_key(text, "kernel", &out->memory.kernel.usage);
	out->memory.kernel.limit = UINT64_MAX;
	out->memory.use_hierarchy = true;
	out->memory.cache = key_of(text, "file");
	r = read_memory_stat(text, 2 * array_length(memory_names) + 3, arena, out);
	return r < 0 || out->memory.n_stats == 0 ? r : add_v1_names(arena, out);
}

/* --- pids ----------------------------------------------------------------------------------------------- */

static int read_pids(const struct cgroup_dir *dir, struct arena *arena, struct cgroup_stats *out)
{
	uint64_t limit = number_of(dir, "pids.max", 0);

	(void)arena;
	out->pids.current = number_of(dir, "pids.current", 0);
	out->pids.limit = limit == UINT64_MAX ? 0 : limit;
	return 0;
}

/* --- block I/O ------------------------------------------------------------------------------------------ */

static bool parse_device(const char *word, uint64_t *major, uint64_t *minor)
{
	const char *colon = strchr(word, ':');
	char number[24];
	size_t length = colon ? (size_t)(colon - word) : 0;

	if (!length || length >= sizeof(number))
		return false;
	memcpy(number, word, length);
	number[length] = '\0';
	return str_to_u64(number, 10, major) == 0 && str_to_u64(colon + 1, 10, minor) == 0;
}

static bool table_add(struct cgroup_io_table *table, uint64_t major, uint64_t minor, const char *op,
		      uint64_t value)
{
	struct cgroup_io_entry *entry = &table->entries[table->count];

	if (strlen(op) >= sizeof(entry->op))
		return false;
	*entry = (struct cgroup_io_entry){.major = major, .minor = minor, .value = value};
	for (size_t i = 0; op[i]; i++)
		entry->op[i] = (char)(op[i] >= 'A' && op[i] <= 'Z' ? op[i] - 'A' + 'a' : op[i]);
	table->count++;
	return true;
}

/* "8:0 Read 4096" or, in files that know no operations, "8:0 4096". The line "Total N" is a sum of all
 * devices. */
static void v1_io_line(char *line, struct cgroup_io_table *table)
{
	char *save = NULL;
	char *device = strtok_r(line, " ", &save);
	char *second = strtok_r(NULL, " ", &save);
	char *third = strtok_r(NULL, " ", &save);
	uint64_t major, minor, value;

	if (!device || !second || !parse_device(device, &major, &minor) ||
	    str_to_u64(third ? third : second, 10, &value) < 0)
		return;
	if (!third || strcmp(second, "Discard") != 0)
		table_add(table, major, minor, third ? second : "", value);
}

static int v1_io_table(const struct cgroup_dir *dir, const char *prefix, const char *name,
		       struct arena *arena, struct cgroup_io_table *table)
{
	_cleanup_free_ char *text = NULL;
	char file[80], *save = NULL;

	snprintf(file, sizeof(file), "blkio.%s%s", prefix, name);
	text = knob_read(dir, file);
	if (str_is_empty(text))
		return 0;
	table->entries = arena_array(arena, count_lines(text), sizeof(*table->entries));
	if (!table->entries)
		return -ENOMEM;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		v1_io_line(line, table);
	return 0;
}

/* Who counts depends on the scheduler: CFQ, BFQ, or none of them, when only throttling does. */
static int v1_io(const struct cgroup_dir *dir, struct arena *arena, struct cgroup_stats *out)
{
	const struct {
		const char *name;
		struct cgroup_io_table *table;
	} files[] = {
		{"io_serviced_recursive", &out->io.serviced},
		{"io_service_bytes_recursive", &out->io.service_bytes},
		{"io_queued_recursive", &out->io.queued},
		{"io_service_time_recursive", &out->io.service_time},
		{"io_wait_time_recursive", &out->io.wait_time},
		{"io_merged_recursive", &out->io.merged},
		{"time_recursive", &out->io.time},
		{"sectors_recursive", &out->io.sectors},
	};
	static const char *const prefixes[] = {"", "bfq."};
	int r = 0;

	for (size_t p = 0; p < array_length(prefixes) && r == 0; p++) {
		r = v1_io_table(dir, prefixes[p], files[0].name, arena, files[0].table);
		if (r < 0 || out->io.serviced.count == 0)
			continue;
		for (size_t i = 1; i < array_length(files) && r == 0; i++)
			r = v1_io_table(dir, prefixes[p], files[i].name, arena, files[i].table);
		return r;
	}
	/* Kernels before 4.17 count only the cgroup itself. */
	r = v1_io_table(dir, "throttle.", "io_serviced_recursive", arena, &out->io.serviced);
	if (r == 0 && out->io.serviced.count == 0)
		r = v1_io_table(dir, "throttle.", "io_serviced", arena, &out->io.serviced);
	if (r == 0)
		r = v1_io_table(dir, "throttle.", "io_service_bytes_recursive", arena,
				&out->io.service_bytes);
	if (r == 0 && out->io.service_bytes.count == 0)
		r = v1_io_table(dir, "throttle.", "io_service_bytes", arena, &out->io.service_bytes);
	return r;
}

/* Names of the operations by which hosts look for v2's numbers. */
static const struct {
	const char *key, *bytes_op, *count_op;
} io_keys[] = {
	{"rbytes", "read", NULL},  {"wbytes", "write", NULL},  {"rios", "rios", "read"},
	{"wios", "wios", "write"}, {"dbytes", "dbytes", NULL}, {"dios", "dios", NULL},
};

/* "8:0 rbytes=1 wbytes=2 rios=3 …", in any order and with any further keys. */
static void v2_io_line(char *line, struct cgroup_stats *out)
{
	char *save = NULL;
	char *word = strtok_r(line, " ", &save);
	uint64_t major, minor, value;

	if (!word || !parse_device(word, &major, &minor))
		return;
	for (word = strtok_r(NULL, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char *equals = strchr(word, '=');

		if (!equals || str_to_u64(equals + 1, 10, &value) < 0)
			continue;
		*equals = '\0';
		for (size_t i = 0; i < array_length(io_keys); i++) {
			if (strcmp(word, io_keys[i].key) != 0)
				continue;
			table_add(&out->io.service_bytes, major, minor, io_keys[i].bytes_op, value);
			if (io_keys[i].count_op)
				table_add(&out->io.serviced, major, minor, io_keys[i].count_op, value);
		}
	}
}

static int v2_io(const struct cgroup_dir *dir, struct arena *arena, struct cgroup_stats *out)
{
	_cleanup_free_ char *text = knob_read(dir, "io.stat");
	char *save = NULL;
	size_t words;

	if (str_is_empty(text))
		return 0;
	words = count_words(text);
	out->io.service_bytes.entries = arena_array(arena, words, sizeof(struct cgroup_io_entry));
	out->io.serviced.entries = arena_array(arena, words, sizeof(struct cgroup_io_entry));
	if (!out->io.service_bytes.entries || !out->io.serviced.entries)
		return -ENOMEM;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		v2_io_line(line, out);
	return 0;
}

/* --- huge pages ----------------------------------------------------------------------------------------- */

static uint64_t hugepage_number(const struct cgroup_dir *dir, const char *size, const char *name)
{
	char file[80];

	snprintf(file, sizeof(file), "hugetlb.%s.%s", size, name);
	return number_of(dir, file, 0);
}

static int read_hugepages(const struct cgroup_dir *dir, struct arena *arena, struct cgroup_stats *out)
{
	const struct cgroup_host *host = dir->cg->host;
	bool v2 = dir->hierarchy->v2;

	out->hugepages = arena_array(arena, host->n_hugepages, sizeof(*out->hugepages));
	if (!out->hugepages)
		return -ENOMEM;
	for (size_t i = 0; i < host->n_hugepages; i++) {
		struct cgroup_hugepage_stats *stats = &out->hugepages[i];
		char file[80];

		stats->size = arena_strdup(arena, host->hugepages[i]);
		if (!stats->size)
			return -ENOMEM;
		stats->usage = hugepage_number(dir, stats->size, v2 ? "current" : "usage_in_bytes");
		if (v2) {
			snprintf(file, sizeof(file), "hugetlb.%s.events", stats->size);
			knob_read_key(dir, file, "max", &stats->failcnt);
		} else {
			stats->max_usage = hugepage_number(dir, stats->size, "max_usage_in_bytes");
			stats->failcnt = hugepage_number(dir, stats->size, "failcnt");
		}
		out->n_hugepages++;
	}
	return 0;
}

/* --- all ------------------------------------------------------------------------------------------------ */

typedef int (*read_fn)(const struct cgroup_dir *dir, struct arena *arena, struct cgroup_stats *out);

static const struct {
	enum controller controller;
	read_fn v1, v2;
} readers[] = {
	{CONTROLLER_CPUACCT, v1_cpuacct, NULL},
	{CONTROLLER_CPU, v1_cpu, v2_cpu},
	{CONTROLLER_MEMORY, v1_memory, v2_memory},
	{CONTROLLER_PIDS, read_pids, read_pids},
	{CONTROLLER_IO, v1_io, v2_io},
	{CONTROLLER_HUGETLB, read_hugepages, read_hugepages},
};

static void note_presence(const struct cgroup_host *host, struct cgroup_stats *out)
{
	out->cpu.present = host_find(host, CONTROLLER_CPU) >= 0 || host_find(host, CONTROLLER_CPUACCT) >= 0 ||
			   host->layout == CGROUP_V2;
	out->memory.present = host_find(host, CONTROLLER_MEMORY) >= 0;
	out->pids.present = host_find(host, CONTROLLER_PIDS) >= 0;
	out->io.present = host_find(host, CONTROLLER_IO) >= 0;
}

int cgroup_stats(const struct cgroup *cg, struct arena *arena, struct cgroup_stats *out, struct error *e)
{
	struct cgroup_dir dir = {.fd = -1};
	int open_index = -1, r = 0;

	memset(out, 0, sizeof(*out));
	note_presence(cg->host, out);
	for (size_t i = 0; i < array_length(readers) && r == 0; i++) {
		int index = host_find(cg->host, readers[i].controller);
		read_fn fn;

		if (index < 0 && readers[i].controller == CONTROLLER_CPU && cg->host->layout == CGROUP_V2)
			index = host_v2(cg->host);
		if (index < 0)
			continue;
		fn = cg->host->hierarchies[index].v2 ? readers[i].v2 : readers[i].v1;
		if (index != open_index) {
			cgroup_dir_close(&dir);
			open_index = cgroup_dir_open(cg, index, &dir) == 0 ? index : -1;
		}
		if (fn && open_index == index)
			r = fn(&dir, arena, out);
	}
	cgroup_dir_close(&dir);
	return r < 0 ? error_errno(e, -r, "statistics of cgroup \"%s\"", cg->path) : 0;
}
