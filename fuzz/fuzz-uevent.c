/* SPDX-License-Identifier: Apache-2.0 */
/* Messages on the kernel's uevent socket: whatever is accepted must be safe to build paths from. */

#include <stdlib.h>
#include <string.h>

#include "guest/uevent.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static int leads_up(const char *path)
{
	return strcmp(path, "..") == 0 || strncmp(path, "../", 3) == 0 || strstr(path, "/../") ||
	       (strlen(path) >= 3 && strcmp(path + strlen(path) - 3, "/..") == 0);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct uevent event;
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (uevent_parse(text, size, &event) == 0 &&
	    (!*event.action || event.devpath[0] != '/' || leads_up(event.devpath) ||
	     leads_up(event.devname) || event.devname[0] == '/' || strchr(event.interface, '/')))
		abort();
	free(text);
	return 0;
}
