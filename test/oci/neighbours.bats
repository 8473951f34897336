#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the end of one container means for others: those that were given its cgroup, and those in a cgroup that is frozen.

load helpers
setup() { stage_open; }
teardown() {
	[ ! -d "/sys/fs/cgroup/freezer/$cgroup" ] || echo THAWED >"/sys/fs/cgroup/freezer/$cgroup/freezer.state"
	stage_close
}

@test "who was given the cgroup of a stopped container outlives its deletion" {
	config . true
	oci run -b "$bundle" --keep a </dev/null
	has_status a stopped
	sleeper b
	must 0 oci delete a
	sleep 0.2
	has_status b running
	must 0 oci exec b true
	# While it has processes nobody else comes in.
	config . true
	must 1 oci create -b "$bundle" c
	[[ $output == *"has processes"* ]]
	has_status b running
	must 0 oci delete --force b
}

@test "in a frozen cgroup nothing is created, and nothing waits to be killed" {
	[ -e /sys/fs/cgroup/freezer/cgroup.procs ] || skip "no freezer of cgroup v1"
	sleeper a
	echo FROZEN >"/sys/fs/cgroup/freezer/$cgroup/freezer.state"
	config '.linux.cgroupsPath += "2"' true
	SECONDS=0
	must 1 oci create -b "$bundle" b
	[[ $output == *"is frozen (by \"$cgroup\")"* ]]
	must 1 oci kill --all a KILL
	[[ $output == *"cannot die before that is thawed"* ]]
	# One that could not be killed stays known.
	must 1 oci delete --force a
	[[ $output == *"cannot die before that is thawed"* ]]
	[ "$SECONDS" -lt 10 ]
	[ -n "$(status a)" ]
	echo THAWED >"/sys/fs/cgroup/freezer/$cgroup/freezer.state"
	eventually has_status a stopped
	must 0 oci delete a
}
