/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of loop.c. Each test has its own loop; whatever it leaves behind would fail the next one. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/loop.h"

static int setup(void **state)
{
	*state = loop_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	loop_free(*state);
	return 0;
}

/* --- descriptors --- */

struct reader {
	struct loop_fd source;
	struct reader *victim; /* removed from within the callback */
	int calls;
	uint32_t events;
};

static void on_reader(struct loop_fd *source, uint32_t events)
{
	struct reader *reader = container_of(source, struct reader, source);

	reader->calls++;
	reader->events = events;
	if (reader->victim)
		loop_fd_remove(&reader->victim->source);
}

static void open_pair(int s[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s), 0);
}

static void test_fd(void **state)
{
	struct loop *loop = *state;
	struct reader a = {0};
	int s[2];

	open_pair(s);
	assert_int_equal(loop_fd_add(loop, &a.source, s[0], EPOLLIN, on_reader), 0);
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_int_equal(a.calls, 0);
	assert_int_equal(write(s[1], "x", 1), 1);
	loop_run_once(loop, 1000);
	loop_run_once(loop, 1000);
	assert_int_equal(a.calls, 2);
	assert_int_equal(a.events, EPOLLIN);
	assert_int_equal(loop_fd_modify(&a.source, EPOLLOUT), 0);
	loop_run_once(loop, 1000);
	assert_int_equal(a.events, EPOLLOUT);
	loop_fd_remove(&a.source);
	loop_fd_remove(&a.source);
	loop_run_once(loop, 0);
	assert_int_equal(a.calls, 3);
	assert_int_equal(loop_fd_modify(&a.source, EPOLLIN), -ENOENT);
	fd_close(s[0]);
	fd_close(s[1]);
}

/* Both are ready in the same round; whichever comes first removes the other (or itself). */
static void test_fd_removed_in_callback(void **state)
{
	struct loop *loop = *state;
	struct reader a = {0}, b = {0};
	int s[2], t[2];

	open_pair(s);
	open_pair(t);
	a.victim = &b;
	b.victim = &a;
	loop_fd_add(loop, &a.source, s[0], EPOLLOUT, on_reader);
	loop_fd_add(loop, &b.source, t[0], EPOLLOUT, on_reader);
	loop_run_once(loop, 1000);
	assert_int_equal(a.calls + b.calls, 1);

	struct reader *left = a.calls ? &a : &b;
	left->victim = left;
	loop_run_once(loop, 1000);
	assert_int_equal(a.calls + b.calls, 2);
	loop_run_once(loop, 0);
	assert_int_equal(a.calls + b.calls, 2);
	for (int i = 0; i < 2; i++) {
		fd_close(s[i]);
		fd_close(t[i]);
	}
}

struct silencer {
	struct loop_fd source;
	struct loop_fd *other;
	int calls;
};

static void on_silencer(struct loop_fd *source, uint32_t events)
{
	struct silencer *silencer = container_of(source, struct silencer, source);

	silencer->calls++;
	loop_fd_modify(silencer->other, 0);
}

static void test_fd_silenced_in_callback(void **state)
{
	struct loop *loop = *state;
	struct silencer a = {0}, b = {0};
	int s[2], t[2];

	open_pair(s);
	open_pair(t);
	a.other = &b.source;
	b.other = &a.source;
	loop_fd_add(loop, &a.source, s[0], EPOLLOUT, on_silencer);
	loop_fd_add(loop, &b.source, t[0], EPOLLOUT, on_silencer);
	loop_run_once(loop, 1000);
	assert_int_equal(a.calls + b.calls, 1);
	loop_fd_remove(&a.source);
	loop_fd_remove(&b.source);
	for (int i = 0; i < 2; i++) {
		fd_close(s[i]);
		fd_close(t[i]);
	}
}

static void test_silent_source_ignores_hangup(void **state)
{
	struct loop *loop = *state;
	struct reader a = {0}, b = {0};
	int s[2], t[2];

	/* The first round looks for children and does not wait. */
	loop_run_once(loop, 0);
	open_pair(s);
	open_pair(t);
	assert_int_equal(loop_fd_add(loop, &a.source, s[0], 0, on_reader), 0);
	assert_int_equal(loop_fd_add(loop, &b.source, t[0], EPOLLIN, on_reader), 0);
	assert_int_equal(loop_fd_modify(&b.source, 0), 0);
	fd_close(s[1]);
	fd_close(t[1]);
	uint64_t start = loop_now();
	loop_run_once(loop, 50);
	assert_true(loop_now() - start >= 49);
	assert_int_equal(a.calls + b.calls, 0);

	assert_int_equal(loop_fd_modify(&a.source, EPOLLIN), 0);
	loop_run_once(loop, 1000);
	assert_int_equal(a.calls, 1);
	assert_true(a.events & EPOLLHUP);
	loop_fd_remove(&a.source);
	loop_fd_remove(&b.source);
	fd_close(s[0]);
	fd_close(t[0]);
}

static void test_fd_refused(void **state)
{
	struct loop *loop = *state;
	struct reader a = {0};
	_cleanup_fd_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	assert_int_equal(loop_fd_add(loop, &a.source, fd, EPOLLIN, on_reader), -EPERM);
	assert_null(a.source.loop);
	loop_fd_remove(&a.source);
	assert_int_equal(loop_fd_add(loop, &a.source, -1, EPOLLIN, on_reader), -EBADF);
}

/* More ready descriptors than one batch holds. */
static void test_many_descriptors(void **state)
{
	enum { MANY = 200 };
	struct loop *loop = *state;
	static struct reader readers[MANY];
	int s[MANY][2], calls = 0;

	for (int i = 0; i < MANY; i++) {
		open_pair(s[i]);
		assert_int_equal(loop_fd_add(loop, &readers[i].source, s[i][0], EPOLLOUT, on_reader), 0);
		readers[i].victim = &readers[i];
	}
	for (int i = 0; i < 10; i++)
		loop_run_once(loop, 0);
	for (int i = 0; i < MANY; i++) {
		calls += readers[i].calls;
		fd_close(s[i][0]);
		fd_close(s[i][1]);
	}
	assert_int_equal(calls, MANY);
}

/* --- timers --- */

struct tick {
	struct loop_timer timer;
	struct loop_timer *victim;
	uint64_t again;
	int calls;
	uint64_t at;
};

static void on_tick(struct loop_timer *timer)
{
	struct tick *tick = container_of(timer, struct tick, timer);
	struct loop *loop = tick->victim ? tick->victim->loop : NULL;

	tick->calls++;
	tick->at = loop_now();
	if (loop)
		loop_timer_remove(tick->victim);
}

static struct loop *tick_loop;

static void on_again(struct loop_timer *timer)
{
	struct tick *tick = container_of(timer, struct tick, timer);

	assert_null(timer->loop);
	if (++tick->calls < 1000)
		assert_int_equal(loop_timer_set(tick_loop, timer, tick->again, on_again), 0);
}

static void test_timer(void **state)
{
	struct loop *loop = *state;
	struct tick a = {0}, b = {0};
	uint64_t start = loop_now();

	assert_int_equal(loop_timer_set(loop, &a.timer, 30, on_tick), 0);
	assert_int_equal(loop_timer_set(loop, &b.timer, 1000000, on_tick), 0);
	assert_int_equal(loop_timer_set(loop, &b.timer, 10, on_tick), 0);
	while (!a.calls)
		assert_int_equal(loop_run_once(loop, -1), 0);
	assert_int_equal(b.calls, 1);
	assert_true(a.at - start >= 30);
	assert_true(b.at - start >= 10);
	assert_true(b.at <= a.at);
	assert_null(a.timer.loop);
	loop_timer_remove(&a.timer);
}

static void test_timer_removed_by_another(void **state)
{
	struct loop *loop = *state;
	struct tick a = {0}, b = {0};

	a.victim = &b.timer;
	b.victim = &a.timer;
	loop_timer_set(loop, &a.timer, 0, on_tick);
	loop_timer_set(loop, &b.timer, 0, on_tick);
	loop_run_once(loop, 10);
	loop_run_once(loop, 10);
	assert_int_equal(a.calls + b.calls, 1);
	assert_null(a.timer.loop);
	assert_null(b.timer.loop);
}

/* A timer that re-arms itself without delay neither spins within one round nor starves a descriptor. */
static void test_timer_rearmed_in_callback(void **state)
{
	struct tick a = {0};
	struct reader r = {0};
	int s[2], rounds = 0;

	tick_loop = *state;
	open_pair(s);
	loop_fd_add(tick_loop, &r.source, s[0], EPOLLOUT, on_reader);
	loop_timer_set(tick_loop, &a.timer, 0, on_again);
	while (a.calls < 1000) {
		loop_run_once(tick_loop, -1);
		rounds++;
	}
	assert_int_equal(rounds, 1000);
	assert_int_equal(r.calls, 1000);
	loop_fd_remove(&r.source);
	fd_close(s[0]);
	fd_close(s[1]);
}

/* Random sets and removals: what fires does so in the order of its time, and nothing is lost or fires twice. */
static void test_timer_heap(void **state)
{
	enum { MANY = 300 };
	struct loop *loop = *state;
	static struct tick ticks[MANY];
	unsigned int seed = 99;
	uint64_t start = loop_now();

	memset(ticks, 0, sizeof(ticks));
	for (int i = 0; i < 5000; i++) {
		struct tick *tick = &ticks[rand_r(&seed) % MANY];

		if (rand_r(&seed) % 3 == 0)
			loop_timer_remove(&tick->timer);
		else
			loop_timer_set(loop, &tick->timer, 20 + (uint64_t)rand_r(&seed) % 60, on_tick);
	}
	int armed = 0, fired = 0;
	for (int i = 0; i < MANY; i++)
		armed += ticks[i].timer.loop != NULL;
	while (loop_now() < start + 1000) {
		loop_run_once(loop, 10);
		fired = 0;
		for (int i = 0; i < MANY; i++)
			fired += ticks[i].calls;
		if (fired >= armed)
			break;
	}
	assert_int_equal(fired, armed);
	for (int i = 0; i < MANY; i++) {
		assert_in_range(ticks[i].calls, 0, 1);
		if (ticks[i].calls)
			assert_true(ticks[i].at >= ticks[i].timer.due);
	}
}

static void test_timer_far_away(void **state)
{
	struct loop *loop = *state;
	struct tick a = {0};

	assert_int_equal(loop_timer_set(loop, &a.timer, UINT64_MAX, on_tick), 0);
	loop_run_once(loop, 5);
	assert_int_equal(a.calls, 0);
	loop_timer_remove(&a.timer);
}

/* --- signals --- */

struct listener {
	struct loop_signal source;
	struct loop_signal *victim;
	int calls;
	uint32_t from;
};

static void on_signal(struct loop_signal *source, const struct signalfd_siginfo *info)
{
	struct listener *listener = container_of(source, struct listener, source);

	listener->calls++;
	listener->from = info->ssi_pid;
	if (listener->victim)
		loop_signal_remove(listener->victim);
}

static void test_signal(void **state)
{
	struct loop *loop = *state;
	struct listener a = {0}, b = {0}, c = {0};

	assert_int_equal(loop_signal_add(loop, &a.source, SIGUSR1, on_signal), 0);
	assert_int_equal(loop_signal_add(loop, &b.source, SIGUSR1, on_signal), 0);
	assert_int_equal(loop_signal_add(loop, &c.source, SIGUSR2, on_signal), 0);
	kill(getpid(), SIGUSR1);
	loop_run_once(loop, 1000);
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 1);
	assert_int_equal(c.calls, 0);
	assert_int_equal(a.from, getpid());

	/* The next one in the walk, and oneself, removed from within. */
	a.victim = &b.source;
	kill(getpid(), SIGUSR1);
	loop_run_once(loop, 1000);
	assert_int_equal(a.calls, 2);
	assert_int_equal(b.calls, 1);
	a.victim = &a.source;
	kill(getpid(), SIGUSR1);
	loop_run_once(loop, 1000);
	assert_int_equal(a.calls, 3);
	loop_signal_remove(&c.source);
	loop_signal_remove(&c.source);

	sigset_t mask;
	sigprocmask(SIG_SETMASK, NULL, &mask);
	assert_false(sigismember(&mask, SIGUSR1));
	assert_false(sigismember(&mask, SIGUSR2));
	assert_true(sigismember(&mask, SIGCHLD));
	assert_int_equal(loop_signal_add(loop, &a.source, SIGCHLD, on_signal), -EINVAL);
	assert_int_equal(loop_signal_add(loop, &a.source, 0, on_signal), -EINVAL);
	assert_int_equal(loop_signal_add(loop, &a.source, 1000, on_signal), -EINVAL);
}

/* --- children --- */

struct watcher {
	struct loop_child child;
	int calls;
	int status;
};

static void on_child(struct loop_child *child, int status)
{
	struct watcher *watcher = container_of(child, struct watcher, child);

	assert_null(child->loop);
	watcher->calls++;
	watcher->status = status;
}

static pid_t spawn(int code)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(code);
	return pid;
}

static void test_a_thousand_children(void **state)
{
	enum { MANY = 1000, AT_ONCE = 200 };
	struct loop *loop = *state;
	static struct watcher watchers[MANY];
	int done = 0;

	memset(watchers, 0, sizeof(watchers));
	for (int started = 0; started < MANY; started += AT_ONCE) {
		for (int i = started; i < started + AT_ONCE; i++) {
			pid_t pid = spawn(i % 256);

			assert_true(pid > 0);
			assert_int_equal(loop_child_add(loop, &watchers[i].child, pid, on_child), 0);
		}
		uint64_t start = loop_now();
		for (done = 0; done < started + AT_ONCE && loop_now() < start + 30000;) {
			loop_run_once(loop, 100);
			done = 0;
			for (int i = 0; i < started + AT_ONCE; i++)
				done += watchers[i].calls;
		}
	}
	assert_int_equal(done, MANY);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(watchers[i].calls, 1);
		assert_int_equal(loop_exit_code(watchers[i].status), i % 256);
	}
	assert_true(loop_orphans(loop) == 0);
}

static void test_child_registration(void **state)
{
	struct loop *loop = *state;
	struct watcher a = {0}, b = {0};
	pid_t pid = spawn(0);

	assert_int_equal(loop_child_add(loop, &a.child, 0, on_child), -EINVAL);
	assert_int_equal(loop_child_add(loop, &a.child, -5, on_child), -EINVAL);
	assert_int_equal(loop_child_add(loop, &a.child, pid, on_child), 0);
	assert_int_equal(loop_child_add(loop, &b.child, pid, on_child), -EEXIST);
	loop_child_remove(&a.child);
	loop_child_remove(&a.child);
	while (loop_orphans(loop) == 0)
		loop_run_once(loop, 1000);
	assert_int_equal(a.calls + b.calls, 0);
}

/* For who hands its children on: the end is told, and the status is there for the next one to collect. */
static void test_left_children(void **state)
{
	struct loop *loop = *state;
	struct watcher a = {0};
	int status;

	loop_leave_children(loop);
	pid_t stranger = fork();
	if (stranger == 0)
		_exit(3);
	pid_t pid = fork();
	if (pid == 0)
		_exit(7);
	assert_int_equal(loop_child_add(loop, &a.child, pid, on_child), 0);
	for (int i = 0; i < 100 && a.calls == 0; i++)
		loop_run_once(loop, 100);
	assert_int_equal(a.calls, 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_int_equal(waitpid(stranger, &status, 0), stranger);
	assert_int_equal(WEXITSTATUS(status), 3);
}

/* A grandchild whose parent ends becomes ours, as PID 1's and a subreaper's orphans do. */
static void test_orphans(void **state)
{
	struct loop *loop = *state;
	struct watcher a = {0};

	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	pid_t pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 5; i++)
			if (fork() == 0) {
				usleep(20000);
				_exit(0);
			}
		_exit(7);
	}
	assert_int_equal(loop_child_add(loop, &a.child, pid, on_child), 0);
	uint64_t start = loop_now();
	while (loop_orphans(loop) < 5 && loop_now() < start + 10000)
		loop_run_once(loop, 100);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	assert_int_equal(loop_orphans(loop), 5);
	assert_int_equal(a.calls, 1);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void test_children_from_before(void **state)
{
	pid_t pid;
	siginfo_t info;

	loop_free(*state);
	pid = spawn(3);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	*state = loop_new();
	loop_run_once(*state, 1000);
	assert_true(loop_orphans(*state) == 1);
}

static void test_exit_code(void **state)
{
	assert_int_equal(loop_exit_code(W_EXITCODE(0, 0)), 0);
	assert_int_equal(loop_exit_code(W_EXITCODE(42, 0)), 42);
	assert_int_equal(loop_exit_code(W_EXITCODE(0, SIGKILL)), 137);
	assert_int_equal(loop_exit_code(W_EXITCODE(0, SIGSEGV) | 0x80), 139);
	assert_int_equal(loop_exit_code(W_EXITCODE(0, 34)), 162);
}

static void on_nothing(int number)
{
	(void)number;
}

static void test_child_reset(void **state)
{
	struct loop *loop = *state;
	struct listener a = {0};
	int status;

	loop_signal_add(loop, &a.source, SIGUSR1, on_signal);
	assert_true(signal(SIGHUP, on_nothing) != SIG_ERR);
	loop_signal_changed(SIGHUP);
	pid_t pid = fork();
	if (pid == 0) {
		sigset_t mask;
		struct sigaction action;

		loop_child_reset();
		sigprocmask(SIG_SETMASK, NULL, &mask);
		for (int i = 1; i < 32; i++) {
			if (sigismember(&mask, i))
				_exit(1);
			if (sigaction(i, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
				_exit(2);
		}
		kill(getpid(), SIGUSR1);
		_exit(3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	signal(SIGHUP, SIG_DFL);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
	loop_signal_remove(&a.source);
}

/* Ignored and caught before the loop was made, as after nohup(1): by another program, whose first loop it is. */
static void test_child_reset_of_what_was_inherited(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		signal(SIGQUIT, SIG_IGN);
		signal(SIGRTMIN, SIG_IGN);
		execl("/proc/self/exe", "test-loop", "inherited", (char *)NULL);
		_exit(9);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int run_inherited(void)
{
	struct sigaction quit, realtime;

	struct loop *loop = loop_new();
	loop_child_reset();
	loop_free(loop);
	if (sigaction(SIGQUIT, NULL, &quit) < 0 || sigaction(SIGRTMIN, NULL, &realtime) < 0)
		return 1;
	return quit.sa_handler != SIG_DFL || realtime.sa_handler != SIG_DFL;
}

/* --- deferred calls, quitting, idling --- */

struct later {
	struct loop_defer defer;
	struct loop_defer *victim;
	struct loop *again;
	int calls;
};

static void on_later(struct loop_defer *defer)
{
	struct later *later = container_of(defer, struct later, defer);

	later->calls++;
	if (later->victim)
		loop_defer_remove(later->victim);
	if (later->again)
		loop_defer_add(later->again, defer, on_later);
}

static void test_defer(void **state)
{
	struct loop *loop = *state;
	struct later a = {0}, b = {0}, c = {0};

	loop_defer_add(loop, &a.defer, on_later);
	loop_defer_add(loop, &a.defer, on_later);
	loop_defer_add(loop, &b.defer, on_later);
	loop_defer_add(loop, &c.defer, on_later);
	a.victim = &b.defer;
	c.again = loop;
	loop_run_once(loop, -1);
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 0);
	assert_int_equal(c.calls, 1);
	loop_run_once(loop, -1);
	assert_int_equal(c.calls, 2);
	loop_defer_remove(&c.defer);
	loop_run_once(loop, 0);
	assert_int_equal(c.calls, 2);
}

static void on_quit(struct loop_timer *timer)
{
	loop_quit(tick_loop, 42);
}

static void test_quit(void **state)
{
	struct loop_timer timer = {0};

	tick_loop = *state;
	loop_quit(tick_loop, 7);
	assert_int_equal(loop_run(tick_loop), 7);
	loop_timer_set(tick_loop, &timer, 5, on_quit);
	assert_int_equal(loop_run(tick_loop), 42);
}

/* An idle loop with an armed, far timer and silent descriptors uses no processor time. */
static void test_idle_is_idle(void **state)
{
	struct loop *loop = *state;
	struct tick a = {0};
	struct timespec before, after;

	loop_run_once(loop, 0);
	loop_timer_set(loop, &a.timer, 1000000, on_tick);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	uint64_t start = loop_now();
	loop_run_once(loop, 200);
	assert_true(loop_now() - start >= 199);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	int64_t used = (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
	assert_in_range(used, 0, 20000000);
	loop_timer_remove(&a.timer);
}

static void test_the_process_is_left_as_it_was(void **state)
{
	sigset_t mask;
	struct sigaction action;

	loop_free(*state);
	*state = NULL;
	sigprocmask(SIG_SETMASK, NULL, &mask);
	assert_false(sigismember(&mask, SIGCHLD));
	sigaction(SIGPIPE, NULL, &action);
	assert_ptr_equal(action.sa_handler, SIG_DFL);
	loop_free(NULL);
}

#define loop_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "inherited") == 0)
		return run_inherited();
	const struct CMUnitTest tests[] = {
		loop_test(test_fd),
		loop_test(test_fd_removed_in_callback),
		loop_test(test_fd_silenced_in_callback),
		loop_test(test_silent_source_ignores_hangup),
		loop_test(test_fd_refused),
		loop_test(test_many_descriptors),
		loop_test(test_timer),
		loop_test(test_timer_removed_by_another),
		loop_test(test_timer_rearmed_in_callback),
		loop_test(test_timer_heap),
		loop_test(test_timer_far_away),
		loop_test(test_signal),
		loop_test(test_a_thousand_children),
		loop_test(test_child_registration),
		loop_test(test_left_children),
		loop_test(test_orphans),
		loop_test(test_children_from_before),
		cmocka_unit_test(test_exit_code),
		loop_test(test_child_reset),
		cmocka_unit_test(test_child_reset_of_what_was_inherited),
		loop_test(test_defer),
		loop_test(test_quit),
		loop_test(test_idle_is_idle),
		loop_test(test_the_process_is_left_as_it_was),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
