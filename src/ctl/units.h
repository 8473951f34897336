/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_UNITS_H
#define CTL_UNITS_H

/* Amounts as people write them. All return 0 or -EINVAL, for what does not fit also. */

#include <stddef.h>
#include <stdint.h>

/* `99ns`, `30us`, `2ms`, `5s`, `1.5s`, `7m`, `1h`; a bare `0`. Nanoseconds. */
int duration_parse(const char *text, int64_t *ns);
/* `4096`, `64k`, `512m`, `2g`, `1t`, also with a `b` or `ib` behind; powers of 1024. `-1` is without limit. Bytes. */
int size_parse(const char *text, int64_t *bytes);
/* CPUs as a decimal fraction (`1.5`), in thousandths; more than 0. */
int cpus_parse(const char *text, int64_t *thousandths);
/* A number, or a name with or without SIG, in any case: `9`, `usr1`, `SIGTERM`, `RTMIN+1`. 1 to 64. */
int signal_parse(const char *text, uint32_t *number);
/* `UID` or `UID:GID`; without a GID it is 0. */
int user_parse(const char *text, uint32_t *uid, uint32_t *gid);
/* @size - 1 random characters out of a-f and 0-9, NUL-terminated. */
void random_id(char *out, size_t size);

#endif
