/* SPDX-License-Identifier: Apache-2.0 */
/* The passwd file of an image: never read beyond its end, a home that is found fits and has no NUL or colon in it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/program.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char home[64];
	uid_t uid = 0;

	if (size < 2)
		return 0;
	uid = (uid_t)(data[0] | data[1] << 8);
	/* A copy of its exact size, so that a read past the end is seen. */
	char *text = malloc(size - 2 ? size - 2 : 1);
	if (!text)
		return 0;
	memcpy(text, data + 2, size - 2);
	if (passwd_home(text, size - 2, uid, home, sizeof(home)) == 0) {
		size_t length = strnlen(home, sizeof(home));
		if (length == 0 || length == sizeof(home) || strchr(home, ':') || strchr(home, '\n'))
			abort();
	}
	free(text);
	return 0;
}
