#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A container against the command line that made it: unlike the agent's, its program does not run any more when the container
# writes to it (CVE-2019-5736).

hostile=$BATS_TEST_DIRNAME
build=${KATA_BUILD:-$hostile/../../build}

setup() {
	tmp=$(mktemp -d /tmp/kata-play-XXXXXX)
	mkdir -p "$tmp/bundle/rootfs/bin" "$tmp/bundle/rootfs/proc" "$tmp/bundle/rootfs/dev"
	cp "$build/src/oci/kata-oci" "$tmp/kata-oci"
	cc -O1 -static -o "$tmp/bundle/rootfs/bin/evil" "$hostile/evil.c"
	cp /bin/busybox "$tmp/bundle/rootfs/bin/sh"
	ln -s /proc/self/exe "$tmp/bundle/rootfs/bin/self"
	before=$(sha256sum <"$tmp/kata-oci")
	cat >"$tmp/bundle/config.json" <<-END
		{"ociVersion": "1.0.2", "root": {"path": "rootfs"},
		 "process": {"args": ["/bin/evil", "sleep"], "env": ["PATH=/bin"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
		 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
		            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}],
		 "linux": {"cgroupsPath": "/${tmp##*/}/c1", "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}]}}
	END
}
teardown() {
	in_tmp "$tmp/kata-oci --root $tmp/state delete --force c1" >/dev/null 2>&1 || true
	[ -z "$tmp" ] || find /sys/fs/cgroup -depth -type d -path "*/${tmp##*/}*" -exec rmdir {} + 2>/dev/null || true
	rm -rf "$tmp"
}
# All of it in a PID namespace of its own, which ends with it.
in_tmp() { timeout -k 5 60 unshare --pid --fork --mount-proc --kill-child sh -c "$1" 3>&-; }

@test "hostile oci: the program of kata-oci is not overwritten" {
	run in_tmp "cd $tmp
		oci=\"./kata-oci --root $tmp/state\"
		\$oci run --detach --bundle $tmp/bundle c1 </dev/null >/dev/null 2>&1 || exit 1
		for i in 2 3 4 5 6 7 8 9 10 11 12 13 14; do
			\$oci exec --detach c1 /bin/evil overwrite \$((i + 13)) 4 </dev/null >>$tmp/watch 2>&1
		done
		for i in 1 2 3; do \$oci exec c1 /bin/self --help </dev/null >>$tmp/self 2>&1; done
		sleep 5
		\$oci delete --force c1"
	echo "$output"
	cat "$tmp/watch" "$tmp/self" | head -n 40
	[ "$status" -eq 0 ]
	[ "$(sha256sum <"$tmp/kata-oci")" = "$before" ]
}
