#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Errors: what is wrong is named, before anything is made; the log has it in the form that was asked for.

load helpers
setup() { stage_open; }
teardown() { stage_close; }

@test "a bad configuration names its property" {
	refused 'del(.ociVersion)' ociVersion
	refused '.process.args = []' process.args
	refused '.process.cwd = "tmp"' process.cwd
	refused '.linux.namespaces += [{type: "pid"}]' 'linux.namespaces[5].type'
	refused '.linux.namespaces += [{type: "what"}]' what
	refused '.process.rlimits = [{type: "RLIMIT_X", soft: 1, hard: 1}]' 'process.rlimits[0].type'
	refused '.linux.seccomp = {defaultAction: "X"}' linux.seccomp.defaultAction
	refused '.linux.sysctl = {"vm.swappiness": "1"}' vm.swappiness
	refused '.hooks.prestart = [{path: "x"}]' 'hooks.prestart[0].path'
	refused '.process.oomScoreAdj = 5000' process.oomScoreAdj
}

@test "a missing bundle, config or root" {
	must 1 oci create -b "$tmp/none" c
	[[ $output == *"$tmp/none"* ]]
	rm -f "$bundle/config.json"
	must 1 oci create -b "$bundle" c
	[[ $output == *config.json*"No such file"* ]]
	echo '{' >"$bundle/config.json"
	must 1 oci create -b "$bundle" c
	[[ $output == *config.json* ]]
	config '.root.path = "nowhere"' true
	must 1 oci create -b "$bundle" c
	[[ $output == *nowhere* ]]
	[ -z "$(ls "$state")" ]
}

@test "logs: text and JSON" {
	must 1 oci --log "$tmp/log" --log-format json state nobody
	[ "$(jq -r 'select(.level == "error") | .msg' "$tmp/log")" = 'container "nobody" does not exist' ]
	jq -e .time "$tmp/log" >/dev/null
	must 1 oci --log "$tmp/text" state nobody
	grep -q 'level=error msg="container' "$tmp/text"
	must 1 oci --log-format xml state nobody
	must 1 oci --log "$tmp/nowhere/log" list
	[[ $output == *"nowhere/log"* ]]
	mkdir "$state"
	must 0 oci --log-level debug list
	must 1 oci --log-level loud list
	[[ $output == *'unknown log level "loud"'* ]]
}

@test "values of global options that nobody knows are refused" {
	mkdir "$state"
	local manager rootless
	for manager in systemd cgroupfs; do
		must 0 oci --cgroup-manager "$manager" list
	done
	must 1 oci --cgroup-manager disabled list
	[[ $output == *'"disabled" is neither systemd nor cgroupfs'* ]]
	for rootless in auto true false 1 0; do
		must 0 oci --rootless "$rootless" list
	done
	must 1 oci --rootless maybe list
	[[ $output == *'"maybe" is neither auto nor true nor false'* ]]
}

@test "checkpoint and restore say that they are not supported" {
	must 1 oci checkpoint c
	[[ $output == *"checkpoint is not supported"* ]]
	must 1 oci restore c
	[[ $output == *"restore is not supported"* ]]
}

@test "usage" {
	must 0 oci --version
	[[ $output == "kata-oci version "* ]]
	must 0 oci --help
	[[ $output == *create*delete* ]]
	must 1 oci
	must 1 oci whatever
	[[ $output == *'unknown command "whatever"'* ]]
	must 1 oci create
	[[ $output == *usage* ]]
	must 1 oci create --what c
	must 1 oci state a b
}
