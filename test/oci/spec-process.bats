#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The runtime-spec's process, where no other test shows it, and what an exec has from its container. See docs/runtime-spec.md.

load helpers
setup() { stage_open; }
teardown() { stage_close; }

@test "args, environment and directory are as they were given" {
	config '.process.env += ["A= blanks around ", "B=", "malformed", "C=a=b"] | .process.cwd = "/made/deep"' \
		sh -c 'echo "[$A][$B][$C][$1][$2]"; pwd; env | grep -c malformed' '' ' x y ' '"quoted" $A'
	must 1 oci run -b "$bundle" c
	[ "$output" = $'[ blanks around ][][a=b][ x y ]["quoted" $A]\n/made/deep\n0' ]
	refused '.process.args = []' process.args
	refused 'del(.process)' 'process: is missing'
	refused '.process.cwd = "made"' process.cwd
	refused 'del(.process.cwd)' process.cwd
}

@test "capabilities: five sets, each by itself; what there is not is told and left out" {
	local sets='CapInh:0000000000000021 CapPrm:0000000000000020 CapEff:0000000000000020 CapBnd:0000000000002021 CapAmb:0000000000000020'
	config '.process.user = {uid: 1000, gid: 1000} | .process.capabilities = {
		bounding: ["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW"], permitted: ["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW"],
		effective: ["CAP_KILL", "CAP_NET_RAW"], inheritable: ["CAP_KILL", "CAP_CHOWN"], ambient: ["CAP_KILL"]}' sleep 300
	must 0 oci run --detach -b "$bundle" c
	sets_of() { grep ^Cap <<<"$output" | tr -d '\t' | paste -sd' '; }
	output=$(on_stage cat "/proc/$(oci state c | jq .pid)/status")
	[ "$(sets_of)" = "$sets" ]
	must 0 oci exec --user 1000:1000 c cat /proc/self/status
	[ "$(sets_of)" = "$sets" ]
	oci delete --force c
	config '.process.capabilities = {bounding: ["CAP_KILL", "CAP_OF_TOMORROW"], permitted: ["CAP_KILL"]}' \
		grep -E 'Cap(Bnd|Eff)' /proc/self/status
	must 0 oci run -b "$bundle" c
	[[ $output == *warning*CAP_OF_TOMORROW*"0000000000000020"* ]]
	config 'del(.process.capabilities)' grep CapBnd /proc/self/status
	must 0 oci run -b "$bundle" c
	[[ $output == *0000000000000000 ]]
}

@test "rlimits: each of them, soft and hard, for an exec too" {
	beyond_valgrind "it keeps descriptors and limits for itself"
	local list= limit name value expected=
	local nice=0 rtprio=0
	# Without CAP_SYS_RESOURCE no limit can be raised, and these are 0 as a rule.
	prlimit --nice=9:9 true 2>/dev/null && nice=9
	prlimit --rtprio=13:13 true 2>/dev/null && rtprio=13
	for limit in AS:800000001 CORE:12 CPU:1003 DATA:400000004 FSIZE:500000005 LOCKS:16 MEMLOCK:65007 MSGQUEUE:800008 NICE:$nice \
		NOFILE:910 NPROC:3011 RSS:100000012 RTPRIO:$rtprio RTTIME:1000014 SIGPENDING:1015 STACK:8000016; do
		name=${limit%:*} value=${limit#*:}
		case $name in NICE | RTPRIO) ;; *) value=$value:$((value + 1)) ;; esac
		list="$list{type: \"RLIMIT_$name\", soft: ${value%:*}, hard: ${value#*:}}, "
		expected="$expected ${value%:*}:${value#*:}"
	done
	config ".process.rlimits = [${list%, }]" sleep 300
	must 0 oci run --detach -b "$bundle" c
	# In the order of their names above; the kernel has its own words.
	must 0 oci exec c awk 'BEGIN { n = split("address space|core file size|cpu time|data size|file size|file locks|locked memory|msgqueue size|nice priority|open files|processes|resident set|realtime priority|realtime timeout|pending signals|stack size", names, "|") }
		{ for (i = 1; i <= n; i++) if (index($0, "Max " names[i] " ")) { rest = substr($0, 27); split(rest, f, " "); v[i] = f[1] ":" f[2] } }
		END { for (i = 1; i <= n; i++) printf " %s", v[i] }' /proc/self/limits
	[ "$output" = "$expected" ]
	oci delete --force c
	refused '.process.rlimits = [{type: "RLIMIT_CPU", soft: 1, hard: 1}, {type: "RLIMIT_CPU", soft: 1, hard: 1}]' 'listed twice'
	refused '.process.rlimits = [{type: "RLIMIT_CPU", soft: 2, hard: 1}]' 'process.rlimits[0].soft'
}

# nice, real-time priority and policy, as /proc/PID/stat has them.
scheduling="awk '{ print \$19, \$40, \$41 }' /proc/self/stat"

@test "scheduler and I/O priority: each policy, of init and of an exec" {
	local io="sed -n 's/.*//p' /dev/null; ionice"
	config '.process.scheduler = {policy: "SCHED_BATCH", nice: 5} | .process.ioPriority = {class: "IOPRIO_CLASS_BE", priority: 6}' \
		sh -c "$scheduling; $io"
	must 0 oci run -b "$bundle" c
	[ "$output" = $'5 0 3\nbest-effort: prio 6' ]
	config '.process.scheduler = {policy: "SCHED_IDLE"} | .process.ioPriority = {class: "IOPRIO_CLASS_IDLE"}' sh -c "$scheduling; $io"
	must 0 oci run -b "$bundle" c
	[ "$output" = $'0 0 5\nidle' ]
	# A child of who resets on fork has not the policy.
	config '.process.scheduler = {policy: "SCHED_RR", priority: 7, flags: ["SCHED_FLAG_RESET_ON_FORK"]}' \
		sh -c "read -r stat </proc/self/stat; echo \$stat | cut -d' ' -f40,41; $scheduling"
	oci run -b "$bundle" c </dev/null >"$tmp/output" 2>&1 || grep -q 'EPERM' "$tmp/output"
	if ! grep -q EPERM "$tmp/output"; then
		[ "$(cat "$tmp/output")" = $'7 2\n0 0 0' ]
	fi
	refused '.process.scheduler = {policy: "SCHED_FIFO", priority: 100}' process.scheduler.priority
	refused '.process.ioPriority = {class: "IOPRIO_CLASS_RT", priority: 8}' process.ioPriority.priority
	sleeper c
	jq -n --arg s "$scheduling; $io" '{args: ["sh", "-c", $s], cwd: "/", env: ["PATH=/bin"],
		scheduler: {policy: "SCHED_OTHER", nice: 9}, ioPriority: {class: "IOPRIO_CLASS_RT", priority: 3}}' >"$tmp/process.json"
	must 0 oci exec --process "$tmp/process.json" c
	[ "$output" = $'9 0 0\nrealtime: prio 3' ]
}

@test "oomScoreAdj 0 is a value, absent is what the runtime has; umask; personality; memory policy" {
	config '.process.oomScoreAdj = 0 | .process.user.umask = 63 | .linux.personality = {domain: "LINUX32"}' \
		sh -c 'cat /proc/self/oom_score_adj; umask; uname -m'
	must 0 on_stage sh -c "echo 77 >/proc/self/oom_score_adj; exec $oci_program --root $state run -b $bundle c"
	[ "$output" = $'0\n0077\ni686' ]
	config . sh -c 'cat /proc/self/oom_score_adj; umask; uname -m'
	must 0 on_stage sh -c "echo 77 >/proc/self/oom_score_adj; exec $oci_program --root $state run -b $bundle c"
	[ "$output" = $'77\n0022\n'"$(uname -m)" ]
	sleeper c
	jq -n '{args: ["sh", "-c", "umask; id -G"], cwd: "/", env: ["PATH=/bin"], user: {uid: 7, gid: 8, umask: 7, additionalGids: [9, 10]}}' >"$tmp/process.json"
	must 0 oci exec --process "$tmp/process.json" c
	[ "$output" = $'0007\n8 9 10' ]
	oci delete --force c
	refused '.linux.personality = {domain: "BSD"}' linux.personality.domain
	refused '.linux.memoryPolicy = {mode: "MPOL_BIND"}' linux.memoryPolicy.nodes
}

@test "execCPUAffinity: where an exec begins, and where it runs" {
	[ "$(nproc)" -ge 2 ] || skip "one processor"
	config '.process.execCPUAffinity = {initial: "0", final: "1"}' sleep 300
	must 0 oci run --detach -b "$bundle" c
	[ "$(on_stage grep Cpus_allowed_list "/proc/$(oci state c | jq .pid)/status" | cut -f2)" = "$(grep Cpus_allowed_list /proc/self/status | cut -f2)" ]
	jq -n '{args: ["grep", "Cpus_allowed_list", "/proc/self/status"], cwd: "/", env: ["PATH=/bin"],
		execCPUAffinity: {initial: "0", final: "1"}}' >"$tmp/process.json"
	must 0 oci exec --process "$tmp/process.json" c
	[ "$(cut -f2 <<<"$output")" = 1 ]
	jq '.execCPUAffinity = {initial: "0"}' "$tmp/process.json" >"$tmp/initial.json"
	must 0 oci exec --process "$tmp/initial.json" c
	[ "$(cut -f2 <<<"$output")" = 0 ]
	jq '.execCPUAffinity = {final: "9999"}' "$tmp/process.json" >"$tmp/wrong.json"
	must 255 oci exec --process "$tmp/wrong.json" c
	[[ $output == *9999* ]]
}

@test "an exec has the container's filter, no_new_privs, capabilities and limits, whoever asks" {
	config '.process.noNewPrivileges = true | .process.rlimits = [{type: "RLIMIT_CORE", soft: 7, hard: 7}] | .linux.seccomp = {
		defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 61}]}' sleep 300
	must 0 oci run --detach -b "$bundle" c
	local shows='grep -E "^(NoNewPrivs|Seccomp|CapEff):" /proc/self/status; mkdir /x'
	local expected=$'CapEff:\t0000000000000020\nNoNewPrivs:\t1\nSeccomp:\t2\nmkdir: can\'t create directory \'/x\': No data available'
	must 1 oci exec c sh -c "$shows"
	[ "$output" = "$expected" ]
	jq -n --arg s "$shows" '{args: ["sh", "-c", $s], cwd: "/", env: ["PATH=/bin"], noNewPrivileges: false}' >"$tmp/process.json"
	must 1 oci exec --process "$tmp/process.json" c
	[[ $output == *$'Seccomp:\t2'*"No data available" ]]
	jq 'del(.noNewPrivileges)' "$tmp/process.json" >"$tmp/less.json"
	must 1 oci exec --process "$tmp/less.json" c
	[ "$output" = "$expected" ]
	must 1 oci exec --tty c sh -c "$shows"
	[[ $output == *$'Seccomp:\t2'*"No data available" ]]
	must 0 oci exec --no-new-privs c grep NoNewPrivs /proc/self/status
	[[ $output == *1 ]]
}

@test "a session keyring and a null device of the container's own" {
	config . sh -c 'stat -Lc %d /proc/self/fd/0 /dev/null | uniq | wc -l; grep -o "_ses[.]c" /proc/keys'
	must 0 oci run -b "$bundle" c
	[ "$output" = $'1\n_ses.c' ] || { grep -q . /proc/keys && false; }
	must 0 oci run --no-new-keyring -b "$bundle" d || true
	[[ $output != *_ses.d* ]]
}

@test "labels without a security module are refused before anything is made" {
	[ -d /sys/fs/selinux ] || refused '.process.selinuxLabel = "u:r:t:s0"' 'SELinux is not enabled'
	grep -qx Y /sys/module/apparmor/parameters/enabled 2>/dev/null || refused '.process.apparmorProfile = "some"' 'AppArmor is not enabled'
	refused '.process.selinuxLabel = "no label"' process.selinuxLabel
	refused '.linux.mountLabel = "no label"' linux.mountLabel
	config '.process.apparmorProfile = "unconfined"' true
	must 0 oci run -b "$bundle" c
}
