#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The network as a host sets it, before there is a sandbox. The guest has a network namespace of its own, with two NICs
# that are one end of a veth pair each.

load helpers

setup() {
	ip link help 2>&1 | grep -q veth || skip "no ip(8)"
	guest_start
	unshare --net sleep infinity 3>&- &
	netns=$!
	eventually in_another_network
	net ip link set lo up
	nic eth0 0a:58:0a:58:00:05
	nic eth1 0a:58:0a:58:00:06
}

teardown() {
	[ -n "$netns" ] || return 0
	local status=0
	guest_stop || status=1
	kill "$netns"
	wait "$netns" || true
	return $status
}

in_another_network() { [ "$(readlink "/proc/$netns/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
net() { nsenter -t "$netns" -n "$@"; }
nic() {
	net ip link add "$1" address "$2" type veth peer name "host-$1"
	net ip link set "host-$1" up
}

# As agent_start, in that network.
netagent_start() {
	env "KATA_AGENT_SERVER_ADDR=$address" KATA_AGENT_LOG_LEVEL=debug "$@" \
		nsenter -t "$netns" -n nsenter -t "$guest" -m -p "$agent_program" >>"$tmp/log" 2>&1 3>&- &
	agent_parent=$!
	eventually test -S "$tmp/agent.sock"
	eventually agent_find
}

interface() { # NAME MAC MTU FLAGS ADDRESS…
	local name=$1 mac=$2 mtu=$3 flags=$4
	shift 4
	jq -nc --arg name "$name" --arg mac "$mac" --argjson mtu "$mtu" --argjson flags "$flags" \
		'{interface: {device: $name, name: $name, hwAddr: $mac, mtu: $mtu, raw_flags: $flags, type: "virtual",
		  IPAddresses: [$ARGS.positional[] | split("/") | {address: .[0], mask: .[1]}]}}' --args "$@"
}
update() { rpc UpdateInterface "$(interface "$@")"; }
link() { net ip -j link show "$1" | jq -c '.[0]'; }
has_address() { net ip -j addr show "$1" | jq -e --arg a "$2" 'any(.[0].addr_info[]; "\(.local)/\(.prefixlen)" == $a)'; }

@test "network: a pod of two families, as the Go shim sets it up" {
	netagent_start
	update eth0 0a:58:0a:58:00:05 1400 0 10.88.0.5/16 fd00:88::5/64 fe80::858:aff:fe58:5/64
	[ "$(link eth0 | jq .mtu)" = 1400 ]
	link eth0 | jq -e '.flags | index("UP")'
	has_address eth0 10.88.0.5/16
	# Of use at once: no duplicate address detection.
	[ -z "$(net ip -6 addr show dev eth0 tentative)" ]
	answer=$(rpc UpdateRoutes '{"routes":{"Routes":[
		{"dest":"0.0.0.0/0","gateway":"10.88.0.1","device":"eth0","source":"10.88.0.5"},
		{"dest":"::/0","gateway":"fd00:88::1","device":"eth0","family":"v6","source":"fd00:88::5"}]}}')
	jq -e 'any(.Routes[]; .dest == "0.0.0.0/0" and .gateway == "10.88.0.1" and .device == "eth0" and .source == "10.88.0.5")' <<<"$answer"
	jq -e 'any(.Routes[]; .dest == "::/0" and .gateway == "fd00:88::1" and .family == "v6")' <<<"$answer"
	[[ $(net ip route get 1.1.1.1) == *"via 10.88.0.1 dev eth0 src 10.88.0.5"* ]]
	[[ $(net ip route get 2001:db8::1) == *"via fd00:88::1 dev eth0"*"src fd00:88::5"* ]]
	[ "$(rpc AddARPNeighbors '{"neighbors":{"ARPNeighbors":[
		{"toIPAddress":{"address":"10.88.0.1"},"device":"eth0","lladdr":"8a:11:22:33:44:55","state":128}]}}')" = '{}' ]
	[[ $(net ip neigh show 10.88.0.1) == *"lladdr 8a:11:22:33:44:55 PERMANENT"* ]]
	# Then comes the sandbox.
	rpc CreateSandbox '{"sandbox_id":"s1","hostname":"one"}'
	agent_destroy
}

@test "network: the answer is the interface of the request" {
	netagent_start
	request=$(interface eth0 0a:58:0a:58:00:05 1500 0 10.88.0.5/16)
	[ "$(rpc UpdateInterface "$request" | jq -cS 'del(.devicePath) | .IPAddresses |= map(del(.family))')" = "$(jq -cS .interface <<<"$request")" ]
}

@test "network: repeated calls change nothing" {
	netagent_start
	for _ in 1 2 3; do
		update eth0 0a:58:0a:58:00:05 1400 128 10.88.0.5/16 fd00:88::5/64
		rpc UpdateRoutes '{"routes":{"Routes":[{"dest":"","gateway":"10.88.0.1","device":"eth0"}]}}'
		link eth0 | jq -e '.flags | index("NOARP")'
		[ "$(net ip route show default | wc -l)" = 1 ]
		[ "$(net ip addr show dev eth0 | grep -c 'inet ')" = 1 ]
	done
	# And the other way round.
	update eth0 0a:58:0a:58:00:05 0 0
	link eth0 | jq -e '.flags | index("NOARP") | not'
	[ "$(link eth0 | jq .mtu)" = 1400 ]
	has_address eth0 10.88.0.5/16
}

@test "network: interfaces that arrived in another order than named swap their names" {
	netagent_start
	update eth0 0a:58:0a:58:00:06 1500 0 10.2.0.1/24
	update eth1 0a:58:0a:58:00:05 1500 0 10.1.0.1/24
	[ "$(link eth0 | jq -r .address)" = 0a:58:0a:58:00:06 ]
	[ "$(link eth1 | jq -r .address)" = 0a:58:0a:58:00:05 ]
	has_address eth0 10.2.0.1/24
	has_address eth1 10.1.0.1/24
	for name in eth0 eth1; do link $name | jq -e '.flags | index("UP")'; done
}

@test "network: what is missing, empty or wrong" {
	netagent_start
	fails_with "INVALID_ARGUMENT: empty update interface request" rpc UpdateInterface '{}'
	fails_with "INVALID_ARGUMENT: empty update routes request" rpc UpdateRoutes '{}'
	fails_with "INVALID_ARGUMENT: empty add arp neighbours request" rpc AddARPNeighbors '{}'
	# Present and empty is something else.
	rpc UpdateRoutes '{"routes":{}}' | jq -e '.Routes'
	[ "$(rpc AddARPNeighbors '{"neighbors":{}}')" = '{}' ]
	fails_with "INTERNAL: update interface:" rpc UpdateInterface '{"interface":{}}'
	# The hosts' word for "try again", after the time for hot-plugging.
	fails_with "update interface: Link not found (Address: 0a:58:0a:58:00:99)" update eth0 0a:58:0a:58:00:99 1500 0
	fails_with "INTERNAL: Invalid PCI path for network interface: zz" rpc UpdateInterface \
		'{"interface":{"name":"eth0","hwAddr":"0a:58:0a:58:00:05","devicePath":"zz"}}'
	fails_with "INTERNAL: interface not available: Link not found" rpc UpdateInterface \
		'{"interface":{"name":"eth0","hwAddr":"0a:58:0a:58:00:05","devicePath":"1f/1f/1f"}}'
	fails_with "Failed to update routes: " rpc UpdateRoutes \
		'{"routes":{"Routes":[{"dest":"10.0.0.0/8","gateway":"1.2.3.4","device":"eth9"}]}}'
	fails_with "Failed to add ARP neighbours: " rpc AddARPNeighbors \
		'{"neighbors":{"ARPNeighbors":[{"toIPAddress":{"address":"x"},"device":"eth0"}]}}'
	# A deadline ends the wait; a late link finds nobody.
	timeout=500ms fails_with "timeout" update eth0 0a:58:0a:58:00:99 1500 0
	[ "$(link eth0 | jq -r .operstate)" = DOWN ]
}

@test "network: a link that comes while it is waited for, and others that do not wait" {
	netagent_start
	update eth9 0a:58:0a:58:00:99 1500 0 10.9.0.1/24 >"$tmp/answer" 3>&- &
	late=$!
	sleep 0.3
	rpc ListInterfaces | jq -e '[.Interfaces[].name] | index("eth9") | not'
	nic new0 0a:58:0a:58:00:99
	wait $late
	has_address eth9 10.9.0.1/24
}

@test "network: a failed step leaves the link as it was" {
	netagent_start
	before=$(net ip -j addr show | jq -cS .)
	fails_with "mtu" update eth1 0a:58:0a:58:00:05 20 0 10.88.0.5/16
	fails_with "add address ff02::1/64" update eth1 0a:58:0a:58:00:05 1400 128 10.88.0.5/16 ff02::1/64
	[ "$(net ip -j addr show | jq -cS .)" = "$before" ]
}

@test "network: lists" {
	netagent_start
	update eth0 0a:58:0a:58:00:05 1400 0 10.88.0.5/16 fd00:88::5/64
	list=$(rpc ListInterfaces)
	[ "$(jq -c '.Interfaces[] | select(.name == "eth0") | [.hwAddr, .mtu, .IPAddresses[0].address, .IPAddresses[0].mask, .IPAddresses[0].family, .IPAddresses[1].family]' <<<"$list")" = '["0a:58:0a:58:00:05",1400,"10.88.0.5","16","v4","v6"]' ]
	jq -e '[.Interfaces[].name] | index("lo") == 0' <<<"$list"
	rpc ListRoutes | jq -e 'any(.Routes[]; .dest == "10.88.0.0/16" and .device == "eth0" and .scope == 253)'
}

@test "network: many at once" {
	netagent_start
	pids=()
	for i in $(seq 20); do
		update eth0 0a:58:0a:58:00:05 $((1300 + i)) 0 10.88.0.5/16 >/dev/null 3>&- & pids+=($!)
		update eth1 0a:58:0a:58:00:06 1500 0 10.89.0.5/16 >/dev/null 3>&- & pids+=($!)
		rpc ListRoutes >/dev/null 3>&- & pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid"; done
	has_address eth0 10.88.0.5/16
	has_address eth1 10.89.0.5/16
}
