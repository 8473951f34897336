#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The extension images' scripts and generator, in a made-up root with stand-ins for mount(8) and veritysetup(8).

setup() {
	top=$BATS_TEST_DIRNAME/..
	export KATA_EXTENSION_ROOT=$BATS_TEST_TMPDIR/root
	export KATA_EXTENSION_LIB=$top/data/kata-extension-lib.sh
	mkdir -p "$KATA_EXTENSION_ROOT"/{proc,dev,sys/block/vdb,sys/block/nvme0n1} "$BATS_TEST_TMPDIR/bin"
	for tool in mount umount veritysetup; do
		printf '#!/bin/sh\necho "%s $*" >>"%s/calls"\n' $tool "$BATS_TEST_TMPDIR" >"$BATS_TEST_TMPDIR/bin/$tool"
		chmod +x "$BATS_TEST_TMPDIR/bin/$tool"
	done
	PATH=$BATS_TEST_TMPDIR/bin:$PATH
	echo other >"$KATA_EXTENSION_ROOT/sys/block/nvme0n1/serial"
	echo extension-gpu >"$KATA_EXTENSION_ROOT/sys/block/vdb/serial"
	echo "quiet" >"$KATA_EXTENSION_ROOT/proc/cmdline"
	disk=$KATA_EXTENSION_ROOT/dev/vdb
	mknod "$disk" b 250 0
}

calls() { cat "$BATS_TEST_TMPDIR/calls"; }
mount_it() { run sh "$top/data/kata-extension-mount.sh" "$@"; }

@test "extension: a whole disk without partitions is mounted" {
	mount_it gpu
	[ "$status" -eq 0 ]
	[ "$(calls)" = "mount -t erofs -o ro $disk $KATA_EXTENSION_ROOT/run/kata-extensions/gpu" ]
}

@test "extension: partition 1 is preferred, with a p behind a digit" {
	echo extension-gpu >"$KATA_EXTENSION_ROOT/sys/block/nvme0n1/serial"
	echo other >"$KATA_EXTENSION_ROOT/sys/block/vdb/serial"
	mknod "$KATA_EXTENSION_ROOT/dev/nvme0n1p1" b 250 1
	mount_it gpu
	[ "$status" -eq 0 ]
	[[ $(calls) = *" $KATA_EXTENSION_ROOT/dev/nvme0n1p1 "* ]]
}

@test "extension: hashes and parameters are verified" {
	mknod "${disk}1" b 250 1
	mknod "${disk}2" b 250 2
	echo "kata.extension.gpu.verity_params=root_hash=abc,salt=5a,data_blocks=7" >"$KATA_EXTENSION_ROOT/proc/cmdline"
	mount_it gpu
	[ "$status" -eq 0 ]
	[ "$(calls | head -n 1)" = "veritysetup open ${disk}1 extension-gpu ${disk}2 abc --no-superblock --data-block-size 4096 --hash-block-size 4096 --salt 5a --data-blocks 7" ]
	[[ $(calls | tail -n 1) = "mount -t erofs -o ro /dev/mapper/extension-gpu "* ]]
}

@test "extension: hashes without parameters are refused" {
	mknod "${disk}2" b 250 2
	mount_it gpu
	[ "$status" -eq 1 ]
	[ ! -e "$BATS_TEST_TMPDIR/calls" ]
}

@test "extension: parameters without hashes are refused" {
	echo "kata.extension.gpu.verity_params=root_hash=abc" >"$KATA_EXTENSION_ROOT/proc/cmdline"
	mount_it gpu
	[ "$status" -eq 1 ]
	[ ! -e "$BATS_TEST_TMPDIR/calls" ]
}

@test "extension: parameters without a root hash are refused" {
	mknod "${disk}2" b 250 2
	echo "kata.extension.gpu.verity_params=salt=abc" >"$KATA_EXTENSION_ROOT/proc/cmdline"
	mount_it gpu
	[ "$status" -ne 0 ]
	[ ! -e "$BATS_TEST_TMPDIR/calls" ]
}

@test "extension: a disk that is not there, a name that is none" {
	mount_it cpu
	[ "$status" -eq 1 ]
	mount_it ../x
	[ "$status" -eq 1 ]
	[ ! -e "$BATS_TEST_TMPDIR/calls" ]
}

@test "extension: the generator links a unit for each, and for nothing else" {
	sed 's|@unitdir@|/usr/lib/systemd/system|' "$top/data/kata-extension-mount-generator.in" >"$BATS_TEST_TMPDIR/generator"
	echo "kata.extension.gpu.verity_params kata.extension.c_2.verity_params=root_hash=1 kata.extension../x.verity_params=1 kata.extension.y=1" \
		>"$KATA_EXTENSION_ROOT/proc/cmdline"
	run sh "$BATS_TEST_TMPDIR/generator" "$BATS_TEST_TMPDIR/units"
	[ "$status" -eq 0 ]
	run ls "$BATS_TEST_TMPDIR/units/kata-containers.target.wants"
	[ "$output" = "$(printf '%s\n' kata-extension-mount@c_2.service kata-extension-mount@gpu.service)" ]
}

@test "extension: what is installed for a guest with systemd, and what systemd says of it" {
	[[ ${KATA_BUILD:-} != */under ]] || skip "not under valgrind: it is about the build directory"
	build=${KATA_BUILD:-$top/build}
	tree=$BATS_TEST_TMPDIR/tree
	DESTDIR=$tree meson install -C "$build" --no-rebuild >/dev/null
	prefix=$tree$(meson introspect "$build" --buildoptions | python3 -c \
		'import json, sys; print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
	units=$prefix/lib/systemd/system
	generator=$prefix/lib/systemd/system-generators/kata-extension-mount-generator
	for file in kata-agent.service kata-containers.target kata-extension-mount@.service; do
		[ "$(stat -c %a "$units/$file")" = 644 ]
		! grep -q '@[a-z]*@' "$units/$file"
	done
	[ "$(stat -c %a "$generator")" = 755 ]
	# Readiness is told, every program that a unit names is there, and however the agent ends the machine does.
	grep -qx 'Type=notify' "$units/kata-agent.service"
	grep -qx 'SuccessAction=poweroff' "$units/kata-agent.service"
	grep -qx 'FailureAction=poweroff' "$units/kata-agent.service"
	for program in $(sed -n 's/^Exec[A-Za-z]*=\([^ ]*\).*/\1/p' "$units"/kata-*.service); do
		[ -x "$tree$program" ]
	done
	mkdir -p "$KATA_EXTENSION_ROOT/proc"
	echo "quiet kata.extension.gpu.verity_params" >"$KATA_EXTENSION_ROOT/proc/cmdline"
	"$generator" "$BATS_TEST_TMPDIR/generated"
	link=$(readlink "$BATS_TEST_TMPDIR/generated/kata-containers.target.wants/kata-extension-mount@gpu.service")
	[ -f "$tree$link" ]
	if command -v systemd-analyze >/dev/null; then
		run systemd-analyze verify --man=no --recursive-errors=no --root="$tree" "$units/kata-agent.service" \
			"$units/kata-containers.target"
		echo "$output"
		[[ $output != *"Unknown "* && $output != *"Invalid"* && $output != *"Failed to parse"* ]]
	fi
}
