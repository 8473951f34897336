/* SPDX-License-Identifier: Apache-2.0 */
/* CopyFile as an agent sees it: a small server in a child process writes down what it gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "ctl/copy.h"
#include "proto/agent.pb-c.h"
#include "ttrpc/ttrpc.h"

enum { PIECE = 1 << 20, SIZE = 2 * PIECE + 12345 };

static char directory[] = "/tmp/test-copy-XXXXXX";
static char address[64];
static pid_t server_pid;
static struct agent *agent;

static char *in_directory(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}

/* --- the other side --- */

static void serve_copy(struct ttrpc_call *call, void *data)
{
	struct error e = ERROR_INIT;
	Grpc__CopyFileRequest *request = proto_decode(&grpc__copy_file_request__descriptor, call->payload,
						      call->payload_length, call->arena, &e);
	_cleanup_fd_ int fd = request ? open(request->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
	_cleanup_file_ FILE *log = fopen(in_directory("log"), "ae");

	if (fd < 0 || !log) {
		ttrpc_call_fail_text(call, STATUS_INTERNAL, "cannot write");
		return;
	}
	fprintf(log, "size %lld mode %o dir %o offset %lld length %zu\n", (long long)request->file_size,
		request->file_mode, request->dir_mode, (long long)request->offset, request->data.len);
	/* The other side reads it as soon as it is answered. */
	fflush(log);
	if (pwrite(fd, request->data.data, request->data.len, request->offset) != (ssize_t)request->data.len)
		ttrpc_call_fail_text(call, STATUS_INTERNAL, "short");
	else
		ttrpc_call_respond(call, NULL, 0);
}

static void serve(int ready)
{
	static const struct ttrpc_method methods[] = {{"CopyFile", serve_copy}};
	struct loop *loop;
	struct ttrpc_server *server;
	struct error e = ERROR_INIT;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	loop = loop_new();
	server = loop ? ttrpc_server_new(loop) : NULL;
	if (!server || ttrpc_server_add_service(server, "grpc.AgentService", methods, 1, NULL) < 0 ||
	    ttrpc_server_listen(server, address, &e) < 0)
		_exit(1);
	fd_close(ready);
	_exit(loop_run(loop) < 0);
}

static int set_up(void **state)
{
	struct error e = ERROR_INIT;
	int ready[2];
	char byte;

	if (!mkdtemp(directory) || pipe2(ready, O_CLOEXEC) < 0)
		return -1;
	snprintf(address, sizeof(address), "unix://%s/socket", directory);
	server_pid = fork();
	if (server_pid == 0) {
		fd_close(ready[0]);
		serve(ready[1]);
	}
	fd_close(ready[1]);
	/* End of file: it listens, or is gone. */
	if (read(ready[0], &byte, 1) != 0)
		return -1;
	fd_close(ready[0]);
	agent = agent_new(&(struct agent_options){.address = address, .timeout_ns = -1}, &e);
	return agent ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const files[] = {"socket", "log", "file", "link", "copy", "empty", "sub"};

	agent_free(agent);
	kill(server_pid, SIGKILL);
	waitpid(server_pid, NULL, 0);
	for (size_t i = 0; i < array_length(files); i++)
		remove(in_directory(files[i]));
	return rmdir(directory);
}

/* --- this side --- */

static void assert_log(const char *expected)
{
	_cleanup_free_ char *log = NULL;

	assert_true(file_read(AT_FDCWD, in_directory("log"), 4096, &log) >= 0);
	assert_string_equal(log, expected);
	unlink(in_directory("log"));
	unlink(in_directory("copy"));
}

static void write_file(const char *path, const void *data, size_t length)
{
	_cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, 0640), 0);
	assert_int_equal(fd_write_all(fd, data, length), 0);
}

static void test_file_in_pieces(void **state)
{
	_cleanup_free_ uint8_t *data = malloc(SIZE);
	_cleanup_free_ char *copied = NULL;
	struct error e = ERROR_INIT;

	for (size_t i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	write_file(in_directory("file"), data, SIZE);
	if (copy_file(agent, in_directory("file"), in_directory("copy"), &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(file_read(AT_FDCWD, in_directory("copy"), 2 * SIZE, &copied), SIZE);
	assert_memory_equal(copied, data, SIZE);
	assert_log("size 2109497 mode 100640 dir 40750 offset 0 length 1048576\n"
		   "size 2109497 mode 100640 dir 40750 offset 1048576 length 1048576\n"
		   "size 2109497 mode 100640 dir 40750 offset 2097152 length 12345\n");
}

static void test_empty_file(void **state)
{
	struct error e = ERROR_INIT;

	write_file(in_directory("empty"), "", 0);
	assert_int_equal(copy_file(agent, in_directory("empty"), in_directory("copy"), &e), 0);
	assert_log("size 0 mode 100640 dir 40750 offset 0 length 0\n");
}

static void test_link_and_directory(void **state)
{
	_cleanup_free_ char *target = NULL;
	struct error e = ERROR_INIT;

	assert_int_equal(symlink("to/where", in_directory("link")), 0);
	assert_int_equal(copy_file(agent, in_directory("link"), in_directory("copy"), &e), 0);
	assert_int_equal(file_read(AT_FDCWD, in_directory("copy"), 100, &target), 8);
	assert_string_equal(target, "to/where");
	assert_log("size 8 mode 120777 dir 40750 offset 0 length 8\n");
	assert_int_equal(mkdir(in_directory("sub"), 0700), 0);
	assert_int_equal(copy_file(agent, in_directory("sub"), in_directory("copy"), &e), 0);
	assert_log("size 0 mode 40700 dir 40750 offset 0 length 0\n");
}

static void test_failures(void **state)
{
	struct error e = ERROR_INIT;

	assert_int_equal(copy_file(agent, in_directory("none"), in_directory("copy"), &e), -2);
	assert_true(copy_file(agent, "/dev/null", in_directory("copy"), &e) < 0);
	assert_non_null(strstr(e.text, "is no file, link or directory"));
	assert_true(copy_file(agent, in_directory("empty"), in_directory("none/copy"), &e) < 0);
	assert_string_equal(e.text, "cannot write");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_in_pieces),
		cmocka_unit_test(test_empty_file),
		cmocka_unit_test(test_link_and_directory),
		cmocka_unit_test(test_failures),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
