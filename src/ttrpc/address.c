/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar of reference 01, 2.3 and 2.5. One function a scheme; each takes what stands behind "SCHEME://".
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>
#include <linux/vm_sockets.h>

#include "base/str.h"
#include "ttrpc/address.h"

static int invalid(const char *text, const char *why, struct error *e)
{
	return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "address \"%s\": %s", text, why);
}

static int set_path(const char *text, const char *path, size_t length, struct ttrpc_address *out,
		    struct error *e)
{
	struct sockaddr_un *sun = (struct sockaddr_un *)&out->storage;

	if (length == 0)
		return invalid(text, "no path", e);
	if (length >= sizeof(sun->sun_path))
		return invalid(text, "the path is too long", e);
	sun->sun_family = AF_UNIX;
	memcpy(sun->sun_path, path, length);
	sun->sun_path[length] = '\0';
	out->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
	return 0;
}

/* Abstract: the length counts the name alone, without padding. */
static int parse_abstract(const char *text, const char *name, struct ttrpc_address *out, struct error *e)
{
	struct sockaddr_un *sun = (struct sockaddr_un *)&out->storage;
	size_t length = strlen(name);

	if (length == 0)
		return invalid(text, "no name", e);
	if (length >= sizeof(sun->sun_path))
		return invalid(text, "the name is too long", e);
	sun->sun_family = AF_UNIX;
	memcpy(sun->sun_path + 1, name, length);
	out->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
	return 0;
}

static int parse_unix(const char *text, const char *rest, struct ttrpc_address *out, struct error *e)
{
	size_t length = strlen(rest);
	int r;

	if (rest[0] == '@')
		return parse_abstract(text, rest + 1, out, e);
	r = set_path(text, rest, length, out, e);
	if (r == 0)
		memcpy(out->path, rest, length + 1);
	return r;
}

static int parse_hvsock(const char *text, const char *rest, struct ttrpc_address *out, struct error *e)
{
	const char *colon = strrchr(rest, ':');

	if (!colon)
		return invalid(text, "no port", e);
	if (str_to_u32(colon + 1, 10, &out->hybrid_port) < 0 || out->hybrid_port == 0)
		return invalid(text, "the port is not a number above 0", e);
	return set_path(text, rest, (size_t)(colon - rest), out, e);
}

/* A decimal number with blanks around it, or -1 for any. */
static bool parse_cid(const char *text, size_t length, unsigned *out)
{
	char digits[16];

	while (length > 0 && (*text == ' ' || *text == '\t')) {
		text++;
		length--;
	}
	while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
		length--;
	if (length == 0 || length >= sizeof(digits))
		return false;
	memcpy(digits, text, length);
	digits[length] = '\0';
	if (str_equal(digits, "-1")) {
		*out = VMADDR_CID_ANY;
		return true;
	}
	return str_to_u32(digits, 10, out) == 0;
}

static int parse_vsock(const char *text, const char *rest, struct ttrpc_address *out, struct error *e)
{
	struct sockaddr_vm *svm = (struct sockaddr_vm *)&out->storage;
	const char *colon = strchr(rest, ':');

	if (!colon)
		return invalid(text, "no port", e);
	if (!parse_cid(rest, (size_t)(colon - rest), &svm->svm_cid))
		return invalid(text, "the CID is not a number", e);
	if (str_to_u32(colon + 1, 10, &svm->svm_port) < 0)
		return invalid(text, "the port is not a number", e);
	svm->svm_family = AF_VSOCK;
	out->length = sizeof(*svm);
	return 0;
}

static const struct {
	const char *prefix;
	int (*parse)(const char *text, const char *rest, struct ttrpc_address *out, struct error *e);
} schemes[] = {
	{"unix://", parse_unix},
	{"vsock://", parse_vsock},
	{"hvsock://", parse_hvsock},
};

int ttrpc_address_parse(const char *text, struct ttrpc_address *out, struct error *e)
{
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (str_starts_with(text, schemes[i].prefix))
			return schemes[i].parse(text, text + strlen(schemes[i].prefix), out, e);
	return error_set(e, STATUS_INVALID_ARGUMENT, EINVAL, "Scheme of \"%s\" is not supported", text);
}
