/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_TERMINAL_H
#define CTL_TERMINAL_H

/* The user's terminal: raw while a container's terminal is on it, and as it was on every way out. */

#include <stdbool.h>
#include <stdint.h>

/* Makes @fd raw, if it is a terminal; undone at exit(3) at the latest. 0 or -errno. */
int terminal_raw(int fd);
/* Does nothing where nothing was changed. */
void terminal_restore(void);
/* False where @fd is no terminal or does not know. */
bool terminal_size(int fd, uint32_t *rows, uint32_t *columns);

#endif
