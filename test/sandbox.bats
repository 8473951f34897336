#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The sandbox: made, made again, shared, watched, taken down.

load helpers

setup() { guest_start; }
teardown() { guest_stop; }

@test "sandbox: health and details, before anything else" {
	agent_start
	[ "$(rpc Check | jq .status)" = '"SERVING"' ] || [ "$(rpc Check | jq .status)" = 1 ]
	[ "$(rpc Version | jq -r .agent_version)" = 4.1.0 ]
	[ "$(rpc Version | jq -r .grpc_version)" = 0.0.1 ]
	details=$(rpc GetGuestDetails '{"mem_block_size":true,"mem_hotplug_probe":true}')
	[ "$(jq -r .agent_details.version <<<"$details")" = 4.1.0 ]
	[ "$(jq -r .agent_details.supports_seccomp <<<"$details")" = true ]
	[ "$(jq -r '.agent_details.init_daemon // false' <<<"$details")" = false ]
	[ "$(jq -c .agent_details.extra_features <<<"$details")" = '["cgroup-driver:cgroupfs","seccomp"]' ]
	[[ $(jq -c .agent_details.storage_handlers <<<"$details") == *'"virtio-fs"'* ]]
}

@test "sandbox: the same again changes nothing; another one is refused while containers live" {
	agent_start
	rpc CreateSandbox '{"sandbox_id":"s1","hostname":"one"}'
	running c1 /bin/sleep 1000
	rpc CreateSandbox '{"sandbox_id":"s1","hostname":"one"}'
	in_guest test -d /run/kata-containers/c1/rootfs/bin
	fails_with "FAILED_PRECONDITION" rpc CreateSandbox '{"sandbox_id":"s1","hostname":"two"}'
	execute c1 e1 /bin/true
	[ "$(wait_code c1 e1)" = 0 ]
	remove c1
	rpc CreateSandbox '{"sandbox_id":"s1","hostname":"two"}'
	running c2 /bin/hostname
	[ "$(read_all c2)" = two ]
}

@test "sandbox: containers share host name and IPC, and PIDs where they ask for it" {
	agent_start
	rpc CreateSandbox '{"sandbox_id":"s1","hostname":"a-pod"}'
	running s1 /bin/sleep 1000
	running c1 /bin/sh -c 'hostname; readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts; readlink /proc/self/ns/pid'
	running c2 /bin/sh -c 'hostname; readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts; readlink /proc/self/ns/pid'
	one=$(read_all c1) two=$(read_all c2)
	[ "${one%%$'\n'*}" = a-pod ]
	[ "$(head -n 3 <<<"$one")" = "$(head -n 3 <<<"$two")" ]
	[ "$(tail -n 1 <<<"$one")" != "$(tail -n 1 <<<"$two")" ]
	[ "$(sed -n 2p <<<"$one")" != "$(in_guest readlink /proc/self/ns/ipc)" ]
	spec c3 /bin/sh -c 'echo $$; readlink /proc/self/ns/pid' | jq -c '.sandbox_pidns = true' >"$tmp/r"
	rpc CreateContainer "@$tmp/r"
	start c3
	three=$(read_all c3)
	[ "${three%%$'\n'*}" -gt 1 ]
	# They join that of the first container, and see it.
	[ "$(tail -n 1 <<<"$three")" != "$(tail -n 1 <<<"$one")" ]
	execute s1 e1 /bin/readlink /proc/self/ns/pid
	[ "$(read_all s1 e1)" = "$(tail -n 1 <<<"$three")" ]
	# The namespace goes with its container.
	remove s1
	spec c4 /bin/true | jq -c '.sandbox_pidns = true' >"$tmp/r"
	fails_with "Sandbox does not have sandbox_pidns" rpc CreateContainer "@$tmp/r"
	for c in c1 c2 c3; do remove $c; done
	rpc CreateContainer "@$tmp/r"
}

@test "sandbox: a failure at each step of its making leaves nothing" {
	steps="modules namespaces storages hooks dns"
	agent_start "KATA_AGENT_FAIL_STEP=$(for s in $steps; do printf 'sandbox.%s,' "$s"; done)"
	fds=$(descriptors)
	for step in $steps; do
		fails_with "injected failure at sandbox.$step" rpc CreateSandbox \
			'{"sandbox_id":"s1","dns":["nameserver 1.2.3.4"],"storages":[{"driver":"ephemeral","source":"tmpfs","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm"}]}'
		[ "$(descriptors)" = "$fds" ]
		[ "$(guest_mounts)" = "$mounts_before" ] || [ "$(guest_mounts | comm -13 <(echo "$mounts_before") -)" = /run/kata-containers/sandbox/shm ]
	done
	rpc CreateSandbox '{"sandbox_id":"s1"}'
}

@test "sandbox: kernel modules that cannot be loaded" {
	agent_start
	fails_with "Kernel module name is empty" rpc CreateSandbox '{"kernel_modules":[{"name":""}]}'
	fails_with "" rpc CreateSandbox '{"kernel_modules":[{"name":"module_not_exists"}]}'
}

@test "sandbox: resolv.conf" {
	agent_start
	before=$(in_guest cat /etc/resolv.conf)
	rpc CreateSandbox '{"dns":["  nameserver 1.2.3.4 ","","search example "]}'
	[ "$(in_guest cat /etc/resolv.conf; echo .)" = $'nameserver 1.2.3.4\n\nsearch example.' ]
	agent_destroy
	[ "$(in_guest cat /etc/resolv.conf)" = "$before" ]
}

@test "sandbox: guest hooks" {
	agent_start
	mkdir -p "$tmp/hooks/prestart" "$tmp/hooks/poststop"
	printf '#!/bin/sh\ncat >%s/state\necho "$0 $1" >>%s/trace\n' "$tmp" "$tmp" >"$tmp/hooks/prestart/10"
	printf '#!/bin/sh\necho "$0 $1" >>%s/trace\n' "$tmp" >"$tmp/hooks/poststop/20"
	chmod +x "$tmp"/hooks/*/*
	rpc CreateSandbox "{\"guest_hook_path\":\"$tmp/hooks\"}"
	running c1 /bin/true
	[ "$(jq -r '[.id, .status, .bundle] | join(" ")' "$tmp/state")" = "c1 creating /run/kata-containers/c1" ]
	remove c1
	[ "$(wc -l <"$tmp/trace")" = 2 ]
}

@test "sandbox: a kill for want of memory is told, to whoever asks, and not lost with a client" {
	agent_start
	if ! [ -d /sys/fs/cgroup/memory ] && ! grep -qw memory /sys/fs/cgroup/cgroup.controllers; then skip "no memory controller"; fi
	ctl_begin GetOOMEvent
	sleep 0.2
	kill -KILL $client
	spec c1 /bin/sh -c 'x=x; while :; do x=$x$x; done' |
		jq -c '.OCI.linux.resources = {memory: {limit: 16777216, swap: 16777216}}' >"$tmp/r"
	rpc CreateContainer "@$tmp/r"
	start c1
	[ "$(wait_code c1)" = 137 ]
	remove c1
	[ "$(rpc GetOOMEvent | jq -r .container_id)" = c1 ]
	timeout=500ms fails_with "" rpc GetOOMEvent
}

@test "sandbox: its end takes everything down, answers, and is a success" {
	agent_start
	rpc CreateSandbox '{"sandbox_id":"s1"}'
	running c1 /bin/sleep 1000
	create c2 /bin/sleep 1000
	running c3 /bin/sleep 1000
	rpc PauseContainer '{"container_id":"c3"}'
	ctl_begin GetOOMEvent
	rpc WaitProcess '{"container_id":"c1"}' >"$tmp/wait" 3>&- &
	waiting=$!
	sleep 0.2
	agent_destroy
	wait $waiting
	[ "$(jq .status "$tmp/wait")" = 137 ]
	# The event's call was parked to the end.
	! wait $client
}

@test "sandbox: its end goes on where a container's fails" {
	agent_start "KATA_AGENT_FAIL_STEP=remove.storages,destroy.dns"
	running c1 /bin/sleep 1000
	running c2 /bin/sleep 1000
	agent_destroy
	# What an injected failure reported was done all the same.
}

@test "sandbox: it ends while a container is being made" {
	agent_start "KATA_AGENT_FAIL_STEP=create.bundle@60000"
	spec c1 /bin/sleep 1000 >"$tmp/request"
	ctl_begin CreateContainer "@$tmp/request"
	sleep 0.3
	agent_destroy
	! wait $client
}

@test "sandbox: SIGTERM is an orderly end too" {
	agent_start
	rpc CreateSandbox '{"sandbox_id":"s1"}'
	running c1 /bin/sleep 1000
	kill -TERM "$agent"
	agent_wait
}

@test "sandbox: what lives is not touched by another agent that is started" {
	agent_start
	running c1 /bin/sleep 1000
	first=$agent first_parent=$agent_parent
	run in_guest env "KATA_AGENT_SERVER_ADDR=$address" timeout 5 "$agent_program"
	[ "$status" -eq 1 ]
	in_guest env "KATA_AGENT_SERVER_ADDR=$address.2" timeout -s KILL 1 "$agent_program" >>"$tmp/log" 2>&1 || true
	rm -f "$tmp/agent.sock.2"
	execute c1 e1 /bin/true
	[ "$(wait_code c1 e1)" = 0 ]
}

@test "sandbox: a volume of Kubernetes is followed while it changes" {
	agent_start
	rpc CreateSandbox '{"sandbox_id":"s1"}'
	share=/run/kata-containers/shared/containers
	volume() { # VERSION TEXT: as the kubelet writes it
		in_guest sh -c "mkdir -p $share/vol/..$1 && echo $2 >$share/vol/..$1/key && ln -s ..$1 $share/vol/..new &&
			mv -T $share/vol/..new $share/vol/..data && ln -sfn ..data/key $share/vol/key"
	}
	volume 1 one
	for c in c1 c2; do
		spec $c /bin/sleep 1000 | jq -c --arg share $share --arg c $c '.OCI.mounts += [{destination: "/config", type: "bind",
			source: ($share + "/watchable/vol"), options: ["bind", "ro"]}] | if $c == "c1" then .storages = [{driver: "watchable-bind",
			source: ($share + "/vol"), fstype: "bind", mount_point: ($share + "/watchable/vol")}] else . end' >"$tmp/request"
		rpc CreateContainer "@$tmp/request"
		start $c
	done
	shows() { # CONTAINER TEXT
		n=$((n + 1))
		execute $1 e$n /bin/cat /config/key
		[ "$(read_all $1 e$n)" = "$2" ]
	}
	n=0
	shows c1 one
	volume 2 two
	in_guest rm -r $share/vol/..1
	eventually shows c1 two
	[ "$(in_guest ls -A $share/watchable/vol | tr '\n' ' ')" = "..2 ..data key " ]
	# The host names it to the first container only; the second one has it nevertheless.
	remove c1
	volume 3 three
	eventually shows c2 three
	remove c2
	in_guest rm -r $share/vol
	gone() { in_guest test ! -e $share/watchable/vol; }
	eventually gone
	agent_destroy
}
