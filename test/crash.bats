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

# A share of ours goes, its files do not.
@test "crash: what was mounted for the sandbox is unmounted, not emptied" {
	mkdir "$tmp/share"
	touch "$tmp/share/precious"
	agent_start
	rpc CreateSandbox "{\"sandbox_id\":\"s1\",\"storages\":[{\"driver\":\"bind\",\"source\":\"$tmp/share\",
		\"fstype\":\"bind\",\"options\":[\"bind\"],\"mount_point\":\"/run/kata-containers/shared/containers\"}]}"
	in_guest test -e /run/kata-containers/shared/containers/precious
	agent_kill
	recover
	[ -e "$tmp/share/precious" ]
}

@test "crash: what an image has mounted or put there is left alone" {
	mkdir "$tmp/share"
	touch "$tmp/share/precious"
	in_guest sh -c "cd /run/kata-containers && mkdir -p shared/containers image own && echo mine >own/file &&
		mount --bind $tmp/share shared/containers && mount -t tmpfs theirs image && echo mine >image/file"
	agent_start
	# One of ours on top of theirs, and one beside it.
	rpc CreateSandbox '{"sandbox_id":"s1","storages":[
		{"driver":"virtio-fs","source":"ours","fstype":"ramfs","mount_point":"/run/kata-containers/image"},
		{"driver":"ephemeral","source":"tmpfs","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm"}]}'
	[ "$(guest_mounts | grep -c '^/run/kata-containers/image$')" = 2 ]
	running c1 /bin/sleep 1000
	agent_kill
	for _ in 1 2; do
		agent_start
		[ "$(in_guest ls /run/kata-containers | tr '\n' ' ')" = "image own shared " ]
		[ "$(in_guest cat /run/kata-containers/own/file /run/kata-containers/image/file | tr '\n' ' ')" = "mine mine " ]
		[ "$(guest_mounts | grep -c '^/run/kata-containers/')" = 2 ]
		[ -e "$tmp/share/precious" ]
		rpc CreateSandbox '{"sandbox_id":"s2"}'
		agent_destroy
	done
	! grep -q 'stays' "$tmp/log"
	[ "$(grep -c 'something is mounted there: left alone' "$tmp/log")" -ge 2 ]
	in_guest sh -c 'umount /run/kata-containers/image /run/kata-containers/shared/containers && rm -r /run/kata-containers/*'
	unmarked_parents
}
