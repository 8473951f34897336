/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: see loop.h for what it promises.
 *
 * Descriptors: a source is in epoll exactly while its events are not 0, because epoll reports hang-ups even to those who
 * ask for nothing, and a silent source must not make the loop spin. A round takes one batch of events; removing a
 * source clears it from the rest of the batch, and an event that is no longer asked for is not delivered.
 *
 * Timers: a binary heap by due time; each knows its place, so removal needs no search.
 *
 * Signals: one signalfd for all. Children: a hash of pids; reaping is bounded per round, so that a guest that makes
 * orphans as fast as it can does not stop everything else.
 *
 * What it must never do: block outside epoll_wait(2), wake without a reason, call a removed source.
 */

#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"

enum {
	BATCH = 64,
	CHILD_BUCKETS = 64, /* power of two */
	REAP_MAX = 256,	    /* children a round */
	HEAP_FIRST = 16,
};

struct loop {
	int epoll;
	int signal_fd;
	bool quit;
	bool reap;  /* there may be children to collect */
	bool leave; /* ends are told, zombies stay */
	int quit_value;
	struct loop_fd signal_source;

	sigset_t mask;	     /* what the signalfd takes */
	sigset_t saved_mask; /* of the process before */
	struct sigaction saved_pipe;
	struct sigaction saved_child;
	struct list signals;
	struct list *next_signal; /* of the walk that is under way, else NULL */

	struct list children[CHILD_BUCKETS];
	struct list deferred;
	struct list defer_mark; /* where this round's deferred calls end */

	struct loop_timer **heap;
	size_t n_timers;
	size_t heap_size;

	struct epoll_event batch[BATCH];
	int batch_next;
	int batch_end;
	uint64_t orphans;
};

/* --- time --- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

uint64_t loop_now(void)
{
	return now_ns() / 1000000;
}

/* --- descriptors --- */

static int epoll_change(struct loop_fd *source, int operation, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	return epoll_ctl(source->loop->epoll, operation, source->fd, &event) < 0 ? -errno : 0;
}

int loop_fd_add(struct loop *loop, struct loop_fd *source, int fd, uint32_t events,
		void (*fn)(struct loop_fd *, uint32_t))
{
	assert(!source->loop);
	*source = (struct loop_fd){.loop = loop, .fd = fd, .events = events, .fn = fn};
	if (events == 0)
		return 0;
	int r = epoll_change(source, EPOLL_CTL_ADD, events);
	if (r < 0)
		source->loop = NULL;
	return r;
}

int loop_fd_modify(struct loop_fd *source, uint32_t events)
{
	int r;

	if (!source->loop)
		return -ENOENT;
	if (source->events == events)
		return 0;
	if (source->events == 0)
		r = epoll_change(source, EPOLL_CTL_ADD, events);
	else if (events == 0)
		r = epoll_change(source, EPOLL_CTL_DEL, 0);
	else
		r = epoll_change(source, EPOLL_CTL_MOD, events);
	if (r == 0)
		source->events = events;
	return r;
}

void loop_fd_remove(struct loop_fd *source)
{
	struct loop *loop = source->loop;

	if (!loop)
		return;
	if (source->events != 0)
		(void)epoll_change(source, EPOLL_CTL_DEL, 0);
	for (int i = loop->batch_next; i < loop->batch_end; i++)
		if (loop->batch[i].data.ptr == source)
			loop->batch[i].data.ptr = NULL;
	source->loop = NULL;
}

static void dispatch_batch(struct loop *loop)
{
	while (loop->batch_next < loop->batch_end) {
		struct epoll_event *event = &loop->batch[loop->batch_next++];
		struct loop_fd *source = event->data.ptr;

		if (!source || source->events == 0)
			continue;
		uint32_t events = event->events & (source->events | EPOLLERR | EPOLLHUP);
		if (events != 0)
			source->fn(source, events);
	}
}

/* --- timers --- */

static void heap_put(struct loop *loop, size_t index, struct loop_timer *timer)
{
	loop->heap[index] = timer;
	timer->index = index;
}

static void heap_up(struct loop *loop, size_t index, struct loop_timer *timer)
{
	while (index > 0) {
		size_t parent = (index - 1) / 2;

		if (loop->heap[parent]->due <= timer->due)
			break;
		heap_put(loop, index, loop->heap[parent]);
		index = parent;
	}
	heap_put(loop, index, timer);
}

static void heap_down(struct loop *loop, size_t index, struct loop_timer *timer)
{
	for (;;) {
		size_t child = index * 2 + 1;

		if (child >= loop->n_timers)
			break;
		if (child + 1 < loop->n_timers && loop->heap[child + 1]->due < loop->heap[child]->due)
			child++;
		if (timer->due <= loop->heap[child]->due)
			break;
		heap_put(loop, index, loop->heap[child]);
		index = child;
	}
	heap_put(loop, index, timer);
}

void loop_timer_remove(struct loop_timer *timer)
{
	struct loop *loop = timer->loop;

	if (!loop)
		return;
	struct loop_timer *last = loop->heap[--loop->n_timers];
	if (last != timer) {
		size_t index = timer->index;

		if (index > 0 && loop->heap[(index - 1) / 2]->due > last->due)
			heap_up(loop, index, last);
		else
			heap_down(loop, index, last);
	}
	timer->loop = NULL;
}

int loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t delay_ms,
		   void (*fn)(struct loop_timer *))
{
	/* Rounded up, so that a timer is never early; a delay of 0 is due at once. */
	uint64_t due = (now_ns() + (delay_ms ? 999999 : 0)) / 1000000;

	if (__builtin_add_overflow(due, delay_ms, &due))
		due = UINT64_MAX;
	loop_timer_remove(timer);
	if (loop->n_timers == loop->heap_size) {
		size_t size = loop->heap_size ? loop->heap_size * 2 : HEAP_FIRST;
		struct loop_timer **heap = reallocarray(loop->heap, size, sizeof(*heap));

		if (!heap)
			return -ENOMEM;
		loop->heap = heap;
		loop->heap_size = size;
	}
	timer->loop = loop;
	timer->due = due;
	timer->fn = fn;
	heap_up(loop, loop->n_timers++, timer);
	return 0;
}

static void dispatch_timers(struct loop *loop)
{
	if (loop->n_timers == 0)
		return;
	uint64_t now = loop_now();

	/* A timer that re-arms itself with no delay must not keep the others from the loop. */
	for (size_t most = loop->n_timers; most > 0 && loop->n_timers > 0; most--) {
		struct loop_timer *timer = loop->heap[0];

		if (timer->due > now)
			break;
		loop_timer_remove(timer);
		timer->fn(timer);
	}
}

/* --- signals --- */

static bool signal_is_wanted(struct loop *loop, int signal)
{
	struct loop_signal *source;

	list_for_each_entry (source, &loop->signals, link)
		if (source->signal == signal)
			return true;
	return false;
}

int loop_signal_add(struct loop *loop, struct loop_signal *source, int signal,
		    void (*fn)(struct loop_signal *, const struct signalfd_siginfo *))
{
	sigset_t one;

	assert(!source->loop);
	if (signal == SIGCHLD || signal < 1 || signal >= _NSIG)
		return -EINVAL;
	sigemptyset(&one);
	sigaddset(&one, signal);
	sigaddset(&loop->mask, signal);
	if (sigprocmask(SIG_BLOCK, &one, NULL) < 0 || signalfd(loop->signal_fd, &loop->mask, 0) < 0)
		return -errno;
	*source = (struct loop_signal){.loop = loop, .signal = signal, .fn = fn};
	list_append(&loop->signals, &source->link);
	return 0;
}

void loop_signal_remove(struct loop_signal *source)
{
	struct loop *loop = source->loop;
	sigset_t one;

	if (!loop)
		return;
	if (loop->next_signal == &source->link)
		loop->next_signal = source->link.next;
	list_remove(&source->link);
	source->loop = NULL;
	if (signal_is_wanted(loop, source->signal))
		return;

	sigdelset(&loop->mask, source->signal);
	(void)signalfd(loop->signal_fd, &loop->mask, 0);
	if (sigismember(&loop->saved_mask, source->signal) == 0) {
		sigemptyset(&one);
		sigaddset(&one, source->signal);
		(void)sigprocmask(SIG_UNBLOCK, &one, NULL);
	}
}

static void dispatch_signal(struct loop *loop, const struct signalfd_siginfo *info)
{
	loop->next_signal = loop->signals.next;
	while (loop->next_signal != &loop->signals) {
		struct loop_signal *source = list_entry(loop->next_signal, struct loop_signal, link);

		loop->next_signal = source->link.next;
		if ((uint32_t)source->signal == info->ssi_signo)
			source->fn(source, info);
	}
	loop->next_signal = NULL;
}

static void on_signal_fd(struct loop_fd *source, uint32_t events)
{
	struct loop *loop = source->loop;
	struct signalfd_siginfo info;

	/* One at a time: a handler may remove what a second one in hand was meant for. */
	while (read(loop->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			loop->reap = true;
		else
			dispatch_signal(loop, &info);
	}
}

/* --- children --- */

static struct list *child_bucket(struct loop *loop, pid_t pid)
{
	return &loop->children[(unsigned int)pid % CHILD_BUCKETS];
}

static struct loop_child *child_find(struct loop *loop, pid_t pid)
{
	struct loop_child *child;

	list_for_each_entry (child, child_bucket(loop, pid), link)
		if (child->pid == pid)
			return child;
	return NULL;
}

int loop_child_add(struct loop *loop, struct loop_child *child, pid_t pid,
		   void (*fn)(struct loop_child *, int))
{
	assert(!child->loop);
	if (pid <= 0)
		return -EINVAL;
	if (child_find(loop, pid))
		return -EEXIST;
	*child = (struct loop_child){.loop = loop, .pid = pid, .fn = fn};
	list_append(child_bucket(loop, pid), &child->link);
	return 0;
}

void loop_child_remove(struct loop_child *child)
{
	if (!child->loop)
		return;
	list_remove(&child->link);
	child->loop = NULL;
}

/* The first registered child that has ended; NULL. */
static struct loop_child *find_ended(struct loop *loop, int *status)
{
	for (int i = 0; i < CHILD_BUCKETS; i++) {
		struct loop_child *child;
		list_for_each_entry (child, &loop->children[i], link) {
			siginfo_t info = {0};
			if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) <
				    0 ||
			    info.si_pid == 0)
				continue;
			*status = info.si_code == CLD_EXITED   ? info.si_status << 8
				  : info.si_code == CLD_DUMPED ? info.si_status | 0x80
							       : info.si_status;
			return child;
		}
	}
	return NULL;
}

static void tell_ended(struct loop *loop)
{
	struct loop_child *child;
	int status;

	loop->reap = false;
	while ((child = find_ended(loop, &status))) {
		loop_child_remove(child);
		child->fn(child, status);
	}
}

void loop_leave_children(struct loop *loop)
{
	loop->leave = true;
}

static void reap_children(struct loop *loop)
{
	if (loop->leave) {
		tell_ended(loop);
		return;
	}
	for (int i = 0; i < REAP_MAX; i++) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG | __WALL);

		if (pid <= 0) {
			loop->reap = false;
			return;
		}
		struct loop_child *child = child_find(loop, pid);
		if (!child) {
			loop->orphans++;
			continue;
		}
		loop_child_remove(child);
		child->fn(child, status);
	}
}

uint64_t loop_orphans(const struct loop *loop)
{
	return loop->orphans;
}

/*
 * The signals that may have another disposition than the default: sixty calls a child for the two or three that do are
 * too many. What was inherited, or set before there was a loop, is read once from /proc; without that it is all.
 */
static uint64_t changed_signals;
static bool changed_signals_known;

static uint64_t signal_bit(int signal)
{
	return 1ULL << (signal - 1);
}

static void learn_changed_signals(void)
{
	static const char *const keys[] = {"\nSigIgn:", "\nSigCgt:"};
	_cleanup_free_ char *text = NULL;

	if (changed_signals_known || file_read(AT_FDCWD, "/proc/self/status", 65536, &text) < 0)
		return;
	for (size_t i = 0; i < array_length(keys); i++) {
		const char *at = strstr(text, keys[i]);

		if (!at)
			return;
		changed_signals |= strtoull(at + strlen(keys[i]), NULL, 16);
	}
	changed_signals_known = true;
}

void loop_signal_changed(int signal)
{
	changed_signals |= signal_bit(signal);
}

void loop_child_reset(void)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t none;

	/* Dispositions first: a blocked signal must not find an old handler. The C library's own numbers refuse. */
	for (int signal = 1; signal < _NSIG; signal++)
		if (!changed_signals_known || (changed_signals & signal_bit(signal)))
			(void)sigaction(signal, &action, NULL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

int loop_exit_code(int status)
{
	if (WIFSIGNALED(status))
		return 128 + WTERMSIG(status);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* --- deferred calls --- */

void loop_defer_add(struct loop *loop, struct loop_defer *defer, void (*fn)(struct loop_defer *))
{
	defer->fn = fn;
	if (defer->loop)
		return;
	defer->loop = loop;
	list_append(&loop->deferred, &defer->link);
}

void loop_defer_remove(struct loop_defer *defer)
{
	if (!defer->loop)
		return;
	list_remove(&defer->link);
	defer->loop = NULL;
}

static void dispatch_deferred(struct loop *loop)
{
	if (list_empty(&loop->deferred))
		return;
	/* What is added meanwhile comes behind the mark and waits for the next round. */
	list_append(&loop->deferred, &loop->defer_mark);
	while (loop->deferred.next != &loop->defer_mark) {
		struct loop_defer *defer = list_first_entry(&loop->deferred, struct loop_defer, link);

		loop_defer_remove(defer);
		defer->fn(defer);
	}
	list_remove(&loop->defer_mark);
}

/* --- the loop --- */

static int wait_time(struct loop *loop, int timeout_ms)
{
	if (loop->reap || !list_empty(&loop->deferred))
		return 0;
	if (loop->n_timers == 0)
		return timeout_ms;

	uint64_t now = loop_now(), due = loop->heap[0]->due;
	if (due <= now)
		return 0;
	uint64_t wait = due - now < INT_MAX ? due - now : INT_MAX;
	return timeout_ms >= 0 && (uint64_t)timeout_ms < wait ? timeout_ms : (int)wait;
}

int loop_run_once(struct loop *loop, int timeout_ms)
{
	int n = epoll_wait(loop->epoll, loop->batch, BATCH, wait_time(loop, timeout_ms));

	if (n < 0 && errno != EINTR)
		return -errno;
	loop->batch_next = 0;
	loop->batch_end = n > 0 ? n : 0;
	dispatch_batch(loop);
	loop->batch_end = 0;
	if (loop->reap)
		reap_children(loop);
	dispatch_timers(loop);
	dispatch_deferred(loop);
	return 0;
}

int loop_run(struct loop *loop)
{
	while (!loop->quit) {
		int r = loop_run_once(loop, -1);

		if (r < 0)
			return r;
	}
	loop->quit = false;
	return loop->quit_value;
}

void loop_quit(struct loop *loop, int value)
{
	loop->quit = true;
	loop->quit_value = value;
}

static int loop_open(struct loop *loop)
{
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll < 0)
		return -errno;
	loop->signal_fd = signalfd(-1, &loop->mask, SFD_NONBLOCK | SFD_CLOEXEC);
	if (loop->signal_fd < 0)
		return -errno;
	return loop_fd_add(loop, &loop->signal_source, loop->signal_fd, EPOLLIN, on_signal_fd);
}

struct loop *loop_new(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, standard = {.sa_handler = SIG_DFL};
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return NULL;
	loop->epoll = -1;
	loop->signal_fd = -1;
	list_init(&loop->signals);
	list_init(&loop->deferred);
	for (size_t i = 0; i < CHILD_BUCKETS; i++)
		list_init(&loop->children[i]);
	sigemptyset(&loop->mask);
	sigaddset(&loop->mask, SIGCHLD);

	int r = loop_open(loop);
	if (r < 0) {
		fd_close(loop->signal_fd);
		fd_close(loop->epoll);
		free(loop);
		errno = -r;
		return NULL;
	}
	learn_changed_signals();
	loop_signal_changed(SIGPIPE);
	/* An inherited SIG_IGN would make the kernel reap for us and lose the statuses. */
	(void)sigaction(SIGCHLD, &standard, &loop->saved_child);
	(void)sigaction(SIGPIPE, &ignore, &loop->saved_pipe);
	(void)sigprocmask(SIG_BLOCK, &loop->mask, &loop->saved_mask);
	/* Children may have ended before: after an execve(2) of this program, for one. */
	loop->reap = true;
	return loop;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	loop_fd_remove(&loop->signal_source);
	fd_close(loop->signal_fd);
	fd_close(loop->epoll);
	(void)sigprocmask(SIG_SETMASK, &loop->saved_mask, NULL);
	(void)sigaction(SIGPIPE, &loop->saved_pipe, NULL);
	(void)sigaction(SIGCHLD, &loop->saved_child, NULL);
	free(loop->heap);
	free(loop);
}
