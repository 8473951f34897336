#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The agent is killed at any moment; the next one finds nothing in its way and leaves nothing of the old.

load helpers

setup() { guest_start; }
teardown() { guest_stop; }

# Whoever was killed may take a moment to be gone.
only_the_agent() { [ "$(guest_processes | wc -l)" = 1 ]; }

# A parent of cgroups gets its mark as soon as it is made, but not in the same instant. Killed between the two, the
# agent leaves an empty directory that nobody can tell from somebody else's: the next one rightly leaves it alone.
unmarked_parents() {
	guest_cgroups | while read -r directory; do
		[ "${directory##*/}" = "$cgroup" ] || continue
		python3 -c 'import os, sys; sys.exit("trusted.kata_agent" in os.listxattr(sys.argv[1]))' "$directory" &&
			rmdir "$directory" && echo "unmarked: $directory"
	done || true
}

# What a new agent makes of what is there.
recover() {
	agent_start
	rpc CreateSandbox '{"sandbox_id":"s1","dns":["nameserver 1.2.3.4"]}'
	[ "$(in_guest ls /run/kata-containers | grep -v sandbox)" = "" ]
	unmarked_parents
	[ -z "$(guest_cgroups)" ]
	eventually only_the_agent
	running c1 /bin/true
	[ "$(wait_code c1)" = 0 ]
	agent_destroy
	eventually nothing_left
}

@test "crash: with containers in every state" {
	agent_start
	rpc CreateSandbox '{"sandbox_id":"s1","dns":["nameserver 9.9.9.9"],"storages":[{"driver":"ephemeral","source":"tmpfs","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm"}]}'
	create c1 /bin/sleep 1000
	running c2 /bin/sleep 1000
	running c3 /bin/true
	running c4 /bin/sh -c 'sleep 1000 & sleep 1000'
	execute c4 e1 /bin/sleep 1000
	running c5 /bin/sleep 1000
	rpc PauseContainer '{"container_id":"c5"}'
	agent_kill
	recover
}

@test "crash: at each step of a creation" {
	for step in directory storages namespaces hooks bundle container record; do
		agent_start "KATA_AGENT_FAIL_STEP=create.$step@60000"
		spec c1 /bin/sleep 1000 >"$tmp/request"
		ctl_begin CreateContainer "@$tmp/request"
		sleep 0.3
		agent_kill
		wait $client || true
		recover
	done
}

@test "crash: at each step of a removal" {
	for step in container rootfs storages; do
		agent_start "KATA_AGENT_FAIL_STEP=remove.$step@60000"
		running c1 /bin/sleep 1000
		ctl_begin RemoveContainer '{"container_id":"c1"}'
		sleep 0.3
		agent_kill
		wait $client || true
		recover
	done
}

# Lives of containers, until the agent is gone.
live() {
	while ctl CreateContainer "@$tmp/request.$1" && ctl StartContainer "{\"container_id\":\"$1\"}" &&
		ctl RemoveContainer "{\"container_id\":\"$1\"}"; do :; done
}

@test "crash: at whatever moment" {
	times=10
	[ -z "$KATA_SMALL" ] || times=3
	for c in a1 a2 a3; do spec $c /bin/sleep 1000 >"$tmp/request.$c"; done
	for i in $(seq $times); do
		agent_start
		lives=
		for c in a1 a2 a3; do
			live $c >/dev/null 2>&1 3>&- &
			lives="$lives $!"
		done
		sleep "0.$((RANDOM % 5))$((RANDOM % 10))"
		agent_kill
		wait $lives || true
	done
	recover
}

@test "crash: a file system that is still mounted is left alone" {
	agent_start
	agent_kill
	mkdir "$tmp/share"
	touch "$tmp/share/precious"
	in_guest sh -c "mkdir -p /run/kata-containers/shared/containers && mount --bind $tmp/share /run/kata-containers/shared/containers"
	recover
	[ -e "$tmp/share/precious" ]
}
