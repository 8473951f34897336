/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_CGROUP_H
#define CGROUP_CGROUP_H

/*
 * One interface to control groups, three drivers: cgroupfs on v1 (also named and hybrid layouts), cgroupfs on v2, and
 * systemd (which keeps the tree and is asked over D-Bus).
 *
 * The driver is chosen in the guest, by the guest, from what the guest is: see cgroup_choose(). The root cgroup, and
 * whatever is not ours, is never killed, frozen, limited or removed.
 *
 * Calls marked [blocks] may wait (for the kernel, for systemd) up to their bound: call them in a job. All others do a
 * few system calls on kernel file systems and return.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/loop.h"

enum cgroup_layout { CGROUP_NONE, CGROUP_V1, CGROUP_HYBRID, CGROUP_V2 };
enum cgroup_driver { CGROUP_CGROUPFS, CGROUP_SYSTEMD };
enum cgroup_pin { CGROUP_PIN_AUTO, CGROUP_PIN_CGROUPFS, CGROUP_PIN_SYSTEMD };

/* What the machine has: mounted hierarchies, controllers, our own place. Looked at once. */
struct cgroup_host;
/* @root: "/" or, for tests, a directory that holds proc/ and sys/. Never fails for a machine without cgroups (layout
 * CGROUP_NONE); NULL only when memory is out. */
struct cgroup_host *cgroup_host_new(const char *root, struct error *e);
void cgroup_host_free(struct cgroup_host *host);
enum cgroup_layout cgroup_host_layout(const struct cgroup_host *host);
/* "cpu", "memory", "pids", … usable here. */
bool cgroup_host_has(const struct cgroup_host *host, const char *controller);

/* /run/systemd/system exists and the system bus or systemd's private socket accepts a connection. */
bool cgroup_systemd_running(void);

/* Form of a path as hosts send it: exactly two ':' (systemd) or not (cgroupfs). What could be no name of a unit ("/",
 * "@", blanks, too long) is not systemd's either. A first part that is no slice stands for system.slice. */
bool cgroup_path_is_systemd(const char *path);

/*
 * The choice (docs/architecture.md, "The cgroup driver"): PID 1 → cgroupfs, always; else systemd only where its form is
 * asked for (or the operator pinned it) and it is there; else cgroupfs. A pin to systemd where it is not there, or as
 * PID 1, gives cgroupfs. Pure. *@why (may be NULL) is a static sentence for the log.
 */
enum cgroup_driver cgroup_choose(bool pid1, const char *path, bool systemd_running, enum cgroup_pin pin,
				 const char **why);

/*
 * The path below the hierarchies' root for cgroupfs: `slice:prefix:name` → `slice/prefix/name`, "" → `id`, a path
 * without a name part gets the id. Refused: "..", ".", empty result, parts over 255 bytes, the whole over 4000, control
 * characters, invalid UTF-8. malloc'ed without a leading "/", or NULL with @e set (INVALID_ARGUMENT).
 */
char *cgroup_path_translate(const char *path, const char *id, struct error *e);

/* --- what is limited ---------------------------------------------------------------------------------------- */

/* A value that may be absent. -1 is "unlimited" where the runtime-spec says so. */
struct cgroup_i64 {
	bool set;
	int64_t value;
};
struct cgroup_u64 {
	bool set;
	uint64_t value;
};

struct cgroup_device_rule {
	bool allow;
	char type;     /* 'a', 'b', 'c' */
	int64_t major; /* negative: any */
	int64_t minor;
	char access[4]; /* subset of "rwm"; "" is all */
};
struct cgroup_device_u64 { /* per-device value of block I/O */
	int64_t major;
	int64_t minor;
	uint64_t value;
};
struct cgroup_named_u64 {
	const char *name;
	uint64_t value;
};
struct cgroup_rdma {
	const char *device;
	struct cgroup_u64 hca_handles;
	struct cgroup_u64 hca_objects;
};
struct cgroup_text {
	const char *name;
	const char *value;
};

/* The runtime-spec's linux.resources, in plain C. All pointers are borrowed. */
struct cgroup_resources {
	struct {
		struct cgroup_i64 limit, reservation, swap, kernel,
			kernel_tcp; /* bytes; swap is memory+swap */
		struct cgroup_u64 swappiness;
		bool disable_oom_killer;
		bool check_before_update;
		struct cgroup_i64 use_hierarchy; /* boolean */
	} memory;
	struct {
		struct cgroup_u64 shares, period, burst, realtime_period;
		struct cgroup_i64 quota, realtime_runtime, idle;
		const char *cpus; /* NULL or "": leave alone */
		const char *mems;
	} cpu;
	struct cgroup_i64 pids; /* 0 and negative: see cgroup_set() */
	struct {
		struct cgroup_u64 weight, leaf_weight;
		const struct cgroup_device_u64 *weight_device, *leaf_weight_device;
		size_t n_weight_device, n_leaf_weight_device;
		const struct cgroup_device_u64 *read_bps, *write_bps, *read_iops, *write_iops;
		size_t n_read_bps, n_write_bps, n_read_iops, n_write_iops;
	} io;
	const struct cgroup_named_u64 *hugepages; /* name: "2MB" */
	size_t n_hugepages;
	struct cgroup_u64 net_class;
	const struct cgroup_named_u64 *net_priorities;
	size_t n_net_priorities;
	const struct cgroup_rdma *rdma;
	size_t n_rdma;
	const struct cgroup_text *unified; /* file of v2 → text */
	size_t n_unified;
	const struct cgroup_device_rule *devices;
	size_t n_devices;
	bool devices_set; /* false: device access is left alone */
};

/* --- one cgroup --------------------------------------------------------------------------------------------- */

struct cgroup;

/*
 * Names, makes nothing. @path is what the host sent; @id the container's. NULL with @e set. @host is borrowed.
 * `rootless`: a missing permission to create or limit is not an error.
 */
struct cgroup *cgroup_new(const struct cgroup_host *host, enum cgroup_driver driver, const char *path,
			  const char *id, bool rootless, struct error *e);
void cgroup_free(struct cgroup *cg);
/* The effective path ("slice/prefix/name", or the unit's path for systemd), for the log and for state files. */
const char *cgroup_path(const struct cgroup *cg);
enum cgroup_driver cgroup_driver_of(const struct cgroup *cg);

/*
 * Whose it is from cgroup_create() on: the container's id, and the moment of its birth, which parts it from others of that
 * id. Another one may take the directory over when it is empty; from then on it is not killed, frozen or removed by us.
 * Without this call everything that is found in the directory is taken for ours. 0 or -ENOMEM.
 */
int cgroup_set_owner(struct cgroup *cg, uint64_t born);
/* 0, or -EBUSY with @e set when another has taken it. For a new process after cgroup_attach(), or a birth in it. */
int cgroup_check_owner(const struct cgroup *cg, struct error *e);

/* cgroupfs: makes directories, fills cpusets, enables controllers that @resources needs. systemd: nothing yet. An
 * existing cgroup that has processes is refused (EBUSY), and so is one that is frozen, by itself or from above.
 * 0 or -errno. */
int cgroup_create(struct cgroup *cg, const struct cgroup_resources *resources, struct error *e);
/* Writes what is set in @resources; what is absent is left alone. pids: > 0 the limit, negative "max", 0 is written as 1:
 * the least that a living process can have, and all that systemd takes. For a new cgroup call it before any process is in. systemd: [blocks] after cgroup_attach(). */
int cgroup_set(struct cgroup *cg, const struct cgroup_resources *resources, struct error *e);
/* A descriptor of the v2 directory for CLONE_INTO_CGROUP (the caller's), or -1 where there is none. */
int cgroup_open(const struct cgroup *cg);
/* Moves @pid in, in all hierarchies. systemd: starts the transient scope with it and awaits the job [blocks]. */
int cgroup_attach(struct cgroup *cg, pid_t pid, struct error *e);
/* As above for a further process: where the directory itself refuses (EBUSY, the payload delegated to child cgroups),
 * goes where @init is. */
int cgroup_attach_exec(struct cgroup *cg, pid_t pid, pid_t init, struct error *e);
/*
 * As above into nested cgroups that are there, and nowhere else. A place is "PATH" or "CONTROLLER[,CONTROLLER…]:PATH" (v1),
 * with PATH below the container's own directory; "/" is that itself. Without controllers it stands for all hierarchies
 * that have such a directory, one at least. Hierarchies that no place stands for: the container's own directory.
 * INVALID_ARGUMENT: a path that climbs, a controller that is not here or named twice.
 */
int cgroup_attach_places(struct cgroup *cg, pid_t pid, const char *const *places, size_t n, struct error *e);
/* As cgroup_open() for an exec next to @init. */
int cgroup_open_exec(const struct cgroup *cg, pid_t init);

/* Waits until the kernel says frozen (thaws again and fails after the bound) [blocks, 5 s]. */
int cgroup_freeze(struct cgroup *cg, struct error *e);
/* systemd: [blocks], 2 s. -EBUSY with @e set when a cgroup above is frozen, and it with that. */
int cgroup_thaw(struct cgroup *cg, struct error *e);
/* Before a start in it: 0, or -EBUSY with @e set (FAILED_PRECONDITION, naming the cgroup) when it is frozen or on its way
 * there, by itself or from above. */
int cgroup_check_unfrozen(const struct cgroup *cg, struct error *e);
/* v1, for @pid, which is about to be killed: thaws the cgroup and all below, since the frozen do not die. -EBUSY with @e set
 * (FAILED_PRECONDITION, naming the cgroup) when it is frozen by somebody else: above us, or where it was moved to. */
int cgroup_let_die(struct cgroup *cg, pid_t pid, struct error *e);
/* True while frozen by us, from inside, or from above. */
bool cgroup_frozen(const struct cgroup *cg);
/* @signal to every process of the cgroup and below. SIGKILL: cgroup.kill, else freeze and sweep until empty [blocks,
 * 5 s]. Others: one sweep. No process is left or -EBUSY; at once when somebody else keeps one frozen (v1). Another's by
 * now: success, nothing is done. */
int cgroup_kill(struct cgroup *cg, int signal, struct error *e);
/* Kills what is left, removes nested directories bottom-up and an emptied pod parent of ours; retries while busy
 * [blocks, 10 s]. Missing is success, and so is one that another has taken: it is left alone. Independent of D-Bus, which is told best-effort. */
int cgroup_delete(struct cgroup *cg, struct error *e);
/* As cgroup_delete() for a cgroup that has nobody and nothing left in it, at once. -EBUSY for one that has, or that
 * systemd keeps: then cgroup_delete() is what it takes. */
int cgroup_delete_empty(struct cgroup *cg, struct error *e);
/* Whether @pid is there or below, in any hierarchy; 0: whether the directory is there, in any. */
bool cgroup_holds(const struct cgroup *cg, pid_t pid);
/* Pids below, from all nested cgroups. Count or -errno; *@pids is malloc'ed. */
ssize_t cgroup_pids(const struct cgroup *cg, pid_t **pids, struct error *e);
/* The directory of @controller on v1 (absolute), or of the cgroup on v2 (NULL controller); NULL when there is none. */
const char *cgroup_directory(const struct cgroup *cg, const char *controller);

/* v1 cpusets follow hot-plugged CPUs and memory nodes: widens ours and our parents'. Nothing to do on v2. */
int cgroup_refresh_cpuset(struct cgroup *cg, struct error *e);

/* --- statistics --------------------------------------------------------------------------------------------- */

struct cgroup_memory_data {
	bool present;
	uint64_t usage, max_usage, failcnt, limit;
};
struct cgroup_io_entry {
	uint64_t major, minor;
	char op[8];
	uint64_t value;
};
struct cgroup_io_table {
	struct cgroup_io_entry *entries;
	size_t count;
};
struct cgroup_hugepage_stats {
	const char *size;
	uint64_t usage, max_usage, failcnt;
};
struct cgroup_stats {
	struct {
		bool present;
		uint64_t total_ns, user_ns, kernel_ns;
		uint64_t *percpu_ns;
		size_t n_percpu;
		uint64_t periods, throttled_periods, throttled_ns;
	} cpu;
	struct {
		bool present;
		uint64_t cache;
		bool use_hierarchy;
		struct cgroup_memory_data usage, swap, kernel;
		struct cgroup_named_u64 *stats; /* memory.stat; on v2 with v1-named keys added */
		size_t n_stats;
	} memory;
	struct {
		bool present;
		uint64_t current, limit; /* limit 0: none */
	} pids;
	struct {
		bool present;
		struct cgroup_io_table service_bytes, serviced, queued, service_time, wait_time, merged, time,
			sectors;
	} io;
	struct cgroup_hugepage_stats *hugepages;
	size_t n_hugepages;
};
/* One pass; everything is allocated from @arena; a missing file is an absent part, never an error. */
int cgroup_stats(const struct cgroup *cg, struct arena *arena, struct cgroup_stats *out, struct error *e);

/* --- out of memory ------------------------------------------------------------------------------------------ */

struct cgroup_oom;
/* Calls @fn from @loop with the number of new kills, for each increase of the counter and never else; also looks once
 * more in cgroup_oom_check() (call it when the init process ended, before its status is told). NULL with @e set where
 * the machine cannot watch. The cgroup outlives the watch. */
struct cgroup_oom *cgroup_oom_watch(struct cgroup *cg, struct loop *loop,
				    void (*fn)(uint64_t kills, void *data), void *data, struct error *e);
void cgroup_oom_check(struct cgroup_oom *watch);
void cgroup_oom_free(struct cgroup_oom *watch);

#endif
