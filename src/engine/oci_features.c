/* SPDX-License-Identifier: Apache-2.0 */
/* The `features` object: lists of words, each taken from where the engine itself takes it, as far as there is such a
 * place. */
#include "engine/oci_features.h"

#include <errno.h>
#include <stddef.h>

#include "base/fd.h"
#include "base/str.h"
#include "engine/capabilities.h"
#include "engine/lsm.h"
#include "engine/oci_state.h"
#include "engine/rdt.h"
#include "engine/seccomp_filter.h"

static const char *const hook_names[] = {"prestart",	   "createRuntime", "createContainer",
					 "startContainer", "poststart",	    "poststop"};

static const char *const mount_options[] = {
	"acl",
	"async",
	"atime",
	"bind",
	"defaults",
	"dev",
	"diratime",
	"dirsync",
	"exec",
	"idmap",
	"iversion",
	"lazytime",
	"loud",
	"mand",
	"noacl",
	"noatime",
	"nodev",
	"nodiratime",
	"noexec",
	"noiversion",
	"nolazytime",
	"nomand",
	"norelatime",
	"nostrictatime",
	"nosuid",
	"nosymfollow",
	"private",
	"ratime",
	"rbind",
	"rdev",
	"rdiratime",
	"relatime",
	"remount",
	"rexec",
	"ridmap",
	"rnoatime",
	"rnodev",
	"rnodiratime",
	"rnoexec",
	"rnorelatime",
	"rnostrictatime",
	"rnosuid",
	"rnosymfollow",
	"ro",
	"rprivate",
	"rrelatime",
	"rro",
	"rrw",
	"rshared",
	"rslave",
	"rstrictatime",
	"rsuid",
	"rsymfollow",
	"runbindable",
	"rw",
	"shared",
	"silent",
	"slave",
	"strictatime",
	"suid",
	"symfollow",
	"sync",
	"tmpcopyup",
	"unbindable",
};

static const char *const namespace_names[] = {"cgroup", "ipc",	"mount", "network",
					      "pid",	"time", "user",	 "uts"};

static const char *const seccomp_actions[] = {
	"SCMP_ACT_ALLOW",	 "SCMP_ACT_ERRNO",	 "SCMP_ACT_KILL",
	"SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
	"SCMP_ACT_NOTIFY",	 "SCMP_ACT_TRACE",	 "SCMP_ACT_TRAP"};
static const char *const seccomp_operators[] = {"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
						"SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
						"SCMP_CMP_NE"};
static const char *const seccomp_architectures[] = {
	"SCMP_ARCH_AARCH64",   "SCMP_ARCH_ARM",	     "SCMP_ARCH_MIPS",	   "SCMP_ARCH_MIPS64",
	"SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL",   "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32",
	"SCMP_ARCH_PARISC",    "SCMP_ARCH_PARISC64", "SCMP_ARCH_PPC",	   "SCMP_ARCH_PPC64",
	"SCMP_ARCH_PPC64LE",   "SCMP_ARCH_RISCV64",  "SCMP_ARCH_S390",	   "SCMP_ARCH_S390X",
	"SCMP_ARCH_X32",       "SCMP_ARCH_X86",	     "SCMP_ARCH_X86_64"};
static const char *const seccomp_flags[] = {"SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
					    "SECCOMP_FILTER_FLAG_TSYNC",
					    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"};

static const char *const memory_modes[] = {
	"MPOL_BIND",	  "MPOL_DEFAULT",	 "MPOL_INTERLEAVE",	    "MPOL_LOCAL",
	"MPOL_PREFERRED", "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE"};
static const char *const memory_flags[] = {"MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES",
					   "MPOL_F_STATIC_NODES"};

static void append_list(struct buf *out, const char *indent, const char *name, const char *const *words,
			size_t count)
{
	buf_printf(out, "%s\"%s\": [", indent, name);
	for (size_t i = 0; i < count; i++)
		buf_printf(out, "%s\n%s  \"%s\"", i ? "," : "", indent, words[i]);
	buf_printf(out, "\n%s]", indent);
}

static void append_bool(struct buf *out, const char *indent, const char *name, bool value, bool last)
{
	buf_printf(out, "%s\"%s\": %s%s\n", indent, name, value ? "true" : "false", last ? "" : ",");
}

/* {"NAME": {"enabled": BOOL}} */
static void append_enabled(struct buf *out, const char *name, bool enabled)
{
	buf_printf(out, "    \"%s\": {\n      \"enabled\": %s\n    },\n", name, enabled ? "true" : "false");
}

static void append_capabilities(struct buf *out)
{
	const char *known[64];
	size_t count = 0;

	for (int i = 0; capability_name(i); i++) {
		if (capabilities_known() & (1ULL << i))
			known[count++] = capability_name(i);
	}
	append_list(out, "    ", "capabilities", known, count);
}

static void append_seccomp(struct buf *out)
{
	static const char deep[] = "      ";

	buf_append_string(out, "    \"seccomp\": {\n");
	append_bool(out, deep, "enabled", true, false);
	append_list(out, deep, "actions", seccomp_actions, array_length(seccomp_actions));
	buf_append_string(out, ",\n");
	append_list(out, deep, "operators", seccomp_operators, array_length(seccomp_operators));
	buf_append_string(out, ",\n");
	append_list(out, deep, "archs", seccomp_architectures, array_length(seccomp_architectures));
	buf_append_string(out, ",\n");
	append_list(out, deep, "knownFlags", seccomp_flags, array_length(seccomp_flags));
	buf_append_string(out, ",\n");
	append_list(out, deep, "supportedFlags", seccomp_flags, array_length(seccomp_flags));
	buf_append_string(out, "\n    },\n");
}

static void append_cgroup(struct buf *out, const struct features_context *context)
{
	static const char deep[] = "      ";

	buf_append_string(out, "    \"cgroup\": {\n");
	append_bool(out, deep, "v1", context->cgroup_v1, false);
	append_bool(out, deep, "v2", context->cgroup_v2, false);
	append_bool(out, deep, "systemd", context->systemd, false);
	append_bool(out, deep, "systemdUser", false, false);
	append_bool(out, deep, "rdma", true, true);
	buf_append_string(out, "    },\n");
}

static void append_linux(struct buf *out, const struct features_context *context)
{
	bool rdt = rdt_root() != NULL;

	buf_append_string(out, "  \"linux\": {\n");
	append_list(out, "    ", "namespaces", namespace_names, array_length(namespace_names));
	buf_append_string(out, ",\n");
	append_capabilities(out);
	buf_append_string(out, ",\n");
	append_cgroup(out, context);
	append_seccomp(out);
	append_enabled(out, "apparmor", apparmor_enabled());
	append_enabled(out, "selinux", selinux_enabled());
	buf_append_string(out, "    \"intelRdt\": {\n");
	append_bool(out, "      ", "enabled", rdt, false);
	append_bool(out, "      ", "schemata", rdt, false);
	append_bool(out, "      ", "monitoring", rdt, true);
	buf_append_string(out, "    },\n    \"memoryPolicy\": {\n");
	append_list(out, "      ", "modes", memory_modes, array_length(memory_modes));
	buf_append_string(out, ",\n");
	append_list(out, "      ", "flags", memory_flags, array_length(memory_flags));
	buf_append_string(
		out, "\n    },\n    \"mountExtensions\": {\n      \"idmap\": {\n        \"enabled\": true\n"
		     "      }\n    },\n");
	buf_append_string(out, "    \"netDevices\": {\n      \"enabled\": true\n    }\n  }");
}

int features_json(const struct features_context *context, struct buf *out)
{
	buf_printf(out, "{\n  \"ociVersionMin\": \"1.0.0\",\n  \"ociVersionMax\": \"%s\",\n",
		   OCI_RUNTIME_SPEC_VERSION);
	append_list(out, "  ", "hooks", hook_names, array_length(hook_names));
	buf_append_string(out, ",\n");
	append_list(out, "  ", "mountOptions", mount_options, array_length(mount_options));
	buf_append_string(out, ",\n");
	append_linux(out, context);
	buf_append_string(out, ",\n  \"annotations\": {\n    \"io.katacontainers.oci.version\": ");
	json_append_quoted(out, str_or_empty(context->version));
	buf_append_string(out, "\n  },\n  \"potentiallyUnsafeConfigAnnotations\": []\n}");
	return out->failed ? -ENOMEM : 0;
}
