#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# As the runtime of the engines that Debian has. They are asked for little, and from an image that is made here.

load helpers
setup() { stage_open; }
teardown() {
	[ -z "${containerd:-}" ] || { on_stage pkill -x containerd; wait "$containerd" 2>/dev/null; }
	stage_close
}

@test "containerd: ctr run --runc-binary" {
	command -v containerd >/dev/null && command -v ctr >/dev/null || skip "containerd is not installed"
	mkdir "$tmp/containerd"
	# Its shims keep their sockets in a place that has no option.
	on_stage mount -t tmpfs tmpfs /run
	cat >"$tmp/containerd.toml" <<C
version = 2
root = "$tmp/containerd/root"
state = "$tmp/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$tmp/containerd/sock"
C
	on_stage containerd --config "$tmp/containerd.toml" >"$tmp/containerd.log" 2>&1 &
	containerd=$!
	eventually test -S "$tmp/containerd/sock"
	# A rootfs instead of an image: nothing is fetched.
	must 0 on_stage timeout 60 ctr --address "$tmp/containerd/sock" run --rm --rootfs --runc-binary "$oci_program" --env PATH=/bin \
		--cgroup "/$cgroup/ctr" "$bundle/rootfs" c1 sh -c 'echo from containerd; exit 0'
	[[ $output == *"from containerd"* ]]
	must 5 on_stage timeout 60 ctr --address "$tmp/containerd/sock" run --rm --rootfs --runc-binary "$oci_program" --env PATH=/bin \
		--cgroup "/$cgroup/ctr" "$bundle/rootfs" c2 sh -c 'exit 5'
	must 1 on_stage timeout 60 ctr --address "$tmp/containerd/sock" run --rm --rootfs --runc-binary "$oci_program" --env PATH=/bin \
		--cgroup "/$cgroup/ctr" "$bundle/rootfs" c3 nosuchprogram
	[[ $output == *"executable file not found in \$PATH"* ]]
	on_stage timeout 60 ctr --address "$tmp/containerd/sock" run -d --rootfs --runc-binary "$oci_program" --env PATH=/bin \
		--cgroup "/$cgroup/ctr" "$bundle/rootfs" c4 sleep 300
	must 4 on_stage timeout 60 ctr --address "$tmp/containerd/sock" task exec --exec-id e1 c4 sh -c 'exit 4'
	must 0 on_stage timeout 60 ctr --address "$tmp/containerd/sock" task pause c4
	must 0 on_stage timeout 60 ctr --address "$tmp/containerd/sock" task resume c4
	must 0 on_stage timeout 60 ctr --address "$tmp/containerd/sock" task kill -s KILL c4
	eventually on_stage ctr --address "$tmp/containerd/sock" task delete c4
	must 0 on_stage ctr --address "$tmp/containerd/sock" container delete c4
}

@test "podman --runtime" {
	command -v podman >/dev/null || skip "podman is not installed"
	mkdir "$tmp/containers"
	pod() {
		on_stage timeout 60 podman --runtime "$oci_program" --root "$tmp/containers/storage" --runroot "$tmp/containers/run" \
			--storage-driver vfs --cgroup-manager cgroupfs --events-backend file --tmpdir "$tmp/containers/tmp" "$@"
	}
	common=(--network host --cgroup-parent "/$cgroup" --security-opt label=disable --rootfs)
	must 0 pod run --rm "${common[@]}" "$bundle/rootfs" sh -c 'echo from podman'
	[[ $output == *"from podman"* ]]
	must 5 pod run --rm "${common[@]}" "$bundle/rootfs" sh -c 'exit 5'
	must 127 pod run --rm "${common[@]}" "$bundle/rootfs" nosuchprogram
	touch "$bundle/rootfs/plain"
	must 126 pod run --rm "${common[@]}" "$bundle/rootfs" /plain
	pod run -d --name p "${common[@]}" "$bundle/rootfs" sleep 300 >/dev/null
	must 4 pod exec p sh -c 'exit 4'
	must 0 pod kill p
	must 0 pod rm -f p
	# What podman makes for its own monitor is not ours to remove, but here nobody else would.
	find /sys/fs/cgroup -depth -type d -path "*/$cgroup/conmon" -exec rmdir {} + 2>/dev/null || true
}
