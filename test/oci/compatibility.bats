#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Habits that the OCI world shares without a specification: each of these was found by another runtime's own suite.

load helpers
setup() { stage_open; }
teardown() { stage_close; }

lines() { wc -l <<<"$output"; }
cgroup_v2() { [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; }

@test "exec goes into a created container" {
	config . true
	must 0 oci create --bundle "$bundle" c
	must 0 oci exec c hostname
	[ "$output" = box ]
	has_status c created
	must 0 oci start c
}

@test "exec --cgroup joins nested cgroups that are there, and nothing outside" {
	local controller=memory tree=/sys/fs/cgroup/memory own
	sleeper c
	if cgroup_v2; then controller= tree=/sys/fs/cgroup; fi
	[ -d "$tree/$cgroup/c" ] || skip "no $tree"
	own=$cgroup/c
	mkdir "$tree/$own/inner"
	must 0 oci exec --cgroup inner c true
	must 0 oci exec --cgroup /inner c cat /proc/self/cgroup
	[ "$(grep -c "/$own/inner\$" <<<"$output")" = 1 ]
	must 0 oci exec --cgroup / c cat /proc/self/cgroup
	[ -z "$(grep inner <<<"$output")" ]
	must 255 oci exec --cgroup missing c true
	[[ $output == *" adding pid "*"No such file or directory"* ]]
	must 255 oci exec --cgroup inner/../.. c true
	[[ $output == *"bad sub cgroup path"* ]]
	must 255 oci exec --cgroup nothing:/ c true
	[[ $output == *"unknown controller nothing"* ]]
	if [ -n "$controller" ]; then
		must 0 oci exec --cgroup memory:inner --cgroup pids:/ c cat /proc/self/cgroup
		grep -q "memory:.*/$own/inner\$" <<<"$output"
		[ -z "$(grep "pids:.*inner" <<<"$output")" ]
		must 255 oci exec --cgroup memory:inner --cgroup memory:/ c true
		[[ $output == *"named twice"* ]]
	fi
}

@test "KILL is for everybody where the pid namespace is shared" {
	config '.linux.namespaces |= map(select(.type != "pid"))' sleep 300
	oci run --detach --bundle "$bundle" c </dev/null >/dev/null
	must 0 oci exec --detach --pid-file "$tmp/pid" c sleep 301
	must 0 oci kill c KILL
	eventually has_status c stopped
	eventually all_gone
	must 0 oci delete c
	# Also when init went before.
	oci run --detach --bundle "$bundle" --pid-file "$tmp/init" c </dev/null >/dev/null
	must 0 oci exec --detach c sleep 301
	on_stage kill -KILL "$(cat "$tmp/init")"
	eventually has_status c stopped
	must 0 oci kill c KILL
	eventually all_gone
}

all_gone() { [ -z "$(on_stage pgrep -f 'sleep 30[01]')" ]; }

@test "list: by name, JSON on one line, and a root that is given must be there" {
	for id in b c a; do sleeper_at $id; done
	must 0 oci list -q
	[ "$output" = $'a\nb\nc' ]
	must 0 oci list --format json
	[ "$(lines)" = 1 ]
	[[ $output == '[{"ociVersion":"'*'","id":"a","pid":'* ]]
	must 1 on_stage "$oci_program" --root "$tmp/nowhere" list
	[[ $output == *ENOENT* ]]
}
sleeper_at() {
	config ".linux.cgroupsPath = \"/$cgroup/$1\"" sleep 300
	oci run --detach --bundle "$bundle" "$1" </dev/null >/dev/null
}

@test "a terminal in the foreground adds no carriage returns" {
	config '.process.terminal = true' sh -c 'echo one; echo two'
	must 0 oci run --bundle "$bundle" c
	[ "$output" = $'one\ntwo' ]
	sleeper c
	must 0 oci exec --tty c echo three
	[ "$output" = three ]
}

@test "every command has help" {
	local command
	for command in create delete events exec features kill list pause ps resume run spec start state stats update; do
		must 0 oci $command --help
		[[ $output == "usage: kata-oci "*" $command "* ]]
		must 0 oci $command -h
	done
}

@test "warnings are told on stderr, or in the log" {
	config '.process.capabilities.ambient = ["CAP_KILL"]' true
	must 0 oci run --bundle "$bundle" c
	[[ $output == 'time="'*' level=warning msg='*CAP_KILL* ]]
	must 0 oci --log "$tmp/log" run --bundle "$bundle" c
	[ -z "$output" ]
	grep -q '^time=".*" level=warning msg="' "$tmp/log"
	must 0 oci --log "$tmp/json" --log-format json --debug run --bundle "$bundle" c
	jq -se 'map(.level) | index("warning") and index("debug")' "$tmp/json"
	jq -se 'all(has("time") and has("msg"))' "$tmp/json"
}

@test "hooks without an environment: the runtime's, or in the container the payload's" {
	config '.process.env += ["WORD=inner"] | .hooks = {
		createRuntime: [{path: "/bin/sh", args: ["sh", "-c", "echo $WORD >'"$tmp"'/outside"]}],
		startContainer: [{path: "/bin/sh", args: ["sh", "-c", "echo $WORD $HOME >/inside"]}]}' true
	must 0 on_stage env WORD=outer "$oci_program" --root "$state" run --bundle "$bundle" c
	[ "$(cat "$tmp/outside")" = outer ]
	[ "$(cut -d' ' -f1 "$bundle/rootfs/inside")" = inner ]
	config '.hooks = {createRuntime: [{path: "/bin/sh", env: ["A=b"],
		args: ["sh", "-c", "echo $A:$WORD >'"$tmp"'/outside"]}]}' true
	must 0 on_stage env WORD=outer "$oci_program" --root "$state" run --bundle "$bundle" c
	[ "$(cat "$tmp/outside")" = b: ]
}

@test "exec --cap is ambient, too, where something is inheritable" {
	config '.process.capabilities |= (.inheritable = ["CAP_CHOWN"] | .bounding += ["CAP_CHOWN"])' sleep 300
	oci run --detach --bundle "$bundle" c </dev/null >/dev/null
	must 0 oci exec --cap CAP_CHOWN c grep -E 'Cap(Eff|Amb)' /proc/self/status
	[ "$(awk '{ print $2 }' <<<"$output" | paste -sd' ')" = "0000000000000021 0000000000000001" ]
}

@test "an empty HOME is none" {
	config '.process.env += ["HOME=/elsewhere", "HOME="]' sh -c 'echo "[$HOME]"'
	must 0 oci run --bundle "$bundle" c
	[[ $output == "[/"* ]]
	[ "$output" != "[/elsewhere]" ]
}

@test "what is asked for twice, or comes by itself, is no error" {
	config '.linux.devices = [{path: "/dev/ptmx", type: "c", major: 5, minor: 2}]
		| .linux.maskedPaths = ["/tmp", "/tmp"]' sh -c 'grep -c " /tmp " /proc/self/mountinfo; readlink /dev/ptmx'
	must 0 oci run --bundle "$bundle" c
	[ "$output" = $'1\npts/ptmx' ]
}

@test "spec asks for a cgroup namespace only where there is one tree" {
	must 0 oci spec --bundle "$tmp"
	if cgroup_v2; then
		jq -e '[.linux.namespaces[].type] | index("cgroup")' "$tmp/config.json"
	else
		jq -e '[.linux.namespaces[].type] | index("cgroup") == null' "$tmp/config.json"
	fi
}

@test "a tmpfs without a mode takes that of the directory that it covers" {
	mkdir -m 0710 "$bundle/rootfs/over"
	config '.mounts += [{destination: "/over", type: "tmpfs", source: "tmpfs", options: ["nodev"]}]' stat -c %a /over
	must 0 oci run --bundle "$bundle" c
	[ "$output" = 710 ]
	config '.mounts += [{destination: "/over", type: "tmpfs", source: "tmpfs", options: ["mode=0750"]}]' stat -c %a /over
	must 0 oci run --bundle "$bundle" c
	[ "$output" = 750 ]
}

@test "startContainer hooks run under the payload's filter" {
	config '.hooks = {startContainer: [{path: "/bin/mkdir", args: ["mkdir", "/made"]}]} | .linux.seccomp = {
		defaultAction: "SCMP_ACT_ALLOW",
		syscalls: [{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_KILL_PROCESS"}]}' true
	must 1 oci run --bundle "$bundle" c
	[[ $output == *"error running startContainer hook"*"bad system call"* ]]
	[ ! -e "$bundle/rootfs/made" ]
}
