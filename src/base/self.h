/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_SELF_H
#define BASE_SELF_H

/*
 * The program's own file, kept from the containers that it makes.
 *
 * Until its execve(2) a container's process runs our file, and /proc/PID/exe is a door to it that no mount namespace closes:
 * a container that has us executed from inside can open our file there and write to it as soon as nobody runs it
 * (CVE-2019-5736). So the program runs from a place where it cannot be written to: a private, read-only mount of the
 * same file; where mounting is not allowed, a sealed copy in memory.
 */

#include "base/error.h"

/*
 * Executes the program again from such a place, with the same arguments and environment, keeping the pid; returns 0 at once
 * where it runs from one already (also from a file system that is mounted read-only). Call it first thing in main(). When it
 * cannot be done: -errno with @e set; the caller may go on unprotected and say so.
 */
int self_protect(char *const *argv, char *const *envp, struct error *e);

#endif
