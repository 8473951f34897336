/* SPDX-License-Identifier: Apache-2.0 */
/* path_clean(): what comes out is absolute, has no empty, "." or ".." part, and is its own clean form. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"

static void check(const char *clean)
{
	size_t length = strlen(clean);

	if (clean[0] != '/' || (length > 1 && clean[length - 1] == '/') || strstr(clean, "//"))
		abort();
	for (const char *p = clean; *p; p += strcspn(p, "/")) {
		p += strspn(p, "/");
		size_t n = strcspn(p, "/");

		if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	char *clean = path_clean(text);
	if (clean) {
		check(clean);
		char *again = path_clean(clean);
		if (again && strcmp(clean, again) != 0)
			abort();
		free(again);
	}
	free(clean);
	free(text);
	return 0;
}
