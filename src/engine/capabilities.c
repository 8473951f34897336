/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capability sets by the kernel's own calls: prctl(2) for the bounding and ambient sets, one capset(2) for the other
 * three. The names are those of linux/capability.h; a number that is newer than this table cannot be asked for, but is
 * dropped from the bounding set all the same, because that is done by number.
 *
 * Must never trust a file below /proc, and never leave a capability that was not asked for.
 */
#include "engine/capabilities.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

static const char *const names[] = {
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",
	"CAP_FSETID",
	"CAP_KILL",
	"CAP_SETGID",
	"CAP_SETUID",
	"CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST",
	"CAP_NET_ADMIN",
	"CAP_NET_RAW",
	"CAP_IPC_LOCK",
	"CAP_IPC_OWNER",
	"CAP_SYS_MODULE",
	"CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE",
	"CAP_SYS_PACCT",
	"CAP_SYS_ADMIN",
	"CAP_SYS_BOOT",
	"CAP_SYS_NICE",
	"CAP_SYS_RESOURCE",
	"CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG",
	"CAP_MKNOD",
	"CAP_LEASE",
	"CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL",
	"CAP_SETFCAP",
	"CAP_MAC_OVERRIDE",
	"CAP_MAC_ADMIN",
	"CAP_SYSLOG",
	"CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ",
	"CAP_PERFMON",
	"CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
};

static const char prefix[] = "CAP_";
enum { PREFIX_LENGTH = sizeof(prefix) - 1 };

int capability_number(const char *name)
{
	if (!name)
		return -1;
	size_t length = strlen(name);
	if (length >= 2 && name[0] == '"' && name[length - 1] == '"') {
		name++;
		length -= 2;
	}
	if (length > PREFIX_LENGTH && strncasecmp(name, prefix, PREFIX_LENGTH) == 0) {
		name += PREFIX_LENGTH;
		length -= PREFIX_LENGTH;
	}
	for (size_t i = 0; i < array_length(names); i++) {
		const char *known = names[i] + PREFIX_LENGTH;
		if (strlen(known) == length && strncasecmp(known, name, length) == 0)
			return (int)i;
	}
	return -1;
}

const char *capability_name(int number)
{
	if (number < 0 || (size_t)number >= array_length(names))
		return NULL;
	return names[number];
}

uint64_t capabilities_known(void)
{
	static uint64_t known;
	int present = 0, absent = 64;

	if (known)
		return known;
	/* As many as we have names for, mostly. */
	if (prctl(PR_CAPBSET_READ, array_length(names) - 1, 0, 0, 0) >= 0) {
		present = (int)array_length(names) - 1;
		if (prctl(PR_CAPBSET_READ, present + 1, 0, 0, 0) < 0)
			absent = present + 1;
	} else {
		absent = (int)array_length(names) - 1;
	}
	/* Numbers are without gaps, and the kernel answers EINVAL from the first that it does not have. */
	while (absent - present > 1) {
		int middle = (present + absent) / 2;
		if (prctl(PR_CAPBSET_READ, middle, 0, 0, 0) < 0)
			absent = middle;
		else
			present = middle;
	}
	known = present >= 63 ? ~0ULL : (1ULL << (present + 1)) - 1;
	return known;
}

static uint64_t resolve_set(char *const *list, size_t count)
{
	uint64_t set = 0;

	for (size_t i = 0; i < count; i++) {
		int number = capability_number(list[i]);
		if (number < 0 || !(capabilities_known() & (1ULL << number))) {
			log_warning("engine", "capability is not known here and is left out", "capability",
				    list[i]);
			continue;
		}
		set |= 1ULL << number;
	}
	return set;
}

void capabilities_resolve(const Grpc__LinuxCapabilities *in, struct capabilities *out)
{
	*out = (struct capabilities){0};
	if (!in)
		return;
	out->bounding = resolve_set(in->bounding, in->n_bounding);
	out->effective = resolve_set(in->effective, in->n_effective);
	out->inheritable = resolve_set(in->inheritable, in->n_inheritable);
	out->permitted = resolve_set(in->permitted, in->n_permitted);
	out->ambient = resolve_set(in->ambient, in->n_ambient);
}

static int get_sets(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

static int set_sets(const struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static uint64_t permitted_of(const struct __user_cap_data_struct data[2])
{
	return (uint64_t)data[1].permitted << 32 | data[0].permitted;
}

int capabilities_limit_bounding(const struct capabilities *caps, struct error *e)
{
	uint64_t unwanted = capabilities_known() & ~caps->bounding;

	for (int i = 0; i < 64; i++) {
		if ((unwanted & (1ULL << i)) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
			return error_errno(e, errno, "drop capability %d from the bounding set", i);
	}
	return 0;
}

int capabilities_raise_effective(struct error *e)
{
	struct __user_cap_data_struct data[2];

	int r = get_sets(data);
	if (r < 0)
		return error_errno(e, -r, "read capabilities");
	if (data[0].effective == data[0].permitted && data[1].effective == data[1].permitted)
		return 0;
	data[0].effective = data[0].permitted;
	data[1].effective = data[1].permitted;
	r = set_sets(data);
	return r < 0 ? error_errno(e, -r, "raise capabilities") : 0;
}

static void warn_dropped(const char *set, uint64_t dropped)
{
	for (int i = 0; i < 64; i++) {
		if (dropped & (1ULL << i))
			log_warning("engine", "capability cannot be given and is left out", "set", set,
				    "capability", capability_name(i));
	}
}

static int apply_ambient(uint64_t ambient, struct error *e)
{
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return error_errno(e, errno, "clear ambient capabilities");
	for (int i = 0; i < 64; i++) {
		if (!(ambient & (1ULL << i)))
			continue;
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) < 0)
			return error_errno(e, errno, "raise ambient capability %s", capability_name(i));
	}
	return 0;
}

int capabilities_apply(const struct capabilities *caps, struct error *e)
{
	struct __user_cap_data_struct data[2];

	int r = get_sets(data);
	if (r < 0)
		return error_errno(e, -r, "read capabilities");
	uint64_t have = permitted_of(data);
	uint64_t permitted = caps->permitted & have;
	uint64_t effective = caps->effective & permitted;
	/* What may be inherited is bounded by what we have and by the bounding set. */
	uint64_t inheritable = caps->inheritable & have;
	/* The kernel wants both, or it refuses to raise. */
	uint64_t ambient = caps->ambient & permitted & inheritable;
	warn_dropped("permitted", caps->permitted & ~permitted);
	warn_dropped("effective", caps->effective & ~effective);
	warn_dropped("inheritable", caps->inheritable & ~inheritable);
	warn_dropped("ambient", caps->ambient & ~ambient);

	data[0] = (struct __user_cap_data_struct){(uint32_t)effective, (uint32_t)permitted,
						  (uint32_t)inheritable};
	data[1] = (struct __user_cap_data_struct){(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32),
						  (uint32_t)(inheritable >> 32)};
	r = set_sets(data);
	if (r < 0)
		return error_errno(e, -r, "set capabilities");
	return apply_ambient(ambient, e);
}
