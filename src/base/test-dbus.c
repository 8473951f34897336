/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "test-dbus-peer.h"

/* --- values --------------------------------------------------------------------------------------------- */

static void test_bytes_of_values(void **state)
{
	static const uint8_t expected[] = {
		7,  0,	 0,   0,		 /* y, padding */
		1,  0,	 0,   0,		 /* b */
		2,  0,	 0,   0, 'h', 'i', 0,	 /* s */
		0,				 /* padding */
		8,  7,	 6,   5, 4,   3,   2, 1, /* t */
		2,  'a', 'y', 0,		 /* g */
		12, 0,	 0,   0,		 /* a(uu)… length without padding */
		3,  0,	 0,   0, 4,   0,   0, 0, /* first element, at a multiple of 8 */
		5,  0,	 0,   0,
	};
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t mark;

	(void)state;
	dbus_put_byte(&b, 7);
	dbus_put_bool(&b, true);
	dbus_put_string(&b, "hi");
	dbus_put_u64(&b, 0x0102030405060708);
	dbus_put_signature(&b, "ay");
	mark = dbus_array_begin(&b, 8);
	dbus_put_u32(&b, 3);
	dbus_put_u32(&b, 4);
	dbus_put_u32(&b, 5);
	dbus_array_end(&b, mark, 8);
	assert_int_equal(b.length, sizeof(expected));
	assert_memory_equal(buf_begin(&b), expected, sizeof(expected));
}

static void test_values_come_back(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct dbus_reader r;
	const char *signature = "ybtsga{sv}v(ti)";
	size_t mark;

	(void)state;
	dbus_put_byte(&b, 200);
	dbus_put_bool(&b, true);
	dbus_put_u64(&b, UINT64_MAX);
	dbus_put_string(&b, "\xc3\xa4");
	dbus_put_signature(&b, "a{sv}");
	mark = dbus_array_begin(&b, 8);
	for (unsigned i = 0; i < 3; i++) {
		dbus_put_struct(&b);
		dbus_put_string(&b, "key");
		dbus_put_signature(&b, "u");
		dbus_put_u32(&b, i);
	}
	dbus_array_end(&b, mark, 8);
	dbus_put_signature(&b, "as");
	mark = dbus_array_begin(&b, 4);
	dbus_array_end(&b, mark, 4);
	dbus_put_struct(&b);
	dbus_put_u64(&b, 5);
	dbus_put_u32(&b, 6);
	r = (struct dbus_reader){.data = buf_begin(&b), .length = b.length};
	while (*signature)
		dbus_skip(&r, &signature, 0);
	assert_false(r.failed);
	assert_int_equal(r.at, r.length);
	r = (struct dbus_reader){.data = buf_begin(&b), .length = b.length};
	assert_int_equal(dbus_get_byte(&r), 200);
	assert_int_equal(dbus_get_u32(&r), 1);
	assert_true(dbus_get_u64(&r) == UINT64_MAX);
	assert_string_equal(dbus_get_string(&r), "\xc3\xa4");
	assert_string_equal(dbus_get_signature(&r), "a{sv}");
	assert_false(r.failed);
	/* Every cut fails, none reads past it. */
	for (size_t n = 0; n < b.length; n++) {
		uint8_t *copy = malloc(n ? n : 1);
		const char *again = "ybtsga{sv}v(ti)";

		memcpy(copy, buf_begin(&b), n);
		r = (struct dbus_reader){.data = copy, .length = n};
		while (*again && !r.failed)
			dbus_skip(&r, &again, 0);
		assert_true(r.failed);
		free(copy);
	}
}

static void test_big_endian_is_read(void **state)
{
	static const uint8_t bytes[] = {0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 'x', 0};
	struct dbus_reader r = {.data = bytes, .length = sizeof(bytes), .big_endian = true};

	(void)state;
	assert_int_equal(dbus_get_u32(&r), 0x102);
	assert_int_equal(dbus_get_u64(&r), 9);
	assert_string_equal(dbus_get_string(&r), "x");
	assert_false(r.failed);
}

static bool skips(const char *signature, const uint8_t *bytes, size_t length)
{
	struct dbus_reader r = {.data = bytes, .length = length};

	while (*signature && !r.failed)
		dbus_skip(&r, &signature, 0);
	return !r.failed;
}

static void test_hostile_values(void **state)
{
	static const uint8_t zero[64] = {0};
	uint8_t deep[200], text[] = {2, 0, 0, 0, 'a', 0, 0}, latin[] = {1, 0, 0, 0, 0xff, 0},
			   huge[] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, padded[] = {1, 9, 0, 0, 0, 0, 0, 0};

	(void)state;
	assert_false(skips("s", text, sizeof(text)));	/* a NUL inside */
	assert_false(skips("s", latin, sizeof(latin))); /* not UTF-8 */
	assert_false(skips("s", huge, sizeof(huge)));
	assert_false(skips("ay", huge, sizeof(huge)));
	assert_false(skips("yu", padded, sizeof(padded))); /* padding that is not zero */
	assert_false(skips("(", zero, sizeof(zero)));
	assert_false(skips("(u", zero, sizeof(zero)));
	assert_false(skips("a", zero, sizeof(zero)));
	assert_false(skips("a()", zero, sizeof(zero)));
	assert_false(skips("z", zero, sizeof(zero)));
	assert_false(skips("v", zero, sizeof(zero))); /* a variant of nothing */
	/* Variants in variants, deeper than allowed. */
	for (size_t i = 0; i + 3 <= sizeof(deep); i += 3)
		memcpy(deep + i, "\1v", 3);
	assert_false(skips("v", deep, sizeof(deep)));
	assert_false(skips("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaau", zero, sizeof(zero)));
}

static int parse(const struct buf *b)
{
	struct dbus_message m;
	uint8_t *copy = malloc(b->length ? b->length : 1);
	int r;

	memcpy(copy, buf_begin(b), b->length);
	r = dbus_message_parse(copy, b->length, &m);
	dbus_message_deinit(&m);
	return r;
}

static void test_messages(void **state)
{
	_cleanup_buf_ struct buf body = BUF_INIT, out = BUF_INIT, bad = BUF_INIT;
	struct dbus_message m;
	uint8_t *copy;
	struct dbus_reader reader;

	(void)state;
	dbus_put_string(&body, "done");
	peer_build(&out, DBUS_SIGNAL, 0, "JobRemoved", "s", &body);
	assert_int_equal(dbus_message_size(buf_begin(&out)), out.length);
	copy = malloc(out.length);
	memcpy(copy, buf_begin(&out), out.length);
	assert_int_equal(dbus_message_parse(copy, out.length, &m), 0);
	assert_int_equal(m.type, DBUS_SIGNAL);
	assert_string_equal(m.member, "JobRemoved");
	assert_string_equal(m.interface, "org.freedesktop.systemd1.Manager");
	assert_string_equal(m.sender, ":1.1");
	assert_string_equal(m.error_name, "");
	reader = dbus_reader_of(&m);
	assert_string_equal(dbus_get_string(&reader), "done");
	dbus_message_deinit(&m);
	/* A body that is not what its signature says; a reply to nothing; an error without a name. */
	peer_build(&bad, DBUS_SIGNAL, 0, "JobRemoved", "u", &body);
	assert_int_equal(parse(&bad), -EPROTO);
	buf_clear(&bad);
	peer_build(&bad, DBUS_RETURN, 0, NULL, "s", &body);
	assert_int_equal(parse(&bad), -EPROTO);
	buf_clear(&bad);
	peer_build(&bad, DBUS_ERROR, 5, NULL, "s", &body);
	assert_int_equal(parse(&bad), -EPROTO);
	buf_clear(&bad);
	peer_build(&bad, DBUS_RETURN, 5, NULL, "s", &body);
	assert_int_equal(parse(&bad), 0);
	/* Any byte wrong: refused or harmless, never a crash (the sanitizer build sees the rest). */
	for (size_t i = 0; i < out.length; i++) {
		uint8_t *byte = buf_begin(&out) + i, was = *byte;

		*byte = 0xff;
		parse(&out);
		*byte = was;
	}
}

/* --- a connection --------------------------------------------------------------------------------------- */

struct peer {
	pid_t pid;
	int fd;
};

static struct peer peer_start(void (*fn)(int fd))
{
	struct peer peer;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	peer.fd = fds[0];
	peer.pid = fork();
	assert_true(peer.pid >= 0);
	if (peer.pid == 0) {
		close(fds[0]);
		alarm(20);
		fn(fds[1]);
		_exit(0);
	}
	close(fds[1]);
	return peer;
}

static void peer_end(struct peer *peer)
{
	int status = -1;

	assert_int_equal(waitpid(peer->pid, &status, 0), peer->pid);
	assert_int_equal(status, 0);
}

static const struct dbus_call ping = {
	.destination = "a.b", .path = "/p", .interface = "a.b.C", .member = "Ping"};

static void peer_talks(int fd)
{
	struct dbus_message m;
	struct buf body = BUF_INIT;

	peer_authenticate(fd, "OK 0123456789abcdef\r\n");
	for (unsigned i = 0; peer_receive(fd, &m); i++) {
		if (strcmp(m.member, "Ping") != 0 || strcmp(m.path, "/p") != 0 ||
		    strcmp(m.destination, "a.b") != 0)
			_exit(20);
		buf_clear(&body);
		dbus_put_string(&body, i == 1 ? "it is broken" : "pong");
		/* Something unrelated first, and an answer to somebody else. */
		peer_send(fd, DBUS_SIGNAL, 0, "NameAcquired", "s", &body);
		peer_send(fd, DBUS_RETURN, m.serial + 1000, NULL, "s", &body);
		if (i == 1)
			peer_send(fd, DBUS_ERROR, m.serial, "a.b.Error.Broken", "s", &body);
		else
			peer_send(fd, DBUS_RETURN, m.serial, NULL, "s", &body);
		dbus_message_deinit(&m);
	}
	buf_deinit(&body);
}

static void count_signal(const struct dbus_message *signal, void *data)
{
	if (strcmp(signal->member, "NameAcquired") == 0)
		++*(int *)data;
}

static void test_calls_errors_and_signals(void **state)
{
	struct peer peer = peer_start(peer_talks);
	struct error e = ERROR_INIT;
	struct dbus *dbus = dbus_open_fd(peer.fd, false, 5000, &e);
	struct dbus_message reply;
	struct dbus_reader reader;
	int signals = 0;

	(void)state;
	assert_non_null(dbus);
	dbus_on_signal(dbus, count_signal, &signals);
	assert_int_equal(dbus_call(dbus, &ping, &reply, &e), 0);
	reader = dbus_reader_of(&reply);
	assert_string_equal(dbus_get_string(&reader), "pong");
	dbus_message_deinit(&reply);
	assert_int_equal(dbus_call(dbus, &ping, &reply, &e), -EREMOTEIO);
	assert_string_equal(e.text, "a.b.Error.Broken: it is broken");
	assert_string_equal(reply.error_name, "a.b.Error.Broken");
	dbus_message_deinit(&reply);
	/* An error of the peer's is no error of the connection. */
	assert_int_equal(dbus_call(dbus, &ping, NULL, &e), 0);
	assert_int_equal(signals, 3);
	dbus_close(dbus);
	peer_end(&peer);
}

static void peer_refuses(int fd)
{
	peer_authenticate(fd, "REJECTED EXTERNAL\r\n");
}

static void test_refused(void **state)
{
	struct peer peer = peer_start(peer_refuses);
	struct error e = ERROR_INIT;

	(void)state;
	assert_null(dbus_open_fd(peer.fd, false, 5000, &e));
	assert_int_equal(e.code, STATUS_PERMISSION_DENIED);
	peer_end(&peer);
}

static void peer_is_silent(int fd)
{
	struct dbus_message m;

	peer_authenticate(fd, "OK x\r\n");
	while (peer_receive(fd, &m))
		dbus_message_deinit(&m);
}

static void test_a_silent_peer_costs_the_deadline_once(void **state)
{
	struct peer peer = peer_start(peer_is_silent);
	struct error e = ERROR_INIT;
	struct dbus *dbus = dbus_open_fd(peer.fd, false, 5000, &e);
	bool never = false;
	struct timespec a, b;

	(void)state;
	assert_non_null(dbus);
	dbus_set_timeout(dbus, 100);
	clock_gettime(CLOCK_MONOTONIC, &a);
	assert_int_equal(dbus_call(dbus, &ping, NULL, &e), -ETIMEDOUT);
	assert_int_equal(dbus_call(dbus, &ping, NULL, &e), -ENOTCONN);
	assert_int_equal(dbus_wait(dbus, &never, &e), -ENOTCONN);
	clock_gettime(CLOCK_MONOTONIC, &b);
	assert_true((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 < 3000);
	dbus_close(dbus);
	peer_end(&peer);
}

static void peer_sends_rubbish(int fd)
{
	struct dbus_message m;
	char rubbish[200];

	peer_authenticate(fd, "OK x\r\n");
	if (peer_receive(fd, &m))
		dbus_message_deinit(&m);
	memset(rubbish, 'l', sizeof(rubbish));
	fd_write_all(fd, rubbish, sizeof(rubbish));
}

static void test_rubbish_is_the_end(void **state)
{
	struct peer peer = peer_start(peer_sends_rubbish);
	struct error e = ERROR_INIT;
	struct dbus *dbus = dbus_open_fd(peer.fd, false, 5000, &e);

	(void)state;
	assert_non_null(dbus);
	assert_int_equal(dbus_call(dbus, &ping, NULL, &e), -EPROTO);
	dbus_close(dbus);
	peer_end(&peer);
}

static void peer_goes(int fd)
{
	peer_authenticate(fd, "OK x\r\n");
}

static void test_a_peer_that_goes(void **state)
{
	struct peer peer = peer_start(peer_goes);
	struct error e = ERROR_INIT;
	struct dbus *dbus = dbus_open_fd(peer.fd, false, 5000, &e);
	int r;

	(void)state;
	assert_non_null(dbus);
	r = dbus_call(dbus, &ping, NULL, &e);
	assert_true(r == -ECONNRESET || r == -EPIPE);
	dbus_close(dbus);
	peer_end(&peer);
	assert_null(dbus_open("/nonexistent/socket", true, 100, &e));
	assert_int_equal(e.errnum, ENOENT);
}

/* --- a real bus ----------------------------------------------------------------------------------------- */

static const char bus_config[] =
	"<busconfig><type>session</type><listen>unix:path=%s/bus</listen>"
	"<auth>EXTERNAL</auth><policy context=\"default\"><allow send_destination=\"*\"/>"
	"<allow receive_sender=\"*\"/><allow own=\"*\"/><allow user=\"*\"/></policy></busconfig>";

static pid_t bus_start(const char *dir)
{
	char config[600], path[128], option[160];
	int fd;
	pid_t pid;

	snprintf(config, sizeof(config), bus_config, dir);
	snprintf(path, sizeof(path), "%s/config", dir);
	snprintf(option, sizeof(option), "--config-file=%s", path);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, config, strlen(config)), 0);
	fd_close(fd);
	pid = fork();
	if (pid == 0) {
		execlp("dbus-daemon", "dbus-daemon", option, "--nofork", "--nopidfile", (char *)NULL);
		_exit(127);
	}
	return pid;
}

static void talk_to_bus(const char *socket)
{
	struct error e = ERROR_INIT;
	struct dbus *dbus = dbus_open(socket, true, 5000, &e);
	struct dbus_message reply;
	struct buf body = BUF_INIT;
	struct dbus_call call = {
		.destination = "org.freedesktop.DBus",
		.path = "/org/freedesktop/DBus",
		.interface = "org.freedesktop.DBus",
		.member = "NameHasOwner",
		.signature = "s",
		.body = &body,
	};
	struct dbus_reader reader;

	if (!dbus)
		fail_msg("%s", e.text);
	dbus_put_string(&body, "org.freedesktop.DBus");
	assert_int_equal(dbus_call(dbus, &call, &reply, &e), 0);
	assert_string_equal(reply.signature, "b");
	reader = dbus_reader_of(&reply);
	assert_int_equal(dbus_get_u32(&reader), 1);
	dbus_message_deinit(&reply);
	call.member = "NoSuchMember";
	assert_int_equal(dbus_call(dbus, &call, &reply, &e), -EREMOTEIO);
	assert_string_equal(reply.error_name, "org.freedesktop.DBus.Error.UnknownMethod");
	dbus_message_deinit(&reply);
	/* Nobody there: an error of the bus, as systemd's absence would be. */
	call.destination = "org.freedesktop.systemd1";
	assert_int_equal(dbus_call(dbus, &call, &reply, &e), -EREMOTEIO);
	assert_non_null(strstr(e.text, "ServiceUnknown"));
	dbus_message_deinit(&reply);
	buf_deinit(&body);
	dbus_close(dbus);
}

static void test_a_real_bus_daemon(void **state)
{
	char dir[] = "/tmp/test-dbus-XXXXXX", socket[64], path[64];
	int status = 0;
	pid_t pid;

	(void)state;
	assert_non_null(mkdtemp(dir));
	pid = bus_start(dir);
	snprintf(socket, sizeof(socket), "%s/bus", dir);
	for (int i = 0; i < 300 && access(socket, F_OK) < 0 && waitpid(pid, &status, WNOHANG) == 0; i++)
		usleep(10000);
	if (access(socket, F_OK) == 0) {
		usleep(50000);
		talk_to_bus(socket);
		kill(pid, SIGTERM);
		waitpid(pid, &status, 0);
	} else {
		print_message("skipped: no dbus-daemon\n");
	}
	unlink(socket);
	snprintf(path, sizeof(path), "%s/config", dir);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_of_values),
		cmocka_unit_test(test_values_come_back),
		cmocka_unit_test(test_big_endian_is_read),
		cmocka_unit_test(test_hostile_values),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_calls_errors_and_signals),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_a_silent_peer_costs_the_deadline_once),
		cmocka_unit_test(test_rubbish_is_the_end),
		cmocka_unit_test(test_a_peer_that_goes),
		cmocka_unit_test(test_a_real_bus_daemon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
