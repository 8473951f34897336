/* SPDX-License-Identifier: Apache-2.0 */

/* Records survive the file; what is no record is refused; a container goes on in another process. */

#include <sys/socket.h>
#include <sys/un.h>

#include "engine/record.h"
#include "test-engine.h"

static const char sample[] =
	"{\"version\":1,\"id\":\"web\",\"bundle\":\"/"
	"b\",\"rootfs\":\"rootfs\",\"status\":\"running\",\"pid\":12,"
	"\"startTime\":345,\"namespaces\":131072,\"cgroupsPath\":\"/x\",\"cgroupDriver\":\"cgroupfs\","
	"\"ownUser\":false,\"created\":1700000000000000000}";

static void a_record_survives_the_file(void **state)
{
	struct container_record in, out;
	struct error e = ERROR_INIT;
	char dir[] = "/tmp/engine-record-XXXXXX";

	assert_non_null(mkdtemp(dir));
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(container_record_parse(sample, strlen(sample), &in, &e), 0);
	in.extra = strdup("owner's \"own\"");
	assert_int_equal(container_record_load(fd, "state.json", &out, &e), -ENOENT);
	assert_int_equal(e.code, STATUS_NOT_FOUND);
	assert_int_equal(container_record_save(&in, fd, "state.json", &e), 0);
	assert_int_equal(container_record_save(&in, fd, "state.json", &e), 0);
	assert_int_equal(container_record_load(fd, "state.json", &out, &e), 0);
	assert_string_equal(out.id, "web");
	assert_string_equal(out.bundle, "/b");
	assert_string_equal(out.extra, in.extra);
	assert_int_equal(out.status, CONTAINER_RUNNING);
	assert_int_equal(out.pid, 12);
	assert_int_equal(out.start_time, 345);
	assert_int_equal(out.namespaces, 131072);
	assert_true(out.created == 1700000000000000000);
	container_record_deinit(&in);
	container_record_deinit(&out);
	assert_int_equal(unlinkat(fd, "state.json", 0), 0);
	assert_int_equal(rmdir(dir), 0); /* no temporary file is left */
	fd_close(fd);
}

static void what_is_no_record_is_refused(void **state)
{
	static const char *const edits[][2] = {
		{"\"version\":1", "\"version\":2"},
		{"\"web\"", "\"../web\""},
		{"12", "-1"},
		{"12", "99999999999"},
		{"\"running\"", "\"flying\""},
		{"\"cgroupfs\"", "\"other\""},
		{"345", "\"345\""},
		{"\"rootfs\":\"rootfs\",", ""},
		{"{", "[{"},
		{"\"created\":1700000000000000000", "\"created\":1.5"},
	};

	for (size_t i = 0; i < array_length(edits); i++) {
		struct container_record record;
		struct error e = ERROR_INIT;
		char text[1024];
		const char *at = strstr(sample, edits[i][0]);

		assert_non_null(at);
		snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - sample), sample, edits[i][1],
			 at + strlen(edits[i][0]));
		assert_int_equal(container_record_parse(text, strlen(text), &record, &e), -EINVAL);
		assert_null(record.id);
	}
	for (size_t length = 0; length < strlen(sample); length++) {
		struct container_record record;
		assert_int_equal(container_record_parse(sample, length, &record, NULL), -EINVAL);
	}
}

static void a_pid_is_known_by_its_start(void **state)
{
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct container_record record = {.pid = getpid(), .start_time = record_start_time(proc, getpid())};

	assert_true(record.start_time > 0);
	assert_true(container_record_alive(&record, proc));
	record.start_time++;
	assert_false(container_record_alive(&record, proc));
	assert_int_equal(record_start_time(proc, 0), 0);
	fd_close(proc);
}

/* --- the way of the OCI command line ------------------------------------------------------------------------ */

static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* What `create` leaves: a process at its gate, and a record. In a process of its own, which ends. */
static void create_elsewhere(const struct part *part, const char *gate_path, int directory)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct error e = ERROR_INIT;
		struct outcome outcome;
		struct container_record record;
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		/* Not ours to free, and not lost. */
		const struct stage parents = stage;
		(void)parents;
		stage.loop = loop_new();
		const struct engine_options options = {.loop = stage.loop};
		stage.engine = engine_new(&options, &e);
		struct container_params params = {
			.gate = listen_at(gate_path),
			.stdio = {.kind = STDIO_INHERIT, .fds = {null, null, null}}};
		struct container *container = create_with(part, &params, &outcome);
		if (await_outcome(&outcome) < 0 || container_record_make(container, &record) < 0 ||
		    container_record_save(&record, directory, "state.json", &e) < 0)
			_exit(1);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static struct container *restore(const struct part *part, const struct container_record *record, int gate)
{
	struct error e = ERROR_INIT;
	struct arena *arena = arena_new(0);
	Grpc__Spec *spec = make_spec(part, arena);
	struct container *container = container_restore(stage.engine, record, spec, arena, gate, &e);

	if (!container)
		fail_msg("%s", e.text);
	return container;
}

static void a_container_goes_on_in_another_process(void **state)
{
	NEEDS_STAGE();
	char gate[128], made[160];
	struct container_record record;
	struct error e = ERROR_INIT;
	const struct part part = {.script = "echo started > /tmp/made; exec sleep 100"};
	int directory = open(stage.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	snprintf(gate, sizeof(gate), "%s/gate", stage.dir);
	snprintf(made, sizeof(made), "%s/tmp/made", stage.rootfs);
	create_elsewhere(&part, gate, directory);
	assert_int_equal(container_record_load(directory, "state.json", &record, &e), 0);
	assert_int_equal(record.status, CONTAINER_CREATED);

	/* A visitor that says nonsense is sent away and hurts nobody. */
	int visitor = connect_to(gate);
	assert_int_equal(send(visitor, "hello", 5, MSG_NOSIGNAL), 5);
	fd_close(visitor);

	struct container *container = restore(&part, &record, connect_to(gate));
	assert_int_equal(container_status(container), CONTAINER_CREATED);
	must_start(container);
	assert_int_equal(container_status(container), CONTAINER_RUNNING);
	for (int i = 0; i < 100 && access(made, F_OK) < 0; i++)
		usleep(10000);
	assert_int_equal(unlink(made), 0);
	/* The next command: its record says running. */
	container_free(container);
	record.status = CONTAINER_RUNNING;
	container = restore(&part, &record, -1);
	assert_int_equal(container_status(container), CONTAINER_RUNNING);

	struct outcome outcome = {.error = ERROR_INIT};
	struct arena *arena = arena_new(0);
	const struct part command = {.script = "exit 5", .process = ""};
	const struct exec_params params = {
		.exec_id = "x", .process = make_process(&command, arena), .stdio = {.console_socket = -1}};
	struct process *process = container_exec(container, &params, on_done, &outcome, &e);
	assert_non_null(process);
	if (await_outcome(&outcome) < 0)
		fail_msg("%s", outcome.error.text);
	await_exit(process);
	assert_int_equal(process->exit_code, 5);
	arena_free(arena);

	assert_int_equal(process_signal(container_init(container), SIGKILL, &e), 0);
	await_exit(container_init(container));
	assert_int_equal(container_status(container), CONTAINER_STOPPED);
	must_delete(container);
	/* And after all that there is nothing any more. */
	container = restore(&part, &record, -1);
	assert_int_equal(container_status(container), CONTAINER_STOPPED);
	must_delete(container);
	container_record_deinit(&record);
	assert_int_equal(unlink(gate), 0);
	assert_int_equal(unlinkat(directory, "state.json", 0), 0);
	fd_close(directory);
}

static void errors_come_through_the_gate(void **state)
{
	NEEDS_STAGE();
	char gate[128];
	struct container_record record;
	struct error e = ERROR_INIT;
	struct outcome outcome;
	const struct part part = {.script = "true",
				  .top = ",\"hooks\":{\"startContainer\":[{\"path\":\"/bin/"
					 "sh\",\"args\":[\"sh\",\"-c\",\"exit 9\"]}]}"};
	int directory = open(stage.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	snprintf(gate, sizeof(gate), "%s/gate", stage.dir);
	create_elsewhere(&part, gate, directory);
	assert_int_equal(container_record_load(directory, "state.json", &record, &e), 0);
	struct container *container = restore(&part, &record, connect_to(gate));
	assert_true(start(container, &outcome) < 0);
	assert_non_null(strstr(outcome.error.text, "startContainer"));
	await_exit(container_init(container));
	must_delete(container);
	container_record_deinit(&record);
	assert_int_equal(unlink(gate), 0);
	assert_int_equal(unlinkat(directory, "state.json", 0), 0);
	fd_close(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_survives_the_file),
		cmocka_unit_test(what_is_no_record_is_refused),
		cmocka_unit_test(a_pid_is_known_by_its_start),
		stage_test(a_container_goes_on_in_another_process),
		stage_test(errors_come_through_the_gate),
	};
	return cmocka_run_group_tests(tests, stage_set_up, stage_tear_down);
}
