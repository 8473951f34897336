/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Makes orphans, for plays in a virtual machine: processes whose parent does not wait for them and ends, so that they
 * fall to whoever collects orphans there.
 *
 * Usage: orphans COUNT
 */

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BATCH = 100 };

int main(int argc, char **argv)
{
	long left = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
	for (; left > 0; left -= BATCH) {
		pid_t parent = fork();
		if (parent == 0) {
			for (long i = 0; i < BATCH && i < left; i++) {
				pid_t child = fork();
				if (child == 0)
					_exit((int)(i % 256));
				if (child < 0)
					_exit(1);
			}
			_exit(0);
		}
		int status;
		if (parent < 0 || waitpid(parent, &status, 0) != parent || status != 0) {
			fprintf(stderr, "orphans: failed with %ld to go\n", left);
			return 1;
		}
	}
	return 0;
}
