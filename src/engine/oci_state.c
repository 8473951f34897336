/* SPDX-License-Identifier: Apache-2.0 */
/* The `state` object of the runtime-spec, written by hand: six members, for hooks, seccomp agents and `kata-oci state`. */
#include "engine/oci_state.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"

int json_append_quoted(struct buf *out, const char *text)
{
	size_t length = strlen(text), room;
	_cleanup_free_ char *clean = NULL;

	if (!utf8_valid(text, length)) {
		/* One bad byte becomes three of U+FFFD. */
		room = 3 * length + 1;
		clean = malloc(room);
		if (!clean)
			return -ENOMEM;
		length = utf8_sanitize(text, length, clean, room);
		text = clean;
	}
	buf_append_char(out, '"');
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == '"' || c == '\\')
			buf_append_char(out, '\\');
		if (c < 0x20 || c == 0x7f)
			buf_printf(out, "\\u%04x", c);
		else
			buf_append_char(out, (char)c);
	}
	return buf_append_char(out, '"');
}

static void append_member(struct buf *out, const char *name, const char *value)
{
	if (!value)
		return;
	buf_printf(out, ",\"%s\":", name);
	json_append_quoted(out, value);
}

int oci_state_json(const struct oci_state *state, struct buf *out)
{
	buf_append_string(out, "{\"ociVersion\":");
	json_append_quoted(out, str_is_empty(state->version) ? OCI_RUNTIME_SPEC_VERSION : state->version);
	append_member(out, "id", state->id);
	append_member(out, "status", state->status);
	if (state->pid > 0)
		buf_printf(out, ",\"pid\":%d", (int)state->pid);
	append_member(out, "bundle", state->bundle);
	for (size_t i = 0; i < state->n_annotations; i++) {
		buf_append_string(out, i == 0 ? ",\"annotations\":{" : ",");
		json_append_quoted(out, str_or_empty(state->annotations[i]->key));
		buf_append_char(out, ':');
		json_append_quoted(out, str_or_empty(state->annotations[i]->value));
	}
	if (state->n_annotations)
		buf_append_char(out, '}');
	buf_append_char(out, '}');
	return out->failed ? -ENOMEM : 0;
}
