/* SPDX-License-Identifier: Apache-2.0 */

/* Messages survive the trip; what is not a message is refused and leaves no descriptor behind. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "engine/handshake.h"

static void messages_survive(void **state)
{
	int pair[2];
	struct handshake_message m;

	assert_int_equal(handshake_pair(pair), 0);
	assert_int_equal(handshake_receive(pair[0], &m), -EAGAIN);
	assert_int_equal(handshake_send(pair[1], HANDSHAKE_READY, 0, -1), 0);
	assert_int_equal(handshake_receive(pair[0], &m), 1);
	assert_int_equal(m.type, HANDSHAKE_READY);
	assert_int_equal(m.fd, -1);

	struct error e = ERROR_INIT;
	error_errno(&e, ENOENT, "mount \"/d\u00e4ta\"");
	assert_int_equal(handshake_send_error(pair[1], &e), 0);
	assert_int_equal(handshake_receive(pair[0], &m), 1);
	assert_int_equal(m.type, HANDSHAKE_ERROR);
	assert_string_equal(m.error.text, e.text);
	assert_int_equal(m.error.code, e.code);
	assert_int_equal(m.error.errnum, ENOENT);

	fd_close(pair[1]);
	assert_int_equal(handshake_receive(pair[0], &m), 0);
	assert_int_equal(handshake_send(pair[0], HANDSHAKE_GO, 0, -1), -EPIPE);
	fd_close(pair[0]);
}

static void longest_error_fits(void **state)
{
	struct handshake_message in = {.type = HANDSHAKE_ERROR}, out;
	uint8_t bytes[HANDSHAKE_MAX];

	in.error.code = STATUS_INTERNAL;
	memset(in.error.text, 'x', ERROR_TEXT_MAX - 1);
	in.error.text[ERROR_TEXT_MAX - 1] = '\0';
	size_t length = handshake_encode(&in, bytes);
	assert_int_equal(handshake_decode(bytes, length, &out), 0);
	assert_string_equal(in.error.text, out.error.text);
}

static void descriptors_ride_only_where_expected(void **state)
{
	int pair[2], pipes[2];
	struct handshake_message m;

	assert_int_equal(handshake_pair(pair), 0);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(handshake_send(pair[1], HANDSHAKE_TERMINAL, 7, pipes[1]), 0);
	assert_int_equal(handshake_receive(pair[0], &m), 1);
	assert_int_equal(m.value, 7);
	assert_true(m.fd >= 0);
	assert_int_equal(fcntl(m.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	fd_close(m.fd);

	/* One that nobody asked for must not stay open: the pipe reaches its end. */
	assert_int_equal(handshake_send(pair[1], HANDSHAKE_READY, 0, pipes[1]), 0);
	fd_close(pipes[1]);
	assert_int_equal(handshake_receive(pair[0], &m), 1);
	assert_int_equal(m.fd, -1);
	char c;
	assert_int_equal(read(pipes[0], &c, 1), 0);
	fd_close(pipes[0]);
	fd_close(pair[0]);
	fd_close(pair[1]);
}

/* A peer that ends with our message unread has said what it said all the same. */
static void last_words_outlive_a_reset(void **state)
{
	int pair[2];
	struct handshake_message m;
	struct error e = ERROR_INIT;

	assert_int_equal(handshake_pair(pair), 0);
	assert_int_equal(handshake_send(pair[0], HANDSHAKE_GO, 0, -1), 0);
	error_set(&e, STATUS_INTERNAL, EIO, "last words");
	assert_int_equal(handshake_send_error(pair[1], &e), 0);
	fd_close(pair[1]);
	assert_int_equal(handshake_receive(pair[0], &m), 1);
	assert_string_equal(m.error.text, "last words");
	assert_int_equal(handshake_receive(pair[0], &m), 0);
	fd_close(pair[0]);
}

static void nonsense_is_refused(void **state)
{
	struct handshake_message m = {0};
	uint8_t bytes[HANDSHAKE_MAX] = {0};
	uint32_t header[4] = {HANDSHAKE_READY, 0, 0, 0};

	assert_int_equal(handshake_decode(bytes, 0, &m), -EPROTO);
	assert_int_equal(handshake_decode(bytes, 16, &m), -EPROTO); /* type 0 */
	memcpy(bytes, header, 16);
	assert_int_equal(handshake_decode(bytes, 15, &m), -EPROTO);
	assert_int_equal(handshake_decode(bytes, 16, &m), 0);
	assert_int_equal(handshake_decode(bytes, 17, &m), -EPROTO); /* text without an error */
	header[0] = HANDSHAKE_ERROR;
	memcpy(bytes, header, 16);
	assert_int_equal(handshake_decode(bytes, 16, &m), -EPROTO); /* an error that says OK */
	header[2] = STATUS_INTERNAL;
	memcpy(bytes, header, 16);
	assert_int_equal(handshake_decode(bytes, 16, &m), 0);
	bytes[16] = 0xff;
	assert_int_equal(handshake_decode(bytes, 17, &m), -EPROTO); /* not UTF-8 */
	header[0] = 99;
	memcpy(bytes, header, 16);
	assert_int_equal(handshake_decode(bytes, 16, &m), -EPROTO);
	assert_int_equal(handshake_decode(bytes, HANDSHAKE_MAX, &m), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_survive),
		cmocka_unit_test(longest_error_fits),
		cmocka_unit_test(descriptors_ride_only_where_expected),
		cmocka_unit_test(last_words_outlive_a_reset),
		cmocka_unit_test(nonsense_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
