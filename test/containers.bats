#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The life of a container: its beginning, its end, and everything that may go wrong on the way.

load helpers

setup() { guest_start; }
teardown() { guest_stop; }

@test "container: created, started, read, waited for, removed" {
	agent_start
	create c1 /bin/sh -c 'echo hello; exit 7'
	in_guest test -d /run/kata-containers/c1/rootfs/bin
	[ "$(in_guest grep -c " /run/kata-containers/c1" /proc/self/mountinfo)" = 0 ]
	[ "$(in_guest stat -c %a /run/kata-containers/c1/config.json)" = 600 ]
	[ "$(in_guest cat /run/kata-containers/c1/config.json | jq -r .root.path)" = /run/kata-containers/c1/rootfs ]
	start c1
	[ "$(read_all c1)" = hello ]
	[ "$(wait_code c1)" = 7 ]
	remove c1
	in_guest test ! -e /run/kata-containers/c1
}

@test "container: an id that is none is refused before anything is done" {
	agent_start
	for id in "" a .a -a _a a/b ../b "a b" $'a\nb' ä; do
		fails_with "invalid container ID" create "$id" /bin/true
	done
	[ -z "$(in_guest ls /run/kata-containers)" ]
	for id in a. a.. hello..world a-b_c.d; do
		create "$id" /bin/true
		remove "$id"
	done
}

@test "container: directories of the agent's own are no containers" {
	agent_start
	in_guest mkdir -p /run/kata-containers/shared/containers
	fails_with "already exists" create shared /bin/true
	in_guest test -d /run/kata-containers/shared/containers
	in_guest rm -r /run/kata-containers/shared
}

@test "container: what a request must have" {
	agent_start
	fails_with "EINVAL: Invalid argument" rpc CreateContainer '{"container_id":"c1"}'
	for part in linux process root; do
		fails_with "" rpc CreateContainer "$(spec c1 /bin/true | jq -c "del(.OCI.$part)")"
	done
	fails_with "the file /bin/nothing was not found" create c1 /bin/nothing
	fails_with "ENOENT" rpc CreateContainer "$(spec c1 /bin/true | jq -c '.OCI.root.path = "/no/such/root"')"
	fails_with "Failed to find the storage handler nothing" \
		rpc CreateContainer "$(spec c1 /bin/true | jq -c '.storages = [{driver: "nothing", mount_point: "/x"}]')"
	# The spec names such a device by the host's numbers.
	fails_with "Failed to find the device handler blk" \
		rpc CreateContainer "$(spec c1 /bin/true | jq -c '.devices = [{type: "blk", id: "00/01", container_path: "/dev/xda"}]')"
	fails_with "shared mounts are not implemented" \
		rpc CreateContainer "$(spec c1 /bin/true | jq -c '.shared_mounts = [{name: "x", src_ctr: "c0", src_path: "/a"}]')"
	nothing_of c1
	running c1 /bin/true
	[ "$(wait_code c1)" = 0 ]
}

nothing_of() {
	in_guest test ! -e "/run/kata-containers/$1"
	[ -z "$(guest_cgroups)" ]
	[ "$(guest_mounts)" = "$mounts_before" ]
}

@test "container: a second one of the same id is refused, the living one untouched" {
	agent_start
	running c1 /bin/sleep 1000
	pid=$(rpc GetDiagnosticData '{"log_type":"containers"}' | jq -r .data | jq .pid)
	for i in 1 2 3; do
		fails_with "already exists" create c1 /bin/true
	done
	[ "$(rpc GetDiagnosticData '{"log_type":"containers"}' | jq -r .data | jq .pid)" = "$pid" ]
	execute c1 e1 /bin/true
	[ "$(wait_code c1 e1)" = 0 ]
	signal c1 "" 9
	[ "$(wait_code c1)" = 137 ]
	fails_with "already exists" create c1 /bin/true
	remove c1
	create c1 /bin/true
}

@test "container: a failure at each step of its creation leaves nothing" {
	steps="directory storages namespaces hooks bundle container record"
	agent_start "KATA_AGENT_FAIL_STEP=$(for s in $steps; do printf 'create.%s,' "$s"; done)"
	rpc CreateSandbox '{"sandbox_id":"s1"}'
	before=$(guest_mounts)
	fds=$(descriptors)
	for step in $steps; do
		fails_with "injected failure at create.$step" create c1 /bin/sleep 1000
		in_guest test ! -e /run/kata-containers/c1
		[ -z "$(guest_cgroups | grep c1)" ]
		[ "$(guest_mounts)" = "$before" ]
		[ "$(descriptors)" = "$fds" ]
	done
	create c1 /bin/sleep 1000
}

@test "container: a deadline at each step of its creation leaves nothing, and the id is free at once" {
	steps="directory storages namespaces hooks bundle container record"
	agent_start "KATA_AGENT_FAIL_STEP=$(for s in $steps; do printf 'create.%s@60000,' "$s"; done)"
	for step in $steps; do
		timeout=300ms fails_with "" create c1 /bin/sleep 1000
		eventually nothing_of c1
	done
	create c1 /bin/sleep 1000
	start c1
}

@test "container: a client that leaves at each step of its creation leaves nothing" {
	steps="directory storages namespaces hooks bundle container record"
	agent_start "KATA_AGENT_FAIL_STEP=$(for s in $steps; do printf 'create.%s@60000,' "$s"; done)"
	spec c1 /bin/sleep 1000 >"$tmp/request"
	for step in $steps; do
		ctl_begin CreateContainer "@$tmp/request"
		sleep 0.3
		kill -KILL $client
		wait $client || true
		eventually nothing_of c1
	done
	create c1 /bin/sleep 1000
}

@test "container: a create for an id that is being undone waits for the undo" {
	agent_start "KATA_AGENT_FAIL_STEP=create.record@2000"
	spec c1 /bin/sleep 1000 >"$tmp/request"
	ctl_begin CreateContainer "@$tmp/request"
	sleep 0.3
	fails_with "already exists" create c1 /bin/true
	kill -KILL $client
	create c1 /bin/sleep 1000
	start c1
	wait $client || true
}

@test "container: started twice, or after its end, is refused at once" {
	agent_start
	fails_with "not found" start c1
	create c1 /bin/sleep 1000
	start c1
	timeout=5s fails_with "" start c1
	[ "$(rpc Check | jq -r .status)" != "" ]
	create c2 /bin/sleep 1000
	signal c2 "" 9
	[ "$(wait_code c2)" = 137 ]
	timeout=5s fails_with "" start c2
}

@test "container: exit codes" {
	agent_start
	for code in 0 1 2 127 128 200 255; do
		running c1 /bin/sh -c "exit $code"
		[ "$(wait_code c1)" = $code ]
		remove c1
	done
	# Every signal that ends a process; of a process that is not init, which would ignore most of them.
	running c1 /bin/sleep 1000
	for sig in 1 2 3 4 6 8 9 11 13 14 15 24 31 34 35 50 64; do
		execute c1 "e$sig" /bin/sleep 1000
		signal c1 "e$sig" $sig
		[ "$(wait_code c1 "e$sig")" = $((128 + sig)) ]
	done
}

@test "container: an exit code is told as often as it is asked for, until the removal" {
	agent_start
	running c1 /bin/sh -c 'exit 42'
	for i in 1 2 3; do [ "$(wait_code c1)" = 42 ]; done
	[ "$(wait_code c1 c1)" = 42 ]
	remove c1
	fails_with "not found" wait_code_or_fail c1
}
wait_code_or_fail() { rpc WaitProcess "{\"container_id\":\"$1\"}"; }

@test "container: SIGTERM kills an init that does nothing about it, and reaches one that does" {
	agent_start
	running c1 /bin/sleep 1000
	signal c1 "" 15
	[ "$(wait_code c1)" = 137 ]
	running c2 /bin/sh -c 'trap "exit 5" TERM; echo ready; while :; do sleep 0.1; done'
	[ "$(read_some c2)" = ready ]
	signal c2 "" 15
	[ "$(wait_code c2)" = 5 ]
	# Gone, waited for: both hosts take this for "already ended".
	fails_with "No such process" signal c2 "" 15
	signal c2 "" 9
}

@test "container: SIGKILL without an exec id ends every process" {
	agent_start
	running c1 /bin/sleep 1000
	execute c1 e1 /bin/sleep 1000
	signal c1 "" 9
	[ "$(wait_code c1)" = 137 ]
	[ "$(wait_code c1 e1)" = 137 ]
}

@test "container: unknown ones, unknown processes" {
	agent_start
	for method in StartContainer RemoveContainer PauseContainer ResumeContainer StatsContainer WaitProcess ReadStdout \
		ReadStderr CloseStdin TtyWinResize; do
		fails_with "Invalid container id: nobody not found" rpc $method '{"container_id":"nobody"}'
	done
	running c1 /bin/sleep 1000
	for method in WaitProcess ReadStdout ReadStderr CloseStdin TtyWinResize SignalProcess; do
		fails_with "process not found" rpc $method '{"container_id":"c1","exec_id":"nobody"}'
	done
	fails_with "NOT_FOUND" rpc WaitProcess '{"container_id":"nobody"}'
	fails_with "Invalid argument" signal c1 "" 1000
	fails_with "no tty" rpc TtyWinResize '{"container_id":"c1","row":10,"column":10}'
}

@test "container: pause, resume; exec into a paused one is refused at once; its removal is quick" {
	agent_start
	running c1 /bin/sleep 1000
	rpc PauseContainer '{"container_id":"c1"}'
	fails_with "" rpc PauseContainer '{"container_id":"c1"}'
	timeout=3s fails_with "aused" execute c1 e1 /bin/true
	rpc ResumeContainer '{"container_id":"c1"}'
	fails_with "" rpc ResumeContainer '{"container_id":"c1"}'
	execute c1 e1 /bin/true
	[ "$(wait_code c1 e1)" = 0 ]
	rpc PauseContainer '{"container_id":"c1"}'
	started=$SECONDS
	remove c1
	[ $((SECONDS - started)) -le 2 ]
}

@test "container: removal wakes who waits, ends who reads" {
	agent_start
	running c1 /bin/sleep 1000
	rpc WaitProcess '{"container_id":"c1"}' >"$tmp/wait" 2>&1 3>&- &
	waiting=$!
	(read_all c1 >"$tmp/read" 2>&1) 3>&- &
	reading=$!
	sleep 0.2
	remove c1
	wait $waiting
	[ "$(jq .status "$tmp/wait")" = 137 ]
	wait $reading
	[ ! -s "$tmp/read" ]
	fails_with "not found" remove c1
}

@test "container: a removal with a limit answers in time and goes on" {
	agent_start "KATA_AGENT_FAIL_STEP=remove.container@3000"
	running c1 /bin/sleep 1000
	started=$SECONDS
	fails_with "ETIME: Timer expired" rpc RemoveContainer '{"container_id":"c1","timeout":1}'
	[ $((SECONDS - started)) -le 2 ]
	# The id is taken until the work is done; who wants it waits.
	create c1 /bin/true
	in_guest test -d /run/kata-containers/c1/rootfs/bin
}

@test "container: a removal that failed goes on with the other steps, reports, and can be repeated" {
	for step in container storages directory; do
		agent_start "KATA_AGENT_FAIL_STEP=remove.$step"
		running c1 /bin/sleep 1000
		fails_with "injected failure at remove.$step" remove c1
		nothing_of c1
		fails_with "already exists" create c1 /bin/true
		remove c1
		fails_with "not found" remove c1
		create c1 /bin/true
		agent_destroy
	done
}

@test "container: an AppArmor profile and a cache class of the host's machine are no obstacle" {
	agent_start
	spec p1 /bin/sleep 1000 | jq -c '.OCI.process.apparmorProfile = "cri-containerd.apparmor.d" |
		.OCI.linux.intelRdt = {l3CacheSchema: "L3:0=f"}' >"$tmp/profile.json"
	rpc CreateContainer "@$tmp/profile.json"
	start p1
	rpc ExecProcess '{"container_id":"p1","exec_id":"e1","process":{"Args":["/bin/sh","-c","exit 3"],"Cwd":"/",
		"ApparmorProfile":"docker-default"}}'
	[ "$(wait_code p1 e1)" = 3 ]
	[ "$(grep -c "does not have the host's AppArmor profile" "$tmp/log")" = 2 ]
	remove p1
}

@test "container: statistics" {
	agent_start
	running c1 /bin/sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; exec sleep 1000'
	[ "$(read_some c1)" = "done" ]
	stats=$(rpc StatsContainer '{"container_id":"c1"}')
	[ "$(jq '.cgroup_stats.cpu_stats.cpu_usage.total_usage > 0' <<<"$stats")" = true ]
	[ "$(jq '.cgroup_stats.pids_stats.current' <<<"$stats")" = 1 ]
	[ "$(jq '.cgroup_stats.memory_stats.usage.usage > 0' <<<"$stats")" = true ]
}

@test "container: limits are applied, updated, and lifted" {
	agent_start
	spec c1 /bin/sleep 1000 | jq -c '.OCI.linux.resources = {pids: {limit: 7}, memory: {limit: 67108864}}' >"$tmp/r"
	rpc CreateContainer "@$tmp/r"
	start c1
	[ "$(rpc StatsContainer '{"container_id":"c1"}' | jq -c '[.cgroup_stats.pids_stats.limit, .cgroup_stats.memory_stats.usage.limit]')" = "[7,67108864]" ]
	rpc UpdateContainer '{"container_id":"c1","resources":{"Pids":{"Limit":9}}}'
	[ "$(rpc StatsContainer '{"container_id":"c1"}' | jq -c '[.cgroup_stats.pids_stats.limit, .cgroup_stats.memory_stats.usage.limit]')" = "[9,67108864]" ]
	rpc UpdateContainer '{"container_id":"c1"}'
	fails_with "not found" rpc UpdateContainer '{"container_id":"nobody","resources":{}}'
}

@test "container: the list" {
	agent_start
	[ "$(rpc GetDiagnosticData '{"log_type":"containers"}' | jq -r '.data // ""')" = "" ]
	create c1 /bin/sleep 1000
	running c2 /bin/sleep 1000
	execute c2 e1 /bin/sleep 1000
	list=$(rpc GetDiagnosticData '{"log_type":"containers"}' | jq -r .data)
	[ "$(jq -sc 'map([.id, .status, .execs])' <<<"$list")" = '[["c1","created",0],["c2","running",1]]' ]
	[ "$(jq -s 'map(.pid > 0) | all' <<<"$list")" = true ]
}

@test "container: the termination log" {
	agent_start
	fails_with "unsupported diagnostic log_type: x" rpc GetDiagnosticData '{"log_type":"x"}'
	in_guest sh -c 'mkdir -p /run/kata-containers/shared/containers && cd /run/kata-containers/shared/containers &&
		head -c 5000 /dev/zero | tr "\0" a >log && ln -s /etc/shadow link && mkfifo fifo'
	share=/run/kata-containers/shared/containers
	for source in $share/log $share/link $share/fifo $share/none /etc/passwd; do
		spec c1 /bin/true | jq -c --arg s $source '
			.OCI.annotations = {"io.kubernetes.container.terminationMessagePath": "/dev/log"}
			| .OCI.mounts += [{destination: "/dev/log", type: "bind", source: "/dev/null", options: ["bind"]}]
			| .OCI.mounts[-1].source = $s' >"$tmp/r.${source##*/}"
	done
	log() { rpc GetDiagnosticData '{"log_type":"termination_log","container_id":"c1"}'; }
	fails_with "not found" log
	rpc CreateContainer "@$tmp/r.log"
	[ "$(log | jq '.data | length')" = 4096 ]
	remove c1
	rpc CreateContainer "@$tmp/r.passwd"
	fails_with "Failed to read termination log" log
	remove c1
	running c1 /bin/true
	fails_with "No terminationMessagePath annotation" log
	remove c1
	in_guest rm -r /run/kata-containers/shared
}

@test "container: what is not there yet says so" {
	agent_start
	fails_with "UNIMPLEMENTED" rpc ResizeVolume '{}'
}
