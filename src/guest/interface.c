/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the host's description to a link, one step after the other: MAC address, name, MTU, ARP, addresses, up, and at last
 * what is to go. `struct update` remembers what each step found, which is all that undoing takes.
 */

#include "guest/interface.h"

#include <dirent.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "guest/route.h"

/* --- the host's words --------------------------------------------------------------------------------------- */

static int take_address(const Types__IPAddress *in, struct address *out, struct error *e)
{
	uint32_t prefix;

	*out = (struct address){.scope = RT_SCOPE_UNIVERSE};
	if (ip_parse(in->address, &out->ip) < 0)
		return error_set(e, STATUS_INTERNAL, EINVAL, "\"%s\" is no address", in->address);
	if (str_to_u32(str_or_empty(in->mask), 10, &prefix) < 0 || prefix > ip_bits(out->ip.family))
		return error_set(e, STATUS_INTERNAL, EINVAL, "\"%s\" is no prefix length of address %s",
				 in->mask, in->address);
	out->prefix = (uint8_t)prefix;
	return 0;
}

static int take_words(struct interface *out, const Types__Interface *in, struct error *e)
{
	if (!str_is_empty(in->name)) {
		if (!link_name_valid(in->name))
			return error_set(e, STATUS_INTERNAL, EINVAL, "\"%s\" is no name of a link", in->name);
		memcpy(out->name, in->name, strlen(in->name) + 1);
	}
	out->has_mac = !str_is_empty(in->hwaddr);
	if (out->has_mac ? link_mac_parse(in->hwaddr, out->mac) < 0 : str_is_empty(in->devicepath))
		return error_set(e, STATUS_INTERNAL, EINVAL, "\"%s\" is no MAC address", in->hwaddr);
	if (in->mtu > INT32_MAX)
		return error_set(e, STATUS_INTERNAL, EINVAL, "MTU %llu is out of range",
				 (unsigned long long)in->mtu);
	out->mtu = (uint32_t)in->mtu;
	out->no_arp = in->raw_flags & IFF_NOARP;
	return 0;
}

int interface_init(struct interface *interface, const Types__Interface *in, struct error *e)
{
	*interface = (struct interface){.addresses = calloc(in->n_ipaddresses + 1, sizeof(struct address))};
	if (!interface->addresses)
		return error_errno(e, ENOMEM, "interface");
	int r = take_words(interface, in, e);
	for (size_t i = 0; r == 0 && i < in->n_ipaddresses; i++)
		r = take_address(in->ipaddresses[i], &interface->addresses[interface->n_addresses++], e);
	if (r < 0)
		interface_deinit(interface);
	return r;
}

void interface_deinit(struct interface *interface)
{
	free(interface->addresses);
	*interface = (struct interface){.addresses = NULL};
}

/* --- which link --------------------------------------------------------------------------------------------- */

static const struct link *link_in_directory(const struct links *links, const char *directory)
{
	_cleanup_dir_ DIR *dir = directory ? opendir(directory) : NULL;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		const struct link *link =
			entry->d_name[0] == '.' ? NULL : links_by_name(links, entry->d_name);
		if (link)
			return link;
	}
	return NULL;
}

/* An address of its own; link-local ones come by themselves. */
static bool link_configured(const struct addresses *addresses, int link)
{
	for (size_t i = 0; i < addresses->count; i++)
		if (addresses->items[i].link == link && addresses->items[i].scope != RT_SCOPE_LINK)
			return true;
	return false;
}

/* The link named as wanted, if no other could be meant. */
static const struct link *find_candidate(const struct links *links, const struct addresses *addresses,
					 const char *name)
{
	const struct link *found = NULL;

	for (size_t i = 0; i < links->count; i++) {
		const struct link *link = &links->items[i];
		if (link->type != ARPHRD_ETHER || link->address_length != LINK_MAC_LENGTH || link->stacked ||
		    link_configured(addresses, link->index))
			continue;
		if (found)
			return NULL;
		found = link;
	}
	return found && strcmp(found->name, name) == 0 ? found : NULL;
}

static void say_missing(const struct interface *interface, struct error *e)
{
	char text[LINK_MAC_TEXT_MAX];
	struct link wanted = {.address_length = LINK_MAC_LENGTH};

	memcpy(wanted.address, interface->mac, LINK_MAC_LENGTH);
	link_mac_format(&wanted, text);
	error_set(e, STATUS_INTERNAL, ENODEV, "Link not found (Address: %s)", interface->has_mac ? text : "");
}

/* --- one update --------------------------------------------------------------------------------------------- */

struct update {
	int fd;
	const struct interface *wanted;
	struct links links;
	struct addresses addresses; /* as they were found */
	struct link before;	    /* the link as it was found */
	char name[IFNAMSIZ];	    /* as it is called now */
	struct link other;	    /* that had the wanted name; index 0: none */
	char other_name[IFNAMSIZ];  /* as it is called now */
	bool mac_changed, mtu_changed, arp_changed, went_up;
	struct address *added;
	size_t n_added;
};

typedef int (*change_fn)(int fd, int index, const void *argument, struct error *e);

static int change_mac(int fd, int index, const void *argument, struct error *e)
{
	const struct link *link = argument;

	return link_set_address(fd, index, link->address, link->address_length, e);
}

static int change_name(int fd, int index, const void *argument, struct error *e)
{
	return link_set_name(fd, index, argument, e);
}

/* A link that goes down loses its IPv6 addresses. */
static void restore_addresses(const struct update *update, int index)
{
	for (size_t i = 0; i < update->addresses.count; i++) {
		const struct address *address = &update->addresses.items[i];
		if (address->link == index && address->ip.family == AF_INET6 &&
		    (address->flags & IFA_F_PERMANENT))
			(void)address_add(update->fd, address, NULL);
	}
}

/* Makes a change of a link, which some kernels and drivers refuse while the link is up. */
static int make_change(const struct update *update, const struct link *link, change_fn fn,
		       const void *argument, struct error *e)
{
	_cleanup_buf_ struct buf routes = BUF_INIT;
	int r = fn(update->fd, link->index, argument, e);

	if (r != -EBUSY || !(link->flags & IFF_UP))
		return r;
	if (routes_save(update->fd, link->index, &routes, e) < 0 ||
	    link_set_flags(update->fd, link->index, IFF_UP, 0, e) < 0)
		return error_result(e);
	r = fn(update->fd, link->index, argument, e);
	int up = link_set_flags(update->fd, link->index, IFF_UP, IFF_UP, r < 0 ? NULL : e);
	restore_addresses(update, link->index);
	routes_restore(update->fd, &routes);
	return r < 0 ? r : up;
}

static int set_mac(struct update *update, struct error *e)
{
	struct link wanted = {.address_length = LINK_MAC_LENGTH};
	const struct link *link = &update->before;

	if (!update->wanted->has_mac || (link->address_length == LINK_MAC_LENGTH &&
					 !memcmp(link->address, update->wanted->mac, LINK_MAC_LENGTH)))
		return 0;
	memcpy(wanted.address, update->wanted->mac, LINK_MAC_LENGTH);
	int r = make_change(update, link, change_mac, &wanted, e);
	update->mac_changed = r == 0;
	return r;
}

static int rename_link(struct update *update, const struct link *link, char current[IFNAMSIZ],
		       const char *name, struct error *e)
{
	int r = make_change(update, link, change_name, name, e);

	if (r == 0)
		memmove(current, name, strlen(name) + 1);
	return r;
}

/* A name that nobody has: short, and not one that the kernel would give. */
static void spare_name(const struct update *update, char out[IFNAMSIZ])
{
	unsigned number = (unsigned)update->other.index;

	do {
		int n = snprintf(out, IFNAMSIZ, "swap%u", number++ % 1000000000);
		if (n < 0 || n >= IFNAMSIZ)
			out[0] = '\0';
	} while (links_by_name(&update->links, out));
}

/* A link that has the wanted name gets the other's. */
static int set_name(struct update *update, struct error *e)
{
	char spare[IFNAMSIZ];
	const char *name = update->wanted->name;

	if (!*name || strcmp(update->name, name) == 0)
		return 0;
	const struct link *other = links_by_name(&update->links, name);
	if (!other)
		return rename_link(update, &update->before, update->name, name, e);
	update->other = *other;
	memcpy(update->other_name, other->name, IFNAMSIZ);
	spare_name(update, spare);
	int r = rename_link(update, &update->other, update->other_name, spare, e);
	if (r == 0)
		r = rename_link(update, &update->before, update->name, name, e);
	if (r == 0)
		r = rename_link(update, &update->other, update->other_name, update->before.name, e);
	return r;
}

static int set_mtu(struct update *update, struct error *e)
{
	uint32_t mtu = update->wanted->mtu;
	int r = mtu && mtu != update->before.mtu ? link_set_mtu(update->fd, update->before.index, mtu, e) : 0;

	update->mtu_changed = r == 0 && mtu;
	return r;
}

static int set_arp(struct update *update, struct error *e)
{
	uint32_t flag = update->wanted->no_arp ? IFF_NOARP : 0;

	if ((update->before.flags & IFF_NOARP) == flag)
		return 0;
	int r = link_set_flags(update->fd, update->before.index, IFF_NOARP, flag, e);
	update->arp_changed = r == 0;
	return r;
}

static int set_up(struct update *update, struct error *e)
{
	if (update->before.flags & IFF_UP)
		return 0;
	int r = link_set_flags(update->fd, update->before.index, IFF_UP, IFF_UP, e);
	update->went_up = r == 0;
	return r;
}

static bool good(const struct address *address)
{
	return !(address->flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) && (address->flags & IFA_F_PERMANENT);
}

/* What of the wanted is not among @present. */
static int add_missing(struct update *update, const struct addresses *present, struct error *e)
{
	bool ipv6 = ipv6_usable(update->name);

	for (size_t i = 0; i < update->wanted->n_addresses; i++) {
		struct address address = update->wanted->addresses[i];
		address.link = update->before.index;
		const struct address *there = addresses_find(present, &address);
		if ((there && good(there)) || (address.ip.family == AF_INET6 && !ipv6))
			continue;
		/* It cannot be told to do without the detection once that has begun. */
		if (there && address.ip.family == AF_INET6)
			(void)address_remove(update->fd, there, NULL);
		int r = address_add(update->fd, &address, e);
		if (r < 0)
			return r;
		if (!there)
			update->added[update->n_added++] = address;
	}
	return 0;
}

static int add_addresses(struct update *update, struct error *e)
{
	return add_missing(update, &update->addresses, e);
}

static bool is_wanted(const struct interface *wanted, const struct address *address)
{
	for (size_t i = 0; i < wanted->n_addresses; i++)
		if (wanted->addresses[i].prefix == address->prefix &&
		    ip_equal(&wanted->addresses[i].ip, &address->ip))
			return true;
	return false;
}

/* Permanent, and of more than the link's own reach. */
static bool is_stale(const struct update *update, const struct address *address)
{
	return address->link == update->before.index && address->scope != RT_SCOPE_LINK &&
	       (address->flags & IFA_F_PERMANENT) && !is_wanted(update->wanted, address);
}

/* IPv4 addresses that the kernel holds for secondary to one that goes may go with it: these are added again. */
static int drop_stale(struct update *update, struct error *e)
{
	_cleanup_addresses_ struct addresses now = {0};
	size_t dropped = 0;

	for (size_t i = 0; update->wanted->n_addresses > 0 && i < update->addresses.count; i++) {
		struct error failure = ERROR_INIT;
		if (!is_stale(update, &update->addresses.items[i]))
			continue;
		dropped++;
		int r = address_remove(update->fd, &update->addresses.items[i], &failure);
		if (r < 0 && r != -EADDRNOTAVAIL)
			log_warning("network", "address stays", "link", update->name, "error", failure.text);
	}
	if (dropped == 0)
		return 0;
	if (addresses_read(update->fd, &now, e) < 0)
		return error_result(e);
	return add_missing(update, &now, e);
}

/* --- undoing ------------------------------------------------------------------------------------------------ */

static void undo_names(struct update *update, struct error *ignored)
{
	char spare[IFNAMSIZ];

	if (update->other.index && strcmp(update->other_name, update->before.name) == 0) {
		spare_name(update, spare);
		(void)rename_link(update, &update->other, update->other_name, spare, ignored);
	}
	if (strcmp(update->name, update->before.name) != 0)
		(void)rename_link(update, &update->before, update->name, update->before.name, ignored);
	if (update->other.index && strcmp(update->other_name, update->other.name) != 0)
		(void)rename_link(update, &update->other, update->other_name, update->other.name, ignored);
}

static void undo(struct update *update)
{
	const struct link *before = &update->before;
	struct error ignored = ERROR_INIT;

	while (update->n_added > 0)
		(void)address_remove(update->fd, &update->added[--update->n_added], &ignored);
	if (update->went_up)
		(void)link_set_flags(update->fd, before->index, IFF_UP, 0, &ignored);
	if (update->arp_changed)
		(void)link_set_flags(update->fd, before->index, IFF_NOARP, before->flags, &ignored);
	if (update->mtu_changed)
		(void)link_set_mtu(update->fd, before->index, before->mtu, &ignored);
	undo_names(update, &ignored);
	if (update->mac_changed)
		(void)make_change(update, before, change_mac, before, &ignored);
}

static int apply(struct update *update, struct error *e)
{
	static int (*const steps[])(struct update *, struct error *) = {
		set_mac, set_name, set_mtu, set_arp, add_addresses, set_up, drop_stale,
	};

	memcpy(update->name, update->before.name, IFNAMSIZ);
	/* In each of the two passes at most all of them. */
	update->added = calloc(2 * update->wanted->n_addresses + 1, sizeof(*update->added));
	if (!update->added)
		return error_errno(e, ENOMEM, "interface");
	for (size_t i = 0; i < array_length(steps); i++) {
		int r = steps[i](update, e);
		if (r < 0) {
			undo(update);
			return error_prefix(e, "link \"%s\"", update->before.name);
		}
	}
	return 0;
}

static int find_and_apply(struct update *update, const char *directory, bool take, struct error *e)
{
	const struct interface *wanted = update->wanted;

	if (links_read(update->fd, &update->links, e) < 0 ||
	    addresses_read(update->fd, &update->addresses, e) < 0)
		return error_result(e);
	const struct link *link = link_in_directory(&update->links, directory);
	if (!link && wanted->has_mac)
		link = links_by_mac(&update->links, wanted->mac, wanted->name);
	if (!link && wanted->has_mac && *wanted->name) {
		link = find_candidate(&update->links, &update->addresses, wanted->name);
		if (link && !take) {
			say_missing(wanted, e);
			return INTERFACE_CANDIDATE;
		}
		if (link)
			log_warning("network", "giving the only free link the wanted MAC address", "link",
				    link->name);
	}
	if (!link) {
		say_missing(wanted, e);
		return INTERFACE_MISSING;
	}
	update->before = *link;
	return apply(update, e);
}

int interface_update(int fd, const struct interface *interface, const char *directory, bool take,
		     struct error *e)
{
	struct update update = {.fd = fd, .wanted = interface};
	int r = find_and_apply(&update, directory, take, e);

	links_deinit(&update.links);
	addresses_deinit(&update.addresses);
	free(update.added);
	return r;
}

/* --- the answer --------------------------------------------------------------------------------------------- */

static Types__IPAddress *address_answer(const struct address *address, struct arena *arena)
{
	Types__IPAddress *out = arena_new_object(arena, Types__IPAddress);
	char text[IP_TEXT_MAX];

	if (!out)
		return NULL;
	types__ipaddress__init(out);
	ip_format(&address->ip, text);
	out->family = address->ip.family == AF_INET6 ? TYPES__IPFAMILY__v6 : TYPES__IPFAMILY__v4;
	out->address = arena_strdup(arena, text);
	out->mask = arena_printf(arena, "%u", address->prefix);
	return out->address && out->mask ? out : NULL;
}

static Types__Interface *interface_answer(const struct link *link, const struct addresses *addresses,
					  struct arena *arena)
{
	Types__Interface *out = arena_new_object(arena, Types__Interface);
	char mac[LINK_MAC_TEXT_MAX];

	if (!out)
		return NULL;
	types__interface__init(out);
	link_mac_format(link, mac);
	out->name = arena_strdup(arena, link->name);
	out->hwaddr = arena_strdup(arena, mac);
	out->mtu = link->mtu;
	out->ipaddresses = arena_array(arena, addresses->count + 1, sizeof(*out->ipaddresses));
	if (!out->name || !out->hwaddr || !out->ipaddresses)
		return NULL;
	for (size_t i = 0; i < addresses->count; i++) {
		if (addresses->items[i].link != link->index)
			continue;
		Types__IPAddress *address = address_answer(&addresses->items[i], arena);
		if (!address)
			return NULL;
		out->ipaddresses[out->n_ipaddresses++] = address;
	}
	return out;
}

Grpc__Interfaces *interfaces_list(int fd, struct arena *arena, struct error *e)
{
	_cleanup_links_ struct links links = {0};
	_cleanup_addresses_ struct addresses addresses = {0};
	Grpc__Interfaces *answer = arena_new_object(arena, Grpc__Interfaces);

	if (links_read(fd, &links, e) < 0 || addresses_read(fd, &addresses, e) < 0)
		return NULL;
	if (answer) {
		grpc__interfaces__init(answer);
		answer->interfaces = arena_array(arena, links.count + 1, sizeof(*answer->interfaces));
	}
	for (size_t i = 0; answer && answer->interfaces && i < links.count; i++) {
		answer->interfaces[i] = interface_answer(&links.items[i], &addresses, arena);
		answer->n_interfaces++;
		if (!answer->interfaces[i])
			answer->interfaces = NULL;
	}
	if (answer && answer->interfaces)
		return answer;
	error_errno(e, ENOMEM, "list interfaces");
	return NULL;
}
