/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A client for plays that a shell is too slow for: very many bytes, very many containers, very many cycles. It says on
 * standard output what it found and exits with 0 only if all of it was as it should be.
 *
 * Usage: agent-load ADDRESS ROOTFS CGROUP echo BYTES
 *        agent-load ADDRESS ROOTFS CGROUP flood BYTES
 *        agent-load ADDRESS ROOTFS CGROUP parallel COUNT AGENT-PID
 *        agent-load ADDRESS ROOTFS CGROUP cycles COUNT AGENT-PID
 *        agent-load ADDRESS ROOTFS CGROUP execs COUNT AGENT-PID
 *
 * CGROUP is the path below which containers get theirs.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

enum { CHUNK = 32768 };

static const char *address, *rootfs, *cgroup;
static struct loop *loop;
static struct ttrpc_client *client;

static void die(const char *what, const struct error *e)
{
	printf("FAILED: %s%s%s\n", what, e ? ": " : "", e ? e->text : "");
	exit(1);
}

static void require(bool condition, const char *what)
{
	if (!condition)
		die(what, NULL);
}

/* --- calls --- */

static void encode(const char *method, const char *json, struct buf *bytes, const struct proto_method **found)
{
	struct error e = ERROR_INIT;
	struct arena *arena = arena_new(0);
	const struct proto_method *m = proto_method_find(NULL, method);
	void *request = m ? json_decode(m->request, json, strlen(json), true, arena, &e) : NULL;
	if (!request || proto_encode(request, bytes) < 0)
		die(method, &e);
	arena_free(arena);
	*found = m;
}

/* The answer lives in @arena. */
static void *call(const char *method, const char *json, struct arena *arena)
{
	struct error e = ERROR_INIT;
	const struct proto_method *m;
	const uint8_t *payload;
	size_t length;
	_cleanup_buf_ struct buf bytes = BUF_INIT;
	encode(method, json, &bytes, &m);
	if (ttrpc_client_call_sync(client, m->service, m->name, buf_begin(&bytes), bytes.length, 0, arena,
				   &payload, &length, &e) < 0)
		die(method, &e);
	void *answer = proto_decode(m->response, payload, length, arena, &e);
	if (!answer)
		die(method, &e);
	return answer;
}

static void simple(const char *method, const char *id)
{
	struct arena *arena = arena_new(0);
	call(method, arena_printf(arena, "{\"container_id\":\"%s\"}", id), arena);
	arena_free(arena);
}

struct pending {
	const char *what;
	bool done;
	struct error status;
	uint8_t *data; /* the answer's payload */
	size_t length;
};

static void replied(struct ttrpc_client *c, const struct ttrpc_reply *reply, void *data)
{
	struct pending *pending = data;
	(void)c;
	pending->done = true;
	pending->status = reply->status;
	free(pending->data);
	pending->data = malloc(reply->payload_length + 1);
	pending->length = reply->payload_length;
	if (reply->payload_length > 0)
		memcpy(pending->data, reply->payload, reply->payload_length);
}

static void send_bytes(struct pending *pending, const char *method, const void *data, size_t length)
{
	struct error e = ERROR_INIT;
	const struct proto_method *m = proto_method_find(NULL, method);
	pending->what = m->name;
	pending->done = false;
	if (ttrpc_client_call(client, m->service, m->name, data, length, 0, replied, pending, &e) < 0)
		die(method, &e);
}

static void send_json(struct pending *pending, const char *method, const char *json)
{
	const struct proto_method *m;
	_cleanup_buf_ struct buf bytes = BUF_INIT;
	encode(method, json, &bytes, &m);
	send_bytes(pending, method, buf_begin(&bytes), bytes.length);
}

static void wait_for(const struct pending *pending)
{
	while (!pending->done)
		if (loop_run_once(loop, 120000) < 0)
			die(pending->what, NULL);
}

static void wait_ok(const struct pending *pending)
{
	wait_for(pending);
	if (pending->status.code != STATUS_OK)
		die(pending->what, &pending->status);
}

static int status_of(const struct pending *pending)
{
	struct error e = ERROR_INIT;
	struct arena *arena = arena_new(0);
	const Grpc__WaitProcessResponse *answer = proto_decode(&grpc__wait_process_response__descriptor,
							       pending->data, pending->length, arena, &e);
	int status = answer ? answer->status : -1;
	arena_free(arena);
	return status;
}

static const char create_format[] =
	"{\"container_id\":\"%s\",\"OCI\":{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"%s\"},\"process\":{"
	"\"args\":[%s],"
	"\"env\":[\"PATH=/bin\"],\"cwd\":\"/\",\"user\":{\"uid\":0,\"gid\":0}},"
	"\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
	"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"mode=755\"]}],"
	"\"linux\":{\"cgroupsPath\":\"%s/"
	"%s\",\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"uts\"},{\"type\":\"ipc\"}]}}}";

static char *create_json(struct arena *arena, const char *id, const char *args)
{
	return arena_printf(arena, create_format, id, rootfs, args, cgroup, id);
}

static void create(const char *id, const char *args)
{
	struct arena *arena = arena_new(0);
	call("CreateContainer", create_json(arena, id, args), arena);
	arena_free(arena);
}

static int wait_process(const char *id, const char *exec)
{
	struct arena *arena = arena_new(0);
	const Grpc__WaitProcessResponse *answer =
		call("WaitProcess",
		     arena_printf(arena, "{\"container_id\":\"%s\",\"exec_id\":\"%s\"}", id, exec), arena);
	int status = answer->status;
	arena_free(arena);
	return status;
}

/* --- a pattern that shows any byte that is lost, doubled or out of place --- */

static void fill(uint8_t *data, size_t length, uint64_t offset)
{
	for (size_t i = 0; i < length; i++, offset++)
		data[i] = (uint8_t)((offset >> 3) * 0x9e3779b97f4a7c15u >> ((offset & 7) * 8));
}

/* --- bytes --- */

struct flow {
	uint64_t total, sent, received;
	struct pending read, write;
	struct buf read_request, write_request;
	uint8_t expected[CHUNK];
};

static void ask_more(struct flow *flow)
{
	send_bytes(&flow->read, "ReadStdout", buf_begin(&flow->read_request), flow->read_request.length);
}

static void write_more(struct flow *flow, const char *id)
{
	Grpc__WriteStreamRequest request = GRPC__WRITE_STREAM_REQUEST__INIT;
	uint8_t chunk[CHUNK];
	size_t length = flow->total - flow->sent < CHUNK ? (size_t)(flow->total - flow->sent) : CHUNK;
	fill(chunk, length, flow->sent);
	request.container_id = (char *)id;
	request.data = (ProtobufCBinaryData){.data = chunk, .len = length};
	buf_clear(&flow->write_request);
	require(proto_encode(&request, &flow->write_request) == 0, "encode");
	flow->sent += length;
	send_bytes(&flow->write, length > 0 ? "WriteStdin" : "CloseStdin", buf_begin(&flow->write_request),
		   flow->write_request.length);
}

/* False at the end of the stream. */
static bool take(struct flow *flow)
{
	struct error e = ERROR_INIT;
	struct arena *arena = arena_new(flow->read.length + 256);
	if (flow->read.status.code != STATUS_OK)
		die("ReadStdout", &flow->read.status);
	const Grpc__ReadStreamResponse *answer = proto_decode(&grpc__read_stream_response__descriptor,
							      flow->read.data, flow->read.length, arena, &e);
	require(answer && answer->data.len <= CHUNK, "answer of ReadStdout");
	size_t length = answer->data.len;
	fill(flow->expected, length, flow->received);
	require(length == 0 || memcmp(flow->expected, answer->data.data, length) == 0, "bytes differ");
	flow->received += length;
	arena_free(arena);
	return length > 0;
}

static void prepare(struct flow *flow, const char *id, uint64_t total)
{
	Grpc__ReadStreamRequest request = GRPC__READ_STREAM_REQUEST__INIT;
	flow->total = total;
	request.container_id = (char *)id;
	request.len = CHUNK;
	require(proto_encode(&request, &flow->read_request) == 0, "encode");
}

/* Everything that goes in comes out again, at the same time. */
static void run_echo(uint64_t bytes)
{
	static struct flow flow;
	bool closed = false, ended = false;
	create("echo", "\"/bin/cat\"");
	simple("StartContainer", "echo");
	prepare(&flow, "echo", bytes);
	ask_more(&flow);
	write_more(&flow, "echo");
	while (!ended || !closed) {
		require(loop_run_once(loop, 120000) == 0, "loop");
		if (flow.read.done && !ended) {
			ended = !take(&flow);
			if (!ended)
				ask_more(&flow);
		}
		if (flow.write.done && !closed) {
			if (flow.write.status.code != STATUS_OK)
				die(flow.write.what, &flow.write.status);
			closed = strcmp(flow.write.what, "CloseStdin") == 0;
			if (!closed)
				write_more(&flow, "echo");
		}
	}
	require(flow.received == bytes, "not all came back");
	free(flow.read.data);
	free(flow.write.data);
	buf_deinit(&flow.read_request);
	buf_deinit(&flow.write_request);
	require(wait_process("echo", "") == 0, "cat failed");
	simple("RemoveContainer", "echo");
	printf("%llu bytes through and back\n", (unsigned long long)flow.received);
}

/* The process's end is known before anything was read. */
static void run_flood(uint64_t bytes)
{
	struct pending wait = {0};
	struct arena *arena = arena_new(0);
	(void)bytes;
	create("flood", "\"/bin/sh\",\"-c\",\"i=0; while [ $i -lt 1000 ]; do echo line $i; echo err $i >&2; "
			"i=$((i+1)); done\"");
	simple("StartContainer", "flood");
	send_json(&wait, "WaitProcess", "{\"container_id\":\"flood\"}");
	wait_ok(&wait);
	require(status_of(&wait) == 0, "sh failed");
	free(wait.data);
	size_t total[2] = {0, 0};
	static const char *const methods[] = {"ReadStdout", "ReadStderr"};
	for (int i = 0; i < 2; i++)
		for (size_t n = 1; n > 0; total[i] += n) {
			const Grpc__ReadStreamResponse *answer =
				call(methods[i], "{\"container_id\":\"flood\",\"len\":1000}", arena);
			n = answer->data.len;
		}
	require(total[0] == 8890 && total[1] == 7890, "not all lines came");
	simple("RemoveContainer", "flood");
	arena_free(arena);
	printf("%zu and %zu bytes after the end\n", total[0], total[1]);
}

/* --- the agent from outside --- */

static int agent_pid;

/* What the agent puts off to the end of a round is done once it has answered another call. */
static void let_settle(void)
{
	struct arena *arena = arena_new(0);
	for (int i = 0; i < 3; i++)
		call("Check", "{}", arena);
	arena_free(arena);
}

static int count_fds(void)
{
	char path[64];
	int count = 0;
	let_settle();
	(void)snprintf(path, sizeof(path), "/proc/%d/fd", agent_pid);
	_cleanup_dir_ DIR *directory = opendir(path);
	require(directory != NULL, path);
	while (readdir(directory))
		count++;
	return count - 2;
}

/* KiB. */
static long memory(void)
{
	char path[64];
	_cleanup_free_ char *text = NULL;
	(void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", agent_pid);
	require(file_read(AT_FDCWD, path, 1 << 16, &text) > 0, path);
	const char *at = strstr(text, "Anonymous:");
	return at ? strtol(at + strlen("Anonymous:"), NULL, 10) : -1;
}

/* --- many at once --- */

static struct pending *send_all(const char *method, const char *format, size_t count)
{
	struct pending *list = calloc(count, sizeof(*list));
	struct arena *arena = arena_new(0);
	char id[32];
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(id, sizeof(id), "many-%zu", i);
		const char *json = format ? arena_printf(arena, "{\"container_id\":\"%s\"%s}", id, format)
					  : create_json(arena, id, "\"/bin/sleep\",\"1000\"");
		send_json(&list[i], method, json);
	}
	arena_free(arena);
	return list;
}

static void finish_all(struct pending *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		wait_ok(&list[i]);
		free(list[i].data);
	}
	free(list);
}

static void run_parallel(size_t count)
{
	int fds = count_fds();
	long before = memory();
	finish_all(send_all("CreateContainer", NULL, count), count);
	finish_all(send_all("StartContainer", "", count), count);
	struct pending *outs = send_all("ReadStdout", ",\"len\":32768", count);
	struct pending *errs = send_all("ReadStderr", ",\"len\":32768", count);
	struct pending *waits = send_all("WaitProcess", "", count);
	struct arena *arena = arena_new(0);
	call("Check", "{}", arena);
	long after = memory();
	printf("anonymous memory per container: %.1f KiB\n", (double)(after - before) / (double)count);
	for (size_t i = 0; i < count; i++)
		require(!outs[i].done && !errs[i].done && !waits[i].done, "a parked call was answered early");
	finish_all(send_all("SignalProcess", ",\"signal\":9", count), count);
	for (size_t i = 0; i < count; i++) {
		wait_ok(&waits[i]);
		require(status_of(&waits[i]) == 137, "not killed by signal 9");
	}
	finish_all(waits, count);
	finish_all(outs, count);
	finish_all(errs, count);
	finish_all(send_all("RemoveContainer", "", count), count);
	call("Check", "{}", arena);
	arena_free(arena);
	printf("descriptors: %d before, %d after\n", fds, count_fds());
	require(count_fds() == fds, "descriptors were left");
	require(after - before <= (long)count * 16 || getenv("KATA_SMALL"), "more than 16 KiB per container");
	printf("%zu containers at once\n", count);
}

/* --- many after each other --- */

static void cycle(const char *id)
{
	struct arena *arena = arena_new(0);
	create(id, "\"/bin/sh\",\"-c\",\"echo out; echo err >&2; exit 3\"");
	simple("StartContainer", id);
	const Grpc__ReadStreamResponse *answer =
		call("ReadStdout", arena_printf(arena, "{\"container_id\":\"%s\",\"len\":100}", id), arena);
	require(answer->data.len == 4 && memcmp(answer->data.data, "out\n", 4) == 0, "stdout");
	require(wait_process(id, "") == 3, "exit code");
	simple("RemoveContainer", id);
	arena_free(arena);
}

/* @slack descriptors may come and go: those of the last few finished processes. */
static void compare(int fds, int slack, long before, size_t count)
{
	long after = memory();
	printf("descriptors: %d before, %d after; anonymous memory: %ld KiB before, %ld KiB after\n", fds,
	       count_fds(), before, after);
	require(abs(count_fds() - fds) <= slack, "descriptors were left");
	/*
	 * Malloc's room for what comes and goes is about 80 KiB whatever the count (1000 and 6000 were tried); a leak of
	 * some 64 bytes a cycle would show.
	 */
	require(after - before <= (long)(count * 64 / 1024) + 96 || getenv("KATA_SMALL"), "memory was left");
}

static void run_cycles(size_t count)
{
	for (int i = 0; i < 50; i++)
		cycle("cycle");
	int fds = count_fds();
	long before = memory();
	for (size_t i = 0; i < count; i++)
		cycle("cycle");
	compare(fds, 0, before, count);
	printf("%zu cycles\n", count);
}

static void exec_once(const char *id)
{
	struct arena *arena = arena_new(0);
	call("ExecProcess",
	     arena_printf(arena,
			  "{\"container_id\":\"execs\",\"exec_id\":\"%s\",\"process\":{\"Args\":[\"/bin/"
			  "sh\",\"-c\",\"echo x; exit 5\"],"
			  "\"Env\":[\"PATH=/bin\"],\"Cwd\":\"/\"}}",
			  id),
	     arena);
	require(wait_process("execs", id) == 5, "exit code");
	arena_free(arena);
}

static void run_execs(size_t count)
{
	char id[32];
	create("execs", "\"/bin/sleep\",\"1000\"");
	simple("StartContainer", "execs");
	/* Nobody reads their output: what is kept of them is bounded all the same. */
	for (int i = 0; i < 100; i++) {
		(void)snprintf(id, sizeof(id), "warm-%d", i);
		exec_once(id);
	}
	int fds = count_fds();
	long before = memory();
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(id, sizeof(id), "exec-%zu", i);
		exec_once(id);
	}
	compare(fds, 2, before, count);
	struct arena *arena = arena_new(0);
	call("SignalProcess", "{\"container_id\":\"execs\",\"signal\":9}", arena);
	simple("RemoveContainer", "execs");
	arena_free(arena);
	printf("%zu execs\n", count);
}

int main(int argc, char **argv)
{
	struct error e = ERROR_INIT;
	if (argc < 6) {
		fprintf(stderr, "usage: agent-load ADDRESS ROOTFS CGROUP echo|flood|parallel|cycles|execs "
				"NUMBER [PID]\n");
		return 2;
	}
	address = argv[1];
	rootfs = argv[2];
	cgroup = argv[3];
	unsigned long long number = strtoull(argv[5], NULL, 10);
	agent_pid = argc > 6 ? atoi(argv[6]) : 0;
	loop = loop_new();
	client = loop ? ttrpc_client_connect(loop, address, 5000, &e) : NULL;
	if (!client)
		die("connect", &e);
	if (strcmp(argv[4], "echo") == 0)
		run_echo(number);
	else if (strcmp(argv[4], "flood") == 0)
		run_flood(number);
	else if (strcmp(argv[4], "parallel") == 0)
		run_parallel((size_t)number);
	else if (strcmp(argv[4], "cycles") == 0)
		run_cycles((size_t)number);
	else if (strcmp(argv[4], "execs") == 0)
		run_execs((size_t)number);
	else
		die("unknown play", NULL);
	ttrpc_client_free(client);
	loop_free(loop);
	return 0;
}
