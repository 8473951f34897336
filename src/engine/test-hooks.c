/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks run as programs do: arguments, environment, state, failure, timeout, cancel. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/log.h"
#include "engine/hooks.h"
#include "engine/test-child.h"

static char directory[] = "/tmp/hooks-test-XXXXXX";
static struct arena *arena;

static int set_up(void **state)
{
	log_set_fd(-1);
	arena = arena_new(0);
	return mkdtemp(directory) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[128];
	arena_free(arena);
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	return system(command);
}

/* Hooks from a JSON array; %s in it is the test's directory. */
static struct hooks_params hooks(const char *list)
{
	char *text = arena_printf(arena, "{'prestart':%s}", list), *with_directory;
	char *mark = strstr(text, "@D");

	while (mark) {
		with_directory =
			arena_printf(arena, "%.*s%s%s", (int)(mark - text), text, directory, mark + 2);
		text = with_directory;
		mark = strstr(text, "@D");
	}
	const Grpc__Hooks *h = from_json(&grpc__hooks__descriptor, text, arena);
	return (struct hooks_params){.kind = "createRuntime",
				     .hooks = h->prestart,
				     .count = h->n_prestart,
				     .state = "{\"id\":\"a\"}"};
}

static char *content(const char *name)
{
	char *text = NULL;
	if (file_read(AT_FDCWD, arena_printf(arena, "%s/%s", directory, name), 65536, &text) < 0)
		return NULL;
	char *copy = arena_strdup(arena, text);
	free(text);
	return copy;
}

#define SH "'path':'/bin/sh','args':['sh','-c',"

static void what_a_hook_gets(void **state)
{
	struct error e = ERROR_INIT;
	struct hooks_params p = hooks("[{" SH "'cat >@D/state; echo $0-$A-$HOME-$(pwd) >@D/out; ls -l "
				      "/proc/self/fd | grep -c pipe: >@D/fds'],"
				      "'env':['A=b c','PATH=/usr/bin:/bin']}]");
	int ends[2];

	/* Not close-on-exec, to see that it does not get through. */
	assert_int_equal(pipe(ends), 0);
	p.cwd = "/usr";
	assert_int_equal(hooks_run_blocking(&p, &e), 0);
	close(ends[0]);
	close(ends[1]);
	assert_string_equal(content("state"), "{\"id\":\"a\"}");
	assert_string_equal(content("out"), "sh-b c--/usr\n");
	/* `ls` has the hook's stdin (at its end) and stderr, and a pipe to grep. */
	assert_string_equal(content("fds"), "3\n");
}

static void order_and_path_only(void **state)
{
	struct error e = ERROR_INIT;
	struct hooks_params p =
		hooks("[{" SH "'echo 1 >>@D/order']},{" SH "'echo 2 >>@D/order']},{'path':'/bin/true'}]");

	assert_int_equal(hooks_run_blocking(&p, &e), 0);
	assert_string_equal(content("order"), "1\n2\n");
	p.count = 0;
	assert_int_equal(hooks_run_blocking(&p, &e), 0);
}

static void failure_names_all(void **state)
{
	struct error e = ERROR_INIT;
	struct hooks_params p =
		hooks("[{'path':'/bin/true'},{" SH "'echo some noise; echo no such device >&2; exit 3']},{" SH
		      "'touch @D/never']}]");

	assert_int_equal(hooks_run_blocking(&p, &e), -EIO);
	assert_string_equal(
		e.text,
		"error running createRuntime hook #1: /bin/sh: exit status 3, stderr: no such device");
	assert_null(content("never"));
	p = hooks("[{" SH "'kill -9 $$']}]");
	assert_int_equal(hooks_run_blocking(&p, &e), -EIO);
	assert_string_equal(e.text, "error running createRuntime hook #0: /bin/sh: killed by signal 9");
	p = hooks("[{'path':'/no/such/hook'}]");
	assert_int_equal(hooks_run_blocking(&p, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/no/such/hook: cannot be executed: ENOENT"));
	p = hooks("[{'path':'/bin/true'}]");
	p.cwd = "/no/such/directory";
	assert_int_equal(hooks_run_blocking(&p, &e), -ENOENT);
}

static void keep_going(void **state)
{
	struct error e = ERROR_INIT;
	struct hooks_params p = hooks("[{'path':'/bin/false'},{" SH "'touch @D/went-on']}]");

	p.keep_going = true;
	assert_int_equal(hooks_run_blocking(&p, &e), 0);
	assert_non_null(content("went-on"));
}

static void timeout(void **state)
{
	struct error e = ERROR_INIT;
	struct hooks_params p = hooks("[{" SH "'echo hanging >&2; sleep 60 & wait'],'timeout':1}]");
	uint64_t before = loop_now();

	assert_int_equal(hooks_run_blocking(&p, &e), -ETIMEDOUT);
	assert_int_equal(e.code, STATUS_DEADLINE_EXCEEDED);
	assert_true(loop_now() - before >= 900);
	assert_non_null(strstr(e.text, "killed at its timeout, stderr: hanging"));
	p = hooks("[{" SH "'sleep 60']}]");
	p.default_timeout_ms = 50;
	assert_int_equal(hooks_run_blocking(&p, &e), -ETIMEDOUT);
}

/* Neither one that reads nothing, nor one that writes much, nor one that leaves a daemon behind holds us up. */
static void awkward_hooks(void **state)
{
	struct error e = ERROR_INIT;
	struct hooks_params p =
		hooks("[{" SH "'exec <&-; head -c 1000000 /dev/zero; echo end >&2; exit 1']}]");
	size_t size = 1 << 20;
	char *big = arena_alloc(arena, size + 1);

	memset(big, 'x', size);
	p.state = big;
	assert_int_equal(hooks_run_blocking(&p, &e), -EIO);
	assert_non_null(strstr(e.text, "stderr: end"));
	p = hooks("[{" SH "'(sleep 5) & exit 0']}]");
	uint64_t before = loop_now();
	assert_int_equal(hooks_run_blocking(&p, &e), 0);
	assert_true(loop_now() - before < 4000);
	p = hooks("[{" SH "'cat | wc -c >@D/size']}]");
	p.state = big;
	assert_int_equal(hooks_run_blocking(&p, &e), 0);
	assert_string_equal(content("size"), "1048576\n");
}

static struct {
	int calls, r;
	char text[256];
} told;

static void on_done(int r, const struct error *e, void *data)
{
	told.calls++;
	told.r = r;
	snprintf(told.text, sizeof(told.text), "%.255s", e->text);
	loop_quit(data, 0);
}

static void asynchronous(void **state)
{
	struct loop *loop = loop_new();
	struct error e = ERROR_INIT;
	struct hooks_params p = hooks("[{" SH "'echo bad >&2; exit 4']}]");

	memset(&told, 0, sizeof(told));
	assert_non_null(hooks_start(loop, &p, on_done, loop, &e));
	assert_int_equal(told.calls, 0);
	loop_run(loop);
	assert_int_equal(told.calls, 1);
	assert_int_equal(told.r, -EIO);
	assert_non_null(strstr(told.text, "exit status 4, stderr: bad"));
	p.count = 0;
	assert_non_null(hooks_start(loop, &p, on_done, loop, &e));
	assert_int_equal(told.calls, 1);
	loop_run(loop);
	assert_int_equal(told.calls, 2);
	assert_int_equal(told.r, 0);
	loop_free(loop);
}

static void cancel(void **state)
{
	struct loop *loop = loop_new();
	struct error e = ERROR_INIT;
	struct hooks_params p = hooks("[{" SH "'echo $$ >@D/pid; exec sleep 60']}]");

	memset(&told, 0, sizeof(told));
	struct hook_run *run = hooks_start(loop, &p, on_done, loop, &e);
	assert_non_null(run);
	for (int i = 0; i < 100 && (!content("pid") || !*content("pid")); i++)
		loop_run_once(loop, 20);
	pid_t pid = (pid_t)atoi(content("pid"));
	assert_true(pid > 1);
	hooks_cancel(run);
	int gone = 0;
	for (int i = 0; i < 100 && !gone; i++) {
		loop_run_once(loop, 20);
		gone = kill(pid, 0) < 0 && errno == ESRCH;
		/* A zombie of another reaper counts as gone. */
		char *status = NULL;
		if (file_read(AT_FDCWD, arena_printf(arena, "/proc/%d/stat", (int)pid), 4096, &status) > 0)
			gone = gone || strstr(status, ") Z ") != NULL;
		free(status);
	}
	assert_true(gone);
	assert_int_equal(told.calls, 0);
	run = hooks_start(loop, &(struct hooks_params){.kind = "x"}, on_done, loop, &e);
	hooks_cancel(run);
	hooks_cancel(NULL);
	loop_run_once(loop, 0);
	assert_int_equal(told.calls, 0);
	loop_free(loop);
}

static void state_json(void **state)
{
	const Grpc__Spec *spec = from_json(&grpc__spec__descriptor, "{'annotations':{'k':'v\\\\'}}", arena);
	struct oci_state s = {.id = "a\"b\n\xff",
			      .status = "created",
			      .pid = 7,
			      .bundle = "/b",
			      .annotations = spec->annotations,
			      .n_annotations = 1};
	_cleanup_buf_ struct buf out = BUF_INIT;

	assert_int_equal(oci_state_json(&s, &out), 0);
	assert_string_equal(
		buf_string(&out),
		"{\"ociVersion\":\"1.3.0\",\"id\":\"a\\\"b\\u000a\xef\xbf\xbd\",\"status\":\"created\","
		"\"pid\":7,\"bundle\":\"/b\",\"annotations\":{\"k\":\"v\\\\\"}}");
	buf_clear(&out);
	assert_int_equal(oci_state_json(&(struct oci_state){.version = "1.0.2", .status = "stopped"}, &out),
			 0);
	assert_string_equal(buf_string(&out), "{\"ociVersion\":\"1.0.2\",\"status\":\"stopped\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_hook_gets),  cmocka_unit_test(order_and_path_only),
		cmocka_unit_test(failure_names_all), cmocka_unit_test(keep_going),
		cmocka_unit_test(timeout),	     cmocka_unit_test(awkward_hooks),
		cmocka_unit_test(asynchronous),	     cmocka_unit_test(cancel),
		cmocka_unit_test(state_json),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
