/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Runs a command and prints, on descriptor 3, the largest resident set of it and of the children that it waited for, in
 * KiB. A program of its own, and small, because a child's peak begins with what it was forked from.
 */

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct rusage usage;
	int status;
	if (argc < 2)
		return 2;
	pid_t pid = vfork();
	if (pid == 0) {
		execvp(argv[1], argv + 1);
		_exit(127);
	}
	/* RUSAGE_CHILDREN would count what the shell that became us has waited for. */
	if (pid < 0 || wait4(pid, &status, 0, &usage) < 0)
		return 1;
	dprintf(3, "%ld\n", usage.ru_maxrss);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
