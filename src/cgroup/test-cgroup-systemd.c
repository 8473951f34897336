/* SPDX-License-Identifier: Apache-2.0 */
/* The systemd driver against a systemd of our own making, on a socket: what it is asked for, and what it
 * may answer. */
#include "test-cgroup-tree.h"

#include <signal.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "base/str.h"
#include "base/test-dbus-peer.h"
#include "cgroup/systemd.h"

#define SET(v)                                                                                               \
	{                                                                                                    \
		true, v                                                                                      \
	}

/* How the peer behaves. */
enum mode {
	NORMAL,
	SIGNAL_FIRST, /* the job's end is told before the call is answered */
	JOB_FAILS,
	UNIT_EXISTS,	/* until it is reset */
	OLD_PROPERTIES, /* does not know CollectMode, AllowedCPUs, CPUQuotaPeriodUSec */
	REFUSES,
	SILENT,
};

struct world {
	struct fake fake;
	char dir[64], socket[80], log[80];
	pid_t pid;
	int listener;
};

static const char *version = "252.38-1~deb12u1";

/* --- the peer ------------------------------------------------------------------------------------------- */

static FILE *journal;
static enum mode mode;
static bool was_reset;

/* "Name=type value" of one property, appended to the line. */
static void describe(struct dbus_reader *r, struct buf *out)
{
	const char *name = dbus_get_string(r);
	const char *signature = dbus_get_signature(r);

	buf_printf(out, " %s=", name);
	if (strcmp(signature, "t") == 0) {
		buf_printf(out, "%llu", (unsigned long long)dbus_get_u64(r));
	} else if (strcmp(signature, "b") == 0) {
		buf_printf(out, "%s", dbus_get_u32(r) ? "yes" : "no");
	} else if (strcmp(signature, "s") == 0) {
		buf_printf(out, "%s", dbus_get_string(r));
	} else if (strcmp(signature, "ay") == 0) {
		uint32_t n = dbus_get_u32(r);

		for (uint32_t i = 0; i < n; i++)
			buf_printf(out, "%02x", dbus_get_byte(r));
	} else if (strcmp(signature, "au") == 0) {
		uint32_t n = dbus_get_u32(r);

		for (uint32_t i = 0; i < n / 4; i++)
			buf_printf(out, "pid%s", dbus_get_u32(r) > 1 ? "" : "?");
	} else if (strcmp(signature, "a(st)") == 0) {
		uint32_t n = dbus_get_u32(r);
		size_t end;

		while (r->at % 8)
			dbus_get_byte(r);
		end = r->at + n;
		while (!r->failed && r->at < end) {
			while (r->at % 8)
				dbus_get_byte(r);
			buf_printf(out, "%s:", dbus_get_string(r));
			buf_printf(out, "%llu;", (unsigned long long)dbus_get_u64(r));
		}
	} else {
		_exit(30);
	}
}

static void describe_all(struct dbus_reader *r, struct buf *out)
{
	uint32_t n = dbus_get_u32(r);
	size_t end;

	while (r->at % 8)
		dbus_get_byte(r);
	end = r->at + n;
	while (!r->failed && r->at < end) {
		while (r->at % 8)
			dbus_get_byte(r);
		describe(r, out);
	}
	if (r->failed || r->at != end)
		_exit(31);
}

static void send_error(int fd, uint32_t serial, const char *name, const char *text)
{
	_cleanup_buf_ struct buf body = BUF_INIT;

	dbus_put_string(&body, text);
	peer_send(fd, DBUS_ERROR, serial, name, "s", &body);
}

static void send_job(int fd, const char *path, const char *unit, const char *result)
{
	_cleanup_buf_ struct buf body = BUF_INIT;

	dbus_put_u32(&body, 7);
	dbus_put_string(&body, path);
	dbus_put_string(&body, unit);
	dbus_put_string(&body, result);
	peer_send(fd, DBUS_SIGNAL, 0, "JobRemoved", "uoss", &body);
}

static void answer_job(int fd, uint32_t serial, const char *unit)
{
	_cleanup_buf_ struct buf body = BUF_INIT;
	const char *result = mode == JOB_FAILS ? "failed" : "done";

	/* Jobs of others, and an older one of this unit. */
	send_job(fd, "/job/1", "other.service", "failed");
	if (mode == SIGNAL_FIRST) {
		send_job(fd, "/job/2", unit, "canceled");
		send_job(fd, "/job/7", unit, result);
	}
	dbus_put_string(&body, "/job/7");
	peer_send(fd, DBUS_RETURN, serial, NULL, "o", &body);
	if (mode == SIGNAL_FIRST)
		return;
	send_job(fd, "/job/3", unit, "canceled");
	if (mode != SILENT)
		send_job(fd, "/job/7", unit, result);
}

static bool knows(const char *properties)
{
	return mode != OLD_PROPERTIES ||
	       (!strstr(properties, "CollectMode") && !strstr(properties, "AllowedCPUs") &&
		!strstr(properties, "CPUQuotaPeriodUSec"));
}

static void on_call(int fd, const struct dbus_message *m)
{
	_cleanup_buf_ struct buf line = BUF_INIT, body = BUF_INIT;
	struct dbus_reader r = dbus_reader_of(m);
	const char *unit = m->signature[0] == 's' ? dbus_get_string(&r) : "";
	bool start = strcmp(m->member, "StartTransientUnit") == 0;

	buf_printf(&line, "%s %s", m->member, unit);
	if (start) {
		buf_printf(&line, " %s", dbus_get_string(&r));
		describe_all(&r, &line);
	} else if (strcmp(m->member, "SetUnitProperties") == 0) {
		buf_printf(&line, " %s", dbus_get_u32(&r) ? "runtime" : "persistent");
		describe_all(&r, &line);
	}
	fprintf(journal, "%s\n", buf_string(&line));
	fflush(journal);
	if (mode == REFUSES) {
		send_error(fd, m->serial, "org.freedesktop.DBus.Error.AccessDenied", "Permission denied");
	} else if (start && mode == UNIT_EXISTS && !was_reset) {
		send_error(fd, m->serial, "org.freedesktop.systemd1.UnitExists", "Unit was already loaded.");
	} else if ((start || strcmp(m->member, "SetUnitProperties") == 0) && !knows(buf_string(&line))) {
		send_error(fd, m->serial, "org.freedesktop.DBus.Error.PropertyReadOnly",
			   "Cannot set property, or unknown property.");
	} else if (start || strcmp(m->member, "StopUnit") == 0) {
		answer_job(fd, m->serial, unit);
	} else if (strcmp(m->member, "Get") == 0) {
		dbus_put_signature(&body, "s");
		dbus_put_string(&body, version);
		peer_send(fd, DBUS_RETURN, m->serial, NULL, "v", &body);
	} else {
		was_reset |= strcmp(m->member, "ResetFailedUnit") == 0;
		peer_send(fd, DBUS_RETURN, m->serial, NULL, NULL, NULL);
	}
}

static void serve(int listener)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		struct dbus_message m;

		if (fd < 0)
			_exit(0);
		peer_authenticate(fd, "OK x\r\n");
		while (peer_receive(fd, &m)) {
			on_call(fd, &m);
			dbus_message_deinit(&m);
		}
		close(fd);
	}
}

static void world_init(struct world *w, enum mode how, bool bus)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	fake_v2(&w->fake);
	snprintf(w->dir, sizeof(w->dir), "/tmp/test-systemd-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->socket, sizeof(w->socket), "%s/socket", w->dir);
	snprintf(w->log, sizeof(w->log), "%s/log", w->dir);
	w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memcpy(address.sun_path, w->socket, strlen(w->socket) + 1);
	assert_int_equal(bind(w->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(w->listener, 5), 0);
	journal = fopen(w->log, "we");
	assert_non_null(journal);
	mode = how;
	was_reset = false;
	w->pid = fork();
	if (w->pid == 0) {
		alarm(60);
		serve(w->listener);
	}
	close(w->listener);
	systemd_set_sockets(bus ? "/nonexistent" : w->socket, bus ? w->socket : "/nonexistent");
}

static void world_deinit(struct world *w)
{
	int status = 0;

	kill(w->pid, SIGKILL);
	assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
	/* The peer itself found nothing wrong. */
	assert_true(WIFSIGNALED(status));
	fclose(journal);
	unlink(w->socket);
	unlink(w->log);
	rmdir(w->dir);
	fake_deinit(&w->fake);
}

static const char *asked(const struct world *w)
{
	static char text[8192];
	_cleanup_fd_ int fd = open(w->log, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static struct cgroup *unit_of(const struct world *w)
{
	struct error e = ERROR_INIT;
	struct cgroup *cg = cgroup_new(w->fake.host, CGROUP_SYSTEMD, "pod.slice:cri:ctr", "ctr", false, &e);

	assert_non_null(cg);
	assert_string_equal(cgroup_path(cg), "pod.slice/cri-ctr.scope");
	assert_int_equal(cgroup_driver_of(cg), CGROUP_SYSTEMD);
	assert_int_equal(cgroup_create(cg, NULL, &e), 0);
	assert_int_equal(cgroup_open(cg), -1);
	return cg;
}

/* --- tests ---------------------------------------------------------------------------------------------- */

static void test_w08_a_scope_is_started_and_awaited(void **state)
{
	for (int round = 0; round < 4; round++) {
		struct world w;
		struct cgroup *cg;
		struct error e = ERROR_INIT;
		bool bus = round & 1;
		char expected[1024];

		(void)state;
		world_init(&w, round & 2 ? SIGNAL_FIRST : NORMAL, bus);
		cg = unit_of(&w);
		if (cgroup_attach(cg, 4242, &e) < 0)
			fail_msg("%s", e.text);
		snprintf(
			expected, sizeof(expected),
			"%sStartTransientUnit cri-ctr.scope replace Description=kata-agent container "
			"Slice=pod.slice "
			"DefaultDependencies=no Delegate=yes PIDs=pid CPUAccounting=yes MemoryAccounting=yes "
			"TasksAccounting=yes IOAccounting=yes CollectMode=inactive-or-failed\n",
			bus ? "Hello \nAddMatch "
			      "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/"
			      "systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'"
			      "\nSubscribe \n"
			    : "");
		assert_string_equal(asked(&w), expected);
		cgroup_free(cg);
		world_deinit(&w);
	}
}

static void test_errors_are_carried_to_the_caller(void **state)
{
	struct world w;
	struct cgroup *cg;
	struct error e = ERROR_INIT;

	(void)state;
	world_init(&w, JOB_FAILS, false);
	cg = unit_of(&w);
	assert_true(cgroup_attach(cg, 4242, &e) < 0);
	assert_string_equal(e.text, "start unit cri-ctr.scope: the job ended with \"failed\"");
	cgroup_free(cg);
	world_deinit(&w);
	world_init(&w, REFUSES, false);
	cg = unit_of(&w);
	assert_true(cgroup_attach(cg, 4242, &e) < 0);
	assert_string_equal(
		e.text,
		"start unit cri-ctr.scope: org.freedesktop.DBus.Error.AccessDenied: Permission denied");
	assert_true(cgroup_set(cg, &(struct cgroup_resources){.pids = SET(5)}, &e) < 0);
	assert_non_null(strstr(e.text, "set properties of unit cri-ctr.scope: "));
	cgroup_free(cg);
	world_deinit(&w);
}

static void test_a_failed_unit_of_that_name_is_forgotten(void **state)
{
	struct world w;
	struct cgroup *cg;
	struct error e = ERROR_INIT;

	(void)state;
	world_init(&w, UNIT_EXISTS, false);
	cg = unit_of(&w);
	if (cgroup_attach(cg, 4242, &e) < 0)
		fail_msg("%s", e.text);
	assert_non_null(strstr(asked(&w), "ResetFailedUnit cri-ctr.scope\nStartTransientUnit"));
	cgroup_free(cg);
	world_deinit(&w);
}

/* Its processes are somebody's: neither are they killed, nor is the scope stopped, when the creation is undone. */
static void test_a_scope_that_runs_is_left_alone(void **state)
{
	struct world w;
	struct error e = ERROR_INIT;

	(void)state;
	world_init(&w, NORMAL, false);
	fake_write(&w.fake, "/sys/fs/cgroup/pod.slice/cri-ctr.scope/cgroup.procs", "4242\n");
	struct cgroup *cg = cgroup_new(w.fake.host, CGROUP_SYSTEMD, "pod.slice:cri:ctr", "ctr", false, &e);
	assert_non_null(cg);
	assert_true(cgroup_create(cg, NULL, &e) < 0);
	assert_int_equal(e.code, STATUS_FAILED_PRECONDITION);
	assert_true(cgroup_delete(cg, &e) < 0);
	assert_string_equal(asked(&w), "");
	cgroup_free(cg);
	world_deinit(&w);
}

/* The scope's files, as systemd and the kernel would have made them. */
static void make_scope(const struct world *w)
{
	static const char *const knobs[] = {
		"cpu.weight",	"cpu.max",	   "cpuset.cpus",     "cpuset.mems", "memory.max",
		"memory.low",	"memory.swap.max", "pids.max",	      "io.max",	     "io.weight",
		"cgroup.procs", "cgroup.freeze",   "hugetlb.2MB.max", NULL};

	fake_knobs(&w->fake, "/sys/fs/cgroup/pod.slice/cri-ctr.scope", knobs);
}

static const char *scope_file(const struct world *w, const char *file)
{
	char path[200];

	snprintf(path, sizeof(path), "/sys/fs/cgroup/pod.slice/cri-ctr.scope/%s", file);
	return fake_read(&w->fake, path);
}

static void test_w08_limits_are_properties_and_files(void **state)
{
	static const struct cgroup_device_u64 rate[] = {{8, 0, 1000}};
	static const struct cgroup_named_u64 pages[] = {{"2MB", 4194304}};
	struct cgroup_resources r = {
		.cpu = {.shares = SET(512),
			.quota = SET(33333),
			.period = SET(100000),
			.cpus = "0-1,9,15",
			.mems = "0"},
		.memory = {.limit = SET(1000), .swap = SET(1500), .reservation = SET(500)},
		.pids = SET(-1),
		.io = {.weight = SET(1000), .read_bps = rate, .n_read_bps = 1},
		.hugepages = pages,
		.n_hugepages = 1,
	};
	struct world w;
	struct cgroup *cg;
	struct error e = ERROR_INIT;

	(void)state;
	world_init(&w, NORMAL, false);
	cg = unit_of(&w);
	make_scope(&w);
	if (cgroup_set(cg, &r, &e) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(
		asked(&w),
		"Get org.freedesktop.systemd1.Manager\n"
		"SetUnitProperties cri-ctr.scope runtime CPUWeight=20 CPUQuotaPeriodUSec=100000 "
		"CPUQuotaPerSecUSec=340000 MemoryMax=1000 MemoryLow=500 MemorySwapMax=500 "
		"TasksMax=18446744073709551615 AllowedCPUs=0382 AllowedMemoryNodes=01 IOWeight=10000 "
		"IOReadBandwidthMax=/dev/block/8:0:1000;\n");
	/* The exact quota, and what systemd has no property for. */
	assert_string_equal(scope_file(&w, "cpu.max"), "33333 100000");
	assert_string_equal(scope_file(&w, "hugetlb.2MB.max"), "4194304");
	assert_string_equal(scope_file(&w, "memory.swap.max"), "500");
	assert_string_equal(scope_file(&w, "pids.max"), "max");
	cgroup_free(cg);
	world_deinit(&w);
}

static void test_nothing_is_asked_without_limits(void **state)
{
	struct world w;
	struct cgroup *cg;
	struct error e = ERROR_INIT;

	(void)state;
	world_init(&w, NORMAL, false);
	cg = unit_of(&w);
	make_scope(&w);
	assert_int_equal(cgroup_set(cg, &(struct cgroup_resources){.devices_set = false}, &e), 0);
	assert_null(strstr(asked(&w), "SetUnitProperties"));
	cgroup_free(cg);
	world_deinit(&w);
}

static void test_an_old_systemd_gets_what_it_knows(void **state)
{
	struct cgroup_resources r = {.cpu = {.cpus = "0"}, .memory = {.limit = SET(1000)}};
	struct world w;
	struct cgroup *cg;
	struct error e = ERROR_INIT;

	(void)state;
	/* By its version, */
	version = "v240";
	world_init(&w, NORMAL, false);
	cg = unit_of(&w);
	make_scope(&w);
	assert_int_equal(cgroup_set(cg, &r, &e), 0);
	assert_non_null(strstr(asked(&w), "SetUnitProperties cri-ctr.scope runtime MemoryMax=1000\n"));
	assert_string_equal(scope_file(&w, "cpuset.cpus"), "0");
	cgroup_free(cg);
	world_deinit(&w);
	/* and by what it refuses. */
	version = "252";
	world_init(&w, OLD_PROPERTIES, false);
	cg = unit_of(&w);
	make_scope(&w);
	if (cgroup_attach(cg, 4242, &e) < 0 || cgroup_set(cg, &r, &e) < 0)
		fail_msg("%s", e.text);
	assert_non_null(strstr(asked(&w), "Delegate=yes PIDs=pid\n"));
	assert_non_null(strstr(asked(&w), "SetUnitProperties cri-ctr.scope runtime MemoryMax=1000\n"));
	assert_string_equal(scope_file(&w, "memory.max"), "1000");
	assert_string_equal(scope_file(&w, "cpuset.cpus"), "0");
	cgroup_free(cg);
	world_deinit(&w);
	version = "252.38-1~deb12u1";
}

static void test_w03_removal_does_not_need_systemd(void **state)
{
	struct world w;
	struct cgroup *cg;
	struct error e = ERROR_INIT;
	char path[300];

	(void)state;
	world_init(&w, NORMAL, false);
	cg = unit_of(&w);
	assert_int_equal(mkdir(cgroup_directory(cg, NULL), 0755), -1);
	snprintf(path, sizeof(path), "%s/sys/fs/cgroup/pod.slice", w.fake.root);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(mkdir(cgroup_directory(cg, NULL), 0755), 0);
	assert_int_equal(cgroup_delete(cg, &e), 0);
	assert_non_null(strstr(asked(&w), "StopUnit cri-ctr.scope\nResetFailedUnit cri-ctr.scope\n"));
	/* The slice is systemd's. */
	assert_int_equal(access(path, F_OK), 0);
	/* Dead from now on. */
	systemd_set_sockets("/nonexistent", "/nonexistent");
	assert_int_equal(mkdir(cgroup_directory(cg, NULL), 0755), 0);
	assert_int_equal(cgroup_delete(cg, &e), 0);
	assert_int_equal(access(cgroup_directory(cg, NULL), F_OK), -1);
	assert_true(cgroup_attach(cg, 4242, &e) < 0);
	assert_non_null(strstr(e.text, "start unit cri-ctr.scope: connect to \"/nonexistent\": ENOENT"));
	cgroup_free(cg);
	world_deinit(&w);
}

static void test_exec_joins_the_scope_without_systemd(void **state)
{
	struct world w;
	struct cgroup *cg;
	struct error e = ERROR_INIT;
	int fd;

	(void)state;
	world_init(&w, NORMAL, false);
	cg = unit_of(&w);
	make_scope(&w);
	assert_int_equal(cgroup_attach_exec(cg, 4243, 4242, &e), 0);
	assert_string_equal(scope_file(&w, "cgroup.procs"), "4243");
	fd = cgroup_open_exec(cg, 4242);
	assert_true(fd >= 0);
	fd_close(fd);
	assert_string_equal(asked(&w), "");
	cgroup_free(cg);
	world_deinit(&w);
}

static void test_versions_and_quotas(void **state)
{
	(void)state;
	assert_int_equal(systemd_version_parse("252.38-1~deb12u1"), 252);
	assert_int_equal(systemd_version_parse("v255"), 255);
	assert_int_equal(systemd_version_parse("\"254.1\""), 254);
	assert_int_equal(systemd_version_parse("none"), 0);
	assert_int_equal(systemd_version_parse(""), 0);
	assert_int_equal(systemd_version_parse("99999999999999999999"), 999999);
	assert_int_equal(systemd_cpu_quota(1000000, 500000), 2000000);
	assert_int_equal(systemd_cpu_quota(33333, 100000), 340000);
	assert_int_equal(systemd_cpu_quota(-1, 100000), UINT64_MAX);
	assert_int_equal(systemd_cpu_quota(INT64_MAX, 1), UINT64_MAX);
	assert_int_equal(systemd_cpu_quota(5, 0), UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_w08_a_scope_is_started_and_awaited),
		cmocka_unit_test(test_errors_are_carried_to_the_caller),
		cmocka_unit_test(test_a_failed_unit_of_that_name_is_forgotten),
		cmocka_unit_test(test_a_scope_that_runs_is_left_alone),
		cmocka_unit_test(test_w08_limits_are_properties_and_files),
		cmocka_unit_test(test_nothing_is_asked_without_limits),
		cmocka_unit_test(test_an_old_systemd_gets_what_it_knows),
		cmocka_unit_test(test_w03_removal_does_not_need_systemd),
		cmocka_unit_test(test_exec_joins_the_scope_without_systemd),
		cmocka_unit_test(test_versions_and_quotas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
