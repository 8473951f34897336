/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_IP_H
#define GUEST_IP_H

/* An IPv4 or IPv6 address, in the form in which it travels, and its texts. */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ip {
	uint8_t family; /* AF_INET, AF_INET6; 0: none */
	uint8_t bytes[16];
};

enum { IP_TEXT_MAX = INET6_ADDRSTRLEN + 4 }; /* with "/128" and the NUL byte */

static inline uint8_t ip_length(uint8_t family)
{
	return family == AF_INET6 ? 16 : 4;
}
static inline uint8_t ip_bits(uint8_t family)
{
	return (uint8_t)(ip_length(family) * 8);
}

/* 0 or -EINVAL. The family is told by the text. */
int ip_parse(const char *text, struct ip *out);
/* "ADDRESS", "ADDRESS/LENGTH", for IPv4 also "ADDRESS/255.255.0.0". No length: that of the family. 0 or -EINVAL. */
int ip_parse_prefix(const char *text, struct ip *out, uint8_t *prefix);
/* From @length bytes of a message; false when that is not the family's. */
bool ip_from_bytes(uint8_t family, const uint8_t *bytes, size_t length, struct ip *out);

bool ip_equal(const struct ip *a, const struct ip *b);
bool ip_is_unspecified(const struct ip *ip);
/* Clears the bits behind the first @prefix. */
void ip_mask(struct ip *ip, uint8_t prefix);
/* Sets the bits of an IPv4 address behind the first @prefix: the broadcast address. */
void ip_fill(struct ip *ip, uint8_t prefix);

/* "" for none. */
void ip_format(const struct ip *ip, char out[IP_TEXT_MAX]);
void ip_format_prefix(const struct ip *ip, uint8_t prefix, char out[IP_TEXT_MAX]);

/* False where the kernel has no IPv6, or has it switched off on the link called @link (sysctl disable_ipv6). */
bool ipv6_usable(const char *link);

#endif
