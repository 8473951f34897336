# SPDX-License-Identifier: Apache-2.0
# What plays share: a guest to play in, an agent in it, and calls to that agent.
#
# The guest is a mount and a PID namespace of its own with an empty /run, so that whatever an agent
# does by mistake it does there, and everything that it leaves can be seen. It lives for one test.
#
#   load helpers
#   setup() { guest_start; }
#   teardown() { guest_stop; }        # fails the test when something was left behind
#
#   agent_start [NAME=VALUE…]         # an agent in the guest; its host pid is in $agent
#   agent_kill; agent_destroy         # SIGKILL; DestroySandbox and the check of its exit status
#   rpc METHOD [JSON]                 # one call; prints the answer, or the error on stderr
#   spec ID [-t] ARG…                 # the JSON of a CreateContainer request
#   create ID ARG…; start ID; running ID ARG…
#   read_all ID [EXEC] [ReadStderr]   # a stream to its end
#   wait_code ID [EXEC]

bats_require_minimum_version 1.5.0 2>/dev/null || true

build=${KATA_BUILD:-$BATS_TEST_DIRNAME/../build}
agent_program=$build/src/agent/kata-agent
ctl_program=$build/src/ctl/kata-agent-ctl
load_program=$build/src/agent/agent-load

guest_start() {
	tmp=$(mktemp -d /tmp/kata-play-XXXXXX)
	address=unix://$tmp/agent.sock
	cgroup=kata-play-${tmp##*-}
	rootfs=$tmp/rootfs
	agent=
	"$BATS_TEST_DIRNAME/../tools/mkrootfs" "$rootfs"
	unshare --mount --pid --fork --mount-proc --propagation private --kill-child sleep infinity 3>&- 2>/dev/null &
	guest_parent=$!
	guest=
	for _ in $(seq 100); do
		guest=$(pgrep -P "$guest_parent" -x sleep) && break
		sleep 0.05
	done
	[ -n "$guest" ]
	in_guest sh -c 'mount -t tmpfs tmpfs /run && mkdir /run/kata-containers'
	mounts_before=$(guest_mounts)
}

# A command in the guest's namespaces.
in_guest() { nsenter -t "$guest" -m -p "$@"; }
guest_mounts() { in_guest cat /proc/self/mountinfo | awk '{print $5}' | sort; }
# Processes of the guest, without its first one and those that look.
guest_processes() {
	local ns p
	ns=$(readlink "/proc/$guest/ns/pid")
	for p in /proc/[0-9]*; do
		[ "$(readlink "$p/ns/pid" 2>/dev/null)" = "$ns" ] || continue
		# Dead ones that nobody has reaped (the first process does not) have no program.
		readlink "$p/exe" >/dev/null 2>&1 || continue
		[ "${p#/proc/}" = "$guest" ] || echo "${p#/proc/} $(tr '\0' ' ' <"$p/cmdline" 2>/dev/null)"
	done
}
guest_cgroups() { [ -z "$cgroup" ] || find /sys/fs/cgroup -type d -path "*/$cgroup*" 2>/dev/null; }

# A play that valgrind is not for.
beyond_valgrind() { [[ $build != */under ]] || skip "not under valgrind: $1"; }

# Waits (up to ten seconds) for a command to succeed.
eventually() {
	local i
	for i in $(seq 200); do
		"$@" && return 0
		sleep 0.05
	done
	return 1
}

# The agent's, when it has seen that its last client is gone: counted twice alike.
descriptors() {
	local now before=
	while now=$(ls "/proc/$agent/fd" | wc -l) && [ "$now" != "$before" ]; do
		before=$now
		sleep 0.1
	done
	echo "$now"
}

agent_start() {
	[ -x "$agent_program" ] && [ -x "$ctl_program" ] || { echo "no programs in $build"; return 1; }
	env "KATA_AGENT_SERVER_ADDR=$address" KATA_AGENT_LOG_LEVEL=debug "$@" \
		nsenter -t "$guest" -m -p "$agent_program" >>"$tmp/log" 2>&1 3>&- &
	agent_parent=$!
	# Its answer, not its socket: a killed predecessor's is still there.
	eventually agent_answers
	eventually agent_find
}
agent_answers() { "$ctl_program" --server-address "$address" --timeout 2s Check >/dev/null 2>&1; }
agent_find() { agent=$(pgrep -P "$agent_parent" -x kata-agent); }
agent_kill() {
	kill -KILL "$agent"
	wait "$agent_parent" || true
	agent=
}
# The agent's exit status.
agent_wait() {
	local status=0
	wait "$agent_parent" || status=$?
	agent=
	return $status
}
agent_destroy() {
	rpc DestroySandbox
	agent_wait
}

nothing_left() {
	local left
	left=$(guest_processes)
	[ -z "$left" ] || { echo "processes left: $left"; return 1; }
	left=$(guest_mounts | comm -13 <(echo "$mounts_before") -)
	[ -z "$left" ] || { echo "mounts left: $left"; return 1; }
	left=$(guest_cgroups)
	[ -z "$left" ] || { echo "cgroups left: $left"; return 1; }
	left=$(in_guest find /run -mindepth 1 ! -path /run/kata-containers ! -path '/run/mount*')
	[ -z "$left" ] || { echo "files left: $left"; return 1; }
	[ ! -e "$tmp/agent.sock" ] || { echo "socket left"; return 1; }
}

guest_stop() {
	local status=0
	if [ -n "$agent" ]; then
		kill -TERM "$agent" 2>/dev/null
		timeout 20 tail --pid="$agent" -f /dev/null || { echo "the agent does not end"; status=1; }
		wait "$agent_parent" || { echo "the agent ended with $?"; status=1; }
	fi
	nothing_left || status=1
	if [ $status -ne 0 ] || [ -z "$BATS_TEST_COMPLETED" ]; then
		echo "--- the agent's log:"
		tail -n 40 "$tmp/log"
	fi
	if grep -q 'ERROR: .*Sanitizer\|runtime error:' "$tmp/log"; then
		grep -A 30 'Sanitizer\|runtime error:' "$tmp/log"
		status=1
	fi
	kill -KILL "$guest" 2>/dev/null
	wait "$guest_parent" 2>/dev/null
	guest_cgroups | sort -r | xargs -r rmdir 2>/dev/null
	rm -rf "$tmp"
	return $status
}

# In the background, as a process of its own that can be killed: its pid is in $client.
ctl_begin() {
	(exec "$ctl_program" --server-address "$address" "$@") 3>&- &
	client=$!
}
ctl() { "$ctl_program" --server-address "$address" "$@"; }
rpc() { ctl --timeout "${timeout:-60s}" "$@"; }

# Fails unless the command does, with $1 in what it says.
fails_with() {
	local text=$1 out
	shift
	if out=$("$@" 2>&1); then
		echo "did not fail: $*: $out"
		return 1
	fi
	[[ $out == *"$text"* ]] || { echo "\"$text\" is not in: $out"; return 1; }
}

# The arguments as a JSON list. (jq's own --args takes those that look like its options.)
json_list() { printf '%s\036' "$@" | jq -Rsc 'split("\u001e")[:-1]'; }
spec() {
	local id=$1 terminal=false
	shift
	if [ "$1" = -t ]; then terminal=true; shift; fi
	json_list "$@" | jq -c --arg id "$id" --arg root "$rootfs" --arg cgroup "/$cgroup/$id" --argjson terminal $terminal \
		'{container_id: $id, OCI: {ociVersion: "1.0.2", root: {path: $root},
		  process: {terminal: $terminal, args: ., env: ["PATH=/bin", "TERM=xterm"], cwd: "/",
		            user: {uid: 0, gid: 0},
		            capabilities: {bounding: ["CAP_KILL", "CAP_CHOWN"], effective: ["CAP_KILL", "CAP_CHOWN"],
		                           permitted: ["CAP_KILL", "CAP_CHOWN"]}},
		  mounts: [{destination: "/proc", type: "proc", source: "proc"},
		           {destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["mode=755"]},
		           {destination: "/dev/pts", type: "devpts", source: "devpts", options: ["newinstance", "ptmxmode=0666"]}],
		  linux: {cgroupsPath: $cgroup, namespaces: [{type: "mount"}, {type: "uts"}, {type: "ipc"}]}}}'
}
create() { spec "$@" >"$tmp/request.$BASHPID"; rpc CreateContainer "@$tmp/request.$BASHPID"; }
start() { rpc StartContainer "{\"container_id\":\"$1\"}"; }
running() { create "$@" && start "$1"; }
remove() { rpc RemoveContainer "{\"container_id\":\"$1\"}"; }
signal() { rpc SignalProcess "{\"container_id\":\"$1\",\"exec_id\":\"$2\",\"signal\":$3}"; }
wait_code() { rpc WaitProcess "{\"container_id\":\"$1\",\"exec_id\":\"$2\"}" | jq '.status // 0'; }
execute() {
	local id=$1 exec=$2
	shift 2
	rpc ExecProcess "$(json_list "$@" | jq -c --arg id "$id" --arg exec "$exec" \
		'{container_id: $id, exec_id: $exec, process: {Args: ., Env: ["PATH=/bin"], Cwd: "/"}}')"
}
# One read.
read_some() {
	rpc "${3:-ReadStdout}" "{\"container_id\":\"$1\",\"exec_id\":\"$2\",\"len\":${4:-32768}}" |
		jq -r '.data // ""' | base64 -d
}
read_all() {
	while :; do
		read_some "$1" "$2" "$3" >"$tmp/piece.$BASHPID"
		[ -s "$tmp/piece.$BASHPID" ] || return 0
		cat "$tmp/piece.$BASHPID"
	done
}
write_stdin() {
	rpc WriteStdin "{\"container_id\":\"$1\",\"exec_id\":\"$2\",\"data\":\"$(printf %s "$3" | base64 -w 0)\"}"
}
close_stdin() { rpc CloseStdin "{\"container_id\":\"$1\",\"exec_id\":\"$2\"}"; }
