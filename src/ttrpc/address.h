/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TTRPC_ADDRESS_H
#define TTRPC_ADDRESS_H

/* Addresses as Kata writes them (reference 01, 2.3): unix:///path, unix://@name, vsock://CID:PORT,
 * hvsock:///path:PORT.
 */

#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"

struct ttrpc_address {
	struct sockaddr_storage storage;
	socklen_t length;
	char path[108];	      /* the file of a unix:///path address, else "" */
	uint32_t hybrid_port; /* not 0: hybrid vsock, CONNECT to this port first */
};

/* 0 or -EINVAL with @e set (`Scheme of "foo" is not supported`, …). */
int ttrpc_address_parse(const char *text, struct ttrpc_address *out, struct error *e);

#endif
