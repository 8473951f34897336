/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_STORAGE_RECORD_H
#define GUEST_STORAGE_RECORD_H

/*
 * What is mounted for the sandbox, as bytes that outlive the program, so that a later one takes off what this one has
 * mounted and nothing else: an image may have mounted something right beside it.
 *
 * For each storage, in the order of mounting: how many mounts were at its place before, a space, the place, a NUL.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "guest/storage.h"

/* All that is mounted or about to be. Failures are in @out->failed. */
void storages_describe(const struct storages *storages, struct buf *out);

/* Takes the last storage off the first *@length bytes of @record, which are written into. What is not of the form is passed
 * over. False: there is none. */
bool storage_record_take(char *record, size_t *length, const char **path, unsigned *below);

/* Newest first: detaches what is mounted at each place above what was there before, with all that is mounted in it, and
 * removes the empty directory. Never waits for a file system. Writes into @record. Number of mounts. */
unsigned storage_record_undo(char *record, size_t length);

#endif
