/* SPDX-License-Identifier: Apache-2.0 */
/* Every message there is: encoded, decoded, copied; and the table of methods. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/fd.h"
#include "proto/agent.pb-c.h"
#include "proto/proto.h"
#include "proto/test-sample.h"

enum { MESSAGES_MAX = 200 };

static void assert_same_bytes(const struct buf *a, const struct buf *b)
{
	assert_int_equal(a->length, b->length);
	if (a->length)
		assert_memory_equal(buf_begin(a), buf_begin(b), a->length);
}

static void test_round_trip(void **state)
{
	const ProtobufCMessageDescriptor *all[MESSAGES_MAX];
	size_t count = sample_descriptors(all, MESSAGES_MAX);

	assert_true(count > 100);
	assert_true(count < MESSAGES_MAX);
	for (size_t i = 0; i < count; i++) {
		struct arena *arena = arena_new(0);
		struct arena *other = arena_new(0);
		struct sample sample = {arena, 0};
		_cleanup_buf_ struct buf first = BUF_INIT;
		_cleanup_buf_ struct buf second = BUF_INIT;
		_cleanup_buf_ struct buf third = BUF_INIT;
		struct error e = ERROR_INIT;
		void *message = sample_message(&sample, all[i]);
		void *decoded;
		void *copy;

		assert_int_equal(proto_encode(message, &first), 0);
		decoded = proto_decode(all[i], buf_begin(&first), first.length, arena, &e);
		if (!decoded)
			fail_msg("%s: %s", all[i]->name, e.text);
		assert_int_equal(proto_encode(decoded, &second), 0);
		assert_same_bytes(&first, &second);
		copy = proto_copy(decoded, other);
		assert_non_null(copy);
		/* The copy owes nothing to the original. */
		arena_free(arena);
		assert_int_equal(proto_encode(copy, &third), 0);
		assert_same_bytes(&first, &third);
		arena_free(other);
	}
}

static void test_empty_round_trip(void **state)
{
	const ProtobufCMessageDescriptor *all[MESSAGES_MAX];
	size_t count = sample_descriptors(all, MESSAGES_MAX);
	struct arena *arena = arena_new(0);

	for (size_t i = 0; i < count; i++) {
		_cleanup_buf_ struct buf out = BUF_INIT;
		void *message = proto_decode(all[i], NULL, 0, arena, NULL);

		assert_non_null(message);
		assert_int_equal(proto_encode(message, &out), 0);
		assert_int_equal(out.length, 0);
		assert_non_null(proto_copy(message, arena));
	}
	arena_free(arena);
}

static void test_new_has_defaults(void **state)
{
	struct arena *arena = arena_new(0);
	Grpc__CreateContainerRequest *request = proto_new(&grpc__create_container_request__descriptor, arena);
	Grpc__Process *process = proto_new(&grpc__process__descriptor, arena);

	/* proto3: texts are never NULL. proto2: absent is NULL. */
	assert_string_equal(request->container_id, "");
	assert_null(request->oci);
	assert_null(process->cwd);
	assert_false(process->has_oomscoreadj);
	arena_free(arena);
}

static void test_copy_of_a_message_without_memory(void **state)
{
	struct arena *arena = arena_new(0);
	struct arena *small = arena_new(0);
	struct sample sample = {arena, 0};

	arena_set_limit(small, 2000);
	assert_null(proto_copy(sample_message(&sample, &grpc__spec__descriptor), small));
	arena_free(small);
	arena_free(arena);
}

/* Reference 01, 4.1. */
static const char *const agent_methods[] = {
	"AddARPNeighbors",  "AddSwap",
	"AddSwapPath",	    "CloseStdin",
	"CopyFile",	    "CreateContainer",
	"CreateSandbox",    "DestroySandbox",
	"ExecProcess",	    "GetDiagnosticData",
	"GetGuestDetails",  "GetIPTables",
	"GetMetrics",	    "GetOOMEvent",
	"GetVolumeStats",   "ListInterfaces",
	"ListRoutes",	    "MemAgentCompactSet",
	"MemAgentMemcgSet", "MemHotplugByProbe",
	"OnlineCPUMem",	    "PauseContainer",
	"ReadStderr",	    "ReadStdout",
	"RemoveContainer",  "RemoveStaleVirtiofsShareMounts",
	"ReseedRandomDev",  "ResizeVolume",
	"ResumeContainer",  "SetGuestDateTime",
	"SetIPTables",	    "SetPolicy",
	"SignalProcess",    "StartContainer",
	"StatsContainer",   "TtyWinResize",
	"UpdateContainer",  "UpdateEphemeralMounts",
	"UpdateInterface",  "UpdateRoutes",
	"WaitProcess",	    "WriteStdin",
};

static void test_methods(void **state)
{
	size_t count;
	size_t n_agent = 0;
	const struct proto_method *all = proto_methods(&count);

	assert_int_equal(array_length(agent_methods), 42);
	for (size_t i = 0; i < count; i++) {
		if (strcmp(all[i].service, "grpc.AgentService") == 0) {
			assert_true(n_agent < 42);
			assert_string_equal(all[i].name, agent_methods[n_agent++]);
		}
		if (i) {
			int order = strcmp(all[i - 1].service, all[i].service);

			assert_true(order < 0 || (order == 0 && strcmp(all[i - 1].name, all[i].name) < 0));
		}
	}
	assert_int_equal(n_agent, 42);
	assert_int_equal(count, 42 + 2 + 4);
}

static void test_method_find(void **state)
{
	const struct proto_method *method = proto_method_find(NULL, "WaitProcess");

	assert_non_null(method);
	assert_string_equal(method->service, "grpc.AgentService");
	assert_ptr_equal(method->request, &grpc__wait_process_request__descriptor);
	assert_ptr_equal(method->response, &grpc__wait_process_response__descriptor);
	assert_string_equal(proto_method_find("grpc.Health", "Check")->request->name, "grpc.CheckRequest");
	assert_string_equal(proto_method_find(NULL, "UpdateInterface")->response->name, "types.Interface");
	assert_string_equal(proto_method_find(NULL, "GetVolumeStats")->response->name,
			    "grpc.VolumeStatsResponse");
	assert_string_equal(proto_method_find(NULL, "AddSwapPath")->response->name, "google.protobuf.Empty");
	assert_string_equal(proto_method_find("api.SealedSecretService", "UnsealSecret")->request->name,
			    "api.UnsealSecretInput");
	assert_null(proto_method_find("grpc.Health", "WaitProcess"));
	assert_null(proto_method_find(NULL, "waitprocess"));
	assert_null(proto_method_find(NULL, ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_empty_round_trip),
		cmocka_unit_test(test_new_has_defaults),
		cmocka_unit_test(test_copy_of_a_message_without_memory),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_method_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
