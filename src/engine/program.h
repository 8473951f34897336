/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_PROGRAM_H
#define ENGINE_PROGRAM_H

/*
 * The program of a process: its environment, where it is, and its execution.
 *
 * Environment entries go through verbatim. HOME is added from the container's own /etc/passwd where it is not set; the file
 * is read by a bounded parser of ours, never through the C library, which would load modules from the image.
 *
 * A program is looked up in the container's PATH with the container's credentials, before the gate, so that a missing one
 * is an error of create. The texts are what hosts and engines look for: they begin with `the file NAME was not found`,
 * followed by the words of runc, from which docker and containerd derive 127 and 126.
 */

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "proto/oci.pb-c.h"

struct program {
	char *path;  /* what is executed; malloc'ed */
	char **argv; /* NULL-terminated; the array is malloc'ed, its strings are borrowed from the process */
	char **envp; /* likewise, but for an added HOME */
	char *home;  /* "HOME=…", malloc'ed, or NULL */
};

/*
 * [child, in the container's root] argv and environment. Reads /etc/passwd only where HOME is missing. A duplicate key: the
 * last one wins. 0 or -ENOMEM.
 */
int program_init(struct program *program, const Grpc__Process *process, struct error *e);
/* [child, likewise] An empty HOME counts as missing too, as with other runtimes (Kata's agent leaves it). 0 or -ENOMEM. */
int program_fill_home(struct program *program, const Grpc__Process *process, struct error *e);
void program_deinit(struct program *program);

/*
 * [child, in its root, cwd and credentials] Fills path. 0; -ENOENT (NOT_FOUND), -EACCES (PERMISSION_DENIED) or -EISDIR … with the
 * text described above. A name with "/" is used as it stands, relative to the cwd.
 */
int program_find(struct program *program, struct error *e);

/* [child] execve(2). Returns only on failure: -errno with a text naming the path and, for ENOENT of a file that exists, the
 * missing interpreter or loader, for ENOEXEC what is missing. */
int program_exec(const struct program *program, struct error *e);

/*
 * The home directory of @uid from the text of a passwd file (need not end in a newline or NUL): copied to @home. First matching
 * line counts; a line with a bad number, too few fields or an empty home is passed over. 0, -ENOENT or -ENAMETOOLONG.
 */
int passwd_home(const char *text, size_t length, uid_t uid, char *home, size_t size);

/* Value of @key in a NULL-terminated environment, or NULL. The last one wins. */
const char *environment_get(char *const *envp, const char *key);

#endif
