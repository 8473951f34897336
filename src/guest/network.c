/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work goes through few places: it waits for its device (no list; a uevent_wait knows it), stands in the queue, runs, or
 * waits for its link (the list `missing`), from where it goes into the queue again when the kernel tells of a link with its
 * MAC address, or when its time is up.
 */

#include "guest/network.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/fd.h"
#include "base/job.h"
#include "base/log.h"
#include "base/netlink.h"
#include "base/str.h"
#include "guest/interface.h"
#include "guest/neighbour.h"
#include "guest/network_path.h"
#include "guest/route.h"
#include "proto/proto.h"

enum {
	JOB_DEADLINE_MS = 30000,
	ANSWER_MAX = 8 << 20,
	CANDIDATE_MS = 250, /* a link of the wanted name waits that long for one with the wanted address */
	EVENTS_AT_ONCE = 64,
};

struct network {
	struct loop *loop;
	struct uevents *uevents;
	uint64_t timeout_ms;
	struct list works; /* all */
	struct list queue;
	struct list missing;
	struct network_work *running;
	struct job *job;
	struct loop_defer next;
	int news; /* of links; open while somebody may come to wait for one; -1 */
	struct loop_fd news_source;
	struct buf news_buffer;
};

struct network_work {
	struct network *network;
	struct list all;
	struct list link; /* in the queue, or among the missing */
	enum network_operation operation;
	const void *request;
	network_done_fn done; /* NULL: abandoned while it runs */
	void *data;

	/* Of interfaces. */
	struct network_path path;
	struct uevent_wait *wait;
	char *directory; /* in sysfs, of the device that was waited for */
	bool has_mac;
	uint8_t mac[LINK_MAC_LENGTH];
	uint64_t due;	  /* when a link that is missing is given up */
	bool last_time;	  /* it was given up: what is there has to do */
	bool has_changed; /* a link with its address came while it ran */
	struct loop_timer timer;
};

static void run_next(struct network *network);

/* --- its life ----------------------------------------------------------------------------------------------- */

struct network *network_new(struct loop *loop, struct uevents *uevents, uint64_t hotplug_timeout_ms)
{
	struct network *network = calloc(1, sizeof(*network));

	if (!network)
		return NULL;
	network->loop = loop;
	network->uevents = uevents;
	network->timeout_ms = hotplug_timeout_ms;
	network->news = -1;
	list_init(&network->works);
	list_init(&network->queue);
	list_init(&network->missing);
	return network;
}

static void close_news(struct network *network)
{
	loop_fd_remove(&network->news_source);
	network->news = fd_close(network->news);
	buf_deinit(&network->news_buffer);
}

static void work_free(struct network_work *work)
{
	struct network *network = work->network;
	struct network_work *other;

	uevent_wait_cancel(work->wait);
	loop_timer_remove(&work->timer);
	list_remove(&work->link);
	list_remove(&work->all);
	if (network->running == work)
		network->running = NULL;
	free(work->directory);
	free(work);
	list_for_each_entry (other, &network->works, all)
		if (other->operation == NETWORK_UPDATE_INTERFACE)
			return;
	close_news(network);
}

void network_free(struct network *network)
{
	if (!network)
		return;
	loop_defer_remove(&network->next);
	job_cancel(network->job);
	while (!list_empty(&network->works))
		work_free(list_first_entry(&network->works, struct network_work, all));
	close_news(network);
	free(network);
}

static void work_finish(struct network_work *work, int r, const struct buf *answer, const struct error *e)
{
	network_done_fn done = work->done;
	void *data = work->data;

	work_free(work);
	if (done)
		done(r, answer ? buf_begin(answer) : NULL, answer ? answer->length : 0, e, data);
}

void network_abandon(struct network_work *work)
{
	if (!work)
		return;
	/* Half of a change is worse than a change that nobody waits for. */
	if (work->network->running == work)
		work->done = NULL;
	else
		work_free(work);
}

/* --- in the job --------------------------------------------------------------------------------------------- */

static int encode(const void *message, struct buf *result, struct error *e)
{
	return message && proto_encode(message, result) < 0 ? error_errno(e, ENOMEM, "answer") : 0;
}

static int update_interface(const struct network_work *work, int fd, struct error *e)
{
	_cleanup_interface_ struct interface wanted = {.addresses = NULL};
	int r = interface_init(&wanted, work->request, e);

	if (r == 0)
		r = interface_update(fd, &wanted, work->directory, work->last_time, e);
	/* The text of a link that is missing too: it may be the last word. */
	if (r != 0)
		error_prefix(e, "update interface");
	return r;
}

static int update_routes(const struct network_work *work, int fd, struct arena *arena, struct buf *result,
			 struct error *e)
{
	const Grpc__Routes *routes = work->request;
	struct error listing = ERROR_INIT;

	if (routes_update(fd, routes->routes, routes->n_routes, e) < 0)
		return error_prefix(e, "Failed to update routes");
	/* They are set: a list that cannot be had is no reason to have them set again. */
	const Grpc__Routes *answer = routes_list(fd, arena, &listing);
	if (!answer)
		log_warning("network", "Failed to list routes after update", "error", listing.text);
	return encode(answer ? answer : routes, result, e);
}

static int list_interfaces(int fd, struct arena *arena, struct buf *result, struct error *e)
{
	const Grpc__Interfaces *answer = interfaces_list(fd, arena, e);

	return answer ? encode(answer, result, e) : error_prefix(e, "Failed to list interfaces");
}

static int list_routes(int fd, struct arena *arena, struct buf *result, struct error *e)
{
	const Grpc__Routes *answer = routes_list(fd, arena, e);

	return answer ? encode(answer, result, e) : error_prefix(e, "list routes");
}

static int add_neighbours(const struct network_work *work, int fd, struct error *e)
{
	const Grpc__ARPNeighbors *neighbours = work->request;
	int r = neighbours_add(fd, neighbours->arpneighbors, neighbours->n_arpneighbors, e);

	return r < 0 ? error_prefix(e, "Failed to add ARP neighbours") : 0;
}

static int work_in_job(struct buf *result, void *argument, struct error *e)
{
	const struct network_work *work = argument;
	_cleanup_fd_ int fd = netlink_open(NETLINK_ROUTE, 0);
	struct arena *arena = arena_new(0);
	int r = -EINVAL;

	if (fd < 0 || !arena) {
		r = error_errno(e, fd < 0 ? -fd : ENOMEM, "netlink");
		arena_free(arena);
		return r;
	}
	switch (work->operation) {
	case NETWORK_UPDATE_INTERFACE:
		r = update_interface(work, fd, e);
		break;
	case NETWORK_UPDATE_ROUTES:
		r = update_routes(work, fd, arena, result, e);
		break;
	case NETWORK_ADD_NEIGHBOURS:
		r = add_neighbours(work, fd, e);
		break;
	case NETWORK_LIST_INTERFACES:
		r = list_interfaces(fd, arena, result, e);
		break;
	case NETWORK_LIST_ROUTES:
		r = list_routes(fd, arena, result, e);
		break;
	}
	arena_free(arena);
	return r;
}

/* --- the queue ---------------------------------------------------------------------------------------------- */

static void run_later(struct loop_defer *defer)
{
	run_next(container_of(defer, struct network, next));
}

static void enqueue(struct network_work *work)
{
	list_remove(&work->link);
	list_append(&work->network->queue, &work->link);
	loop_defer_add(work->network->loop, &work->network->next, run_later);
}

static void out_of_time(struct loop_timer *timer)
{
	struct network_work *work = container_of(timer, struct network_work, timer);

	work->last_time = true;
	enqueue(work);
}

/* Waits for the link, until @due_ms from now at the latest. */
static void wait_for_link(struct network_work *work, uint64_t due_ms)
{
	struct network *network = work->network;
	uint64_t now = loop_now(), left = work->due > now ? work->due - now : 0;

	if (work->has_changed) {
		work->has_changed = false;
		enqueue(work);
		return;
	}
	list_append(&network->missing, &work->link);
	if (loop_timer_set(network->loop, &work->timer, left < due_ms ? left : due_ms, out_of_time) < 0)
		out_of_time(&work->timer);
}

static void job_ended(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct network *network = data;
	struct network_work *work = steal_pointer(network->running);

	(void)job;
	network->job = NULL;
	loop_defer_add(network->loop, &network->next, run_later);
	if (r > 0 && work->done && !work->last_time)
		wait_for_link(work, r == INTERFACE_CANDIDATE ? CANDIDATE_MS : network->timeout_ms);
	else
		work_finish(work, r > 0 ? error_result(e) : r, result, e);
}

static void run_next(struct network *network)
{
	static const struct job_options options = {
		.name = "network", .deadline_ms = JOB_DEADLINE_MS, .max_result = ANSWER_MAX};
	struct error e = ERROR_INIT;

	if (network->running || list_empty(&network->queue))
		return;
	struct network_work *work = list_first_entry(&network->queue, struct network_work, link);
	list_remove(&work->link);
	loop_timer_remove(&work->timer);
	network->running = work;
	work->has_changed = false;
	network->job = job_start(network->loop, &options, work_in_job, work, job_ended, network, &e);
	if (network->job)
		return;
	loop_defer_add(network->loop, &network->next, run_later);
	work_finish(work, error_result(&e), NULL, &e);
}

/* --- news of links ------------------------------------------------------------------------------------------ */

/* @link NULL: news were lost, any may have come. */
static void link_came(struct network *network, const struct link *link)
{
	struct network_work *work, *next;

	list_for_each_entry_safe (work, next, &network->works, all) {
		if (!work->has_mac || (link && (link->address_length != LINK_MAC_LENGTH ||
						memcmp(link->address, work->mac, LINK_MAC_LENGTH) != 0)))
			continue;
		work->has_changed = work == network->running;
		/* Armed: it is among the missing. */
		if (work->timer.loop && work != network->running) {
			loop_timer_remove(&work->timer);
			enqueue(work);
		}
	}
}

static void read_news(struct network *network)
{
	struct netlink_message message;
	struct link link;

	struct netlink_reader reader =
		netlink_reader(buf_begin(&network->news_buffer), network->news_buffer.length);
	while (netlink_next(&reader, &message))
		if (link_from_message(&message, &link))
			link_came(network, &link);
}

static void news_ready(struct loop_fd *source, uint32_t events)
{
	struct network *network = container_of(source, struct network, news_source);

	(void)events;
	for (int i = 0; i < EVENTS_AT_ONCE; i++) {
		buf_clear(&network->news_buffer);
		int n = netlink_receive_event(network->news, &network->news_buffer);
		if (n == -EAGAIN || n == -EINTR)
			return;
		if (n == -ENOBUFS || n == -EMSGSIZE)
			link_came(network, NULL);
		else if (n < 0)
			return;
		else
			read_news(network);
	}
}

/* Opened before the first look at the links, so that none that comes after it is missed. */
static void open_news(struct network *network)
{
	if (network->news >= 0)
		return;
	network->news = netlink_open(NETLINK_ROUTE, RTMGRP_LINK);
	if (network->news < 0 ||
	    loop_fd_add(network->loop, &network->news_source, network->news, EPOLLIN, news_ready) < 0) {
		log_warning("network", "no news of links: only time will tell");
		close_news(network);
	}
}

/* --- the device --------------------------------------------------------------------------------------------- */

static bool is_device(const struct uevent *event, void *data)
{
	const struct network_work *work = data;

	return network_path_matches(&work->path, event->devpath);
}

/* "/devices/…/net/eth0" → "/sys/devices/…/net" */
static char *directory_of(const char *devpath)
{
	const char *slash = strrchr(devpath, '/');
	char *out = NULL;

	if (slash && asprintf(&out, "/sys%.*s", (int)(slash - devpath), devpath) < 0)
		return NULL;
	return out;
}

static void device_came(int r, const struct uevent *event, const struct error *e, void *data)
{
	struct network_work *work = data;
	const Types__Interface *request = work->request;
	struct error failure;

	work->wait = NULL;
	if (r < 0) {
		/* Hosts try again on the middle part. */
		failure = *e;
		error_prefix(&failure, "interface not available: Link not found (Path: %s)",
			     request->devicepath);
		work_finish(work, r, NULL, &failure);
		return;
	}
	work->directory = directory_of(event->devpath);
	work->due = loop_now() + work->network->timeout_ms;
	enqueue(work);
}

static int wait_for_device(struct network_work *work, const char *path, struct error *e)
{
	struct uevent_query query = {
		.name = path,
		.subsystem = "net",
		.match = is_device,
		.data = work,
		.timeout_ms = work->network->timeout_ms,
	};

	work->wait = uevent_wait_start(work->network->uevents, &query, device_came, work);
	return work->wait ? 0 : error_errno(e, ENOMEM, "wait for the device");
}

static int start_interface(struct network_work *work, const Types__Interface *request, struct error *e)
{
	struct network *network = work->network;
	bool placed = !str_is_empty(request->devicepath);

	if (placed && network_path_parse(request->devicepath, &work->path) < 0)
		return error_set(e, STATUS_INTERNAL, EINVAL, "Invalid PCI path for network interface: %s",
				 request->devicepath);
	work->has_mac = link_mac_parse(str_or_empty(request->hwaddr), work->mac) == 0;
	work->due = loop_now() + network->timeout_ms;
	open_news(network);
	if (placed && network->uevents)
		return wait_for_device(work, request->devicepath, e);
	enqueue(work);
	return 0;
}

struct network_work *network_start(struct network *network, enum network_operation operation,
				   const void *request, network_done_fn done, void *data, struct error *e)
{
	struct network_work *work = calloc(1, sizeof(*work));
	int r = 0;

	if (!work) {
		error_errno(e, ENOMEM, "network");
		return NULL;
	}
	work->network = network;
	work->operation = operation;
	work->request = request;
	work->done = done;
	work->data = data;
	list_append(&network->works, &work->all);
	if (operation == NETWORK_UPDATE_INTERFACE)
		r = start_interface(work, request, e);
	else
		enqueue(work);
	if (r == 0)
		return work;
	work_free(work);
	return NULL;
}
