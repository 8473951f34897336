/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TTRPC_TTRPC_H
#define TTRPC_TTRPC_H

/*
 * ttRPC, both sides, on the loop of src/base. Knows frames, envelopes, status codes and addresses; knows
 * nothing of what the calls mean: payloads are bytes.
 *
 * Server: any number of connections, any number of calls outstanding on each, answered in any order, unary
 * only (which is all that Kata's API has). A call lives in an arena that holds its frame; the handler may
 * answer at once, or keep the call and answer from a later event. What ends a call from outside (deadline,
 * lost connection) is told to the handler so that it can undo.
 *
 * Back-pressure: answers that the peer does not read are queued up to a bound per connection and one for all;
 * beyond it, and beyond a bound on the bytes of calls in flight, the connection is not read from until it is
 * under the bound again. Nothing is dropped. The number of connections is bounded, too: more are not accepted.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/loop.h"

enum { TTRPC_MESSAGE_MAX = 4 << 20 }; /* bytes after the header, inclusive */

/* --- server --- */

struct ttrpc_server;
struct ttrpc_connection;

struct ttrpc_metadata {
	const char *key;
	const char *value;
};

enum ttrpc_end {
	TTRPC_END_DEADLINE,   /* timeout_nano has passed: the connection lives, an answer is still owed */
	TTRPC_END_DISCONNECT, /* the connection is gone: no answer is possible */
};

/* What a handler sees. Fields are for reading. */
struct ttrpc_call {
	const char *service;
	const char *method;
	const uint8_t *payload;
	size_t payload_length;
	int64_t timeout_ns; /* 0: none */
	const struct ttrpc_metadata *metadata;
	size_t n_metadata;
	struct arena *arena; /* everything above lives in it */
	struct ttrpc_connection *connection;
	void *user; /* the handler's own */
};

typedef void (*ttrpc_handler)(struct ttrpc_call *call, void *data);

struct ttrpc_method {
	const char *name;
	ttrpc_handler handler;
};

struct ttrpc_server *ttrpc_server_new(struct loop *loop);
/* Takes NULL. Calls in flight end as by TTRPC_END_DISCONNECT. Removes its socket files. Not from within a
 * handler or another of its callbacks. */
void ttrpc_server_free(struct ttrpc_server *server);

/* @methods is borrowed for the server's life. Unknown service: code 3; unknown method: code 12 (reference 01,
 * 1.5). */
int ttrpc_server_add_service(struct ttrpc_server *server, const char *name,
			     const struct ttrpc_method *methods, size_t n_methods, void *data);
/*
 * Binds and listens: `unix:///path`, `unix://@name` (abstract), `vsock://CID:PORT` (CID -1: any). A dead
 * socket file is replaced (bound under a temporary name, then renamed); a living one is EADDRINUSE. 0 or
 * -errno with @e set.
 */
int ttrpc_server_listen(struct ttrpc_server *server, const char *address, struct error *e);
/* Serves one connected stream socket, which is taken. */
int ttrpc_server_adopt(struct ttrpc_server *server, int fd, struct error *e);
/* Stops accepting; existing connections go on. */
void ttrpc_server_close_listeners(struct ttrpc_server *server);
/* True once nothing is queued for writing on any connection. */
bool ttrpc_server_flushed(const struct ttrpc_server *server);
/* Called whenever ttrpc_server_flushed() becomes true. */
void ttrpc_server_on_flushed(struct ttrpc_server *server, void (*fn)(void *data), void *data);
size_t ttrpc_server_connections(const struct ttrpc_server *server);
size_t ttrpc_server_calls(const struct ttrpc_server *server);

/* Answers OK with @payload (copied or written at once; may be NULL/0) and ends the call. */
void ttrpc_call_respond(struct ttrpc_call *call, const void *payload, size_t length);
/*
 * As above; @sent is called exactly once: true when the last byte of the answer was accepted by the socket of
 * a living connection (possibly before this returns), false when the connection died first, or the answer
 * could not be sent as it is (longer than TTRPC_MESSAGE_MAX: code 3 goes instead). The call is gone by then.
 */
void ttrpc_call_respond_notify(struct ttrpc_call *call, const void *payload, size_t length,
			       void (*sent)(bool sent, void *data), void *data);
/* Answers with the code and text of @e (INTERNAL where it has none) and ends the call. */
void ttrpc_call_fail(struct ttrpc_call *call, const struct error *e);
void ttrpc_call_fail_text(struct ttrpc_call *call, enum status_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/*
 * Who keeps a call beyond its handler may ask to be told of its end from outside. Without it a deadline is
 * answered by the library (code 4, "timeout"), and the call, as after a lost connection, stays valid until
 * the handler answers, which then goes nowhere.
 * TTRPC_END_DISCONNECT: the call is freed after @ended returns: forget it.
 * TTRPC_END_DEADLINE: the call stays until it is answered; answer with ttrpc_call_fail_timeout() when undone.
 */
void ttrpc_call_on_end(struct ttrpc_call *call,
		       void (*ended)(struct ttrpc_call *, enum ttrpc_end, void *data), void *data);
void ttrpc_call_fail_timeout(struct ttrpc_call *call);
/* The arena becomes the caller's (arena_free()); the call, and what it points to, lives on until it is
 * answered: the arena must not be freed before that. */
struct arena *ttrpc_call_steal_arena(struct ttrpc_call *call);

/* --- client --- */

struct ttrpc_client;
struct ttrpc_reply {
	struct error status;	/* UNAVAILABLE "ttrpc: closed" when the connection went */
	const uint8_t *payload; /* valid during the callback */
	size_t payload_length;
};
typedef void (*ttrpc_reply_fn)(struct ttrpc_client *client, const struct ttrpc_reply *reply, void *data);

/*
 * Connects (blocking, for at most @timeout_ms): the server's forms, and `hvsock:///path:PORT`, hybrid vsock:
 * a UNIX socket of a VMM on which "CONNECT PORT\n" is answered by "OK …\n". NULL with @e set.
 */
struct ttrpc_client *ttrpc_client_connect(struct loop *loop, const char *address, int timeout_ms,
					  struct error *e);
/* Takes NULL. Pending calls are answered with UNAVAILABLE first. */
void ttrpc_client_free(struct ttrpc_client *client);
/* Called when the connection ends, after all pending calls were answered. */
void ttrpc_client_on_close(struct ttrpc_client *client, void (*fn)(struct ttrpc_client *, void *),
			   void *data);
/* Sends; @reply is called once, always from the loop. @timeout_ns 0: none; it is sent and also enforced here.
 * 0 or -errno with @e set (then @reply is not called). */
int ttrpc_client_call(struct ttrpc_client *client, const char *service, const char *method,
		      const void *payload, size_t length, int64_t timeout_ns, ttrpc_reply_fn reply,
		      void *data, struct error *e);
/* One call, waiting in the loop for its answer; not from within a reply function. The payload is copied into
 * @arena. 0 or -errno with @e set. */
int ttrpc_client_call_sync(struct ttrpc_client *client, const char *service, const char *method,
			   const void *payload, size_t length, int64_t timeout_ns, struct arena *arena,
			   const uint8_t **answer, size_t *answer_length, struct error *e);

#endif
