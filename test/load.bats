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
