/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connect: the way in which the reference's tool is used, for scripts that were written for it (reference 03, 14): a list
 * of commands, each one text, run in order on one connection. Words NAME=VALUE are remembered for later commands; ids
 * that nobody gave are made up and remembered, too.
 *
 * Deliberately different: what JSON says is not overwritten, CreateContainer takes the request itself, or a bundle, and
 * pulls no images, and answers are JSON throughout.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Before jansson.h, which knows some of its names. */
#include "proto/json.h"

#include <jansson.h>

#include "base/fd.h"
#include "base/str.h"
#include "ctl/copy.h"
#include "ctl/ctl.h"
#include "ctl/request.h"
#include "ctl/spec.h"
#include "ctl/units.h"
#include "proto/agent.pb-c.h"

enum { LONG_ID_SIZE = 65, WORDS_MAX = 64, REMEMBERED_MAX = 64 };

struct connect {
	struct ctl *ctl;
	const char *bundle;
	bool ignore_errors;
	bool auto_values;
	bool quit;
	int64_t repeat;			  /* of the next command; ≤ 0: for ever */
	int64_t repeat_all;		  /* the same of each, by --repeat */
	struct arena *arena;		  /* what is remembered */
	char *remembered[REMEMBERED_MAX]; /* NAME=VALUE */
	size_t n_remembered;
};

/* --- what is remembered --- */

static const char *recall(const struct connect *c, const char *name)
{
	size_t length = strlen(name);

	for (size_t i = c->n_remembered; i-- > 0;) {
		if (strncmp(c->remembered[i], name, length) == 0 && c->remembered[i][length] == '=')
			return c->remembered[i] + length + 1;
	}
	return NULL;
}

static int remember(struct connect *c, const char *pair, struct error *e)
{
	size_t name = strcspn(pair, "=") + 1;
	char *copy = arena_strdup(c->arena, pair);
	size_t at = 0;

	while (at < c->n_remembered && strncmp(c->remembered[at], pair, name) != 0)
		at++;
	if (!copy || at == REMEMBERED_MAX)
		return error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "too many values to remember");
	c->remembered[at] = copy;
	c->n_remembered += at == c->n_remembered;
	return 0;
}

/* The value of an id: given before, or made up now. */
static char *auto_id(struct connect *c, const char *name, struct error *e)
{
	char pair[LONG_ID_SIZE + sizeof("exec_id=")];
	char id[LONG_ID_SIZE];

	if (!recall(c, name)) {
		random_id(id, sizeof(id));
		snprintf(pair, sizeof(pair), "%s=%s", name, id);
		if (remember(c, pair, e) < 0)
			return NULL;
	}
	return (char *)(uintptr_t)recall(c, name);
}

/* --- requests --- */

/* A text member of the request by its name; NULL where there is none. */
static char **text_member(const struct proto_method *method, void *request, const char *name)
{
	const ProtobufCFieldDescriptor *field =
		protobuf_c_message_descriptor_get_field_by_name(method->request, name);

	if (!field || field->type != PROTOBUF_C_TYPE_STRING || field->label == PROTOBUF_C_LABEL_REPEATED)
		return NULL;
	return (char **)(void *)((char *)request + field->offset);
}

static int fill_ids(struct connect *c, const struct proto_method *method, void *request, struct error *e)
{
	char **container = text_member(method, request, "container_id");
	char **sandbox = text_member(method, request, "sandbox_id");
	char **exec_id = text_member(method, request, "exec_id");

	if (sandbox && str_is_empty(*sandbox) && !(*sandbox = auto_id(c, "sid", e)))
		return error_result(e);
	if (!c->auto_values)
		return 0;
	if (container && str_is_empty(*container) && !(*container = auto_id(c, "cid", e)))
		return error_result(e);
	/* A new process needs an id of its own; the others without one mean the first process. */
	if (exec_id && str_is_empty(*exec_id) && method->request == &grpc__exec_process_request__descriptor)
		*exec_id = auto_id(c, "exec_id", e);
	else if (exec_id && str_is_empty(*exec_id))
		*exec_id = recall(c, "exec_id") ? (char *)(uintptr_t)recall(c, "exec_id") : *container;
	if (exec_id && !*exec_id)
		return error_result(e);
	if (strcmp(method->name, "SignalProcess") == 0 && !((Grpc__SignalProcessRequest *)request)->signal)
		((Grpc__SignalProcessRequest *)request)->signal = 9;
	return 0;
}

static Grpc__Spec *bundle_spec(struct connect *c, struct arena *arena, struct error *e)
{
	const char *given = recall(c, "spec");
	char *path = given ? arena_strdup(arena, str_starts_with(given, "file://") ? given + 7 : given)
			   : arena_printf(arena, "%s/config.json", c->bundle);

	if (path)
		return spec_read(path, arena, e);
	error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
	return NULL;
}

static int fill_from_bundle(struct connect *c, const struct proto_method *method, void *message,
			    struct arena *arena, struct error *e)
{
	Grpc__CreateContainerRequest *create = message;
	Grpc__ExecProcessRequest *exec = message;
	bool creating = method->request == &grpc__create_container_request__descriptor;
	bool executing = method->request == &grpc__exec_process_request__descriptor;
	Grpc__Spec *spec;

	if ((!creating || create->oci) && (!executing || exec->process))
		return 0;
	if (!c->bundle && !recall(c, "spec"))
		return 0;
	spec = bundle_spec(c, arena, e);
	if (!spec)
		return error_result(e);
	if (creating)
		create->oci = spec;
	else
		exec->process = spec->process;
	return 0;
}

/* Words that the request has no member for are remembered all the same: they are for other commands. */
static int take_pairs(struct connect *c, const struct proto_method *method, char **words, size_t count,
		      char **mine, size_t *n_mine, struct error *e)
{
	for (size_t i = 0; i < count; i++) {
		if (!request_is_pair(words[i]))
			return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "\"%s\" is not NAME=VALUE",
					 words[i]);
		if (remember(c, words[i], e) < 0)
			return error_result(e);
	}
	for (size_t i = 0; i < c->n_remembered; i++) {
		if (request_member(method, c->remembered[i]))
			mine[(*n_mine)++] = c->remembered[i];
	}
	return 0;
}

static void *read_request(struct connect *c, const struct proto_method *method, char *argument,
			  struct arena *arena, struct error *e)
{
	char *words[WORDS_MAX];
	char *mine[REMEMBERED_MAX];
	size_t count = 0;
	size_t n_mine = 0;
	char *word;
	void *request;

	if (str_starts_with(argument, "json://") || str_starts_with(argument, "file://") ||
	    argument[0] == '{') {
		request = request_read(method, &argument, 1, false, arena, e);
	} else {
		while (count < WORDS_MAX && (word = strsep(&argument, " \t"))) {
			if (*word)
				words[count++] = word;
		}
		if (take_pairs(c, method, words, count, mine, &n_mine, e) < 0)
			return NULL;
		request = request_read(method, mine, n_mine, true, arena, e);
	}
	if (!request || fill_ids(c, method, request, e) < 0 ||
	    fill_from_bundle(c, method, request, arena, e) < 0)
		return NULL;
	return request;
}

/* --- running --- */

static void print_response(const struct proto_method *method, const void *response)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct timespec now;
	struct tm parts;
	char time[64] = "";

	clock_gettime(CLOCK_REALTIME, &now);
	if (gmtime_r(&now.tv_sec, &parts))
		strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%S", &parts);
	json_encode(response, JSON_DEFAULTS, &text);
	printf("{\"msg\":\"response "
	       "received\",\"level\":\"INFO\",\"ts\":\"%s.%09ldZ\",\"version\":\"%s\",\"pid\":\"%d\","
	       "\"subsystem\":\"rpc\",\"name\":\"kata-agent-ctl\",\"source\":\"kata-agent-ctl\","
	       "\"request\":\"%s\",\"response\":%s}\n",
	       time, now.tv_nsec, CTL_VERSION, (int)getpid(), method->name, str_or_empty(buf_string(&text)));
	fflush(stdout);
}

/* Members of the tool's own JSON. */
static const char *member(json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

/* CopyFile {"src", "dest"}, SetPolicy {"policy_file"}, CreateContainer {"image"}. Positive: it was none of these. */
static int run_own_form(struct connect *c, const struct proto_method *method, const char *argument,
			struct arena *arena, struct error *e)
{
	json_t *object = NULL;
	size_t length = 0;
	const char *text;
	int r = 1;

	if (!str_starts_with(argument, "json://") && !str_starts_with(argument, "file://"))
		return 1;
	text = request_text(argument, arena, &length, e);
	if (!text)
		return error_result(e);
	object = json_loadb(text, length, 0, NULL);
	if (strcmp(method->name, "CopyFile") == 0 && member(object, "src") && member(object, "dest")) {
		r = copy_file(c->ctl->agent, member(object, "src"), member(object, "dest"), e);
	} else if (strcmp(method->name, "SetPolicy") == 0 && member(object, "policy_file")) {
		Grpc__SetPolicyRequest request = GRPC__SET_POLICY_REQUEST__INIT;
		char *name = arena_printf(arena, "@%s", member(object, "policy_file"));

		request.policy = name ? (char *)(uintptr_t)request_text(name, arena, &length, e) : NULL;
		r = request.policy ? agent_call(c->ctl->agent, method, &request, arena, NULL, e)
				   : error_result(e);
	} else if (strcmp(method->name, "CreateContainer") == 0 && member(object, "image")) {
		r = error_set(
			e, STATUS_UNIMPLEMENTED, ENOSYS,
			"images are not pulled by this tool; give a CreateContainerRequest, or --bundle-dir");
	}
	json_decref(object);
	return r;
}

static int run_method(struct connect *c, const struct proto_method *method, char *argument, struct error *e)
{
	struct arena *arena = arena_new(0);
	void *request;
	void *response = NULL;
	int r;

	if (!arena)
		return error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
	r = ctl_connect(c->ctl, e) ? run_own_form(c, method, argument, arena, e) : error_result(e);
	if (r > 0) {
		/* What is asked for without a word is everything. */
		if (!*argument && strcmp(method->name, "GetGuestDetails") == 0)
			argument = arena_strdup(arena, "mem_block_size=true mem_hotplug_probe=true");
		request = argument ? read_request(c, method, argument, arena, e) : NULL;
		r = request ? agent_call(c->ctl->agent, method, request, arena, &response, e)
			    : error_result(e);
	}
	if (r == 0 && response)
		print_response(method, response);
	if (r == 0 && strcmp(method->name, "DestroySandbox") == 0)
		c->quit = true;
	arena_free(arena);
	return r;
}

static void print_commands(void)
{
	size_t count;
	const struct proto_method *methods = proto_methods(&count);

	printf("Built-in commands:\n\n"
	       "  echo (Display the arguments)\n"
	       "  help (Display this list)\n"
	       "  list (Display this list)\n"
	       "  quit (End)\n"
	       "  repeat (Run the next command several times)\n"
	       "  sleep (Wait, for example 5s)\n\n"
	       "Agent API commands:\n\n");
	for (size_t i = 0; i < count; i++) {
		if (str_starts_with(methods[i].service, "grpc."))
			printf("  %s (%s service)\n", methods[i].name,
			       strcmp(methods[i].service, "grpc.Health") == 0 ? "health" : "agent");
	}
	printf("\n");
}

static int run_builtin(struct connect *c, const char *name, const char *argument, struct error *e)
{
	int64_t ns;

	if (strcmp(name, "echo") == 0) {
		printf("%s\n", argument);
		return 0;
	}
	if (strcmp(name, "help") == 0 || strcmp(name, "list") == 0) {
		print_commands();
		return 0;
	}
	if (strcmp(name, "quit") == 0) {
		c->quit = true;
		return 0;
	}
	if (strcmp(name, "repeat") == 0) {
		if (str_to_i64(argument, 10, &c->repeat) < 0)
			return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "repeat \"%s\": not a number",
					 argument);
		return 0;
	}
	if (strcmp(name, "sleep") != 0)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "invalid command: \"%s\"", name);
	if (duration_parse(argument, &ns) < 0)
		return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "sleep \"%s\": not a duration like 5s",
				 argument);
	fflush(stdout);
	nanosleep(&(struct timespec){ns / 1000000000, ns % 1000000000}, NULL);
	return 0;
}

/* One command, @line, which stays as it is. */
static int run_once(struct connect *c, const char *line, struct error *e)
{
	_cleanup_free_ char *copy = strdup(line);
	char *rest = copy;
	char *name;
	const struct proto_method *method;

	if (!copy)
		return error_set(e, STATUS_RESOURCE_EXHAUSTED, ENOMEM, "out of memory");
	rest += strspn(rest, " \t");
	name = strsep(&rest, " \t");
	if (!rest)
		rest = name + strlen(name);
	rest += strspn(rest, " \t");
	method = isupper((unsigned char)*name) ? ctl_method(name) : NULL;
	if (!method)
		return run_builtin(c, name, rest, e);
	if (run_method(c, method, rest, e) < 0)
		return error_prefix(e, "API failed: %s: %s", name, status_name(e->code));
	return 0;
}

/* An exit code; tells failures. */
static int run_command(struct connect *c, const char *line)
{
	int64_t times = c->repeat;
	bool for_ever = times <= 0;
	int code = CTL_OK;

	if (!line[strspn(line, " \t")])
		return CTL_OK;
	c->repeat = c->repeat_all;
	while ((for_ever || times-- > 0) && !c->quit) {
		struct error e = ERROR_INIT;

		if (run_once(c, line, &e) == 0)
			continue;
		fflush(stdout);
		fprintf(stderr, "ERROR: %s\n", e.text);
		code = CTL_FAILED;
		if (!c->ignore_errors)
			break;
	}
	return c->ignore_errors ? CTL_OK : code;
}

static int run_interactive(struct connect *c)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	int code = CTL_OK;
	ssize_t length;

	print_commands();
	while (!c->quit) {
		printf("Enter command: ");
		fflush(stdout);
		length = getline(&line, &size, stdin);
		if (length < 0)
			break;
		line[strcspn(line, "\n")] = 0;
		code = run_command(c, line);
	}
	printf("\n");
	return code;
}

/* `unix://PATH` of a VMM, in our form. */
static const char *hybrid_address(const char *address, const char *port, struct arena *arena)
{
	if (str_starts_with(address, "unix://"))
		return arena_printf(arena, "hvsock://%s:%s", address + 7, port);
	return address;
}

/* As shipped, three flags demand a value, so scripts give them one, which may stand alone. */
static bool is_flag_value(const char *word)
{
	return strcmp(word, "1") == 0 || strcmp(word, "0") == 0 || strcmp(word, "true") == 0 ||
	       strcmp(word, "false") == 0;
}

struct connect_options {
	const char **commands;
	int n_commands;
	bool interactive;
	bool hybrid;
	const char *hybrid_port;
};

/* Negative: go on. */
static int parse_options(struct connect *c, const struct ctl_command *command, struct connect_options *o,
			 int argc, char **argv)
{
	static const struct option options[] = {
		{"server-address", required_argument, NULL, 'a'},
		{"cmd", required_argument, NULL, 'c'},
		{"interactive", optional_argument, NULL, 'i'},
		{"ignore-errors", no_argument, NULL, 'I'},
		{"timeout", required_argument, NULL, 'T'},
		{"bundle-dir", required_argument, NULL, 'b'},
		{"hybrid-vsock", optional_argument, NULL, 'H'},
		{"hybrid-vsock-port", required_argument, NULL, 'P'},
		{"no-auto-values", optional_argument, NULL, 'n'},
		{"repeat", required_argument, NULL, 'R'},
		{"vm", required_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option;

	optind = 0;
	/* In the order of the command line, words being commands as well. */
	while ((option = getopt_long(argc, argv, "-c:inh", options, NULL)) != -1) {
		uint32_t port;
		bool on = !optarg || (strcmp(optarg, "0") != 0 && strcmp(optarg, "false") != 0);

		switch (option) {
		case 1:
			if (is_flag_value(optarg))
				break;
			o->commands[o->n_commands++] = optarg;
			break;
		case 'c':
			o->commands[o->n_commands++] = optarg;
			break;
		case 'a':
			c->ctl->options.address = optarg;
			break;
		case 'i':
			o->interactive = on;
			break;
		case 'I':
			c->ignore_errors = true;
			break;
		case 'T':
			if (duration_parse(optarg, &c->ctl->options.timeout_ns) < 0)
				return ctl_usage(command, "\"%s\" is not a duration like 5s", optarg);
			break;
		case 'b':
			c->bundle = optarg;
			break;
		case 'H':
			o->hybrid = on;
			break;
		case 'P':
			if (str_to_u32(optarg, 10, &port) < 0)
				return ctl_usage(command, "VSOCK port number must be an integer: \"%s\"",
						 optarg);
			o->hybrid_port = optarg;
			break;
		case 'n':
			c->auto_values = !on;
			break;
		case 'R':
			if (str_to_i64(optarg, 10, &c->repeat_all) < 0)
				return ctl_usage(command, "\"%s\" is not a number", optarg);
			c->repeat = c->repeat_all;
			break;
		case 'V':
			return ctl_usage(command, "--vm: no virtual machines are started by this tool");
		case 'h':
			ctl_help(command);
			return CTL_OK;
		default:
			return ctl_usage(command, "wrong option");
		}
	}
	while (optind < argc)
		o->commands[o->n_commands++] = argv[optind++];
	return -1;
}

int cmd_connect(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	struct connect c = {
		.ctl = ctl, .auto_values = true, .repeat = 1, .repeat_all = 1, .arena = arena_new(0)};
	struct connect_options o = {.hybrid_port = "1024"};
	int code;

	if (!c.arena || !(o.commands = arena_array(c.arena, (size_t)argc, sizeof(char *)))) {
		arena_free(c.arena);
		return ctl_fail(CTL_FAILED, NULL, "out of memory");
	}
	/* No limit, unless one is given. */
	if (ctl->options.timeout_ns < 0)
		ctl->options.timeout_ns = 0;
	code = parse_options(&c, command, &o, argc, argv);
	if (code < 0 && o.hybrid && ctl->options.address)
		ctl->options.address = hybrid_address(ctl->options.address, o.hybrid_port, c.arena);
	if (code < 0 && !o.interactive && !o.n_commands) {
		fprintf(stderr, "ERROR: need commands to send to the server\n");
		code = CTL_FAILED;
	} else if (code < 0) {
		code = CTL_OK;
		for (int i = 0; i < o.n_commands && !c.quit && !code; i++)
			code = run_command(&c, o.commands[i]);
		if (o.interactive && !code && !c.quit)
			code = run_interactive(&c);
	}
	/* The address may lie in what is freed now. */
	agent_free(ctl->agent);
	ctl->agent = NULL;
	arena_free(c.arena);
	return code;
}
