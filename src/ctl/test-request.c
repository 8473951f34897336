/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as they are written behind a method's name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "ctl/ctl.h"
#include "ctl/request.h"
#include "proto/json.h"

static struct arena *arena;

static int set_up(void **state)
{
	arena = arena_new(0);
	return 0;
}

static int tear_down(void **state)
{
	arena_free(arena);
	return 0;
}

static void *read_words(const char *method, char **words, size_t count, struct error *e)
{
	return request_read(proto_method_find(NULL, method), words, count, true, arena, e);
}

#define LIST(...) ((const char *[]){__VA_ARGS__})
#define WORDS(...) (char **)(uintptr_t)LIST(__VA_ARGS__), array_length(LIST(__VA_ARGS__))

static void assert_request(const char *method, char **words, size_t count, const char *expected)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct error e = ERROR_INIT;
	void *request = read_words(method, words, count, &e);

	if (!request)
		fail_msg("%s", e.text);
	assert_int_equal(json_encode(request, JSON_COMPACT, &text), 0);
	assert_string_equal(buf_string(&text), expected);
}

static void assert_refused(const char *method, char **words, size_t count, const char *why)
{
	struct error e = ERROR_INIT;

	assert_null(read_words(method, words, count, &e));
	assert_string_equal(e.text, why);
}

static void test_json(void **state)
{
	assert_request("WaitProcess", NULL, 0, "{}");
	assert_request("WaitProcess", WORDS("{\"container_id\": \"a\"}"), "{\"container_id\":\"a\"}");
	assert_request("WaitProcess", WORDS("json://{\"exec_id\": \"b\"}"), "{\"exec_id\":\"b\"}");
	assert_refused("WaitProcess", WORDS("{\"x\": 1}"), "x: unknown member");
	assert_refused("WaitProcess", WORDS("{}", "{}"), "\"{}\": too many arguments");
}

static void test_files(void **state)
{
	char path[] = "/tmp/test-request-XXXXXX";
	int fd = mkstemp(path);
	char *at = arena_printf(arena, "@%s", path);
	char *url = arena_printf(arena, "file://%s", path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "{\"path\":\"/x\"}", 13), 13);
	close(fd);
	assert_request("AddSwapPath", WORDS(at), "{\"path\":\"/x\"}");
	assert_request("AddSwapPath", WORDS(url), "{\"path\":\"/x\"}");
	unlink(path);
	assert_refused("AddSwapPath", WORDS(at),
		       arena_printf(arena, "read \"%s\": ENOENT: No such file or directory", path));
}

static void test_pairs(void **state)
{
	assert_request("SignalProcess", WORDS("cid=a", "exec_id=b=c", "signal=SIGUSR1"),
		       "{\"container_id\":\"a\",\"exec_id\":\"b=c\",\"signal\":10}");
	assert_request("SignalProcess", WORDS("signal=9"), "{\"signal\":9}");
	assert_request("WriteStdin", WORDS("cid=a", "data=f\"o"),
		       "{\"container_id\":\"a\",\"data\":\"ZiJv\"}");
	assert_request("WriteStdin", WORDS("data=hex:00fF"), "{\"data\":\"AP8=\"}");
	assert_request("OnlineCPUMem", WORDS("wait=true", "nb_cpus=2", "cpu_only=false"),
		       "{\"wait\":true,\"nb_cpus\":2}");
	assert_request("MemHotplugByProbe", WORDS("memHotplugProbeAddr=0xffffffffffffffff,16"),
		       "{\"memHotplugProbeAddr\":[18446744073709551615,16]}");
	assert_request("SetGuestDateTime", WORDS("sec=-5", "usec=6"), "{\"Sec\":-5,\"Usec\":6}");
	assert_request("CreateSandbox", WORDS("sid=s", "dns=a,b"),
		       "{\"dns\":[\"a\",\"b\"],\"sandbox_id\":\"s\"}");
	assert_request("AddSwap", WORDS("PCIPath="), "{}");
	assert_request("MemAgentMemcgSet", WORDS("swap=false"), "{\"swap\":false}");
}

static void test_wrong_pairs(void **state)
{
	assert_refused("StartContainer", WORDS("signal=9"),
		       "grpc.StartContainerRequest has no member for \"signal=9\"");
	assert_refused("SignalProcess", WORDS("cid=a", "word"),
		       "\"word\" is neither JSON, @FILE, - nor MEMBER=VALUE");
	assert_refused("SignalProcess", WORDS("signal=XYZ"), "signal: \"XYZ\" is not a number");
	assert_refused("SignalProcess", WORDS("signal=-1"), "signal: out of range (0 to 4294967295)");
	assert_refused("WriteStdin", WORDS("data=hex:0"), "data: \"0\" are not pairs of hexadecimal digits");
	assert_refused("WriteStdin", WORDS("data=hex:zz"),
		       "data: \"zz\" are not pairs of hexadecimal digits");
	assert_refused("OnlineCPUMem", WORDS("wait=yes"), "wait: \"yes\" is not true or false");
	assert_refused("OnlineCPUMem", WORDS("nb_cpus="), "nb_cpus: \"\" is not a number");
}

/* As the reference's tool writes names, and with a small first letter. */
static void test_methods(void **state)
{
	assert_string_equal(ctl_method("Check")->service, "grpc.Health");
	assert_string_equal(ctl_method("waitProcess")->name, "WaitProcess");
	assert_string_equal(ctl_method("GetIptables")->name, "GetIPTables");
	assert_null(ctl_method("waitprocess"));
	assert_null(ctl_method("UnsealSecret"));
	assert_null(ctl_method(""));
}

static void test_exit_codes(void **state)
{
	static const struct {
		const char *text;
		int code;
	} cases[] = {
		{"create container \"c\": the file x was not found\nexec: \"x\": executable file not found "
		 "in $PATH",
		 127},
		{"exec: \"/x\": stat /x: no such file or directory", 127},
		{"execve \"/x\": ENOENT: No such file or directory", 127},
		{"exec: \"/x\": permission denied (/x)", 126},
		{"execve: ENOEXEC: Exec format error", 126},
		{"mount root filesystem /x: ENOENT: No such file or directory", 125},
		{"Invalid container id: x not found", 125},
		{"ttrpc: closed", 125},
	};

	for (size_t i = 0; i < array_length(cases); i++) {
		struct error e = ERROR_INIT;

		error_set(&e, STATUS_INTERNAL, 0, "%s", cases[i].text);
		assert_int_equal(ctl_exit_code(&e), cases[i].code);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_json),	TEST(test_files),   TEST(test_pairs),
		TEST(test_wrong_pairs), TEST(test_methods), TEST(test_exit_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
