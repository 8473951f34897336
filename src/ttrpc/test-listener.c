/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets: files that are dead, living, long or not ours, and descriptors that run out. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "ttrpc/address.h"
#include "ttrpc/listener.h"
#include "ttrpc/test-peer.h"

/* A directory of its own for each test, with the fixture in it. */
struct place {
	struct fixture *fixture;
	char directory[64];
	char address[128]; /* unix://directory/s */
	char path[96];
};

static int place_setup(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	snprintf(place->directory, sizeof(place->directory), "/tmp/test-ttrpc-XXXXXX");
	assert_non_null(mkdtemp(place->directory));
	snprintf(place->path, sizeof(place->path), "%s/s", place->directory);
	snprintf(place->address, sizeof(place->address), "unix://%s", place->path);
	fixture_setup((void **)&place->fixture);
	*state = place;
	return 0;
}

static int place_teardown(void **state)
{
	struct place *place = *state;
	void *fixture = place->fixture;
	bool left;

	fixture_teardown(&fixture);
	unlink(place->path);
	/* A temporary name that was left behind fails the test; it does not stay, though. */
	left = rmdir(place->directory) < 0;
	if (left)
		path_remove_tree(AT_FDCWD, place->directory);
	assert_false(left);
	free(place);
	return 0;
}

static int connect_to(const char *text)
{
	struct ttrpc_address address;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(0, ttrpc_address_parse(text, &address, NULL));
	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&address.storage, address.length) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void expect_served(struct fixture *f, const char *address)
{
	int fd = connect_to(address);

	assert_true(fd >= 0);
	peer_expect_alive(f, fd);
	close(fd);
}

static void test_listen_path(void **state)
{
	struct place *place = *state;
	struct fixture *f = place->fixture;

	assert_int_equal(0, ttrpc_server_listen(f->server, place->address, NULL));
	expect_served(f, place->address);
	ttrpc_server_close_listeners(f->server);
	assert_int_equal(-1, access(place->path, F_OK));
	/* Existing connections go on. */
	peer_expect_alive(f, f->fd);
}

static void test_listen_abstract(void **state)
{
	struct place *place = *state;
	struct fixture *f = place->fixture;
	struct error e = ERROR_INIT;
	char address[128];

	snprintf(address, sizeof(address), "unix://@%s", place->path);
	assert_int_equal(0, ttrpc_server_listen(f->server, address, NULL));
	expect_served(f, address);
	assert_int_equal(-EADDRINUSE, ttrpc_server_listen(f->server, address, &e));
	assert_int_equal(-1, access(place->path, F_OK));
	ttrpc_server_close_listeners(f->server);
	assert_int_equal(-1, connect_to(address));
}

static void test_dead_socket_is_replaced(void **state)
{
	struct place *place = *state;
	struct fixture *f = place->fixture;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", place->path);
	assert_int_equal(0, bind(fd, (struct sockaddr *)&sun, sizeof(sun)));
	assert_int_equal(0, listen(fd, 1));
	close(fd);
	assert_int_equal(-1, connect_to(place->address));
	assert_int_equal(0, ttrpc_server_listen(f->server, place->address, NULL));
	expect_served(f, place->address);
}

static void test_living_socket_is_kept(void **state)
{
	struct place *place = *state;
	struct fixture *f = place->fixture;
	struct ttrpc_server *second = ttrpc_server_new(f->loop);
	struct error e = ERROR_INIT;
	char want[256];

	assert_int_equal(0, ttrpc_server_listen(f->server, place->address, NULL));
	assert_int_equal(-EADDRINUSE, ttrpc_server_listen(second, place->address, &e));
	snprintf(want, sizeof(want), "listen on \"%s\": EADDRINUSE: Address already in use", place->address);
	assert_string_equal(want, e.text);
	ttrpc_server_free(second);
	expect_served(f, place->address);
}

static void test_other_files_are_kept(void **state)
{
	struct place *place = *state;
	int fd = open(place->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	close(fd);
	assert_int_equal(-EADDRINUSE, ttrpc_server_listen(place->fixture->server, place->address, NULL));
	assert_int_equal(0, access(place->path, F_OK));
}

static void test_successor_is_not_removed(void **state)
{
	struct place *place = *state;
	struct fixture *f = place->fixture;
	struct ttrpc_server *second = ttrpc_server_new(f->loop);

	/* Somebody removed the file, and another server took its name. */
	assert_int_equal(0, ttrpc_server_listen(f->server, place->address, NULL));
	assert_int_equal(0, unlink(place->path));
	assert_int_equal(0, ttrpc_server_listen(second, place->address, NULL));
	ttrpc_server_close_listeners(f->server);
	assert_int_equal(0, access(place->path, F_OK));
	ttrpc_server_free(second);
	assert_int_equal(-1, access(place->path, F_OK));
}

static void test_long_path(void **state)
{
	struct place *place = *state;
	struct fixture *f = place->fixture;
	char name[112], address[160];

	/* As long as the address family takes: there is no room for a longer, temporary name. */
	memset(name, 'x', sizeof(name));
	memcpy(name, place->directory, strlen(place->directory));
	name[strlen(place->directory)] = '/';
	name[107] = '\0';
	snprintf(address, sizeof(address), "unix://%s", name);
	assert_int_equal(0, ttrpc_server_listen(f->server, address, NULL));
	expect_served(f, address);
	ttrpc_server_close_listeners(f->server);
	assert_int_equal(-1, access(name, F_OK));
}

static void test_missing_directory(void **state)
{
	struct place *place = *state;
	struct error e = ERROR_INIT;
	char address[160];

	snprintf(address, sizeof(address), "unix://%s/none/s", place->directory);
	assert_int_equal(-ENOENT, ttrpc_server_listen(place->fixture->server, address, &e));
	assert_non_null(strstr(e.text, "ENOENT: No such file or directory"));
	assert_int_equal(-EINVAL, ttrpc_server_listen(place->fixture->server, "hvsock:///x:1", NULL));
	assert_int_equal(-EINVAL, ttrpc_server_listen(place->fixture->server, "foo", NULL));
}

static void test_descriptors_run_out(void **state)
{
	struct place *place = *state;
	struct fixture *f = place->fixture;
	struct rlimit saved, tight;
	struct listener *listener;
	unsigned rounds = 0;
	uint64_t start;
	int fd, next;

	assert_int_equal(0, ttrpc_server_listen(f->server, place->address, NULL));
	fd = connect_to(place->address);
	assert_true(fd >= 0);
	listener = list_first_entry(&f->server->listeners, struct listener, link);
	next = dup(0);
	close(next);
	assert_int_equal(0, getrlimit(RLIMIT_NOFILE, &saved));
	tight = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = saved.rlim_max};
	assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &tight));
	for (start = loop_now(); loop_now() < start + 250;) {
		assert_int_equal(0, loop_run_once(f->loop, (int)(start + 250 - loop_now())));
		rounds++;
	}
	assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &saved));
	/* A try each 100 ms, and the rounds of their timers: it did not spin. */
	assert_in_range(rounds, 2, 12);
	assert_int_equal(1, ttrpc_server_connections(f->server));
	assert_non_null(listener->pause.loop);
	/* Others were served meanwhile; now the one that waited is. */
	peer_expect_alive(f, fd);
	peer_expect_alive(f, f->fd);
	close(fd);
}

static void test_connections_are_bounded(void **state)
{
	struct place *place = *state;
	struct fixture *f = place->fixture;
	/* The fixture has one already. */
	enum { PEERS = SERVER_CONNECTIONS_MAX - 1 };
	int peers[PEERS], late;
	struct rlimit limit;
	uint8_t byte;

	assert_int_equal(0, getrlimit(RLIMIT_NOFILE, &limit));
	if (limit.rlim_cur < 2 * SERVER_CONNECTIONS_MAX + 64)
		skip();
	assert_int_equal(0, ttrpc_server_listen(f->server, place->address, NULL));
	for (int i = 0; i < PEERS; i++) {
		peers[i] = connect_to(place->address);
		fixture_settle(f);
	}
	assert_int_equal(SERVER_CONNECTIONS_MAX, ttrpc_server_connections(f->server));
	late = connect_to(place->address);
	peer_send_hex(f, late, "00 00 00 00 00 00 00 01 01 00");
	fixture_settle(f);
	assert_int_equal(SERVER_CONNECTIONS_MAX, ttrpc_server_connections(f->server));
	assert_int_equal(-1, recv(late, &byte, 1, MSG_DONTWAIT));
	peer_expect_alive(f, peers[PEERS - 1]);
	/* The next place is its. */
	close(peers[0]);
	peer_expect_error(f, late, 1, 3, " service does not exist");
	close(late);
	for (int i = 1; i < PEERS; i++)
		close(peers[i]);
	fixture_settle(f);
}

static void test_descriptors_close_on_exec(void **state)
{
	struct place *place = *state;
	struct fixture *f = place->fixture;
	struct listener *listener;
	struct ttrpc_connection *connection;
	int fd;

	assert_int_equal(0, ttrpc_server_listen(f->server, place->address, NULL));
	fd = connect_to(place->address);
	peer_expect_alive(f, fd);
	listener = list_first_entry(&f->server->listeners, struct listener, link);
	assert_true(fcntl(listener->source.fd, F_GETFD) & FD_CLOEXEC);
	list_for_each_entry (connection, &f->server->connections, link) {
		assert_true(fcntl(connection->source.fd, F_GETFD) & FD_CLOEXEC);
		assert_true(fcntl(connection->source.fd, F_GETFL) & O_NONBLOCK);
	}
	close(fd);
}

#define test(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_listen_path),
		test(test_listen_abstract),
		test(test_dead_socket_is_replaced),
		test(test_living_socket_is_kept),
		test(test_other_files_are_kept),
		test(test_successor_is_not_removed),
		test(test_long_path),
		test(test_missing_directory),
		test(test_descriptors_run_out),
		test(test_connections_are_bounded),
		test(test_descriptors_close_on_exec),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
