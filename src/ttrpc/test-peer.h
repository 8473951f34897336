/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TTRPC_TEST_PEER_H
#define TTRPC_TEST_PEER_H

/*
 * For the tests: a server with a few services, and the other end of one of its connections as a bare socket,
 * so that a test says byte by byte what a peer sends and what it gets. All in one process, on one loop.
 *
 * Health "grpc.Health": Check answers 08 01.
 * "test.Service":
 *   Echo    answers its payload
 *   Size    answers as many bytes as its payload says in decimal
 *   Notify  the same by ttrpc_call_respond_notify(); outcomes are in fixture.sent
 *   Fail    code 5 "not found"
 *   Park    keeps the call in fixture.parked and is told of its end
 *   Grow    as Park, and takes as many bytes of its arena as its payload says
 *   Mute    keeps the call and is not told
 *   Steal   keeps the arena, answers, and frees the arena afterwards
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "ttrpc/frame.h"
#include "ttrpc/server.h"

enum { PARKED_MAX = 10000 };

struct fixture {
	struct loop *loop;
	struct ttrpc_server *server;
	int fd; /* the peer's end of the first connection */
	struct ttrpc_call *parked[PARKED_MAX];
	size_t n_parked;
	size_t deadlines;   /* TTRPC_END_DEADLINE so far */
	size_t disconnects; /* TTRPC_END_DISCONNECT so far */
	bool sent[64];	    /* outcomes, in order */
	size_t n_sent;
	size_t flushed; /* calls of on_flushed */
};

/* cmocka's set-up and tear-down: *state is a struct fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
/* Another connection; returns the peer's end. */
int fixture_connect(struct fixture *f);
/* Lets the loop do what there is to do. */
void fixture_settle(struct fixture *f);
/* Lets the loop run for @ms milliseconds. */
void fixture_run(struct fixture *f, unsigned ms);

struct frame {
	struct frame_header header;
	uint8_t *body; /* malloc'ed */
};

/* "0a 00" and the like, blanks ignored. Returns the number of bytes. */
size_t hex_decode(const char *hex, uint8_t *out, size_t size);
/* Writes all of it while the loop runs. */
void peer_send(struct fixture *f, int fd, const void *data, size_t length);
void peer_send_hex(struct fixture *f, int fd, const char *hex);
/* A request with @timeout_ns (left out where 0) to @service. */
size_t request_make(uint8_t *out, size_t size, uint32_t stream, const char *service, const char *method,
		    const void *payload, size_t length, int64_t timeout_ns);
void peer_call(struct fixture *f, int fd, uint32_t stream, const char *method, const char *payload,
	       int64_t timeout_ns);
/* Reads exactly @length bytes while the loop runs; fails the test when they do not come. */
void peer_receive(struct fixture *f, int fd, void *data, size_t length);
void peer_expect_hex(struct fixture *f, int fd, const char *hex);
struct frame peer_receive_frame(struct fixture *f, int fd);
/* The next frame is an error answer. */
void peer_expect_error(struct fixture *f, int fd, uint32_t stream, uint32_t code, const char *text);
/* The next frame is an OK answer with this payload. */
void peer_expect_ok(struct fixture *f, int fd, uint32_t stream, const char *payload);
/* Nothing arrives. */
void peer_expect_silence(struct fixture *f, int fd);
/* The connection is still of use: one more Check is answered. */
void peer_expect_alive(struct fixture *f, int fd);
/* The server has closed the connection. */
void peer_expect_end(struct fixture *f, int fd);

#endif
