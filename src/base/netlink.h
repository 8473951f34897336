/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_NETLINK_H
#define BASE_NETLINK_H

/*
 * Requests to the kernel over netlink(7), one at a time, each waiting for its end.
 *
 * A request is built in a block of fixed size: what does not fit is remembered and refused when it is sent. All messages
 * of an answer are collected before the caller looks at the first, so that a dump which the kernel had to interrupt is
 * simply asked for again. Reading never trusts a length: not that of a message, nor of an attribute. What another process
 * sends to the socket is dropped.
 *
 * An exchange blocks; it is bounded by NETLINK_TIMEOUT_MS of silence. Where the kernel may hold its lock for long (a
 * driver that brings a device up), do it in a job.
 */

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

enum {
	NETLINK_REQUEST_MAX = 1024,    /* bytes */
	NETLINK_ANSWER_MAX = 16 << 20, /* bytes of all messages of one answer */
	NETLINK_TIMEOUT_MS = 10000,
};

/* --- asking --- */

struct netlink_request {
	union {
		struct nlmsghdr header;
		uint8_t bytes[NETLINK_REQUEST_MAX];
	};
	bool overflow; /* something did not fit */
};

/* Starts a request with a zeroed family header of @size bytes (at most 64), which is returned to be filled. @flags as in
 * netlink(7); NLM_F_REQUEST, and NLM_F_ACK where it is no dump, are added. */
void *netlink_request_init(struct netlink_request *request, uint16_t type, uint16_t flags, size_t size);
void netlink_put(struct netlink_request *request, uint16_t type, const void *data, size_t length);
void netlink_put_u32(struct netlink_request *request, uint16_t type, uint32_t value);
/* With its NUL byte. */
void netlink_put_string(struct netlink_request *request, uint16_t type, const char *text);
/* What is put between the two lies within the attribute @type. */
size_t netlink_nest(struct netlink_request *request, uint16_t type);
void netlink_nest_end(struct netlink_request *request, size_t nest);

/* A socket of @protocol (NETLINK_ROUTE) that is a member of the multicast @groups (a bit mask, 0: none; then it is
 * non-blocking, for the loop). It belongs to the calling thread's network namespace. Descriptor or -errno. */
int netlink_open(int protocol, uint32_t groups);

/*
 * Sends @request and waits for its end. Messages of the answer are appended to @answer (may be NULL: dropped), to be read by
 * netlink_next(). 0 or -errno with @e set: "ENODEV: No such device", with the kernel's own sentence behind it where it
 * sends one.
 */
int netlink_exchange(int fd, struct netlink_request *request, struct buf *answer, struct error *e);

/*
 * One datagram of the multicast groups, appended to @out. The number of its bytes; 0 for one that is to be ignored;
 * -EAGAIN when there is none, -ENOBUFS when some were lost, or another -errno.
 */
int netlink_receive_event(int fd, struct buf *out);

/* --- reading --- */

/* Bytes that are left to be read; both move on as they are read. */
struct netlink_reader {
	const uint8_t *data;
	size_t left;
};

static inline struct netlink_reader netlink_reader(const void *data, size_t length)
{
	return (struct netlink_reader){.data = data, .left = length};
}

struct netlink_message {
	uint16_t type;
	uint16_t flags;
	uint32_t sequence;
	const uint8_t *payload; /* of any alignment */
	size_t length;
};

/* The next message; false at the end, and at what is not whole. */
bool netlink_next(struct netlink_reader *reader, struct netlink_message *out);

/* What an NLMSG_ERROR says: 0, which acknowledges, or the kernel's -errno with @e set. */
int netlink_message_error(const struct netlink_message *message, struct error *e);

struct netlink_attribute {
	const uint8_t *data; /* NULL: there was none; of any alignment */
	size_t length;
};

/*
 * Copies the family header of @size bytes to @header and sorts the attributes behind it into @table by their type
 * (types from @count up are passed over, of several of one type the last counts). False: the payload is shorter than that.
 */
bool netlink_parse(const uint8_t *payload, size_t length, void *header, size_t size,
		   struct netlink_attribute *table, size_t count);
/* As above for what lies within an attribute. */
void netlink_parse_nest(struct netlink_attribute nest, struct netlink_attribute *table, size_t count);
/* @fallback where the attribute is absent or has another size. */
uint32_t netlink_u32(struct netlink_attribute attribute, uint32_t fallback);
/* Copies a text with its NUL byte; false (and "") where it is absent, does not fit, or is not UTF-8. */
bool netlink_string(struct netlink_attribute attribute, char *out, size_t size);

#endif
