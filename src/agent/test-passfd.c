/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/passfd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"

struct request {
	struct passfd_claim claim;
	unsigned told;
	struct error e;
};

static struct loop *loop;
static struct passfd *passfd;

static int setup(void **state)
{
	loop = loop_new();
	passfd = passfd_table(loop);
	return passfd ? 0 : -1;
}

static int teardown(void **state)
{
	passfd_free(passfd);
	loop_free(loop);
	return 0;
}

static void done(struct passfd_claim *claim, const struct error *e)
{
	struct request *request = container_of(claim, struct request, claim);
	request->told++;
	if (e)
		request->e = *e;
}

static void ask(struct request *request, uint32_t in, uint32_t out, uint32_t err, uint64_t timeout_ms)
{
	*request = (struct request){.claim = {.ports = {in, out, err}, .done = done}};
	passfd_claim(passfd, &request->claim, timeout_ms);
	assert_int_equal(request->told, 0);
}

static int stream(void)
{
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static void turn(unsigned rounds)
{
	while (rounds--)
		loop_run_once(loop, 5);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void streams_before_their_request(void **state)
{
	struct request request;
	int in = stream(), out = stream();
	passfd_arrived(passfd, in, 1001);
	passfd_arrived(passfd, out, 1002);
	ask(&request, 1001, 1002, 0, 1000);
	turn(1);
	assert_int_equal(request.told, 1);
	assert_int_equal(request.claim.fds[0], in);
	assert_int_equal(request.claim.fds[1], out);
	assert_int_equal(request.claim.fds[2], -1);
	assert_int_equal(passfd_unclaimed(passfd), 0);
	close(in);
	close(out);
}

static void streams_after_their_request(void **state)
{
	struct request request;
	int out = stream(), err = stream();
	ask(&request, 0, 7, 8, 1000);
	passfd_arrived(passfd, err, 8);
	turn(2);
	assert_int_equal(request.told, 0);
	passfd_arrived(passfd, out, 7);
	turn(1);
	assert_int_equal(request.told, 1);
	assert_int_equal(request.claim.fds[1], out);
	assert_int_equal(request.claim.fds[2], err);
	close(out);
	close(err);
}

static void a_stream_that_does_not_come(void **state)
{
	struct request request;
	int out = stream();
	passfd_arrived(passfd, out, 7);
	ask(&request, 0, 7, 9, 20);
	for (int i = 0; i < 100 && !request.told; i++)
		turn(1);
	assert_int_equal(request.told, 1);
	assert_int_equal(request.e.code, STATUS_UNAVAILABLE);
	assert_non_null(strstr(request.e.text, "port 9 for stderr"));
	assert_false(is_open(out));
}

static void nothing_is_asked_for(void **state)
{
	struct request request;
	ask(&request, 0, 0, 0, 1000);
	turn(1);
	assert_int_equal(request.told, 1);
	assert_int_equal(request.e.code, STATUS_OK);
}

static void a_request_is_given_up(void **state)
{
	struct request request;
	int out = stream();
	ask(&request, 0, 7, 9, 1000);
	passfd_arrived(passfd, out, 7);
	passfd_abandon(&request.claim);
	turn(2);
	assert_int_equal(request.told, 0);
	assert_false(is_open(out));
}

static void unclaimed_streams_are_bounded(void **state)
{
	int first = stream();
	passfd_arrived(passfd, first, 1);
	for (uint32_t i = 2; i <= PASSFD_UNCLAIMED_MAX + 1; i++)
		passfd_arrived(passfd, stream(), i);
	assert_int_equal(passfd_unclaimed(passfd), PASSFD_UNCLAIMED_MAX);
	assert_false(is_open(first));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(streams_before_their_request, setup, teardown),
		cmocka_unit_test_setup_teardown(streams_after_their_request, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stream_that_does_not_come, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(a_request_is_given_up, setup, teardown),
		cmocka_unit_test_setup_teardown(unclaimed_streams_are_bounded, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
