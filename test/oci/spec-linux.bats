#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The runtime-spec's Linux part, where no other test shows it: namespaces, devices, sysctls, seccomp. See docs/runtime-spec.md.

load helpers
setup() { stage_open; }
teardown() { stage_close; }

# A filter that has a namespace of this type, new or at a path.
without() { echo ".linux.namespaces |= map(select(.type != \"$1\"))"; }
at_path() { echo "$(without "$1") | .linux.namespaces += [{type: \"$1\", path: \"$2\"}]"; }

@test "a namespace's path that leads to another type, or to none, is refused" {
	local type file other
	for type in pid:pid network:net mount:mnt ipc:ipc uts:uts user:user cgroup:cgroup time:time; do
		file=${type#*:} type=${type%:*} other=uts
		[ "$type" != uts ] || other=ipc
		[ -e "/proc/self/ns/$file" ] || continue
		refused "del(.hostname) | $(at_path $type /proc/self/ns/$other)" "$type namespace: /proc/self/ns/$other is not one"
	done
	refused "del(.hostname) | $(at_path uts /dev/null)" 'uts namespace: /dev/null is not one'
	refused "del(.hostname) | $(at_path ipc "$bundle/rootfs")" 'is not one'
	refused "del(.hostname) | $(at_path ipc "$tmp/none")" "open ipc namespace \"$tmp/none\": ENOENT"
	mkfifo "$tmp/fifo"
	refused "$(at_path network "$tmp/fifo")" 'is not one'
	refused "$(at_path network relative)" 'linux.namespaces[4].path'
}

@test "namespaces: of others, by path; of the runtime's own; new ones" {
	local type file
	on_stage unshare -n -i -u -C sh -c 'hostname other; echo $$ >"$0"; exec sleep 300' "$tmp/holder" 3>&- &
	eventually test -s "$tmp/holder"
	holder=$(cat "$tmp/holder")
	local filter=.
	for type in network:net ipc:ipc uts:uts cgroup:cgroup; do
		filter="$filter | $(at_path "${type%:*}" "/proc/$holder/ns/${type#*:}")"
	done
	config "del(.hostname) | $filter" sh -c 'hostname; for n in net ipc uts cgroup pid mnt; do readlink /proc/self/ns/$n; done'
	must 0 oci run -b "$bundle" c
	[ "$(head -n 5 <<<"$output")" = "$(echo other; for n in net ipc uts cgroup; do on_stage readlink "/proc/$holder/ns/$n"; done)" ]
	for n in pid mnt; do [[ $output != *"$(on_stage readlink "/proc/self/ns/$n")"* ]]; done
	on_stage kill -KILL "$holder"
	config "del(.hostname) | $(without network) | $(without ipc) | $(without uts) | $(without pid) | .linux.cgroupsPath = \"/$cgroup/d\"" \
		sh -c 'for n in net ipc uts pid; do readlink /proc/self/ns/$n; done'
	must 0 oci run -b "$bundle" d
	[ "$output" = "$(on_stage sh -c 'for n in net ipc uts pid; do readlink /proc/self/ns/$n; done')" ]
}

@test "devices: types, modes and owners; what is there must match" {
	config '.process.user.umask = 63 | .linux.devices = [
		{path: "/dev/one", type: "c", major: 1, minor: 3, fileMode: 416, uid: 12, gid: 34}, {path: "/dev/two", type: "u", major: 1, minor: 5},
		{path: "/dev/three", type: "b", major: 7, minor: 9, fileMode: 384}, {path: "/dev/sub/four", type: "p", fileMode: 438}]' \
		sh -c 'cd /dev; stat -c "%n %F %t:%T %a %u %g" one two three sub/four null zero full random urandom tty; readlink ptmx'
	must 0 oci run -b "$bundle" c
	[ "$output" = "one character special file 1:3 640 12 34
two character special file 1:5 666 0 0
three block special file 7:9 600 0 0
sub/four fifo 0:0 666 0 0
null character special file 1:3 666 0 0
zero character special file 1:5 666 0 0
full character special file 1:7 666 0 0
random character special file 1:8 666 0 0
urandom character special file 1:9 666 0 0
tty character special file 5:0 666 0 0
pts/ptmx" ]
	echo >"$bundle/rootfs/file"
	refused '.linux.devices = [{path: "/file", type: "c", major: 1, minor: 3}]' '/file'
	refused '.linux.devices = [{path: "/dev/x", type: "d", major: 1, minor: 3}]' 'linux.devices[0].type'
}

@test "network devices move in, under a new name, with their addresses, and come back" {
	on_stage unshare -n true || skip "no network namespaces"
	config '.linux.netDevices = {"play0": {name: "inner0"}, "play1": {}}' sh -c 'ip -o addr show; ls /sys/class/net' 
	jq '.mounts += [{destination: "/sys", type: "sysfs", source: "sysfs"}]' "$bundle/config.json" >"$tmp/config" && mv "$tmp/config" "$bundle/config.json"
	cat >"$tmp/outside" <<-END
	ip link add play0 type veth peer name play1 && ip addr add 192.0.2.7/24 dev play0 && ip link set play0 up || exit 77
	$oci_program --root $state run -b $bundle c
	END
	local got=0
	on_stage unshare -n sh "$tmp/outside" >"$tmp/output" 2>&1 </dev/null || got=$?
	[ $got != 77 ] || skip "no pair of virtual links: $(cat "$tmp/output")"
	cat "$tmp/output"
	[ $got = 0 ]
	grep -q 'inner0 .*192.0.2.7/24' "$tmp/output"
	[ "$(tail -n 3 "$tmp/output" | paste -sd' ')" = "inner0 lo play1" ]
	refused '.linux.netDevices = {"no-such-link": {}}' no-such-link
	refused ".linux.netDevices = {\"eth0\": {}} | $(without network)" 'linux.netDevices: needs'
}

@test "sysctls: with dots or slashes; what is not there, or not the container's, is refused" {
	config '.linux.sysctl = {"kernel.msgmax": "12345", "net/ipv4/ip_unprivileged_port_start": "77", "fs.mqueue.msg_max": "11"}' \
		sh -c 'cd /proc/sys; cat kernel/msgmax net/ipv4/ip_unprivileged_port_start fs/mqueue/msg_max'
	must 0 oci run -b "$bundle" c
	[ "$output" = $'12345\n77\n11' ]
	refused '.linux.sysctl = {"net.ipv4.no_such_thing": "1"}' 'linux.sysctl: set net.ipv4.no_such_thing'
	refused '.linux.sysctl = {"kernel.msgmax": "much"}' 'linux.sysctl: set kernel.msgmax to "much": EINVAL'
	refused '.linux.sysctl = {"kernel.panic": "1"}' kernel.panic
	refused ".linux.sysctl = {\"kernel.msgmax\": \"1\"} | $(without ipc)" kernel.msgmax
}

@test "masked and read-only paths, and what they cover" {
	mkdir "$bundle/rootfs/secret"
	echo secret >"$bundle/rootfs/secret/file"
	echo secret >"$bundle/rootfs/file"
	config '.linux.maskedPaths = ["/secret", "/file", "/proc/meminfo", "/none"] | .linux.readonlyPaths = ["/proc/sys", "/none"]' \
		sh -c 'ls /secret; cat /file; wc -c </proc/meminfo; echo 1 >/proc/sys/kernel/msgmax'
	must 1 oci run -b "$bundle" c
	[[ $output == 0$'\n'*"Read-only file system" ]]
}

@test "intelRdt: a clear error where there is no resctrl, and of what is no class" {
	refused '.linux.intelRdt = {closID: "../up"}' 'linux.intelRdt.closID'
	grep -q ' /sys/fs/resctrl resctrl ' /proc/mounts && skip "resctrl is here: the virtual machines' and the unit tests' cases cover it"
	refused '.linux.intelRdt = {closID: "gold", l3CacheSchema: "L3:0=f", memBwSchema: "MB:0=20"}' 'linux.intelRdt: resctrl is not mounted'
	refused '.linux.intelRdt = {schemata: ["L3:0=f"], enableMonitoring: true}' 'linux.intelRdt: resctrl is not mounted'
}

seccomp() { # SECCOMP SCRIPT
	config ".linux.seccomp = {defaultAction: \"SCMP_ACT_ALLOW\", $1}" sh -c "$2"
}
calls='names: ["mkdir", "mkdirat"]'

@test "seccomp: actions, errno numbers, architectures, flags" {
	beyond_valgrind "the filters reach its own calls"
	seccomp "syscalls: [{$calls, action: \"SCMP_ACT_ERRNO\"}]" 'mkdir /x'
	must 1 oci run -b "$bundle" c
	[[ $output == *"Operation not permitted" ]]
	seccomp "syscalls: [{$calls, action: \"SCMP_ACT_ERRNO\", errnoRet: 61}]" 'mkdir /x'
	must 1 oci run -b "$bundle" c
	[[ $output == *"No data available" ]]
	seccomp "syscalls: [{$calls, action: \"SCMP_ACT_KILL_PROCESS\"}], flags: [\"SECCOMP_FILTER_FLAG_LOG\", \"SECCOMP_FILTER_FLAG_SPEC_ALLOW\",
		\"SECCOMP_FILTER_FLAG_TSYNC\"], architectures: [\"SCMP_ARCH_X86_64\", \"SCMP_ARCH_X86\", \"SCMP_ARCH_X32\", \"SCMP_ARCH_AARCH64\"]" 'mkdir /x; echo $?'
	must 0 oci run -b "$bundle" c
	[[ $output == *159 ]]
	# Everything that the last step (capget, capset, execve) and busybox need; the rest fails with the default number.
	config '.linux.seccomp = {defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: 61, syscalls: [{action: "SCMP_ACT_ALLOW", names: [
		"capget", "capset", "execve", "brk", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64", "readlink", "readlinkat", "getrandom",
		"mprotect", "mmap", "munmap", "getuid", "geteuid", "getgid", "prctl", "write", "writev", "exit", "exit_group", "newfstatat",
		"fstat", "rt_sigaction", "rt_sigprocmask", "umask", "ioctl", "getcwd", "getpid", "getppid"]}]}' mkdir /x
	must 1 oci run -b "$bundle" c
	[[ $output == *"No data available" ]]
	refused '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["read"], action: "SCMP_ACT_KILL", errnoRet: 1}]}' errnoRet
	refused '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", defaultErrnoRet: 1}' defaultErrnoRet
	refused '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", flags: ["X"]}' 'linux.seccomp.flags[0]'
	refused '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", architectures: ["X"]}' 'linux.seccomp.architectures[0]'
}

@test "seccomp: arguments of different index are all needed, of the same index one is enough" {
	local eq='op: "SCMP_CMP_EQ"'
	# umask(mask): 1 or 2 is refused, others are not.
	seccomp "syscalls: [{names: [\"umask\"], action: \"SCMP_ACT_KILL_PROCESS\", args: [{index: 0, value: 1, $eq}, {index: 0, value: 2, $eq}]}]" \
		'for m in 1 2 4; do (umask $m); echo $?; done'
	must 0 oci run -b "$bundle" c
	[[ $output == *159*159*0 ]]
	# kill(pid, signal): only this signal to this one.
	seccomp "syscalls: [{names: [\"kill\"], action: \"SCMP_ACT_ERRNO\", errnoRet: 61, args: [{index: 0, value: 1, $eq}, {index: 1, value: 28, $eq}]}]" \
		'kill -28 1; kill -23 1 && echo other; kill -28 $(exec sh -c "echo \$PPID") 2>&1'
	must 1 oci run -b "$bundle" c
	[[ $output == *"No data available"*other*"No data available"* ]]
}

@test "seccomp: a listener gets its descriptor and the process's state" {
	beyond_valgrind "the filters reach its own calls"
	command -v python3 >/dev/null || skip "no python3"
	cat >"$tmp/listen.py" <<'P'
import array, fcntl, json, os, socket, struct, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1)
c, _ = s.accept()
data, anc, _, _ = c.recvmsg(65536, socket.CMSG_SPACE(4))
fd = array.array("i", anc[0][2])[0]
print(data.decode(), flush=True)
# SECCOMP_IOCTL_NOTIF_RECV, and SECCOMP_IOCTL_NOTIF_SEND with errno 61.
note = bytearray(80)
fcntl.ioctl(fd, 0xc0502100, note)
fcntl.ioctl(fd, 0xc0182101, struct.pack("=QqiI", struct.unpack_from("=Q", note)[0], 0, -61, 0))
P
	python3 "$tmp/listen.py" "$tmp/listener" >"$tmp/out" 2>&1 3>&- &
	local job=$!
	eventually test -S "$tmp/listener"
	seccomp "listenerPath: \"$tmp/listener\", listenerMetadata: \"some data\", flags: [\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"],
		syscalls: [{names: [\"mkdir\"], action: \"SCMP_ACT_NOTIFY\"}]" 'mkdir /x'
	must 1 oci run -b "$bundle" c
	if [[ $output == *WAIT_KILLABLE_RECV* ]]; then kill $job; skip "the kernel does not know the flag"; fi
	[[ $output == *"No data available" ]]
	wait $job
	jq -e '.metadata == "some data" and .fds == ["seccompFd"] and .state.id == "c" and .state.status == "creating" and .pid > 0' "$tmp/out"
	refused '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["read"], action: "SCMP_ACT_NOTIFY"}]}' listenerPath
}
