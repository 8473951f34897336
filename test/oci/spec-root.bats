#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The runtime-spec's root, mounts, names and annotations, where no other test shows them. See docs/runtime-spec.md.

load helpers
setup() { stage_open; }
teardown() { stage_close; }

# The options of the mounts at /m/NAME and /m/NAME/sub, out of a table of "POINT OPTIONS" lines in $table.
options() { sed -n "s,^/m/$1 ,,p" <<<"$table"; }
has() { [[ ,$(options "$1"), == *,$2,* ]] || { echo "$1 has not $2: $(options "$1")"; return 1; }; }
has_not() { [ -n "$(options "$1")" ] && [[ ,$(options "$1"), != *,$2,* ]] || { echo "$1 has $2: $(options "$1")"; return 1; }; }

@test "root: a relative and an absolute path, writable and not" {
	mkdir "$bundle/rootfs/deep"
	mv "$bundle/rootfs" "$tmp/elsewhere"
	mkdir "$bundle/sub"
	mv "$tmp/elsewhere" "$bundle/sub/root"
	config '.root.path = "sub/root"' sh -c 'ls -d /deep; echo >/x && echo writable'
	must 0 oci run -b "$bundle" c
	[ "$output" = $'/deep\nwritable' ]
	config ".root = {path: \"$bundle/sub/root\", readonly: true}" sh -c 'ls -d /deep; echo >/y; echo >/dev/x && echo dev'
	must 0 oci run -b "$bundle" c
	[[ $output == "/deep"*"Read-only file system"*"dev" ]]
	[ -f "$bundle/sub/root/x" ] && [ ! -e "$bundle/sub/root/y" ]
}

@test "root: read-only keeps the other flags of where it lies" {
	on_stage mount --bind -o nodev,nosuid "$bundle/rootfs" "$bundle/rootfs"
	on_stage mount -o remount,bind,nodev,nosuid,noatime "$bundle/rootfs"
	config '.root.readonly = true' sh -c "awk '\$5 == \"/\" { print \$6 }' /proc/self/mountinfo"
	must 0 oci run -b "$bundle" c
	[[ $output == ro,*nosuid* && $output == *nodev* && $output == *noatime* ]]
}

@test "mounts: in their order, onto each other, and none that was not asked for" {
	config '.mounts += [{destination: "/m", type: "tmpfs", source: "first"}, {destination: "/m/in", type: "tmpfs", source: "second"},
		{destination: "/m", type: "tmpfs", source: "third"}, {destination: "m/../m/in2", type: "tmpfs"}]' \
		sh -c "ls /m; awk '{ print \$5 }' /proc/self/mountinfo | paste -sd' '"
	must 0 oci run -b "$bundle" c
	[ "$output" = $'in2\n/ /proc /dev /dev/pts /m /m/in /m /m/in2' ]
	config '.mounts = []' ls /proc /dev/shm
	must 1 oci run -b "$bundle" c
	[[ $output != *self* && $output == *"/dev/shm: No such file"* ]]
}

@test "mounts: a source relative to the bundle, a type that goes without saying" {
	mkdir "$bundle/vol"
	echo content >"$bundle/vol/file"
	config '.mounts += [{destination: "/m/a", source: "vol", options: ["bind"]}, {destination: "/m/b", type: "bind", source: "./vol"},
		{destination: "/m/c", type: "none", source: "vol/file", options: ["rbind"]},
		{destination: "/m/d", type: "rbind", source: "vol", options: ["ro"]}]' \
		sh -c 'cat /m/a/file /m/b/file /m/c; echo >/m/d/x; echo >/m/a/y && echo rw'
	must 0 oci run -b "$bundle" c
	[[ $output == $'content\ncontent\ncontent\n'*"Read-only file system"*rw ]]
	refused '.mounts += [{destination: "/m", source: "vol"}]' 'mount "/m": no type and no "bind" among the options'
	refused '.mounts += [{destination: "/m", type: "none", source: "vol"}]' 'no type'
	refused '.mounts += [{destination: "/m", type: "bind"}]' 'a bind mount needs a source'
	refused '.mounts += [{destination: "/m", type: "nofs", source: "x"}]' 'file system type "nofs"'
	refused '.mounts += [{destination: "/m", type: "tmpfs", source: "x", options: ["no-such-option"]}]' no-such-option
	refused '.mounts += [{source: "vol", type: "bind"}]' 'mounts[3].destination'
}

@test "mounts: each option that a mount has, and each that takes it back" {
	local pairs="nosuid:suid nodev:dev noexec:exec noatime:atime nodiratime:diratime nosymfollow:symfollow ro:rw sync:async lazytime:nolazytime"
	local pair filter=. script="awk '{ print \$5, \$6 \",\" \$NF }' /proc/self/mountinfo"
	for pair in $pairs dirsync:dirsync strictatime:relatime iversion:noiversion silent:loud defaults:defaults norelatime:nostrictatime; do
		filter="$filter | .mounts += [{destination: \"/m/${pair%:*}\", type: \"tmpfs\", source: \"x\", options: [\"${pair%:*}\"]},
			{destination: \"/m/${pair%:*}-back\", type: \"tmpfs\", source: \"x\", options: [\"${pair%:*}\", \"${pair#*:}\"]}]"
	done
	config "$filter" sh -c "$script"
	must 0 oci run -b "$bundle" c
	table=$output
	for pair in $pairs; do
		has "${pair%:*}" "${pair%:*}"
		has_not "${pair%:*}-back" "${pair%:*}"
	done
	has dirsync dirsync
	has_not strictatime relatime
	has_not strictatime noatime
	has strictatime-back relatime
	has defaults rw
	has silent relatime
}

@test "mounts: recursive options reach what is mounted below" {
	local side pair filter=.
	local pairs="rro:rrw rnosuid:rsuid rnodev:rdev rnoexec:rexec rnoatime:ratime rnodiratime:rdiratime rnosymfollow:rsymfollow"
	for side in plain full; do
		mkdir "$tmp/$side"
		on_stage mount -t tmpfs -o relatime tmpfs "$tmp/$side"
		on_stage mkdir "$tmp/$side/sub"
		on_stage mount -t tmpfs -o relatime tmpfs "$tmp/$side/sub"
	done
	on_stage mount -o remount,bind,ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow "$tmp/full/sub"
	on_stage mount -o remount,bind,ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow "$tmp/full"
	volume() { # NAME OPTION SIDE
		filter="$filter | .mounts += [{destination: \"/m/$1\", source: \"$tmp/$3\", options: [\"rbind\", \"$2\"]}]"
	}
	for pair in $pairs; do
		volume "${pair%:*}" "${pair%:*}" plain
		volume "${pair#*:}" "${pair#*:}" full
	done
	volume rrelatime rrelatime full
	volume rstrictatime rstrictatime plain
	volume rnorelatime rnorelatime plain
	volume rnostrictatime rnostrictatime plain
	volume top ro plain
	config "$filter" awk '{ print $5, $6 }' /proc/self/mountinfo
	must 0 oci run -b "$bundle" c
	table=$output
	for pair in $pairs; do
		has "${pair%:*}" "$(sed s/r// <<<"${pair%:*}")"
		has "${pair%:*}/sub" "$(sed s/r// <<<"${pair%:*}")"
		has_not "${pair#*:}" "$(sed s/r// <<<"${pair%:*}")"
		has_not "${pair#*:}/sub" "$(sed s/r// <<<"${pair%:*}")"
	done
	has rrelatime/sub relatime
	has_not rrelatime/sub noatime
	has_not rstrictatime relatime
	has_not rstrictatime/sub relatime
	has rnorelatime/sub rw
	has rnostrictatime/sub relatime
	has top ro
	has top/sub rw
}

@test "mounts: idmap is the mount's, ridmap also of what is below" {
	local maps='uidMappings: [{containerID: 0, hostID: 5000, size: 10}], gidMappings: [{containerID: 0, hostID: 6000, size: 10}]'
	mkdir "$tmp/vol"
	on_stage mount -t tmpfs tmpfs "$tmp/vol"
	on_stage sh -c "mkdir $tmp/vol/sub && mount -t tmpfs tmpfs $tmp/vol/sub && touch $tmp/vol/sub/file $tmp/vol/file"
	config ".mounts += [{destination: \"/m/one\", source: \"$tmp/vol\", options: [\"rbind\", \"idmap\"], $maps},
		{destination: \"/m/all\", source: \"$tmp/vol\", options: [\"rbind\", \"ridmap\"], $maps},
		{destination: \"/m/mapped\", source: \"$tmp/vol\", options: [\"bind\"], $maps}]" \
		stat -c '%n %u %g' /m/one/file /m/one/sub/file /m/all/file /m/all/sub/file /m/mapped/file
	local got=0
	oci run -b "$bundle" c </dev/null >"$tmp/output" 2>&1 || got=$?
	grep -q 'map ids: EINVAL' "$tmp/output" && skip "this kernel maps no ids of a tmpfs (needs Linux 6.3)"
	cat "$tmp/output"
	[ $got = 0 ]
	[ "$(cat "$tmp/output")" = "/m/one/file 5000 6000
/m/one/sub/file 0 0
/m/all/file 5000 6000
/m/all/sub/file 5000 6000
/m/mapped/file 5000 6000" ]
	refused ".mounts += [{destination: \"/m\", source: \"$tmp/vol\", options: [\"bind\", \"ridmap\"]}]" 'mounts[3].options: idmap needs'
	refused ".mounts += [{destination: \"/m\", type: \"tmpfs\", options: [\"idmap\"], $maps}]" 'only bind mounts can be idmapped'
}

@test "mounts: odd lines of the mount table disturb nobody" {
	# A source that is empty, points with blanks and newlines, and the root below such a point, which is shared.
	local odd=$tmp/$'a b\tc\\d\ne'
	mkdir -p "$odd" "$tmp/empty"
	on_stage python3 -c 'import ctypes, sys; m = ctypes.CDLL(None, use_errno=True).mount
sys.exit(m(b"", sys.argv[1].encode(), b"tmpfs", 0, b"") or m(b" - x y", sys.argv[2].encode(), b"tmpfs", 0, b"")
	or m(None, sys.argv[2].encode(), None, 1 << 20, None))' "$tmp/empty" "$odd" || skip "no python3"
	on_stage grep -q -- '- tmpfs  rw' /proc/self/mountinfo
	on_stage cp -a "$bundle/rootfs" "$odd/root"
	config . sh -c 'hostname; wc -l </proc/self/mountinfo'
	jq --arg path "$odd/root" '.root.path = $path' "$bundle/config.json" >"$tmp/config" && mv "$tmp/config" "$bundle/config.json"
	must 0 oci run -b "$bundle" c
	[ "$output" = $'box\n4' ]
	# With mounts that are ours, too, the table is read for the one that must not be shared.
	jq '.linux.rootfsPropagation = "shared"' "$bundle/config.json" >"$tmp/config" && mv "$tmp/config" "$bundle/config.json"
	must 0 oci run -b "$bundle" c
	[ "$output" = $'box\n4' ]
	on_stage findmnt -n -o PROPAGATION "$tmp/empty" | grep -q private
}

@test "hostname, domainname, annotations, version" {
	config '.hostname = "here" | .domainname = "domain.there" | .annotations = {"org.example.key": "value \" quoted"}' sleep 300
	oci run --detach -b "$bundle" c </dev/null >/dev/null
	must 0 oci exec c sh -c 'hostname; cat /proc/sys/kernel/domainname'
	[ "$output" = $'here\ndomain.there' ]
	oci state c | jq -e '.annotations["org.example.key"] == "value \" quoted" and (.ociVersion | startswith("1."))'
	oci delete --force c
	refused '.ociVersion = "2.0.0"' 'ociVersion: version 2.0.0'
	refused '.linux.namespaces |= map(select(.type != "uts"))' hostname
	refused 'del(.hostname) | .domainname = "a" | .linux.namespaces |= map(select(.type != "uts"))' domainname
}
