#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Streams that the host passes through and that do not come: no host is at hand here, only a port to listen on, so every
# request that names streams waits for them. What becomes of it when its caller does not wait so long.

load helpers

setup() {
	guest_start
	python3 -c 'import socket; socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)' || skip "no vsock here"
	# The agent with a configuration file; its program's name is what the helpers look for.
	real=$agent_program
	echo "passfd_listener_port = $((40000 + RANDOM % 20000))" >"$tmp/config.toml"
	printf '#!/bin/sh\nexec "%s" --config "%s"\n' "$real" "$tmp/config.toml" >"$tmp/agent"
	chmod +x "$tmp/agent"
	agent_program=$tmp/agent
	agent_start
}
teardown() { guest_stop; }

exec_request() { # ID EXEC
	echo "{\"container_id\":\"$1\",\"exec_id\":\"$2\",\"stdin_port\":7,\"stdout_port\":8,\"stderr_port\":9,
		\"process\":{\"Args\":[\"/bin/true\"],\"Cwd\":\"/\"}}"
}
as_before() { [ "$(descriptors)" = "$before" ]; }
no_exec() { ! rpc WaitProcess "{\"container_id\":\"c1\",\"exec_id\":\"$1\"}" 2>/dev/null; }

# All that is left of it, after whatever it waited for would have ended, too.
nothing_of_it() {
	eventually no_exec e1
	sleep 2.2
	fails_with "process not found" rpc WaitProcess '{"container_id":"c1","exec_id":"e1"}'
	eventually as_before
	execute c1 e1 /bin/echo again
	[ "$(read_all c1 e1)" = again ]
	[ "$(wait_code c1 e1)" = 0 ]
}

@test "passthrough: an exec that waits for its streams, and a client that vanishes" {
	running c1 /bin/sleep 1000
	before=$(descriptors)
	for signal in KILL TERM; do
		exec_request c1 e1 >"$tmp/exec"
		ctl_begin ExecProcess "@$tmp/exec"
		eventually fails_with "already exists" rpc ExecProcess "@$tmp/exec"
		kill -$signal "$client"
		wait "$client" || true
		nothing_of_it
	done
}

@test "passthrough: an exec that waits for its streams beyond its deadline" {
	running c1 /bin/sleep 1000
	before=$(descriptors)
	exec_request c1 e1 >"$tmp/exec"
	timeout=300ms fails_with "DEADLINE" rpc ExecProcess "@$tmp/exec"
	nothing_of_it
	# And one that does not come in time.
	fails_with "no connection from port 9 for stderr" rpc ExecProcess "@$tmp/exec"
	nothing_of_it
}

@test "passthrough: many such clients at once, and a container that goes under them" {
	running c1 /bin/sleep 1000
	clients=
	for i in $(seq 20); do
		exec_request c1 "x$i" >"$tmp/exec.$i"
		ctl_begin ExecProcess "@$tmp/exec.$i"
		clients="$clients $client"
	done
	sleep 0.3
	kill -KILL ${clients%"${clients#* * * * * * * * * *}"}
	rpc RemoveContainer '{"container_id":"c1"}'
	for client in $clients; do wait "$client" || true; done
	rpc Check
}

@test "passthrough: a creation that waits for its streams, and a client that vanishes" {
	spec c1 /bin/sleep 1000 | jq -c '.stdout_port = 8' >"$tmp/request"
	before=$(descriptors)
	ctl_begin CreateContainer "@$tmp/request"
	sleep 0.3
	kill -KILL "$client"
	wait "$client" || true
	sleep 2.2
	eventually as_before
	running c1 /bin/true
	[ "$(wait_code c1)" = 0 ]
}
