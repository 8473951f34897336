/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names in oci.proto are those of the runtime-spec with a capital, acronyms in capitals throughout. Going back, the
 * first word loses its capitals: all but the last of a run of capitals (which begins the next word), or the whole name
 * if there is nothing else in it. Three names do not follow.
 */
#include "proto/json_name.h"

#include <ctype.h>
#include <string.h>

#include "proto/field.h"
#include "proto/oci.pb-c.h"

static const struct {
	const char *name;
	const char *spelling;
} exceptions[] = {
	{"Version", "ociVersion"},
	{"Pagesize", "pageSize"},
	{"errnoret", "errnoRet"},
};

/* "Message.Member", scalars only: the REQUIRED ones of config.md, config-linux.md and the JSON schema of the spec. */
static const char *const required[] = {
	"Box.Height",
	"Box.Width",
	"Hook.Path",
	"LinuxDevice.Path",
	"LinuxDevice.Type",
	"LinuxDeviceCgroup.Allow",
	"LinuxHugepageLimit.Limit",
	"LinuxHugepageLimit.Pagesize",
	"LinuxIDMapping.ContainerID",
	"LinuxIDMapping.HostID",
	"LinuxIDMapping.Size",
	"LinuxIOPriority.Class",
	"LinuxInterfacePriority.Name",
	"LinuxInterfacePriority.Priority",
	"LinuxNamespace.Type",
	"LinuxPersonality.Domain",
	"LinuxSeccomp.DefaultAction",
	"LinuxSeccompArg.Index",
	"LinuxSeccompArg.Op",
	"LinuxSeccompArg.Value",
	"LinuxSyscall.Action",
	"LinuxThrottleDevice.Major",
	"LinuxThrottleDevice.Minor",
	"LinuxThrottleDevice.Rate",
	"LinuxWeightDevice.Major",
	"LinuxWeightDevice.Minor",
	"Mount.destination",
	"POSIXRlimit.Hard",
	"POSIXRlimit.Soft",
	"POSIXRlimit.Type",
	"Process.Cwd",
	"Root.Path",
	"Scheduler.Policy",
	"Spec.Version",
	"User.GID",
	"User.UID",
};

enum { OCI_MAX = 64 };

/* Filled at the first question, by walking from Spec. */
static const ProtobufCMessageDescriptor *oci[OCI_MAX];
static size_t n_oci;

static bool oci_known(const ProtobufCMessageDescriptor *descriptor)
{
	for (size_t i = 0; i < n_oci; i++) {
		if (oci[i] == descriptor)
			return true;
	}
	return false;
}

static void oci_add(const ProtobufCMessageDescriptor *descriptor)
{
	if (oci_known(descriptor) || n_oci == OCI_MAX)
		return;
	oci[n_oci++] = descriptor;
	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		if (descriptor->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
			oci_add(descriptor->fields[i].descriptor);
	}
}

bool json_is_oci(const ProtobufCMessageDescriptor *descriptor)
{
	if (!n_oci)
		oci_add(&grpc__spec__descriptor);
	return oci_known(descriptor);
}

void json_name_oci(const char *name, char out[static JSON_NAME_SIZE])
{
	size_t length = strnlen(name, JSON_NAME_SIZE - 1);
	size_t capitals = 0;

	for (size_t i = 0; i < sizeof(exceptions) / sizeof(exceptions[0]); i++) {
		if (strcmp(name, exceptions[i].name) == 0) {
			name = exceptions[i].spelling;
			length = strlen(name);
		}
	}
	memcpy(out, name, length);
	out[length] = 0;
	while (isupper((unsigned char)name[capitals]))
		capitals++;
	/* "HostID" loses one, "OOMScoreAdj" three of its four, "CPU" all. */
	if (capitals > 1 && capitals < length)
		capitals--;
	for (size_t i = 0; i < capitals && i < length; i++)
		out[i] = (char)tolower((unsigned char)out[i]);
}

const ProtobufCFieldDescriptor *json_name_find(const ProtobufCMessageDescriptor *descriptor, const char *key)
{
	char spelling[JSON_NAME_SIZE];

	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		if (strcmp(descriptor->fields[i].name, key) == 0)
			return &descriptor->fields[i];
	}
	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		json_name_oci(descriptor->fields[i].name, spelling);
		if (strcmp(spelling, key) == 0)
			return &descriptor->fields[i];
	}
	return strcmp(key, "type_") == 0 ? json_name_find(descriptor, "type") : NULL;
}

bool json_is_required(const ProtobufCMessageDescriptor *descriptor, const ProtobufCFieldDescriptor *field)
{
	size_t length = strlen(descriptor->short_name);

	if (field->type == PROTOBUF_C_TYPE_MESSAGE || field_is_repeated(field))
		return false;
	for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
		if (strncmp(required[i], descriptor->short_name, length) == 0 && required[i][length] == '.' &&
		    strcmp(required[i] + length + 1, field->name) == 0)
			return true;
	}
	return false;
}
