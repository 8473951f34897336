/* SPDX-License-Identifier: Apache-2.0 */
/* JSON both ways: config.json, requests for the control tool, the policy's form; and what is refused, with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/str.h"
#include "proto/agent.pb-c.h"
#include "proto/confidential_data_hub.pb-c.h"
#include "proto/health.pb-c.h"
#include "proto/json.h"
#include "proto/json_name.h"
#include "proto/json_text.h"
#include "proto/memagent.pb-c.h"
#include "proto/proto.h"
#include "proto/test-sample.h"

#include <jansson.h>

static struct arena *arena;
static struct error problem;

static int set_up(void **state)
{
	arena = arena_new(0);
	problem = ERROR_INIT;
	return 0;
}

static int tear_down(void **state)
{
	arena_free(arena);
	return 0;
}

static void *decode(const ProtobufCMessageDescriptor *descriptor, const char *text)
{
	void *message = json_decode(descriptor, text, strlen(text), true, arena, &problem);

	if (!message)
		fail_msg("%s: %s", text, problem.text);
	return message;
}

static void assert_json(const void *message, unsigned style, const char *expected)
{
	_cleanup_buf_ struct buf out = BUF_INIT;

	assert_int_equal(json_encode(message, style, &out), 0);
	assert_string_equal(buf_string(&out), expected);
}

static void assert_refused(const ProtobufCMessageDescriptor *descriptor, const char *text, const char *why)
{
	problem = ERROR_INIT;
	if (json_decode(descriptor, text, strlen(text), true, arena, &problem))
		fail_msg("%s was not refused", text);
	assert_int_equal(problem.code, STATUS_INVALID_ARGUMENT);
	assert_string_equal(problem.text, why);
}

/* --- config.json --- */

/* jansson's integers are too short for a comparison; marked ones are texts. */
static json_t *tree_of(const char *text, size_t length)
{
	_cleanup_buf_ struct buf marked = BUF_INIT;
	char mark;

	assert_int_equal(json_text_mark_integers(text, length, &marked, &mark, NULL), 0);
	return mark ? json_loadb((const char *)buf_begin(&marked), marked.length, 0, NULL)
		    : json_loadb(text, length, 0, NULL);
}

static void assert_same_tree(const char *a, size_t a_length, const char *b, size_t b_length)
{
	json_t *left = tree_of(a, a_length);
	json_t *right = tree_of(b, b_length);
	bool equal = left && right && json_equal(left, right);

	json_decref(left);
	json_decref(right);
	if (!equal)
		fail_msg("%.*s\n%.*s", (int)a_length, a, (int)b_length, b);
}

static void test_config(void **state)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_buf_ struct buf out = BUF_INIT;
	_cleanup_buf_ struct buf wire = BUF_INIT;
	_cleanup_buf_ struct buf again = BUF_INIT;
	ssize_t length = file_read(-100, TEST_DATA "/test-config.json", 1 << 20, &text);
	Grpc__Spec *spec;

	assert_true(length > 0);
	spec = json_decode(&grpc__spec__descriptor, text, (size_t)length, true, arena, &problem);
	if (!spec)
		fail_msg("%s", problem.text);
	assert_true(spec->process->rlimits[0]->hard == UINT64_MAX);
	assert_true(spec->process->rlimits[0]->soft == (uint64_t)INT64_MAX + 1);
	assert_true(spec->process->oomscoreadj == -999);
	assert_true(spec->linux->resources->memory->kerneltcp == INT64_MIN);
	assert_true(spec->linux->resources->pids->has_limit);
	assert_true(spec->linux->resources->memory->has_swappiness);
	assert_false(spec->linux->devices[1]->has_major);
	assert_int_equal(json_encode(spec, JSON_PRETTY, &out), 0);
	assert_same_tree(text, (size_t)length, (char *)buf_begin(&out), out.length);

	/* And the wire loses nothing of it. */
	assert_int_equal(proto_encode(spec, &wire), 0);
	spec = proto_decode(&grpc__spec__descriptor, buf_begin(&wire), wire.length, arena, &problem);
	assert_non_null(spec);
	assert_int_equal(json_encode(spec, JSON_COMPACT, &again), 0);
	assert_same_tree(text, (size_t)length, (char *)buf_begin(&again), again.length);
}

static void assert_filled(const ProtobufCMessage *message, const char *where)
{
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		void *at = field_at(message, field);

		if (strcmp(field->name, "Solaris") == 0 || strcmp(field->name, "Windows") == 0)
			continue;
		if (field_is_repeated(field) ? !*field_count(message, field)
		    : field_has_flag(field)  ? !*field_flag(message, field)
					     : !*(void **)at)
			fail_msg("test-config.json has no %s.%s", where, field->name);
		if (field->type == PROTOBUF_C_TYPE_MESSAGE && !field_is_map(field))
			assert_filled(field_is_repeated(field) ? **(void ***)at : *(void **)at, field->name);
	}
}

/* The sample is complete: each member is there, in the first element of each list at least. */
static void test_config_has_everything(void **state)
{
	_cleanup_free_ char *text = NULL;
	ssize_t length = file_read(-100, TEST_DATA "/test-config.json", 1 << 20, &text);
	Grpc__Spec *spec = json_decode(&grpc__spec__descriptor, text, (size_t)length, true, arena, &problem);
	Grpc__Linux *linux_part = spec->linux;

	/* The complete elements are not the first ones. */
	spec->mounts++;
	linux_part->resources->devices++;
	linux_part->namespaces++;
	linux_part->seccomp->syscalls++;
	assert_filled(&spec->base, "");
}

static void test_spelling(void **state)
{
	static const char *const names[][2] = {
		{"OOMScoreAdj", "oomScoreAdj"},
		{"UIDMappings", "uidMappings"},
		{"CPU", "cpu"},
		{"UID", "uid"},
		{"BlockIO", "blockIO"},
		{"KernelTCP", "kernelTCP"},
		{"DisableOOMKiller", "disableOOMKiller"},
		{"HostID", "hostID"},
		{"ClassID", "classID"},
		{"Pagesize", "pageSize"},
		{"SelinuxLabel", "selinuxLabel"},
		{"errnoret", "errnoRet"},
		{"L3CacheSchema", "l3CacheSchema"},
		{"Version", "ociVersion"},
		{"IOPriority", "ioPriority"},
		{"ExecCPUAffinity", "execCPUAffinity"},
		{"ClosID", "closID"},
		{"EnableCMT", "enableCMT"},
		{"ThrottleReadIOPSDevice", "throttleReadIOPSDevice"},
		{"destination", "destination"},
		{"container_id", "container_id"},
	};

	for (size_t i = 0; i < array_length(names); i++) {
		char out[JSON_NAME_SIZE];

		json_name_oci(names[i][0], out);
		assert_string_equal(out, names[i][1]);
	}
}

/* What the wire did not carry because it is zero is there when a config.json must have it. */
static void test_required_members(void **state)
{
	Grpc__Process *process = decode(&grpc__process__descriptor,
					"{\"user\": {}, \"rlimits\": [{\"type\": \"RLIMIT_CORE\"}]}");
	Grpc__LinuxResources *resources = decode(&grpc__linux_resources__descriptor,
						 "{\"devices\": [{}], \"pids\": {}, \"memory\": {}}");

	assert_json(process, JSON_COMPACT,
		    "{\"user\":{\"uid\":0,\"gid\":0},\"cwd\":\"\","
		    "\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"hard\":0,\"soft\":0}]}");
	assert_json(resources, JSON_COMPACT, "{\"devices\":[{\"allow\":false}],\"memory\":{},\"pids\":{}}");
}

/* Each entry of that list is a member that exists. */
static void test_required_members_exist(void **state)
{
	const ProtobufCMessageDescriptor *all[200];
	size_t count = sample_descriptors(all, 200);
	size_t required = 0;

	for (size_t i = 0; i < count; i++) {
		for (unsigned j = 0; j < all[i]->n_fields; j++)
			required += json_is_oci(all[i]) && json_is_required(all[i], &all[i]->fields[j]);
	}
	assert_int_equal(required, 36);
}

static void test_what_is_oci(void **state)
{
	assert_true(json_is_oci(&grpc__spec__descriptor));
	assert_true(json_is_oci(&grpc__linux_capabilities__descriptor));
	assert_true(json_is_oci(&grpc__linux_rdma__descriptor));
	assert_false(json_is_oci(&grpc__create_container_request__descriptor));
	assert_false(json_is_oci(&grpc__storage__descriptor));
	assert_false(json_is_oci(&grpc__mem_agent_memcg_config__descriptor));
}

/* --- every message --- */

static void test_round_trip(void **state)
{
	static const unsigned styles[] = {
		JSON_COMPACT,
		JSON_PRETTY,
		JSON_DEFAULTS,
		JSON_DEFAULTS | JSON_POLICY,
		JSON_PRETTY | JSON_DEFAULTS | JSON_POLICY,
	};
	const ProtobufCMessageDescriptor *all[200];
	size_t count = sample_descriptors(all, 200);

	for (size_t i = 0; i < count * array_length(styles); i++) {
		const ProtobufCMessageDescriptor *descriptor = all[i / array_length(styles)];
		struct arena *own = arena_new(0);
		struct sample sample = {own, 0};
		_cleanup_buf_ struct buf text = BUF_INIT;
		_cleanup_buf_ struct buf first = BUF_INIT;
		_cleanup_buf_ struct buf second = BUF_INIT;
		void *message = sample_message(&sample, descriptor);
		void *decoded;

		assert_int_equal(proto_encode(message, &first), 0);
		assert_int_equal(json_encode(message, styles[i % array_length(styles)], &text), 0);
		decoded = json_decode(descriptor, (char *)buf_begin(&text), text.length, true, own, &problem);
		if (!decoded)
			fail_msg("%s: %s: %s", descriptor->name, problem.text, buf_string(&text));
		assert_int_equal(proto_encode(decoded, &second), 0);
		assert_int_equal(first.length, second.length);
		if (first.length)
			assert_memory_equal(buf_begin(&first), buf_begin(&second), first.length);
		arena_free(own);
	}
}

/* --- forms --- */

static void test_forms_of_output(void **state)
{
	Grpc__HealthCheckResponse *health =
		decode(&grpc__health_check_response__descriptor, "{\"status\": 1}");
	Grpc__WaitProcessResponse *status = decode(&grpc__wait_process_response__descriptor, "{}");
	Grpc__ReadStreamResponse *data =
		decode(&grpc__read_stream_response__descriptor, "{\"data\": [0, 255, 10]}");
	Grpc__HealthCheckResponse unknown = GRPC__HEALTH_CHECK_RESPONSE__INIT;

	assert_json(health, JSON_COMPACT, "{\"status\":\"SERVING\"}");
	assert_json(health, JSON_POLICY, "{\"status\":1}");
	assert_json(status, JSON_COMPACT, "{}");
	assert_json(status, JSON_DEFAULTS, "{\"status\":0}");
	assert_json(status, JSON_PRETTY | JSON_DEFAULTS, "{\n  \"status\": 0\n}");
	assert_json(status, JSON_PRETTY, "{}");
	assert_json(data, JSON_COMPACT, "{\"data\":\"AP8K\"}");
	assert_json(data, JSON_POLICY, "{\"data\":[0,255,10]}");
	unknown.status = 77;
	assert_json(&unknown, JSON_COMPACT, "{\"status\":77}");
}

static void test_pretty(void **state)
{
	Grpc__UpdateContainerRequest *request =
		decode(&grpc__update_container_request__descriptor,
		       "{\"container_id\": \"c\", \"resources\": {\"unified\": {\"a\": \"1\", \"b\": \"2\"},"
		       "\"devices\": [{\"allow\": true}], \"pids\": {}}}");

	assert_json(request, JSON_PRETTY,
		    "{\n"
		    "  \"container_id\": \"c\",\n"
		    "  \"resources\": {\n"
		    "    \"devices\": [\n"
		    "      {\n"
		    "        \"allow\": true\n"
		    "      }\n"
		    "    ],\n"
		    "    \"pids\": {},\n"
		    "    \"unified\": {\n"
		    "      \"a\": \"1\",\n"
		    "      \"b\": \"2\"\n"
		    "    }\n"
		    "  }\n"
		    "}");
}

static void test_policy_form(void **state)
{
	Grpc__ExecProcessRequest *request =
		decode(&grpc__exec_process_request__descriptor,
		       "{\"container_id\": \"c\", \"process\": {\"args\": [\"a\"], \"user\": {\"uid\": 1}}}");
	Grpc__CreateContainerRequest *create = decode(&grpc__create_container_request__descriptor,
						      "{\"devices\": [{\"type\": \"blk\"}], \"storages\": "
						      "[{\"fs_group\": {\"group_change_policy\": 1}}]}");
	Grpc__LinuxSyscall *call = decode(&grpc__linux_syscall__descriptor, "{\"names\": [\"read\"]}");
	Grpc__MemAgentMemcgConfig *memcg =
		decode(&grpc__mem_agent_memcg_config__descriptor, "{\"swap\": false}");
	unsigned style = JSON_DEFAULTS | JSON_POLICY;

	assert_json(
		request, style,
		"{\"container_id\":\"c\",\"exec_id\":\"\",\"string_user\":null,\"process\":{\"Terminal\":"
		"false,"
		"\"ConsoleSize\":null,\"User\":{\"UID\":1,\"GID\":0,\"AdditionalGids\":[],\"Username\":\"\"},"
		"\"Args\":[\"a\"],\"Env\":[],\"Cwd\":\"\",\"Capabilities\":null,\"Rlimits\":[],"
		"\"NoNewPrivileges\":false,\"ApparmorProfile\":\"\",\"OOMScoreAdj\":0,\"SelinuxLabel\":\"\"},"
		"\"stdin_port\":0,\"stdout_port\":0,\"stderr_port\":0}");
	assert_json(create, style,
		    "{\"container_id\":\"\",\"exec_id\":\"\",\"string_user\":null,"
		    "\"devices\":[{\"id\":\"\",\"type_\":\"blk\",\"vm_path\":\"\",\"container_path\":\"\","
		    "\"options\":[]}],"
		    "\"storages\":[{\"driver\":\"\",\"driver_options\":[],\"source\":\"\",\"fstype\":\"\","
		    "\"options\":[],"
		    "\"mount_point\":\"\",\"fs_group\":{\"group_id\":0,\"group_change_policy\":1},\"shared\":"
		    "false}],"
		    "\"OCI\":null,\"sandbox_pidns\":false,\"shared_mounts\":[],"
		    "\"stdin_port\":0,\"stdout_port\":0,\"stderr_port\":0}");
	assert_json(call, style, "{\"Names\":[\"read\"],\"Action\":\"\",\"ErrnoRet\":null,\"Args\":[]}");
	call = decode(&grpc__linux_syscall__descriptor, "{\"errnoRet\": 0}");
	assert_json(call, style, "{\"Names\":[],\"Action\":\"\",\"ErrnoRet\":{\"Errnoret\":0},\"Args\":[]}");
	assert_json(memcg, style,
		    "{\"disabled\":null,\"swap\":false,\"swappiness_max\":null,\"period_secs\":null,"
		    "\"period_psi_percent_limit\":null,\"eviction_psi_percent_limit\":null,"
		    "\"eviction_run_aging_count_min\":null}");
}

/* What only we have must not escape a policy that looks for it; absent, it must not disturb one that does not. */
static void test_policy_sees_our_fields(void **state)
{
	Grpc__LinuxPersonality *personality =
		decode(&grpc__linux_personality__descriptor, "{\"domain\": \"LINUX\"}");
	Grpc__User *user = decode(&grpc__user__descriptor, "{\"umask\": 0}");

	assert_json(personality, JSON_DEFAULTS | JSON_POLICY, "{\"Domain\":\"LINUX\",\"Flags\":[]}");
	assert_json(user, JSON_DEFAULTS | JSON_POLICY,
		    "{\"UID\":0,\"GID\":0,\"AdditionalGids\":[],\"Username\":\"\",\"Umask\":0}");
}

static void test_forms_of_input(void **state)
{
	Grpc__CreateContainerRequest *create =
		decode(&grpc__create_container_request__descriptor,
		       "{\"OCI\": {\"Version\": \"1\", \"Process\": {\"OOMScoreAdj\": 1, \"cwd\": \"/\"}, "
		       "\"mounts\": null},"
		       "\"devices\": [{\"type_\": \"a\"}, {\"type\": \"b\"}], \"exec_id\": null}");
	Grpc__LinuxSyscall *call = decode(&grpc__linux_syscall__descriptor,
					  "{\"ErrnoRet\": {\"Errnoret\": 7}, \"Names\": [\"x\"]}");
	Grpc__HealthCheckResponse *health =
		decode(&grpc__health_check_response__descriptor, "{\"status\": \"NOT_SERVING\"}");
	Grpc__POSIXRlimit *rlimit = decode(&grpc__posixrlimit__descriptor,
					   "{\"hard\": \"18446744073709551615\", \"soft\": \"12\"}");
	Api__GetResourceRequest *resource =
		decode(&api__get_resource_request__descriptor, "{\"ResourcePath\": \"p\"}");

	assert_string_equal(create->oci->version, "1");
	assert_true(create->oci->process->oomscoreadj == 1);
	assert_string_equal(create->oci->process->cwd, "/");
	assert_string_equal(create->devices[0]->type, "a");
	assert_string_equal(create->devices[1]->type, "b");
	assert_string_equal(create->exec_id, "");
	assert_true(call->has_errnoret);
	assert_int_equal(call->errnoret, 7);
	assert_int_equal(health->status, 2);
	assert_true(rlimit->hard == UINT64_MAX);
	assert_true(rlimit->soft == 12);
	assert_string_equal(resource->resourcepath, "p");
}

static void test_last_member_wins(void **state)
{
	Grpc__Process *process =
		decode(&grpc__process__descriptor,
		       "{\"cwd\": \"/a\", \"args\": [\"1\", \"2\"], \"cwd\": \"/b\", \"Args\": [\"3\"]}");

	assert_string_equal(process->cwd, "/b");
	assert_int_equal(process->n_args, 1);
	assert_string_equal(process->args[0], "3");
}

static void test_unknown_members(void **state)
{
	static const char text[] = "{\"vm\": {\"deep\": [[[{}]]]}, \"hostname\": \"h\", \"zos\": 1}";
	Grpc__Spec *spec = json_decode(&grpc__spec__descriptor, text, strlen(text), false, arena, &problem);

	assert_non_null(spec);
	assert_string_equal(spec->hostname, "h");
	assert_refused(&grpc__spec__descriptor, text, "vm: unknown member");
	assert_refused(&grpc__spec__descriptor,
		       "{\"linux\": {\"seccomp\": {\"syscalls\": [{\"names\": []}, {\"x\": 1}]}}}",
		       "linux.seccomp.syscalls[1].x: unknown member");
	assert_refused(&grpc__linux_syscall__descriptor, "{\"ErrnoRet\": {}}", "ErrnoRet: unknown member");
}

/* --- numbers --- */

static void test_integers_at_the_edges(void **state)
{
	Grpc__POSIXRlimit *rlimit = decode(&grpc__posixrlimit__descriptor,
					   "{\"hard\":9223372036854775807,\"soft\":9223372036854775808}");
	Grpc__LinuxCPU *cpu =
		decode(&grpc__linux_cpu__descriptor,
		       "{\"quota\": -9223372036854775808, \"realtimeRuntime\": 9223372036854775807}");

	assert_true(rlimit->hard == INT64_MAX);
	assert_true(rlimit->soft == (uint64_t)INT64_MAX + 1);
	assert_true(cpu->quota == INT64_MIN);
	assert_true(cpu->realtimeruntime == INT64_MAX);
	assert_json(rlimit, JSON_COMPACT,
		    "{\"type\":\"\",\"hard\":9223372036854775807,\"soft\":9223372036854775808}");
}

static void test_integers_out_of_range(void **state)
{
	const ProtobufCMessageDescriptor *rlimit = &grpc__posixrlimit__descriptor;
	const ProtobufCMessageDescriptor *cpu = &grpc__linux_cpu__descriptor;
	const ProtobufCMessageDescriptor *user = &grpc__user__descriptor;

	assert_refused(rlimit, "{\"hard\": 18446744073709551616}",
		       "hard: out of range (0 to 18446744073709551615)");
	assert_refused(rlimit, "{\"hard\": 99999999999999999999999999}",
		       "hard: out of range (0 to 18446744073709551615)");
	assert_refused(rlimit, "{\"hard\": -1}", "hard: out of range (0 to 18446744073709551615)");
	assert_refused(rlimit, "{\"hard\": \"18446744073709551616\"}",
		       "hard: out of range (0 to 18446744073709551615)");
	assert_refused(cpu, "{\"quota\": 9223372036854775808}",
		       "quota: out of range (-9223372036854775808 to 9223372036854775807)");
	assert_refused(cpu, "{\"quota\": -9223372036854775809}",
		       "quota: out of range (-9223372036854775808 to 9223372036854775807)");
	assert_refused(user, "{\"uid\": 4294967296}", "uid: out of range (0 to 4294967295)");
	assert_refused(user, "{\"uid\": -1}", "uid: out of range (0 to 4294967295)");
	assert_refused(user, "{\"uid\": 18446744073709551615}", "uid: out of range (0 to 4294967295)");
	assert_refused(user, "{\"additionalGids\": [1, 18446744073709551615]}",
		       "additionalGids[1]: out of range (0 to 4294967295)");
	assert_refused(&grpc__wait_process_response__descriptor, "{\"status\": 2147483648}",
		       "status: out of range (-2147483648 to 2147483647)");
	assert_refused(&grpc__write_stream_request__descriptor, "{\"data\": [1, 256]}",
		       "data[1]: out of range (0 to 255)");
}

/* A large integer is a number, wherever it stands, and a text with its digits is a text. */
static void test_large_integers_are_no_texts(void **state)
{
	static const char both[] = "{\"hostname\": \"18446744073709551615\", \"process\": {\"rlimits\": ["
				   "{\"type\": \"\\u0001\", \"hard\": 18446744073709551615}]}}";
	Grpc__Spec *spec = decode(&grpc__spec__descriptor, both);

	assert_string_equal(spec->hostname, "18446744073709551615");
	assert_string_equal(spec->process->rlimits[0]->type, "\x01");
	assert_true(spec->process->rlimits[0]->hard == UINT64_MAX);
	assert_refused(&grpc__spec__descriptor, "{\"hostname\": 18446744073709551615}",
		       "hostname: expected a text");
	assert_refused(&grpc__process__descriptor, "{\"terminal\": 18446744073709551615}",
		       "terminal: expected true or false");
	assert_refused(&grpc__write_stream_request__descriptor, "{\"data\": 18446744073709551615}",
		       "data: expected base64 or an array of numbers");
	assert_refused(&grpc__health_check_response__descriptor, "{\"status\": 18446744073709551615}",
		       "status: out of range (-2147483648 to 2147483647)");
	assert_refused(&grpc__posixrlimit__descriptor,
		       "{\"type\": \"\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\u0008\\u0009\","
		       "\"hard\": 18446744073709551615}",
		       "JSON: an integer is out of range");
}

static void test_marking(void **state)
{
	static const struct {
		const char *text;
		const char *marked; /* NULL: as it is */
	} cases[] = {
		{"[1, -2, 9223372036854775807, -9223372036854775808]", NULL},
		{"[\"18446744073709551615\", \"a\\\"18446744073709551615\"]", NULL},
		{"[18446744073709551615.0, 1e99, 123456789012345678901234567890e1]", NULL},
		{"[018446744073709551615]", NULL},
		{"[18446744073709551615]", "[\"\\u000118446744073709551615\"]"},
		{"18446744073709551615", "\"\\u000118446744073709551615\""},
		{"[-9223372036854775809,1]", "[\"\\u0001-9223372036854775809\",1]"},
		{"{\"a\":9223372036854775808,\"b\":9223372036854775809}",
		 "{\"a\":\"\\u00019223372036854775808\",\"b\":\"\\u00019223372036854775809\"}"},
		{"[\"\\u0001\",9223372036854775808]", "[\"\\u0001\",\"\\u00029223372036854775808\"]"},
		{"\"", NULL},
		{"\"\\", NULL},
		{"-", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < array_length(cases); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT;
		char mark;

		assert_int_equal(
			json_text_mark_integers(cases[i].text, strlen(cases[i].text), &out, &mark, &problem),
			0);
		assert_int_equal(mark != 0, cases[i].marked != NULL);
		assert_string_equal(buf_string(&out), cases[i].marked ? cases[i].marked : "");
	}
}

/* --- refusals --- */

static void test_wrong_kinds(void **state)
{
	const ProtobufCMessageDescriptor *spec = &grpc__spec__descriptor;

	assert_refused(spec, "{\"process\": {\"rlimits\": [{\"hard\": true}]}}",
		       "process.rlimits[0].hard: expected a number");
	assert_refused(spec, "{\"process\": {\"rlimits\": [{\"hard\": \"many\"}]}}",
		       "process.rlimits[0].hard: expected a number");
	assert_refused(spec, "{\"process\": {\"rlimits\": [{}, {\"soft\": 1.5}]}}",
		       "process.rlimits[1].soft: expected an integer");
	assert_refused(spec, "{\"process\": {\"user\": {\"uid\": \"0\"}}}",
		       "process.user.uid: expected a number");
	assert_refused(spec, "{\"process\": []}", "process: expected an object");
	assert_refused(spec, "{\"mounts\": {}}", "mounts: expected an array");
	assert_refused(spec, "{\"mounts\": [null]}", "mounts[0]: expected an object");
	assert_refused(spec, "{\"mounts\": [{\"options\": [\"ro\", 1]}]}",
		       "mounts[0].options[1]: expected a text");
	assert_refused(spec, "{\"annotations\": [\"a\"]}", "annotations: expected an object");
	assert_refused(spec, "{\"annotations\": {\"a.b\": 1}}", "annotations.a.b: expected a text");
	assert_refused(spec, "{\"root\": {\"readonly\": 1}}", "root.readonly: expected true or false");
	assert_refused(&grpc__health_check_response__descriptor, "{\"status\": \"WELL\"}",
		       "status: no such name");
	assert_refused(&grpc__health_check_response__descriptor, "{\"status\": []}",
		       "status: expected a number");
	assert_refused(&grpc__write_stream_request__descriptor, "{\"data\": \"A\"}", "data: expected base64");
	assert_refused(spec, "[]", "expected an object");
}

static void assert_not_json(const char *text, size_t length)
{
	problem = ERROR_INIT;
	assert_null(json_decode(&grpc__spec__descriptor, text, length, false, arena, &problem));
	assert_int_equal(problem.code, STATUS_INVALID_ARGUMENT);
	assert_true(str_starts_with(problem.text, "JSON: line "));
}

static void test_not_json(void **state)
{
	_cleanup_free_ char *deep = malloc(100000);

	assert_not_json("", 0);
	assert_not_json("{", 1);
	assert_not_json("{}x", 3);
	assert_not_json("{\"hostname\": \"\xff\"}", 17);
	assert_not_json("{\"hostname\": \"\\u0000\"}", 22);
	assert_not_json("{\"hostname\": 01}", 16);
	assert_not_json("{\"hostname\": \"a\0b\"}", 19);
	memset(deep, '[', 100000);
	assert_not_json(deep, 100000);
}

static void test_text_that_is_no_utf8_becomes_so(void **state)
{
	Grpc__StartContainerRequest request = GRPC__START_CONTAINER_REQUEST__INIT;
	char text[] = "a\xff"
		      "b";

	request.container_id = text;
	assert_json(&request, JSON_COMPACT,
		    "{\"container_id\":\"a\xef\xbf\xbd"
		    "b\"}");
}

static void test_bytes(void **state)
{
	static const struct {
		const char *bytes;
		const char *text;
	} cases[] = {
		{"f", "Zg=="},	      {"fo", "Zm8="},		{"foo", "Zm9v"},
		{"foob", "Zm9vYg=="}, {"\xff\xfe\xfd", "//79"},
	};

	for (size_t i = 0; i < array_length(cases); i++) {
		Grpc__WriteStreamRequest *request;
		char text[64];

		snprintf(text, sizeof(text), "{\"data\":\"%s\"}", cases[i].text);
		request = decode(&grpc__write_stream_request__descriptor, text);
		assert_int_equal(request->data.len, strlen(cases[i].bytes));
		assert_memory_equal(request->data.data, cases[i].bytes, request->data.len);
		assert_json(request, JSON_COMPACT, text);
	}
	assert_int_equal(((Grpc__WriteStreamRequest *)decode(&grpc__write_stream_request__descriptor,
							     "{\"data\": \"__79Zg\"}"))
				 ->data.len,
			 4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_config),
		TEST(test_config_has_everything),
		TEST(test_spelling),
		TEST(test_required_members),
		TEST(test_required_members_exist),
		TEST(test_what_is_oci),
		TEST(test_round_trip),
		TEST(test_forms_of_output),
		TEST(test_pretty),
		TEST(test_policy_form),
		TEST(test_policy_sees_our_fields),
		TEST(test_forms_of_input),
		TEST(test_last_member_wins),
		TEST(test_unknown_members),
		TEST(test_integers_at_the_edges),
		TEST(test_integers_out_of_range),
		TEST(test_large_integers_are_no_texts),
		TEST(test_marking),
		TEST(test_wrong_kinds),
		TEST(test_not_json),
		TEST(test_text_that_is_no_utf8_becomes_so),
		TEST(test_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
