/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One terminal is enough. What is restored is remembered here and not in a session, because exit(3) may come from
 * anywhere. Signals that would end the program are taken through the loop while the terminal is raw.
 */
#include "ctl/terminal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved;
static int saved_fd = -1;

int terminal_raw(int fd)
{
	static bool registered;
	struct termios raw;

	if (saved_fd >= 0 || !isatty(fd))
		return 0;
	if (tcgetattr(fd, &saved) < 0)
		return -errno;
	if (!registered && atexit(terminal_restore) != 0)
		return -ENOMEM;
	registered = true;
	raw = saved;
	cfmakeraw(&raw);
	if (tcsetattr(fd, TCSANOW, &raw) < 0)
		return -errno;
	saved_fd = fd;
	return 0;
}

void terminal_restore(void)
{
	/* Output that the container wrote last is to be shown with its own settings. */
	if (saved_fd >= 0)
		tcsetattr(saved_fd, TCSADRAIN, &saved);
	saved_fd = -1;
}

bool terminal_size(int fd, uint32_t *rows, uint32_t *columns)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) < 0 || !size.ws_row || !size.ws_col)
		return false;
	*rows = size.ws_row;
	*columns = size.ws_col;
	return true;
}
