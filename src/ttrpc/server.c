/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server: services by name, listeners, connections, and what is counted over all of them.
 *
 * Memory of calls is bounded over all connections together; a connection that wants to begin a frame beyond
 * the bound waits in a list, and is tried again in a later round of the loop, never from within what made
 * room. Room is taken when a frame begins, on its sender's word alone; so while somebody waits for what others hold, a
 * connection that has not sent on with its large frame for SERVER_PATIENCE_MS is closed. Nobody waits: it may take as
 * long as it likes, and there is no timer.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "ttrpc/listener.h"
#include "ttrpc/server.h"

struct ttrpc_server *ttrpc_server_new(struct loop *loop)
{
	struct ttrpc_server *server = calloc(1, sizeof(*server));

	if (!server)
		return NULL;
	server->loop = loop;
	server->patience_ms = SERVER_PATIENCE_MS;
	list_init(&server->listeners);
	list_init(&server->connections);
	list_init(&server->orphans);
	list_init(&server->waiting);
	return server;
}

void ttrpc_server_free(struct ttrpc_server *server)
{
	if (!server)
		return;
	server->on_flushed = NULL;
	ttrpc_server_close_listeners(server);
	while (!list_empty(&server->connections))
		connection_free(list_first_entry(&server->connections, struct ttrpc_connection, link));
	while (!list_empty(&server->orphans))
		call_free_orphan(list_first_entry(&server->orphans, struct call, link));
	loop_timer_remove(&server->wake);
	loop_timer_remove(&server->reclaim);
	free(server->services);
	free(server);
}

int ttrpc_server_add_service(struct ttrpc_server *server, const char *name,
			     const struct ttrpc_method *methods, size_t n_methods, void *data)
{
	struct service *services = reallocarray(server->services, server->n_services + 1, sizeof(*services));

	if (!services)
		return -ENOMEM;
	server->services = services;
	services[server->n_services++] = (struct service){
		.name = name,
		.methods = methods,
		.n_methods = n_methods,
		.data = data,
	};
	return 0;
}

const struct service *server_find_service(const struct ttrpc_server *server, const char *name)
{
	for (size_t i = 0; i < server->n_services; i++)
		if (strcmp(server->services[i].name, name) == 0)
			return &server->services[i];
	return NULL;
}

const struct ttrpc_method *service_find_method(const struct service *service, const char *name)
{
	for (size_t i = 0; i < service->n_methods; i++)
		if (strcmp(service->methods[i].name, name) == 0)
			return &service->methods[i];
	return NULL;
}

int ttrpc_server_listen(struct ttrpc_server *server, const char *address, struct error *e)
{
	return listener_new(server, address, e);
}

int ttrpc_server_adopt(struct ttrpc_server *server, int fd, struct error *e)
{
	int r = fd_nonblock(fd, true);

	if (r == 0)
		r = fd_cloexec(fd, true);
	if (r < 0) {
		fd_close(fd);
		return error_errno(e, -r, "connection");
	}
	r = connection_new(server, fd);
	return r < 0 ? error_errno(e, -r, "connection") : 0;
}

void ttrpc_server_close_listeners(struct ttrpc_server *server)
{
	while (!list_empty(&server->listeners))
		listener_free(list_first_entry(&server->listeners, struct listener, link));
}

bool ttrpc_server_flushed(const struct ttrpc_server *server)
{
	return server->n_unflushed == 0;
}

void ttrpc_server_on_flushed(struct ttrpc_server *server, void (*fn)(void *data), void *data)
{
	server->on_flushed = fn;
	server->on_flushed_data = data;
}

size_t ttrpc_server_connections(const struct ttrpc_server *server)
{
	return server->n_connections;
}

size_t ttrpc_server_calls(const struct ttrpc_server *server)
{
	return server->n_calls;
}

void server_count_unflushed(struct ttrpc_server *server, int change)
{
	server->n_unflushed += (size_t)change;
	if (change < 0 && server->n_unflushed == 0 && server->on_flushed)
		server->on_flushed(server->on_flushed_data);
}

/* Each that waits gets one try; those that still do not fit have put themselves back at the end. */
static void on_wake(struct loop_timer *timer)
{
	struct ttrpc_server *server = container_of(timer, struct ttrpc_server, wake);
	struct list batch = LIST_INIT(batch);

	while (!list_empty(&server->waiting)) {
		struct list *entry = server->waiting.next;

		list_remove(entry);
		list_append(&batch, entry);
	}
	while (!list_empty(&batch)) {
		struct ttrpc_connection *connection =
			list_first_entry(&batch, struct ttrpc_connection, waiting);

		list_remove(&connection->waiting);
		connection_wake(connection);
	}
}

/* --- room that is held and not used --- */

static bool somebody_starves(const struct ttrpc_server *server)
{
	const struct ttrpc_connection *connection;

	list_for_each_entry (connection, &server->waiting, waiting)
		if (connection_starves(connection))
			return true;
	return false;
}

static void on_reclaim(struct loop_timer *timer)
{
	struct ttrpc_server *server = container_of(timer, struct ttrpc_server, reclaim);
	uint64_t now = loop_now();
	struct ttrpc_connection *connection;

	if (!somebody_starves(server))
		return;
	/* They are freed in the end of the round only. */
	list_for_each_entry (connection, &server->connections, link)
		connection_reclaim(connection, now > server->patience_ms ? now - server->patience_ms : 0);
	loop_timer_set(server->loop, timer, server->patience_ms / 4 + 1, on_reclaim);
}

void server_wait(struct ttrpc_server *server, struct ttrpc_connection *connection)
{
	list_append(&server->waiting, &connection->waiting);
	if (!server->reclaim.loop && connection_starves(connection))
		loop_timer_set(server->loop, &server->reclaim, server->patience_ms / 4 + 1, on_reclaim);
}

void server_charge(struct ttrpc_server *server, size_t bytes)
{
	server->bytes += bytes;
}

void server_discharge(struct ttrpc_server *server, size_t bytes)
{
	server->bytes -= bytes;
	if (bytes > 0 && !list_empty(&server->waiting) && !server->wake.loop)
		loop_timer_set(server->loop, &server->wake, 0, on_wake);
}
