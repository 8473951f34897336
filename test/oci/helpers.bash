# SPDX-License-Identifier: Apache-2.0
# What plays of kata-oci share: a bundle with a busybox root in a directory of its own, a state root, and a PID and mount
# namespace in which all commands run, so that a mistake stays in there and whatever is left over is seen.
#
#   setup() { stage_open; }
#   teardown() { stage_close; }       # fails the test when something was left behind
#
#   config FILTER ARG…                # bundle/config.json for the program ARG…, changed by a jq filter
#   oci COMMAND…                      # kata-oci with the stage's state root
#   status ID                         # "running", …
#   must STATUS COMMAND…              # runs, and holds the exit status against it; output in $output

bats_require_minimum_version 1.5.0 2>/dev/null || true

build=${KATA_BUILD:-$BATS_TEST_DIRNAME/../../build}
oci_program=$build/src/oci/kata-oci
tools=$BATS_TEST_DIRNAME/../../tools

stage_open() {
	stage= stage_parent= tmp= cgroup=
	[ -x "$oci_program" ] || { echo "no program at $oci_program"; return 1; }
	tmp=$(mktemp -d /tmp/kata-oci-play-XXXXXX)
	cgroup=kata-oci-play-${tmp##*-}
	bundle=$tmp/bundle
	state=$tmp/state
	chmod 755 "$tmp"
	mkdir "$bundle"
	"$tools/mkrootfs" "$bundle/rootfs"
	# Its first process must reap: a PID namespace inside does not end before all its processes were waited for.
	unshare --mount --pid --fork --mount-proc --propagation private --kill-child \
		bash -c 'while :; do sleep 3600; done' stage 3>&- 2>/dev/null &
	stage_parent=$!
	stage=
	for _ in $(seq 100); do
		stage=$(pgrep -P "$stage_parent" -x bash) && break
		sleep 0.05
	done
	[ -n "$stage" ]
}

stage_close() {
	local result=0 left id
	# Without a stage there is nothing to look for, and everything to find.
	if [ -z "$stage" ]; then
		[ -z "$stage_parent" ] || kill -KILL "$stage_parent" 2>/dev/null || true
		[ -z "$tmp" ] || rm -rf "$tmp"
		return 0
	fi
	for id in $(ls "$state" 2>/dev/null); do
		oci delete --force "$id" || true
	done
	left=$(ls "$state" 2>/dev/null)
	[ -z "$left" ] || { echo "states left: $left"; result=1; }
	left=$(find /sys/fs/cgroup -type d -path "*/$cgroup/*" 2>/dev/null)
	[ -z "$left" ] || { echo "cgroups left: $left"; result=1; }
	left=$(on_stage ps -e -o pid=,args= | grep -v -e 'sleep 3600' -e 'ps -e' || true)
	[ -z "$left" ] || { echo "processes left: $left"; result=1; }
	kill -KILL "$stage" 2>/dev/null
	wait "$stage_parent" 2>/dev/null
	find /sys/fs/cgroup -depth -type d -path "*/$cgroup*" -exec rmdir {} + 2>/dev/null
	rm -rf "$tmp"
	return $result
}

on_stage() { nsenter -t "$stage" -m -p "$@" 3>&-; }
oci() { on_stage "$oci_program" --root "$state" "$@"; }

config() {
	local filter=$1
	shift
	jq -n --arg cgroup "/$cgroup/c" '{
		ociVersion: "1.2.0", root: {path: "rootfs"}, hostname: "box",
		process: {terminal: false, user: {uid: 0, gid: 0}, args: $ARGS.positional, cwd: "/",
			env: ["PATH=/bin:/sbin:/usr/bin"],
			capabilities: {bounding: ["CAP_KILL"], effective: ["CAP_KILL"], permitted: ["CAP_KILL"]}},
		mounts: [{destination: "/proc", type: "proc", source: "proc"},
			{destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"]},
			{destination: "/dev/pts", type: "devpts", source: "devpts",
				options: ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}],
		linux: {cgroupsPath: $cgroup, namespaces: [{type: "pid"}, {type: "ipc"}, {type: "uts"}, {type: "mount"},
			{type: "network"}]}
	} | '"$filter" --args -- "$@" >"$bundle/config.json"
}

beyond_valgrind() { [[ $build != */under ]] || skip "not under valgrind: $1"; }

status() { oci state "$1" | jq -r .status; }

must() {
	local wanted=$1 got=0
	shift
	# Through a file: a container that lives on has its output open.
	"$@" >"$tmp/output" 2>&1 </dev/null || got=$?
	output=$(cat "$tmp/output")
	echo "$output"
	[ "$got" -eq "$wanted" ] || { echo "exit status $got, expected $wanted: $*"; return 1; }
}

# A configuration changed by FILTER is refused with TEXT, and nothing is left of it.
refused() { # FILTER TEXT
	config "$1" true
	must 1 oci create -b "$bundle" c
	[[ $output == *"$2"* ]] || return 1
	[ -z "$(ls "$state")" ]
}

# Waits (up to ten seconds) for a command to succeed.
eventually() {
	local i
	for i in $(seq 200); do
		"$@" && return 0
		sleep 0.05
	done
	return 1
}
has_status() { [ "$(status "$1")" = "$2" ]; }

# A running container that sleeps.
sleeper() {
	config . sleep 300
	oci run --detach --bundle "$bundle" "$1" </dev/null >/dev/null
}
