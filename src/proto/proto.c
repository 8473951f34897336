/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be done with any message, by its descriptor: making, encoding, copying; and the list of all methods, which
 * comes out of the generated service descriptors. Decoding is in decode.c.
 */
#include "proto/proto.h"

#include <errno.h>
#include <string.h>

#include "proto/agent.pb-c.h"
#include "proto/confidential_data_hub.pb-c.h"
#include "proto/field.h"
#include "proto/health.pb-c.h"

void *proto_new(const ProtobufCMessageDescriptor *descriptor, struct arena *arena)
{
	void *message = arena_alloc(arena, descriptor->sizeof_message);

	if (message)
		descriptor->message_init(message);
	return message;
}

int proto_encode(const void *message, struct buf *out)
{
	size_t length = protobuf_c_message_get_packed_size(message);
	uint8_t *room = buf_reserve(out, length);

	if (!room)
		return -ENOMEM;
	buf_commit(out, protobuf_c_message_pack(message, room));
	return 0;
}

/* --- copying --- */

/* Replaces the pointers in the value at @at, which was copied byte by byte, by copies of what they point to. */
static int copy_value(const ProtobufCFieldDescriptor *field, void *at, struct arena *arena)
{
	ProtobufCBinaryData *bytes = at;
	void **pointer = at;

	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		if (!*pointer || *pointer == field->default_value)
			return 0;
		*pointer = arena_strdup(arena, *pointer);
		return *pointer ? 0 : -ENOMEM;
	case PROTOBUF_C_TYPE_MESSAGE:
		if (!*pointer)
			return 0;
		*pointer = proto_copy(*pointer, arena);
		return *pointer ? 0 : -ENOMEM;
	case PROTOBUF_C_TYPE_BYTES:
		if (!bytes->len)
			return 0;
		bytes->data = arena_memdup(arena, bytes->data, bytes->len);
		return bytes->data ? 0 : -ENOMEM;
	default:
		return 0;
	}
}

static int copy_array(const ProtobufCFieldDescriptor *field, void *copy, struct arena *arena)
{
	size_t count = *field_count(copy, field);
	size_t size = field_size(field);
	char **array = field_at(copy, field);

	if (!count)
		return 0;
	*array = arena_memdup(arena, *array, count * size);
	if (!*array)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (copy_value(field, *array + i * size, arena) < 0)
			return -ENOMEM;
	}
	return 0;
}

void *proto_copy(const void *message, struct arena *arena)
{
	const ProtobufCMessageDescriptor *descriptor = ((const ProtobufCMessage *)message)->descriptor;
	ProtobufCMessage *copy = arena_memdup(arena, message, descriptor->sizeof_message);

	if (!copy)
		return NULL;
	copy->n_unknown_fields = 0;
	copy->unknown_fields = NULL;
	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
		int r = field_is_repeated(field) ? copy_array(field, copy, arena)
						 : copy_value(field, field_at(copy, field), arena);

		if (r < 0)
			return NULL;
	}
	return copy;
}

/* --- methods --- */

enum { METHODS_MAX = 64 };

static struct proto_method methods[METHODS_MAX];
static size_t n_methods;

static void add_service(const ProtobufCServiceDescriptor *service)
{
	for (unsigned i = 0; i < service->n_methods && n_methods < METHODS_MAX; i++) {
		const ProtobufCMethodDescriptor *method =
			&service->methods[service->method_indices_by_name[i]];

		methods[n_methods++] =
			(struct proto_method){service->name, method->name, method->input, method->output};
	}
}

const struct proto_method *proto_methods(size_t *count)
{
	if (!n_methods) {
		/* In the order of their names. */
		add_service(&api__get_resource_service__descriptor);
		add_service(&api__image_pull_service__descriptor);
		add_service(&api__sealed_secret_service__descriptor);
		add_service(&api__secure_mount_service__descriptor);
		add_service(&grpc__agent_service__descriptor);
		add_service(&grpc__health__descriptor);
	}
	*count = n_methods;
	return methods;
}

const struct proto_method *proto_method_find(const char *service, const char *name)
{
	const struct proto_method *all;
	size_t count;

	all = proto_methods(&count);
	for (size_t i = 0; i < count; i++) {
		if ((!service || strcmp(all[i].service, service) == 0) && strcmp(all[i].name, name) == 0)
			return &all[i];
	}
	return NULL;
}
