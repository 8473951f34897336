/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUs and memory coming online.
 *
 * Everything that writes to an `online` file does so in a job. The kernel shows a hot-plugged device some time after
 * the host plugged it in, and there is no event that says "this was all"; so a request for N CPUs looks again every 50 ms.
 */

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/job.h"
#include "base/log.h"
#include "base/str.h"
#include "guest/cpu_memory.h"

enum { ROUNDS = 100, ROUND_MS = 50, ONLINE_DEADLINE_MS = 60000, LIST_MAX = 64 << 10 };

static const char cpu_directory[] = "sys/devices/system/cpu";
static const char memory_directory[] = "sys/devices/system/memory";

/* --- one pass ------------------------------------------------------------------------------------------------- */

static int cpu_list_range(char *range, uint32_t *from, uint32_t *to)
{
	char *dash = strchr(range, '-');

	if (dash)
		*dash = '\0';
	if (str_to_u32(range, 10, from) < 0 || str_to_u32(dash ? dash + 1 : range, 10, to) < 0 || *from > *to)
		return -EINVAL;
	return 0;
}

int cpu_list_count(const char *list)
{
	_cleanup_free_ char *copy = strdup(list);
	char *range, *rest = copy;
	uint64_t count = 0;

	if (!copy)
		return -ENOMEM;
	copy[strcspn(copy, "\n")] = '\0';
	if (!*copy)
		return 0;
	while ((range = strsep(&rest, ","))) {
		uint32_t from, to;

		if (cpu_list_range(range, &from, &to) < 0)
			return -EINVAL;
		count += (uint64_t)to - from + 1;
	}
	return count > INT32_MAX ? -EINVAL : (int)count;
}

/* Descriptor of the directory @name below @root, or -errno. */
static int directory_open(const char *root, const char *name)
{
	_cleanup_fd_ int top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = top < 0 ? -1 : openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* "cpu7" for prefix "cpu": what the kernel calls the device with a number. */
static bool numbered(const char *name, const char *prefix)
{
	size_t length = strlen(prefix);

	if (strncmp(name, prefix, length) != 0 || !isdigit((unsigned char)name[length]))
		return false;
	return strspn(name + length, "0123456789") == strlen(name + length);
}

/*
 * Writes 1 to the `online` file of entries named @prefix + number that read 0, until @limit of them took it. A CPU
 * without that file cannot be switched; one that refuses may be waiting for its firmware: both are passed over.
 */
static int online_entries(int directory, const char *prefix, uint32_t limit)
{
	int copy = fcntl(directory, F_DUPFD_CLOEXEC, 3);
	_cleanup_dir_ DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	uint32_t done = 0;

	if (!dir) {
		int r = -errno;

		fd_close(copy);
		return r;
	}
	rewinddir(dir);
	while (done < limit && (entry = readdir(dir))) {
		_cleanup_free_ char *state = NULL;
		char path[NAME_MAX + 16];
		int n = snprintf(path, sizeof(path), "%s/online", entry->d_name);

		if (!numbered(entry->d_name, prefix) || n < 0 || (size_t)n >= sizeof(path))
			continue;
		if (file_read(directory, path, 64, &state) < 1 || state[0] != '0')
			continue;
		if (file_write(directory, path, "1") == 0)
			done++;
	}
	return 0;
}

static int cpus_online(int directory)
{
	_cleanup_free_ char *list = NULL;
	ssize_t n = file_read(directory, "online", LIST_MAX, &list);

	return n < 0 ? (int)n : cpu_list_count(list);
}

int online_cpus_once(const char *root, uint32_t want)
{
	_cleanup_fd_ int directory = directory_open(root, cpu_directory);
	int online, r;

	if (directory < 0)
		return directory;
	online = cpus_online(directory);
	if (online < 0 || (uint32_t)online >= want)
		return online;
	r = online_entries(directory, "cpu", want - (uint32_t)online);
	return r < 0 ? r : cpus_online(directory);
}

int online_memory_once(const char *root)
{
	_cleanup_fd_ int directory = directory_open(root, memory_directory);

	return directory < 0 ? directory : online_entries(directory, "memory", UINT32_MAX);
}

/* --- the request ---------------------------------------------------------------------------------------------- */

struct online {
	struct job *job;
	online_done done;
	void *data;
};

struct online_work {
	const char *root;
	struct online_request request;
};

static int online_cpus(const char *root, uint32_t want, unsigned rounds, struct error *e)
{
	const struct timespec pause = {.tv_nsec = ROUND_MS * 1000000L};
	int online = 0;

	for (unsigned i = 0; i < rounds; i++) {
		if (i > 0)
			nanosleep(&pause, NULL);
		online = online_cpus_once(root, want);
		if (online < 0)
			return error_errno(e, -online, "online cpus");
		if ((uint32_t)online >= want)
			return 0;
	}
	return error_set(e, STATUS_INTERNAL, ETIMEDOUT,
			 "online cpus: failed to online %u CPU(s) after %u retries", want - (uint32_t)online,
			 rounds);
}

static int online_run(struct buf *result, void *argument, struct error *e)
{
	const struct online_work *work = argument;
	int r = 0;

	if (work->request.cpus > 0)
		r = online_cpus(work->root, work->request.cpus,
				work->request.rounds ? work->request.rounds : ROUNDS, e);
	if (r == 0 && work->request.memory) {
		r = online_memory_once(work->root);
		if (r < 0)
			error_errno(e, -r, "online memory");
	}
	return r;
}

static void online_finished(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct online *online = data;

	online->done(r, e, online->data);
	free(online);
}

struct online *online_start(struct loop *loop, const char *root, const struct online_request *request,
			    online_done done, void *data, struct error *e)
{
	const struct job_options options = {.name = "online", .deadline_ms = ONLINE_DEADLINE_MS};
	struct online_work work = {.root = root, .request = *request};
	struct online *online = calloc(1, sizeof(*online));

	if (!online) {
		error_errno(e, ENOMEM, "online");
		return NULL;
	}
	online->done = done;
	online->data = data;
	online->job = job_start(loop, &options, online_run, &work, online_finished, online, e);
	if (!online->job) {
		free(online);
		return NULL;
	}
	return online;
}

void online_cancel(struct online *online)
{
	if (!online)
		return;
	job_cancel(online->job);
	free(online);
}

/* --- memory that appears by itself (virtio-mem, ACPI) --------------------------------------------------------- */

struct memory_onliner {
	struct loop *loop;
	struct uevent_observer observer;
	char *root;
	struct online *running;
	bool again; /* blocks appeared while a pass was running */
};

static void memory_onliner_start(struct memory_onliner *onliner);

static void memory_onliner_done(int r, const struct error *e, void *data)
{
	struct memory_onliner *onliner = data;

	onliner->running = NULL;
	if (r < 0)
		log_warning("hotplug", "memory was not brought online", "error", e->text);
	if (onliner->again)
		memory_onliner_start(onliner);
}

static void memory_onliner_start(struct memory_onliner *onliner)
{
	const struct online_request request = {.memory = true};
	struct error e = ERROR_INIT;

	onliner->again = false;
	onliner->running =
		online_start(onliner->loop, onliner->root, &request, memory_onliner_done, onliner, &e);
	if (!onliner->running)
		log_warning("hotplug", "memory was not brought online", "error", e.text);
}

/* Hundreds of blocks may come at once: one pass takes all that are there, and at most one more follows it. */
static void memory_onliner_event(struct uevent_observer *observer, const struct uevent *event)
{
	struct memory_onliner *onliner = container_of(observer, struct memory_onliner, observer);

	if (!str_equal(event->action, "add") ||
	    !str_starts_with(event->devpath, "/devices/system/memory/memory"))
		return;
	if (onliner->running)
		onliner->again = true;
	else
		memory_onliner_start(onliner);
}

struct memory_onliner *memory_onliner_new(struct loop *loop, struct uevents *uevents, const char *root)
{
	struct memory_onliner *onliner = calloc(1, sizeof(*onliner));

	if (!onliner)
		return NULL;
	onliner->root = strdup(root);
	if (!onliner->root) {
		free(onliner);
		return NULL;
	}
	onliner->loop = loop;
	onliner->observer.fn = memory_onliner_event;
	uevents_observe(uevents, &onliner->observer);
	return onliner;
}

void memory_onliner_free(struct memory_onliner *onliner)
{
	if (!onliner)
		return;
	uevent_observer_remove(&onliner->observer);
	online_cancel(onliner->running);
	free(onliner->root);
	free(onliner);
}

/* --- what the kernel offers ----------------------------------------------------------------------------------- */

int memory_block_size(const char *root, uint64_t *bytes, struct error *e)
{
	_cleanup_fd_ int directory = directory_open(root, memory_directory);
	_cleanup_free_ char *text = NULL;
	ssize_t n = directory < 0 ? directory : file_read(directory, "block_size_bytes", 64, &text);

	*bytes = 0;
	if (n == -ENOENT)
		return 0;
	if (n < 0)
		return error_errno(e, (int)-n, "read the size of memory blocks");
	text[strcspn(text, "\n")] = '\0';
	if (str_to_u64(text, 16, bytes) < 0)
		return error_set(e, STATUS_INTERNAL, EINVAL, "Invalid block size");
	return 0;
}

int memory_probe_supported(const char *root, bool *supported, struct error *e)
{
	_cleanup_fd_ int directory = directory_open(root, memory_directory);
	int r = directory < 0 ? directory : faccessat(directory, "probe", F_OK, 0) < 0 ? -errno : 0;

	*supported = r == 0;
	return r < 0 && r != -ENOENT ? error_errno(e, -r, "look for the memory probe interface") : 0;
}

int memory_probe(const char *root, const uint64_t *addresses, size_t count, struct error *e)
{
	_cleanup_fd_ int directory = directory_open(root, memory_directory);

	if (directory < 0)
		return error_errno(e, -directory, "open the memory probe interface");
	for (size_t i = 0; i < count; i++) {
		char text[24];
		int r;

		snprintf(text, sizeof(text), "0x%" PRIX64, addresses[i]);
		r = file_write(directory, "probe", text);
		if (r < 0)
			return error_errno(e, -r, "probe memory at %s", text);
	}
	return 0;
}

struct probe_work {
	const char *root;
	const uint64_t *addresses;
	size_t count;
};

static int probe_run(struct buf *result, void *argument, struct error *e)
{
	const struct probe_work *work = argument;

	return memory_probe(work->root, work->addresses, work->count, e);
}

int memory_probe_start(struct loop *loop, const char *root, const uint64_t *addresses, size_t count,
		       online_done done, void *data, struct error *e)
{
	const struct job_options options = {.name = "probe memory", .deadline_ms = ONLINE_DEADLINE_MS};
	struct probe_work work = {.root = root, .addresses = addresses, .count = count};
	struct online *online = calloc(1, sizeof(*online));

	if (!online)
		return error_errno(e, ENOMEM, "probe memory");
	online->done = done;
	online->data = data;
	if (job_start(loop, &options, probe_run, &work, online_finished, online, e))
		return 0;
	free(online);
	return error_result(e);
}
