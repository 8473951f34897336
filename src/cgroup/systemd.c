/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The systemd driver: the cgroup is a transient scope, which systemd makes around the container's first
 * process.
 *
 * Each operation opens a connection of its own (they run in forked jobs), to systemd's private socket if it
 * answers, else to the system bus, and has a deadline. A job of systemd's is awaited: only when its result is
 * "done" is the process where it should be. Limits go to systemd as properties, so that it knows them and
 * keeps them when it reloads, and are then also written to the files of the scope, which is delegated to us:
 * systemd rounds some and has no property for others. A property that an older systemd does not know is
 * therefore no error.
 *
 * On v1 systemd keeps some hierarchies only: in the others the directories are made and joined here. Errors
 * of systemd are carried to the caller with their names.
 */
#include "cgroup/systemd.h"
#include "cgroup/cpuset.h"
#include "cgroup/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/dbus.h"
#include "base/log.h"
#include "base/str.h"

enum { CALL_MS = 30000, FREEZE_MS = 2000, STOP_MS = 5000 };

#define SYSTEMD "org.freedesktop.systemd1"
#define MANAGER "org.freedesktop.systemd1.Manager"
#define MANAGER_PATH "/org/freedesktop/systemd1"

static const char *private_socket = "/run/systemd/private";
static const char *bus_socket = "/run/dbus/system_bus_socket";

void systemd_set_sockets(const char *private, const char *bus)
{
	private_socket = private;
	bus_socket = bus;
}

/* --- the connection ------------------------------------------------------------------------------------- */

/* Which job of ours ended how. */
struct job_watch {
	const char *unit;
	bool done;
	char job[256];	 /* ours, once it is known */
	char ended[256]; /* the one that the signal was for */
	char result[64];
};

static void on_signal(const struct dbus_message *signal, void *data)
{
	struct job_watch *watch = data;
	struct dbus_reader reader;
	const char *job, *unit, *result;

	if (strcmp(signal->member, "JobRemoved") != 0 || strcmp(signal->interface, MANAGER) != 0 ||
	    strcmp(signal->signature, "uoss") != 0)
		return;
	reader = dbus_reader_of(signal);
	dbus_get_u32(&reader);
	job = dbus_get_string(&reader);
	unit = dbus_get_string(&reader);
	result = dbus_get_string(&reader);
	if (reader.failed || !watch->unit || strcmp(unit, watch->unit) != 0)
		return;
	/* The signal may come before the answer that names the job: both are kept and compared. */
	if (watch->job[0] && strcmp(watch->job, job) != 0)
		return;
	snprintf(watch->ended, sizeof(watch->ended), "%s", job);
	snprintf(watch->result, sizeof(watch->result), "%s", result);
	watch->done = true;
}

static struct dbus *connect_systemd(unsigned timeout_ms, bool *bus, struct error *e)
{
	struct dbus *dbus = dbus_open(private_socket, false, timeout_ms, NULL);

	*bus = !dbus;
	return dbus ? dbus : dbus_open(bus_socket, true, timeout_ms, e);
}

static int call_manager(struct dbus *dbus, const char *member, const char *signature, const struct buf *body,
			struct dbus_message *reply, struct error *e)
{
	const struct dbus_call call = {
		.destination = SYSTEMD,
		.path = MANAGER_PATH,
		.interface = MANAGER,
		.member = member,
		.signature = signature,
		.body = body,
	};

	return dbus_call(dbus, &call, reply, e);
}

/* Signals of systemd's must be asked for: at the bus, and at systemd itself. On the private socket they
 * just come. */
static int subscribe(struct dbus *dbus, bool bus, struct error *e)
{
	_cleanup_buf_ struct buf body = BUF_INIT;
	const struct dbus_call match = {
		.destination = "org.freedesktop.DBus",
		.path = "/org/freedesktop/DBus",
		.interface = "org.freedesktop.DBus",
		.member = "AddMatch",
		.signature = "s",
		.body = &body,
	};
	int r;

	if (!bus)
		return 0;
	dbus_put_string(&body, "type='signal',sender='" SYSTEMD "',path='" MANAGER_PATH
			       "',interface='" MANAGER "',member='JobRemoved'");
	r = dbus_call(dbus, &match, NULL, e);
	if (r == 0)
		r = call_manager(dbus, "Subscribe", NULL, NULL, NULL, e);
	return r == -EREMOTEIO ? 0 : r;
}

static bool is_error(const struct dbus_message *reply, const char *name)
{
	return reply->data && strcmp(reply->error_name, name) == 0;
}

static bool is_unknown_property(const struct dbus_message *reply)
{
	return is_error(reply, "org.freedesktop.DBus.Error.PropertyReadOnly") ||
	       is_error(reply, "org.freedesktop.DBus.Error.UnknownProperty");
}

/* --- properties ----------------------------------------------------------------------------------------- */

/* Each is a struct of name and variant. */
static void put_name(struct buf *body, const char *name, const char *signature)
{
	dbus_put_struct(body);
	dbus_put_string(body, name);
	dbus_put_signature(body, signature);
}

static void put_bool(struct buf *body, const char *name, bool value)
{
	put_name(body, name, "b");
	dbus_put_bool(body, value);
}

static void put_u64(struct buf *body, const char *name, uint64_t value)
{
	put_name(body, name, "t");
	dbus_put_u64(body, value);
}

static void put_text(struct buf *body, const char *name, const char *value)
{
	put_name(body, name, "s");
	dbus_put_string(body, value);
}

static void put_pid(struct buf *body, pid_t pid)
{
	size_t mark;

	put_name(body, "PIDs", "au");
	mark = dbus_array_begin(body, 4);
	dbus_put_u32(body, (uint32_t)pid);
	dbus_array_end(body, mark, 4);
}

/* --- starting ------------------------------------------------------------------------------------------- */

static void put_scope(struct buf *body, const struct cgroup *cg, pid_t pid, bool all)
{
	bool v2 = cg->host->layout == CGROUP_V2;
	size_t properties, aux;

	dbus_put_string(body, cg->unit);
	dbus_put_string(body, "replace");
	properties = dbus_array_begin(body, 8);
	put_text(body, "Description", "kata-agent container");
	put_text(body, "Slice", cg->slice);
	put_bool(body, "DefaultDependencies", false);
	put_bool(body, "Delegate", true);
	put_pid(body, pid);
	if (all) {
		put_bool(body, "CPUAccounting", true);
		put_bool(body, "MemoryAccounting", true);
		put_bool(body, "TasksAccounting", true);
		put_bool(body, v2 ? "IOAccounting" : "BlockIOAccounting", true);
		put_text(body, "CollectMode", "inactive-or-failed");
	}
	dbus_array_end(body, properties, 8);
	aux = dbus_array_begin(body, 8);
	dbus_array_end(body, aux, 8);
}

static int call_unit(struct dbus *dbus, const char *member, const char *unit, struct error *e)
{
	_cleanup_buf_ struct buf body = BUF_INIT;

	dbus_put_string(&body, unit);
	return call_manager(dbus, member, "s", &body, NULL, e);
}

static int start_once(struct dbus *dbus, const struct cgroup *cg, pid_t pid, bool all,
		      struct dbus_message *reply, struct error *e)
{
	_cleanup_buf_ struct buf body = BUF_INIT;

	put_scope(&body, cg, pid, all);
	return call_manager(dbus, "StartTransientUnit", "ssa(sv)a(sa(sv))", &body, reply, e);
}

/* A scope of that name which failed earlier stands in the way until it is forgotten; an old systemd may
 * not know all properties. Both are tried again, once. */
static int start_scope(struct dbus *dbus, const struct cgroup *cg, pid_t pid, struct dbus_message *reply,
		       struct error *e)
{
	bool all = true;
	int r = start_once(dbus, cg, pid, all, reply, e);

	if (r == -EREMOTEIO && is_unknown_property(reply)) {
		all = false;
		dbus_message_deinit(reply);
		r = start_once(dbus, cg, pid, all, reply, e);
	}
	if (r == -EREMOTEIO && is_error(reply, SYSTEMD ".UnitExists") &&
	    call_unit(dbus, "ResetFailedUnit", cg->unit, NULL) == 0) {
		dbus_message_deinit(reply);
		r = start_once(dbus, cg, pid, all, reply, e);
	}
	return r;
}

/* The answer to a call that made a job is the job's path; its end is a signal. */
static int await_job(struct dbus *dbus, struct job_watch *watch, const struct dbus_message *reply,
		     struct error *e)
{
	struct dbus_reader reader = dbus_reader_of(reply);
	int r;

	if (strcmp(reply->signature, "o") != 0)
		return error_set(e, STATUS_INTERNAL, EPROTO, "systemd answered without a job");
	snprintf(watch->job, sizeof(watch->job), "%s", dbus_get_string(&reader));
	if (strcmp(watch->job, watch->ended) != 0)
		watch->done = false;
	r = dbus_wait(dbus, &watch->done, e);
	if (r < 0)
		return r;
	if (strcmp(watch->result, "done") != 0)
		return error_set(e, STATUS_INTERNAL, EIO, "the job ended with \"%s\"", watch->result);
	return 0;
}

static int start_and_wait(const struct cgroup *cg, pid_t pid, struct error *e)
{
	_cleanup_dbus_message_ struct dbus_message reply = {.data = NULL};
	struct job_watch watch = {.unit = cg->unit};
	bool bus;
	struct dbus *dbus = connect_systemd(CALL_MS, &bus, e);
	int r;

	if (!dbus)
		return error_result(e);
	dbus_on_signal(dbus, on_signal, &watch);
	r = subscribe(dbus, bus, e);
	if (r == 0)
		r = start_scope(dbus, cg, pid, &reply, e);
	if (r == 0)
		r = await_job(dbus, &watch, &reply, e);
	dbus_close(dbus);
	return r;
}

/* v1: what systemd did not make, we make, and the process joins. */
static int complete_v1(struct cgroup *cg, struct error *e)
{
	for (size_t i = 0; i < cg->host->count; i++) {
		const struct hierarchy *h = &cg->host->hierarchies[i];
		bool made;
		int r = 0;

		if (h->v2 || h->controllers == 0)
			continue;
		r = tree_make(cg, (int)i, 0, &made, e);
		if (r == 0 && (h->controllers & 1u << CONTROLLER_CPUSET))
			r = cpuset_fill(cg, (int)i, false, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int systemd_start(struct cgroup *cg, pid_t pid, struct error *e)
{
	int r = start_and_wait(cg, pid, e);

	if (r < 0)
		return error_prefix(e, "start unit %s", cg->unit);
	return cg->host->layout == CGROUP_V2 ? 0 : complete_v1(cg, e);
}

/* --- limits --------------------------------------------------------------------------------------------- */

/* "252.38-1~deb12u1", "v255", "\"254\"" → the number; 0 when there is none. */
unsigned systemd_version_parse(const char *text)
{
	unsigned version = 0;

	while (*text && (*text < '0' || *text > '9'))
		text++;
	for (; *text >= '0' && *text <= '9' && version < 100000; text++)
		version = version * 10 + (unsigned)(*text - '0');
	return version;
}

static unsigned ask_version(struct dbus *dbus)
{
	_cleanup_dbus_message_ struct dbus_message reply = {.data = NULL};
	_cleanup_buf_ struct buf body = BUF_INIT;
	const struct dbus_call call = {
		.destination = SYSTEMD,
		.path = MANAGER_PATH,
		.interface = "org.freedesktop.DBus.Properties",
		.member = "Get",
		.signature = "ss",
		.body = &body,
	};
	struct dbus_reader reader;

	dbus_put_string(&body, MANAGER);
	dbus_put_string(&body, "Version");
	if (dbus_call(dbus, &call, &reply, NULL) < 0 || strcmp(reply.signature, "v") != 0)
		return 0;
	reader = dbus_reader_of(&reply);
	return strcmp(dbus_get_signature(&reader), "s") == 0 ? systemd_version_parse(dbus_get_string(&reader))
							     : 0;
}

/* One property, kept apart so that one which is not known costs no other. */
struct property {
	struct buf body; /* name and variant */
};

enum { PROPERTIES_MAX = 24 };

struct property_list {
	struct property items[PROPERTIES_MAX];
	size_t count;
};

static struct buf *property_add(struct property_list *list)
{
	struct property *p = &list->items[list->count++];

	p->body = BUF_INIT;
	return &p->body;
}

static void property_list_deinit(struct property_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		buf_deinit(&list->items[i].body);
}

static uint64_t or_infinity(int64_t value)
{
	return value < 0 ? UINT64_MAX : (uint64_t)value;
}

/* systemd's quota is per second of time, in steps of 10 ms; it is rounded up, and the file gets the exact
 * one. */
uint64_t systemd_cpu_quota(int64_t quota, uint64_t period)
{
	uint64_t per_second;

	if (quota <= 0 || period == 0)
		return UINT64_MAX;
	if (__builtin_mul_overflow((uint64_t)quota, 1000000u, &per_second))
		return UINT64_MAX;
	per_second /= period;
	return per_second > UINT64_MAX - 10000 ? UINT64_MAX : (per_second + 9999) / 10000 * 10000;
}

#define GIVEN(r, member) ((r)->member.set && (r)->member.value != 0)

static void add_cpu(struct property_list *list, const struct cgroup_resources *r, bool v2, unsigned version)
{
	uint64_t period = GIVEN(r, cpu.period) ? r->cpu.period.value : 100000;
	bool idle = r->cpu.idle.set && r->cpu.idle.value == 1;

	if (v2 && idle && version >= 252)
		put_u64(property_add(list), "CPUWeight", 0);
	else if (GIVEN(r, cpu.shares) && v2)
		put_u64(property_add(list), "CPUWeight", cpu_weight_of_shares(r->cpu.shares.value));
	else if (GIVEN(r, cpu.shares))
		put_u64(property_add(list), "CPUShares",
			r->cpu.shares.value < 2	       ? 2
			: r->cpu.shares.value > 262144 ? 262144
						       : r->cpu.shares.value);
	if (GIVEN(r, cpu.period) && version >= 242)
		put_u64(property_add(list), "CPUQuotaPeriodUSec", period);
	if (GIVEN(r, cpu.quota))
		put_u64(property_add(list), "CPUQuotaPerSecUSec",
			systemd_cpu_quota(r->cpu.quota.value, period));
}

static void add_list(struct property_list *list, const char *name, const char *text)
{
	struct cpu_list cpus;
	struct buf *body;
	size_t mark;

	if (str_is_empty(text) || !cpu_list_parse(text, &cpus))
		return;
	body = property_add(list);
	put_name(body, name, "ay");
	mark = dbus_array_begin(body, 1);
	for (size_t i = 0; i < cpu_list_bytes(&cpus); i++)
		dbus_put_byte(body, cpus.bits[i]);
	dbus_array_end(body, mark, 1);
}

static void add_memory(struct property_list *list, const struct cgroup_resources *r, bool v2)
{
	int64_t limit = GIVEN(r, memory.limit) ? r->memory.limit.value : 0;
	int64_t swap = GIVEN(r, memory.swap) ? r->memory.swap.value : 0;

	if (limit)
		put_u64(property_add(list), v2 ? "MemoryMax" : "MemoryLimit", or_infinity(limit));
	if (v2 && GIVEN(r, memory.reservation))
		put_u64(property_add(list), "MemoryLow", or_infinity(r->memory.reservation.value));
	if (!v2)
		return;
	/* Of memory and swap together; swap alone without a limit in this request is left to the file. */
	if (swap < 0 || (limit < 0 && swap == 0))
		put_u64(property_add(list), "MemorySwapMax", UINT64_MAX);
	else if (swap > 0 && limit > 0 && swap >= limit)
		put_u64(property_add(list), "MemorySwapMax", (uint64_t)(swap - limit));
}

/* a(st): the device by its path, and a number. */
static void add_devices(struct property_list *list, const char *name, const struct cgroup_device_u64 *devices,
			size_t n, bool weight, bool v2)
{
	struct buf *body;
	size_t mark;

	if (n == 0)
		return;
	body = property_add(list);
	put_name(body, name, "a(st)");
	mark = dbus_array_begin(body, 8);
	for (size_t i = 0; i < n; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/dev/block/%" PRId64 ":%" PRId64, devices[i].major,
			 devices[i].minor);
		dbus_put_struct(body);
		dbus_put_string(body, path);
		dbus_put_u64(body, !weight ? devices[i].value ? devices[i].value : UINT64_MAX
				   : v2	   ? io_weight_of_blkio(devices[i].value)
					   : devices[i].value);
	}
	dbus_array_end(body, mark, 8);
}

static void add_io(struct property_list *list, const struct cgroup_resources *r, bool v2)
{
	if (GIVEN(r, io.weight))
		put_u64(property_add(list), v2 ? "IOWeight" : "BlockIOWeight",
			v2 ? io_weight_of_blkio(r->io.weight.value) : r->io.weight.value);
	add_devices(list, v2 ? "IODeviceWeight" : "BlockIODeviceWeight", r->io.weight_device,
		    r->io.n_weight_device, true, v2);
	add_devices(list, v2 ? "IOReadBandwidthMax" : "BlockIOReadBandwidth", r->io.read_bps,
		    r->io.n_read_bps, false, v2);
	add_devices(list, v2 ? "IOWriteBandwidthMax" : "BlockIOWriteBandwidth", r->io.write_bps,
		    r->io.n_write_bps, false, v2);
	if (!v2)
		return;
	add_devices(list, "IOReadIOPSMax", r->io.read_iops, r->io.n_read_iops, false, v2);
	add_devices(list, "IOWriteIOPSMax", r->io.write_iops, r->io.n_write_iops, false, v2);
}

static void add_properties(struct property_list *list, const struct cgroup_resources *r, bool v2,
			   unsigned version)
{
	add_cpu(list, r, v2, version);
	add_memory(list, r, v2);
	if (r->pids.set)
		put_u64(property_add(list), "TasksMax",
			r->pids.value < 0    ? UINT64_MAX
			: r->pids.value == 0 ? 1
					     : (uint64_t)r->pids.value);
	if (v2 && version >= 244) {
		add_list(list, "AllowedCPUs", r->cpu.cpus);
		add_list(list, "AllowedMemoryNodes", r->cpu.mems);
	}
	add_io(list, r, v2);
}

/* Properties @from … @from + @n - 1. */
static int set_some(struct dbus *dbus, const char *unit, const struct property_list *list, size_t from,
		    size_t n, struct dbus_message *reply, struct error *e)
{
	_cleanup_buf_ struct buf body = BUF_INIT;
	size_t mark;

	dbus_put_string(&body, unit);
	dbus_put_bool(&body, true);
	mark = dbus_array_begin(&body, 8);
	/* Each begins at a multiple of 8 and was written from one, so the bytes fit as they are. */
	for (size_t i = from; i < from + n; i++) {
		dbus_put_struct(&body);
		buf_append(&body, buf_begin(&list->items[i].body), list->items[i].body.length);
	}
	dbus_array_end(&body, mark, 8);
	return call_manager(dbus, "SetUnitProperties", "sba(sv)", &body, reply, e);
}

/* All at once; if one is not known, one at a time, and those that are not are left to the files. */
static int set_all(struct dbus *dbus, const char *unit, const struct property_list *list, struct error *e)
{
	_cleanup_dbus_message_ struct dbus_message reply = {.data = NULL};
	int r = set_some(dbus, unit, list, 0, list->count, &reply, e);

	if (r != -EREMOTEIO || !is_unknown_property(&reply))
		return r;
	for (size_t i = 0; i < list->count; i++) {
		dbus_message_deinit(&reply);
		r = set_some(dbus, unit, list, i, 1, &reply, e);
		if (r == -EREMOTEIO && is_unknown_property(&reply))
			log_info("cgroup", "systemd does not know a property: only the file is written",
				 "unit", unit, "error", e ? e->text : NULL);
		else if (r < 0)
			return r;
	}
	return 0;
}

int systemd_set(struct cgroup *cg, const struct cgroup_resources *resources, struct error *e)
{
	struct property_list list = {.count = 0};
	bool bus;
	struct dbus *dbus = connect_systemd(CALL_MS, &bus, e);
	int r = 0;

	/* The scope is delegated and stays when systemd cannot be asked any more: its files are what limits. */
	if (!dbus) {
		log_warning("cgroup", "systemd cannot be asked: only the files are written", "unit", cg->unit,
			    "error", e ? e->text : NULL);
		return 0;
	}
	add_properties(&list, resources, cg->host->layout == CGROUP_V2, ask_version(dbus));
	if (list.count)
		r = set_all(dbus, cg->unit, &list, e);
	property_list_deinit(&list);
	dbus_close(dbus);
	return r < 0 ? error_prefix(e, "set properties of unit %s", cg->unit) : 0;
}

/* --- the rest ------------------------------------------------------------------------------------------- */

int systemd_freeze(struct cgroup *cg, bool freeze, struct error *e)
{
	bool bus;
	struct dbus *dbus = connect_systemd(FREEZE_MS, &bus, e);
	int r = dbus ? call_unit(dbus, freeze ? "FreezeUnit" : "ThawUnit", cg->unit, e) : -ENOTCONN;

	dbus_close(dbus);
	return r;
}

void systemd_stop(struct cgroup *cg)
{
	_cleanup_dbus_message_ struct dbus_message reply = {.data = NULL};
	_cleanup_buf_ struct buf body = BUF_INIT;
	struct job_watch watch = {.unit = cg->unit};
	struct error e = ERROR_INIT;
	bool bus;
	struct dbus *dbus = connect_systemd(STOP_MS, &bus, &e);

	if (!dbus)
		return;
	dbus_on_signal(dbus, on_signal, &watch);
	dbus_put_string(&body, cg->unit);
	dbus_put_string(&body, "replace");
	if (subscribe(dbus, bus, &e) == 0 && call_manager(dbus, "StopUnit", "ss", &body, &reply, &e) == 0)
		await_job(dbus, &watch, &reply, &e);
	/* A scope that is gone already is what was wanted. */
	call_unit(dbus, "ResetFailedUnit", cg->unit, NULL);
	dbus_close(dbus);
}
