/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_UEVENT_H
#define GUEST_UEVENT_H

/*
 * Device events of the kernel, and waiting for a device.
 *
 * One netlink socket listens to the kernel's own multicast group; what other processes send there is dropped. Nothing
 * is remembered: a device that is there already is found in sysfs, by reading the `uevent` files of its subsystem
 * into the same struct that an event gives, so that one matching rule serves hot-plugged and cold-plugged devices
 * alike. A wait looks into sysfs when it starts, after a lost event (ENOBUFS), and once more when its time is up.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "base/loop.h"

enum { UEVENT_TEXT_MAX = 8192 }; /* bytes of one message; longer ones are dropped */

/* What was told of a device. Absent texts are "". All point into the message (or the reader's buffer). */
struct uevent {
	const char *action;    /* "add", "remove", "change", … ; "add" for what was found in sysfs */
	const char *devpath;   /* "/devices/pci0000:00/…", without "/sys" */
	const char *subsystem; /* "block", "net", … */
	const char *devname;   /* "vda"; below /dev */
	const char *interface; /* "eth0" */
	uint64_t seqnum;
};

/*
 * Reads one kernel message: NUL-separated `KEY=VALUE` after a first `action@devpath`. @data is borrowed by @out and
 * must be followed by a NUL byte. 0, or -EINVAL for what is not one (no action, a path that is not absolute or has "..",
 * a name that leads out of /dev, not UTF-8).
 */
int uevent_parse(const char *data, size_t length, struct uevent *out);

struct uevents;

/* @root: "/" (or a directory with sys/ and dev/, for tests; then no socket is opened and events come from
 * uevents_inject()). NULL with @e set. */
struct uevents *uevents_new(struct loop *loop, const char *root, struct error *e);
/* Takes NULL. Waits must have been cancelled, observers removed. Not from within a callback of either. */
void uevents_free(struct uevents *uevents);
/* Treats @data as a message of the kernel. */
void uevents_inject(struct uevents *uevents, const char *data, size_t length);

/* Sees every event. Embedded in its owner; remove it before that goes. */
struct uevent_observer {
	struct list link;
	void (*fn)(struct uevent_observer *observer, const struct uevent *event);
};
void uevents_observe(struct uevents *uevents, struct uevent_observer *observer);
void uevent_observer_remove(struct uevent_observer *observer);

typedef bool (*uevent_match_fn)(const struct uevent *event, void *data);

/*
 * Calls @found for what sysfs has under class/@subsystem, or else bus/@subsystem/devices, until it returns true. A device
 * whose node in /dev is not there yet is left out: its event is still to come. True when @found did.
 */
bool uevents_scan(struct uevents *uevents, const char *subsystem, uevent_match_fn found, void *data);

struct uevent_wait;
/* @event ends with the call. @r: 0, or -ETIMEDOUT with @e set ("Timeout after 3s waiting for uevent NAME"). */
typedef void (*uevent_done_fn)(int r, const struct uevent *event, const struct error *e, void *data);

struct uevent_query {
	const char *name;      /* what is waited for, for the error's text; copied */
	const char *subsystem; /* only events of this one are matched; copied */
	uevent_match_fn match; /* of events with action "add" (or what else shows presence), and of sysfs */
	void *data;	       /* for match; lives as long as the wait */
	uint64_t timeout_ms;
};

/* @done is called once, from the loop, never before this returns. NULL when memory is out. */
struct uevent_wait *uevent_wait_start(struct uevents *uevents, const struct uevent_query *query,
				      uevent_done_fn done, void *data);
/* Its `done` is not called any more. Takes NULL; not to be called after `done`. */
void uevent_wait_cancel(struct uevent_wait *wait);

#endif
