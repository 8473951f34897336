/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device events: the kernel's broadcast, sysfs, and those who wait.
 *
 * The socket is read until it is empty at each wake-up, so a burst costs one wake-up. What was lost because the
 * socket's buffer was full is made good by looking into sysfs for every wait that is open: no event is ever the only
 * source of a device. Texts from events reach callers only after uevent_parse() accepted them.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "guest/uevent.h"

enum {
	RECEIVE_BUFFER = 2 << 20, /* a hot-plugged disk array is hundreds of events at once */
	SYSFS_TEXT_MAX = 4096,
};

struct uevents {
	struct loop *loop;
	int root; /* O_PATH */
	int socket;
	struct loop_fd source;
	struct list observers;
	struct list waits;
	char message[UEVENT_TEXT_MAX + 1];
};

struct uevent_wait {
	struct list link;
	struct uevents *uevents;
	struct uevent_query query;
	uevent_done_fn done;
	void *data;
	struct loop_timer timer;
	struct loop_defer look;
};

/* A path of sysfs that can be appended to "/sys": absolute, and nothing in it leads up. */
static bool devpath_valid(const char *path)
{
	const char *part = path;

	if (path[0] != '/')
		return false;
	while (part) {
		part++;
		if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
			return false;
		part = strchr(part, '/');
	}
	return strlen(path) < PATH_MAX - 16;
}

static bool devname_valid(const char *name)
{
	char path[NAME_MAX * 2];

	if (!*name)
		return true;
	if (strlen(name) + 2 > sizeof(path) || name[0] == '/')
		return false;
	path[0] = '/';
	memcpy(path + 1, name, strlen(name) + 1);
	return devpath_valid(path);
}

/* The value when @pair is "KEY=value", else NULL. */
static const char *value_of(const char *pair, const char *key)
{
	size_t length = strlen(key);

	return strncmp(pair, key, length) == 0 && pair[length] == '=' ? pair + length + 1 : NULL;
}

static void uevent_take(struct uevent *event, const char *pair)
{
	const char *value;

	if ((value = value_of(pair, "ACTION")))
		event->action = value;
	else if ((value = value_of(pair, "DEVPATH")))
		event->devpath = value;
	else if ((value = value_of(pair, "SUBSYSTEM")))
		event->subsystem = value;
	else if ((value = value_of(pair, "DEVNAME")))
		event->devname = value;
	else if ((value = value_of(pair, "INTERFACE")))
		event->interface = value;
	else if ((value = value_of(pair, "SEQNUM")) && str_to_u64(value, 10, &event->seqnum) < 0)
		event->seqnum = 0;
}

static void uevent_init(struct uevent *event)
{
	*event = (struct uevent){
		.action = "", .devpath = "", .subsystem = "", .devname = "", .interface = "", .seqnum = 0};
}

int uevent_parse(const char *data, size_t length, struct uevent *out)
{
	size_t at;

	uevent_init(out);
	if (length == 0 || length > UEVENT_TEXT_MAX || data[length] != '\0')
		return -EINVAL;
	/* What precedes the first NUL repeats action and path; a message of udevd ("libudev") fails by it. */
	if (!memchr(data, '@', strnlen(data, length)))
		return -EINVAL;
	for (at = strnlen(data, length) + 1; at < length; at += strnlen(data + at, length - at) + 1)
		uevent_take(out, data + at);
	for (at = 0; at < length; at += strnlen(data + at, length - at) + 1)
		if (!utf8_valid(data + at, strnlen(data + at, length - at)))
			return -EINVAL;
	if (!*out->action || !devpath_valid(out->devpath) || !devname_valid(out->devname) ||
	    strchr(out->interface, '/'))
		return -EINVAL;
	return 0;
}

/* --- sysfs ---------------------------------------------------------------------------------------------------- */

/* The `uevent` file of the device at @devpath is newline-separated; makes it the form of a message in place. */
static void sysfs_event_read(char *text, struct uevent *event)
{
	char *line, *rest = text;

	while ((line = strsep(&rest, "\n")))
		uevent_take(event, line);
}

static bool node_present(const struct uevents *uevents, const char *devname)
{
	char path[NAME_MAX * 2 + 8];
	int n = snprintf(path, sizeof(path), "dev/%s", devname);

	return n > 0 && (size_t)n < sizeof(path) &&
	       faccessat(uevents->root, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* "../../devices/…" as links of sysfs have it → "/devices/…" in place, or NULL. */
static const char *devpath_of_link(const char *target)
{
	const char *found = strstr(target, "/devices/");

	return found && devpath_valid(found) ? found : NULL;
}

/* Fills @event with what the entry @name of the directory @dir tells. @text is freed by the caller. */
static bool sysfs_entry(const struct uevents *uevents, int dir, const char *name, const char *subsystem,
			char target[PATH_MAX], char **text, struct uevent *event)
{
	char path[NAME_MAX + 16];
	ssize_t n = readlinkat(dir, name, target, PATH_MAX - 1);

	if (n <= 0)
		return false;
	target[n] = '\0';
	n = snprintf(path, sizeof(path), "%s/uevent", name);
	if (n < 0 || (size_t)n >= sizeof(path) || file_read(dir, path, SYSFS_TEXT_MAX, text) < 0)
		return false;
	uevent_init(event);
	sysfs_event_read(*text, event);
	event->action = "add";
	event->subsystem = subsystem;
	event->devpath = devpath_of_link(target);
	if (!event->devpath || !devname_valid(event->devname))
		return false;
	return !*event->devname || node_present(uevents, event->devname);
}

static bool sysfs_scan_directory(struct uevents *uevents, int dirfd, const char *subsystem,
				 uevent_match_fn found, void *data)
{
	_cleanup_dir_ DIR *dir = fdopendir(dirfd);
	struct dirent *entry;

	if (!dir) {
		fd_close(dirfd);
		return false;
	}
	while ((entry = readdir(dir))) {
		_cleanup_free_ char *text = NULL;
		char target[PATH_MAX];
		struct uevent event;

		/* Not every entry is a link to a device: /sys/class/net has a plain file when bonding is loaded. */
		if (entry->d_name[0] == '.')
			continue;
		if (sysfs_entry(uevents, dirfd, entry->d_name, subsystem, target, &text, &event) &&
		    found(&event, data))
			return true;
	}
	return false;
}

bool uevents_scan(struct uevents *uevents, const char *subsystem, uevent_match_fn found, void *data)
{
	if (str_is_empty(subsystem) || strchr(subsystem, '/') || subsystem[0] == '.')
		return false;
	for (int place = 0; place < 2; place++) {
		char path[NAME_MAX + 32];
		int n = snprintf(path, sizeof(path), place == 0 ? "sys/class/%s" : "sys/bus/%s/devices",
				 subsystem);
		int dir;

		if (n < 0 || (size_t)n >= sizeof(path))
			return false;
		dir = openat(uevents->root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			continue;
		if (sysfs_scan_directory(uevents, dir, subsystem, found, data))
			return true;
	}
	return false;
}

/* --- waiting -------------------------------------------------------------------------------------------------- */

static void wait_free(struct uevent_wait *wait)
{
	list_remove(&wait->link);
	loop_timer_remove(&wait->timer);
	loop_defer_remove(&wait->look);
	free((char *)wait->query.name);
	free((char *)wait->query.subsystem);
	free(wait);
}

static void wait_finish(struct uevent_wait *wait, int r, const struct uevent *event, const struct error *e)
{
	uevent_done_fn done = wait->done;
	void *data = wait->data;

	/* Freed first: `done` may start the next wait. */
	wait_free(wait);
	done(r, event, e, data);
}

static bool wait_matches(const struct uevent_wait *wait, const struct uevent *event)
{
	return str_equal(wait->query.subsystem, event->subsystem) &&
	       wait->query.match(event, wait->query.data);
}

static bool wait_found_in_sysfs(const struct uevent *event, void *data)
{
	struct uevent_wait *wait = data;

	if (!wait_matches(wait, event))
		return false;
	wait_finish(wait, 0, event, NULL);
	return true;
}

/* True when the wait is over (and gone). */
static bool wait_look(struct uevent_wait *wait)
{
	return uevents_scan(wait->uevents, wait->query.subsystem, wait_found_in_sysfs, wait);
}

static void wait_first_look(struct loop_defer *defer)
{
	wait_look(container_of(defer, struct uevent_wait, look));
}

static void wait_expired(struct loop_timer *timer)
{
	struct uevent_wait *wait = container_of(timer, struct uevent_wait, timer);
	struct error e = ERROR_INIT;

	if (wait_look(wait))
		return;
	error_set(&e, STATUS_INTERNAL, ETIMEDOUT, "Timeout after %llus waiting for uevent %s",
		  (unsigned long long)((wait->query.timeout_ms + 999) / 1000), wait->query.name);
	wait_finish(wait, -ETIMEDOUT, NULL, &e);
}

struct uevent_wait *uevent_wait_start(struct uevents *uevents, const struct uevent_query *query,
				      uevent_done_fn done, void *data)
{
	struct uevent_wait *wait = calloc(1, sizeof(*wait));

	if (!wait)
		return NULL;
	wait->uevents = uevents;
	wait->query = *query;
	wait->query.name = strdup(str_or_empty(query->name));
	wait->query.subsystem = strdup(str_or_empty(query->subsystem));
	wait->done = done;
	wait->data = data;
	list_append(&uevents->waits, &wait->link);
	if (!wait->query.name || !wait->query.subsystem ||
	    loop_timer_set(uevents->loop, &wait->timer, query->timeout_ms, wait_expired) < 0) {
		wait_free(wait);
		return NULL;
	}
	/* The socket listens already, so what comes between this look and the next event is not missed. */
	loop_defer_add(uevents->loop, &wait->look, wait_first_look);
	return wait;
}

void uevent_wait_cancel(struct uevent_wait *wait)
{
	if (wait)
		wait_free(wait);
}

/* --- events --------------------------------------------------------------------------------------------------- */

/*
 * The callback of one wait may end others, so the list is walked anew after each hit. Each wait gets one event at most,
 * which bounds it.
 */
static void waits_offer(struct uevents *uevents, const struct uevent *event)
{
	struct list pending, *link;

	list_init(&pending);
	while (!list_empty(&uevents->waits)) {
		link = uevents->waits.next;
		list_remove(link);
		list_append(&pending, link);
	}
	while (!list_empty(&pending)) {
		struct uevent_wait *wait = list_first_entry(&pending, struct uevent_wait, link);

		list_remove(&wait->link);
		list_append(&uevents->waits, &wait->link);
		if (wait_matches(wait, event))
			wait_finish(wait, 0, event, NULL);
	}
}

static void waits_look_again(struct uevents *uevents)
{
	struct uevent_wait *wait;

	/* Through the deferred call: nothing is freed under this walk. */
	list_for_each_entry (wait, &uevents->waits, link)
		loop_defer_add(uevents->loop, &wait->look, wait_first_look);
}

static void uevents_dispatch(struct uevents *uevents, const struct uevent *event)
{
	struct uevent_observer *observer, *next;

	log_debug("uevent", "got uevent message", "action", event->action, "devpath", event->devpath,
		  "subsystem", event->subsystem, "devname", event->devname);
	list_for_each_entry_safe (observer, next, &uevents->observers, link)
		observer->fn(observer, event);
	if (!str_equal(event->action, "remove") && !str_equal(event->action, "offline"))
		waits_offer(uevents, event);
}

void uevents_inject(struct uevents *uevents, const char *data, size_t length)
{
	struct uevent event;

	if (length > UEVENT_TEXT_MAX)
		return;
	memcpy(uevents->message, data, length);
	uevents->message[length] = '\0';
	if (uevent_parse(uevents->message, length, &event) == 0)
		uevents_dispatch(uevents, &event);
}

/* Bytes of a message by the kernel; 0 for what is to be ignored; negative errno (EAGAIN: nothing is left). */
static ssize_t uevents_receive(struct uevents *uevents)
{
	struct sockaddr_nl from = {0};
	struct iovec iov = {.iov_base = uevents->message, .iov_len = UEVENT_TEXT_MAX};
	struct msghdr message = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n = recvmsg(uevents->socket, &message, MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	if (message.msg_namelen != sizeof(from) || from.nl_pid != 0 || (message.msg_flags & MSG_TRUNC))
		return 0;
	return n;
}

static void uevents_ready(struct loop_fd *source, uint32_t events)
{
	struct uevents *uevents = container_of(source, struct uevents, source);

	/* Bounded, so that a storm of events does not keep the loop from its other work. */
	for (int i = 0; i < 256; i++) {
		ssize_t n = uevents_receive(uevents);
		struct uevent event;

		if (n == -EAGAIN || n == -EINTR)
			return;
		if (n == -ENOBUFS) {
			log_warning("uevent", "events were lost, looking into sysfs");
			waits_look_again(uevents);
			continue;
		}
		if (n < 0) {
			log_error("uevent", "cannot receive", "error", error_name((int)-n));
			return;
		}
		uevents->message[n] = '\0';
		if (n > 0 && uevent_parse(uevents->message, (size_t)n, &event) == 0)
			uevents_dispatch(uevents, &event);
	}
}

void uevents_observe(struct uevents *uevents, struct uevent_observer *observer)
{
	list_append(&uevents->observers, &observer->link);
}

void uevent_observer_remove(struct uevent_observer *observer)
{
	list_remove(&observer->link);
}

/* --- the listener --------------------------------------------------------------------------------------------- */

static int uevents_open(struct uevents *uevents, struct error *e)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1};
	int size = RECEIVE_BUFFER, r;

	uevents->socket =
		socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
	if (uevents->socket < 0)
		return error_errno(e, errno, "open the uevent socket");
	/* Refused without CAP_NET_ADMIN; the default then has to do, and ENOBUFS is survived anyway. */
	if (setsockopt(uevents->socket, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		log_debug("uevent", "the receive buffer keeps its size");
	if (bind(uevents->socket, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(e, errno, "bind the uevent socket");
	r = loop_fd_add(uevents->loop, &uevents->source, uevents->socket, EPOLLIN, uevents_ready);
	return r < 0 ? error_errno(e, -r, "watch the uevent socket") : 0;
}

struct uevents *uevents_new(struct loop *loop, const char *root, struct error *e)
{
	struct uevents *uevents = calloc(1, sizeof(*uevents));

	if (!uevents) {
		error_errno(e, ENOMEM, "uevents");
		return NULL;
	}
	uevents->loop = loop;
	uevents->socket = -1;
	list_init(&uevents->observers);
	list_init(&uevents->waits);
	uevents->root = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (uevents->root < 0)
		error_errno(e, errno, "open \"%s\"", root);
	else if (!str_equal(root, "/") || uevents_open(uevents, e) == 0)
		return uevents;
	uevents_free(uevents);
	return NULL;
}

void uevents_free(struct uevents *uevents)
{
	if (!uevents)
		return;
	loop_fd_remove(&uevents->source);
	fd_close(uevents->socket);
	fd_close(uevents->root);
	free(uevents);
}
