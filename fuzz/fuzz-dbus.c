/* SPDX-License-Identifier: Apache-2.0 */
/* What a D-Bus peer may send: a message as a whole, and values of arbitrary signatures. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/dbus.h"
#include "base/str.h"

static void check_text(const char *text)
{
	if (!text || !utf8_valid(text, strlen(text)))
		abort();
}

static void check_message(const uint8_t *data, size_t size)
{
	struct dbus_message m;
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		return;
	memcpy(copy, data, size);
	if (dbus_message_parse(copy, size, &m) == 0) {
		struct dbus_reader reader = dbus_reader_of(&m);

		check_text(m.path);
		check_text(m.member);
		check_text(m.error_name);
		check_text(dbus_get_string(&reader));
		if (m.body + m.body_length != size)
			abort();
	}
	dbus_message_deinit(&m);
}

/* The first bytes up to a NUL are a signature, the rest its values. */
static void check_values(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, '\0', size);
	struct dbus_reader reader;
	const char *signature = (const char *)data;
	uint8_t *copy;
	size_t length;

	if (!end)
		return;
	length = size - (size_t)(end + 1 - data);
	copy = malloc(length ? length : 1);
	if (!copy)
		return;
	memcpy(copy, end + 1, length);
	reader = (struct dbus_reader){.data = copy, .length = length, .big_endian = size & 1};
	while (*signature && !reader.failed)
		dbus_skip(&reader, &signature, 0);
	if (!reader.failed && reader.at > length)
		abort();
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_message(data, size);
	check_values(data, size);
	return 0;
}
