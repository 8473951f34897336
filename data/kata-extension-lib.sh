# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# What mounting and unmounting of extension images have in common. $root is for tests.
root=${KATA_EXTENSION_ROOT:-}
mounts=$root/run/kata-extensions

fail() {
	echo "kata-extension: $*" >&2
	exit 1
}

valid_name() {
	case $1 in
	"" | *[!A-Za-z0-9_-]*) return 1 ;;
	esac
}

# The value of kata.extension.NAME.verity_params=; empty for a bare key.
verity_params() {
	# Words of the command line, on purpose.
	# shellcheck disable=SC2013
	for word in $(cat "$root/proc/cmdline"); do
		case $word in
		kata.extension."$1".verity_params=*) echo "${word#*=}"; return ;;
		esac
	done
}

find_disk() {
	for serial in "$root"/sys/block/*/serial; do
		[ -r "$serial" ] || continue
		[ "$(cat "$serial")" = "extension-$1" ] || continue
		disk=${serial%/serial}
		echo "$root/dev/${disk##*/}"
		return
	done
	return 1
}

# Names that end in a digit have a "p" before the partition's number.
partition() {
	case $1 in
	*[0-9]) echo "$1p$2" ;;
	*) echo "$1$2" ;;
	esac
}

# One field of "k=v,k=v".
field() {
	echo "$1" | tr ',' '\n' | sed -n "s/^$2=//p" | head -n 1
}

open_verity() { # NAME DATA HASH PARAMS
	root_hash=$(field "$4" root_hash)
	[ -n "$root_hash" ] || fail "the parameters of $1 have no root_hash"
	salt=$(field "$4" salt)
	blocks=$(field "$4" data_blocks)
	data_size=$(field "$4" data_block_size)
	hash_size=$(field "$4" hash_block_size)
	veritysetup open "$2" "extension-$1" "$3" "$root_hash" --no-superblock \
		--data-block-size "${data_size:-4096}" --hash-block-size "${hash_size:-4096}" \
		${salt:+--salt "$salt"} ${blocks:+--data-blocks "$blocks"} >&2
	echo "/dev/mapper/extension-$1"
}
