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
	oci delete --force c
	config "$(hook poststart 'exit 6') | $(hook poststop 'exit 7')" sleep 300
	oci create -b "$bundle" c </dev/null
	must 1 oci start c
	eventually has_status c stopped
	must 0 oci delete c
}

@test "a hook past its timeout is killed" {
	config "$(hook createRuntime 'sleep 60') | .hooks.createRuntime[0].timeout = 1" true
	must 1 oci create -b "$bundle" c
	[[ $output == *timeout* ]]
}
