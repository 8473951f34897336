/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Netlink messages: built in place, read with every length checked. Headers are copied out of the bytes before they are
 * looked at, so that nothing depends on how a buffer is aligned.
 */

#include "base/netlink.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

enum {
	RECEIVE_MAX = 64 << 10, /* the kernel's own bound of a datagram of a dump is half of that */
	INTERRUPTED_MAX = 8,	/* times that an interrupted dump is asked for again */
	EVENTS_BUFFER = 1 << 20,
};

/* --- asking ------------------------------------------------------------------------------------------------- */

void *netlink_request_init(struct netlink_request *request, uint16_t type, uint16_t flags, size_t size)
{
	memset(request, 0, sizeof(*request));
	request->header.nlmsg_type = type;
	request->header.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	request->header.nlmsg_len = (uint32_t)NLMSG_LENGTH(size);
	return request->bytes + NLMSG_HDRLEN;
}

/* Where an attribute with @length bytes goes; NULL when there is no room. */
static uint8_t *put_header(struct netlink_request *request, uint16_t type, size_t length)
{
	size_t at = NLMSG_ALIGN(request->header.nlmsg_len);

	if (length > NETLINK_REQUEST_MAX || at + NLA_HDRLEN + NLA_ALIGN(length) > NETLINK_REQUEST_MAX) {
		request->overflow = true;
		return NULL;
	}
	struct nlattr header = {.nla_type = type, .nla_len = (uint16_t)(NLA_HDRLEN + length)};
	memcpy(request->bytes + at, &header, sizeof(header));
	request->header.nlmsg_len = (uint32_t)(at + NLA_HDRLEN + NLA_ALIGN(length));
	return request->bytes + at + NLA_HDRLEN;
}

void netlink_put(struct netlink_request *request, uint16_t type, const void *data, size_t length)
{
	uint8_t *to = put_header(request, type, length);

	if (to && length > 0)
		memcpy(to, data, length);
}

void netlink_put_u32(struct netlink_request *request, uint16_t type, uint32_t value)
{
	netlink_put(request, type, &value, sizeof(value));
}

void netlink_put_string(struct netlink_request *request, uint16_t type, const char *text)
{
	netlink_put(request, type, text, strlen(text) + 1);
}

size_t netlink_nest(struct netlink_request *request, uint16_t type)
{
	size_t at = NLMSG_ALIGN(request->header.nlmsg_len);

	return put_header(request, type, 0) ? at : 0;
}

void netlink_nest_end(struct netlink_request *request, size_t nest)
{
	struct nlattr header;

	if (nest == 0)
		return;
	memcpy(&header, request->bytes + nest, sizeof(header));
	header.nla_len = (uint16_t)(request->header.nlmsg_len - nest);
	memcpy(request->bytes + nest, &header, sizeof(header));
}

int netlink_open(int protocol, uint32_t groups)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
	int type = SOCK_RAW | SOCK_CLOEXEC | (groups ? SOCK_NONBLOCK : 0), on = 1, size = EVENTS_BUFFER;
	_cleanup_fd_ int fd = socket(AF_NETLINK, type, protocol);

	if (fd < 0)
		return -errno;
	/* All three are for comfort: older kernels do without. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	if (groups)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return fd_steal(&fd);
}

/* One datagram of the kernel. Its bytes, 0 for what another process sent, or -errno. */
static ssize_t receive(int fd, uint8_t *buffer, size_t size)
{
	struct sockaddr_nl from = {0};
	struct iovec iov = {.iov_base = buffer, .iov_len = size};
	struct msghdr message = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	if (message.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	return message.msg_namelen == sizeof(from) && from.nl_pid == 0 ? n : 0;
}

static ssize_t receive_waiting(int fd, uint8_t *buffer, size_t size)
{
	for (;;) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		ssize_t n = receive(fd, buffer, size);
		if (n > 0 || (n < 0 && n != -EAGAIN && n != -EINTR))
			return n;
		int r = poll(&ready, 1, NETLINK_TIMEOUT_MS);
		if (r == 0)
			return -ETIMEDOUT;
		if (r < 0 && errno != EINTR)
			return -errno;
	}
}

int netlink_receive_event(int fd, struct buf *out)
{
	uint8_t *to = buf_reserve(out, RECEIVE_MAX);
	ssize_t n = to ? receive(fd, to, RECEIVE_MAX) : -ENOMEM;

	if (n > 0)
		buf_commit(out, (size_t)n);
	return (int)n;
}

int netlink_message_error(const struct netlink_message *message, struct error *e)
{
	struct nlmsgerr header;
	struct netlink_attribute attributes[NLMSGERR_ATTR_MSG + 1];
	char sentence[256] = "";
	size_t skip = sizeof(header);

	if (message->length < sizeof(header))
		return error_errno(e, EBADMSG, "the kernel's answer");
	memcpy(&header, message->payload, sizeof(header));
	if (header.error == 0)
		return 0;
	if (header.error > 0 || header.error < -4095)
		return error_errno(e, EBADMSG, "the kernel's answer");
	/* The request's own payload stands between, unless it was left out. */
	if (!(message->flags & NLM_F_CAPPED) && header.msg.nlmsg_len > NLMSG_HDRLEN &&
	    header.msg.nlmsg_len <= message->length)
		skip += NLMSG_ALIGN(header.msg.nlmsg_len - NLMSG_HDRLEN);
	if ((message->flags & NLM_F_ACK_TLVS) && skip <= message->length) {
		netlink_parse_nest(
			(struct netlink_attribute){message->payload + skip, message->length - skip},
			attributes, NLMSGERR_ATTR_MSG + 1);
		(void)netlink_string(attributes[NLMSGERR_ATTR_MSG], sentence, sizeof(sentence));
	}
	error_set(e, STATUS_INTERNAL, -header.error, "%s: %s%s%s%s", error_name(-header.error),
		  strerror(-header.error), *sentence ? " (" : "", sentence, *sentence ? ")" : "");
	return header.error;
}

static int keep(const struct netlink_message *message, struct buf *answer)
{
	struct nlmsghdr header = {
		.nlmsg_len = (uint32_t)NLMSG_LENGTH(message->length),
		.nlmsg_type = message->type,
		.nlmsg_flags = message->flags,
		.nlmsg_seq = message->sequence,
	};
	static const uint8_t padding[NLMSG_ALIGNTO];
	size_t pad = NLMSG_ALIGN(header.nlmsg_len) - header.nlmsg_len;

	if (answer->length > NETLINK_ANSWER_MAX)
		return -EMSGSIZE;
	if (buf_append(answer, &header, sizeof(header)) < 0 ||
	    buf_append(answer, message->payload, message->length) < 0 || buf_append(answer, padding, pad) < 0)
		return -ENOMEM;
	return 0;
}

/* What a datagram of the answer says: 1: it goes on; 0: the end; -errno with @e set. */
static int take_datagram(struct netlink_reader reader, uint32_t sequence, struct buf *answer,
			 bool *interrupted, struct error *e)
{
	struct netlink_message message;

	while (netlink_next(&reader, &message)) {
		/* An answer to a request of which we gave up. */
		if (message.sequence != sequence)
			continue;
		if (message.flags & NLM_F_DUMP_INTR)
			*interrupted = true;
		if (message.type == NLMSG_ERROR)
			return netlink_message_error(&message, e);
		if (message.type == NLMSG_DONE) {
			int32_t error = 0;
			if (message.length >= sizeof(error))
				memcpy(&error, message.payload, sizeof(error));
			return error < 0 ? error_errno(e, -error, "the kernel's list") : 0;
		}
		int r = message.type >= NLMSG_MIN_TYPE && answer ? keep(&message, answer) : 0;
		if (r < 0)
			return error_errno(e, -r, "the kernel's answer");
	}
	return 1;
}

static int exchange_once(int fd, struct netlink_request *request, struct buf *answer, bool *interrupted,
			 struct error *e)
{
	static uint32_t sequence;
	_cleanup_free_ uint8_t *buffer = malloc(RECEIVE_MAX);
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

	if (!buffer)
		return error_errno(e, ENOMEM, "netlink");
	request->header.nlmsg_seq = ++sequence;
	if (sendto(fd, request->bytes, request->header.nlmsg_len, 0, (struct sockaddr *)&kernel,
		   sizeof(kernel)) < 0)
		return error_errno(e, errno, "netlink: send");
	for (;;) {
		ssize_t n = receive_waiting(fd, buffer, RECEIVE_MAX);
		if (n < 0)
			return error_errno(e, (int)-n, "netlink: receive");
		int r = take_datagram(netlink_reader(buffer, (size_t)n), request->header.nlmsg_seq, answer,
				      interrupted, e);
		if (r <= 0)
			return r;
	}
}

int netlink_exchange(int fd, struct netlink_request *request, struct buf *answer, struct error *e)
{
	size_t before = answer ? answer->length : 0;

	if (request->overflow)
		return error_errno(e, EMSGSIZE, "netlink: request");
	/* In requests that change something its bits mean other things. */
	if ((request->header.nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
		request->header.nlmsg_flags |= NLM_F_ACK;
	for (int i = 0;; i++) {
		bool interrupted = false;
		int r = exchange_once(fd, request, answer, &interrupted, e);
		/* A table that changes all the time is told of as well as it can be. */
		if (r < 0 || !interrupted || i == INTERRUPTED_MAX)
			return r;
		if (answer)
			answer->length = before;
	}
}

/* --- reading ------------------------------------------------------------------------------------------------ */

static void skip(struct netlink_reader *reader, size_t bytes)
{
	if (bytes > reader->left)
		bytes = reader->left;
	reader->data += bytes;
	reader->left -= bytes;
}

bool netlink_next(struct netlink_reader *reader, struct netlink_message *out)
{
	struct nlmsghdr header;

	if (reader->left < sizeof(header))
		return false;
	memcpy(&header, reader->data, sizeof(header));
	if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > reader->left)
		return false;
	*out = (struct netlink_message){
		.type = header.nlmsg_type,
		.flags = header.nlmsg_flags,
		.sequence = header.nlmsg_seq,
		.payload = reader->data + sizeof(header),
		.length = header.nlmsg_len - sizeof(header),
	};
	skip(reader, NLMSG_ALIGN((size_t)header.nlmsg_len));
	return true;
}

void netlink_parse_nest(struct netlink_attribute nest, struct netlink_attribute *table, size_t count)
{
	struct netlink_reader reader = netlink_reader(nest.data, nest.data ? nest.length : 0);
	struct nlattr header;

	memset(table, 0, count * sizeof(*table));
	while (reader.left >= sizeof(header)) {
		memcpy(&header, reader.data, sizeof(header));
		if (header.nla_len < sizeof(header) || header.nla_len > reader.left)
			return;
		uint16_t type = header.nla_type & NLA_TYPE_MASK;
		if (type < count)
			table[type] = (struct netlink_attribute){reader.data + sizeof(header),
								 header.nla_len - sizeof(header)};
		skip(&reader, NLA_ALIGN((size_t)header.nla_len));
	}
}

bool netlink_parse(const uint8_t *payload, size_t length, void *header, size_t size,
		   struct netlink_attribute *table, size_t count)
{
	size_t at = NLMSG_ALIGN(size);

	if (length < size)
		return false;
	memcpy(header, payload, size);
	netlink_parse_nest((struct netlink_attribute){payload + (at < length ? at : length),
						      at < length ? length - at : 0},
			   table, count);
	return true;
}

uint32_t netlink_u32(struct netlink_attribute attribute, uint32_t fallback)
{
	uint32_t value;

	if (!attribute.data || attribute.length != sizeof(value))
		return fallback;
	memcpy(&value, attribute.data, sizeof(value));
	return value;
}

bool netlink_string(struct netlink_attribute attribute, char *out, size_t size)
{
	size_t length = attribute.data ? strnlen((const char *)attribute.data, attribute.length) : 0;

	out[0] = '\0';
	if (!attribute.data || length == attribute.length || length >= size ||
	    !utf8_valid(attribute.data, length))
		return false;
	memcpy(out, attribute.data, length + 1);
	return true;
}
