#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The life of a container as a runtime's callers see it: statuses, exit codes, errors, and what is left behind.

load helpers
setup() { stage_open; }
teardown() { stage_close; }

@test "create, start, kill, delete, with the statuses between" {
	config . sleep 300
	must 0 oci create --bundle "$bundle" --pid-file "$tmp/pid" c
	[ "$(status c)" = created ]
	[ "$(oci state c | jq .pid)" = "$(cat "$tmp/pid")" ]
	[ "$(oci state c | jq -r .bundle)" = "$bundle" ]
	must 0 oci start c
	[ "$(status c)" = running ]
	must 0 oci kill c KILL
	eventually has_status c stopped
	[ "$(oci state c | jq .pid)" = 0 ]
	must 0 oci delete c
	must 1 oci state c
	[[ $output == *'container "c" does not exist'* ]]
}

@test "run tells the program's output and its exit status" {
	config . sh -c 'echo out; echo err >&2; exit 42'
	local status=0
	oci run -b "$bundle" c >"$tmp/out" 2>"$tmp/err" </dev/null || status=$?
	[ $status -eq 42 ]
	[ "$(cat "$tmp/out")" = out ]
	[ "$(cat "$tmp/err")" = err ]
	[ -z "$(ls "$state")" ]
}

@test "run reads its stdin, and tells a signal as 128 and its number" {
	config . sh -c 'read x; echo "got $x"; kill -TERM $$'
	local status=0
	echo word | oci run -b "$bundle" c >"$tmp/out" || status=$?
	# The first process of a PID namespace ignores what it has no handler for.
	[ "$(cat "$tmp/out")" = "got word" ]
	[ $status -eq 0 ]
	config . sh -c 'sh -c "kill -SEGV \$\$"; exit $?'
	must 139 oci run -b "$bundle" c
}

@test "run forwards signals and removes the container afterwards" {
	config . sh -c 'trap "echo term; exit 9" TERM; echo ready; while :; do sleep 0.1; done'
	oci run -b "$bundle" c >"$tmp/out" 2>&1 </dev/null &
	local job=$! runtime status=0
	eventually grep -q ready "$tmp/out"
	runtime=$(pgrep -x kata-oci --ns "$stage" --nslist pid)
	kill -TERM "$runtime"
	wait $job || status=$?
	[ $status -eq 9 ]
	grep -q term "$tmp/out"
	must 1 oci state c
}

@test "run --keep leaves the stopped container" {
	config . true
	must 0 oci run --keep -b "$bundle" c
	[ "$(status c)" = stopped ]
	must 0 oci delete c
}

@test "the configuration of the time of create counts" {
	config '.annotations = {"a": "before"}' sleep 300
	must 0 oci create -b "$bundle" c
	config '.annotations = {"a": "after"}' false
	[ "$(oci state c | jq -r .annotations.a)" = before ]
	must 0 oci start c
	[ "$(status c)" = running ]
}

@test "an id is taken once" {
	sleeper c
	must 1 oci create -b "$bundle" c
	[[ $output == *"already exists"* ]]
	[ "$(status c)" = running ]
	must 1 oci create -b "$bundle" 'bad/id'
	must 1 oci create -b "$bundle" '..'
	must 1 oci state ''
}

@test "what a killed create leaves is no container, and in nobody's way" {
	mkdir -p "$state/c/notify"
	touch "$state/c/gate"
	must 1 oci state c
	config . true
	must 0 oci run -b "$bundle" c
	mkdir -p "$state/d"
	must 0 oci delete --force d
	[ ! -e "$state/d" ]
}

@test "two creates of one id: one wins" {
	config . sleep 300
	local i won=0 jobs=()
	for i in 1 2 3 4; do
		oci create -b "$bundle" c </dev/null >/dev/null 2>&1 &
		jobs+=($!)
	done
	for i in "${jobs[@]}"; do wait "$i" && won=$((won + 1)); done
	[ $won -eq 1 ]
	[ "$(status c)" = created ]
}

@test "start twice, and after the end" {
	sleeper c
	must 1 oci start c
	[[ $output == *"already running"* ]]
	oci kill c 9
	eventually has_status c stopped
	must 1 oci start c
	[[ $output == *stopped* ]]
}

@test "a created container can be deleted; a running one only by force" {
	config . sleep 300
	oci create -b "$bundle" c </dev/null
	must 0 oci delete c
	sleeper c
	must 1 oci delete c
	[[ $output == *"not stopped"* ]]
	must 0 oci delete --force c
	must 0 oci delete --force c
	must 1 oci delete c
	[[ $output == *"does not exist"* ]]
}

@test "kill ends a container that waits for its start, and start gives the signals back" {
	local signal
	config . sleep 300
	for signal in TERM INT HUP QUIT; do
		must 0 oci create -b "$bundle" c
		must 0 oci kill c $signal
		eventually has_status c stopped
		must 0 oci delete c
	done
	must 0 oci create -b "$bundle" c
	must 0 oci start c
	on_stage grep -q '^SigCgt:[[:space:]]*0*$' "/proc/$(oci state c | jq .pid)/status"
	must 0 oci delete --force c
}

@test "kill: names of signals, a stopped container, --all" {
	config . sh -c 'trap "echo usr1" USR1; echo ready; while :; do sleep 0.1; done'
	oci run -d -b "$bundle" c </dev/null >"$tmp/out"
	eventually grep -q ready "$tmp/out"
	must 0 oci kill c SIGUSR1
	eventually grep -q usr1 "$tmp/out"
	must 0 oci kill c 0
	must 1 oci kill c NOSUCHSIGNAL
	must 1 oci kill nobody
	[[ $output == *"does not exist"* ]]
	must 0 oci kill --all c KILL
	eventually has_status c stopped
	must 1 oci kill c
	[[ $output == *"container not running"* ]]
}

@test "pause and resume" {
	config . sh -c 'i=0; while :; do i=$((i+1)); echo $i >/tmp/count; sleep 0.02; done'
	oci run -d -b "$bundle" c </dev/null >/dev/null
	eventually test -s "$bundle/rootfs/tmp/count"
	must 0 oci pause c
	[ "$(status c)" = paused ]
	local before
	before=$(cat "$bundle/rootfs/tmp/count")
	sleep 0.3
	[ "$(cat "$bundle/rootfs/tmp/count")" = "$before" ]
	must 1 oci pause c
	must 255 oci exec c true
	[[ $output == *paused* ]]
	# It waits for the container to go on, and is in nobody's way meanwhile.
	oci exec --ignore-paused c echo at last </dev/null >"$tmp/waiting" 3>&- &
	local job=$!
	sleep 0.5
	[ ! -s "$tmp/waiting" ]
	[ "$(status c)" = paused ]
	must 0 oci resume c
	wait $job
	[ "$(cat "$tmp/waiting")" = "at last" ]
	[ "$(status c)" = running ]
	changed() { [ "$(cat "$bundle/rootfs/tmp/count")" != "$before" ]; }
	eventually changed
	must 1 oci resume c
	oci pause c
	must 0 oci delete --force c
}

@test "list: table, json, quiet" {
	mkdir "$state"
	must 0 oci list
	[[ $output == ID*PID*STATUS* ]]
	sleeper one
	config '.linux.cgroupsPath += "2"' sleep 300
	oci create -b "$bundle" two </dev/null
	[ "$(oci list -q | sort | tr '\n' ' ')" = "one two " ]
	[ "$(oci list -f json | jq -r 'sort_by(.id)[] | .id + ":" + .status' | tr '\n' ' ')" = "one:running two:created " ]
	oci list | grep -Eq '^one +[0-9]+ +running'
}

@test "ps: pids of the container, with ps's own columns" {
	sleeper c
	local pid
	pid=$(oci state c | jq .pid)
	[ "$(oci ps -f json c)" = "[$pid]" ]
	oci ps c | grep -Eq "^[^ ]+ +$pid .*sleep 300"
	[ "$(oci ps c | wc -l)" -eq 2 ]
}

@test "update and statistics" {
	sleeper c
	must 0 oci update --memory 64m --pids-limit 77 --cpu-shares 512 c
	[ "$(oci events --stats c | jq .data.memory.usage.limit)" = 67108864 ]
	[ "$(oci events --stats c | jq .data.pids.limit)" = 77 ]
	echo '{"pids": {"limit": 55}}' | oci update -r - c
	[ "$(oci stats c | jq .data.pids.limit)" = 55 ]
	[ "$(oci stats c | jq -r '.type + .id')" = statsc ]
	must 1 oci update --memory much c
	[[ $output == *"--memory"* ]]
	must 1 oci update --pids-limit 1 nobody
}

@test "events end with the container" {
	sleeper c
	oci events --interval 100ms c >"$tmp/events" &
	local job=$!
	eventually grep -q '"type":"stats"' "$tmp/events"
	oci kill c KILL
	wait $job
	jq -e . "$tmp/events" >/dev/null
}

@test "a spec to begin with runs" {
	must 0 oci spec --bundle "$bundle"
	must 1 oci spec --bundle "$bundle"
	[[ $output == *"config.json exists"* ]]
	jq --arg cgroup "/$cgroup/c" '.process.terminal = false | .process.args = ["id", "-u"] | .linux.cgroupsPath = $cgroup' \
		"$bundle/config.json" >"$tmp/config"
	mv "$tmp/config" "$bundle/config.json"
	must 0 oci run -b "$bundle" c
	[ "$output" = 0 ]
}

@test "features is what the runtime-spec asks for" {
	[ "$(oci features | jq -r .ociVersionMax)" = 1.3.0 ]
	oci features | jq -e '.linux.namespaces | index("time")' >/dev/null
	oci features | jq -e '.linux.seccomp.enabled' >/dev/null
}
