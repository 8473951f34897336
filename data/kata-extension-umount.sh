#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Undoes kata-extension-mount.sh. Usage: kata-extension-umount.sh NAME
set -eu
. "${KATA_EXTENSION_LIB:-$(dirname "$0")/kata-extension-lib.sh}"
name=${1:?name of the extension}
valid_name "$name" || fail "\"$name\" is no name of an extension"
umount "$mounts/$name"
[ ! -e "/dev/mapper/extension-$name" ] || veritysetup close "extension-$name"
