/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of addresses: reference 01, 2.3. */

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/un.h>
#include <linux/vm_sockets.h>

#include "ttrpc/address.h"

static void expect_refused(const char *text, const char *why)
{
	struct ttrpc_address address;
	struct error e = ERROR_INIT;

	assert_int_equal(-EINVAL, ttrpc_address_parse(text, &address, &e));
	assert_int_equal(STATUS_INVALID_ARGUMENT, e.code);
	assert_string_equal(why, e.text);
}

static void expect_vsock(const char *text, unsigned cid, unsigned port)
{
	struct ttrpc_address address;
	struct sockaddr_vm *svm = (struct sockaddr_vm *)&address.storage;

	assert_int_equal(0, ttrpc_address_parse(text, &address, NULL));
	assert_int_equal(AF_VSOCK, svm->svm_family);
	assert_int_equal(cid, svm->svm_cid);
	assert_int_equal(port, svm->svm_port);
	assert_int_equal(sizeof(*svm), address.length);
	assert_string_equal("", address.path);
	assert_int_equal(0, address.hybrid_port);
}

static void test_vsock(void **state)
{
	expect_vsock("vsock://-1:1024", VMADDR_CID_ANY, 1024);
	expect_vsock("vsock:// -1 :1024", VMADDR_CID_ANY, 1024);
	expect_vsock("vsock://4294967295:4", VMADDR_CID_ANY, 4);
	expect_vsock("vsock://8:1024", 8, 1024);
	expect_vsock("vsock://0:4294967295", 0, 4294967295u);
	expect_refused("vsock://8", "address \"vsock://8\": no port");
	expect_refused("vsock://8:1:2", "address \"vsock://8:1:2\": the port is not a number");
	expect_refused("vsock://:1", "address \"vsock://:1\": the CID is not a number");
	expect_refused("vsock://-2:1", "address \"vsock://-2:1\": the CID is not a number");
	expect_refused("vsock://4294967296:1", "address \"vsock://4294967296:1\": the CID is not a number");
	expect_refused("vsock://1:4294967296", "address \"vsock://1:4294967296\": the port is not a number");
	expect_refused("vsock://00000000000000000001:1",
		       "address \"vsock://00000000000000000001:1\": the CID is not a number");
}

static void test_unix(void **state)
{
	struct ttrpc_address address;
	struct sockaddr_un *sun = (struct sockaddr_un *)&address.storage;
	char text[160];

	assert_int_equal(0, ttrpc_address_parse("unix:///run/a.sock", &address, NULL));
	assert_int_equal(AF_UNIX, sun->sun_family);
	assert_string_equal("/run/a.sock", sun->sun_path);
	assert_string_equal("/run/a.sock", address.path);
	assert_int_equal(offsetof(struct sockaddr_un, sun_path) + 12, address.length);

	assert_int_equal(0, ttrpc_address_parse("unix://@/run/b.sock", &address, NULL));
	assert_int_equal(0, sun->sun_path[0]);
	assert_memory_equal("/run/b.sock", sun->sun_path + 1, 11);
	assert_string_equal("", address.path);
	/* Not padded. */
	assert_int_equal(offsetof(struct sockaddr_un, sun_path) + 12, address.length);

	memset(text, 'x', sizeof(text));
	memcpy(text, "unix:///", 8);
	text[7 + 107] = '\0';
	assert_int_equal(0, ttrpc_address_parse(text, &address, NULL));
	text[7 + 107] = 'x';
	text[7 + 108] = '\0';
	assert_int_equal(-EINVAL, ttrpc_address_parse(text, &address, NULL));
	text[7] = '@';
	assert_int_equal(0, ttrpc_address_parse(text, &address, NULL));
	text[7 + 108] = 'x';
	text[7 + 109] = '\0';
	assert_int_equal(-EINVAL, ttrpc_address_parse(text, &address, NULL));
	expect_refused("unix://", "address \"unix://\": no path");
	expect_refused("unix://@", "address \"unix://@\": no name");
}

static void test_hvsock(void **state)
{
	struct ttrpc_address address;
	struct sockaddr_un *sun = (struct sockaddr_un *)&address.storage;

	assert_int_equal(0, ttrpc_address_parse("hvsock:///run/a:b.sock:1024", &address, NULL));
	assert_string_equal("/run/a:b.sock", sun->sun_path);
	assert_int_equal(1024, address.hybrid_port);
	expect_refused("hvsock:///run/a.sock", "address \"hvsock:///run/a.sock\": no port");
	expect_refused("hvsock:///run/a.sock:0",
		       "address \"hvsock:///run/a.sock:0\": the port is not a number above 0");
	expect_refused("hvsock://:1", "address \"hvsock://:1\": no path");
}

static void test_other_schemes(void **state)
{
	expect_refused("Vsock://8:1024", "Scheme of \"Vsock://8:1024\" is not supported");
	expect_refused("abc://x", "Scheme of \"abc://x\" is not supported");
	expect_refused("foo", "Scheme of \"foo\" is not supported");
	expect_refused("=foo", "Scheme of \"=foo\" is not supported");
	expect_refused("", "Scheme of \"\" is not supported");
	expect_refused("unix:", "Scheme of \"unix:\" is not supported");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vsock),
		cmocka_unit_test(test_unix),
		cmocka_unit_test(test_hvsock),
		cmocka_unit_test(test_other_schemes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
