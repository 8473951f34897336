/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving network interfaces by rtnetlink(7). Two sockets, one opened in each network namespace, serve the whole list, so
 * that the namespace is changed twice and no more. A socket belongs to the namespace in which it was made.
 */
#include "engine/netdevice.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

enum { MESSAGE_MAX = 1024, RECEIVE_MAX = 32 << 10, ADDRESSES_MAX = 64 };

struct address {
	uint8_t family, prefix, scope, length;
	uint8_t local[16], peer[16];
};

struct device {
	const char *old_name, *new_name;
	int index; /* in the namespace where it is now */
	bool up;   /* it was, before */
	bool moved;
	struct address addresses[ADDRESSES_MAX];
	size_t n_addresses;
};

bool netdevice_name_valid(const char *name)
{
	size_t length = strlen(str_or_empty(name));

	if (length == 0 || length >= IFNAMSIZ || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	for (; *name; name++) {
		if (*name == '/' || *name == ':' || isspace((unsigned char)*name))
			return false;
	}
	return true;
}

/* --- messages ----------------------------------------------------------------------------------------------- */

struct message {
	union {
		struct nlmsghdr header;
		uint8_t bytes[MESSAGE_MAX];
	};
};

static void *message_init(struct message *m, uint16_t type, uint16_t flags, size_t size)
{
	memset(m, 0, sizeof(*m));
	m->header.nlmsg_len = (uint32_t)NLMSG_LENGTH(size);
	m->header.nlmsg_type = type;
	m->header.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	return NLMSG_DATA(&m->header);
}

/* Our messages are small and bounded by what we put in; see MESSAGE_MAX. */
static void message_add(struct message *m, uint16_t type, const void *data, size_t length)
{
	struct rtattr *attribute = (struct rtattr *)(m->bytes + NLMSG_ALIGN(m->header.nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = (uint16_t)RTA_LENGTH(length);
	memcpy(RTA_DATA(attribute), data, length);
	m->header.nlmsg_len = (uint32_t)(NLMSG_ALIGN(m->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len));
}

typedef void (*reply_fn)(const struct nlmsghdr *header, void *data);

/* Sends, and reads until the acknowledgement or the end of a dump. 0 or -errno of the kernel. */
static int transact(int fd, struct message *m, reply_fn reply, void *data)
{
	static uint32_t sequence;
	uint8_t buffer[RECEIVE_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));

	m->header.nlmsg_seq = ++sequence;
	/* Its bits mean other things in requests that change something. */
	if ((m->header.nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
		m->header.nlmsg_flags |= NLM_F_ACK;
	if (send(fd, m->bytes, m->header.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t length = recv(fd, buffer, sizeof(buffer), 0);
		if (length < 0 && errno == EINTR)
			continue;
		if (length <= 0)
			return length < 0 ? -errno : -EIO;
		unsigned left = (unsigned)length;
		for (struct nlmsghdr *h = (struct nlmsghdr *)buffer; NLMSG_OK(h, left);
		     h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_seq != m->header.nlmsg_seq)
				continue;
			if (h->nlmsg_type == NLMSG_DONE)
				return 0;
			if (h->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (reply)
				reply(h, data);
		}
	}
}

/* --- links -------------------------------------------------------------------------------------------------- */

static void take_link(const struct nlmsghdr *header, void *data)
{
	if (header->nlmsg_type == RTM_NEWLINK)
		memcpy(data, NLMSG_DATA(header), sizeof(struct ifinfomsg));
}

/* Fills @link of the interface called @name. */
static int find_link(int fd, const char *name, struct ifinfomsg *link)
{
	struct message m;

	message_init(&m, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
	message_add(&m, IFLA_IFNAME, name, strlen(name) + 1);
	*link = (struct ifinfomsg){0};
	int r = transact(fd, &m, take_link, link);
	return r == 0 && link->ifi_index == 0 ? -ENODEV : r;
}

static int set_up(int fd, int index)
{
	struct message m;
	struct ifinfomsg *link = message_init(&m, RTM_NEWLINK, 0, sizeof(*link));

	link->ifi_index = index;
	link->ifi_flags = link->ifi_change = IFF_UP;
	return transact(fd, &m, NULL, NULL);
}

static int move_link(int fd, int index, int netns, const char *name)
{
	struct message m;
	struct ifinfomsg *link = message_init(&m, RTM_NEWLINK, 0, sizeof(*link));

	link->ifi_index = index;
	message_add(&m, IFLA_NET_NS_FD, &netns, sizeof(netns));
	message_add(&m, IFLA_IFNAME, name, strlen(name) + 1);
	return transact(fd, &m, NULL, NULL);
}

/* --- addresses ---------------------------------------------------------------------------------------------- */

static void take_address(const struct nlmsghdr *header, void *data)
{
	struct device *device = data;
	const struct ifaddrmsg *in = NLMSG_DATA(header);
	struct address out = {.family = in->ifa_family, .prefix = in->ifa_prefixlen, .scope = in->ifa_scope};
	bool has_local = false, has_peer = false;

	if (header->nlmsg_type != RTM_NEWADDR || (int)in->ifa_index != device->index ||
	    in->ifa_scope != RT_SCOPE_UNIVERSE || !(in->ifa_flags & IFA_F_PERMANENT) ||
	    device->n_addresses == ADDRESSES_MAX)
		return;
	int left = (int)IFA_PAYLOAD(header);
	for (const struct rtattr *a = IFA_RTA(in); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		size_t length = RTA_PAYLOAD(a);
		if ((a->rta_type != IFA_LOCAL && a->rta_type != IFA_ADDRESS) || length > sizeof(out.local))
			continue;
		out.length = (uint8_t)length;
		memcpy(a->rta_type == IFA_LOCAL ? out.local : out.peer, RTA_DATA(a), length);
		has_local = has_local || a->rta_type == IFA_LOCAL;
		has_peer = has_peer || a->rta_type == IFA_ADDRESS;
	}
	/* Only point-to-point links have two; IPv6 has the second alone. */
	if (!has_local)
		memcpy(out.local, out.peer, sizeof(out.local));
	if (!has_peer)
		memcpy(out.peer, out.local, sizeof(out.peer));
	if (has_local || has_peer)
		device->addresses[device->n_addresses++] = out;
}

static int list_addresses(int fd, struct device *device)
{
	struct message m;

	message_init(&m, RTM_GETADDR, NLM_F_DUMP, sizeof(struct ifaddrmsg));
	return transact(fd, &m, take_address, device);
}

static int restore_addresses(int fd, const struct device *device)
{
	for (size_t i = 0; i < device->n_addresses; i++) {
		const struct address *address = &device->addresses[i];
		struct message m;
		struct ifaddrmsg *out =
			message_init(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*out));
		out->ifa_family = address->family;
		out->ifa_prefixlen = address->prefix;
		out->ifa_scope = address->scope;
		out->ifa_flags = IFA_F_PERMANENT;
		out->ifa_index = (uint32_t)device->index;
		message_add(&m, IFA_LOCAL, address->local, address->length);
		message_add(&m, IFA_ADDRESS, address->peer, address->length);
		int r = transact(fd, &m, NULL, NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- the move ----------------------------------------------------------------------------------------------- */

struct mover {
	int outside, inside;	   /* sockets */
	int outside_ns, inside_ns; /* namespaces; inside_ns is borrowed */
};

static int open_socket(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	return fd < 0 ? -errno : fd;
}

static int open_sockets(struct mover *mover, struct error *e)
{
	mover->outside_ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (mover->outside_ns < 0)
		return error_errno(e, errno, "linux.netDevices: open our network namespace");
	mover->outside = open_socket();
	if (mover->outside < 0)
		return error_errno(e, -mover->outside, "linux.netDevices: socket");
	if (setns(mover->inside_ns, CLONE_NEWNET) < 0)
		return error_errno(e, errno, "linux.netDevices: enter the container's network namespace");
	mover->inside = open_socket();
	if (setns(mover->outside_ns, CLONE_NEWNET) < 0)
		return error_errno(e, errno, "linux.netDevices: return to our network namespace");
	return mover->inside < 0 ? error_errno(e, -mover->inside, "linux.netDevices: socket inside") : 0;
}

/* From one side to the other, keeping what can be kept. */
static int carry(int from, int to, int to_ns, const char *name, struct device *device)
{
	struct ifinfomsg link;

	int r = move_link(from, device->index, to_ns, name);
	if (r < 0)
		return r;
	device->moved = !device->moved;
	r = find_link(to, name, &link);
	if (r < 0)
		return r;
	device->index = link.ifi_index;
	/* IPv6 addresses stay only on links that are up when they come. */
	if (device->up)
		r = set_up(to, device->index);
	return r < 0 ? r : restore_addresses(to, device);
}

static int move_in(const struct mover *mover, struct device *device)
{
	struct ifinfomsg link;

	int r = find_link(mover->outside, device->old_name, &link);
	if (r < 0)
		return r;
	device->index = link.ifi_index;
	r = list_addresses(mover->outside, device);
	if (r < 0)
		return r;
	/* In the container it comes up in any case. */
	device->up = true;
	r = carry(mover->outside, mover->inside, mover->inside_ns, device->new_name, device);
	device->up = link.ifi_flags & IFF_UP;
	return r;
}

static void move_all_back(const struct mover *mover, struct device *devices, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (devices[i].moved)
			(void)carry(mover->inside, mover->outside, mover->outside_ns, devices[i].old_name,
				    &devices[i]);
	}
}

int netdevices_move(int netns, Grpc__Linux__NetDevicesEntry *const *entries, size_t count, struct error *e)
{
	struct mover mover = {.outside = -1, .inside = -1, .outside_ns = -1, .inside_ns = netns};
	_cleanup_free_ struct device *devices = calloc(count + 1, sizeof(*devices));

	if (!count)
		return 0;
	int r = devices ? open_sockets(&mover, e) : error_errno(e, ENOMEM, "linux.netDevices");
	for (size_t i = 0; r == 0 && i < count; i++) {
		const char *name = entries[i]->value ? entries[i]->value->name : NULL;
		devices[i].old_name = str_or_empty(entries[i]->key);
		devices[i].new_name = str_is_empty(name) ? devices[i].old_name : name;
		if (!netdevice_name_valid(devices[i].old_name) || !netdevice_name_valid(devices[i].new_name))
			r = -EINVAL;
		else
			r = move_in(&mover, &devices[i]);
		if (r < 0) {
			error_errno(e, -r, "linux.netDevices: move \"%s\" into the container as \"%s\"",
				    devices[i].old_name, devices[i].new_name);
			move_all_back(&mover, devices, count);
		}
	}
	fd_close(mover.outside);
	fd_close(mover.inside);
	fd_close(mover.outside_ns);
	return r;
}
