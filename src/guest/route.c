/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes by rtnetlink(7): RTM_NEWROUTE, RTM_GETROUTE.
 *
 * The host's `source` is the preferred source address. Only where it is an IPv6 prefix it is what the kernel calls source:
 * a route for packets that come from there.
 */

#include "guest/route.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"

enum { SETTABLE_FLAGS = RTNH_F_ONLINK | RTNH_F_PERVASIVE };

/* --- the host's words --------------------------------------------------------------------------------------- */

static void take_source(const struct ip *ip, uint8_t prefix, struct route *out)
{
	if (ip_is_unspecified(ip))
		return;
	if (ip->family == AF_INET6 && prefix > 0 && prefix < ip_bits(AF_INET6)) {
		out->from = *ip;
		out->from_prefix = prefix;
		ip_mask(&out->from, prefix);
	} else {
		out->source = *ip;
	}
}

static bool family_agrees(struct route *route, const struct ip *ip)
{
	if (!ip->family)
		return true;
	if (!route->family)
		route->family = ip->family;
	return route->family == ip->family;
}

int route_from_request(const Types__Route *in, struct route *out, struct error *e)
{
	struct route route = {.mtu = in->mtu, .flags = in->flags & SETTABLE_FLAGS};
	struct ip source = {0};
	uint8_t prefix = 0;

	if (!link_name_valid(in->device))
		return error_set(e, STATUS_INTERNAL, EINVAL, "\"%s\" is no name of a link", in->device);
	if (!str_is_empty(in->dest) && ip_parse_prefix(in->dest, &route.destination, &route.prefix) < 0)
		return error_set(e, STATUS_INTERNAL, EINVAL, "destination \"%s\" is no address", in->dest);
	if (!str_is_empty(in->gateway) && ip_parse(in->gateway, &route.gateway) < 0)
		return error_set(e, STATUS_INTERNAL, EINVAL, "gateway \"%s\" is no address", in->gateway);
	if (!str_is_empty(in->source) && ip_parse_prefix(in->source, &source, &prefix) < 0)
		return error_set(e, STATUS_INTERNAL, EINVAL, "source \"%s\" is no address", in->source);
	if (in->scope > UINT8_MAX)
		return error_set(e, STATUS_INTERNAL, EINVAL, "scope %u is out of range", in->scope);
	route.scope = (uint8_t)in->scope;
	if (!family_agrees(&route, &route.destination) || !family_agrees(&route, &route.gateway) ||
	    !family_agrees(&route, &source))
		return error_set(e, STATUS_INTERNAL, EINVAL, "addresses of two families");
	if (!route.family)
		route.family = in->family == TYPES__IPFAMILY__v6 ? AF_INET6 : AF_INET;
	if (route.destination.family)
		ip_mask(&route.destination, route.prefix);
	if (source.family)
		take_source(&source, prefix, &route);
	/* "0.0.0.0" for none, as some have it. */
	if (route.gateway.family && ip_is_unspecified(&route.gateway))
		route.gateway.family = 0;
	*out = route;
	return 0;
}

/* --- the kernel's ------------------------------------------------------------------------------------------- */

static struct ip ip_of(uint8_t family, struct netlink_attribute attribute)
{
	struct ip ip = {0};

	return ip_from_bytes(family, attribute.data, attribute.length, &ip) ? ip : (struct ip){0};
}

/* RTA_VIA: a gateway of another family, with that family in front. */
static struct ip ip_of_via(struct netlink_attribute via)
{
	uint16_t family;

	if (!via.data || via.length < sizeof(family))
		return (struct ip){0};
	memcpy(&family, via.data, sizeof(family));
	return ip_of((uint8_t)family,
		     (struct netlink_attribute){via.data + sizeof(family), via.length - sizeof(family)});
}

static void take_hop(uint8_t family, const struct netlink_attribute *table, struct route *out)
{
	out->gateway =
		table[RTA_GATEWAY].data ? ip_of(family, table[RTA_GATEWAY]) : ip_of_via(table[RTA_VIA]);
}

/* Of several hops the first one stands for all: the wire has no place for more. */
static void take_first_hop(uint8_t family, struct netlink_attribute multipath, struct route *out)
{
	struct rtnexthop hop;
	struct netlink_attribute table[RTA_MAX + 1];

	if (!multipath.data || multipath.length < sizeof(hop))
		return;
	memcpy(&hop, multipath.data, sizeof(hop));
	if (hop.rtnh_len < sizeof(hop) || hop.rtnh_len > multipath.length)
		return;
	netlink_parse_nest(
		(struct netlink_attribute){multipath.data + sizeof(hop), hop.rtnh_len - sizeof(hop)}, table,
		RTA_MAX + 1);
	out->link = hop.rtnh_ifindex;
	out->flags = hop.rtnh_flags & SETTABLE_FLAGS;
	take_hop(family, table, out);
}

bool route_from_message(const struct netlink_message *message, struct route *out)
{
	struct rtmsg header;
	struct netlink_attribute table[RTA_MAX + 1], metrics[RTAX_MTU + 1];

	if (message->type != RTM_NEWROUTE ||
	    !netlink_parse(message->payload, message->length, &header, sizeof(header), table, RTA_MAX + 1) ||
	    (header.rtm_family != AF_INET && header.rtm_family != AF_INET6) ||
	    (header.rtm_flags & RTM_F_CLONED) ||
	    netlink_u32(table[RTA_TABLE], header.rtm_table) != RT_TABLE_MAIN ||
	    header.rtm_dst_len > ip_bits(header.rtm_family) ||
	    header.rtm_src_len > ip_bits(header.rtm_family))
		return false;
	netlink_parse_nest(table[RTA_METRICS], metrics, RTAX_MTU + 1);
	*out = (struct route){
		.family = header.rtm_family,
		.destination = ip_of(header.rtm_family, table[RTA_DST]),
		.prefix = header.rtm_dst_len,
		.source = ip_of(header.rtm_family, table[RTA_PREFSRC]),
		.from = ip_of(header.rtm_family, table[RTA_SRC]),
		.from_prefix = header.rtm_src_len,
		.link = (int)netlink_u32(table[RTA_OIF], 0),
		.scope = header.rtm_scope,
		.flags = header.rtm_flags & SETTABLE_FLAGS,
		.mtu = netlink_u32(metrics[RTAX_MTU], 0),
	};
	take_hop(header.rtm_family, table, out);
	if (table[RTA_MULTIPATH].data)
		take_first_hop(header.rtm_family, table[RTA_MULTIPATH], out);
	return true;
}

static int dump(int fd, uint8_t family, struct buf *out, struct error *e)
{
	struct netlink_request request;
	struct rtmsg *header = netlink_request_init(&request, RTM_GETROUTE, NLM_F_DUMP, sizeof(*header));
	struct error refused = ERROR_INIT;

	header->rtm_family = family;
	int r = netlink_exchange(fd, &request, out, &refused);
	/* A kernel without IPv6 (or IPv4) has no such routes. */
	if (r == -EOPNOTSUPP || r == -EAFNOSUPPORT || r == 0)
		return 0;
	if (e)
		*e = refused;
	return error_prefix(e, "list routes");
}

int routes_read(int fd, struct routes *out, struct error *e)
{
	_cleanup_buf_ struct buf answer = BUF_INIT;
	struct netlink_message message;
	size_t count = 0;

	*out = (struct routes){.items = NULL};
	if (dump(fd, AF_INET, &answer, e) < 0 || dump(fd, AF_INET6, &answer, e) < 0)
		return error_result(e);
	struct netlink_reader reader = netlink_reader(buf_begin(&answer), answer.length);
	while (netlink_next(&reader, &message))
		count++;
	out->items = calloc(count + 1, sizeof(*out->items));
	if (!out->items)
		return error_errno(e, ENOMEM, "list routes");
	reader = netlink_reader(buf_begin(&answer), answer.length);
	while (netlink_next(&reader, &message) && out->count < count)
		if (route_from_message(&message, &out->items[out->count]))
			out->count++;
	return 0;
}

void routes_deinit(struct routes *routes)
{
	free(routes->items);
	*routes = (struct routes){.items = NULL};
}

static void put_ip(struct netlink_request *request, uint16_t type, const struct ip *ip)
{
	if (ip->family)
		netlink_put(request, type, ip->bytes, ip_length(ip->family));
}

int route_set(int fd, const struct route *route, struct error *e)
{
	struct netlink_request request;
	struct rtmsg *header =
		netlink_request_init(&request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*header));

	header->rtm_family = route->family;
	header->rtm_dst_len = route->destination.family ? route->prefix : 0;
	header->rtm_src_len = route->from.family ? route->from_prefix : 0;
	header->rtm_table = RT_TABLE_MAIN;
	header->rtm_protocol = RTPROT_BOOT;
	header->rtm_scope = route->scope;
	header->rtm_type = RTN_UNICAST;
	header->rtm_flags = route->flags;
	if (route->mtu) {
		size_t metrics = netlink_nest(&request, RTA_METRICS);
		netlink_put_u32(&request, RTAX_MTU, route->mtu);
		netlink_nest_end(&request, metrics);
	}
	put_ip(&request, RTA_DST, &route->destination);
	netlink_put_u32(&request, RTA_OIF, (uint32_t)route->link);
	put_ip(&request, RTA_SRC, &route->from);
	put_ip(&request, RTA_PREFSRC, &route->source);
	put_ip(&request, RTA_GATEWAY, &route->gateway);
	return netlink_exchange(fd, &request, NULL, e);
}

/* --- all of them -------------------------------------------------------------------------------------------- */

static void describe(const Types__Route *route, struct error *e)
{
	error_prefix(e, "route to \"%s\" via \"%s\" from \"%s\" on \"%s\"",
		     str_is_empty(route->dest) ? "default" : route->dest, str_or_empty(route->gateway),
		     str_or_empty(route->source), str_or_empty(route->device));
}

/* 1: to be set, 0: to be passed over, -errno with @e set. */
static int prepare(const struct links *links, const Types__Route *in, struct route *out, struct error *e)
{
	const struct link *link;

	if (route_from_request(in, out, e) < 0 || links_need(links, in->device, &link, e) < 0) {
		describe(in, e);
		return error_result(e);
	}
	out->link = link->index;
	return out->family == AF_INET || ipv6_usable(link->name);
}

static bool unreachable(const struct error *e)
{
	return e->errnum == ENETUNREACH || e->errnum == EHOSTUNREACH;
}

/*
 * One pass over what @waits. Returns how many were set; @left counts those whose gateway is not known yet. A failure of
 * another kind ends it, in @failure.
 */
static size_t set_pass(int fd, Types__Route *const *in, const struct route *routes, bool *waits, size_t count,
		       bool with_gateway, size_t *left, struct error *failure)
{
	size_t set = 0;

	*left = 0;
	for (size_t i = 0; i < count; i++) {
		struct error e = ERROR_INIT;
		if (!waits[i] || (routes[i].gateway.family != 0) != with_gateway)
			continue;
		if (route_set(fd, &routes[i], &e) == 0) {
			waits[i] = false;
			set++;
			continue;
		}
		bool again = unreachable(&e);
		if (*left == 0 || !again) {
			describe(in[i], &e);
			*failure = e;
		}
		(*left)++;
		if (!again)
			return 0;
	}
	return set;
}

static int set_all(int fd, Types__Route *const *in, const struct route *routes, bool *waits, size_t count,
		   struct error *e)
{
	for (int with_gateway = 0; with_gateway < 2; with_gateway++) {
		struct error failure = ERROR_INIT;
		size_t left, set;
		do {
			set = set_pass(fd, in, routes, waits, count, with_gateway, &left, &failure);
		} while (left > 0 && set > 0);
		if (left > 0) {
			*e = failure;
			return error_result(e);
		}
	}
	return 0;
}

int routes_update(int fd, Types__Route *const *in, size_t count, struct error *e)
{
	_cleanup_links_ struct links links = {0};
	_cleanup_free_ struct route *routes = calloc(count + 1, sizeof(*routes));
	_cleanup_free_ bool *waits = calloc(count + 1, sizeof(*waits));

	if (!routes || !waits)
		return error_errno(e, ENOMEM, "routes");
	if (links_read(fd, &links, e) < 0)
		return error_result(e);
	for (size_t i = 0; i < count; i++) {
		int r = prepare(&links, in[i], &routes[i], e);
		if (r < 0)
			return r;
		waits[i] = r;
	}
	return set_all(fd, in, routes, waits, count, e);
}

/* --- the answer --------------------------------------------------------------------------------------------- */

static Types__Route *route_answer(const struct route *route, const struct links *links, struct arena *arena)
{
	static const struct ip none4 = {.family = AF_INET}, none6 = {.family = AF_INET6};
	const struct link *link = links_by_index(links, route->link);
	const struct ip *destination = &route->destination;
	char dest[IP_TEXT_MAX], gateway[IP_TEXT_MAX], source[IP_TEXT_MAX];
	Types__Route *out = arena_new_object(arena, Types__Route);

	if (!out)
		return NULL;
	types__route__init(out);
	if (!destination->family)
		destination = route->family == AF_INET6 ? &none6 : &none4;
	ip_format_prefix(destination, route->prefix, dest);
	ip_format(&route->gateway, gateway);
	if (route->from.family)
		ip_format_prefix(&route->from, route->from_prefix, source);
	else
		ip_format(&route->source, source);
	out->dest = arena_strdup(arena, dest);
	out->gateway = arena_strdup(arena, gateway);
	out->source = arena_strdup(arena, source);
	out->device = arena_strdup(arena, link ? link->name : "");
	out->scope = route->scope;
	out->family = route->family == AF_INET6 ? TYPES__IPFAMILY__v6 : TYPES__IPFAMILY__v4;
	out->flags = route->flags;
	out->mtu = route->mtu;
	return out->dest && out->gateway && out->source && out->device ? out : NULL;
}

Grpc__Routes *routes_list(int fd, struct arena *arena, struct error *e)
{
	_cleanup_links_ struct links links = {0};
	_cleanup_routes_ struct routes routes = {0};
	Grpc__Routes *answer = arena_new_object(arena, Grpc__Routes);

	if (links_read(fd, &links, e) < 0 || routes_read(fd, &routes, e) < 0)
		return NULL;
	if (answer) {
		grpc__routes__init(answer);
		answer->routes = arena_array(arena, routes.count + 1, sizeof(*answer->routes));
	}
	for (size_t i = 0; answer && answer->routes && i < routes.count; i++) {
		answer->routes[i] = route_answer(&routes.items[i], &links, arena);
		answer->n_routes++;
		if (!answer->routes[i])
			answer->routes = NULL;
	}
	if (answer && answer->routes)
		return answer;
	error_errno(e, ENOMEM, "list routes");
	return NULL;
}

/* --- over a link that has to go down ------------------------------------------------------------------------ */

/* What the kernel makes by itself comes back by itself. */
static bool worth_saving(const struct netlink_message *message, int link)
{
	struct rtmsg header;
	struct netlink_attribute table[RTA_MAX + 1];

	return message->type == RTM_NEWROUTE &&
	       netlink_parse(message->payload, message->length, &header, sizeof(header), table,
			     RTA_MAX + 1) &&
	       header.rtm_protocol != RTPROT_KERNEL && header.rtm_protocol != RTPROT_RA &&
	       !(header.rtm_flags & RTM_F_CLONED) && (int)netlink_u32(table[RTA_OIF], 0) == link;
}

int routes_save(int fd, int link, struct buf *out, struct error *e)
{
	_cleanup_buf_ struct buf all = BUF_INIT;
	struct netlink_message message;

	if (dump(fd, AF_INET, &all, e) < 0 || dump(fd, AF_INET6, &all, e) < 0)
		return error_result(e);
	struct netlink_reader reader = netlink_reader(buf_begin(&all), all.length);
	while (netlink_next(&reader, &message)) {
		struct nlmsghdr header = {.nlmsg_len = (uint32_t)NLMSG_LENGTH(message.length),
					  .nlmsg_type = message.type};
		size_t whole = NLMSG_ALIGN(header.nlmsg_len);
		uint8_t *to = worth_saving(&message, link) ? buf_reserve(out, whole) : NULL;
		if (!to)
			continue;
		memset(to, 0, whole);
		memcpy(to, &header, sizeof(header));
		memcpy(to + sizeof(header), message.payload, message.length);
		buf_commit(out, whole);
	}
	return 0;
}

static void restore_one(int fd, const struct netlink_message *message)
{
	struct netlink_request request;
	struct rtmsg *header;

	if (message->length < sizeof(*header) || message->length > NETLINK_REQUEST_MAX - NLMSG_HDRLEN)
		return;
	header = netlink_request_init(&request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, message->length);
	memcpy(header, message->payload, message->length);
	header->rtm_flags &= SETTABLE_FLAGS;
	(void)netlink_exchange(fd, &request, NULL, NULL);
}

void routes_restore(int fd, const struct buf *saved)
{
	struct netlink_message message;

	/* Twice: a route may need another one to reach its gateway. What is there already is there again. */
	for (int pass = 0; pass < 2; pass++) {
		struct netlink_reader reader = netlink_reader(buf_begin(saved), saved->length);
		while (netlink_next(&reader, &message))
			restore_one(fd, &message);
	}
}
