/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses: what is accepted has a family, a length within its storage, and a path that ends. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ttrpc/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ttrpc_address address;
	struct error e = ERROR_INIT;
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	if (ttrpc_address_parse(text, &address, &e) < 0) {
		if (e.code != STATUS_INVALID_ARGUMENT || e.text[0] == '\0')
			abort();
	} else if (address.storage.ss_family == 0 || address.length > sizeof(address.storage) ||
		   !memchr(address.path, 0, sizeof(address.path))) {
		abort();
	}
	free(text);
	return 0;
}
