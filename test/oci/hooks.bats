#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Hooks: which, when, with what; and what becomes of a container whose hook fails.

load helpers
setup() { stage_open; }
teardown() { stage_close; }

# hook KIND COMMAND: a jq filter that adds a hook, whose name is put in front of its state on the way to $tmp/hooks.
hook() {
	printf '.hooks.%s += [{path: "/bin/sh", args: ["sh", "-c", "%s"], env: ["PATH=/bin:/usr/bin"]}]' "$1" "$2"
}
record() { hook "$1" "(echo -n $1' '; cat; echo) >>$tmp/hooks"; }
recorded() { awk '{print $1}' "$tmp/hooks" | tr '\n' ' '; }

@test "all hooks, in order, with the container's state" {
	mkdir -p "$bundle/rootfs$tmp"
	config "$(record prestart) | $(record createRuntime) | $(record createContainer) | $(record poststart) | $(record poststop)" sleep 300
	oci create -b "$bundle" c </dev/null
	[ "$(recorded)" = "prestart createRuntime createContainer " ]
	sed -n 's/^createRuntime //p' "$tmp/hooks" | jq -e '.id == "c" and .status == "creating" and .pid > 0 and .bundle == "'"$bundle"'"'
	oci start c
	[ "$(recorded)" = "prestart createRuntime createContainer poststart " ]
	sed -n 's/^poststart //p' "$tmp/hooks" | jq -e '.status == "running"'
	oci delete --force c
	[ "$(recorded)" = "prestart createRuntime createContainer poststart poststop " ]
	sed -n 's/^poststop //p' "$tmp/hooks" | jq -e '.status == "stopped"'
}

@test "startContainer runs in the container, before its program" {
	config "$(hook startContainer 'hostname >/tmp/name')" sh -c 'cat /tmp/name'
	must 0 oci run -b "$bundle" c
	[ "$output" = box ]
}

@test "a hook that fails ends the create, and nothing is left" {
	config "$(hook createRuntime 'echo no such device >&2; exit 3')" true
	must 1 oci create -b "$bundle" c
	[[ $output == *createRuntime*"exit status 3"*"no such device"* ]]
	[ -z "$(ls "$state")" ]
	config "$(hook prestart 'exit 2')" true
	must 1 oci create -b "$bundle" c
	[[ $output == *prestart*"exit status 2"* ]]
	[ -z "$(ls "$state")" ]
	config "$(hook createContainer 'exit 4')" true
	must 1 oci create -b "$bundle" c
	[[ $output == *createContainer*"exit status 4"* ]]
	[ -z "$(ls "$state")" ]
}

@test "a failing startContainer or poststart hook fails the start; a failing poststop hook does not fail the delete" {
	config "$(hook startContainer 'exit 5')" true
	oci create -b "$bundle" c </dev/null
	must 1 oci start c
	[[ $output == *startContainer*"exit status 5"* ]]
	has_status c stopped
	must 0 oci delete c
	config "$(hook poststart 'exit 6') | $(hook poststop 'exit 7')" sleep 300
	oci create -b "$bundle" c </dev/null
	must 1 oci start c
	[[ $output == *poststart*"exit status 6"* ]]
	has_status c stopped
	must 0 oci delete c
}

@test "a failed poststart hook ends all that the container has started, also without a PID namespace of its own" {
	config "$(hook poststart 'sleep 0.2; exit 6') | .linux.namespaces |= map(select(.type != \"pid\"))" \
		sh -c 'setsid sleep 299 & exec sleep 298'
	oci create -b "$bundle" c </dev/null
	must 1 oci start c
	has_status c stopped
	[ -z "$(on_stage ps -e -o args= | grep -e '^sleep 29[89]')" ]
	must 0 oci delete c
}

@test "run whose poststart hook fails leaves nothing, and its poststop hooks run" {
	config "$(hook poststart 'exit 6') | $(record poststop)" sleep 300
	must 1 oci run -b "$bundle" c
	[[ $output == *poststart*"exit status 6"* ]]
	[ -z "$(ls "$state")" ]
	[ "$(recorded)" = "poststop " ]
}

@test "a container that is killed in its startContainer hook was not started" {
	config "$(hook startContainer 'kill -9 $PPID; sleep 5') | .linux.namespaces |= map(select(.type != \"pid\"))" true
	oci create -b "$bundle" c </dev/null
	must 1 oci start c
	[[ $output == *"before it had executed the program"* ]]
	has_status c stopped
	must 0 oci delete c
}

@test "a hook past its timeout is killed" {
	config "$(hook createRuntime 'sleep 60') | .hooks.createRuntime[0].timeout = 1" true
	must 1 oci create -b "$bundle" c
	[[ $output == *timeout* ]]
}

@test "a timeout is greater than zero" {
	for kind in prestart createRuntime createContainer startContainer poststart poststop; do
		config "$(hook "$kind" true) | .hooks.$kind[0].timeout = 0" true
		must 1 oci create -b "$bundle" c
		[[ $output == *"hooks.$kind[0].timeout: must be greater than zero"* ]]
	done
}
