/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_INTERNAL_H
#define CGROUP_INTERNAL_H

/*
 * What the files of this room share: the machine's hierarchies, one cgroup's places in them, and "knobs", the
 * kernel's files by which a cgroup is told things.
 *
 * A cgroup holds texts and no descriptors, because many of its operations run in forked jobs, which close
 * what they did not ask for. Each operation opens the directory once, below the hierarchy's root (roots.c)
 * and never through a link, and works by descriptor from there.
 */

#include <stdint.h>
#include <sys/types.h>

#include "base/fd.h"
#include "cgroup/cgroup.h"

/* Extended attribute of directories that we made. */
#define CGROUP_MARK "trusted.kata_agent"

enum controller {
	CONTROLLER_IO, /* "blkio" on v1; first, since writeback wants tasks there before "memory" */
	CONTROLLER_MEMORY,
	CONTROLLER_PIDS,
	CONTROLLER_CPUSET,
	CONTROLLER_CPUACCT,
	CONTROLLER_CPU,
	CONTROLLER_DEVICES,
	CONTROLLER_FREEZER,
	CONTROLLER_NET_CLS,
	CONTROLLER_NET_PRIO,
	CONTROLLER_PERF_EVENT,
	CONTROLLER_HUGETLB,
	CONTROLLER_RDMA,
	CONTROLLER_MISC,
	CONTROLLER_DMEM,
	CONTROLLER_COUNT,
};

/* "blkio" names CONTROLLER_IO too; "name=…" and what is unknown gives -1. */
int controller_find(const char *name, size_t length);
const char *controller_name(enum controller c, bool v2);

struct hierarchy {
	char *mount;	      /* mount point as this process sees it (the test root included) */
	char *super;	      /* super block options: "cpu,cpuacct", "name=systemd" */
	uint32_t controllers; /* bits of enum controller */
	bool v2;
	const int *root; /* kept: see roots.c; NULL: not */
};

struct cgroup_host {
	char *root; /* "" or a test's directory, without a trailing slash */
	enum cgroup_layout layout;
	struct hierarchy *hierarchies; /* v1 ones in the order in which a task should enter them; v2 last */
	size_t count;
	char **hugepages; /* sizes of this kernel: "2MB", "1GB" */
	size_t n_hugepages;
	struct roots *roots; /* NULL where they cannot be kept */
};

/* Index of the hierarchy that holds @c (v1 before v2), or -1. */
int host_find(const struct cgroup_host *host, enum controller c);
/* Index of the v2 hierarchy, or -1. */
int host_v2(const struct cgroup_host *host);
/* Content of a file of the machine ("/proc/self/cgroup", below the test root in tests); NULL when
 * unreadable. */
char *host_read(const struct cgroup_host *host, const char *path);

/* --- roots (roots.c) ------------------------------------------------------------------------------------ */

void roots_keep(struct cgroup_host *host);
void roots_drop(struct cgroup_host *host);
/* The root of a hierarchy, O_PATH, or -errno. *@owned, which is -1 before, is what the caller has to close. */
int root_open(const struct cgroup_host *host, int index, int *owned);

/* --- one cgroup ----------------------------------------------------------------------------------------- */

struct cgroup {
	const struct cgroup_host *host;
	enum cgroup_driver driver;
	char *id;
	char *path;  /* below the hierarchies' roots, no leading slash, never empty */
	char *unit;  /* systemd: "cri-containerd-ID.scope" */
	char *slice; /* systemd: "kubepods-podU.slice" */
	char *owner; /* see owner.c; NULL: nobody's in particular */
	char **dirs; /* absolute directory per hierarchy */
	bool rootless;
	bool foreign; /* found in use by somebody else: it is not killed, frozen or removed */
	int enabling
		[CONTROLLER_COUNT]; /* errno of the attempt to enable a controller of v2; 0: none or fine */
};

/* --- directories (tree.c) ------------------------------------------------------------------------------- */

/* An open directory of a cgroup. */
struct cgroup_dir {
	const struct cgroup *cg;
	const struct hierarchy *hierarchy;
	int fd; /* O_PATH */
};
#define _cleanup_dir_of_cgroup_ __attribute__((cleanup(cgroup_dir_close)))
/* -ENOENT where the hierarchy (index -1) or the directory is missing. */
int cgroup_dir_open(const struct cgroup *cg, int index, struct cgroup_dir *out);
void cgroup_dir_close(struct cgroup_dir *dir);

/* Whether this very process lives in @cg or below: such a cgroup is never frozen, killed or removed. */
bool cgroup_contains_self(const struct cgroup *cg);
/* 0, or -EPERM with @e set for a cgroup that must be left alone. */
int cgroup_check_ours(const struct cgroup *cg, const char *verb, struct error *e);
/* Pids (> 1, never our own) of the directory and all below, of one hierarchy, appended. 0 or -errno.
 * Missing: 0. */
struct pid_list {
	pid_t *pids;
	size_t count, size;
};
void pid_list_deinit(struct pid_list *list);
#define _cleanup_pids_ __attribute__((cleanup(pid_list_deinit)))
int tree_pids(const struct cgroup *cg, int index, struct pid_list *out);
/* Calls @visit with the directory and all below, parents first, until it returns other than 0; returns
 * that. */
int tree_visit(const struct cgroup *cg, int index, int (*visit)(int dirfd, void *data), void *data);
/* Where @pid is in a hierarchy, without the leading slash; malloc'ed or NULL. */
char *cgroup_place_of(const struct cgroup *cg, int index, pid_t pid);
/* @path is @parent or below it. */
bool path_is_below(const char *path, const char *parent);
/* As above over all hierarchies, sorted, each once. */
int tree_all_pids(const struct cgroup *cg, struct pid_list *out);
/* Whether any process is there or below: in one hierarchy, anywhere. */
bool tree_populated_at(const struct cgroup *cg, int index);
bool tree_populated(const struct cgroup *cg);
/* A descriptor of @file in the directory, for writing, or -errno. */
int tree_open_knob(const struct cgroup *cg, int index, const char *file);
/* Removes the directory in one hierarchy, and then its parents as tree_remove_parents(), if nobody and nothing
 * is in it. Missing is success; else -EBUSY or another -errno, and nothing was done. */
int tree_remove_empty(const struct cgroup *cg, int index);
/* Removes the directory and all below it in one hierarchy: one try. 0 (also when missing) or -errno. */
int tree_remove(const struct cgroup *cg, int index);
/* Removes parents that we made (see mark in tree.c) and that are empty. */
void tree_remove_parents(const struct cgroup *cg, int index);
/* Makes the directory and its parents. 0 or -errno with @e set; *@made tells whether the last one is new. */
int tree_make(struct cgroup *cg, int index, uint32_t enable, bool *made, struct error *e);
/* Lets controllers of v2 reach the directory: writes cgroup.subtree_control of its parents. Failures are
 * remembered in cg->enabling and told by the knob that misses them. */
void tree_enable(struct cgroup *cg, int index, uint32_t controllers);

/* --- holds (hold.c) ------------------------------------------------------------------------------------- */

/* 0, or -EBUSY with @e set when somebody above keeps it frozen in that hierarchy. */
int hold_check_above(const struct cgroup *cg, int index, struct error *e);
/* v1: thaws the directory and all below. */
void hold_thaw(const struct cgroup *cg);
/* v1: 0, or -EBUSY with @e set when one of the cgroup's processes is frozen by somebody else. */
int hold_check_all(const struct cgroup *cg, struct error *e);

/* --- owners (owner.c) ----------------------------------------------------------------------------------- */

enum { OWNER_TEXT = 512 };
/* Writes our name onto the directory; @before is the one that it had, "" for none. */
void owner_claim(const struct cgroup *cg, char before[OWNER_TEXT]);
void owner_give_back(const struct cgroup *cg, const char *before);
/* Whether another container has taken the directory. */
bool owner_is_another(const struct cgroup *cg);

/* --- knobs (knob.c) ------------------------------------------------------------------------------------- */

/*
 * Writes the formatted text in one write(2). 0 or -errno with @e set: operation, value, file, cgroup, errno,
 * and for a missing file the controller that it belongs to. A missing permission of a rootless caller is
 * success.
 */
int knob_write(const struct cgroup_dir *dir, struct error *e, const char *file, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* As above without words: 0 or -errno. */
int knob_try(const struct cgroup_dir *dir, const char *file, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Sets @e for what knob_try() returned; returns @r. */
int knob_error(const struct cgroup_dir *dir, struct error *e, int r, const char *file, const char *value);
bool knob_exists(const struct cgroup_dir *dir, const char *file);
/* Content (malloc'ed, NUL-terminated, trailing newline cut) or NULL. */
char *knob_read(const struct cgroup_dir *dir, const char *file);
/* A file of one number; "max" is UINT64_MAX. False when missing or not such. */
bool knob_read_u64(const struct cgroup_dir *dir, const char *file, uint64_t *out);
/* The number behind @key in a file of "key number" lines. */
bool knob_read_key(const struct cgroup_dir *dir, const char *file, const char *key, uint64_t *out);
bool text_key(const char *text, const char *key, uint64_t *out);

/* --- limits --------------------------------------------------------------------------------------------- */

/* Each applies one hierarchy's share of @resources. */
int v1_set(struct cgroup *cg, const struct cgroup_resources *resources, struct error *e);
int v2_set(struct cgroup *cg, const struct cgroup_resources *resources, struct error *e);
/* What both versions do alike, for the controllers whose files hardly differ. */
int common_set_pids(const struct cgroup_dir *dir, const struct cgroup_resources *resources, struct error *e);
int common_set_hugepages(const struct cgroup_dir *dir, const struct cgroup_resources *resources,
			 struct error *e);
int common_set_rdma(const struct cgroup_dir *dir, const struct cgroup_resources *resources, struct error *e);
int common_set_cpuset(const struct cgroup_dir *dir, const struct cgroup_resources *resources,
		      struct error *e);
/* Controllers that @resources has values for. */
uint32_t resources_controllers(const struct cgroup_resources *resources);
/* 0 or -EINVAL for values that no kernel takes, before anything is written. */
int resources_check(const struct cgroup_host *host, const struct cgroup_resources *resources,
		    struct error *e);
/* The linear conversion of the reference: 2 … 262144 → 1 … 10000, clamped. */
uint64_t cpu_weight_of_shares(uint64_t shares);
/* Weight of BFQ 10 … 1000 → io.weight 1 … 10000. */
uint64_t io_weight_of_blkio(uint64_t weight);

/* v1 cpusets: fills what is empty from the nearest parent that is not. @made: the directory is new, hence empty. */
int cpuset_fill(struct cgroup *cg, int index, bool made, struct error *e);
/* Remembers that somebody chose the list by name: it does not follow hot-plug. */
void cpuset_pin(const struct cgroup_dir *dir, bool cpus);

/* --- devices -------------------------------------------------------------------------------------------- */

int v1_set_devices(const struct cgroup_dir *dir, const struct cgroup_resources *resources, struct error *e);
int v2_set_devices(const struct cgroup_dir *dir, const struct cgroup_resources *resources, struct error *e);

/* --- systemd -------------------------------------------------------------------------------------------- */

/* Parts of "slice:prefix:name". All malloc'ed; 0 or -errno with @e set (INVALID_ARGUMENT). */
int systemd_parse(const char *path, const char *id, char **slice, char **unit, char **cgroup_path,
		  struct error *e);
int systemd_start(struct cgroup *cg, pid_t pid, struct error *e);
int systemd_set(struct cgroup *cg, const struct cgroup_resources *resources, struct error *e);
int systemd_freeze(struct cgroup *cg, bool freeze, struct error *e);
/* Best effort: kills, stops and forgets the unit. */
void systemd_stop(struct cgroup *cg);

#endif
