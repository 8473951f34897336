/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_TEST_CHILD_H
#define ENGINE_TEST_CHILD_H

/* For tests of what a process can do to itself only once: in a forked child, whose answer comes back. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/loop.h"
#include "proto/json.h"
#include "proto/oci.pb-c.h"

static inline void free_arena(struct arena **arena)
{
	arena_free(*arena);
}
/* A child's memory is looked at when it ends, too. */
#define _cleanup_arena_ __attribute__((cleanup(free_arena)))

/* Runs @fn in a child. Its return value, 0 … 125, or 126 when it was killed (*@signal is filled where not NULL). */
static inline int in_child(int (*fn)(void *), void *argument, int *signal)
{
	int status;

	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0)
		abort();
	if (pid == 0) {
		/* The test framework catches signals; a child of it must die of them. */
		loop_child_reset();
		_exit(fn(argument));
	}
	if (waitpid(pid, &status, 0) != pid)
		abort();
	if (signal)
		*signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}

/* Reports where a child's expectation failed, as its exit status. */
#define child_expect(condition)                                                                              \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                      \
			return 99;                                                                           \
		}                                                                                            \
	} while (0)

/* A message from JSON in which ' stands for ". Ends the test when it is none. */
static inline void *from_json(const ProtobufCMessageDescriptor *descriptor, const char *text,
			      struct arena *arena)
{
	struct error e = ERROR_INIT;
	char *copy = arena_strdup(arena, text);

	for (char *p = copy; *p; p++) {
		if (*p == '\'')
			*p = '"';
	}
	void *message = json_decode(descriptor, copy, strlen(copy), true, arena, &e);
	if (!message) {
		fprintf(stderr, "%s: %s\n", text, e.text);
		abort();
	}
	return message;
}

#endif
