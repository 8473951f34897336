/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled profiles are loaded in children, and the kernel says what they do. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <poll.h>

#include <cmocka.h>

#include "base/fd.h"
#include "engine/seccomp_filter.h"
#include "engine/test-child.h"

struct attempt {
	const char *profile;
	bool wire;
	long number;
	unsigned long args[2];
	int expected; /* errno; 0: the call succeeds or fails for its own reasons (EBADF, EINVAL, …) */
};

/* Exit status: the errno of the call. */
static int attempt_child(void *argument)
{
	const struct attempt *a = argument;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct seccomp_filter *filter;
	struct error e = ERROR_INIT;

	if (seccomp_compile(from_json(&grpc__linux_seccomp__descriptor, a->profile, arena), a->wire, &filter,
			    &e) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || seccomp_install(filter, -1, NULL, &e) < 0) {
		fprintf(stderr, "%s: %s\n", a->profile, e.text);
		return 125;
	}
	int r = syscall(a->number, a->args[0], a->args[1], 0, 0, 0, 0) < 0 ? errno : 0;
	/* By the kernel's door: what a sanitizer does on the way out is not in the profile. */
	syscall(SYS_exit_group, r);
	return r;
}

#define DENY(rest) "{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[" rest "]}"

static void actions_and_arguments(void **state)
{
	static const struct attempt list[] = {
		{DENY("{'names':['getpriority'],'action':'SCMP_ACT_ERRNO'}"),
		 false,
		 SYS_getpriority,
		 {0, 0},
		 EPERM},
		{DENY("{'names':['getpriority'],'action':'SCMP_ACT_ERRNO','errnoRet':38}"),
		 false,
		 SYS_getpriority,
		 {0, 0},
		 38},
		/* An explicit 0: success without execution for kata-oci, EPERM from a host that cannot say "absent". */
		{DENY("{'names':['close'],'action':'SCMP_ACT_ERRNO','errnoRet':0}"),
		 false,
		 SYS_close,
		 {999, 0},
		 0},
		{DENY("{'names':['close'],'action':'SCMP_ACT_ERRNO','errnoRet':0}"),
		 true,
		 SYS_close,
		 {999, 0},
		 EPERM},
		/* Unknown names do no harm. */
		{DENY("{'names':['no_such_call','close'],'action':'SCMP_ACT_ERRNO'}"),
		 false,
		 SYS_close,
		 {999, 0},
		 EPERM},
		{DENY("{'names':['close'],'action':'SCMP_ACT_ALLOW'}"), false, SYS_close, {999, 0}, EBADF},
		/* Comparisons of different arguments: all of them. */
		{DENY("{'names':['dup2'],'action':'SCMP_ACT_ERRNO','errnoRet':111,'args':[{'index':0,'value':"
		      "900,'op':'SCMP_CMP_EQ'},"
		      "{'index':1,'value':901,'op':'SCMP_CMP_EQ'}]}"),
		 false,
		 SYS_dup2,
		 {900, 902},
		 EBADF},
		{DENY("{'names':['dup2'],'action':'SCMP_ACT_ERRNO','errnoRet':111,'args':[{'index':0,'value':"
		      "900,'op':'SCMP_CMP_EQ'},"
		      "{'index':1,'value':901,'op':'SCMP_CMP_EQ'}]}"),
		 false,
		 SYS_dup2,
		 {900, 901},
		 111},
		/* Of the same argument: any of them. */
		{DENY("{'names':['close'],'action':'SCMP_ACT_ERRNO','errnoRet':111,'args':[{'index':0,'value'"
		      ":900,'op':'SCMP_CMP_EQ'},"
		      "{'index':0,'value':901,'op':'SCMP_CMP_EQ'}]}"),
		 false,
		 SYS_close,
		 {901, 0},
		 111},
		{DENY("{'names':['close'],'action':'SCMP_ACT_ERRNO','errnoRet':111,'args':[{'index':0,'value'"
		      ":255,'valueTwo':3,"
		      "'op':'SCMP_CMP_MASKED_EQ'}]}"),
		 false,
		 SYS_close,
		 {0x303, 0},
		 111},
		{DENY("{'names':['close'],'action':'SCMP_ACT_ERRNO','errnoRet':111,'args':[{'index':0,'value'"
		      ":900,'op':'SCMP_CMP_GE'}]}"),
		 false,
		 SYS_close,
		 {899, 0},
		 EBADF},
		/* What the default refuses; what nobody can name does not exist. */
		{"{'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'names':['exit_group'],'action':'SCMP_ACT_"
		 "ALLOW'}]}",
		 false,
		 SYS_close,
		 {999, 0},
		 EPERM},
		{"{'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'names':['exit_group'],'action':'SCMP_ACT_"
		 "ALLOW'}]}",
		 false,
		 4000,
		 {0, 0},
		 ENOSYS},
		{"{'defaultAction':'SCMP_ACT_ERRNO','defaultErrnoRet':5,'syscalls':[{'names':['exit_group'],"
		 "'action':'SCMP_ACT_ALLOW'}]}",
		 false,
		 4000,
		 {0, 0},
		 5},
		/* Flags and foreign architectures. */
		{"{'defaultAction':'SCMP_ACT_ALLOW','architectures':['SCMP_ARCH_X86_64','SCMP_ARCH_X86','"
		 "SCMP_ARCH_X32',"
		 "'SCMP_ARCH_AARCH64','SCMP_ARCH_LOONGARCH64','SCMP_ARCH_S390X'],'flags':['SECCOMP_FILTER_"
		 "FLAG_LOG','SECCOMP_FILTER_FLAG_TSYNC',"
		 "'SECCOMP_FILTER_FLAG_SPEC_ALLOW','SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV'],'syscalls':[{'"
		 "names':['close'],"
		 "'action':'SCMP_ACT_ERRNO','errnoRet':77}]}",
		 false,
		 SYS_close,
		 {999, 0},
		 77},
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		int got = in_child(attempt_child, (void *)&list[i], NULL);
		if (got != list[i].expected)
			fail_msg("%s: errno %d, expected %d", list[i].profile, got, list[i].expected);
	}
}

static void signals(void **state)
{
	static const struct {
		struct attempt attempt;
		int signal;
	} list[] = {
		{{DENY("{'names':['getpriority'],'action':'SCMP_ACT_KILL'}"),
		  false,
		  SYS_getpriority,
		  {0, 0},
		  0},
		 SIGSYS},
		{{DENY("{'names':['getpriority'],'action':'SCMP_ACT_KILL_PROCESS'}"),
		  false,
		  SYS_getpriority,
		  {0, 0},
		  0},
		 SIGSYS},
		{{DENY("{'names':['getpriority'],'action':'SCMP_ACT_TRAP'}"),
		  false,
		  SYS_getpriority,
		  {0, 0},
		  0},
		 SIGSYS},
	};
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		int signal = 0;
		(void)in_child(attempt_child, (void *)&list[i].attempt, &signal);
		assert_int_equal(signal, list[i].signal);
	}
}

static void refuses(void **state)
{
	static const struct {
		const char *profile, *error;
	} list[] = {
		{"{'defaultAction':'WHAT','syscalls':[{'names':['read'],'action':'SCMP_ACT_KILL'}]}",
		 "linux.seccomp.defaultAction"},
		{DENY("{'names':['read'],'action':'WHAT'}"), "linux.seccomp.syscalls[].action"},
		{DENY("{'names':['read'],'action':'SCMP_ACT_TRAP','errnoRet':1}"),
		 "linux.seccomp.syscalls[].action"},
		{DENY("{'names':['read'],'action':'SCMP_ACT_ERRNO','errnoRet':65536}"),
		 "linux.seccomp.syscalls[].action"},
		{DENY("{'names':[''],'action':'SCMP_ACT_KILL'}"), "linux.seccomp.syscalls[].names"},
		{DENY("{'names':['read'],'action':'SCMP_ACT_KILL','args':[{'index':9,'op':'SCMP_CMP_EQ'}]}"),
		 "linux.seccomp.syscalls[].args[].index"},
		{"{'defaultAction':'SCMP_ACT_ALLOW','architectures':['Z80'],'syscalls':[{'names':['read'],'"
		 "action':'SCMP_ACT_KILL'}]}",
		 "linux.seccomp.architectures"},
	};
	struct arena *arena = arena_new(0);

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		struct seccomp_filter *filter;
		struct error e = ERROR_INIT;
		assert_int_equal(
			seccomp_compile(from_json(&grpc__linux_seccomp__descriptor, list[i].profile, arena),
					false, &filter, &e),
			-EINVAL);
		assert_null(filter);
		if (strncmp(e.text, list[i].error, strlen(list[i].error)) != 0)
			fail_msg("%s: %s", list[i].profile, e.text);
	}
	arena_free(arena);
}

static void nothing_to_filter(void **state)
{
	struct seccomp_filter *filter = (void *)1;
	struct error e = ERROR_INIT;
	Grpc__LinuxSeccomp empty = GRPC__LINUX_SECCOMP__INIT;

	assert_int_equal(seccomp_compile(NULL, false, &filter, &e), 0);
	assert_null(filter);
	filter = (void *)1;
	assert_int_equal(seccomp_compile(&empty, true, &filter, &e), 0);
	assert_null(filter);
	assert_int_equal(seccomp_install(NULL, -1, NULL, &e), 0);
}

/* One object for the same content; another one for content that differs in a single field. */
static void cache(void **state)
{
	struct arena *arena = arena_new(0);
	struct seccomp_filter *a, *b, *c, *d;
	struct error e = ERROR_INIT;
	const ProtobufCMessageDescriptor *type = &grpc__linux_seccomp__descriptor;

	assert_int_equal(
		seccomp_compile(from_json(type,
					  DENY("{'names':['close'],'action':'SCMP_ACT_ERRNO','errnoRet':1}"),
					  arena),
				false, &a, &e),
		0);
	assert_int_equal(
		seccomp_compile(from_json(type,
					  DENY("{'names':['close'],'action':'SCMP_ACT_ERRNO','errnoRet':1}"),
					  arena),
				false, &b, &e),
		0);
	assert_int_equal(
		seccomp_compile(from_json(type,
					  DENY("{'names':['close'],'action':'SCMP_ACT_ERRNO','errnoRet':2}"),
					  arena),
				false, &c, &e),
		0);
	assert_int_equal(
		seccomp_compile(from_json(type,
					  DENY("{'names':['close'],'action':'SCMP_ACT_ERRNO','errnoRet':1}"),
					  arena),
				true, &d, &e),
		0);
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, c);
	assert_ptr_not_equal(a, d);
	/* More profiles than places: what is in use stays whole. */
	for (int i = 0; i < 20; i++) {
		struct seccomp_filter *filter;
		char *text = arena_printf(
			arena, DENY("{'names':['close'],'action':'SCMP_ACT_ERRNO','errnoRet':%d}"), i + 10);
		assert_int_equal(seccomp_compile(from_json(type, text, arena), false, &filter, &e), 0);
		assert_true(seccomp_filter_size(filter) > 0);
		seccomp_filter_unref(filter);
	}
	seccomp_cache_clear();
	assert_true(seccomp_filter_size(a) > 0);
	seccomp_filter_unref(a);
	seccomp_filter_unref(b);
	seccomp_filter_unref(c);
	seccomp_filter_unref(d);
	seccomp_filter_unref(NULL);
	arena_free(arena);
}

/* --- notification --- */

struct notify {
	struct arena *arena;
	const Grpc__LinuxSeccomp *profile;
	char directory[64], path[96];
};

static int notify_child(void *argument)
{
	struct notify *n = argument;
	struct seccomp_filter *filter;
	struct error e = ERROR_INIT;

	child_expect(seccomp_compile(n->profile, false, &filter, &e) == 0 && seccomp_filter_notifies(filter));
	int listener = seccomp_connect_listener(n->profile, &e);
	child_expect(listener >= 0);
	char *process_state = seccomp_process_state(n->profile, getpid(), "{\"id\":\"x\"}");
	child_expect(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	int r = seccomp_install(filter, listener, process_state, &e);
	/* Even sending and waiting are trapped; the agent below answers all. */
	if (r != 0)
		return 98;
	return syscall(SYS_getpriority, 0, 0) < 0 ? errno : 0;
}

static void answer_all(int listener)
{
	for (;;) {
		struct pollfd p = {.fd = listener, .events = POLLIN};
		struct seccomp_notif request = {0};
		struct seccomp_notif_resp response = {0};
		if (poll(&p, 1, 5000) <= 0 || (p.revents & (POLLHUP | POLLERR)))
			return;
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0)
			continue;
		response.id = request.id;
		if (request.data.nr == SYS_getpriority)
			response.error = -123;
		else
			response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		(void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
	}
}

static void notification(void **state)
{
	struct notify n = {.arena = arena_new(0), .directory = "/tmp/seccomp-test-XXXXXX"};
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	assert_non_null(mkdtemp(n.directory));
	snprintf(n.path, sizeof(n.path), "%s/agent", n.directory);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", n.path);
	n.profile = from_json(
		&grpc__linux_seccomp__descriptor,
		arena_printf(
			n.arena,
			"{'defaultAction':'SCMP_ACT_ALLOW','listenerPath':'%s','listenerMetadata':'m\\\\d',"
			"'syscalls':[{'names':['getpriority','sendmsg','write','wait4','munmap','close'],"
			"'action':'SCMP_ACT_NOTIFY'}]}",
			n.path),
		n.arena);
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(server, 1), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		loop_child_reset();
		_exit(notify_child(&n));
	}
	int connection = accept4(server, NULL, NULL, SOCK_CLOEXEC), listener = -1, status;
	char text[1024] = "";
	size_t count = 1;
	ssize_t length = fd_receive(connection, text, sizeof(text) - 1, &listener, &count);
	unlink(n.path);
	rmdir(n.directory);
	assert_true(length > 0);
	assert_int_equal(count, 1);
	answer_all(listener);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 123);
	assert_non_null(strstr(text, "\"fds\":[\"seccompFd\"]"));
	assert_non_null(strstr(text, "\"metadata\":\"m\\\\d\""));
	assert_non_null(strstr(text, "\"state\":{\"id\":\"x\"}"));
	close(connection);
	close(listener);
	close(server);
	arena_free(n.arena);
}

static void listener_errors(void **state)
{
	Grpc__LinuxSeccomp in = GRPC__LINUX_SECCOMP__INIT;
	struct error e = ERROR_INIT;

	assert_int_equal(seccomp_connect_listener(&in, &e), -EINVAL);
	in.listenerpath = (char *)"/nowhere/agent";
	assert_int_equal(seccomp_connect_listener(&in, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/nowhere/agent"));
}

/* With its queue full, a connect that waits would wait for ever, in the engine's loop. */
static void a_listener_that_does_not_accept(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	Grpc__LinuxSeccomp in = GRPC__LINUX_SECCOMP__INIT;
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fds[3];
	struct error e = ERROR_INIT;

	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/seccomp-test-%d", (int)getpid());
	assert_int_equal(bind(server, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(server, 1), 0);
	in.listenerpath = address.sun_path;
	alarm(20);
	for (int i = 0; i < 3; i++)
		fds[i] = seccomp_connect_listener(&in, &e);
	alarm(0);
	unlink(address.sun_path);
	assert_true(fds[0] >= 0);
	assert_false(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
	assert_int_equal(fds[2], -EAGAIN);
	for (int i = 0; i < 2; i++)
		fd_close(fds[i]);
	close(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(actions_and_arguments),
		cmocka_unit_test(signals),
		cmocka_unit_test(refuses),
		cmocka_unit_test(nothing_to_filter),
		cmocka_unit_test(cache),
		cmocka_unit_test(notification),
		cmocka_unit_test(listener_errors),
		cmocka_unit_test(a_listener_that_does_not_accept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
