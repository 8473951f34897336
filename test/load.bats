#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Many at once, many after each other: nothing is left, nothing grows. KATA_SMALL=1: fewer.

load helpers

setup() {
	many=100 cycles=1000
	if [ -n "$KATA_SMALL" ]; then many=20 cycles=50; fi
	guest_start
	agent_start KATA_AGENT_LOG_LEVEL=info
}
teardown() { guest_stop; }

play() { "$load_program" "$address" "$rootfs" "$cgroup" "$@"; }

# The agent is all that there is.
only_the_agent() {
	[ -z "$(in_guest ls /run/kata-containers)" ]
	[ -z "$(guest_cgroups)" ]
	[ "$(guest_mounts)" = "$mounts_before" ]
	[ "$(guest_processes | wc -l)" = 1 ]
}

@test "load: a hundred containers at once, each with three parked calls" {
	rpc CreateSandbox '{"sandbox_id":"s1"}'
	play parallel $many "$agent"
	only_the_agent
}

@test "load: a thousand lives of a container leave descriptors, memory and files as they were" {
	play cycles $cycles "$agent"
	only_the_agent
}

@test "load: a thousand execs in one container, whose output nobody reads" {
	play execs $cycles "$agent"
	only_the_agent
}

# Each is a child of the agent for the five seconds in which so many CPUs do not come.
look_for_cpus() {
	local i
	for i in $(seq "$1"); do
		timeout=20s rpc OnlineCPUMem '{"nb_cpus":100000,"cpu_only":true}' >/dev/null 2>&1 3>&- &
		callers="$callers $!"
	done
}
children() { pgrep -c -P "$agent" || true; }
many_children() { [ "$(children)" -ge 60 ]; }

@test "load: what children do is done in turn when too much is asked for at once" {
	local i most=0 now callers=
	look_for_cpus 150
	eventually many_children
	for i in $(seq 20); do
		now=$(children)
		[ "$now" -le "$most" ] || most=$now
		sleep 0.1
	done
	echo "$most children at once"
	[ "$most" -ge 60 ] && [ "$most" -le 64 ]
	# Meanwhile all else is served: what needs no child, and what ends things.
	timeout=1s rpc Check
	timeout=2s rpc ListInterfaces
	timeout=10s rpc DestroySandbox
	agent_wait
	for i in $callers; do wait "$i" || true; done
}
