#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The table of docs/runtime-spec.md names tests that there are, and a test in every row.

top=$BATS_TEST_DIRNAME/../..

# Is there a test NAME… in FILE?
exists() { # FILE NAME
	case $1 in
	test-*) cat "$top"/src/*/"$1.c" 2>/dev/null | grep -qF "static void $2" ;;
	[0-9]*) grep -qF -- "$2" "$top/test/vm/plays/$1" ;;
	*) cat "$top/test/oci/$1.bats" "$top/test/$1.bats" 2>/dev/null | grep -qF -e "@test \"$2" -e "@test \"$1: $2" ;;
	esac
}

@test "the table of the runtime-spec names tests that there are" {
	local row tests one wrong=0 rows=0
	while IFS= read -r row; do
		case $row in "| property |"* | "| --- |"*) continue ;; esac
		rows=$((rows + 1))
		tests=$(sed 's/ *|$//; s/.*| *//' <<<"$row")
		[ -n "$tests" ] || [[ $row == *Windows* ]] || { echo "no test: $row"; wrong=1; }
		while IFS= read -r one; do
			[ -n "$one" ] || continue
			exists "${one%%: *}" "${one#*: }" || { echo "no such test: $one"; wrong=1; }
		done < <(grep -o '`[^`]*`' <<<"$tests" | tr -d '`')
	done < <(grep '^|' "$top/docs/runtime-spec.md")
	[ "$rows" -gt 100 ] || { echo "$rows rows"; wrong=1; }
	[ "$wrong" = 0 ]
}
