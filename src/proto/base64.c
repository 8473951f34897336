/* SPDX-License-Identifier: Apache-2.0 */
/* Straight: four characters are three bytes, and what is left over is two characters or three. */
#include "proto/base64.h"

#include <errno.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int base64_encode(const void *data, size_t length, struct buf *out)
{
	const uint8_t *in = data;

	for (size_t i = 0; i < length; i += 3) {
		size_t left = length - i;
		uint32_t group = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
				 (left > 2 ? in[i + 2] : 0);
		char text[4] = {
			alphabet[group >> 18],
			alphabet[group >> 12 & 63],
			left > 1 ? alphabet[group >> 6 & 63] : '=',
			left > 2 ? alphabet[group & 63] : '=',
		};

		if (buf_append(out, text, sizeof(text)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return -1;
}

ssize_t base64_decode(const char *text, size_t length, uint8_t *out)
{
	uint32_t group = 0;
	size_t written = 0;
	size_t digits;

	if (length && length % 4 == 0 && text[length - 1] == '=') {
		length--;
		if (text[length - 1] == '=')
			length--;
	}
	for (digits = 0; digits < length; digits++) {
		int value = digit(text[digits]);

		if (value < 0)
			return -EINVAL;
		group = group << 6 | (uint32_t)value;
		if (digits % 4 == 3) {
			out[written++] = (uint8_t)(group >> 16);
			out[written++] = (uint8_t)(group >> 8);
			out[written++] = (uint8_t)group;
		}
	}
	switch (digits % 4) {
	case 1:
		return -EINVAL;
	case 2:
		out[written++] = (uint8_t)(group >> 4);
		break;
	case 3:
		out[written++] = (uint8_t)(group >> 10);
		out[written++] = (uint8_t)(group >> 2);
		break;
	default:
		break;
	}
	return (ssize_t)written;
}
