/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TTRPC_SERVER_H
#define TTRPC_SERVER_H

/* What server, connections and calls know of each other. Internal to the room; users include ttrpc.h. */

#include "base/list.h"
#include "base/loop.h"
#include "ttrpc/reader.h"
#include "ttrpc/streams.h"
#include "ttrpc/ttrpc.h"
#include "ttrpc/writer.h"

enum {
	CONNECTION_CALLS_MAX = 8192,	 /* calls in flight on one connection */
	CONNECTION_BYTES_MAX = 16 << 20, /* memory of the calls of one connection, before it is read on */
	CONNECTION_RESERVE = 64 << 10,	 /* of which so much is there whatever other connections hold */
	SERVER_BYTES_MAX = 64 << 20,	 /* the same of all connections */
	SERVER_CONNECTIONS_MAX = 1024,	 /* beyond, they wait in the listeners' backlogs */
	CONNECTION_OUTPUT_MAX = 1 << 20, /* bytes of queued answers beyond which no request is taken */
	SERVER_OUTPUT_MAX = 64 << 20, /* of all connections; beyond, CONNECTION_RESERVE is each one's bound */
	CONNECTION_FRAMES_PER_ROUND = 64, /* then others have their turn */
	CONNECTION_LINGER_MS = 5000,	  /* for what is still queued when the peer has closed */
	SERVER_PATIENCE_MS = 30000,	  /* for the rest of a frame whose room others wait for */
};

struct service {
	const char *name;
	const struct ttrpc_method *methods;
	size_t n_methods;
	void *data;
};

struct ttrpc_server {
	struct loop *loop;
	struct service *services;
	size_t n_services;
	struct list listeners;
	struct list connections;
	size_t n_connections;
	struct list orphans; /* calls without connection whose handlers have not answered yet */
	size_t n_calls;
	size_t bytes;	     /* memory of all calls */
	struct list waiting; /* connections that wait for bytes to become free */
	struct loop_timer wake;
	struct loop_timer reclaim; /* while a connection waits for what others hold */
	unsigned patience_ms;
	size_t n_unflushed; /* connections with queued answers */
	size_t output;	    /* bytes of those */
	void (*on_flushed)(void *data);
	void *on_flushed_data;
};

/* --- connection.c --- */

struct call;

struct ttrpc_connection {
	struct ttrpc_server *server;
	struct list link;    /* of server->connections */
	struct list waiting; /* of server->waiting, while held back by bytes */
	struct loop_fd source;
	struct loop_timer timer; /* the next turn; once the peer has closed: the end of lingering */
	struct loop_defer burial;
	struct reader reader;
	struct writer writer;
	struct streams streams; /* calls that are owed an answer, by id */
	struct list calls;	/* those, and calls answered by the library whose handlers do not know yet */
	size_t n_calls;
	size_t bytes;
	size_t output;	       /* what server->output counts of writer.queued */
	struct call *incoming; /* its body is being received */
	uint64_t progress;     /* loop_now() when that began, or the last CONNECTION_RESERVE of it had come */
	size_t progress_left;  /* reader.left at that time */
	unsigned taking;       /* depth of connection_take(): the connection may not be freed */
	bool held;	       /* the reader was stopped in front of a frame */
	bool unflushed;	       /* counted in server->n_unflushed */
	bool closed;	       /* the peer has closed: nothing more is read, calls have ended */
	bool dead;	       /* waits for its burial */
};

/* Takes @fd, which is a connected non-blocking stream socket. 0 or -errno. */
int connection_new(struct ttrpc_server *server, int fd);
/* Ends its calls and frees it. */
void connection_free(struct ttrpc_connection *connection);
/* Ends it where it holds room for a large frame of which nothing much has come since @before. */
void connection_reclaim(struct ttrpc_connection *connection, uint64_t before);
/* Whether it waits for bytes that other connections hold, rather than for its own. */
bool connection_starves(const struct ttrpc_connection *connection);
/* Gives another try to one that was held back by bytes. */
void connection_wake(struct ttrpc_connection *connection);
/* Sends one frame; see writer_send(). On error the connection is dead. */
int connection_send(struct ttrpc_connection *connection, const struct iovec *pieces, size_t count,
		    writer_sent_fn sent, void *data);
void connection_send_error(struct ttrpc_connection *connection, uint32_t stream, enum status_code code,
			   const char *text);

/* --- call.c --- */

struct call {
	struct ttrpc_call public;
	struct stream stream;
	struct list link; /* of its connection's calls, or of server->orphans */
	struct loop_timer timer;
	struct ttrpc_server *server;
	void (*ended)(struct ttrpc_call *, enum ttrpc_end, void *data);
	void *ended_data;
	size_t bytes;	 /* what is charged for it */
	uint32_t length; /* of its body, which follows; then one byte to terminate a string */
	bool *gone;	 /* set when it is freed during its own dispatch */
	bool stolen;	 /* the arena is the handler's */
	bool answered;	 /* by the library: the handler's own answer will be dropped */
	bool ending;	 /* within ended(): it cannot be answered */
	uint8_t body[];
};

/* Memory that a call with a body of @length bytes takes at first. */
size_t call_size(uint32_t length);
/* A call to receive a body into; charged for, but not yet in flight. NULL when memory is out. */
struct call *call_new(struct ttrpc_connection *connection, const struct frame_header *header);
/* Frees one that was never in flight. */
void call_discard(struct call *call);
/* The body is there: decodes, looks up, calls the handler, or answers with what is wrong. */
void call_dispatch(struct call *call);
/* The connection has gone: tells the handler, frees the call or leaves it as an orphan. */
void call_disconnect(struct call *call);
/* Frees an orphan. */
void call_free_orphan(struct call *call);

/* --- server.c --- */

const struct service *server_find_service(const struct ttrpc_server *server, const char *name);
const struct ttrpc_method *service_find_method(const struct service *service, const char *name);
/* Adds to or takes from the memory that calls hold; wakes who waits for it. */
void server_charge(struct ttrpc_server *server, size_t bytes);
void server_discharge(struct ttrpc_server *server, size_t bytes);
/* A connection has begun to wait for room: who holds some without using it is looked for while it does. */
void server_wait(struct ttrpc_server *server, struct ttrpc_connection *connection);
/* @unflushed connections more or less (1 or -1). */
void server_count_unflushed(struct ttrpc_server *server, int change);

#endif
