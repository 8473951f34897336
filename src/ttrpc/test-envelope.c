/* SPDX-License-Identifier: Apache-2.0 */
/* Headers and messages against vectors: reference 01, 1.3, 1.4, 1.11. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ttrpc/envelope.h"
#include "ttrpc/test-peer.h"

/* Decodes a request given in hexadecimal; the body is in memory of exactly its size and one byte more. */
struct decoded {
	struct ttrpc_call call;
	struct arena *arena;
	uint8_t *body;
	struct error e;
	int r;
};

static struct decoded decode_bytes(const uint8_t *bytes, size_t length)
{
	struct decoded d = {.arena = arena_new(0), .body = malloc(length + 1), .e = ERROR_INIT};

	memcpy(d.body, bytes, length);
	d.call.service = d.call.method = "";
	d.r = envelope_decode_request(d.body, length, d.arena, &d.call, &d.e);
	return d;
}

static struct decoded decode(const char *hex)
{
	uint8_t bytes[1024];

	return decode_bytes(bytes, hex_decode(hex, bytes, sizeof(bytes)));
}

static void release(struct decoded *d)
{
	arena_free(d->arena);
	free(d->body);
}

static void expect_invalid(const char *hex)
{
	struct decoded d = decode(hex);

	assert_int_equal(-EINVAL, d.r);
	assert_int_equal(STATUS_INVALID_ARGUMENT, d.e.code);
	assert_true(d.e.text[0] != '\0');
	release(&d);
}

static void test_header(void **state)
{
	/* The header test vector of reference 01, 11. */
	static const uint8_t bytes[FRAME_HEADER] = {0x10, 0, 0, 0, 0, 0, 0, 3, 2, 0xef};
	struct frame_header header;
	uint8_t again[FRAME_HEADER];

	frame_header_decode(bytes, &header);
	assert_int_equal(0x10000000, header.length);
	assert_int_equal(3, header.stream);
	assert_int_equal(2, header.type);
	assert_int_equal(0xef, header.flags);
	frame_header_encode(&header, again);
	assert_memory_equal(bytes, again, sizeof(bytes));
}

static void test_request_golden(void **state)
{
	struct decoded d = decode("0a11677270632e4167656e7453657276696365 120e5374617274436f6e7461696e6572"
				  "1a06 0a0463747231 2080b09dc2df01 2a10 0a0b7472616365706172656e74 120178");

	assert_int_equal(0, d.r);
	assert_string_equal("grpc.AgentService", d.call.service);
	assert_string_equal("StartContainer", d.call.method);
	assert_int_equal(6, d.call.payload_length);
	assert_memory_equal("\x0a\x04"
			    "ctr1",
			    d.call.payload, 6);
	assert_true(d.call.timeout_ns == INT64_C(60000000000));
	assert_int_equal(1, d.call.n_metadata);
	assert_string_equal("traceparent", d.call.metadata[0].key);
	assert_string_equal("x", d.call.metadata[0].value);
	release(&d);
}

static void test_request_empty(void **state)
{
	struct decoded d = decode("");

	assert_int_equal(0, d.r);
	assert_string_equal("", d.call.service);
	assert_string_equal("", d.call.method);
	assert_int_equal(0, d.call.payload_length);
	assert_int_equal(0, d.call.n_metadata);
	release(&d);
}

static void test_request_last_wins(void **state)
{
	struct decoded d = decode("0a0161 0a0162 120163 120164 1a0165 1a0166 2001 2002");

	assert_int_equal(0, d.r);
	assert_string_equal("b", d.call.service);
	assert_string_equal("d", d.call.method);
	assert_int_equal(1, d.call.payload_length);
	assert_memory_equal("f", d.call.payload, 1);
	assert_true(d.call.timeout_ns == 2);
	release(&d);
}

static void test_request_last_byte_is_a_string(void **state)
{
	/* Its terminator goes to the spare byte; the key's must not eat the value's tag. */
	struct decoded d = decode("2a00 2a03 0a016b 2a03 120176 2a06 0a016b 120176");

	assert_int_equal(0, d.r);
	assert_int_equal(4, d.call.n_metadata);
	assert_string_equal("", d.call.metadata[0].key);
	assert_string_equal("", d.call.metadata[0].value);
	assert_string_equal("k", d.call.metadata[1].key);
	assert_string_equal("", d.call.metadata[1].value);
	assert_string_equal("", d.call.metadata[2].key);
	assert_string_equal("v", d.call.metadata[2].value);
	assert_string_equal("k", d.call.metadata[3].key);
	assert_string_equal("v", d.call.metadata[3].value);
	release(&d);
}

static void test_request_unknown_fields(void **state)
{
	/* 6 varint, 7 fixed64, 8 bytes, 9 fixed32, 10 group with a nested group and all wire types in it;
	 * then known numbers with other wire types; then what counts. */
	struct decoded d = decode("30ffffffffffffffffff01 39 0102030405060708 4203 616263 4d 01020304"
				  "53 08 01 11 0102030405060708 1a 02 ffff 25 01020304 5b 0a00 5c 54"
				  "0801 25 01020304 13 14"
				  "0a0161 120162");

	assert_int_equal(0, d.r);
	assert_string_equal("a", d.call.service);
	assert_string_equal("b", d.call.method);
	assert_true(d.call.timeout_ns == 0);
	release(&d);
}

static void test_request_timeouts(void **state)
{
	struct decoded d = decode("20ffffffffffffffffff01");

	assert_int_equal(0, d.r);
	assert_true(d.call.timeout_ns == -1);
	release(&d);
	d = decode("20ffffffffffffffff7f");
	assert_int_equal(0, d.r);
	assert_true(d.call.timeout_ns == INT64_MAX);
	release(&d);
}

static void test_request_invalid(void **state)
{
	expect_invalid("0a");			    /* no length */
	expect_invalid("0a02 61");		    /* too short */
	expect_invalid("0affffffffffffffffff01");   /* length 2^64-1 */
	expect_invalid("0affffffffffffffffff02");   /* more than 64 bits */
	expect_invalid("20ffffffffffffffffffff01"); /* eleven bytes */
	expect_invalid("20ffffffffffffffffff02");
	expect_invalid("02 00");	  /* field number 0 */
	expect_invalid("0e");		  /* wire type 6 */
	expect_invalid("0f");		  /* wire type 7 */
	expect_invalid("0c");		  /* end of no group */
	expect_invalid("53 5c");	  /* end of another group */
	expect_invalid("53 08 01");	  /* group without end */
	expect_invalid("39 01020304");	  /* fixed64 too short */
	expect_invalid("3d 010203");	  /* fixed32 too short */
	expect_invalid("8080808080 01");  /* tag above 32 bits */
	expect_invalid("0a01ff");	  /* service: not UTF-8 */
	expect_invalid("0a03eda080");	  /* service: a surrogate */
	expect_invalid("1202c080");	  /* method: over-long */
	expect_invalid("0a0100");	  /* service: a NUL */
	expect_invalid("2a03 0a01ff");	  /* metadata key: not UTF-8 */
	expect_invalid("2a03 1201ff");	  /* metadata value: not UTF-8 */
	expect_invalid("2a02 0a05");	  /* metadata: string leaves its entry */
	expect_invalid("0a016112016208"); /* ends within a field */
}

static void test_request_group_depth(void **state)
{
	uint8_t bytes[400];
	struct decoded d;

	/* 100 levels are read, 101 are not. */
	memset(bytes, 0x53, 100);
	memset(bytes + 100, 0x54, 100);
	d = decode_bytes(bytes, 200);
	assert_int_equal(0, d.r);
	release(&d);
	memset(bytes, 0x53, 101);
	memset(bytes + 101, 0x54, 101);
	d = decode_bytes(bytes, 202);
	assert_int_equal(-EINVAL, d.r);
	release(&d);
}

static void test_request_metadata_bound(void **state)
{
	uint8_t bytes[(ENVELOPE_METADATA_MAX + 1) * 2];
	struct decoded d;

	for (size_t i = 0; i < sizeof(bytes); i += 2)
		memcpy(bytes + i, "\x2a\x00", 2);
	d = decode_bytes(bytes, sizeof(bytes) - 2);
	assert_int_equal(0, d.r);
	assert_int_equal(ENVELOPE_METADATA_MAX, d.call.n_metadata);
	release(&d);
	d = decode_bytes(bytes, sizeof(bytes));
	assert_int_equal(-EINVAL, d.r);
	release(&d);
}

static void test_request_every_truncation(void **state)
{
	uint8_t bytes[128];
	size_t length =
		hex_decode("0a0361626312036465661a0367686920ffffffffffffffffff012a060a016b12017653080154",
			   bytes, sizeof(bytes));
	size_t valid = 0;

	/* A prefix is a message exactly where a field ends. */
	for (size_t i = 0; i <= length; i++) {
		struct decoded d = decode_bytes(bytes, i);

		valid += d.r == 0;
		release(&d);
	}
	assert_int_equal(7, valid);
}

static void test_request_encode(void **state)
{
	struct envelope_request request;
	uint8_t want[128], got[128];
	size_t length = hex_decode("0000001a 00000001 01 00 0a0b677270632e4865616c7468 1205436865636b"
				   "2080d88ee16f",
				   want, sizeof(want));

	assert_int_equal(0, envelope_encode_request(&request, 1, "grpc.Health", "Check", 0,
						    INT64_C(30000000000), NULL));
	assert_int_equal(length, request.prefix_length + request.suffix_length);
	memcpy(got, request.prefix, request.prefix_length);
	memcpy(got + request.prefix_length, request.suffix, request.suffix_length);
	assert_memory_equal(want, got, length);

	length = hex_decode("0000002e 00000003 01 00 0a11677270632e4167656e7453657276696365"
			    "120b5761697450726f63657373 1a0c",
			    want, sizeof(want));
	assert_int_equal(
		0, envelope_encode_request(&request, 3, "grpc.AgentService", "WaitProcess", 12, 0, NULL));
	assert_int_equal(length, request.prefix_length);
	assert_memory_equal(want, request.prefix, length);
	assert_int_equal(0, request.suffix_length);
}

static void test_request_encode_bounds(void **state)
{
	struct envelope_request request;
	struct error e = ERROR_INIT;
	char name[ENVELOPE_NAME_MAX + 2];
	/* "s" and "m" take 3 bytes each, the payload's head 5. */
	size_t most = TTRPC_MESSAGE_MAX - 3 - 3 - 5;

	assert_int_equal(0, envelope_encode_request(&request, 1, "s", "m", most, 0, &e));
	assert_int_equal(-EMSGSIZE, envelope_encode_request(&request, 1, "s", "m", most + 1, 0, &e));
	assert_int_equal(STATUS_RESOURCE_EXHAUSTED, e.code);
	assert_string_equal("message length 4194305 exceed maximum message size of 4194304", e.text);
	assert_int_equal(-EMSGSIZE, envelope_encode_request(&request, 1, "s", "m", SIZE_MAX, 0, &e));
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(-EINVAL, envelope_encode_request(&request, 1, name, "m", 0, 0, &e));
	assert_int_equal(-EINVAL, envelope_encode_request(&request, 1, "s", name, 0, 0, &e));
}

static void expect_ok_head(uint32_t stream, size_t payload_length, const char *hex)
{
	uint8_t want[64], got[ENVELOPE_OK_MAX];
	size_t length = hex_decode(hex, want, sizeof(want));

	assert_int_equal(length, envelope_encode_ok(got, stream, payload_length));
	assert_memory_equal(want, got, length);
}

static void test_answer_encode(void **state)
{
	uint8_t want[64], got[ENVELOPE_ERROR_MAX];
	size_t length = hex_decode("00000019 00000005 02 00 0a17 0805 1213"
				   "496e697450726f636573734e6f74466f756e64",
				   want, sizeof(want));

	assert_int_equal(length, envelope_encode_error(got, 5, STATUS_NOT_FOUND, "InitProcessNotFound"));
	assert_memory_equal(want, got, length);
	expect_ok_head(3, 0, "00000002 00000003 02 00 0a00");
	expect_ok_head(1, 2, "00000006 00000001 02 00 0a00 1202");
	expect_ok_head(3, 3, "00000007 00000003 02 00 0a00 1203");
	expect_ok_head(1, 300, "00000131 00000001 02 00 0a00 12ac02");
}

static void test_error_text_is_made_valid(void **state)
{
	uint8_t frame[ENVELOPE_ERROR_MAX];
	struct ttrpc_reply reply = {0};
	char text[ERROR_TEXT_MAX * 2];
	size_t length = envelope_encode_error(frame, 1, STATUS_INTERNAL, "bad \xff byte");

	assert_int_equal(0,
			 envelope_decode_response(frame + FRAME_HEADER, length - FRAME_HEADER, &reply, NULL));
	assert_string_equal("bad \xef\xbf\xbd byte", reply.status.text);

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	length = envelope_encode_error(frame, 1, STATUS_INTERNAL, text);
	assert_in_range(length, ERROR_TEXT_MAX, ENVELOPE_ERROR_MAX);
	reply = (struct ttrpc_reply){0};
	assert_int_equal(0,
			 envelope_decode_response(frame + FRAME_HEADER, length - FRAME_HEADER, &reply, NULL));
	assert_int_equal(ERROR_TEXT_MAX - 1, strlen(reply.status.text));
}

static int decode_response(const char *hex, struct ttrpc_reply *reply)
{
	static uint8_t bytes[256];

	*reply = (struct ttrpc_reply){0};
	return envelope_decode_response(bytes, hex_decode(hex, bytes, sizeof(bytes)), reply, NULL);
}

static void test_response_decode(void **state)
{
	struct ttrpc_reply reply;

	assert_int_equal(0, decode_response("", &reply));
	assert_int_equal(STATUS_OK, reply.status.code);
	assert_int_equal(0, reply.payload_length);
	/* Status in two parts, with details; payload twice: merged, the last one. */
	assert_int_equal(0, decode_response("0a02 0805 0a0a 120178 1a05 0a0374656d 120161 120162", &reply));
	assert_int_equal(STATUS_NOT_FOUND, reply.status.code);
	assert_string_equal("x", reply.status.text);
	assert_int_equal(1, reply.payload_length);
	assert_memory_equal("b", reply.payload, 1);
	assert_int_equal(0, decode_response("0a05 0802 1201ff", &reply));
	assert_string_equal("\xef\xbf\xbd", reply.status.text);
	assert_int_equal(-EPROTO, decode_response("0a05", &reply));
	assert_int_equal(-EPROTO, decode_response("0a01 08", &reply));
	assert_int_equal(-EPROTO, decode_response("1202 61", &reply));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_request_golden),
		cmocka_unit_test(test_request_empty),
		cmocka_unit_test(test_request_last_wins),
		cmocka_unit_test(test_request_last_byte_is_a_string),
		cmocka_unit_test(test_request_unknown_fields),
		cmocka_unit_test(test_request_timeouts),
		cmocka_unit_test(test_request_invalid),
		cmocka_unit_test(test_request_group_depth),
		cmocka_unit_test(test_request_metadata_bound),
		cmocka_unit_test(test_request_every_truncation),
		cmocka_unit_test(test_request_encode),
		cmocka_unit_test(test_request_encode_bounds),
		cmocka_unit_test(test_answer_encode),
		cmocka_unit_test(test_error_text_is_made_valid),
		cmocka_unit_test(test_response_decode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
