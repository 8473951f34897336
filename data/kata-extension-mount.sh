#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Mounts the extension image NAME at /run/kata-extensions/NAME. Usage: kata-extension-mount.sh NAME
#
# The disk is the one with the serial number `extension-NAME`. Partition 1 holds the data (erofs), partition 2, if there is
# one, dm-verity's hashes. Hashes and parameters (kata.extension.NAME.verity_params= on the kernel command line) go together:
# one without the other is refused. Both: verified and mounted. Neither: mounted as it is.
set -eu
. "${KATA_EXTENSION_LIB:-$(dirname "$0")/kata-extension-lib.sh}"
name=${1:?name of the extension}
valid_name "$name" || fail "\"$name\" is no name of an extension"

params=$(verity_params "$name")
disk=$(find_disk "$name") || fail "no disk has the serial number extension-$name"
data=$(partition "$disk" 1)
hash=$(partition "$disk" 2)
[ -b "$data" ] || data=$disk

if [ -b "$hash" ] && [ -n "$params" ]; then
	data=$(open_verity "$name" "$data" "$hash" "$params")
elif [ -b "$hash" ]; then
	fail "$disk has hashes, and the kernel command line no parameters for them"
elif [ -n "$params" ]; then
	fail "the kernel command line has parameters for hashes that $disk does not have"
fi
mkdir -p "$mounts/$name"
mount -t erofs -o ro "$data" "$mounts/$name"
