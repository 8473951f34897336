/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

/*
 * The one epoll loop that everything hangs on: descriptors, timers, signals, children, deferred calls.
 *
 * Sources are embedded in the objects that they belong to and cost no allocation of their own. Each may be added,
 * changed and removed at any time, also from within its own callback or that of another source of the same round:
 * after loop_*_remove() returns, its callback is not called again. Removing what is not added does nothing, so a
 * zeroed source is a valid, idle one.
 *
 * Time is CLOCK_BOOTTIME-free monotonic milliseconds: no timer runs on the wall clock. Without timers the loop sleeps
 * for ever; it has no tick.
 *
 * Children are reaped here and only here: SIGCHLD is taken through a signalfd, waitpid(-1) collects every child
 * (orphans too: the loop's process is PID 1 or a child subreaper), and the status goes to whoever registered the
 * pid. Since the process has one thread, a child registered right after its creation cannot be missed.
 */

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/types.h>

#include "base/list.h"

struct loop;

/* A descriptor. It is borrowed: the owner removes the source before closing it. */
struct loop_fd {
	struct loop *loop; /* NULL while not added */
	int fd;
	uint32_t events; /* EPOLLIN, EPOLLOUT, …; level-triggered */
	void (*fn)(struct loop_fd *source, uint32_t events);
};

struct loop_timer {
	struct loop *loop; /* NULL while not armed */
	uint64_t due;	   /* milliseconds on loop_now()'s clock */
	size_t index;	   /* place in the loop's heap */
	void (*fn)(struct loop_timer *timer);
};

struct loop_signal {
	struct loop *loop;
	struct list link;
	int signal;
	void (*fn)(struct loop_signal *source, const struct signalfd_siginfo *info);
};

struct loop_child {
	struct loop *loop;
	struct list link;
	pid_t pid;
	/* @status is the raw wait status. The source is already removed: it may be freed. */
	void (*fn)(struct loop_child *child, int status);
};

/* A call made once, at the end of the current round, before the loop sleeps again. */
struct loop_defer {
	struct loop *loop;
	struct list link;
	void (*fn)(struct loop_defer *defer);
};

/* NULL when the kernel or memory refuses (errno is set). Blocks SIGCHLD and ignores SIGPIPE in the process. One loop a
 * process. */
struct loop *loop_new(void);
/* Takes NULL. Every source must have been removed. Restores the signal mask and dispositions. */
void loop_free(struct loop *loop);
/* Runs until loop_quit(); returns its value, or -errno when epoll itself fails. */
int loop_run(struct loop *loop);
/* One round: waits at most @timeout_ms (-1: for ever), dispatches what is there. 0 or -errno. */
int loop_run_once(struct loop *loop, int timeout_ms);
void loop_quit(struct loop *loop, int value);

/* Monotonic milliseconds. */
uint64_t loop_now(void);

/* All return 0 or -errno. */
int loop_fd_add(struct loop *loop, struct loop_fd *source, int fd, uint32_t events,
		void (*fn)(struct loop_fd *, uint32_t));
/* @events 0 keeps the source registered but silent (hang-ups too). */
int loop_fd_modify(struct loop_fd *source, uint32_t events);
void loop_fd_remove(struct loop_fd *source);

/* Arms, or re-arms, for @delay_ms from now. */
int loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t delay_ms,
		   void (*fn)(struct loop_timer *));
void loop_timer_remove(struct loop_timer *timer);

/* Blocks @signal for the process and delivers it here. SIGCHLD is the loop's own. */
int loop_signal_add(struct loop *loop, struct loop_signal *source, int signal,
		    void (*fn)(struct loop_signal *, const struct signalfd_siginfo *));
void loop_signal_remove(struct loop_signal *source);

int loop_child_add(struct loop *loop, struct loop_child *child, pid_t pid,
		   void (*fn)(struct loop_child *, int));
void loop_child_remove(struct loop_child *child);

void loop_defer_add(struct loop *loop, struct loop_defer *defer, void (*fn)(struct loop_defer *));
void loop_defer_remove(struct loop_defer *defer);

/*
 * For a program that hands its children on and ends: from now on ends are told, but nothing is collected, so that whoever
 * adopts the children finds their statuses. Orphans are not noticed then.
 */
void loop_leave_children(struct loop *loop);

/* Orphans that were reaped so far (children that nobody had registered). */
uint64_t loop_orphans(const struct loop *loop);

/*
 * In a forked child: default dispositions, empty signal mask, so that programs started from it behave as from a
 * shell. Async-signal-safe. The child must not use the loop.
 */
void loop_child_reset(void);
/* Who changes a disposition while there is a loop says so, for loop_child_reset(). */
void loop_signal_changed(int signal);

/* Exit code as hosts expect it: the code, or 128 + the signal's number (real-time ones included). */
int loop_exit_code(int status);

#endif
