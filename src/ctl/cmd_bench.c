/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench: how long a call takes, how many calls go through a second, and, where a root filesystem is given, how fast a
 * container's output comes. The agent's own time is not told apart from the transport's.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "base/str.h"
#include "ctl/ctl.h"
#include "ctl/spec.h"
#include "ctl/units.h"
#include "proto/agent.pb-c.h"
#include "proto/health.pb-c.h"

enum { READ_LENGTH = 256 << 10, ID_SIZE = 33, COUNT_MAX = 10000000, IN_FLIGHT_MAX = 4096 };

struct bench {
	struct ctl *ctl;
	uint32_t count;
	uint32_t in_flight;
	int64_t size;
	const char *rootfs; /* NULL: no container */
};

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int compare_times(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a;
	int64_t right = *(const int64_t *)b;

	return left < right ? -1 : left > right;
}

/* --- round trip --- */

static int bench_latency(struct bench *bench, struct error *e)
{
	Grpc__CheckRequest request = GRPC__CHECK_REQUEST__INIT;
	_cleanup_free_ int64_t *times = calloc(bench->count, sizeof(*times));

	if (!times)
		return error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < bench->count; i++) {
		struct arena *arena = arena_new(0);
		int64_t start = now_ns();
		int r;

		if (!arena)
			return error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
		r = agent_call_name(bench->ctl->agent, "Check", &request, arena, NULL, e);
		times[i] = now_ns() - start;
		arena_free(arena);
		if (r < 0)
			return r;
	}
	qsort(times, bench->count, sizeof(*times), compare_times);
	printf("Check, one at a time: %u calls, median %.1f µs, 99%% below %.1f µs, longest %.1f µs\n",
	       bench->count, (double)times[bench->count / 2] / 1e3,
	       (double)times[(uint64_t)bench->count * 99 / 100] / 1e3, (double)times[bench->count - 1] / 1e3);
	return 0;
}

/* --- rate --- */

struct rate {
	struct bench *bench;
	uint32_t sent;
	uint32_t answered;
	struct error *e; /* the first failure */
};

static void on_check(const void *response, const struct error *e, void *data);

static void send_check(struct rate *rate)
{
	Grpc__CheckRequest request = GRPC__CHECK_REQUEST__INIT;

	if (rate->sent == rate->bench->count || rate->e->code != STATUS_OK)
		return;
	if (agent_send(rate->bench->ctl->agent, "Check", &request, on_check, rate, rate->e) == 0)
		rate->sent++;
}

static void on_check(const void *response, const struct error *e, void *data)
{
	struct rate *rate = data;

	rate->answered++;
	if (!response && rate->e->code == STATUS_OK)
		*rate->e = *e;
	send_check(rate);
}

static int bench_rate(struct bench *bench, struct error *e)
{
	struct rate rate = {.bench = bench, .e = e};
	int64_t start = now_ns();
	double seconds;

	for (uint32_t i = 0; i < bench->in_flight; i++)
		send_check(&rate);
	/* All that was sent is waited for, because the answers refer to us. */
	while (rate.answered < rate.sent) {
		int r = loop_run_once(agent_loop(bench->ctl->agent), -1);

		if (r < 0) {
			ctl_fail(0, NULL, "event loop: %s", strerror(-r));
			exit(CTL_FAILED);
		}
	}
	if (e->code != STATUS_OK)
		return error_result(e);
	seconds = (double)(now_ns() - start) / 1e9;
	printf("Check, %u at a time: %u calls in %.3f s, %.0f a second\n", bench->in_flight, rate.answered,
	       seconds, rate.answered / seconds);
	return 0;
}

/* --- throughput --- */

static int make_container(struct bench *bench, char *id, struct arena *arena, struct error *e)
{
	Grpc__CreateContainerRequest create = GRPC__CREATE_CONTAINER_REQUEST__INIT;
	Grpc__StartContainerRequest start = GRPC__START_CONTAINER_REQUEST__INIT;
	char *args[] = {(char *)(uintptr_t) "/bin/cat", (char *)(uintptr_t) "/dev/zero"};
	struct spec_options options = {.rootfs = bench->rootfs, .args = args, .n_args = array_length(args)};

	create.container_id = start.container_id = id;
	create.oci = spec_new(id, &options, arena, e);
	if (!create.oci || agent_call_name(bench->ctl->agent, "CreateContainer", &create, arena, NULL, e) < 0)
		return error_result(e);
	return agent_call_name(bench->ctl->agent, "StartContainer", &start, arena, NULL, e);
}

static int read_output(struct bench *bench, char *id, int64_t *bytes, struct error *e)
{
	Grpc__ReadStreamRequest request = GRPC__READ_STREAM_REQUEST__INIT;

	request.container_id = id;
	request.len = READ_LENGTH;
	while (*bytes < bench->size) {
		struct arena *arena = arena_new(0);
		Grpc__ReadStreamResponse *response = NULL;
		size_t length;
		int r = -ENOMEM;

		if (arena)
			r = agent_call_name(bench->ctl->agent, "ReadStdout", &request, arena,
					    (void **)&response, e);
		length = r < 0 ? 0 : response->data.len;
		arena_free(arena);
		if (r < 0)
			return r;
		if (!length)
			return error_set(e, STATUS_ABORTED, EPIPE, "output ended early");
		*bytes += (int64_t)length;
	}
	return 0;
}

static int bench_throughput(struct bench *bench, struct error *e)
{
	Grpc__RemoveContainerRequest remove = GRPC__REMOVE_CONTAINER_REQUEST__INIT;
	struct arena *arena = arena_new(0);
	struct error ignored = ERROR_INIT;
	char id[ID_SIZE];
	int64_t bytes = 0;
	int64_t start;
	double seconds;
	int r;

	if (!arena)
		return error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
	random_id(id, sizeof(id));
	r = make_container(bench, id, arena, e);
	start = now_ns();
	if (r == 0)
		r = read_output(bench, id, &bytes, e);
	seconds = (double)(now_ns() - start) / 1e9;
	remove.container_id = id;
	agent_call_name(bench->ctl->agent, "RemoveContainer", &remove, arena, NULL, &ignored);
	arena_free(arena);
	if (r == 0)
		printf("ReadStdout: %.1f MiB in %.3f s, %.1f MiB a second\n", (double)bytes / 1048576,
		       seconds, (double)bytes / 1048576 / seconds);
	return r;
}

int cmd_bench(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"count", required_argument, NULL, 'c'},
		{"in-flight", required_argument, NULL, 'f'},
		{"size", required_argument, NULL, 's'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct bench bench = {.ctl = ctl, .count = 10000, .in_flight = 64, .size = 1 << 30};
	struct error e = ERROR_INIT;
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		if (option == 'h') {
			ctl_help(command);
			return CTL_OK;
		}
		if (option == '?' || (option == 'c' && str_to_u32(optarg, 10, &bench.count) < 0) ||
		    (option == 'f' && str_to_u32(optarg, 10, &bench.in_flight) < 0) ||
		    (option == 's' && size_parse(optarg, &bench.size) < 0))
			return ctl_usage(command, "wrong option");
	}
	if (!bench.count || bench.count > COUNT_MAX || !bench.in_flight || bench.in_flight > IN_FLIGHT_MAX ||
	    bench.size <= 0)
		return ctl_usage(command, "an amount is out of range");
	if (argc - optind > 1)
		return ctl_usage(command, "too many arguments");
	bench.rootfs = argv[optind];
	if (bench.rootfs && bench.rootfs[0] != '/')
		return ctl_usage(command, "\"%s\" must be an absolute path where the agent is", bench.rootfs);
	if (!ctl_connect(ctl, &e) || bench_latency(&bench, &e) < 0 || bench_rate(&bench, &e) < 0 ||
	    (bench.rootfs && bench_throughput(&bench, &e) < 0))
		return ctl_fail(CTL_FAILED, &e, "bench");
	return CTL_OK;
}
