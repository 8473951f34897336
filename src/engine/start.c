/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Opening the gate. One START is sent; what follows on the socket is its end (the program was executed) or an ERROR. A
 * child that died at the gate has ended the socket, too, but then its exit has been seen, or is about to be.
 */

#include <errno.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/log.h"
#include "engine/engine_private.h"
#include "engine/handshake.h"

struct start {
	struct operation *operation;
	struct loop_fd source;
};

static void end(struct start *start, int r, struct error *e)
{
	struct operation *operation = start->operation;
	struct container *container = operation->container;

	loop_fd_remove(&start->source);
	container->handshake = fd_close(container->handshake);
	if (r < 0)
		error_prefix(e, "start container \"%s\"", container->id);
	free(start);
	operation_end(operation, r, e);
}

static void on_poststart(int r, const struct error *e, void *data)
{
	struct start *start = data;
	struct error copy = ERROR_INIT;

	start->operation->hooks = NULL;
	if (r < 0) {
		copy = *e;
		/* runtime.md, "Lifecycle": the container is stopped. */
		(void)process_signal(start->operation->container->init, SIGKILL, NULL);
	}
	end(start, r, &copy);
}

static void run_poststart(struct start *start)
{
	struct container *container = start->operation->container;
	const Grpc__Hooks *hooks = container->spec->hooks;
	_cleanup_buf_ struct buf state = BUF_INIT;
	struct error e = ERROR_INIT;

	if (!hooks || hooks->n_poststart == 0) {
		end(start, 0, &e);
		return;
	}
	if (container_state_json(container, container_status_name(container->status), container->init->pid,
				 &state) < 0) {
		int r = error_errno(&e, ENOMEM, "poststart hooks");
		end(start, r, &e);
		return;
	}
	const struct hooks_params params = {
		.kind = "poststart",
		.hooks = hooks->poststart,
		.count = hooks->n_poststart,
		.state = buf_string(&state),
		.cwd = container->bundle,
		.environment = container_hook_environment(container),
		.default_timeout_ms = container_hook_timeout(container),
	};
	loop_fd_remove(&start->source);
	start->operation->hooks = hooks_start(container->engine->loop, &params, on_poststart, start, &e);
	if (!start->operation->hooks)
		end(start, error_result(&e), &e);
}

static void executed(struct start *start)
{
	struct container *container = start->operation->container;

	container->init->started = true;
	if (container->status == CONTAINER_CREATED)
		container->status = CONTAINER_RUNNING;
	log_debug("engine", "container started", "container-id", container->id);
	run_poststart(start);
}

static void on_answer(struct loop_fd *source, uint32_t events)
{
	struct start *start = container_of(source, struct start, source);
	struct handshake_message message = {.fd = -1};
	struct error e = ERROR_INIT;
	int r = handshake_receive(source->fd, &message);

	if (r == -EAGAIN)
		return;
	if (r == 0) {
		executed(start);
		return;
	}
	if (r == 1 && message.type == HANDSHAKE_ERROR) {
		e = message.error;
		r = error_result(&e);
	} else {
		r = error_errno(&e, EPROTO, "talk to the process");
	}
	end(start, r, &e);
}

void container_start(struct container *container, container_done done, void *data)
{
	struct operation *operation =
		operation_begin(container, "start", 1u << CONTAINER_CREATED, true, done, data);
	struct error e = ERROR_INIT;

	if (!operation)
		return;
	struct start *start = calloc(1, sizeof(*start));
	if (!start) {
		int r = error_errno(&e, ENOMEM, "start");
		operation_end(operation, r, &e);
		return;
	}
	start->operation = operation;
	int r = container->handshake < 0 ? -ENOTCONN
					 : handshake_send(container->handshake, HANDSHAKE_START, 0, -1);
	if (r == -EPIPE || r == -ENOTCONN)
		r = error_set(&e, STATUS_FAILED_PRECONDITION, EPIPE, "its process does not wait any more");
	else if (r == 0)
		r = loop_fd_add(container->engine->loop, &start->source, container->handshake, EPOLLIN,
				on_answer);
	if (r < 0 && e.code == STATUS_OK)
		error_errno(&e, -r, "talk to the process");
	if (r < 0)
		end(start, r, &e);
}
