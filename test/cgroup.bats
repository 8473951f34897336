#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Which driver of control groups the agent takes and how it says so, and paths with which a host might do harm.

load helpers

setup() {
	guest_start
	span=9$$
}
teardown() {
	[ -z "$canary" ] || kill "$canary" 2>/dev/null || true
	[ -z "$listener" ] || kill "$listener" 2>/dev/null || true
	guest_stop
}

# An agent with these lines of configuration.
agent_configured() {
	printf '%s\n' "$@" >"$tmp/agent.toml"
	printf '#!/bin/sh\nexec "%s" --config "%s/agent.toml"\n' "$(realpath "$agent_program")" "$tmp" >"$tmp/agent"
	chmod +x "$tmp/agent"
	agent_program=$tmp/agent agent_start
}

# Something that accepts connections where systemd does, and says nothing.
pretend_systemd() {
	in_guest mkdir -p /run/systemd/system
	in_guest python3 -c '
import socket
s = socket.socket(socket.AF_UNIX)
s.bind("/run/systemd/private")
s.listen(16)
while True:
    s.accept()[0].close()' 3>&- &
	eventually in_guest test -S /run/systemd/private
	listener=$(guest_processes | awk '/python3/ { print $1 }')
	[ -n "$listener" ]
}
forget_systemd() {
	kill "$listener"
	listener=
	in_guest rm -r /run/systemd
	eventually no_listener
}
no_listener() { ! guest_processes | grep -q python3; }

# says DRIVER WORDS [LINE…]: record, details and version of an agent so configured.
says() {
	local driver=$1 why=$2
	shift 2
	: >"$tmp/log"
	agent_configured "$@"
	grep '"msg":"announce"' "$tmp/log" | head -n 1 | jq -e --arg driver "$driver" --arg why "$why" \
		'."cgroup-driver" == $driver and (."cgroup-driver-reason" | contains($why)) and ."init-mode" == "false"'
	rpc GetGuestDetails '{}' | jq -e --arg driver "$driver" \
		'[.. | strings | select(startswith("cgroup-driver:"))] == ["cgroup-driver:" + $driver]'
	in_guest "$(realpath "$agent_program")" --config "$tmp/agent.toml" -v -v |
		grep -F "cgroup driver: $driver (" | grep -qF "$why"
	agent_destroy
}

@test "cgroup: the driver that is chosen is told in the log, the details and the version" {
	says cgroupfs "systemd does not run here"
	says cgroupfs "systemd does not run here" 'cgroup_driver = "auto"'
	says cgroupfs "pinned cgroupfs" 'cgroup_driver = "cgroupfs"'
	says cgroupfs "pinned systemd, but it does not run here" 'cgroup_driver = "systemd"'
	says cgroupfs "systemd does not run here" 'cgroup_driver = "other"'
	pretend_systemd
	says systemd "systemd runs"
	says cgroupfs "pinned cgroupfs" 'cgroup_driver = "cgroupfs"'
	says systemd "pinned systemd" 'cgroup_driver = "systemd"'
	forget_systemd
}

# with_path ID PATH: a request for a container with that path.
create_with_path() {
	spec "$1" /bin/sleep "$span" | jq -c --arg path "$2" '.OCI.linux.cgroupsPath = $path' >"$tmp/path.json"
	rpc CreateContainer "@$tmp/path.json"
}
# The places of a container's first process, without those of hierarchies that are not for us.
places() {
	local p
	for p in $(pgrep -fx "/bin/sleep $span"); do
		sed -n 's/^[0-9]*:\(memory\|pids\|freezer\):\(.*\)/\2/p; s/^0::\(.*\)/\1/p' "/proc/$p/cgroup"
	done | sort -u
}

# A process of ours in the root of each hierarchy, and what the roots are limited to.
place_canary() {
	in_guest sh -c '
		for f in /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs; do
			[ ! -w "$f" ] || echo $$ >"$f" 2>/dev/null || true
		done
		exec sleep 999' 3>&- &
	eventually find_canary
	canary_place=$(cat "/proc/$canary/cgroup")
	roots_before=$(roots)
}
find_canary() {
	canary=$(guest_processes | awk '/^[0-9]+ sleep 999/ { print $1 }')
	[ -n "$canary" ]
}
roots() {
	local f
	for f in /sys/fs/cgroup/{,*/}{devices.list,cpuset.cpus,cpuset.mems,cpu.shares,memory.limit_in_bytes,freezer.state,memory.max,pids.max,cgroup.freeze}; do
		[ ! -r "$f" ] || echo "$f: $(cat "$f" 2>/dev/null)"
	done
}
roots_untouched() {
	kill -0 "$canary" || { echo "the process in the roots has died"; return 1; }
	[ "$(cat "/proc/$canary/cgroup")" = "$canary_place" ] || { echo "it was moved"; return 1; }
	! grep -q '^State:.T' "/proc/$canary/status" || { echo "it was stopped"; return 1; }
	[ "$(roots)" = "$roots_before" ] || { echo "the roots were changed"; return 1; }
}

@test "cgroup: whatever path is sent, the root is neither used nor limited nor killed" {
	agent_start
	place_canary
	local path id="$cgroup.id" n=0
	# Where it ends in nothing, the id is the name.
	for path in '' / // : :: ::: /: "$cgroup::" "$cgroup:a:" "$cgroup:b:c" "$cgroup:d" "$cgroup:e:f:g" "$cgroup//h" "/$cgroup/i/" \
		"$cgroup:-:j" "$cgroup/ü k"; do
		echo "path: $path"
		create_with_path "$id" "$path"
		start "$cgroup.id"
		places >"$tmp/places"
		[ -s "$tmp/places" ]
		! grep -vq "/$cgroup" "$tmp/places" || { cat "$tmp/places"; false; }
		rpc UpdateContainer "{\"container_id\":\"$id\",\"resources\":{\"pids\":{\"limit\":20},\"memory\":{\"limit\":67108864}}}"
		rpc PauseContainer "{\"container_id\":\"$id\"}"
		rpc ResumeContainer "{\"container_id\":\"$id\"}"
		remove "$id"
		[ -z "$(guest_cgroups)" ] || { guest_cgroups; false; }
		roots_untouched
	done
	kill "$canary"
	canary=
}

@test "cgroup: paths that lead elsewhere are refused with their fault, and nothing is left" {
	agent_start
	place_canary
	local path long
	long=$(printf 'x%.0s' $(seq 256))
	for path in .. ../x "/$cgroup/../x" "$cgroup:..:x" "..:$cgroup:x" "$cgroup:x:.." "/$cgroup/." "/../../$cgroup" ...:..:/; do
		fails_with 'are not allowed' create_with_path "$cgroup.id" "$path"
		roots_untouched
	done
	fails_with "longer than 255 bytes" create_with_path "$cgroup.id" "/$cgroup/$long"
	fails_with "longer than 255 bytes" create_with_path "$cgroup.id" "$cgroup:$long:x"
	fails_with "longer than 4000 bytes" create_with_path "$cgroup.id" "/$cgroup$(printf "/${long:0:200}%.0s" $(seq 20))"
	fails_with "control characters" create_with_path "$cgroup.id" "/$cgroup/a"$'\n'"b"
	# A path that is not UTF-8 does not get out of the client as such.
	spec "$cgroup.id" /bin/true | LC_ALL=C sed "s|\"cgroupsPath\":\"[^\"]*\"|\"cgroupsPath\":\"/$cgroup/"$'\xff\xfe'"\"|" >"$tmp/path.json"
	LC_ALL=C grep -q $'\xff' "$tmp/path.json"
	fails_with "" rpc CreateContainer "@$tmp/path.json"
	roots_untouched
	[ -z "$(guest_cgroups)" ]
	create_with_path "$cgroup.id" "/$cgroup/good"
	remove "$cgroup.id"
	kill "$canary"
	canary=
}

# A container that says "used" if it may open a device that is no default one: 10:237, which makes loop devices.
device_spec() {
	spec "$1" /bin/sh -c 'mknod /dev/other c 10 237 && : </dev/other && echo used' |
		jq -c --argjson linux "$2" '.OCI.process.capabilities[] += ["CAP_MKNOD", "CAP_DAC_OVERRIDE"] | .OCI.linux += $linux'
}
outcome() {
	device_spec "$@" >"$tmp/device.json"
	rpc CreateContainer "@$tmp/device.json" >/dev/null
	start "$1" >/dev/null
	read_all "$1" | tail -n 1
	remove "$1" >/dev/null
}
deny='{"resources":{"devices":[{"allow":false,"access":"rwm"}]}}'
node='{"devices":[{"path":"/dev/spare","type":"c","major":10,"minor":237}]}'

@test "cgroup: devices are restricted as the operator says" {
	agent_configured 'cgroup_devices = "auto"'
	[ "$(outcome d1 '{}')" = used ]
	[ "$(outcome d2 "$deny")" != used ]
	agent_destroy
	agent_configured 'cgroup_devices = "off"'
	[ "$(outcome d1 '{}')" = used ]
	[ "$(outcome d2 "$deny")" = used ]
	agent_destroy
	agent_configured 'cgroup_devices = "on"'
	[ "$(outcome d1 '{}')" != used ]
	[ "$(outcome d2 "$deny")" != used ]
	[ "$(outcome d3 "$node")" = used ]
	[ "$(outcome d4 '{"resources":{"devices":[{"allow":true,"type":"c","major":10,"minor":237,"access":"rwm"}]}}')" = used ]
	agent_destroy
}

@test "cgroup: w03: a systemd that hangs up fails the creation cleanly, and cgroupfs goes on" {
	agent_start
	pretend_systemd
	fails_with "start unit" create_with_path c1 "system.slice:$cgroup:c1"
	[ -z "$(guest_cgroups)" ]
	create_with_path c2 "/$cgroup/c2"
	remove c2
	forget_systemd
	create_with_path c1 "$cgroup.slice:a:c1"
	places | grep -q "$cgroup" || start c1
	remove c1
}
