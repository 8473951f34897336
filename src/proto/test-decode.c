/* SPDX-License-Identifier: Apache-2.0 */
/* What the wire may bring: reference 01, 1.4 and 1.11, and what is worse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/fd.h"
#include "base/str.h"
#include "proto/agent.pb-c.h"
#include "proto/health.pb-c.h"
#include "proto/memagent.pb-c.h"
#include "proto/proto.h"
#include "proto/test-sample.h"

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

/* From hexadecimal digits, blanks ignored. */
static void *decode_hex(const ProtobufCMessageDescriptor *descriptor, const char *hex)
{
	_cleanup_buf_ struct buf bytes = BUF_INIT;
	_cleanup_free_ uint8_t *exact = NULL;

	while (*hex) {
		char pair[3] = {0};

		if (*hex == ' ') {
			hex++;
			continue;
		}
		memcpy(pair, hex, 2);
		buf_append_char(&bytes, (char)strtoul(pair, NULL, 16));
		hex += 2;
	}
	/* Not a byte more, so that a sanitizer sees what is read beyond. */
	exact = malloc(bytes.length ? bytes.length : 1);
	if (bytes.length)
		memcpy(exact, buf_begin(&bytes), bytes.length);
	return proto_decode(descriptor, exact, bytes.length, arena, &problem);
}

static void assert_hex(const void *message, const char *hex)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	_cleanup_buf_ struct buf text = BUF_INIT;

	assert_int_equal(proto_encode(message, &out), 0);
	for (size_t i = 0; i < out.length; i++)
		buf_printf(&text, "%02x", buf_begin(&out)[i]);
	assert_string_equal(buf_string(&text), hex);
}

static void assert_refused(const ProtobufCMessageDescriptor *descriptor, const char *hex, const char *why)
{
	problem = ERROR_INIT;
	assert_null(decode_hex(descriptor, hex));
	assert_int_equal(problem.code, STATUS_UNKNOWN);
	assert_true(str_starts_with(problem.text, "ttrpc err: "));
	if (!strstr(problem.text, why))
		fail_msg("\"%s\" does not say \"%s\"", problem.text, why);
}

/* --- golden bytes --- */

static void test_golden(void **state)
{
	Grpc__WaitProcessRequest *wait =
		decode_hex(&grpc__wait_process_request__descriptor, "0a0463747231120463747231");
	Grpc__WaitProcessResponse *status = decode_hex(&grpc__wait_process_response__descriptor, "088901");
	Grpc__HealthCheckResponse *health = decode_hex(&grpc__health_check_response__descriptor, "0801");

	assert_string_equal(wait->container_id, "ctr1");
	assert_string_equal(wait->exec_id, "ctr1");
	assert_hex(wait, "0a0463747231120463747231");
	assert_int_equal(status->status, 137);
	assert_hex(status, "088901");
	assert_int_equal(health->status, GRPC__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
	assert_hex(health, "0801");
}

static void test_negative_numbers(void **state)
{
	Grpc__WaitProcessResponse *status =
		decode_hex(&grpc__wait_process_response__descriptor, "08ffffffffffffffffff01");
	Grpc__LinuxPids *pids = decode_hex(&grpc__linux_pids__descriptor, "08ffffffffffffffffff01");
	/* Five bytes are not how it is sent, but what is meant is clear. */
	Grpc__WaitProcessResponse *shorter =
		decode_hex(&grpc__wait_process_response__descriptor, "08ffffffff0f");

	assert_int_equal(status->status, -1);
	assert_hex(status, "08ffffffffffffffffff01");
	assert_true(pids->has_limit);
	assert_true(pids->limit == -1);
	assert_hex(pids, "08ffffffffffffffffff01");
	assert_int_equal(shorter->status, -1);
}

static void test_absent_and_zero(void **state)
{
	Grpc__LinuxPids *absent = decode_hex(&grpc__linux_pids__descriptor, "");
	Grpc__LinuxPids *zero = decode_hex(&grpc__linux_pids__descriptor, "0800");
	Grpc__MemAgentMemcgConfig *off = decode_hex(&grpc__mem_agent_memcg_config__descriptor, "0800");

	assert_false(absent->has_limit);
	assert_true(zero->has_limit);
	assert_true(zero->limit == 0);
	assert_true(off->has_disabled);
	assert_false(off->disabled);
	assert_false(off->has_swap);
	assert_hex(zero, "0800");
}

static void test_any_bool(void **state)
{
	Grpc__OnlineCPUMemRequest *request =
		decode_hex(&grpc__online_cpumem_request__descriptor, "0880808080808080808001 1802");

	assert_int_equal(request->wait, 1);
	assert_int_equal(request->cpu_only, 1);
}

static void test_errnoret_is_optional(void **state)
{
	Grpc__LinuxSyscall *with = decode_hex(&grpc__linux_syscall__descriptor, "0a0472656164 1800");
	Grpc__LinuxSyscall *without = decode_hex(&grpc__linux_syscall__descriptor, "0a0472656164");

	assert_true(with->has_errnoret);
	assert_int_equal(with->errnoret, 0);
	assert_false(without->has_errnoret);
}

/* --- repeated, packed, maps, merging --- */

static void test_packed_and_not(void **state)
{
	Grpc__AddSwapRequest *packed = decode_hex(&grpc__add_swap_request__descriptor, "0a03 01 ac02");
	Grpc__AddSwapRequest *single = decode_hex(&grpc__add_swap_request__descriptor, "0801 08ac02");
	Grpc__AddSwapRequest *mixed =
		decode_hex(&grpc__add_swap_request__descriptor, "0801 0a03ac0203 0804 0a00");
	Grpc__User *user = decode_hex(&grpc__user__descriptor, "1805 1a020607");

	assert_int_equal(packed->n_pcipath, 2);
	assert_int_equal(packed->pcipath[1], 300);
	assert_hex(packed, "0a0301ac02");
	assert_hex(single, "0a0301ac02");
	assert_int_equal(mixed->n_pcipath, 4);
	assert_int_equal(mixed->pcipath[2], 3);
	assert_int_equal(mixed->pcipath[3], 4);
	assert_int_equal(user->n_additionalgids, 3);
	assert_int_equal(user->additionalgids[2], 7);
	assert_hex(user, "1a03050607");
	assert_refused(&grpc__add_swap_request__descriptor, "0a0201ac", "bad packed numbers");
	assert_refused(&grpc__add_swap_request__descriptor, "0a0301", "truncated");
}

static void test_last_scalar_wins(void **state)
{
	Grpc__SignalProcessRequest *request =
		decode_hex(&grpc__signal_process_request__descriptor, "0a0161 1809 0a026263 180f");

	assert_string_equal(request->container_id, "bc");
	assert_int_equal(request->signal, 15);
}

static void test_messages_merge(void **state)
{
	/* Process twice: Args "a" and Cwd "/", Args "b" and User.UID 5; User again, below, with GID 6. */
	Grpc__ExecProcessRequest *request =
		decode_hex(&grpc__exec_process_request__descriptor, "2206 220161 320101"
								    "0a0163"
								    "2207 220162 1a020805"
								    "2204 1a021006");

	assert_string_equal(request->container_id, "c");
	assert_int_equal(request->process->n_args, 2);
	assert_string_equal(request->process->args[0], "a");
	assert_string_equal(request->process->args[1], "b");
	assert_string_equal(request->process->cwd, "\x01");
	assert_int_equal(request->process->user->uid, 5);
	assert_int_equal(request->process->user->gid, 6);
	assert_refused(&grpc__exec_process_request__descriptor, "2203220161 22032201ff", "invalid UTF-8");
}

static void test_maps(void **state)
{
	/* Annotations a=1, b=2, a=3; an entry without a value, one without a key, one that is empty. */
	Grpc__Spec *spec = decode_hex(&grpc__spec__descriptor, "3a06 0a0161 120131"
							       "3a06 0a0162 120132"
							       "3a06 0a0161 120133"
							       "3a03 0a0163"
							       "3a03 120134"
							       "3a00");
	Grpc__Linux *linux_part = decode_hex(&grpc__linux__descriptor, "82f104 03 0a0161");

	assert_int_equal(spec->n_annotations, 4);
	assert_string_equal(spec->annotations[0]->key, "b");
	assert_string_equal(spec->annotations[1]->key, "a");
	assert_string_equal(spec->annotations[1]->value, "3");
	assert_string_equal(spec->annotations[2]->key, "c");
	assert_string_equal(spec->annotations[2]->value, "");
	assert_string_equal(spec->annotations[3]->key, "");
	assert_string_equal(spec->annotations[3]->value, "");
	assert_int_equal(linux_part->n_netdevices, 1);
	assert_string_equal(linux_part->netdevices[0]->key, "a");
	assert_non_null(linux_part->netdevices[0]->value);
}

/* --- unknown fields --- */

static void test_unknown_fields(void **state)
{
	Grpc__StartContainerRequest *request =
		decode_hex(&grpc__start_container_request__descriptor,
			   "10ffffffffffffffffff01"    /* 2, varint */
			   "19 0102030405060708"       /* 3, 64 bits */
			   "2203010203"		       /* 4, bytes */
			   "2d 01020304"	       /* 5, 32 bits */
			   "33 0801 3b 3c 1202aabb 34" /* 6, a group with a group in it */
			   "fa ff ff ff 0f 00"	       /* the largest number there is */
			   "0a0163"		       /* 1 */
			   "0801" /* 1 with a type that it does not have */);

	assert_non_null(request);
	assert_string_equal(request->container_id, "c");
	assert_hex(request, "0a0163");
}

static void nested_groups(struct buf *out, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		buf_append_char(out, 0x33);
	for (unsigned i = 0; i < count; i++)
		buf_append_char(out, 0x34);
}

/* The message itself is the first level. */
static void test_depth(void **state)
{
	_cleanup_buf_ struct buf deep = BUF_INIT;
	_cleanup_buf_ struct buf deeper = BUF_INIT;
	_cleanup_buf_ struct buf abyss = BUF_INIT;
	const ProtobufCMessageDescriptor *descriptor = &grpc__start_container_request__descriptor;

	nested_groups(&deep, 99);
	assert_non_null(proto_decode(descriptor, buf_begin(&deep), deep.length, arena, &problem));
	nested_groups(&deeper, 100);
	assert_null(proto_decode(descriptor, buf_begin(&deeper), deeper.length, arena, &problem));
	nested_groups(&abyss, 2000000);
	assert_null(proto_decode(descriptor, buf_begin(&abyss), abyss.length, arena, &problem));
}

/* --- malformed --- */

static void test_malformed(void **state)
{
	const ProtobufCMessageDescriptor *descriptor = &grpc__signal_process_request__descriptor;

	assert_refused(descriptor, "00", "bad tag");		/* number 0 */
	assert_refused(descriptor, "0201", "bad tag");		/* number 0 */
	assert_refused(descriptor, "0e", "bad tag");		/* type 6 */
	assert_refused(descriptor, "0f", "bad tag");		/* type 7 */
	assert_refused(descriptor, "8080808010 00", "bad tag"); /* number 2^29 */
	assert_refused(descriptor, "ffffffffffffffffffff01", "bad tag");
	assert_refused(descriptor, "80", "bad tag");
	assert_refused(descriptor, "18", "truncated");
	assert_refused(descriptor, "18ff", "truncated");
	assert_refused(descriptor, "18ffffffffffffffffff02", "truncated");   /* beyond 64 bits */
	assert_refused(descriptor, "18ffffffffffffffffffff01", "truncated"); /* eleven bytes */
	assert_refused(descriptor, "0a", "truncated");
	assert_refused(descriptor, "0a0261", "truncated");
	assert_refused(descriptor, "0affffffffffffffffff01", "truncated");
	assert_refused(descriptor, "21 01020304050607", "truncated");
	assert_refused(descriptor, "25 010203", "truncated");
	assert_refused(descriptor, "34", "truncated");	 /* an end without a beginning */
	assert_refused(descriptor, "33", "truncated");	 /* a beginning without an end */
	assert_refused(descriptor, "333c", "truncated"); /* the end of another one */
}

static void test_texts(void **state)
{
	const ProtobufCMessageDescriptor *descriptor = &grpc__start_container_request__descriptor;
	Grpc__StartContainerRequest *request = decode_hex(descriptor, "0a04f09f9083");

	assert_string_equal(request->container_id, "\xf0\x9f\x90\x83");
	assert_refused(descriptor, "0a01ff", "grpc.StartContainerRequest.container_id: invalid UTF-8");
	assert_refused(descriptor, "0a02c080", "invalid UTF-8");   /* over-long */
	assert_refused(descriptor, "0a03eda080", "invalid UTF-8"); /* a surrogate */
	assert_refused(descriptor, "0a02c3", "truncated");
	assert_refused(descriptor, "0a03610062", "NUL in a string");
	/* In a nested message, in a repeated member, in a key. */
	assert_refused(&grpc__exec_process_request__descriptor, "2203 2201ff",
		       "grpc.Process.Args: invalid UTF-8");
	assert_refused(&grpc__spec__descriptor, "3a03 0a01ff", "invalid UTF-8");
}

static void test_bytes_are_any(void **state)
{
	Grpc__WriteStreamRequest *request =
		decode_hex(&grpc__write_stream_request__descriptor, "0a0163 1a04 00ff00c3");

	assert_int_equal(request->data.len, 4);
	assert_memory_equal(request->data.data, "\x00\xff\x00\xc3", 4);
	request = decode_hex(&grpc__write_stream_request__descriptor, "1a00");
	assert_int_equal(request->data.len, 0);
}

/* Cut anywhere, a message is refused or is a shorter one; it never reads beyond its end. */
static void test_truncated_everywhere(void **state)
{
	struct sample sample = {arena, 0};
	_cleanup_buf_ struct buf bytes = BUF_INIT;
	size_t refused = 0;

	assert_int_equal(
		proto_encode(sample_message(&sample, &grpc__create_container_request__descriptor), &bytes),
		0);
	assert_true(bytes.length > 1000);
	for (size_t length = 0; length < bytes.length; length++) {
		_cleanup_free_ uint8_t *exact = malloc(length ? length : 1);
		struct arena *own = arena_new(0);

		memcpy(exact, buf_begin(&bytes), length);
		refused +=
			!proto_decode(&grpc__create_container_request__descriptor, exact, length, own, NULL);
		arena_free(own);
	}
	/* It has about 30 members, between which a cut is a message. */
	assert_true(refused > bytes.length - 100);
}

/* Each byte turned into others: no crash, no reading beyond. */
static void test_damaged_everywhere(void **state)
{
	static const uint8_t other[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
	struct sample sample = {arena, 0};
	_cleanup_buf_ struct buf bytes = BUF_INIT;
	size_t refused = 0;

	assert_int_equal(proto_encode(sample_message(&sample, &grpc__process__descriptor), &bytes), 0);
	for (size_t i = 0; i < bytes.length * array_length(other); i++) {
		_cleanup_free_ uint8_t *exact = malloc(bytes.length);
		struct arena *own = arena_new(0);

		memcpy(exact, buf_begin(&bytes), bytes.length);
		exact[i / array_length(other)] = other[i % array_length(other)];
		refused += !proto_decode(&grpc__process__descriptor, exact, bytes.length, own, NULL);
		arena_free(own);
	}
	assert_true(refused > bytes.length / 2);
}

/* --- memory --- */

enum { LARGEST = 4 << 20 };

static void test_memory_is_bounded(void **state)
{
	_cleanup_free_ uint8_t *bytes = malloc(LARGEST);

	/* Two million storages of two bytes. */
	for (size_t i = 0; i < LARGEST; i += 2) {
		bytes[i] = 0x2a;
		bytes[i + 1] = 0;
	}
	assert_null(
		proto_decode(&grpc__create_container_request__descriptor, bytes, LARGEST, arena, &problem));
	assert_non_null(strstr(problem.text, "too many elements"));
	assert_true(arena_footprint(arena) < 64 << 20);
	/* As many texts of no length are fine: they cost a pointer. */
	for (size_t i = 0; i < LARGEST; i += 2)
		bytes[i] = 0x12;
	assert_non_null(
		proto_decode(&grpc__create_sandbox_request__descriptor, bytes, LARGEST, arena, &problem));
	/* Few small messages are never too many. */
	for (size_t i = 0; i < LARGEST; i += 2)
		bytes[i] = 0x2a;
	assert_non_null(
		proto_decode(&grpc__create_container_request__descriptor, bytes, 2 * 5000, arena, &problem));
}

static void test_many_equal_keys(void **state)
{
	_cleanup_free_ uint8_t *bytes = malloc(LARGEST);
	Grpc__Spec *spec;
	size_t count = 0;

	/* 100000 different keys, each three times, in one message: a matter of a moment. */
	for (size_t i = 0; i < 300000; i++) {
		uint8_t entry[] = {0x3a, 8, 0x0a, 6, '0', '0', '0', '0', '0', '0'};

		for (size_t j = 0, n = i % 100000; j < 6; j++, n /= 10)
			entry[9 - j] = (uint8_t)('0' + n % 10);
		memcpy(bytes + count, entry, sizeof(entry));
		count += sizeof(entry);
	}
	spec = proto_decode(&grpc__spec__descriptor, bytes, count, arena, &problem);
	assert_non_null(spec);
	assert_int_equal(spec->n_annotations, 100000);
}

static void test_limit_of_the_arena(void **state)
{
	struct sample sample = {arena, 0};
	_cleanup_buf_ struct buf bytes = BUF_INIT;

	assert_int_equal(proto_encode(sample_message(&sample, &grpc__spec__descriptor), &bytes), 0);
	for (size_t limit = 1; limit < 4096; limit += 64) {
		struct arena *small = arena_new(0);

		arena_set_limit(small, limit);
		assert_null(proto_decode(&grpc__spec__descriptor, buf_begin(&bytes), bytes.length, small,
					 &problem));
		assert_int_equal(problem.code, STATUS_RESOURCE_EXHAUSTED);
		arena_free(small);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_golden),
		TEST(test_negative_numbers),
		TEST(test_absent_and_zero),
		TEST(test_any_bool),
		TEST(test_errnoret_is_optional),
		TEST(test_packed_and_not),
		TEST(test_last_scalar_wins),
		TEST(test_messages_merge),
		TEST(test_maps),
		TEST(test_unknown_fields),
		TEST(test_depth),
		TEST(test_malformed),
		TEST(test_texts),
		TEST(test_bytes_are_any),
		TEST(test_truncated_everywhere),
		TEST(test_damaged_everywhere),
		TEST(test_memory_is_bounded),
		TEST(test_many_equal_keys),
		TEST(test_limit_of_the_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
