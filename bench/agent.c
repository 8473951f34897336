/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Measures a kata-agent from outside, as a host would: over ttRPC on a UNIX socket, with /proc for the memory. It asserts
 * nothing about time; it prints one `name<TAB>value<TAB>unit` a line.
 *
 * Usage: bench-agent AGENT ROOTFS [COUNT [PART]]; PART is one of start, memory, check, cycles, exec, stdout.
 *
 * The agent is started by this program, again for each start-up measurement, and ended by DestroySandbox.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/loop.h"
#include "proto/agent.pb-c.h"
#include "proto/json.h"
#include "proto/proto.h"
#include "ttrpc/ttrpc.h"

static const char *agent_path, *rootfs, *only;
static char socket_path[64], address[80];
static pid_t agent;
static struct loop *loop;
static struct ttrpc_client *client;

static void die(const char *what, const struct error *e)
{
	fprintf(stderr, "bench-agent: %s: %s\n", what, e ? e->text : strerror(errno));
	if (agent > 0)
		kill(agent, SIGKILL);
	exit(1);
}

/* Whether a part is to be measured: all, unless one was named. */
static bool wanted(const char *part)
{
	return !only || strcmp(only, part) == 0;
}

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), by_value);
	return values[count / 2];
}

static void report(const char *name, double value, const char *unit)
{
	printf("%s\t%.1f\t%s\n", name, value, unit);
	fflush(stdout);
}

static int dial(void)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	memcpy(name.sun_path, socket_path, strlen(socket_path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket", NULL);
	if (connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Starts the agent and returns the microseconds until its socket accepts. */
static double start_agent(void)
{
	unlink(socket_path);
	double begin = now_us();
	agent = fork();
	if (agent < 0)
		die("fork", NULL);
	if (agent == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		setenv("KATA_AGENT_SERVER_ADDR", address, 1);
		execl(agent_path, agent_path, (char *)NULL);
		_exit(127);
	}
	int fd;
	/* Not in a tight loop, which would take from the agent what is measured. */
	while ((fd = dial()) < 0) {
		if (now_us() - begin > 10e6)
			die("the agent does not listen", NULL);
		usleep(50);
	}
	double taken = now_us() - begin;
	close(fd);
	return taken;
}

static void call(const char *method, const char *json, struct arena *arena, const void **answer)
{
	struct error e = ERROR_INIT;
	const struct proto_method *m = proto_method_find(NULL, method);
	if (!m)
		die(method, NULL);
	void *request = json_decode(m->request, json, strlen(json), true, arena, &e);
	struct buf bytes = BUF_INIT;
	if (!request || proto_encode(request, &bytes) < 0)
		die(method, &e);
	const uint8_t *payload;
	size_t length;
	if (ttrpc_client_call_sync(client, m->service, m->name, buf_begin(&bytes), bytes.length, 0, arena,
				   &payload, &length, &e) < 0)
		die(method, &e);
	buf_deinit(&bytes);
	if (answer && !(*answer = proto_decode(m->response, payload, length, arena, &e)))
		die(method, &e);
}

static void simple(const char *method, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void simple(const char *method, const char *format, ...)
{
	struct arena *arena = arena_new(0);
	char json[512];
	va_list arguments;
	va_start(arguments, format);
	(void)vsnprintf(json, sizeof(json), format, arguments);
	va_end(arguments);
	call(method, json, arena, NULL);
	arena_free(arena);
}

static void connect_client(void)
{
	struct error e = ERROR_INIT;
	client = ttrpc_client_connect(loop, address, 5000, &e);
	if (!client)
		die("connect", &e);
}

static void stop_agent(void)
{
	int status;
	simple("DestroySandbox", "{}");
	ttrpc_client_free(client);
	client = NULL;
	waitpid(agent, &status, 0);
	agent = 0;
}

static void measure_start(void)
{
	double starts[15];
	for (size_t i = 0; i < array_length(starts); i++) {
		starts[i] = start_agent();
		kill(agent, SIGKILL);
		waitpid(agent, NULL, 0);
	}
	report("exec to listening", median(starts, array_length(starts)), "us");
}

static const char *const spec =
	"{\"container_id\":\"%1$s\",\"OCI\":{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"%2$s\"},"
	"\"process\":{\"args\":[%3$s],"
	"\"env\":[\"PATH=/bin\"],\"cwd\":\"/"
	"\",\"user\":{\"uid\":0,\"gid\":0},\"capabilities\":{\"bounding\":[\"CAP_CHOWN\","
	"\"CAP_KILL\"],\"effective\":[\"CAP_KILL\"],\"permitted\":[\"CAP_CHOWN\",\"CAP_KILL\"]}},"
	"\"mounts\":[{\"destination\":\"/"
	"proc\",\"type\":\"proc\",\"source\":\"proc\",\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
	"{\"destination\":\"/"
	"dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"strictatime\",\"mode=755\"]}"
	","
	"{\"destination\":\"/dev/"
	"pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"nosuid\",\"noexec\",\"newinstance\","
	"\"ptmxmode=0666\"]},{\"destination\":\"/dev/"
	"shm\",\"type\":\"tmpfs\",\"source\":\"shm\",\"options\":[\"nosuid\",\"nodev\","
	"\"mode=1777\"]},{\"destination\":\"/dev/"
	"mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\",\"options\":[\"nosuid\"]},"
	"{\"destination\":\"/"
	"sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]}]"
	","
	"\"linux\":{\"cgroupsPath\":\"/kata-bench/"
	"%1$s\",\"resources\":{\"memory\":{\"limit\":268435456},\"cpu\":{\"shares\":512}},"
	"\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"uts\"},{\"type\":\"ipc\"}],"
	"\"maskedPaths\":[\"/proc/kcore\",\"/proc/keys\",\"/proc/timer_list\"],"
	"\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\"]}}}";

static void create(const char *id, const char *args)
{
	struct arena *arena = arena_new(0);
	call("CreateContainer", arena_printf(arena, spec, id, rootfs, args), arena, NULL);
	arena_free(arena);
}

static int wait_for(const char *id, const char *exec)
{
	struct arena *arena = arena_new(0);
	const void *answer;
	call("WaitProcess", arena_printf(arena, "{\"container_id\":\"%s\",\"exec_id\":\"%s\"}", id, exec),
	     arena, &answer);
	int status = ((const Grpc__WaitProcessResponse *)answer)->status;
	arena_free(arena);
	return status;
}

/* Kilobytes of @key in the agent's smaps_rollup. */
static double memory(const char *key)
{
	char path[64], *text = NULL;
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)agent);
	if (file_read(AT_FDCWD, path, 1 << 16, &text) < 0)
		die(path, NULL);
	char *at = strstr(text, key);
	double value = at ? atof(at + strlen(key)) : -1;
	free(text);
	return value;
}

static double switches(void)
{
	char path[64], *text = NULL;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)agent);
	if (file_read(AT_FDCWD, path, 1 << 16, &text) < 0)
		die(path, NULL);
	char *at = strstr(text, "\nvoluntary_ctxt_switches:");
	double value = at ? atof(at + 25) : -1;
	free(text);
	return value;
}

static void ignore_reply(struct ttrpc_client *c, const struct ttrpc_reply *reply, void *data)
{
	(void)c, (void)reply, (void)data;
}

static void park(const char *method, const char *id)
{
	struct error e = ERROR_INIT;
	struct arena *arena = arena_new(0);
	const struct proto_method *m = proto_method_find(NULL, method);
	const char *json = arena_printf(arena, "{\"container_id\":\"%s\"%s}", id,
					strcmp(method, "WaitProcess") ? ",\"len\":32768" : "");
	void *request = json_decode(m->request, json, strlen(json), true, arena, &e);
	struct buf bytes = BUF_INIT;
	if (!request || proto_encode(request, &bytes) < 0 ||
	    ttrpc_client_call(client, m->service, m->name, buf_begin(&bytes), bytes.length, 0, ignore_reply,
			      NULL, &e) < 0)
		die(method, &e);
	buf_deinit(&bytes);
	arena_free(arena);
}

/* The containers mem-0 … mem-99, one call each. */
static void measure_stats(void)
{
	double taken[100], begin = now_us();
	char id[32];
	for (size_t i = 0; i < array_length(taken); i++) {
		double one = now_us();
		snprintf(id, sizeof(id), "mem-%zu", i);
		simple("StatsContainer", "{\"container_id\":\"%s\"}", id);
		taken[i] = now_us() - one;
	}
	report("StatsContainer of each of 100 containers, together", now_us() - begin, "us");
	report("StatsContainer of each of 100 containers, median", median(taken, array_length(taken)), "us");
}

static void measure_memory(void)
{
	static const int steps[] = {1, 10, 100};
	char name[96], id[32];
	int running = 0;
	double idle = memory("Anonymous:");
	report("memory, idle with a sandbox: anonymous", idle, "KiB");
	report("memory, idle with a sandbox: resident", memory("Rss:"), "KiB");
	double before = switches();
	sleep(3);
	report("wake-ups in 3 idle seconds", switches() - before, "");
	for (size_t i = 0; i < array_length(steps); i++) {
		for (; running < steps[i]; running++) {
			snprintf(id, sizeof(id), "mem-%d", running);
			create(id, "\"/bin/sleep\",\"1000\"");
			simple("StartContainer", "{\"container_id\":\"%s\"}", id);
			park("ReadStdout", id);
			park("ReadStderr", id);
			park("WaitProcess", id);
		}
		simple("Check", "{}");
		snprintf(name, sizeof(name), "memory, %d container%s with three parked calls: anonymous",
			 running, running > 1 ? "s" : "");
		double anonymous = memory("Anonymous:");
		report(name, anonymous, "KiB");
		snprintf(name, sizeof(name), "memory, %d container%s with three parked calls: resident",
			 running, running > 1 ? "s" : "");
		report(name, memory("Rss:"), "KiB");
		if (running == 100)
			report("memory, each of 100 containers: anonymous", (anonymous - idle) / 100, "KiB");
	}
	before = switches();
	sleep(3);
	report("wake-ups in 3 idle seconds, 100 containers", switches() - before, "");
	measure_stats();
	for (int i = 0; i < running; i++) {
		snprintf(id, sizeof(id), "mem-%d", i);
		simple("RemoveContainer", "{\"container_id\":\"%s\"}", id);
	}
	report("memory, after their removal: anonymous", memory("Anonymous:"), "KiB");
}

static void measure_cycles(int count)
{
	double *whole = calloc((size_t)count, sizeof(double)), *made = calloc((size_t)count, sizeof(double)),
	       *started = calloc((size_t)count, sizeof(double)),
	       *removed = calloc((size_t)count, sizeof(double));
	for (int i = 0; i < count; i++) {
		double t0 = now_us();
		create("cycle", "\"/bin/true\"");
		double t1 = now_us();
		simple("StartContainer", "{\"container_id\":\"%s\"}", "cycle");
		double t2 = now_us();
		if (wait_for("cycle", "") != 0)
			die("/bin/true failed", NULL);
		double t3 = now_us();
		simple("RemoveContainer", "{\"container_id\":\"%s\"}", "cycle");
		double t4 = now_us();
		whole[i] = t4 - t0;
		made[i] = t1 - t0;
		started[i] = t2 - t1;
		removed[i] = t4 - t3;
	}
	report("create+start+wait+remove of /bin/true", median(whole, (size_t)count), "us");
	report("CreateContainer", median(made, (size_t)count), "us");
	report("StartContainer", median(started, (size_t)count), "us");
	report("RemoveContainer", median(removed, (size_t)count), "us");
	free(whole);
	free(made);
	free(started);
	free(removed);
}

static void measure_exec(int count)
{
	double *taken = calloc((size_t)count, sizeof(double));
	create("exec", "\"/bin/sleep\",\"1000\"");
	simple("StartContainer", "{\"container_id\":\"%s\"}", "exec");
	char id[32];
	for (int i = 0; i < count; i++) {
		snprintf(id, sizeof(id), "e%d", i);
		double begin = now_us();
		simple("ExecProcess",
		       "{\"container_id\":\"exec\",\"exec_id\":\"%s\",\"process\":{\"args\":[\"/bin/"
		       "true\"],\"cwd\":\"/\","
		       "\"env\":[\"PATH=/bin\"]}}",
		       id);
		if (wait_for("exec", id) != 0)
			die("/bin/true failed", NULL);
		taken[i] = now_us() - begin;
	}
	report("exec + wait of /bin/true", median(taken, (size_t)count), "us");
	for (int i = 0; i < count; i++) {
		double begin = now_us();
		simple("StatsContainer", "{\"container_id\":\"%s\"}", "exec");
		taken[i] = now_us() - begin;
	}
	report("StatsContainer", median(taken, (size_t)count), "us");
	simple("RemoveContainer", "{\"container_id\":\"%s\"}", "exec");
	free(taken);
}

static void measure_check(int count)
{
	double *taken = calloc((size_t)count, sizeof(double));
	for (int i = 0; i < count; i++) {
		double begin = now_us();
		simple("Check", "{}");
		taken[i] = now_us() - begin;
	}
	report("Check round trip", median(taken, (size_t)count), "us");
	free(taken);
}

static void measure_stdout(unsigned piece, unsigned megabytes)
{
	char args[96], name[64];
	snprintf(args, sizeof(args), "\"/bin/dd\",\"if=/dev/zero\",\"bs=65536\",\"count=%u\"",
		 megabytes * 16);
	create("flow", args);
	simple("StartContainer", "{\"container_id\":\"%s\"}", "flow");
	double begin = now_us();
	uint64_t total = 0;
	for (;;) {
		struct arena *arena = arena_new(0);
		const void *answer;
		call("ReadStdout", arena_printf(arena, "{\"container_id\":\"flow\",\"len\":%u}", piece),
		     arena, &answer);
		size_t got = ((const Grpc__ReadStreamResponse *)answer)->data.len;
		arena_free(arena);
		total += got;
		if (!got)
			break;
	}
	double seconds = (now_us() - begin) / 1e6;
	if (total != (uint64_t)megabytes << 20)
		die("bytes of stdout are missing", NULL);
	snprintf(name, sizeof(name), "stdout in pieces of %u KiB", piece >> 10);
	report(name, (double)total / 1e6 / seconds, "MB/s");
	simple("RemoveContainer", "{\"container_id\":\"%s\"}", "flow");
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: %s AGENT ROOTFS [COUNT]\n", argv[0]);
		return 2;
	}
	agent_path = argv[1];
	rootfs = argv[2];
	int count = argc > 3 ? atoi(argv[3]) : 200;
	signal(SIGPIPE, SIG_IGN);
	snprintf(socket_path, sizeof(socket_path), "/tmp/bench-agent.%d.sock", (int)getpid());
	snprintf(address, sizeof(address), "unix://%s", socket_path);

	only = argc > 4 ? argv[4] : NULL;
	if (wanted("start"))
		measure_start();

	start_agent();
	loop = loop_new();
	if (!loop)
		die("loop", NULL);
	connect_client();
	simple("CreateSandbox", "{\"hostname\":\"bench\",\"sandbox_id\":\"%s\"}", "bench");
	if (wanted("memory"))
		measure_memory();
	if (wanted("check"))
		measure_check(count * 10);
	if (wanted("cycles"))
		measure_cycles(count);
	if (wanted("exec"))
		measure_exec(count);
	if (wanted("stdout")) {
		measure_stdout(32 << 10, 512);
		measure_stdout(1 << 20, 512);
	}
	stop_agent();
	loop_free(loop);
	unlink(socket_path);
	return 0;
}
