/* SPDX-License-Identifier: Apache-2.0 */
/* Device paths are read one element at a time; numbers in them have fixed widths, which sscanf would not insist on. */

#include "guest/network_path.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

enum { SLOT_MAX = 0x1f, FUNCTION_MAX = 7, ROOT_MIN = 0x20 };

/* One element of a path. */
struct part {
	const char *text;
	size_t length;
};

static bool next_part(const char **rest, struct part *out)
{
	if (!*rest)
		return false;
	const char *slash = strchr(*rest, '/');
	*out = (struct part){.text = *rest, .length = slash ? (size_t)(slash - *rest) : strlen(*rest)};
	*rest = slash ? slash + 1 : NULL;
	return true;
}

/* The number that the @length bytes at @text are, in hexadecimal. */
static bool hex_number(const char *text, size_t length, uint32_t max, uint32_t *out)
{
	char digits[9];

	if (length == 0 || length >= sizeof(digits))
		return false;
	memcpy(digits, text, length);
	digits[length] = '\0';
	return str_to_u32(digits, 16, out) == 0 && *out <= max;
}

static bool parse_step(const struct part *part, uint32_t *slot, uint32_t *function)
{
	const char *dot = memchr(part->text, '.', part->length);
	size_t slot_length = dot ? (size_t)(dot - part->text) : part->length;

	*function = 0;
	if (slot_length > 2 || !hex_number(part->text, slot_length, 0xff, slot))
		return false;
	return !dot || hex_number(dot + 1, part->length - slot_length - 1, FUNCTION_MAX, function);
}

static int parse_pci(const char *text, struct network_path *out)
{
	struct part part;
	size_t elements = 1;

	for (const char *c = text; *c; c++)
		elements += *c == '/';
	for (size_t i = 0; next_part(&text, &part); i++) {
		uint32_t slot, function;
		if (out->depth == NETWORK_PATH_DEPTH || !parse_step(&part, &slot, &function))
			return -EINVAL;
		if (i == 0 && elements >= 3 && slot >= ROOT_MIN && part.length == 2) {
			out->root = (uint8_t)slot;
			continue;
		}
		if (slot > SLOT_MAX)
			return -EINVAL;
		out->walk[out->depth].slot = (uint8_t)slot;
		out->walk[out->depth++].function = (uint8_t)function;
	}
	return out->depth > 0 ? 0 : -EINVAL;
}

/* "0.2.0a1f"; of the last field leading zeros may be left out. */
static bool parse_ccw(const char *text, size_t length, struct network_path *out)
{
	uint32_t number;

	if (length < 5 || length > 8 || strncmp(text, "0.", 2) != 0 || text[2] < '0' || text[2] > '3' ||
	    text[3] != '.' || !hex_number(text + 4, length - 4, UINT16_MAX, &number))
		return false;
	*out = (struct network_path){
		.ccw = true, .root = (uint8_t)(text[2] - '0'), .number = (uint16_t)number};
	return true;
}

int network_path_parse(const char *text, struct network_path *out)
{
	struct network_path path = {.root = 0};

	if (!parse_ccw(text, strlen(text), &path) && parse_pci(text, &path) < 0)
		return -EINVAL;
	*out = path;
	return 0;
}

/* "0000:02:03.0", whatever the bus. */
static bool step_matches(const struct network_path *path, size_t step, const struct part *part)
{
	uint32_t domain, bus, slot, function;
	const char *t = part->text;

	return part->length == 12 && t[4] == ':' && t[7] == ':' && t[10] == '.' &&
	       hex_number(t, 4, 0xffff, &domain) && domain == 0 && hex_number(t + 5, 2, 0xff, &bus) &&
	       hex_number(t + 8, 2, SLOT_MAX, &slot) && hex_number(t + 11, 1, FUNCTION_MAX, &function) &&
	       slot == path->walk[step].slot && function == path->walk[step].function;
}

static bool is_root(const struct network_path *path, const struct part *part)
{
	uint32_t bus;

	return part->length == 10 && strncmp(part->text, "pci0000:", 8) == 0 &&
	       hex_number(part->text + 8, 2, 0xff, &bus) && bus == path->root;
}

/* The rest is "net/NAME", or "virtioN/net/NAME" and the like: no further PCI device lies between. */
static bool ends_in_net(const char *rest)
{
	struct part part, previous = {.text = "", .length = 0};

	while (next_part(&rest, &part)) {
		if (previous.length == 3 && strncmp(previous.text, "net", 3) == 0)
			return part.length > 0 && !rest;
		if (part.length == 12 && part.text[4] == ':' && part.text[7] == ':')
			return false;
		previous = part;
	}
	return false;
}

static bool pci_matches(const struct network_path *path, const char *devpath)
{
	struct part part;

	do {
		if (!next_part(&devpath, &part))
			return false;
	} while (!is_root(path, &part));
	for (size_t i = 0; i < path->depth; i++)
		if (!next_part(&devpath, &part) || !step_matches(path, i, &part))
			return false;
	return ends_in_net(devpath);
}

static bool ccw_matches(const struct network_path *path, const char *devpath)
{
	struct network_path other;
	struct part part;

	if (!str_starts_with(devpath, "/devices/css0/"))
		return false;
	devpath += strlen("/devices/css0/");
	/* The subchannel, then the device. */
	if (!next_part(&devpath, &part) || !next_part(&devpath, &part) ||
	    !parse_ccw(part.text, part.length, &other))
		return false;
	return other.root == path->root && other.number == path->number && ends_in_net(devpath);
}

bool network_path_matches(const struct network_path *path, const char *devpath)
{
	return path->ccw ? ccw_matches(path, devpath) : pci_matches(path, devpath);
}
