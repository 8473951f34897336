/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of addresses are read by inet_pton(3), which takes no abbreviations, no zones and no blanks. */

#include "guest/ip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

int ip_parse(const char *text, struct ip *out)
{
	struct ip ip = {.family = strchr(str_or_empty(text), ':') ? AF_INET6 : AF_INET};

	if (inet_pton(ip.family, str_or_empty(text), ip.bytes) != 1)
		return -EINVAL;
	*out = ip;
	return 0;
}

/* The length that a netmask stands for; -EINVAL where its ones are not all in front. */
static int mask_length(const char *text, uint8_t *prefix)
{
	struct ip mask;

	if (ip_parse(text, &mask) < 0 || mask.family != AF_INET)
		return -EINVAL;
	uint32_t bits = (uint32_t)mask.bytes[0] << 24 | (uint32_t)mask.bytes[1] << 16 |
			(uint32_t)mask.bytes[2] << 8 | mask.bytes[3];
	uint8_t ones = (uint8_t)__builtin_popcount(bits);
	if (bits != (ones == 0 ? 0 : UINT32_MAX << (32 - ones)))
		return -EINVAL;
	*prefix = ones;
	return 0;
}

int ip_parse_prefix(const char *text, struct ip *out, uint8_t *prefix)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text);
	struct ip ip;
	uint32_t bits;

	if (length >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, length);
	address[length] = '\0';
	if (ip_parse(address, &ip) < 0)
		return -EINVAL;
	uint8_t value = ip_bits(ip.family);
	if (slash && ip.family == AF_INET && strchr(slash, '.')) {
		if (mask_length(slash + 1, &value) < 0)
			return -EINVAL;
	} else if (slash) {
		if (str_to_u32(slash + 1, 10, &bits) < 0 || bits > value)
			return -EINVAL;
		value = (uint8_t)bits;
	}
	*out = ip;
	*prefix = value;
	return 0;
}

bool ip_from_bytes(uint8_t family, const uint8_t *bytes, size_t length, struct ip *out)
{
	if ((family != AF_INET && family != AF_INET6) || !bytes || length != ip_length(family))
		return false;
	*out = (struct ip){.family = family};
	memcpy(out->bytes, bytes, length);
	return true;
}

bool ip_equal(const struct ip *a, const struct ip *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, ip_length(a->family)) == 0;
}

bool ip_is_unspecified(const struct ip *ip)
{
	static const uint8_t zero[16];

	return memcmp(ip->bytes, zero, ip_length(ip->family)) == 0;
}

void ip_mask(struct ip *ip, uint8_t prefix)
{
	for (uint8_t i = 0; i < ip_length(ip->family); i++) {
		int keep = prefix - i * 8;
		if (keep < 8)
			ip->bytes[i] &= keep <= 0 ? 0 : (uint8_t)(0xff << (8 - keep));
	}
}

void ip_fill(struct ip *ip, uint8_t prefix)
{
	for (uint8_t i = 0; i < ip_length(ip->family); i++) {
		int keep = prefix - i * 8;
		if (keep < 8)
			ip->bytes[i] |= keep <= 0 ? 0xff : (uint8_t)(0xff >> keep);
	}
}

void ip_format(const struct ip *ip, char out[IP_TEXT_MAX])
{
	out[0] = '\0';
	if (ip->family && !inet_ntop(ip->family, ip->bytes, out, IP_TEXT_MAX))
		out[0] = '\0';
}

void ip_format_prefix(const struct ip *ip, uint8_t prefix, char out[IP_TEXT_MAX])
{
	ip_format(ip, out);
	size_t length = strlen(out);
	int n = snprintf(out + length, IP_TEXT_MAX - length, "/%u", prefix);
	if (n < 0 || (size_t)n >= IP_TEXT_MAX - length)
		out[length] = '\0';
}

bool ipv6_usable(const char *link)
{
	char path[128];
	_cleanup_free_ char *text = NULL;
	int n = snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", link);

	if (n < 0 || (size_t)n >= sizeof(path))
		return false;
	if (file_read(AT_FDCWD, path, 16, &text) >= 0)
		return text[0] == '0';
	/* Without procfs the kernel will say. */
	return access("/proc/sys/net", F_OK) < 0;
}
