/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a peer sends to a server. Byte 0 says how the rest is cut: pieces of that many bytes (0: one piece), with a
 * round of the loop after each. The peer reads what comes back or, where bit 7 is set, does not. Handlers answer at
 * once, later, never, or too much, by the payload's first byte.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "ttrpc/ttrpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PARKED = 16 };

static struct {
	struct ttrpc_call *calls[PARKED];
	size_t count;
} parked;

static void on_end(struct ttrpc_call *call, enum ttrpc_end end, void *data)
{
	for (size_t i = 0; i < parked.count; i++)
		if (parked.calls[i] == call && end == TTRPC_END_DISCONNECT)
			parked.calls[i] = NULL;
	if (end == TTRPC_END_DEADLINE) {
		for (size_t i = 0; i < parked.count; i++)
			if (parked.calls[i] == call)
				parked.calls[i] = NULL;
		ttrpc_call_fail_timeout(call);
	}
}

static void on_sent(bool sent, void *data)
{
	size_t *outstanding = data;

	(*outstanding)--;
}

static size_t outstanding;

static void handle(struct ttrpc_call *call, void *data)
{
	uint8_t *big;

	for (size_t i = 0; i < call->n_metadata; i++)
		if (call->metadata[i].key[0] == '\0' && call->metadata[i].value[0] == 1)
			abort();
	switch (call->payload_length > 0 ? call->payload[0] % 5 : 0) {
	case 0:
		ttrpc_call_respond(call, call->payload, call->payload_length);
		return;
	case 1:
		if (parked.count == PARKED)
			break;
		parked.calls[parked.count++] = call;
		ttrpc_call_on_end(call, on_end, NULL);
		return;
	case 2:
		big = calloc(1, 300000);
		outstanding++;
		ttrpc_call_respond_notify(call, big, 300000, on_sent, &outstanding);
		free(big);
		return;
	case 3:
		big = calloc(1, TTRPC_MESSAGE_MAX);
		ttrpc_call_respond(call, big, TTRPC_MESSAGE_MAX);
		free(big);
		return;
	default:
		break;
	}
	ttrpc_call_fail_text(call, STATUS_NOT_FOUND, "%s", call->method);
}

static const struct ttrpc_method methods[] = {{"M", handle}};

static void drain(int fd)
{
	static char sink[65536];

	while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		continue;
}

static void run(struct loop *loop, int fd, bool reads)
{
	for (int i = 0; i < 2; i++)
		loop_run_once(loop, 0);
	if (reads)
		drain(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ttrpc_server *server;
	struct loop *loop;
	bool reads;
	size_t piece;
	int pair[2];

	if (size < 1 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	log_set_fd(-1);
	reads = !(data[0] & 0x80);
	piece = data[0] & 0x7f ? data[0] & 0x7f : size;
	loop = loop_new();
	server = ttrpc_server_new(loop);
	ttrpc_server_add_service(server, "S", methods, 1, NULL);
	ttrpc_server_adopt(server, pair[1], NULL);
	for (size_t at = 1, n; at < size; at += n) {
		n = size - at < piece ? size - at : piece;
		if (send(pair[0], data + at, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
		run(loop, pair[0], reads);
	}
	for (size_t i = 0; i < parked.count; i += 2)
		if (parked.calls[i]) {
			ttrpc_call_respond(parked.calls[i], "late", 4);
			parked.calls[i] = NULL;
		}
	run(loop, pair[0], reads);
	shutdown(pair[0], SHUT_WR);
	run(loop, pair[0], true);
	ttrpc_server_free(server);
	parked.count = 0;
	if (outstanding != 0)
		abort();
	loop_free(loop);
	close(pair[0]);
	return 0;
}
