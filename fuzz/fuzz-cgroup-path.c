/* SPDX-License-Identifier: Apache-2.0 */
/* Cgroup paths of a hostile host: what is accepted names something below the root, and never the root. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cgroup/cpuset.h"
#include "cgroup/internal.h"

static void check_path(const char *path)
{
	if (!*path || *path == '/' || path[strlen(path) - 1] == '/' || strlen(path) > 4300 ||
	    !utf8_valid(path, strlen(path)))
		abort();
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 0 || n > 255 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			abort();
		p += n + (p[n] != '\0');
	}
}

static void check_translation(const char *text)
{
	struct error e = ERROR_INIT;
	char *path = cgroup_path_translate(text, "id", &e);

	if (path)
		check_path(path);
	else if (e.code != STATUS_INVALID_ARGUMENT)
		abort();
	free(path);
}

static void check_systemd(const char *text)
{
	char *slice = NULL, *unit = NULL, *path = NULL;
	struct error e = ERROR_INIT;

	if (systemd_parse(text, "id", &slice, &unit, &path, &e) == 0) {
		check_path(path);
		if (!str_ends_with(unit, ".scope") || !str_ends_with(slice, ".slice"))
			abort();
	} else if (cgroup_path_is_systemd(text)) {
		/* What the choice takes for systemd's form, the driver can serve. */
		abort();
	}
	free(slice);
	free(unit);
	free(path);
}

static void check_list(const char *text)
{
	struct cpu_list list, again;
	char *out;

	if (!cpu_list_parse(text, &list))
		return;
	out = cpu_list_text(&list);
	if (!out || !cpu_list_parse(out, &again) || memcmp(&list, &again, sizeof(list)) != 0)
		abort();
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	check_translation(text);
	check_systemd(text);
	check_list(text);
	cgroup_choose(false, text, true, CGROUP_PIN_AUTO, NULL);
	free(text);
	return 0;
}
