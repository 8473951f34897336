/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server sends to a client that waits for the answers of a few calls. Byte 0 says how the rest is cut, as for
 * ttrpc-server. Every call must end exactly once.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "ttrpc/ttrpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CALLS = 8 };

static void on_reply(struct ttrpc_client *client, const struct ttrpc_reply *reply, void *data)
{
	unsigned *count = data;
	uint8_t sum = 0;

	(*count)++;
	for (size_t i = 0; i < reply->payload_length; i++)
		sum = (uint8_t)(sum + reply->payload[i]);
	if (!utf8_valid(reply->status.text, strlen(reply->status.text)))
		abort();
	/* The new call's end counts instead of this one's. */
	if (sum == 77 && ttrpc_client_call(client, "S", "M", "again", 5, 0, on_reply, data, NULL) == 0)
		(*count)--;
}

/* A listening socket of this process, made once. */
static int listening = -1;

__attribute__((destructor)) static void stop_listening(void)
{
	if (listening >= 0)
		close(listening);
}

static int listener(char address[64])
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int length = snprintf(sun.sun_path + 1, sizeof(sun.sun_path) - 1, "fuzz-ttrpc-%d", (int)getpid());

	if (snprintf(address, 64, "unix://@fuzz-ttrpc-%d", (int)getpid()) >= 64)
		abort();
	if (listening >= 0)
		return listening;
	listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listening, (struct sockaddr *)&sun,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) < 0 ||
	    listen(listening, 8) < 0)
		abort();
	return listening;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned counts[CALLS] = {0};
	struct ttrpc_client *client;
	struct loop *loop;
	char address[64];
	size_t piece;
	int fd, accepting = listener(address);

	if (size < 1)
		return 0;
	log_set_fd(-1);
	piece = data[0] ? data[0] : size;
	loop = loop_new();
	client = ttrpc_client_connect(loop, address, 1000, NULL);
	fd = accept(accepting, NULL, NULL);
	if (!client || fd < 0)
		abort();
	for (unsigned i = 0; i < CALLS; i++)
		if (ttrpc_client_call(client, "S", "M", "x", 1, i == 7 ? 1 : 0, on_reply, &counts[i], NULL) <
		    0)
			abort();
	for (size_t at = 1, n; at < size; at += n) {
		n = size - at < piece ? size - at : piece;
		if (send(fd, data + at, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
		loop_run_once(loop, 0);
	}
	for (int i = 0; i < 2; i++)
		loop_run_once(loop, 0);
	if (data[0] & 1)
		close(fd);
	loop_run_once(loop, 0);
	ttrpc_client_free(client);
	for (unsigned i = 0; i < CALLS; i++)
		if (counts[i] != 1)
			abort();
	loop_free(loop);
	if (!(data[0] & 1))
		close(fd);
	return 0;
}
