/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that are one call each: looking after containers that are there. */
#include <ctype.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "ctl/ctl.h"
#include "ctl/units.h"
#include "proto/agent.pb-c.h"
#include "proto/health.pb-c.h"

/* How long a container may take to say that it has ended. */
#define STOPPED_TIMEOUT_NS INT64_C(1000000000)

static void arena_freep(struct arena **arena)
{
	arena_free(*arena);
}

#define _cleanup_arena_ __attribute__((cleanup(arena_freep)))

/* Connects and calls. 0, or the exit code, with the failure told. */
static int call(struct ctl *ctl, const char *method, const void *request, struct arena *arena,
		void **response, const char *what)
{
	struct error e = ERROR_INIT;

	if (!arena)
		return ctl_fail(CTL_FAILED, NULL, "out of memory");
	if (!ctl_connect(ctl, &e) || agent_call_name(ctl->agent, method, request, arena, response, &e) < 0)
		return ctl_fail(CTL_FAILED, &e, "%s", what);
	return CTL_OK;
}

/* --- the agent itself --- */

int cmd_check(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	Grpc__CheckRequest request = GRPC__CHECK_REQUEST__INIT;
	Grpc__HealthCheckResponse *response;
	int code = ctl_no_options(command, argc, argv, 0, 0);

	if (code >= 0 || (code = call(ctl, "Check", &request, arena, (void **)&response, "check")))
		return code;
	code = ctl_print(response);
	return response->status == GRPC__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING ? code : CTL_FAILED;
}

int cmd_version(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	Grpc__CheckRequest request = GRPC__CHECK_REQUEST__INIT;
	void *response;
	int code = ctl_no_options(command, argc, argv, 0, 0);

	if (code >= 0 || (code = call(ctl, "Version", &request, arena, &response, "version")))
		return code;
	return ctl_print(response);
}

/* --- list --- */

/* A member's text; nothing where it would command the terminal. */
static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	for (const char *c = text; c && *c; c++) {
		if (iscntrl((unsigned char)*c))
			return "?";
	}
	return text;
}

static void print_container(const char *line, size_t length)
{
	json_t *object = json_loadb(line, length, 0, NULL);
	const char *id = text_of(object, "id");

	if (id)
		printf("%-34s  %-8s  %-8lld  %-6lld  %s\n", id, str_or_empty(text_of(object, "status")),
		       (long long)json_integer_value(json_object_get(object, "pid")),
		       (long long)json_integer_value(json_object_get(object, "execs")),
		       str_or_empty(text_of(object, "created")));
	json_decref(object);
}

static void print_id(const char *line, size_t length)
{
	json_t *object = json_loadb(line, length, 0, NULL);
	const char *id = text_of(object, "id");

	if (id)
		printf("%s\n", id);
	json_decref(object);
}

/* @form: 't'able, 'j'son, 'q'uiet. */
static void print_list(const char *lines, char form)
{
	if (form == 't')
		printf("%-34s  %-8s  %-8s  %-6s  %s\n", "ID", "STATUS", "PID", "EXECS", "CREATED");
	while (*lines) {
		size_t length = strcspn(lines, "\n");

		if (form == 'j')
			printf("%.*s\n", (int)length, lines);
		else if (form == 'q')
			print_id(lines, length);
		else
			print_container(lines, length);
		lines += length + (lines[length] == '\n');
	}
}

int cmd_list(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	_cleanup_arena_ struct arena *arena = arena_new(0);
	Grpc__GetDiagnosticDataRequest request = GRPC__GET_DIAGNOSTIC_DATA_REQUEST__INIT;
	Grpc__GetDiagnosticDataResponse *response;
	struct error e = ERROR_INIT;
	char form = 't';
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, "jqh", options, NULL)) != -1) {
		if (option == '?')
			return ctl_usage(command, "wrong option");
		form = (char)option;
	}
	if (form == 'h') {
		ctl_help(command);
		return CTL_OK;
	}
	if (optind < argc)
		return ctl_usage(command, "too many arguments");
	request.log_type = (char *)(uintptr_t) "containers";
	if (!arena || !ctl_connect(ctl, &e))
		return ctl_fail(CTL_FAILED, &e, "list");
	if (agent_call_name(ctl->agent, "GetDiagnosticData", &request, arena, (void **)&response, &e) < 0) {
		if (e.code == STATUS_INVALID_ARGUMENT || e.code == STATUS_UNIMPLEMENTED)
			return ctl_fail(CTL_FAILED, NULL,
					"list: this agent has no way to tell its containers (it does not "
					"know the log_type "
					"\"containers\" of GetDiagnosticData)");
		return ctl_fail(CTL_FAILED, &e, "list");
	}
	print_list(response->data, form);
	return CTL_OK;
}

/* --- containers --- */

int cmd_start(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	Grpc__StartContainerRequest request = GRPC__START_CONTAINER_REQUEST__INIT;
	int code = ctl_no_options(command, argc, argv, 1, 1);

	if (code >= 0)
		return code;
	request.container_id = argv[-code];
	return call(ctl, "StartContainer", &request, arena, NULL, "start");
}

/* pause and resume, whose requests are alike. */
int cmd_pause(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	Grpc__PauseContainerRequest pause = GRPC__PAUSE_CONTAINER_REQUEST__INIT;
	Grpc__ResumeContainerRequest resume = GRPC__RESUME_CONTAINER_REQUEST__INIT;
	int code = ctl_no_options(command, argc, argv, 1, 1);

	if (code >= 0)
		return code;
	pause.container_id = resume.container_id = argv[-code];
	if (strcmp(command->name, "pause") == 0)
		return call(ctl, "PauseContainer", &pause, arena, NULL, "pause");
	return call(ctl, "ResumeContainer", &resume, arena, NULL, "resume");
}

int cmd_stats(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	Grpc__StatsContainerRequest request = GRPC__STATS_CONTAINER_REQUEST__INIT;
	void *response;
	int code = ctl_no_options(command, argc, argv, 1, 1);

	if (code >= 0)
		return code;
	request.container_id = argv[-code];
	code = call(ctl, "StatsContainer", &request, arena, &response, "stats");
	return code ? code : ctl_print(response);
}

int cmd_kill(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"all", no_argument, NULL, 'a'},
		{"exec", required_argument, NULL, 'E'},
		{"signal", required_argument, NULL, 's'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	_cleanup_arena_ struct arena *arena = arena_new(0);
	Grpc__SignalProcessRequest request = GRPC__SIGNAL_PROCESS_REQUEST__INIT;
	const char *signal = "TERM";
	const char *exec_id = NULL;
	bool all = false;
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, "+as:h", options, NULL)) != -1) {
		if (option == '?')
			return ctl_usage(command, "wrong option");
		if (option == 'h') {
			ctl_help(command);
			return CTL_OK;
		}
		all |= option == 'a';
		signal = option == 's' ? optarg : signal;
		exec_id = option == 'E' ? optarg : exec_id;
	}
	if (argc - optind != 1)
		return ctl_usage(command, "one container must be named");
	if (signal_parse(signal, &request.signal) < 0)
		return ctl_usage(command, "\"%s\" is not a signal", signal);
	request.container_id = argv[optind];
	request.exec_id = (char *)(uintptr_t)(all ? "" : exec_id ? exec_id : argv[optind]);
	return call(ctl, "SignalProcess", &request, arena, NULL, "kill");
}

int cmd_wait(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"exec", required_argument, NULL, 'E'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	_cleanup_arena_ struct arena *arena = arena_new(0);
	Grpc__WaitProcessRequest request = GRPC__WAIT_PROCESS_REQUEST__INIT;
	Grpc__WaitProcessResponse *response;
	const char *exec_id = "";
	int option;
	int code;

	optind = 0;
	while ((option = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		if (option == '?')
			return ctl_usage(command, "wrong option");
		if (option == 'h') {
			ctl_help(command);
			return CTL_OK;
		}
		exec_id = optarg;
	}
	if (argc - optind != 1)
		return ctl_usage(command, "one container must be named");
	request.container_id = argv[optind];
	request.exec_id = (char *)(uintptr_t)exec_id;
	code = call(ctl, "WaitProcess", &request, arena, (void **)&response, "wait");
	if (!code)
		printf("%d\n", response->status);
	return code;
}

/* --- rm --- */

/* The API tells of a status only by waiting: a process that has ended answers at once. */
static bool is_running(struct ctl *ctl, char *container, struct arena *arena)
{
	Grpc__WaitProcessRequest request = GRPC__WAIT_PROCESS_REQUEST__INIT;
	struct error e = ERROR_INIT;

	request.container_id = container;
	return agent_call_limited(ctl->agent, "WaitProcess", &request, STOPPED_TIMEOUT_NS, arena, NULL, &e) <
		       0 &&
	       e.code == STATUS_DEADLINE_EXCEEDED;
}

static int remove_one(struct ctl *ctl, char *container, bool force, uint32_t timeout)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	Grpc__RemoveContainerRequest request = GRPC__REMOVE_CONTAINER_REQUEST__INIT;
	struct error e = ERROR_INIT;

	if (!arena || !ctl_connect(ctl, &e))
		return ctl_fail(CTL_FAILED, &e, "rm");
	if (!force && is_running(ctl, container, arena))
		return ctl_fail(CTL_FAILED, NULL,
				"rm: container \"%s\" has not ended; --force removes it nevertheless",
				container);
	request.container_id = container;
	request.timeout = timeout;
	return call(ctl, "RemoveContainer", &request, arena, NULL, "rm");
}

int cmd_rm(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"force", no_argument, NULL, 'f'},
		{"timeout", required_argument, NULL, 'T'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	uint32_t timeout = 0;
	bool force = false;
	int code = CTL_OK;
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, "+fh", options, NULL)) != -1) {
		if (option == '?')
			return ctl_usage(command, "wrong option");
		if (option == 'h') {
			ctl_help(command);
			return CTL_OK;
		}
		if (option == 'T' && str_to_u32(optarg, 10, &timeout) < 0)
			return ctl_usage(command, "\"%s\" is not a number of seconds", optarg);
		force |= option == 'f';
	}
	if (optind == argc)
		return ctl_usage(command, "no container was named");
	for (int i = optind; i < argc; i++) {
		if (remove_one(ctl, argv[i], force, timeout))
			code = CTL_FAILED;
	}
	return code;
}
