/* SPDX-License-Identifier: Apache-2.0 */
/* The bracket around every command that needs the engine. */
#include "oci/session.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "proto/proto.h"

int session_start(struct session *s, struct oci *oci, struct error *e)
{
	s->oci = oci;
	s->loop = loop_new();
	if (!s->loop)
		return error_errno(e, errno, "start the event loop");
	if (s->leaves)
		loop_leave_children(s->loop);
	const struct engine_options options = {
		.loop = s->loop,
		.pin = oci->systemd_cgroup ? CGROUP_PIN_SYSTEMD : CGROUP_PIN_CGROUPFS,
		.no_pivot = oci->no_pivot,
		.rootless = oci->rootless,
	};
	s->engine = engine_new(&options, e);
	return s->engine ? 0 : error_result(e);
}

/* Without the saved configuration (a full disk, a meddler) a container can still be killed and deleted. */
static Grpc__Spec *load_spec(struct session *s, struct arena *arena)
{
	struct error ignored = ERROR_INIT;
	Grpc__Spec *spec = state_dir_load_spec(&s->dir, arena, &ignored);

	if (spec)
		return spec;
	spec = proto_new(&grpc__spec__descriptor, arena);
	if (spec) {
		spec->process = proto_new(&grpc__process__descriptor, arena);
		spec->root = proto_new(&grpc__root__descriptor, arena);
		spec->linux = proto_new(&grpc__linux__descriptor, arena);
		if (spec->linux)
			spec->linux->cgroupspath = arena_strdup(arena, str_or_empty(s->record.cgroup));
	}
	return spec && spec->process && spec->root && spec->linux ? spec : NULL;
}

static int restore(struct session *s, bool gate, struct error *e)
{
	int gate_fd = -1;

	if (gate) {
		gate_fd = state_dir_connect(&s->dir, "gate", e);
		if (gate_fd < 0)
			return gate_fd;
	}
	struct arena *arena = arena_new(16 << 10);
	Grpc__Spec *spec = arena ? load_spec(s, arena) : NULL;
	if (!spec) {
		arena_free(arena);
		fd_close(gate_fd);
		return error_errno(e, ENOMEM, "restore \"%s\"", s->dir.id);
	}
	s->container = container_restore(s->engine, &s->record, spec, arena, gate_fd, e);
	return s->container ? 0 : error_result(e);
}

int session_open(struct session *s, struct oci *oci, const char *id, enum state_lock lock, bool gate,
		 struct error *e)
{
	int r = state_dir_open(&s->dir, oci, id, lock, e);

	if (r == 0)
		r = state_dir_load(&s->dir, &s->record, e);
	if (r < 0)
		return r;
	s->loaded = true;
	s->record.status = state_status(&s->record);
	r = session_start(s, oci, e);
	if (r < 0)
		return r;
	return restore(s, gate && s->record.status == CONTAINER_CREATED, e);
}

int session_save(struct session *s, struct error *e)
{
	s->record.status = container_status(s->container);
	return state_dir_save(&s->dir, &s->record, e);
}

void session_close(struct session *s)
{
	container_free(s->container);
	engine_free(s->engine);
	loop_free(s->loop);
	if (s->loaded)
		container_record_deinit(&s->record);
	state_dir_close(&s->dir);
}

void session_done(struct container *container, int r, const struct error *e, void *data)
{
	struct session *s = data;

	s->told = true;
	s->r = r;
	if (r < 0)
		s->error = *e;
	loop_quit(s->loop, 0);
}

int session_wait(struct session *s, struct error *e)
{
	if (!s->told)
		(void)loop_run(s->loop);
	if (!s->told)
		return error_set(e, STATUS_INTERNAL, EIO, "the event loop ended early");
	s->told = false;
	if (s->r < 0)
		*e = s->error;
	return s->r;
}
