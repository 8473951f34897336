#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# An ordinary user's containers: no root, no helpers with privileges, one id.

load helpers
setup() {
	stage_open
	[ "$(cat /proc/sys/user/max_user_namespaces)" -gt 0 ] || skip "no user namespaces here"
	# A program that everybody may execute, wherever it was built.
	mkdir "$tmp/bin" "$tmp/run"
	cp "$oci_program" "$tmp/bin/kata-oci"
	chown -R 4711:4711 "$bundle" "$tmp/run"
}
teardown() { stage_close; }

as_user() { on_stage setpriv --reuid 4711 --regid 4711 --clear-groups env "XDG_RUNTIME_DIR=$tmp/run" HOME=/ "$@"; }
user_oci() { as_user "$tmp/bin/kata-oci" "$@"; }

rootless_config() {
	rm -f "$bundle/config.json"
	user_oci spec --rootless --bundle "$bundle"
	jq '.process.terminal = false | .process.args = $ARGS.positional | .root.readonly = false' --args -- "$@" \
		<"$bundle/config.json" >"$tmp/config"
	cat "$tmp/config" >"$bundle/config.json"
}

@test "run as an ordinary user" {
	rootless_config sh -c 'id -u; hostname; echo >/tmp/file && ls -ln /tmp/file'
	must 0 user_oci run -b "$bundle" c
	[ "$(sed -n 1p <<<"$output")" = 0 ]
	[ "$(sed -n 2p <<<"$output")" = kata ]
	[ "$(stat -c %u "$bundle/rootfs/tmp/file")" = 4711 ]
	[ -z "$(ls "$tmp/run/kata-oci")" ]
}

@test "life cycle and exec as an ordinary user" {
	rootless_config sleep 300
	must 0 user_oci create -b "$bundle" c
	must 0 user_oci start c
	must 3 user_oci exec c sh -c 'test "$(id -u)" = 0 && exit 3'
	user_oci list -q | grep -qx c
	must 0 user_oci kill c KILL
	stopped() { [ "$(user_oci state c | jq -r .status)" = stopped ]; }
	eventually stopped
	must 0 user_oci delete c
	must 0 user_oci delete --force c
}

@test "without a user namespace it is refused" {
	rootless_config true
	jq 'del(.linux.uidMappings, .linux.gidMappings) | .linux.namespaces |= map(select(.type != "user"))' "$bundle/config.json" >"$tmp/config"
	cat "$tmp/config" >"$bundle/config.json"
	must 1 user_oci create -b "$bundle" c
	[[ $output == *"user"* ]]
}
