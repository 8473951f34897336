/* SPDX-License-Identifier: Apache-2.0 */
/* Each rule of validation: one configuration that keeps it, one that breaks it, and the property that the error names. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sched.h>

#include <cmocka.h>

#include "engine/test-child.h"
#include "engine/validate.h"

/* A configuration that keeps every rule; cases add members behind it, of which the last of a name counts. */
#define PROCESS "'args':['sh'],'cwd':'/'"
#define SPACES "{'type':'pid'},{'type':'mount'},{'type':'uts'},{'type':'ipc'},{'type':'network'}"
#define SPEC(process, top, linux_more)                                                                       \
	"{'ociVersion':'1.2.0','root':{'path':'rootfs'},'process':{" PROCESS process                         \
	"},'linux':{'namespaces':[" SPACES "]" linux_more "}" top "}"

struct validation {
	const char *text;
	const char *property; /* the error begins with it; NULL: valid */
	struct validate_context context;
};

static void check(const struct validation *v)
{
	struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;
	const Grpc__Spec *spec = from_json(&grpc__spec__descriptor, v->text, arena);

	int r = spec_validate(spec, &v->context, &e);
	if (v->property && (r != -EINVAL || e.code != STATUS_INVALID_ARGUMENT ||
			    strncmp(e.text, v->property, strlen(v->property)) != 0))
		fail_msg("%s: %d \"%s\", expected \"%s\"", v->text, r, e.text, v->property);
	if (!v->property && r != 0)
		fail_msg("%s: %s", v->text, e.text);
	arena_free(arena);
}

#define check_all(list)                                                                                      \
	do {                                                                                                 \
		for (size_t i_ = 0; i_ < sizeof(list) / sizeof((list)[0]); i_++)                             \
			check(&(list)[i_]);                                                                  \
	} while (0)

static void top_level(void **state)
{
	static const struct validation list[] = {
		{SPEC("", "", ""), NULL},
		{"{}", "ociVersion"},
		{"{}", "root", .context.wire = true},
		{SPEC("", ",'ociVersion':'2.0.0'", ""), "ociVersion: version 2.0.0"},
		{SPEC("", ",'ociVersion':'1.0'", ""), "ociVersion"},
		{SPEC("", ",'ociVersion':'1.0.2-dev'", ""), NULL},
		{SPEC("", ",'ociVersion':'one'", ""), "ociVersion"},
		{SPEC("", ",'root':{}", ""), "root.path"},
		{"{'ociVersion':'1.0.0','root':{'path':'r'}}", "linux"},
		{"{'ociVersion':'1.0.0','root':{'path':'r'},'linux':{}}", "process: is missing"},
		{SPEC("", ",'hostname':'a'", ",'namespaces':[{'type':'mount'}]"), "hostname"},
		{SPEC("", ",'hostname':'a'", ",'namespaces':[{'type':'mount'}]"), NULL,
		 .context.joined = CLONE_NEWUTS},
		{SPEC("", ",'domainname':'a'", ",'namespaces':[{'type':'mount'}]"), "domainname"},
		{SPEC("", ",'hostname':'a','domainname':'b'", ""), NULL},
	};
	struct error e = ERROR_INIT;

	check_all(list);
	assert_int_equal(spec_validate(NULL, &list[0].context, &e), -EINVAL);
}

static void process(void **state)
{
	static const struct validation list[] = {
		{SPEC(",'args':[]", "", ""), "process.args"},
		{SPEC(",'cwd':''", "", ""), "process.cwd"},
		{SPEC(",'cwd':'tmp'", "", ""), "process.cwd"},
		{SPEC(",'env':['noequals','A=b','=x']", "", ""), NULL},
		{SPEC(",'rlimits':[{'type':'RLIMIT_NOFILE','soft':1,'hard':2}]", "", ""), NULL},
		{SPEC(",'rlimits':[{'type':'RLIMIT_X','soft':1,'hard':2}]", "", ""),
		 "process.rlimits[0].type"},
		{SPEC(",'rlimits':[{'type':'NOFILE','soft':1,'hard':2}]", "", ""), "process.rlimits[0].type"},
		{SPEC(",'rlimits':[{'type':'RLIMIT_CPU','soft':1,'hard':2},{'type':'RLIMIT_CPU','soft':1,'"
		      "hard':2}]",
		      "", ""),
		 "process.rlimits[1].type: RLIMIT_CPU is listed twice"},
		{SPEC(",'rlimits':[{'type':'RLIMIT_CPU','soft':3,'hard':2}]", "", ""),
		 "process.rlimits[0].soft"},
		{SPEC(",'oomScoreAdj':-1000", "", ""), NULL},
		{SPEC(",'oomScoreAdj':1001", "", ""), "process.oomScoreAdj"},
		{SPEC(",'user':{'umask':512}", "", ""), "process.user.umask"},
		{SPEC(",'user':{'umask':63}", "", ""), NULL},
		{SPEC(",'ioPriority':{'class':'IOPRIO_CLASS_BE','priority':7}", "", ""), NULL},
		{SPEC(",'ioPriority':{'class':'IOPRIO_CLASS_BE','priority':8}", "", ""),
		 "process.ioPriority.priority"},
		{SPEC(",'ioPriority':{'class':'BE','priority':1}", "", ""), "process.ioPriority.class"},
		{SPEC(",'scheduler':{'policy':'SCHED_FIFO','priority':10}", "", ""), NULL},
		{SPEC(",'scheduler':{'policy':'SCHED_FIFO'}", "", ""), "process.scheduler.priority"},
		{SPEC(",'scheduler':{'policy':'SCHED_OTHER','priority':1}", "", ""),
		 "process.scheduler.priority"},
		{SPEC(",'scheduler':{'policy':'SCHED_FIFO','priority':1,'nice':1}", "", ""), NULL},
		{SPEC(",'scheduler':{'policy':'SCHED_OTHER','nice':20}", "", ""), "process.scheduler.nice"},
		{SPEC(",'scheduler':{'policy':'SCHED_BATCH','runtime':1}", "", ""), "process.scheduler:"},
		{SPEC(",'scheduler':{'policy':'SCHED_DEADLINE','runtime':1024,'deadline':2048,'period':2048}",
		      "", ""),
		 NULL},
		{SPEC(",'scheduler':{'policy':'SCHED_DEADLINE','runtime':1024,'deadline':2048}", "", ""),
		 NULL},
		{SPEC(",'scheduler':{'policy':'SCHED_DEADLINE','deadline':2048}", "", ""),
		 "process.scheduler: SCHED_DEADLINE: runtime must be at least 1024 ns"},
		{SPEC(",'scheduler':{'policy':'SCHED_DEADLINE','runtime':1024}", "", ""),
		 "process.scheduler: SCHED_DEADLINE: deadline must be given"},
		{SPEC(",'scheduler':{'policy':'SCHED_DEADLINE','runtime':2048,'deadline':1024}", "", ""),
		 "process.scheduler: SCHED_DEADLINE: deadline is below runtime"},
		{SPEC(",'scheduler':{'policy':'SCHED_DEADLINE','runtime':1024,'deadline':4096,'period':2048}",
		      "", ""),
		 "process.scheduler: SCHED_DEADLINE: period is below deadline"},
		{SPEC(",'scheduler':{'policy':'SCHED_WHAT'}", "", ""), "process.scheduler.policy"},
		{SPEC(",'scheduler':{'policy':'SCHED_OTHER','flags':['X']}", "", ""),
		 "process.scheduler.flags"},
		{SPEC(",'execCPUAffinity':{'initial':'0-3,7'}", "", ""), NULL},
		{SPEC(",'execCPUAffinity':{'initial':'3-1'}", "", ""), "process.execCPUAffinity.initial"},
		{SPEC(",'execCPUAffinity':{'final':'a'}", "", ""), "process.execCPUAffinity.final"},
		{SPEC(",'selinuxLabel':'system_u:system_r:container_t:s0:c123,c456'", "", ""), NULL},
		{SPEC(",'selinuxLabel':'a b'", "", ""), "process.selinuxLabel"},
		{SPEC(",'capabilities':{'bounding':['CAP_WHAT']}", "", ""), NULL},
	};
	check_all(list);
}

static void namespaces(void **state)
{
	static const struct validation list[] = {
		{SPEC("", "", ",'namespaces':[{'type':'mnt'},{'type':'net'},{'type':'time'}]"), NULL},
		{SPEC("", "", ",'namespaces':[{'type':'mnt'},{'type':'mount'}]"),
		 "linux.namespaces[1].type: mount is listed twice"},
		{SPEC("", "", ",'namespaces':[{'type':'mnt'},{'type':'what'}]"),
		 "linux.namespaces[1].type: unknown"},
		{SPEC("", "", ",'namespaces':[{'type':'pid','path':'proc/1/ns/pid'}]"),
		 "linux.namespaces[0].path"},
		{SPEC("", "", ",'timeOffsets':{'monotonic':{'secs':1}}"), "linux.timeOffsets: needs"},
		{SPEC("", "", ",'namespaces':[{'type':'time'}],'timeOffsets':{'realtime':{'secs':1}}"),
		 "linux.timeOffsets: unknown clock"},
		{SPEC("", "",
		      ",'namespaces':[{'type':'time'}],'timeOffsets':{'boottime':{'nanosecs':1000000000}}"),
		 "linux.timeOffsets.boottime.nanosecs"},
		{SPEC("", "", ",'uidMappings':[{'hostID':1,'containerID':0,'size':1}]"),
		 "linux.uidMappings: needs"},
		{SPEC("", "", ",'namespaces':[{'type':'user'}]"), "linux.uidMappings"},
		{SPEC("", "",
		      ",'namespaces':[{'type':'user'}],'uidMappings':[{'hostID':1,'size':1}],"
		      "'gidMappings':[{'hostID':1,'size':0}]"),
		 "linux.gidMappings[0].size"},
		{SPEC("", "",
		      ",'namespaces':[{'type':'user'}],'uidMappings':[{'hostID':4294967295,'size':2}],"
		      "'gidMappings':[{'hostID':1,'size':1}]"),
		 "linux.uidMappings[0].size"},
		{SPEC(",'user':{'uid':1}", "",
		      ",'namespaces':[{'type':'user'}],'uidMappings':[{'hostID':1,'size':1}],"
		      "'gidMappings':[{'hostID':1,'size':1}]"),
		 "process.user.uid: 1"},
		{SPEC(",'user':{'additionalGids':[5]}", "",
		      ",'namespaces':[{'type':'user'}],'uidMappings':[{'hostID':1,'size':1}],"
		      "'gidMappings':[{'hostID':1,'size':1}]"),
		 "process.user.additionalGids[0]"},
		{SPEC("", "",
		      ",'namespaces':[{'type':'user'}],'uidMappings':[{'hostID':1,'size':1}],"
		      "'gidMappings':[{'hostID':1,'size':1}]"),
		 NULL, .context.rootless = true},
		{SPEC("", "", ""), "linux.namespaces: rootless", .context.rootless = true},
		{SPEC("", "", ",'namespaces':[{'type':'user','path':'/x'}]"), NULL},
	};
	check_all(list);
}

static void file_systems(void **state)
{
	static const struct validation list[] = {
		{SPEC("", ",'mounts':[{'destination':'/a','type':'tmpfs'}]", ""), NULL},
		{SPEC("", ",'mounts':[{'type':'tmpfs'}]", ""), "mounts[0].destination"},
		{SPEC("", ",'mounts':[{'destination':'/a'}]", ",'namespaces':[{'type':'pid'}]"),
		 "mounts: need"},
		{SPEC("", ",'mounts':[{'destination':'/a','type':'bind','options':['idmap']}]", ""),
		 "mounts[0].options"},
		{SPEC("",
		      ",'mounts':[{'destination':'/"
		      "a','type':'tmpfs','uidMappings':[{'size':1}],'gidMappings':[{'size':1}]}]",
		      ""),
		 "mounts[0].uidMappings: only bind"},
		{SPEC("", ",'mounts':[{'destination':'/a','type':'bind','uidMappings':[{'size':1}]}]", ""),
		 "mounts[0]:"},
		{SPEC("", "", ",'maskedPaths':['/a'],'readonlyPaths':['/b']"), NULL},
		{SPEC("", "", ",'maskedPaths':['a']"), "linux.maskedPaths[0]"},
		{SPEC("", "", ",'namespaces':[{'type':'pid'}],'readonlyPaths':['/a']"),
		 "linux.readonlyPaths: needs"},
		/* One that is joined is somebody else's: there they would cover, and here be missed. */
		{SPEC("", "", ",'namespaces':[{'type':'mount','path':'/x'}],'maskedPaths':['/a']"),
		 "linux.maskedPaths: needs"},
		{SPEC("", "", ",'maskedPaths':['/a']"), "linux.maskedPaths: needs",
		 .context.joined = CLONE_NEWNS},
		{SPEC("", "", ",'namespaces':[{'type':'mount','path':'/x'}],'readonlyPaths':['/a']"),
		 "linux.readonlyPaths: needs"},
		{SPEC("", ",'root':{'path':'rootfs','readonly':true}", ""), NULL},
		{SPEC("", ",'root':{'path':'rootfs','readonly':true}",
		      ",'namespaces':[{'type':'mount','path':'/x'}]"),
		 "root.readonly: needs"},
		{SPEC("", "", ",'rootfsPropagation':'shared'"), NULL},
		{SPEC("", "", ",'rootfsPropagation':'what'"), "linux.rootfsPropagation"},
		{SPEC("", "", ",'mountLabel':'nope'"), "linux.mountLabel"},
		{SPEC("", "", ",'devices':[{'path':'/dev/a','type':'c','major':1,'minor':3}]"), NULL},
		{SPEC("", "", ",'devices':[{'path':'/dev/a','type':'x','major':1,'minor':3}]"),
		 "linux.devices[0].type"},
		{SPEC("", "", ",'devices':[{'path':'dev/a','type':'c','major':1,'minor':3}]"),
		 "linux.devices[0].path"},
		{SPEC("", "", ",'devices':[{'path':'/dev/a','type':'c','major':-1,'minor':3}]"),
		 "linux.devices[0]:"},
		{SPEC("", "", ",'devices':[{'path':'/dev/a','type':'p'}]"), NULL},
	};
	check_all(list);
}

static void hooks(void **state)
{
	static const struct validation list[] = {
		{SPEC("", ",'hooks':{'poststop':[{'path':'/bin/true','timeout':1}]}", ""), NULL},
		{SPEC("", ",'hooks':{'createRuntime':[{'path':'/bin/true'},{'path':'true'}]}", ""),
		 "hooks.createRuntime[1].path"},
		{SPEC("", ",'hooks':{'prestart':[{}]}", ""), "hooks.prestart[0].path"},
		{SPEC("", ",'hooks':{'poststart':[{'path':'/a','timeout':-1}]}", ""),
		 "hooks.poststart[0].timeout"},
		{SPEC("", ",'hooks':{'createContainer':[{'path':'/a'},{'path':'/a','timeout':0}]}", ""),
		 "hooks.createContainer[1].timeout: must be greater than zero"},
		{SPEC("", ",'hooks':{'poststart':[{'path':'/a','timeout':0}]}", ""), NULL,
		 .context.wire = true},
	};
	check_all(list);
}

static void kernel_settings(void **state)
{
	static const struct validation list[] = {
		{SPEC("", "", ",'sysctl':{'net.ipv4.ip_forward':'1','kernel/shmmax':'1'}"), NULL},
		{SPEC("", "", ",'sysctl':{'kernel.panic':'1'}"), "linux.sysctl: kernel.panic is not"},
		{SPEC("", "", ",'sysctl':{'vm.swappiness':'1'}"), "linux.sysctl"},
		{SPEC("", ",'hostname':'a'", ",'sysctl':{'kernel.hostname':'b'}"),
		 "linux.sysctl: kernel.hostname conflicts"},
		{SPEC("", ",'domainname':'a'", ",'sysctl':{'kernel.domainname':'b'}"),
		 "linux.sysctl: kernel.domainname conflicts"},
		{SPEC("", ",'domainname':'a'", ",'sysctl':{'kernel/domainname':'a'}"), NULL},
		{SPEC("", "", ",'namespaces':[{'type':'pid'}],'sysctl':{'net.ipv4.ip_forward':'1'}"),
		 "linux.sysctl: net.ipv4"},
		{SPEC("", "", ",'namespaces':[{'type':'pid'}],'sysctl':{'net.ipv4.ip_forward':'1'}"), NULL,
		 .context.wire = true},
		{SPEC("", "", ",'personality':{'domain':'LINUX32'}"), NULL},
		{SPEC("", "", ",'personality':{'domain':'BSD'}"), "linux.personality.domain"},
		{SPEC("", "", ",'memoryPolicy':{'mode':'MPOL_BIND','nodes':'0'}"), NULL},
		{SPEC("", "", ",'memoryPolicy':{'mode':'MPOL_BIND'}"), "linux.memoryPolicy.nodes"},
		{SPEC("", "", ",'memoryPolicy':{'mode':'MPOL_DEFAULT','nodes':'0'}"),
		 "linux.memoryPolicy.nodes"},
		{SPEC("", "", ",'memoryPolicy':{'mode':'MPOL_BIND','nodes':'0','flags':['X']}"),
		 "linux.memoryPolicy.flags"},
		{SPEC("", "", ",'netDevices':{'eth0':{'name':'eth1'}}"), NULL},
		{SPEC("", "", ",'netDevices':{'eth/0':{}}"), "linux.netDevices"},
		{SPEC("", "", ",'netDevices':{'eth0':{'name':'much-too-long-name'}}"),
		 "linux.netDevices.eth0.name"},
		{SPEC("", "", ",'namespaces':[{'type':'mnt'}],'netDevices':{'eth0':{}}"),
		 "linux.netDevices: needs"},
		{SPEC("", "", ",'intelRdt':{'closID':'a'}"), NULL},
		{SPEC("", "", ",'intelRdt':{'closID':'../a'}"), "linux.intelRdt.closID"},
	};
	check_all(list);
}

static void seccomp(void **state)
{
	static const struct validation list[] = {
		{SPEC("", "", ",'seccomp':{'defaultAction':'SCMP_ACT_ALLOW'}"), NULL},
		{SPEC("", "", ",'seccomp':{}"), "linux.seccomp.defaultAction"},
		{SPEC("", "", ",'seccomp':{}"), NULL, .context.wire = true},
		{SPEC("", "", ",'seccomp':{'defaultAction':'ALLOW'}"), "linux.seccomp.defaultAction"},
		{SPEC("", "", ",'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','defaultErrnoRet':1}"),
		 "linux.seccomp.defaultErrnoRet"},
		{SPEC("", "", ",'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','architectures':['X']}"),
		 "linux.seccomp.architectures[0]"},
		{SPEC("", "", ",'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','flags':['X']}"),
		 "linux.seccomp.flags[0]"},
		{SPEC("", "",
		      ",'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['read'],'action':'"
		      "SCMP_ACT_KILL',"
		      "'errnoRet':1}]}"),
		 "linux.seccomp.syscalls[0].errnoRet"},
		{SPEC("", "",
		      ",'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'action':'SCMP_ACT_KILL'}]"
		      "}"),
		 "linux.seccomp.syscalls[0].names"},
		{SPEC("", "",
		      ",'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['read'],'action':'"
		      "SCMP_ACT_NOTIFY'}]}"),
		 "linux.seccomp.listenerPath"},
		{SPEC("", "",
		      ",'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['read'],'action':'"
		      "SCMP_ACT_KILL',"
		      "'args':[{'index':6,'value':1,'op':'SCMP_CMP_EQ'}]}]}"),
		 "linux.seccomp.syscalls[0].args[0].index"},
		{SPEC("", "",
		      ",'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['read'],'action':'"
		      "SCMP_ACT_KILL',"
		      "'args':[{'index':1,'value':1,'op':'EQ'}]}]}"),
		 "linux.seccomp.syscalls[0].args[0].op"},
	};
	check_all(list);
}

static void words(void **state)
{
	assert_int_equal(namespace_flag("network"), CLONE_NEWNET);
	assert_int_equal(namespace_flag("net"), CLONE_NEWNET);
	assert_int_equal(namespace_flag("Net"), 0);
	assert_int_equal(namespace_flag(NULL), 0);
	assert_string_equal(namespace_name(CLONE_NEWNS), "mount");
	assert_string_equal(namespace_file(CLONE_NEWNS), "mnt");
	assert_null(namespace_name(12345));
	assert_int_equal(rlimit_resource("RLIMIT_"), -1);
	assert_int_equal(rlimit_resource(NULL), -1);
}

static void exec_process(void **state)
{
	struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;
	Grpc__Process *p =
		from_json(&grpc__process__descriptor, "{'args':['a'],'cwd':'/','user':{'uid':7}}", arena);
	Grpc__Spec *spec =
		from_json(&grpc__spec__descriptor,
			  "{'linux':{'uidMappings':[{'size':5}],'gidMappings':[{'size':5}]}}", arena);

	assert_int_equal(process_validate(p, NULL, "process", &e), 0);
	assert_int_equal(process_validate(p, spec, "exec", &e), -EINVAL);
	assert_string_equal(e.text, "exec.user.uid: 7 is not in linux.uidMappings");
	arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(top_level),	cmocka_unit_test(process), cmocka_unit_test(namespaces),
		cmocka_unit_test(file_systems), cmocka_unit_test(hooks),   cmocka_unit_test(kernel_settings),
		cmocka_unit_test(seccomp),	cmocka_unit_test(words),   cmocka_unit_test(exec_process),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
