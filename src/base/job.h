/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_JOB_H
#define BASE_JOB_H

/*
 * Work that may block, done in a forked child in straight code: a mount on a hung file system, umount, sync, a hook,
 * a program whose output is wanted, a cgroup's death. The loop goes on meanwhile.
 *
 * The child shares nothing with the parent but what the kernel holds (mounts, files, cgroups). It closes all
 * descriptors but its result pipe and those that it was told to keep, runs the function, and sends back its return
 * value, its error and up to `max_result` bytes. It may allocate and format as it likes, because the parent has one
 * thread. A job past its deadline is killed; one that hangs in the kernel unkillably is abandoned: its owner is
 * called, and the reaper collects it whenever it ends.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/loop.h"

struct job;

/* Runs in the child. Writes its answer to @result. Returns 0 or a negative errno with @e set. */
typedef int (*job_fn)(struct buf *result, void *argument, struct error *e);
/*
 * Called in the parent, once, unless the job was cancelled. @r is what the function returned; -ETIMEDOUT after the
 * deadline and -EIO after a crash, with @e filled in either case. @result is the job's and ends with the call; so does
 * the job.
 */
typedef void (*job_done_fn)(struct job *job, int r, struct buf *result, struct error *e, void *data);

struct job_options {
	const char *name;     /* for the log and for errors; static or outliving the job */
	uint64_t deadline_ms; /* 0: none */
	size_t max_result;    /* bytes; 0: 64 KiB. More is -EMSGSIZE */
	const int *keep_fds;  /* descriptors that the child needs besides 0, 1, 2 */
	size_t n_keep_fds;
	bool new_group; /* child leads a process group, which is what gets killed */
};

/* Forks. @argument must stay valid only until this returns. NULL with @e set when it cannot. */
struct job *job_start(struct loop *loop, const struct job_options *options, job_fn fn, void *argument,
		      job_done_fn done, void *data, struct error *e);
/* Kills the child and forgets the job; its owner is not called. Takes NULL. */
void job_cancel(struct job *job);
pid_t job_pid(const struct job *job);
/* Children that exist: also those of jobs that are over or were cancelled, until the reaper has them. */
unsigned job_count(const struct loop *loop);
/* @fn (NULL: nobody) is called from the loop whenever that has become less. */
void job_on_fewer(void (*fn)(void *data), void *data);

/*
 * For use inside a job (blocking): runs @argv with @envp (NULL: empty), @input on stdin (NULL: /dev/null), collects up
 * to @max bytes of stdout and of stderr each (the rest is read and dropped). *@status is the raw wait status.
 * 0 or -errno with @e set (the program could not be started). The program dies with the job.
 */
int job_run_program(const char *const *argv, const char *const *envp, const void *input, size_t input_length,
		    struct buf *out, struct buf *err, size_t max, int *status, struct error *e);

#endif
